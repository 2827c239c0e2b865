//! An axum service with API keys in PostgreSQL. Start as many as you like: all of them share the keys.
//!
//! `DATABASE_URL=postgres://user:password@localhost/app cargo run --example postgres --features postgres`, then paste the curl line
//! that the first one prints. Its tables are in a schema of their own, `api_keys`. `LISTEN=127.0.0.1:3001` is for the next one.

#[allow(dead_code, reason = "this example makes its keys itself")]
mod support;

use std::io::{Write, stdout};
use std::net::SocketAddr;

use axum::extract::ConnectInfo;
use axum::routing::get;
use axum::serve::ListenerExt;
use axum::{Router, serve};
use support::Failure;
use tower_api_key::{ApiKeys, AuthContext};

#[tokio::main]
async fn main() -> Result<(), Failure> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let url =
        std::env::var("DATABASE_URL").map_err(|_| "DATABASE_URL is not set: postgres://user:password@host/database")?;
    let listener = support::listen("127.0.0.1:3000").await?;
    let address = listener.local_addr()?;

    // Makes the schema, unless another process was first.
    let keys = ApiKeys::open(&url).await.map_err(|error| support::reason(&error))?;
    // Of several processes that start at once, one makes the key. The others find it, and its text is stored nowhere.
    let first = keys.ensure("acme", "test").await?;

    // Counts of uses are stored once a minute; rows that are too old are deleted. Each task is done by one of all processes.
    let maintenance = keys.maintenance();
    tokio::spawn(async move { maintenance.run().await });

    let layer = keys
        .layer()
        .client_address(|request| Some(request.get::<ConnectInfo<SocketAddr>>()?.0.ip()));
    let app = Router::new()
        .route("/whoami", get(who_am_i))
        .route_layer(layer)
        .route("/public", get(|| async { "open to everyone\n" }));

    let mut out = stdout().lock();
    writeln!(out, "listening on http://{address}")?;
    match &first.key {
        Some(key) => {
            // Shown this once: only a demonstration prints a key.
            let key = key.expose_secret();
            writeln!(out, "key test {key}")?;
            writeln!(out, "curl -i http://{address}/whoami -H 'Authorization: Bearer {key}'")?;
        }
        None => writeln!(out, "the key `test` was made at an earlier start")?,
    }
    out.flush()?;
    drop(out);

    // Small responses are sent at once.
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    let service = app.into_make_service_with_connect_info::<SocketAddr>();
    serve(listener, service).with_graceful_shutdown(interrupted()).await?;
    Ok(keys.flush().await?) // What was counted in the last minute.
}

async fn who_am_i(auth: AuthContext) -> String {
    format!("{} of {}\n", auth.name(), auth.organization().name)
}

async fn interrupted() {
    // Without a signal handler the service runs until it is killed.
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
