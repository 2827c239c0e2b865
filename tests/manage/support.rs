//! A served API, and a client of it.

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::State;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, IF_MATCH};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tower_api_key::hash::HashPolicy;
use tower_api_key::key::{Actor, Organization};
use tower_api_key::store::query::{Keys, KnownScopes, Organizations, Plans, Roles, Users};
use tower_api_key::store::{DynStore, PostgresStore, SqliteStore};
use tower_api_key::{ApiKeys, IssueRequest, IssuedKey, Issuer};

/// All scopes of the management API.
pub(crate) const ALL: &str = "api-keys.keys:read api-keys.keys:write api-keys.organizations:read api-keys.organizations:write \
                              api-keys.users:read api-keys.users:write api-keys.plans:read api-keys.plans:write \
                              api-keys.roles:read api-keys.roles:write api-keys.scopes:read api-keys.scopes:write \
                              api-keys.audit:read";
/// Those that only read.
pub(crate) const READ: &str = "api-keys.keys:read api-keys.organizations:read api-keys.users:read api-keys.plans:read \
                               api-keys.roles:read api-keys.scopes:read api-keys.audit:read";

/// Where an API keeps its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Store {
    /// In a file of its own.
    Sqlite,
    /// In a schema of its own, of the server of `scripts/services`.
    Postgres,
}

/// An API at a port of this machine.
pub(crate) struct Served {
    store: DynStore,
    pub(crate) keys: ApiKeys,
    address: std::net::SocketAddr,
    base: String,
    /// An id that no request changes.
    shielded: Arc<OnceLock<String>>,
    client: Client<HttpConnector, Full<Bytes>>,
    _folder: Option<tempfile::TempDir>,
}

