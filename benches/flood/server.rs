//! The server's process: one route behind the layer, with the default pool.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::routing::get;
use tokio::net::TcpListener;
use tower_api_key::hash::{Argon2Params, HashPolicy, HashPool};
use tower_api_key::key::{KeyRecord, KeySecret, Lookup, Organization, SecretHash, Timestamp};
use tower_api_key::store::{Commit, ManagedStore, MemoryStore, Write};
use tower_api_key::{ApiKeyLayer, Authenticator};

use crate::support::process::{memory_kib, next_line, say};

/// Hashes for the mean time of one.
const TIMED: u32 = 16;

/// Where a client says it comes from. A loopback interface has no other networks.
#[derive(Clone, Copy)]
struct From(IpAddr);

/// Reads its keys, one on each line, up to an empty line, and prints its port. Then answers every line with its health, or with
/// the nanoseconds of a hash.
pub fn run(has_budget: bool, has_networks: bool) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let pool = HashPool::global();
    let port = runtime.block_on(async {
        let store = read_keys().await;
        let authenticator = Authenticator::builder(store)
            .pool(pool.clone())
            .failure_budget(has_budget)
            .build();
        let layer = ApiKeyLayer::from(authenticator).client_address(|extensions| {
            let claimed = extensions.get::<From>().map(|from| from.0);
            claimed.or_else(|| Some(extensions.get::<ConnectInfo<SocketAddr>>()?.0.ip()))
        });
        let app = Router::new()
            .route("/orders", get(|| async { "[\"order-1\",\"order-2\"]" }))
            .route_layer(layer);
        let app = match has_networks {
            true => app.layer(axum::middleware::map_request(claim)),
            false => app,
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let service = app.into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, service).await });
        port
    });
    say(&port.to_string());
    while let Some(line) = next_line() {
        if let Some(memory_kib) = match line.as_str() {
            "hash" => Some(64 << 10),
            "cheap hash" => Some(32 << 10),
            _ => None,
        } {
            let policy = HashPolicy::argon2id(Argon2Params::new(memory_kib, 1, 4).expect("parameters within bounds"));
            let began = Instant::now();
            for _ in 0..TIMED {
                let dummy = pool.verify_dummy(&policy);
                runtime.block_on(dummy).expect("a hash");
            }
            say(&(began.elapsed() / TIMED).as_nanos().to_string());
            continue;
        }
        let (resident, peak) = (memory_kib("VmRSS"), memory_kib("VmHWM"));
        let jobs = pool.queued() + pool.running();
        say(&format!("{resident} {peak} {jobs} {}", pool.hashes_run()));
    }
}

async fn claim(mut request: Request) -> Request {
    let header = request.headers().get("x-from").and_then(|from| from.to_str().ok());
    if let Some(from) = header.and_then(|from| from.parse().ok()) {
        request.extensions_mut().insert(From(from));
    }
    request
}

async fn read_keys() -> MemoryStore {
    let store = MemoryStore::new();
    let organization = Organization::new("acme");
    let id = organization.id;
    let commit = Commit::new().write(Write::InsertOrganization(organization));
    store.commit(commit).await.expect("an organization");
    let now = Timestamp::now();
    while let Some(line) = next_line().filter(|line| !line.is_empty()) {
        let (lookup, hash) = line.split_once(' ').expect("a lookup and a hash");
        let mut record = KeyRecord::new(id, lookup, now);
        record.prefix = "key".to_owned();
        record.environment = Some("live".to_owned());
        let lookup = Lookup::new(lookup).expect("a lookup");
        let secret = KeySecret::new(lookup, SecretHash::new(hash).expect("a hash"), now);
        let id = record.id;
        let commit = Commit::new()
            .write(Write::InsertKey(record))
            .write(Write::InsertSecret(id, secret));
        store.commit(commit).await.expect("a new key");
    }
    store
}
