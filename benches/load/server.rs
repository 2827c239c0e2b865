//! The server's process: the same route seven times, each on a port of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::routing::get;
use tokio::net::TcpListener;
use tower::Service;
use tower::layer::layer_fn;
use tower_api_key::{ApiKeyLayer, Authenticator};

use super::naive;
use crate::support::floor::{Floor, FloorService};
use crate::support::keys;
use crate::support::process::{next_line, processor_time, say};

/// What stands around the route, in the order of the ports.
pub const SIDES: [&str; 7] = [
    "nothing",
    "a layer that does nothing",
    "the layer, success fields off, no limit",
    "the layer, success fields off, one limit",
    "the layer, success fields on, one limit",
    "SHA-256 and a DashMap, by hand",
    "all of it by hand, fields off, one limit",
];

/// Tells the ports and a key for each connection, and from then on answers every line with the time used so far.
pub fn run(connections: usize) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (ports, keys) = runtime.block_on(async {
        let plain = keys::issue(connections, &[]).await;
        let limited = keys::issue(connections, &[keys::wide_limit()]).await;
        let layer = |keys: &keys::Keys| {
            ApiKeyLayer::from(Authenticator::new(keys.store.clone()))
                .client_address(|extensions| Some(extensions.get::<ConnectInfo<SocketAddr>>()?.0.ip()))
        };
        let route = || Router::new().route("/orders", get(|| async { super::BODY }));
        let by_hand = axum::middleware::from_fn_with_state(naive::clients(&plain.texts), naive::require_key);
        let floor = Arc::new(Floor::new(&limited.texts, Some(&keys::wide_limit())));
        let floor = layer_fn(move |route| FloorService::new(route, floor.clone()).without_success_fields());
        let apps = [
            route(),
            route().route_layer(layer_fn(Idle)),
            route().route_layer(layer(&plain).success_headers(false)),
            route().route_layer(layer(&limited).success_headers(false)),
            route().route_layer(layer(&limited)),
            route().route_layer(by_hand),
            route().route_layer(floor),
        ];
        let mut ports = Vec::new();
        for app in apps {
            ports.push(serve(app).await);
        }
        (
            ports,
            [&plain, &plain, &plain, &limited, &limited, &plain, &limited].map(|keys| keys.texts.clone()),
        )
    });
    for (port, keys) in ports.iter().zip(&keys) {
        say(&format!("{port} {}", keys.join(" ")));
    }
    while next_line().is_some() {
        say(&processor_time().as_nanos().to_string());
    }
}

/// Shows what axum itself takes for any layer: boxing and cloning the route once more.
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

async fn serve(app: Router) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("its address").port();
    let service = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    port
}
