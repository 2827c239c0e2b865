//! The router and its settings.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, DefaultBodyLimit};
use axum::middleware::{from_fn, from_fn_with_state};
use http::Extensions;
use http::request::Parts;

use super::hosts::{self, Host, Hosts};
use super::state::{Door, Login, ManageState};
use super::{ended, health, openapi, scopes};
use crate::audit::Caller;
use crate::error::ConfigError;
use crate::issue::Principal;
use crate::key::Networks;
use crate::keys::ApiKeys;
use crate::middleware::address::ClientAddress;
use crate::middleware::layer::ApiKeyLayer;
use crate::store::{DynStore, ManagedStore};

/// The management API before it is a router, with its settings. Made by [`ApiKeys::manage`].
#[derive(Clone, Debug)]
#[must_use = "it does nothing until it is a router"]
pub struct Manage {
    state: ManageState,
    layer: ApiKeyLayer<DynStore>,
    transport: Transport,
    allowed_hosts: Vec<Host>,
}

/// What connections requests may come over.
#[derive(Clone, Debug)]
enum Transport {
    /// From this machine, and to it.
    Loopback,
    /// HTTPS, as these proxies say in this header.
    Proxies {
        header: String,
        networks: Networks,
    },
    Any,
}

impl<S: ManagedStore + Clone> ApiKeys<S> {
    /// The management API: an axum router for organizations, keys, users, plans, roles and the audit trail.
    ///
    /// Requests come with a key of this handle. What it may read and change is judged by [`issuer_for`](ApiKeys::issuer_for); each
    /// route asks for a scope such as `api-keys.keys:read` on top, which no wildcard covers.
    ///
    /// ```
    /// use axum::Router;
    /// use axum::body::Body;
    /// use axum::http::{Request, StatusCode};
    /// use tower::ServiceExt;
    /// use tower_api_key::key::Actor;
    /// use tower_api_key::{ApiKeys, IssueRequest};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let keys = ApiKeys::open("memory:").await?;
    /// let host = keys.issuer().acting_as(Actor::operator("alice"));
    /// let acme = host.create_organization("acme").await?;
    /// let admin = IssueRequest::new(acme.id, "admin").scopes("api-keys.keys:read".parse()?);
    /// let admin = host.issue(admin).await?;
    ///
    /// let api = keys.manage().dangerous_plain_http().router();
    /// let app = Router::new().nest("/api/v1/auth", api);
    /// let request = Request::get("/api/v1/auth/keys").header("x-api-key", admin.key.expose_secret());
    /// let response = app.oneshot(request.body(Body::empty())?).await?;
    /// assert_eq!(response.status(), StatusCode::OK);
    /// # Ok(())
    /// # }
    /// ```
    pub fn manage(&self) -> Manage {
        let keys = self.erased();
        Manage {
            layer: keys.layer().client_address(peer_address),
            state: ManageState {
                keys,
                door: Door::Keys,
                largest_body: LARGEST_BODY,
            },
            transport: Transport::Loopback,
            allowed_hosts: Vec::new(),
        }
    }
}