/// An answer that was read to its end.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Served {
    pub(crate) async fn start(store: Store) -> Self {
        Self::start_with(store, |keys| keys.manage().router()).await
    }

    /// With a router of these keys.
    pub(crate) async fn start_with(store: Store, router: impl FnOnce(&ApiKeys) -> Router) -> Self {
        match store {
            Store::Sqlite => {
                let folder = tempfile::tempdir().unwrap();
                let store = SqliteStore::open(folder.path().join("keys.sqlite")).await.unwrap();
                Self::over(DynStore::new(store), Some(folder), router).await
            }
            Store::Postgres => {
                let url = std::env::var("API_KEYS_TEST_POSTGRES");
                let url = url.expect("no PostgreSQL; put `scripts/services` in front");
                let schema = format!("test_manage_{}", uuid::Uuid::now_v7().simple());
                let store = PostgresStore::builder().schema(&schema).open(&url).await.unwrap();
                Self::over(DynStore::new(store), None, router).await
            }
        }
    }

    /// Another server of the same database.
    pub(crate) async fn second(&self, router: impl FnOnce(&ApiKeys) -> Router) -> Self {
        Self::over(self.store.clone(), None, router).await
    }

    async fn over(store: DynStore, folder: Option<tempfile::TempDir>, router: impl FnOnce(&ApiKeys) -> Router) -> Self {
        let keys = ApiKeys::builder(store.clone())
            .hash_policy(HashPolicy::sha256())
            .open()
            .await
            .unwrap();
        let shielded = Arc::new(OnceLock::new());
        let shield = middleware::from_fn_with_state(shielded.clone(), shield);
        let app = Router::new().nest("/api/v1/auth", router(&keys).layer(shield));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let base = format!("http://{address}/api/v1/auth");
        let service = app.into_make_service_with_connect_info::<std::net::SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, service).await });
        Self {
            store,
            keys,
            address,
            base,
            shielded,
            client: Client::builder(TokioExecutor::new()).build_http(),
            _folder: folder,
        }
    }

    /// From now on, requests that change this key get a 404: a client that tries everything would stop itself.
    pub(crate) fn shield(&self, key: &IssuedKey) {
        self.shielded.set(key.record.id.to_string()).unwrap();
    }

    pub(crate) fn host(&self) -> Issuer<DynStore> {
        self.keys.issuer().acting_as(Actor::operator("test"))
    }

    pub(crate) async fn organization(&self, name: &str) -> Organization {
        self.host().create_organization(name).await.unwrap()
    }

    /// The operator's organization.
    pub(crate) async fn operator(&self) -> Organization {
        let made = self.organization("operator").await;
        let host = self.host();
        host.update_organization(made.id, |row| row.is_operator = true)
            .await
            .unwrap()
    }

    pub(crate) async fn key(&self, of: &Organization, scopes: &str) -> IssuedKey {
        let request = IssueRequest::new(of.id, "caller").scopes(scopes.parse().unwrap());
        self.host().issue(request).await.unwrap()
    }

    /// A request with a key and a JSON body, unless it is null.
    pub(crate) async fn ask(&self, key: &IssuedKey, method: Method, path: &str, body: Value) -> Reply {
        self.request(Some(key), method, path, None, body).await
    }

    /// The same, perhaps without a key, and perhaps with an `If-Match`.
    pub(crate) async fn request(
        &self,
        key: Option<&IssuedKey>,
        method: Method,
        path: &str,
        if_match: Option<&str>,
        body: Value,
    ) -> Reply {
        let mut builder = Request::builder().method(method).uri(format!("{}{path}", self.base));
        if let Some(key) = key {
            builder = builder.header(AUTHORIZATION, format!("Bearer {}", key.key.expose_secret()));
        }
        if let Some(tag) = if_match {
            builder = builder.header(IF_MATCH, tag);
        }
        self.send(match body {
            Value::Null => builder.body(Full::default()).unwrap(),
            body => builder
                .header(CONTENT_TYPE, "application/json")
                .body(body.to_string().into())
                .unwrap(),
        })
        .await
    }

    /// A request with these headers and a JSON body, unless they say another type.
    pub(crate) async fn plain(
        &self,
        method: Method,
        path: &str,
        headers: &[(&'static str, &str)],
        body: Value,
    ) -> Reply {
        let mut builder = Request::builder().method(method).uri(self.url(path));
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        if headers.iter().all(|(name, _)| *name != "content-type") {
            builder = builder.header(CONTENT_TYPE, "application/json");
        }
        let body = match body {
            Value::Null => Full::default(),
            body => body.to_string().into(),
        };
        self.send(builder.body(body).unwrap()).await
    }

    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Reply {
        let response = self.client.request(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let text = body.collect().await.unwrap().to_bytes();
        Reply {
            status: parts.status,
            headers: parts.headers,
            text: String::from_utf8(text.into()).unwrap(),
        }
    }

    /// The OpenAPI document.
    pub(crate) async fn document(&self) -> Value {
        self.request(None, Method::GET, "/openapi.json", None, Value::Null)
            .await
            .json(200)
    }

    /// All rows that people manage, as text.
    pub(crate) async fn dump(&self) -> String {
        let host = self.host();
        let organizations = host.organizations(Organizations::all().page(1000)).await.unwrap().items;
        let keys = host.keys(Keys::all().page(1000)).await.unwrap().items;
        let mut users = Vec::new();
        for organization in &organizations {
            users.extend(host.users(Users::of(organization.id).page(1000)).await.unwrap().items);
        }
        let plans = host.plans(Plans::all().page(1000)).await.unwrap().items;
        let roles = host.roles(Roles::all().page(1000)).await.unwrap().items;
        let scopes = host.known_scopes(KnownScopes::all().page(1000)).await.unwrap().items;
        format!("{organizations:#?}\n{keys:#?}\n{users:#?}\n{plans:#?}\n{roles:#?}\n{scopes:#?}")
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> std::net::SocketAddr {
        self.address
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }
}

async fn shield(
    State(shielded): State<Arc<OnceLock<String>>>,
    request: axum::extract::Request,
    next: Next,
) -> Response {
    let is_shielded = shielded
        .get()
        .is_some_and(|id| request.uri().path().to_lowercase().contains(id));
    if is_shielded && request.method() != Method::GET && request.headers().contains_key(AUTHORIZATION) {
        let problem = r#"{"type": "about:blank", "title": "Not Found", "status": 404}"#;
        return (
            StatusCode::NOT_FOUND,
            [(CONTENT_TYPE, "application/problem+json")],
            problem,
        )
            .into_response();
    }
    next.run(request).await
}

impl Reply {
    #[track_caller]
    pub(crate) fn json(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The last part of the problem's type, after its status.
    #[track_caller]
    pub(crate) fn problem(&self) -> (u16, String, Option<String>) {
        let problem: Value = serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text));
        assert_eq!(
            self.headers["content-type"], "application/problem+json",
            "{}",
            self.text
        );
        assert_eq!(problem["status"], self.status.as_u16(), "{}", self.text);
        let kind = problem["type"]
            .as_str()
            .unwrap()
            .rsplit([':', '#'])
            .next()
            .unwrap()
            .to_owned();
        let field = problem["field"].as_str().map(str::to_owned);
        (self.status.as_u16(), kind, field)
    }

    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }
}
