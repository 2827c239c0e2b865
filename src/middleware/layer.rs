//! The layer and its settings.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use http::Extensions;
use tower_layer::Layer;

use super::admit::Shared;
use super::credential::Sources;
use super::handle::LayerHandle;
use super::problem::ProblemJson;
use super::proxies::TrustedProxies;
use super::service::ApiKeyService;
use super::settings::Settings;
use super::source::KeySource;
use super::success::{RateLimitHeaders, SuccessOptions};
use crate::check::Authenticator;
use crate::error::{ConfigError, quoted};
use crate::key::{KeyFormat, Networks, Scope};
use crate::store::KeyStore;

/// Admits requests with a valid API key and refuses all others.
///
/// Put it around the routes that need a key, for example with axum's `route_layer`; it has no list of paths to skip. See the
/// [module's documentation](crate::middleware) for its rules.
///
/// A second layer inside finds no key, because the outer one removes it from the request.
#[must_use = "a layer does nothing until it is put around a service"]
pub struct ApiKeyLayer<S, R = ProblemJson> {
    pub(super) shared: Arc<Shared<S>>,
    pub(super) responder: R,
}

impl<S: KeyStore> ApiKeyLayer<S> {
    /// A layer that checks keys against this store, with safe defaults: keys from `Authorization: Bearer` or
    /// `x-api-key`, refusals as [`ProblemJson`].
    ///
    /// It opens nothing, so it does not verify keyed checksums, and warns once: the layer of [`ApiKeys::open`](crate::ApiKeys::open)
    /// refuses invented keys without a read.
    pub fn new(store: S) -> Self {
        Self::from(Authenticator::new(store))
    }
}

impl<S: KeyStore, R> ApiKeyLayer<S, R> {
    /// Takes keys of the default format with this prefix, such as `acme_live_…`, instead of `key_live_…`. For a layer from
    /// [`new`](Self::new). What issues its keys has to have the same format.
    ///
    /// A layer from [`ApiKeys`](crate::ApiKeys) has the formats of its handle, in which issuing and checking cannot differ:
    /// set [`formats`](crate::ApiKeysBuilder::formats) there.
    ///
    /// # Errors
    /// If the prefix is not valid, or other layers or handles share this layer's cache.
    pub fn prefix(self, prefix: &str) -> Result<Self, ConfigError> {
        let format = KeyFormat::new(prefix)?;
        let responder = self.responder;
        let shared = Arc::into_inner(self.shared).and_then(|Shared { authenticator, handle }| {
            let authenticator = authenticator.with_formats(format.into())?;
            let mut settings = handle.settings.clone();
            settings.set_formats(authenticator.formats());
            let handle = LayerHandle::with_settings(&authenticator, settings);
            Some(Shared {
                authenticator,
                handle: Arc::new(handle),
            })
        });
        let shared = shared.ok_or_else(|| {
            let problem = "must be set before the layer is cloned, and for a handle by `ApiKeysBuilder::formats`";
            ConfigError::new("prefix", problem)
        })?;
        Ok(Self {
            shared: Arc::new(shared),
            responder,
        })
    }

    /// Takes keys of this environment alone, such as `live`. Keys of any other get the same 401 as an unknown one.
    ///
    /// ```
    /// use tower_api_key::ApiKeyLayer;
    /// use tower_api_key::store::MemoryStore;
    ///
    /// let live = ApiKeyLayer::new(MemoryStore::new()).only_environment("live")?;
    /// assert!(live.only_environment("production").is_err());
    /// # Ok::<_, tower_api_key::ConfigError>(())
    /// ```
    ///
    /// # Errors
    /// If no accepted format has this environment.
    pub fn only_environment(self, environment: &str) -> Result<Self, ConfigError> {
        let formats = self.shared.authenticator.formats();
        if !formats
            .iter()
            .any(|format| format.environments().any(|known| known == environment))
        {
            let problem = format!("must be one of the accepted formats', got {}", quoted(environment));
            return Err(ConfigError::new("environment", problem));
        }
        Ok(self.edit(|settings| settings.environment = Some(environment.into())))
    }
}