impl Manage {
    /// All scopes that its routes ask for. A key of the operator's that has them may do everything that the API can.
    pub const SCOPES: &'static [&'static str] = scopes::ALL;

    /// Changes the settings of the layer that checks the keys: where they come from, and how the client's address is found.
    /// It begins with those of [`ApiKeys::layer`], with the address of the peer from axum's `ConnectInfo<SocketAddr>` or from
    /// [`ClientAddress`].
    ///
    /// # Errors
    /// Those of the function.
    pub fn layer(
        mut self,
        change: impl FnOnce(ApiKeyLayer<DynStore>) -> Result<ApiKeyLayer<DynStore>, ConfigError>,
    ) -> Result<Self, ConfigError> {
        self.layer = change(self.layer)?;
        Ok(self)
    }

    /// Admits requests that came over HTTPS, as proxies in these networks say in this header, such as `x-forwarded-proto`; see
    /// [`ApiKeyLayer::require_https`]. Then requests without a proxy are refused, also those from this machine.
    ///
    /// # Errors
    /// As for [`ApiKeyLayer::require_https`].
    pub fn https_by_proxies(mut self, header: &str, networks: Networks) -> Result<Self, ConfigError> {
        // Said here, and not when it becomes a router.
        let _ = self.layer.require_https(header, networks.clone())?;
        self.transport = Transport::Proxies {
            header: header.to_owned(),
            networks,
        };
        Ok(self)
    }

    /// Admits requests over whatever connection they come: for a service that terminates TLS itself.
    ///
    /// By default, only requests from this machine are admitted: peer and `Host` are loopback, and no proxy has left a header. Once the
    /// [layer](Self::layer) trusts proxies, not even those: then say how requests come, by [`https_by_proxies`](Self::https_by_proxies).
    ///
    /// # Security
    /// Without TLS, everyone on the way reads the keys that are issued.
    pub fn dangerous_plain_http(mut self) -> Self {
        self.transport = Transport::Any;
        self
    }

    /// The largest body of a request, in bytes. Default: 64 KiB, which no request that is valid comes near.
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.state.largest_body = bytes;
        self
    }

    /// Whether it admits nothing that did not come over HTTPS, by what [`layers`](ApiKeys::layers) of the handle or
    /// [`https_by_proxies`](Self::https_by_proxies) say.
    pub fn is_https_only(&self) -> bool {
        matches!(self.transport, Transport::Proxies { .. }) || self.layer.is_https_only()
    }

    /// Takes the host's login in place of a management key: the function says who is logged in, by what the host's own middleware
    /// has put into the request. Users make, list, rename, rotate and revoke their own keys, see [`Principal`]; `None` is a 401.
    ///
    /// `public_url` is where the pages of the service are, such as `https://app.example.com`. A request whose `Host` is neither that
    /// one nor of [`allowed_hosts`](Self::allowed_hosts) is answered with 421.
    ///
    /// ```
    /// use axum::body::{Body, to_bytes};
    /// use http::request::Parts;
    /// use http::{Request, StatusCode};
    /// use tower::ServiceExt;
    /// use tower_api_key::key::{OrganizationId, UserId};
    /// use tower_api_key::{ApiKeys, Principal};
    ///
    /// #[derive(Clone)]
    /// struct Login {
    ///     organization: OrganizationId,
    ///     user: UserId,
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let keys = ApiKeys::open("memory:").await?;
    /// # let acme = keys.ensure("acme", "first").await?.organization;
    /// let find = |request: &Parts| {
    ///     // From a session that the host has verified, never from what the client writes.
    ///     let login = request.extensions.get::<Login>()?;
    ///     Some(Principal::new(login.organization, login.user.clone()))
    /// };
    /// let manage = keys.manage().principal("https://app.example.com", find)?;
    /// let router = manage.dangerous_plain_http().router();
    ///
    /// let login = Login { organization: acme.id, user: "alice".parse()? }; // as the host's middleware has it
    /// // What the script of a page does: it asks for a token, and sends it with each change.
    /// let ask = Request::get("/csrf").header("host", "app.example.com").extension(login.clone());
    /// let answer = router.clone().oneshot(ask.body(Body::empty())?).await?;
    /// let cookie = answer.headers()["set-cookie"].to_str()?.split(';').next().unwrap_or_default().to_owned();
    /// let answer: serde_json::Value = serde_json::from_slice(&to_bytes(answer.into_body(), 1000).await?)?;
    /// let token = answer["token"].as_str().ok_or("no token")?;
    ///
    /// let create = || {
    ///     let request = Request::post("/keys").header("host", "app.example.com").extension(login.clone());
    ///     request.header("content-type", "application/json").header("cookie", &cookie)
    /// };
    /// let with_token = create().header("x-csrf-token", token).body(Body::from(r#"{"name": "laptop"}"#))?;
    /// assert_eq!(router.clone().oneshot(with_token).await?.status(), StatusCode::CREATED);
    /// let forged = create().body(Body::from(r#"{"name": "laptop"}"#))?;
    /// assert_eq!(router.oneshot(forged).await?.status(), StatusCode::FORBIDDEN);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Requests of other sites
    /// Whatever the host's cookie is, another site cannot use it to change something (CSRF). Each request but `GET` needs the token that
    /// `GET /csrf` answers, in the header `x-csrf-token` and in the cookie `__Host-api-keys-csrf`, which that answer sets. The token is
    /// of the user and the organization that are logged in, and lasts 12 hours; without it, or when somebody else has logged in since,
    /// the answer is a 403. `Origin` and `Sec-Fetch-Site`, where a browser sends them, must say that it is a page of `public_url` or of an
    /// allowed host; `POST` takes `application/json` alone; and no CORS header is ever sent. Browsers keep the cookie on pages of HTTPS
    /// alone, and most of them on `http://localhost`.
    ///
    /// # Errors
    /// When `public_url` is no absolute URL of HTTP or HTTPS.
    pub fn principal(
        mut self,
        public_url: &str,
        find: impl Fn(&Parts) -> Option<Principal> + Send + Sync + 'static,
    ) -> Result<Self, ConfigError> {
        self.state.door = Door::Principal(Login {
            find: Arc::new(find),
            hosts: Arc::new(Hosts::new(public_url)?),
        });
        Ok(self)
    }

    /// Further values of `Host`, with or without a port, that requests of a [`principal`](Self::principal) may have: for a proxy that
    /// writes a name of its own, or several names of the service. `X-Forwarded-Host` is never read.
    ///
    /// # Errors
    /// When one of them is no name of a host.
    pub fn allowed_hosts<'h>(mut self, hosts: impl IntoIterator<Item = &'h str>) -> Result<Self, ConfigError> {
        for host in hosts {
            self.allowed_hosts.push(Host::new(host)?);
        }
        Ok(self)
    }

    /// Serves every request in the name of this caller, without a key: for a program that talks to its own router, as a command
    /// line does.
    ///
    /// # Security
    /// Everyone who reaches the router may do everything. Never serve it on a socket.
    pub fn dangerous_without_keys(mut self, caller: impl Into<Caller>) -> Self {
        self.state.door = Door::Host(caller.into());
        self
    }

    /// The router, to be nested or served. Paths begin with `/keys`, `/organizations` and so on; the OpenAPI document is at
    /// `/openapi.json`.
    pub fn router(mut self) -> Router {
        let (routes, document) = openapi::of().split_for_parts();
        let mut routes = routes.layer(DefaultBodyLimit::max(self.state.largest_body));
        let is_by_key = matches!(self.state.door, Door::Keys);
        if is_by_key {
            routes = routes
                .route_layer(from_fn(ended::answered_by_layer))
                .route_layer(self.layer.clone());
        }
        let mut routes = routes
            .merge(health::document(document))
            .method_not_allowed_fallback(health::method_not_allowed)
            .fallback(health::not_found);
        if let Door::Principal(login) = &mut self.state.door {
            Arc::make_mut(&mut login.hosts).others = self.allowed_hosts;
            routes = routes.layer(from_fn_with_state(login.hosts.clone(), hosts::known));
        }
        let routes = routes.with_state(self.state);
        match self.transport {
            Transport::Any => routes,
            Transport::Loopback => match self.layer.own_https() {
                None => routes.layer(self.layer.require_loopback()),
                // The layer asks its proxies itself, for every request with a key.
                Some(_) if is_by_key => routes,
                Some(https) => routes.layer(https),
            },
            Transport::Proxies { header, networks } => match self.layer.require_https(&header, networks) {
                Ok(https) => routes.layer(https),
                // It was accepted when it was set; nobody is admitted otherwise.
                Err(_) => routes.layer(self.layer.require_loopback()),
            },
        }
    }
}

/// From whichever of the two has it.
fn peer_address(extensions: &Extensions) -> Option<IpAddr> {
    if let Some(ClientAddress(address)) = extensions.get() {
        return Some(*address);
    }
    let peer = extensions.get::<ConnectInfo<SocketAddr>>()?;
    Some(peer.0.ip())
}

/// Of a request, in bytes.
const LARGEST_BODY: usize = 64 * 1024;
