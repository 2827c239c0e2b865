//! A server with the routes that the client libraries ask, and a second one by which a test controls it.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Query, State};
use axum::http::{Extensions, HeaderMap, Request, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use axum::{Router, serve};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::server::TcpConnectInfo;
use tower::util::MapRequestLayer;
use tower_api_key::hash::HashPolicy;
use tower_api_key::key::{Actor, KeyId, OrganizationId, RateLimit};
use tower_api_key::store::{MemoryStore, StoreErrorKind};
use tower_api_key::testing::{Fault, FaultStore};
use tower_api_key::{
    ApiKeyLayer, ApiKeys, AuthContext, GrpcStatus, IssueRequest, Issuer, KeySource, RequireScope, errors,
};

/// The servers. They end with the test's runtime.
pub(crate) struct Server {
    pub(crate) http: SocketAddr,
    pub(crate) grpc: SocketAddr,
    pub(crate) control: SocketAddr,
}

type Store = FaultStore<MemoryStore>;

#[derive(Clone)]
struct Control {
    store: Store,
    issuer: Issuer<Store>,
    organization: OrganizationId,
    ids: Arc<Mutex<HashMap<String, KeyId>>>,
    requests: Arc<AtomicUsize>,
}

impl Server {
    /// Starts the servers. Behind a proxy, the client's address is in `X-Forwarded-For`.
    pub(crate) async fn start(behind_proxy: bool) -> Self {
        let store = FaultStore::new(MemoryStore::new());
        let keys = ApiKeys::builder(store.clone())
            .hash_policy(HashPolicy::sha256())
            .checking();
        let issuer = keys.issuer().acting_as(Actor::service());
        let organization = issuer.create_organization("acme").await.unwrap().id;
        let requests = Arc::new(AtomicUsize::new(0));

        let trusting = |layer: ApiKeyLayer<Store>| match behind_proxy {
            true => layer
                .trusted_proxies("x-forwarded-for", "127.0.0.1/32".parse().unwrap())
                .unwrap(),
            false => layer,
        };
        let layer = || trusting(keys.layer().client_address(axum_peer));
        let counter = requests.clone();
        let counted = MapRequestLayer::new(move |request: Request<Body>| {
            counter.fetch_add(1, Ordering::SeqCst);
            request
        });
        let app = Router::new()
            .merge(openai(layer()))
            .merge(anthropic(layer()))
            .merge(stripe(layer()))
            .merge(plain(layer()));
        let http = listen().await;
        let http_address = http.local_addr().unwrap();
        let service = app.layer(counted).into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { serve(http, service).await.unwrap() });

        let grpc = listen().await;
        let grpc_address = grpc.local_addr().unwrap();
        let (_reporter, health) = tonic_health::server::health_reporter();
        let counter = requests.clone();
        let server = tonic::transport::Server::builder()
            .layer(MapRequestLayer::new(move |request: Request<tonic::body::Body>| {
                counter.fetch_add(1, Ordering::SeqCst);
                request
            }))
            .layer(trusting(keys.layer().client_address(tonic_peer)).responder(GrpcStatus))
            .add_service(health);
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(grpc)));

        let control = listen().await;
        let control_address = control.local_addr().unwrap();
        let state = Control {
            store,
            issuer,
            organization,
            ids: Arc::default(),
            requests,
        };
        let app = Router::new()
            .route("/key", get(issue))
            .route("/revoke", get(revoke))
            .route("/outage", get(outage))
            .route("/requests", get(count))
            .with_state(state);
        tokio::spawn(async move { serve(control, app).await.unwrap() });
        Self {
            http: http_address,
            grpc: grpc_address,
            control: control_address,
        }
    }
}

async fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

fn axum_peer(extensions: &Extensions) -> Option<IpAddr> {
    Some(extensions.get::<ConnectInfo<SocketAddr>>()?.0.ip())
}

fn tonic_peer(extensions: &Extensions) -> Option<IpAddr> {
    Some(extensions.get::<TcpConnectInfo>()?.remote_addr()?.ip())
}

// The routes.

fn openai(layer: ApiKeyLayer<Store>) -> Router {
    let format = errors::openai();
    let scope = RequireScope::new("use".parse().unwrap()).responder(format);
    let chat = post(|auth: AuthContext, body: Json<Value>| async move {
        let answer = |key: &str, value: Value| {
            let mut answer = json!({"id": "c", "created": 1, "model": "m"});
            answer["choices"] = json!([{"index": 0, key: value, "finish_reason": null}]);
            answer
        };
        if body["stream"] == true {
            let mut chunk = answer("delta", json!({"role": "assistant", "content": "tick"}));
            chunk["object"] = json!("chat.completion.chunk");
            return until_revoked(auth, "", format!("data: {chunk}\n\n"), "data: [DONE]\n\n");
        }
        let mut answer = answer("message", json!({"role": "assistant", "content": "hello"}));
        answer["object"] = json!("chat.completion");
        Json(answer).into_response()
    });
    Router::new()
        .route("/openai/v1/chat/completions", chat.route_layer(scope))
        .route_layer(layer.responder(format))
}

