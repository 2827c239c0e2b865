//! The first request with a key: a read and a hash of the default cost, one after another on an idle machine.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::get;
use tokio::net::TcpListener;
use tower_api_key::key::Actor;
use tower_api_key::store::PostgresStore;
use tower_api_key::{ApiKeys, IssueRequest};

use super::Place;
use crate::flood::client::{Client, HOME, request};
use crate::support::{Bounds, median};

/// As many as the bench `hash` has.
const COUNTED: usize = 200;
/// The first ones open connections and prepare statements.
const NOT_COUNTED: usize = 8;

pub async fn run(url: &str, bounds: &mut Bounds) {
    let place = Place::new(url);
    let texts = issue(open(&place).await).await;
    // Another handle, which has not seen any of the keys.
    let keys = open(&place).await;
    let port = serve(&keys).await;
    let mut client = Client::connect(HOME, port).await.expect("a connection");
    let mut times = Vec::with_capacity(COUNTED);
    for (number, text) in texts.iter().enumerate() {
        let request = request(text);
        let began = Instant::now();
        let status = client.ask(&request).await.expect("an answer");
        let took = began.elapsed();
        assert!(status == 200, "a good key was answered {status}");
        if number >= NOT_COUNTED {
            times.push(took);
        }
    }
    times.sort_unstable();
    let millis = |time: Duration| time.as_secs_f64() * 1e3;
    let p99 = millis(times[COUNTED * 99 / 100]);
    let middle = median(times.into_iter().map(millis).collect());
    println!("first request with a key in PostgreSQL: median {middle:.1} ms, 99th percentile {p99:.1} ms");
    bounds.check("first request with a key in PostgreSQL, p99 ms", p99, ..=50.0);
    drop((client, keys));
    place.remove().await;
}

async fn open(place: &Place) -> ApiKeys<PostgresStore> {
    let settings = ApiKeys::builder(place.open().await);
    settings.open().await.expect("a handle")
}

async fn issue(keys: ApiKeys<PostgresStore>) -> Vec<String> {
    let issuer = keys.issuer().acting_as(Actor::service());
    let acme = issuer.create_organization("acme").await.expect("an organization");
    let mut texts = Vec::new();
    for number in 0..NOT_COUNTED + COUNTED {
        let request = IssueRequest::new(acme.id, format!("key {number}"));
        let issued = issuer.issue(request).await.expect("a key");
        texts.push(issued.key.expose_secret().to_owned());
    }
    texts
}

/// Serves behind the layer, on a port of this machine. It ends with the bench.
async fn serve(keys: &ApiKeys<PostgresStore>) -> u16 {
    let layer = keys
        .layer()
        .client_address(|extensions| Some(extensions.get::<ConnectInfo<SocketAddr>>()?.0.ip()));
    let app = Router::new()
        .route("/orders", get(|| async { "[\"order-1\",\"order-2\"]" }))
        .route_layer(layer);
    let listener = TcpListener::bind((HOME, 0)).await.expect("a port");
    let port = listener.local_addr().expect("its address").port();
    let service = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    port
}
