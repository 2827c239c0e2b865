//! An axum service with API keys in an embedded SQLite file.
//!
//! `cargo run --example axum --features sqlite`, then paste the curl line it prints.

mod support;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, Path, State};
use axum::http::{Extensions, StatusCode};
use axum::response::Json;
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use axum::{Router, serve};
use serde_json::{Value, json};
use support::{Demo, Failure};
use tower_api_key::{AuthContext, RequireScope};

#[tokio::main]
async fn main() -> Result<(), Failure> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let listener = support::listen("127.0.0.1:3000").await?;
    let address = listener.local_addr()?;
    let demo = Arc::new(Demo::open("sqlite:axum-example.sqlite").await?);

    let may_read = RequireScope::new("orders:read".parse()?);
    let may_write = RequireScope::new("orders:write".parse()?);
    let app = Router::new()
        .route("/whoami", get(who_am_i))
        .route("/orders", get(list_orders).route_layer(may_read))
        .route("/orders", post(add_order).route_layer(may_write.clone()))
        .route("/keys/{name}/revoke", post(revoke).route_layer(may_write))
        // Routes above need a key. Routes added below do not.
        .route_layer(demo.keys.layer().client_address(client_address))
        .route("/public", get(|| async { "open to everyone\n" }))
        .with_state(demo.clone());

    demo.announce(address, |key| {
        format!("curl -i http://{address}/whoami -H 'Authorization: Bearer {key}'")
    })?;
    // Small responses are sent at once.
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    let service = app.into_make_service_with_connect_info::<SocketAddr>();
    Ok(serve(listener, service).with_graceful_shutdown(interrupted()).await?)
}

/// The client's address, which axum gets from the listener.
fn client_address(extensions: &Extensions) -> Option<IpAddr> {
    let peer = extensions.get::<ConnectInfo<SocketAddr>>()?;
    Some(peer.0.ip())
}

async fn who_am_i(auth: AuthContext) -> Json<Value> {
    Json(json!({
        "organization": auth.organization().name,
        "user": auth.user(),
        "key_id": auth.key_id().to_string(),
        "environment": auth.environment(),
        "scopes": auth.scopes().iter().collect::<Vec<_>>(),
    }))
}

async fn list_orders() -> Json<Value> {
    Json(json!(["order-1", "order-2"]))
}

async fn add_order(auth: AuthContext) -> (StatusCode, Json<Value>) {
    (StatusCode::CREATED, Json(json!({ "added_by": auth.name() })))
}

/// Revokes the reader's or the limited key. It no longer works when the response is sent.
async fn revoke(
    State(demo): State<Arc<Demo>>,
    Path(name): Path<String>,
    auth: AuthContext,
) -> Result<StatusCode, StatusCode> {
    let id = demo.ids.get(name.as_str()).filter(|_| name != "writer");
    let id = id.ok_or(StatusCode::NOT_FOUND)?;
    // May do what the presented key may: revoke keys of its organization.
    let issuer = demo.keys.issuer_for(&auth);
    let revoked = issuer.revoke(*id, "asked for over HTTP").await;
    revoked.map(|_| StatusCode::NO_CONTENT).map_err(|error| {
        tracing::error!(%error, "could not revoke");
        StatusCode::SERVICE_UNAVAILABLE
    })
}

async fn interrupted() {
    // Without a signal handler the service runs until it is killed.
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