impl<S: KeyStore> From<Authenticator<S>> for ApiKeyLayer<S> {
    fn from(authenticator: Authenticator<S>) -> Self {
        let handle = Arc::new(LayerHandle::new(&authenticator));
        Self {
            shared: Arc::new(Shared { authenticator, handle }),
            responder: ProblemJson::new(),
        }
    }
}

impl<S, R> ApiKeyLayer<S, R> {
    /// Answers refused requests with this responder: [`GrpcStatus`](crate::GrpcStatus),
    /// [`HeadersOnly`](crate::HeadersOnly), a [`ProblemJson`] with settings, the format of a well-known API from
    /// [`errors`](crate::errors), or a closure. For closures, see [`Respond`](crate::Respond).
    pub fn responder<T>(self, responder: T) -> ApiKeyLayer<S, T> {
        ApiKeyLayer {
            shared: self.shared,
            responder,
        }
    }

    /// Admits requests without a key, too, with no [`AuthContext`](crate::AuthContext) in their extensions. An invalid key
    /// is still refused, and so is an empty one: a client whose variable is not set would not notice that it is anonymous.
    ///
    /// A request is without a key, too, if it has one only where no [source](Self::sources) is, apart from `Authorization`: in
    /// another header, in the query, in the path. It is anonymous, and inner services see that key.
    ///
    /// Inside such a layer, an [`AuthContext`](crate::AuthContext) extractor and a [`RequireScope`](crate::RequireScope) refuse
    /// an anonymous request with 401, as this layer would if it were not optional.
    pub fn optional(self) -> Self {
        self.edit(|settings| settings.optional = true)
    }

    /// Requires every key to have this scope. Any other is refused with 403 before its limits are charged, which a
    /// [`RequireScope`](crate::RequireScope) inside the layer cannot do: the request was admitted then.
    ///
    /// Routes with different scopes can each have a clone of one layer. Clones share cache and limits.
    ///
    /// ```
    /// use axum::Router;
    /// use axum::routing::get;
    /// use tower_api_key::ApiKeyLayer;
    /// use tower_api_key::store::MemoryStore;
    ///
    /// let keys = ApiKeyLayer::new(MemoryStore::new());
    /// let may_read = keys.clone().require_scope("orders:read".parse()?);
    /// let app: Router = Router::new()
    ///     .route("/orders", get(|| async { "orders" }).route_layer(may_read))
    ///     .route("/whoami", get(|| async { "you" }).route_layer(keys));
    /// # let _ = app;
    /// # Ok::<_, tower_api_key::ParseError>(())
    /// ```
    pub fn require_scope(self, scope: Scope) -> Self {
        self.edit(|settings| settings.scope = Some(scope))
    }

    /// Reads keys from these sources instead of the default ones.
    ///
    /// An `Authorization` header of another scheme is ignored and stays in the request, marked sensitive, unless it holds a
    /// key: then it counts. Without a source in `Authorization`, that header belongs to others. For keys beside users' tokens in
    /// `Authorization: Bearer`, see [`KeySource::leave_others`], or
    /// list `x-api-key` alone.
    ///
    /// # Errors
    /// If there are none, if one is listed twice, or if one that leaves other values cannot tell keys from them.
    pub fn sources(self, sources: impl IntoIterator<Item = KeySource>) -> Result<Self, ConfigError> {
        let sources = Sources::new(sources, self.shared.authenticator.formats())?;
        Ok(self.edit(|settings| settings.set_sources(sources)))
    }

    /// Reads keys from one more source.
    ///
    /// # Errors
    /// If it is configured already.
    pub fn source(self, source: KeySource) -> Result<Self, ConfigError> {
        let listed = self.settings().sources().listed().to_vec();
        self.sources(listed.into_iter().chain([source]))
    }

