//! A plain hyper service with API keys in an embedded SQLite file.
//!
//! `cargo run --example hyper --features sqlite`, then paste the curl line it prints.

mod support;

use std::convert::Infallible;
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Extensions, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use serde_json::json;
use support::{Demo, Failure};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};
use tower_api_key::{AuthContext, ClientAddress, RequireScope};

#[tokio::main]
async fn main() -> Result<(), Failure> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let listener = support::listen("127.0.0.1:3001").await?;
    let address = listener.local_addr()?;
    let demo = Demo::open("sqlite:hyper-example.sqlite").await?;
    let layer = demo.keys.layer();
    let may_write = RequireScope::new("orders:write".parse()?);

    demo.announce(address, |key| {
        format!("curl -i http://{address}/whoami -H 'x-api-key: {key}'")
    })?;
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // An error of one connection, or too many open files. Other connections are not affected.
                tracing::warn!(%error, "could not accept");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        // Small responses are sent at once.
        let _ = stream.set_nodelay(true);
        let may_write = may_write.clone();
        let keys = ServiceBuilder::new()
            .layer(layer.clone())
            .service_fn(move |request| answer(request, may_write.clone()));
        // The layer reads the client's address from the request. Only the code that accepts the connection knows it.
        let service = ServiceBuilder::new()
            .map_request(move |mut request: Request<Incoming>| {
                tell_address(request.extensions_mut(), peer.ip());
                request
            })
            .service(keys);
        tokio::spawn(async move {
            let service = TowerToHyperService::new(service);
            let connection = Builder::new(TokioExecutor::new());
            if let Err(error) = connection.serve_connection(TokioIo::new(stream), service).await {
                tracing::debug!(%error, "connection ended");
            }
        });
    }
}

fn tell_address(extensions: &mut Extensions, address: IpAddr) {
    extensions.insert(ClientAddress(address));
}

async fn answer(request: Request<Incoming>, may_write: RequireScope) -> Result<Response<Full<Bytes>>, Infallible> {
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/whoami") => Ok(who_am_i(&request)),
        (&Method::POST, "/orders") => may_write.layer(service_fn(add_order)).oneshot(request).await,
        _ => Ok(json(StatusCode::NOT_FOUND, json!({ "title": "Not Found" }))),
    }
}

fn who_am_i(request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let Some(auth) = request.extensions().get::<AuthContext>() else {
        // A mistake of this service, not of the client.
        let body = json!({ "title": "ApiKeyLayer is missing" });
        return json(StatusCode::INTERNAL_SERVER_ERROR, body);
    };
    let body = json!({
        "organization": auth.organization().name,
        "user": auth.user(),
        "key_id": auth.key_id().to_string(),
        "environment": auth.environment(),
        "scopes": auth.scopes().iter().collect::<Vec<_>>(),
    });
    json(StatusCode::OK, body)
}

async fn add_order(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let added_by = request.extensions().get::<AuthContext>().map(AuthContext::name);
    Ok(json(StatusCode::CREATED, json!({ "added_by": added_by })))
}

fn json(status: StatusCode, body: serde_json::Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body.to_string()));
    *response.status_mut() = status;
    let json = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}
