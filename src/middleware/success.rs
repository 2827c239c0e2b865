//! The headers that responses to admitted requests get.

use std::time::Duration;

use http::StatusCode;
use http::header::{CACHE_CONTROL, HeaderMap, HeaderName, HeaderValue};

use super::rate_limit;
use super::vary::{self, Vary};
use super::websocket::Protocols;
use crate::check::AuthContext;
use crate::key::Timestamp;

/// When admitted responses have the rate-limit headers, see
/// [`ApiKeyLayer::rate_limit_headers`](crate::ApiKeyLayer::rate_limit_headers).
///
/// ```
/// use tower_api_key::RateLimitHeaders;
///
/// assert_eq!(RateLimitHeaders::default(), RateLimitHeaders::Always);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RateLimitHeaders {
    /// Whenever the key or its organization has a limit.
    #[default]
    Always,
    /// When a limit has at most a tenth of its burst left.
    NearExhaustion,
    /// Never. Requests that a limit refuses still get them.
    Never,
}

/// Which headers are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SuccessOptions {
    pub(super) rate_limit: RateLimitHeaders,
    pub(super) legacy_rate_limit: bool,
    pub(super) expires: bool,
    pub(super) vary: bool,
    pub(super) cache_control: bool,
}

impl Default for SuccessOptions {
    fn default() -> Self {
        Self {
            rate_limit: RateLimitHeaders::Always,
            legacy_rate_limit: false,
            expires: true,
            vary: true,
            cache_control: true,
        }
    }
}

impl SuccessOptions {
    pub(super) const NONE: Self = Self {
        rate_limit: RateLimitHeaders::Never,
        legacy_rate_limit: false,
        expires: false,
        vary: false,
        cache_control: false,
    };
}

/// What to write once the inner service has responded. Small, because the future of every response holds one.
pub(super) struct SuccessHeaders {
    vary: Option<Vary>,
    private: bool,
    extra: Option<Box<Extra>>,
    expires: Option<Timestamp>,
}

/// What not all responses get.
enum Extra {
    RateLimit(rate_limit::Prepared),
    Protocols(Protocols, Option<Box<Extra>>),
}

const _: () = assert!(size_of::<Option<SuccessHeaders>>() <= 48);

impl SuccessHeaders {
    /// For a request without a key. Its response depends on there being none.
    pub(super) fn anonymous(options: SuccessOptions, vary: Option<&Vary>) -> Option<Self> {
        Some(Self {
            vary: Some(vary.filter(|_| options.vary)?.clone()),
            private: false,
            extra: None,
            expires: None,
        })
    }

    /// For an admitted request. The rate-limit headers are prepared now, because the context moves on to the handler, and a
    /// clone of it would touch a counter that all requests of the key share.
    pub(super) fn admitted(options: SuccessOptions, vary: Option<&Vary>, context: &AuthContext) -> Option<Self> {
        if options == SuccessOptions::NONE {
            return None;
        }
        Some(Self {
            vary: vary.filter(|_| options.vary).cloned(),
            private: options.cache_control,
            extra: rate_limit_of(options, context).map(|rate_limit| Box::new(Extra::RateLimit(rate_limit))),
            expires: context.expires_at().filter(|_| options.expires && is_near(context)),
        })
    }

    /// With the protocol of a WebSocket, which is named whatever else is wanted.
    pub(super) fn with_protocols(headers: Option<Self>, protocols: Protocols) -> Self {
        let mut headers = headers.unwrap_or(Self {
            vary: None,
            private: false,
            extra: None,
            expires: None,
        });
        headers.extra = Some(Box::new(Extra::Protocols(protocols, headers.extra.take())));
        headers
    }

    /// Writes the headers into a response.
    pub(super) fn write(&mut self, status: StatusCode, headers: &mut HeaderMap) {
        if let Some(vary) = self.vary.take() {
            vary::merge(headers, &vary);
        }
        // Shared caches leave responses to `Authorization` alone (RFC 9111, section 3.5), but not those to other headers.
        // Not through `entry`, which is slower when the header is missing, as it nearly always is.
        if self.private && !headers.contains_key(CACHE_CONTROL) {
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("private"));
        }
        if let Some(extra) = self.extra.take() {
            extra.write(status, headers);
        }
        if let Some(end) = self.expires
            && let Ok(value) = HeaderValue::try_from(end.to_string())
        {
            headers.insert(&EXPIRES, value);
        }
    }
}

impl Extra {
    fn write(self, status: StatusCode, headers: &mut HeaderMap) {
        match self {
            Self::RateLimit(rate_limit) => rate_limit.write(headers),
            Self::Protocols(protocols, extra) => {
                protocols.write(status, headers);
                if let Some(extra) = extra {
                    extra.write(status, headers);
                }
            }
        }
    }
}

fn rate_limit_of(options: SuccessOptions, context: &AuthContext) -> Option<rate_limit::Prepared> {
    let is_wanted = match options.rate_limit {
        RateLimitHeaders::Never => false,
        RateLimitHeaders::Always => true,
        RateLimitHeaders::NearExhaustion => rate_limit::is_near_exhaustion(context.allowance()),
    };
    if !is_wanted {
        return None;
    }
    let mut prepared = rate_limit::Prepared::new(context.allowance())?;
    if options.legacy_rate_limit {
        prepared.add_legacy(context.allowance());
    }
    Some(prepared)
}

/// Whether the key ends soon, by the authenticator's clock. A superseded secret always counts as near its end, however long
/// its grace period is: someone has to change a configuration.
fn is_near(context: &AuthContext) -> bool {
    context.is_superseded() || context.ends_within(NOTICE)
}

/// How long before its end a key is announced to expire.
const NOTICE: Duration = Duration::from_secs(7 * 86_400);

pub(super) static EXPIRES: HeaderName = HeaderName::from_static("api-key-expires");
