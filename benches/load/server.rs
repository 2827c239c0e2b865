//! The server's process, with a port for each side.

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::routing::get;
use bytes::Bytes;
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::body::Body as GrpcBody;
use tower::layer::layer_fn;
use tower::{Layer, Service, ServiceBuilder, service_fn};
use tower_api_key::{ApiKeyLayer, Authenticator, GrpcStatus};

use super::naive;
use super::sides::{Around, SIDES, Side, Stack};
use crate::support::baseline::{Baseline, BaselineService};
use crate::support::keys::{self, Keys};
use crate::support::process::{next_line, processor_time, say};

/// Prints a line for each side with its port and its keys. Then answers every line with the processor time used so far.
pub fn run(keys: usize) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let plain = keys::issue(keys, &[]).await;
        let limited = keys::issue(keys, &[keys::wide_limit()]).await;
        for side in &SIDES {
            let keys = if side.has_limit() { &limited } else { &plain };
            let port = serve(side, keys).await;
            say(&format!("{port} {}", keys.texts.join(" ")));
        }
    });
    while next_line().is_some() {
        say(&processor_time().as_nanos().to_string());
    }
}

async fn serve(side: &Side, keys: &Keys) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("its address").port();
    match side.server {
        Stack::Axum => serve_axum(listener, side.around, keys),
        Stack::Hyper => serve_hyper(listener, side.around, keys),
        Stack::Tonic => serve_tonic(listener, side.around, keys).await,
    }
    port
}

fn layer(keys: &Keys, success_headers: bool) -> ApiKeyLayer<tower_api_key::store::MemoryStore> {
    ApiKeyLayer::from(Authenticator::new(keys.store.clone()))
        .client_address(|extensions| Some(extensions.get::<ConnectInfo<SocketAddr>>()?.0.ip()))
        .success_headers(success_headers)
}

fn serve_axum(listener: TcpListener, around: Around, keys: &Keys) {
    let route = Router::new().route("/orders", get(|| async { super::BODY }));
    let app = match around {
        Around::Nothing => route,
        Around::Idle => route.route_layer(layer_fn(Idle)),
        Around::Layer { success_headers, .. } => route.route_layer(layer(keys, success_headers)),
        Around::Naive => {
            let clients = naive::clients(&keys.texts);
            route.route_layer(axum::middleware::from_fn_with_state(clients, naive::require_key))
        }
        Around::ByHand => {
            let baseline = Arc::new(Baseline::new(&keys.texts, Some(&keys::wide_limit())));
            route.route_layer(layer_fn(move |route| {
                BaselineService::new(route, baseline.clone()).without_success_fields()
            }))
        }
    };
    let service = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
}

fn serve_hyper(listener: TcpListener, around: Around, keys: &Keys) {
    type Answer = http::Response<Full<Bytes>>;
    let orders = service_fn(async |_: http::Request<hyper::body::Incoming>| {
        Ok::<Answer, std::convert::Infallible>(http::Response::new(Full::from(super::BODY)))
    });
    match around {
        Around::Nothing => accept(listener, move |_| orders),
        _ => {
            let layer = layer(keys, false);
            accept(listener, move |peer: SocketAddr| {
                let with_peer = move |mut request: http::Request<_>| {
                    request.extensions_mut().insert(ConnectInfo(peer));
                    request
                };
                ServiceBuilder::new()
                    .map_request(with_peer)
                    .service(layer.layer(orders))
            });
        }
    }
}

/// Accepts connections, and serves each with a service of its own.
fn accept<S, F>(listener: TcpListener, service: F)
where
    F: Fn(SocketAddr) -> S + Send + 'static,
    S: Service<
            http::Request<hyper::body::Incoming>,
            Response = http::Response<Full<Bytes>>,
            Error = std::convert::Infallible,
            Future: Send,
        > + Clone
        + Send
        + 'static,
{
    tokio::spawn(async move {
        while let Ok((stream, peer)) = listener.accept().await {
            let service = TowerToHyperService::new(service(peer));
            tokio::spawn(async move {
                let server = auto::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
}

async fn serve_tonic(listener: TcpListener, around: Around, keys: &Keys) {
    let (_, health) = tonic_health::server::health_reporter();
    let incoming = TcpListenerStream::new(listener);
    match around {
        Around::Nothing => {
            let server = tonic::transport::Server::builder().add_service(health);
            tokio::spawn(server.serve_with_incoming(incoming));
        }
        _ => {
            let peer = |extensions: &http::Extensions| {
                let info = extensions.get::<tonic::transport::server::TcpConnectInfo>()?;
                Some(info.remote_addr()?.ip())
            };
            let layer = layer(keys, false).client_address(peer).responder(GrpcStatus);
            let server = tonic::transport::Server::builder().layer(layer).add_service(health);
            tokio::spawn(server.serve_with_incoming::<_, _, _, GrpcBody>(incoming));
        }
    }
}

#[derive(Clone)]
struct Idle<I>(I);

impl<I: Service<Request>> Service<Request> for Idle<I> {
    type Response = I::Response;
    type Error = I::Error;
    type Future = I::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), I::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> I::Future {
        self.0.call(request)
    }
}