    /// The realm that challenges name (RFC 9110, section 11.5). Default: `api`.
    ///
    /// # Errors
    /// If it is not 1 to 128 characters of visible ASCII or spaces, or contains `"` or `\`.
    pub fn challenge_realm(self, realm: &str) -> Result<Self, ConfigError> {
        let fits = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b'"' && byte != b'\\';
        if !(1..=128).contains(&realm.len()) || !realm.bytes().all(fits) {
            let expected = "must be 1 to 128 characters of visible ASCII or spaces, without `\"` and `\\`";
            let problem = format!("{expected}, got {}", quoted(realm));
            return Err(ConfigError::new("challenge realm", problem));
        }
        Ok(self.edit(|settings| settings.set_realm(realm)))
    }

    /// Takes the peer's address from the request's extensions with this function, instead of from
    /// [`ClientAddress`](crate::ClientAddress).
    ///
    /// With axum and `into_make_service_with_connect_info::<SocketAddr>()`:
    ///
    /// ```
    /// # use std::net::SocketAddr;
    /// # use axum::extract::ConnectInfo;
    /// # use tower_api_key::store::KeyStore;
    /// # fn with_address<S: KeyStore>(layer: tower_api_key::ApiKeyLayer<S>) -> tower_api_key::ApiKeyLayer<S> {
    /// layer.client_address(|extensions| Some(extensions.get::<ConnectInfo<SocketAddr>>()?.0.ip()))
    /// # }
    /// ```
    ///
    /// With tonic the type is `tonic::transport::server::TcpConnectInfo`, and the expression
    /// `Some(extensions.get::<TcpConnectInfo>()?.remote_addr()?.ip())`. With plain hyper, insert a
    /// [`ClientAddress`](crate::ClientAddress) for each connection.
    ///
    /// # Security
    /// Keys with allowed networks are refused while the address is unknown. The function must not read headers.
    pub fn client_address(self, find: fn(&Extensions) -> Option<IpAddr>) -> Self {
        self.edit(|settings| settings.address.peer = Some(find))
    }

    /// Takes the client's address from a header if the peer is a proxy in these networks.
    ///
    /// The header is `forwarded` (RFC 7239), `x-forwarded-for`, or one with a single address such as `x-real-ip`,
    /// `cf-connecting-ip` or `cloudfront-viewer-address`. Name the one that your proxies write. Lists are read from the right,
    /// past trusted proxies; the first other address is the client's. If the header is missing or unreadable, the address is
    /// unknown.
    ///
    /// Ports and zones (`%eth0`) are dropped. In an IPv6 address without brackets, what follows the last colon is a port in
    /// `cloudfront-viewer-address`, part of the address in other well-known headers, and in headers that this crate does not
    /// know whichever makes an address: if both do, as in `2001:db8::a:1234`, the address is unknown.
    ///
    /// # Security
    /// Every address in these networks can claim to be any client.
    ///
    /// # Errors
    /// If it is not a header name, if the header is known to hold no address (such as `x-forwarded-proto`), or if there are
    /// no networks.
    pub fn trusted_proxies(self, header: &str, networks: Networks) -> Result<Self, ConfigError> {
        let proxies = TrustedProxies::reporting_address(header, networks)?;
        Ok(self.edit(|settings| settings.address.proxies = Some(proxies)))
    }

    /// Leaves the key in the request. Values of headers that hold it are marked sensitive, so `Debug` does not show them; a
    /// query parameter stays in the URI.
    ///
    /// # Security
    /// By default the key is removed before inner services see the request, so that they cannot log it or forward it.
    pub fn keep_credential(self) -> Self {
        self.edit(|settings| settings.keep_credential = true)
    }

