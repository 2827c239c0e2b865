//! The layer and its settings.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use http::request::Parts;
use http::{Extensions, Request, Response};
use tower_layer::Layer;

use super::address::AddressRule;
use super::answer::Terms;
use super::challenge::Challenges;
use super::credential::{Sources, Spot};
use super::forwarded::TrustedProxies;
use super::problem::ProblemJson;
use super::respond::RespondWith;
use super::service::ApiKeyService;
use super::source::KeySource;
use super::success::{RateLimitFields, SuccessOptions};
use super::vary::Vary;
use crate::check::{Authenticator, Rejection};
use crate::error::ConfigError;
use crate::key::Networks;
use crate::store::KeyStore;

/// Lets requests with a valid API key through, and refuses all others.
///
/// Put it around the routes that need a key, with axum's `route_layer` for instance; there are no lists of paths to
/// leave out. See the [module's documentation](crate::middleware) for its rules.
///
/// A second one inside finds no key any more, because the outer one takes it out of the request.
#[must_use = "a layer does nothing until it is put around a service"]
pub struct ApiKeyLayer<S, R = ProblemJson> {
    shared: Arc<Shared<S>>,
    responder: R,
}

/// What all services of a layer share.
pub(super) struct Shared<S> {
    pub(super) authenticator: Authenticator<S>,
    pub(super) settings: Arc<Settings>,
}

impl<S: KeyStore> ApiKeyLayer<S> {
    /// A layer that checks keys against this store, with safe defaults: keys from `Authorization: Bearer` or
    /// `x-api-key`, refusals as [`ProblemJson`].
    pub fn new(store: S) -> Self {
        Self::from(Authenticator::new(store))
    }
}

impl<S: KeyStore> From<Authenticator<S>> for ApiKeyLayer<S> {
    fn from(authenticator: Authenticator<S>) -> Self {
        let settings = Arc::new(Settings::new(authenticator.realm()));
        Self {
            shared: Arc::new(Shared {
                authenticator,
                settings,
            }),
            responder: ProblemJson::new(),
        }
    }
}

impl<S, R> ApiKeyLayer<S, R> {
    /// Answers refused requests with another responder: [`GrpcStatus`](crate::GrpcStatus),
    /// [`HeadersOnly`](crate::HeadersOnly), a [`ProblemJson`] with settings, or one's own.
    pub fn responder<T>(self, responder: T) -> ApiKeyLayer<S, T> {
        ApiKeyLayer {
            shared: self.shared,
            responder,
        }
    }

    /// Answers refused requests with a closure.
    ///
    /// It may think of the body alone: what it leaves out is added, see [`Respond`](crate::Respond).
    pub fn respond_with<F, B>(self, respond: F) -> ApiKeyLayer<S, RespondWith<F>>
    where
        F: Fn(&Rejection, &Parts) -> Response<B> + Clone,
    {
        self.responder(RespondWith(respond))
    }

    /// Lets requests without a key through, with no [`AuthContext`](crate::AuthContext) in their extensions.
    ///
    /// A key that is there but does not work is refused all the same: whoever sends one does not expect to be anonymous.
    ///
    /// A route inside that needs a key after all refuses by itself, and not with this layer's responder: an
    /// [`AuthContext`](crate::AuthContext) as a handler's argument answers with a plain [`ProblemJson`], a
    /// [`RequireScope`](crate::RequireScope) with its own responder.
    pub fn optional(self) -> Self {
        self.edit(|settings| settings.optional = true)
    }

    /// Looks for keys in these places instead of the default ones.
    ///
    /// An `Authorization` header of a scheme that is not listed is neither a key nor touched: next to a user's token in
    /// `Authorization: Bearer`, list `x-api-key` alone.
    ///
    /// # Errors
    /// When there is none, or one place twice.
    pub fn sources(self, sources: impl IntoIterator<Item = KeySource>) -> Result<Self, ConfigError> {
        let sources = Sources::new(sources)?;
        Ok(self.edit(|settings| settings.set_sources(sources)))
    }

    /// Looks for keys in one more place, after those there are.
    ///
    /// # Errors
    /// When keys are looked for there already.
    pub fn source(self, source: KeySource) -> Result<Self, ConfigError> {
        let listed = self.shared.settings.sources.listed().to_vec();
        self.sources(listed.into_iter().chain([source]))
    }

    /// Takes the peer's address from the request's extensions with a function, instead of from
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
    /// `Some(extensions.get::<TcpConnectInfo>()?.remote_addr()?.ip())`. With hyper alone there is nothing: insert a
    /// [`ClientAddress`](crate::ClientAddress) for each connection.
    ///
    /// # Security
    /// Keys with allowed networks are refused when the address is not known. The function must not read headers.
    pub fn client_address(self, find: fn(&Extensions) -> Option<IpAddr>) -> Self {
        self.edit(|settings| settings.address.peer = Some(find))
    }

