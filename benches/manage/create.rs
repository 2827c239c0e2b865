//! A new key over HTTP, against the same call in the process.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::Router;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tower_api_key::key::{Actor, OrganizationId};
use tower_api_key::store::{DynStore, SqliteStore};
use tower_api_key::{ApiKeys, IssueRequest, Issuer, PresentedKey};

use crate::store::rows::File;
use crate::support::{Bounds, median, median_ratio};

const ROUNDS: usize = 31;
const KEYS: usize = 4;
const BOUND: f64 = 1.5;

struct Sides {
    organization: OrganizationId,
    issuer: Issuer<DynStore>,
    client: Client<HttpConnector, Full<Bytes>>,
    url: String,
    key: String,
}

pub async fn run(bounds: &mut Bounds) {
    let file = File::new();
    let store = SqliteStore::open(&file.path).await.expect("a store");
    let keys = ApiKeys::builder(DynStore::new(store)).open().await.expect("a handle");
    let sides = Sides::new(&keys).await;
    let (mut by_http, mut in_process) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let (mut http, mut here) = (Duration::ZERO, Duration::ZERO);
        for turn in 0..2 {
            let began = Instant::now();
            if (turn + round) % 2 == 0 {
                sides.by_http().await;
                http = began.elapsed();
            } else {
                sides.in_process().await;
                here = began.elapsed();
            }
        }
        if round > 0 {
            by_http.push(http.as_secs_f64() * 1e3 / KEYS as f64);
            in_process.push(here.as_secs_f64() * 1e3 / KEYS as f64);
        }
    }
    let ratio = median_ratio(&by_http, &in_process);
    println!(
        "a new key over HTTP {:.2} ms, in the process {:.2} ms",
        median(by_http),
        median(in_process)
    );
    bounds.check("create over HTTP / in the process, with its hash", ratio, ..=BOUND);
}

impl Sides {
    async fn new(keys: &ApiKeys) -> Self {
        let host = keys.issuer().acting_as(Actor::operator("bench"));
        let acme = host.create_organization("acme").await.expect("an organization");
        let request =
            IssueRequest::new(acme.id, "admin").scopes("orders:read api-keys.keys:write".parse().expect("scopes"));
        let admin = host.issue(request).await.expect("a key");
        let key = admin.key.expose_secret().to_owned();
        let checked = keys.authenticator().check(PresentedKey::new(key.as_bytes())).await;
        let issuer = keys.issuer_for(&checked.expect("it is good"));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/keys", listener.local_addr().expect("its address"));
        let app: Router = keys.manage().router();
        let service = app.into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, service).await });
        Self {
            organization: acme.id,
            issuer,
            client: Client::builder(TokioExecutor::new()).build_http(),
            url,
            key,
        }
    }

    async fn by_http(&self) {
        for _ in 0..KEYS {
            let request = Request::post(&self.url)
                .header("x-api-key", &self.key)
                .header("content-type", "application/json")
                .body(Full::from(r#"{"name": "nightly", "scopes": ["orders:read"]}"#));
            let response = self
                .client
                .request(request.expect("a request"))
                .await
                .expect("an answer");
            assert_eq!(response.status(), StatusCode::CREATED);
            response.into_body().collect().await.expect("a body");
        }
    }

    async fn in_process(&self) {
        for _ in 0..KEYS {
            let request =
                IssueRequest::new(self.organization, "nightly").scopes("orders:read".parse().expect("a scope"));
            let issued = self.issuer.issue(request).await;
            drop(issued.expect("a key"));
        }
    }
}