    /// When admitted responses have `RateLimit-Policy` and `RateLimit`. Default: always, for keys with a limit.
    pub fn rate_limit_headers(self, when: RateLimitHeaders) -> Self {
        self.edit(|settings| settings.success.rate_limit = when)
    }

    /// Whether `X-RateLimit-Limit`, `-Remaining` and `-Reset` (in seconds) are written as well, for the limit that has the
    /// smallest share left. Default: no.
    pub fn legacy_rate_limit_headers(self, enabled: bool) -> Self {
        self.edit(|settings| settings.success.legacy_rate_limit = enabled)
    }

    /// Whether admitted responses have `API-Key-Expires` if the key expires within seven days, or was replaced by a
    /// rotation. Default: yes.
    pub fn expiry_header(self, enabled: bool) -> Self {
        self.edit(|settings| settings.success.expires = enabled)
    }

    /// Whether admitted responses have a `Vary` that lists the headers keys come in. Default: yes.
    ///
    /// # Security
    /// Without it, a shared cache between clients and this service may give one client's response to another.
    pub fn vary(self, enabled: bool) -> Self {
        self.edit(|settings| settings.success.vary = enabled)
    }

    /// Whether admitted responses have `Cache-Control: private` if the inner service wrote no `Cache-Control`. Default: yes.
    ///
    /// # Security
    /// Without it, a shared cache may store responses to requests with `x-api-key`, a header it does not know.
    pub fn cache_control(self, enabled: bool) -> Self {
        self.edit(|settings| settings.success.cache_control = enabled)
    }

    /// Whether admitted responses get any of the headers above: `false` turns all of them off, `true` restores the
    /// defaults.
    ///
    /// # Security
    /// As for [`vary`](Self::vary) and [`cache_control`](Self::cache_control).
    pub fn success_headers(self, enabled: bool) -> Self {
        let options = match enabled {
            true => SuccessOptions::default(),
            false => SuccessOptions::NONE,
        };
        self.edit(|settings| settings.success = options)
    }

    /// Records key, organization and user on the caller's current [span](tracing::Span), in its fields `api_key.id`,
    /// `api_key.organization` and `api_key.user`, as far as it has them. Default: no.
    ///
    /// A layer around this one that makes the span has to declare the fields. With tower-http's `TraceLayer`:
    ///
    /// ```
    /// use tower_http::trace::TraceLayer;
    /// use tracing::field::Empty;
    ///
    /// let trace = TraceLayer::new_for_http().make_span_with(|request: &http::Request<axum::body::Body>| {
    ///     let method = tracing::field::display(request.method());
    ///     tracing::info_span!(
    ///         "request", method, api_key.id = Empty, api_key.organization = Empty, api_key.user = Empty
    ///     )
    /// });
    /// # let _ = trace;
    /// ```
    ///
    /// Refused requests are named as well, once the secret of their key was verified: a revoked key, one over its limit.
    pub fn record_on_span(self) -> Self {
        self.edit(|settings| settings.record_on_span = true)
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.shared.handle.settings
    }

    pub(super) fn edit(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut Arc::make_mut(&mut Arc::make_mut(&mut self.shared).handle).settings);
        self
    }
}

impl<I, S, R: Clone> Layer<I> for ApiKeyLayer<S, R> {
    type Service = ApiKeyService<I, S, R>;

    fn layer(&self, inner: I) -> Self::Service {
        ApiKeyService::new(inner, self.shared.clone(), self.responder.clone())
    }
}

// By hand: a derive would require `S: Clone`.
impl<S, R: Clone> Clone for ApiKeyLayer<S, R> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
            responder: self.responder.clone(),
        }
    }
}

impl<S, R> fmt::Debug for ApiKeyLayer<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings = self.settings();
        f.debug_struct("ApiKeyLayer")
            .field("challenge_realm", &settings.realm())
            .field("sources", &settings.sources().listed())
            .field("optional", &settings.optional)
            .field("address", &settings.address)
            .finish_non_exhaustive()
    }
}
