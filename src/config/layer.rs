//! `[[sources]]`, `[proxies]` and `[layer]`: what layers begin with.

use super::error::Fault;
use super::setting::{Setting, apply};
use super::source;
use super::value::{Section, Value};
use crate::key::Networks;
use crate::middleware::layer::ApiKeyLayer;
use crate::middleware::source::KeySource;
use crate::middleware::success::RateLimitHeaders;
use crate::store::KeyStore;

const RATE_LIMIT_HEADERS: [(&str, RateLimitHeaders); 3] = [
    ("always", RateLimitHeaders::Always),
    ("near-exhaustion", RateLimitHeaders::NearExhaustion),
    ("never", RateLimitHeaders::Never),
];

/// The proxies in front of a service, and what they say of a request.
///
/// ```
/// use tower_api_key::config::Config;
///
/// let config = Config::parse("[proxies]\nscheme_header = \"x-forwarded-proto\"\nnetworks = [\"10.0.0.0/8\"]\n")?;
/// let proxies = config.proxies().unwrap();
/// assert_eq!(proxies.scheme_header.as_deref(), Some("x-forwarded-proto"));
/// assert!(proxies.header.is_none() && proxies.networks.contains("10.0.0.1".parse().unwrap()));
/// # Ok::<_, tower_api_key::config::ConfigFileError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProxiesConfig {
    /// The header in which they say the client's address.
    pub header: Option<String>,
    /// The header in which they say whether the request came over HTTPS.
    pub scheme_header: Option<String>,
    /// The networks that they are in. Who else writes these headers is not believed.
    pub networks: Networks,
}

#[derive(Clone, Debug)]
pub(super) struct LayerConfig {
    /// With the name and place of each.
    sources: Vec<Setting<KeySource>>,
    proxies: Proxies,
    challenge_realm: Option<Setting<String>>,
    environment: Option<Setting<String>>,
    rate_limit_headers: Option<Setting<RateLimitHeaders>>,
    legacy_rate_limit_headers: Option<Setting<bool>>,
    expiry_header: Option<Setting<bool>>,
    record_on_span: Option<Setting<bool>>,
}

#[derive(Clone, Debug)]
struct Proxies {
    header: Option<Setting<String>>,
    scheme_header: Option<Setting<String>>,
    networks: Networks,
}

impl LayerConfig {
    pub(super) fn read(
        sources: Vec<Section<'_, '_>>,
        proxies: Section<'_, '_>,
        mut section: Section<'_, '_>,
    ) -> Result<Self, Fault> {
        let text = |value: &Value<'_, '_>| Ok(value.text()?.to_owned());
        let read = Self {
            sources: sources.into_iter().map(source::read).collect::<Result<_, _>>()?,
            proxies: Proxies::read(proxies)?,
            challenge_realm: section.setting("challenge_realm", text)?,
            environment: section.setting("environment", text)?,
            rate_limit_headers: section.setting("rate_limit_headers", |value| value.choice(&RATE_LIMIT_HEADERS))?,
            legacy_rate_limit_headers: section.setting("legacy_rate_limit_headers", Value::is_true)?,
            expiry_header: section.setting("expiry_header", Value::is_true)?,
            record_on_span: section.setting("record_on_span", Value::is_true)?,
        };
        section.end()?;
        Ok(read)
    }

    /// `None` without the section.
    pub(super) fn proxies(&self) -> Option<ProxiesConfig> {
        let Proxies {
            header,
            scheme_header,
            networks,
        } = &self.proxies;
        (header.is_some() || scheme_header.is_some()).then(|| ProxiesConfig {
            header: header.as_ref().map(|setting| setting.value.clone()),
            scheme_header: scheme_header.as_ref().map(|setting| setting.value.clone()),
            networks: networks.clone(),
        })
    }

    pub(super) fn apply<S: KeyStore>(&self, layer: ApiKeyLayer<S>) -> Result<ApiKeyLayer<S>, Fault> {
        let Self {
            sources,
            proxies,
            challenge_realm,
            environment,
            rate_limit_headers,
            legacy_rate_limit_headers,
            expiry_header,
            record_on_span,
        } = self;
        let Proxies {
            header,
            scheme_header,
            networks,
        } = proxies;
        let layer = source::apply_all(sources, layer)?;
        let layer = apply(header, layer, |layer, header| {
            layer.trusted_proxies(&header, networks.clone())
        })?;
        let layer = apply(scheme_header, layer, |layer, header| {
            layer.only_https(&header, networks.clone())
        })?;
        let layer = apply(challenge_realm, layer, |layer, realm| layer.challenge_realm(&realm))?;
        let layer = apply(environment, layer, |layer, name| layer.only_environment(&name))?;
        let layer = apply(rate_limit_headers, layer, |layer, when| {
            Ok(layer.rate_limit_headers(when))
        })?;
        let layer = apply(legacy_rate_limit_headers, layer, |layer, enabled| {
            Ok(layer.legacy_rate_limit_headers(enabled))
        })?;
        let layer = apply(expiry_header, layer, |layer, enabled| Ok(layer.expiry_header(enabled)))?;
        Ok(match record_on_span {
            Some(Setting { value: true, .. }) => layer.record_on_span(),
            _ => layer,
        })
    }
}

impl Proxies {
    fn read(mut section: Section<'_, '_>) -> Result<Self, Fault> {
        let text = |value: &Value<'_, '_>| Ok(value.text()?.to_owned());
        let header = section.setting("header", text)?;
        let scheme_header = section.setting("scheme_header", text)?;
        let networks = section.setting("networks", networks)?;
        section.end()?;
        if section.is_there() && (header.is_none() && scheme_header.is_none() || networks.is_none()) {
            return Err(section
                .fault("needs `networks`, and `header` or `scheme_header`: what proxies write, and who they are"));
        }
        Ok(Self {
            header,
            scheme_header,
            networks: networks.map(|setting| setting.value).unwrap_or_default(),
        })
    }
}

fn networks(value: &Value<'_, '_>) -> Result<Networks, Fault> {
    let mut all = Vec::new();
    for value in value.list()? {
        let read = value.text()?.parse::<Networks>();
        let read = read.map_err(|error| value.fault(super::error::problem(error.into())))?;
        all.extend(read.iter().copied());
    }
    Networks::new(all).map_err(|error| value.fault(super::error::problem(error.into())))
}
