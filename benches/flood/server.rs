//! The server's process: one route behind the layer, with the default pool.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::routing::get;
use tokio::net::TcpListener;
use tower_api_key::hash::{Argon2Params, HashPolicy, HashPool};
use tower_api_key::key::{
    Actor, KeyRecord, KeySecret, Lookup, Organization, OrganizationId, SecretForm, SecretHash, Timestamp,
};
use tower_api_key::store::query::TheRealm;
use tower_api_key::store::{Commit, ManagedStore, MemoryStore, StoreExt, Write};
use tower_api_key::{ApiKeys, IssueRequest, Issuer};

use super::rows;
use crate::support::process::{memory_kib, next_line, say};

/// Hashes for the mean time of one.
const TIMED: u32 = 16;

/// Where a client says it comes from. A loopback interface has no other networks.
#[derive(Clone, Copy)]
struct From(IpAddr);

/// Reads its keys, one on each line, up to an empty line, and prints its port. Then answers every line with its health, or with
/// the nanoseconds of a hash, or of issuing and rotating a key.
///
/// With `budget` it has a failure budget; with `networks` clients say where they come from; with `keyed` checksums are keyed;
/// and with `upgraded` keys with a CRC-32 are accepted beside them.
pub fn run(arguments: &[String]) {
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let pool = HashPool::global();
    let (port, issuer, organization) = runtime.block_on(async {
        let (store, organization) = read_keys().await;
        if has("upgraded") {
            accept_crc(&store).await;
        }
        let settings = ApiKeys::builder(store).pool(pool.clone()).failure_budget(has("budget"));
        let keys = match has("keyed") {
            true => {
                let settings = settings.realm_secret(rows::secret(), []).expect("a secret");
                settings.open().await.expect("a store with a fence")
            }
            false => settings.checking(),
        };
        let layer = keys.layer().client_address(|extensions| {
            let claimed = extensions.get::<From>().map(|from| from.0);
            claimed.or_else(|| Some(extensions.get::<ConnectInfo<SocketAddr>>()?.0.ip()))
        });
        let app = Router::new()
            .route("/orders", get(|| async { "[\"order-1\",\"order-2\"]" }))
            .route_layer(layer);
        let app = match has("networks") {
            true => app.layer(axum::middleware::map_request(claim)),
            false => app,
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let service = app.into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, service).await });
        (port, keys.issuer().acting_as(Actor::service()), organization)
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
        if line == "issue" {
            let times = runtime.block_on(issue(&issuer, organization));
            say(&times.map(|time| time.as_nanos().to_string()).join(" "));
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

/// The times to issue a key, and to rotate it.
async fn issue(issuer: &Issuer<MemoryStore>, organization: OrganizationId) -> [Duration; 2] {
    let began = Instant::now();
    let issued = issuer
        .issue(IssueRequest::new(organization, "new"))
        .await
        .expect("a key");
    let issuing = began.elapsed();
    let began = Instant::now();
    let rotated = issuer.rotate(issued.record.id, Duration::ZERO).await;
    drop(rotated.expect("a new secret"));
    [issuing, began.elapsed()]
}

async fn accept_crc(store: &MemoryStore) {
    let was = store.get(TheRealm).await.expect("the realm");
    let mut row = was;
    row.crc_accepted_until = Timestamp::MAX;
    let commit = Commit::new().write(Write::UpdateRealm { was, row });
    store.commit(commit).await.expect("a change");
}

async fn read_keys() -> (MemoryStore, OrganizationId) {
    let store = MemoryStore::new();
    let organization = Organization::new("acme");
    let id = organization.id;
    let commit = Commit::new().write(Write::InsertOrganization(organization));
    store.commit(commit).await.expect("an organization");
    let now = Timestamp::now();
    while let Some(line) = next_line().filter(|line| !line.is_empty()) {
        let mut words = line.split(' ');
        let mut word = || words.next().expect("a lookup, a hash and a form");
        let (lookup, hash, form) = (word(), word(), word());
        let mut record = KeyRecord::new(id, lookup, now);
        record.prefix = "key".to_owned();
        record.environment = Some("live".to_owned());
        let lookup = Lookup::new(lookup).expect("a lookup");
        let mut secret = KeySecret::new(lookup, SecretHash::new(hash).expect("a hash"), now);
        secret.form = match form == SecretForm::Keyed.as_str() {
            true => SecretForm::Keyed,
            false => SecretForm::Crc32,
        };
        let id = record.id;
        let commit = Commit::new()
            .write(Write::InsertKey(record))
            .write(Write::InsertSecret(id, secret));
        store.commit(commit).await.expect("a new key");
    }
    (store, id)
}