    /// Takes the client's address from a header when the peer is a proxy in these networks.
    ///
    /// The header is `forwarded` (RFC 7239), `x-forwarded-for`, or one with a single address such as `x-real-ip`: the
    /// one that your proxies write, and only that one. Lists are read from the right, past trusted proxies; the first
    /// address beyond them is the client's. A missing or unreadable header leaves the address unknown.
    ///
    /// # Security
    /// Every address in these networks can claim to be anyone.
    ///
    /// # Errors
    /// When this is no header name or one that is known to hold no address, such as `x-forwarded-proto`, or there are no
    /// networks.
    pub fn trusted_proxies(self, header: &str, networks: Networks) -> Result<Self, ConfigError> {
        let proxies = TrustedProxies::of_addresses(header, networks)?;
        Ok(self.edit(|settings| settings.address.proxies = Some(proxies)))
    }

    /// Leaves the key in the request. Header values are marked sensitive then, which keeps them out of `Debug` output;
    /// a query parameter stays in the URI.
    ///
    /// # Security
    /// By default the key is taken out before inner services see the request, so that none of them can log it or send
    /// it on.
    pub fn keep_credential(self) -> Self {
        self.edit(|settings| settings.keep_credential = true)
    }

    /// When admitted responses carry `RateLimit-Policy` and `RateLimit`; always by default, for keys with a limit.
    pub fn rate_limit_fields(self, when: RateLimitFields) -> Self {
        self.edit(|settings| settings.success.rate_limit = when)
    }

    /// Writes the older `X-RateLimit-Limit`, `-Remaining` and `-Reset` (in seconds) as well, of the limit that is nearest
    /// to its end.
    pub fn legacy_rate_limit_fields(self) -> Self {
        self.edit(|settings| settings.success.legacy_rate_limit = true)
    }

    /// Leaves out `API-Key-Expires`, which tells of keys within seven days of their end or replaced by a rotation.
    pub fn without_expiry_field(self) -> Self {
        self.edit(|settings| settings.success.expires = false)
    }

    /// Leaves admitted responses without the `Vary` that lists where keys come from.
    ///
    /// # Security
    /// A shared cache between clients and this service may then give one client's answer to another.
    pub fn without_vary(self) -> Self {
        self.edit(|settings| settings.success.vary = false)
    }

    /// Leaves admitted responses without `Cache-Control: private` where the inner service wrote no `Cache-Control`.
    ///
    /// # Security
    /// A shared cache may then keep answers to requests with `x-api-key`, which means nothing to it.
    pub fn without_cache_control(self) -> Self {
        self.edit(|settings| settings.success.private = false)
    }

    /// Leaves admitted responses as they are: all of the fields above off.
    ///
    /// # Security
    /// As for [`without_vary`](Self::without_vary) and [`without_cache_control`](Self::without_cache_control).
    pub fn without_success_fields(self) -> Self {
        self.edit(|settings| settings.success = SuccessOptions::NONE)
    }

    fn edit(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(Arc::make_mut(&mut Arc::make_mut(&mut self.shared).settings));
        self
    }
}

/// The settings of a layer, with everything written once that is the same for all requests.
#[derive(Clone)]
pub(super) struct Settings {
    realm: Box<str>,
    pub(super) sources: Sources,
    pub(super) address: AddressRule,
    pub(super) optional: bool,
    pub(super) success: SuccessOptions,
    keep_credential: bool,
    challenges: Challenges,
    pub(super) vary: Option<Vary>,
}

impl Settings {
    fn new(realm: &str) -> Self {
        let sources = Sources::default();
        Self {
            challenges: Challenges::new(realm, sources.listed()),
            vary: Vary::by(sources.listed()),
            realm: realm.into(),
            sources,
            address: AddressRule::default(),
            optional: false,
            success: SuccessOptions::default(),
            keep_credential: false,
        }
    }

    fn set_sources(&mut self, sources: Sources) {
        self.challenges = Challenges::new(&self.realm, sources.listed());
        self.vary = Vary::by(sources.listed());
        self.sources = sources;
    }

    /// Takes the credentials out of a request, or marks those that are to stay.
    #[inline]
    pub(super) fn hide_credentials<Q>(&self, request: &mut Request<Q>, only: Option<Spot>) {
        if self.keep_credential {
            self.sources.mark_sensitive(request.headers_mut());
        } else {
            self.sources.strip(request, only);
        }
    }

    /// What refusals are completed with.
    pub(super) fn terms(&self) -> Terms<'_> {
        Terms {
            challenges: Some(&self.challenges),
            vary: self.vary.as_ref(),
            legacy_rate_limit: self.success.legacy_rate_limit,
        }
    }
}

impl<I, S, R: Clone> Layer<I> for ApiKeyLayer<S, R> {
    type Service = ApiKeyService<I, S, R>;

    fn layer(&self, inner: I) -> Self::Service {
        ApiKeyService::new(inner, self.shared.clone(), self.responder.clone())
    }
}

// By hand, here and below: a derive would ask that stores can be cloned.
impl<S, R: Clone> Clone for ApiKeyLayer<S, R> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
            responder: self.responder.clone(),
        }
    }
}

impl<S> Clone for Shared<S> {
    fn clone(&self) -> Self {
        Self {
            authenticator: self.authenticator.clone(),
            settings: self.settings.clone(),
        }
    }
}

impl<S, R> fmt::Debug for ApiKeyLayer<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings = &self.shared.settings;
        f.debug_struct("ApiKeyLayer")
            .field("realm", &settings.realm)
            .field("sources", &settings.sources.listed())
            .field("optional", &settings.optional)
            .field("address", &settings.address)
            .finish_non_exhaustive()
    }
}