fn anthropic(layer: ApiKeyLayer<Store>) -> Router {
    let format = errors::anthropic();
    let scope = RequireScope::new("use".parse().unwrap()).responder(format);
    let messages = post(|auth: AuthContext, body: Json<Value>| async move {
        let message = |content: Value| {
            let usage = json!({"input_tokens": 1, "output_tokens": 1});
            json!({
                "id": "m", "type": "message", "role": "assistant", "model": "m", "content": content,
                "stop_reason": null, "stop_sequence": null, "usage": usage,
            })
        };
        if body["stream"] == true {
            let event = |value: Value| format!("event: {}\ndata: {value}\n\n", value["type"].as_str().unwrap());
            let text = json!({"type": "text", "text": ""});
            let start = event(json!({"type": "message_start", "message": message(json!([]))}))
                + &event(json!({"type": "content_block_start", "index": 0, "content_block": text}));
            let delta = json!({"type": "text_delta", "text": "tick"});
            let tick = event(json!({"type": "content_block_delta", "index": 0, "delta": delta}));
            return until_revoked(auth, &start, tick, &event(json!({"type": "message_stop"})));
        }
        Json(message(json!([{"type": "text", "text": "hello"}]))).into_response()
    });
    Router::new()
        .route("/anthropic/v1/messages", messages.route_layer(scope))
        .route_layer(layer.responder(format))
}

fn stripe(layer: ApiKeyLayer<Store>) -> Router {
    let format = errors::stripe();
    let scope = RequireScope::new("use".parse().unwrap()).responder(format);
    let sources = [KeySource::bearer(), KeySource::basic()];
    Router::new()
        .route(
            "/stripe/v1/customers/{id}",
            get(async || Json(json!({"id": "cus_1", "object": "customer"}))),
        )
        .route(
            "/stripe/v1/quotes/{id}/pdf",
            get(async |auth: AuthContext| until_revoked(auth, "", "%PDF\n".to_owned(), "%%EOF\n")),
        )
        .route_layer(scope)
        .route_layer(layer.sources(sources).unwrap().responder(format))
}

fn plain(layer: ApiKeyLayer<Store>) -> Router {
    Router::new()
        .route(
            "/plain",
            get(async |auth: AuthContext, headers: HeaderMap| {
                let sees_key = headers.contains_key("authorization") || headers.contains_key("x-api-key");
                Json(json!({"key_id": auth.key_id().to_string(), "sees_key": sees_key}))
            }),
        )
        .route(
            "/plain/ticks",
            get(async |auth: AuthContext| until_revoked(auth, "", "data: tick\n\n".to_owned(), "data: end\n\n")),
        )
        .route_layer(layer)
}

/// Repeats a text until the key is revoked, so that a client that waits for the end first never gets it.
fn until_revoked(auth: AuthContext, first: &str, tick: String, last: &str) -> Response {
    let (texts, stream) = mpsc::channel(1);
    let (first, last) = (first.to_owned(), last.to_owned());
    tokio::spawn(async move {
        let ticks = async {
            let mut text = first + &tick;
            while texts.send(text).await.is_ok() {
                text = tick.clone();
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::select! {
            () = ticks => {}
            () = auth.revoked() => {
                let _ = texts.send(last).await;
            }
        }
    });
    let body = Body::from_stream(ReceiverStream::new(stream).map(|text| Ok::<_, Infallible>(Bytes::from(text))));
    ([(header::CONTENT_TYPE, "text/event-stream")], body).into_response()
}

// The control.

/// A new key. Each kind is refused in its own way, or works.
async fn issue(State(control): State<Control>, Query(query): Query<HashMap<String, String>>) -> String {
    let request = IssueRequest::new(control.organization, "a key");
    let scoped = |request: IssueRequest| request.scopes("use".parse().unwrap());
    let limit = |seconds| RateLimit::new("requests", 1, Duration::from_secs(seconds)).unwrap();
    let kind = query["kind"].as_str();
    let request = match kind {
        "good" | "revoked" => scoped(request),
        "unscoped" => request,
        "limited" => scoped(request).limit(limit(2)),
        "exhausted" => scoped(request).limit(limit(86_400)),
        "here" => scoped(request).networks("127.0.0.1/32".parse().unwrap()),
        "elsewhere" => scoped(request).networks("192.0.2.0/24".parse().unwrap()),
        other => panic!("no kind {other}"),
    };
    let issued = control.issuer.issue(request).await.unwrap();
    let key = issued.key.expose_secret().to_owned();
    if kind == "revoked" {
        control.issuer.revoke(issued.record.id, "a test").await.unwrap();
    }
    control.ids.lock().unwrap().insert(key.clone(), issued.record.id);
    key
}

async fn revoke(State(control): State<Control>, Query(query): Query<HashMap<String, String>>) -> StatusCode {
    let id = control.ids.lock().unwrap()[&query["key"]];
    control.issuer.revoke(id, "a test").await.unwrap();
    StatusCode::NO_CONTENT
}

/// The store fails for as many loads. Each tries it twice.
async fn outage(State(control): State<Control>, Query(query): Query<HashMap<String, String>>) -> StatusCode {
    for _ in 0..2 * query["loads"].parse::<u32>().unwrap() {
        control
            .store
            .faults()
            .next_find(Fault::Error(StoreErrorKind::Unavailable));
    }
    StatusCode::NO_CONTENT
}

/// How many requests came since the last question.
async fn count(State(control): State<Control>) -> String {
    control.requests.swap(0, Ordering::SeqCst).to_string()
}
