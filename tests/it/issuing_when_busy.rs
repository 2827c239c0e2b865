//! Keys that are issued while the service is busy: what sets the act of an operator apart from the checks of requests.
//!
//! How long it takes beside clients that saturate the processors is a figure of `cargo bench -- flood`. It follows from what is
//! tested here: the priority of the thread, the place in the queue and the time to wait.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rstest::rstest;
use tower_api_key::hash::{HashPool, HashPoolBuilder};
use tower_api_key::key::Actor;
use tower_api_key::store::MemoryStore;
use tower_api_key::testing::ManualClock;
use tower_api_key::{ApiKeys, IssueRequest, Issuer, RejectionKind};

use crate::house::brake::Brake;
use crate::house::*;

const GRACE: Duration = Duration::from_secs(60);

struct Service {
    keys: ApiKeys<MemoryStore>,
    issuer: Issuer<MemoryStore>,
    pool: HashPool,
    brake: Brake,
    hand: ManualClock,
}

impl Service {
    /// With one worker, whose brake is open.
    async fn new(builder: impl FnOnce(HashPoolBuilder) -> HashPoolBuilder) -> Self {
        let hand = ManualClock::new();
        let (brake, pool) = Brake::of(builder(HashPool::builder().clock(hand.clock())));
        brake.open();
        let keys = ApiKeys::builder(MemoryStore::new()).formats(crc_format());
        let keys = keys.hash_policy(argon2()).pool(pool.clone()).open().await.unwrap();
        let issuer = keys.issuer().acting_as(Actor::service());
        Self {
            keys,
            issuer,
            pool,
            brake,
            hand,
        }
    }

    async fn issue(&self, organization: &str) -> tower_api_key::IssuedKey {
        let organization = self.issuer.create_organization(organization).await.unwrap();
        let request = IssueRequest::new(organization.id, "key");
        self.issuer.issue(request).await.unwrap()
    }
}

/// At the lower priority of the workers it would take seconds beside requests that use all processors.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn each_act_of_an_operator_has_the_priority_of_the_process() {
    let priority = || rustix::process::getpriority_process(None).unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let pool = {
        let seen = seen.clone();
        let look = move || seen.lock().unwrap().push(priority());
        HashPool::builder().before_each_hash(look).build()
    };
    let keys = ApiKeys::builder(MemoryStore::new()).hash_policy(argon2()).pool(pool);
    let keys = keys.open().await.unwrap();
    let issuer = keys.issuer().acting_as(Actor::service());
    let acme = issuer.create_organization("acme").await.unwrap();
    let issued = issuer.issue(IssueRequest::new(acme.id, "key")).await.unwrap();
    let rotated = issuer.rotate(issued.record.id, GRACE).await.unwrap();
    drop(issuer.ensure("beta", "first").await.unwrap());
    drop(keys.ensure("gamma", "first").await.unwrap());
    assert_eq!(*seen.lock().unwrap(), [priority(); 4]);
    // The mistake that this guards against would be seen.
    keys.authenticator().check(presented(text(&rotated))).await.unwrap();
    assert_eq!(seen.lock().unwrap().last(), Some(&priority().max(10)));
}

#[tokio::test]
async fn operators_wait_for_thirty_seconds_and_requests_for_eight() {
    let service = Service::new(|builder| builder.queue_per_worker(16).unwrap()).await;
    let issued = service.issue("acme").await;
    let begun = service.pool.hashes_run();
    service.brake.close();
    let authenticator = service.keys.authenticator();
    let running = tokio::spawn(authenticator.check(presented(text(&issued))));
    until(|| service.pool.hashes_run() == begun + 1).await;

    let (organization, id) = (issued.record.organization_id, issued.record.id);
    let acting = || service.keys.issuer().acting_as(Actor::service());
    let (one, other) = (acting(), acting());
    let issue = tokio::spawn(async move { one.issue(IssueRequest::new(organization, "second")).await.map(drop) });
    let rotate = tokio::spawn(async move { other.rotate(id, GRACE).await.map(drop) });
    let wrong = with_other_secret(text(&issued), 1);
    let late = tokio::spawn(authenticator.check(presented(&wrong)));
    until(|| service.pool.queued() == 3).await;
    service.hand.advance(Duration::from_millis(29_900));
    service.brake.open();
    issue.await.unwrap().unwrap();
    rotate.await.unwrap().unwrap();
    assert_eq!(kind(&late.await.unwrap()), RejectionKind::Busy);
    // Its hash is done, or its wait was ended before.
    let _ = running.await.unwrap();
}

/// Requests that come first take no place from an operator, also where the service does not know its clients' addresses.
#[rstest]
#[case::without_addresses(None)]
#[case::of_one_address(Some("192.0.2.1"))]
#[tokio::test]
async fn operator_gets_a_place_in_a_queue_full_of_requests(#[case] address: Option<&str>) {
    let service = Service::new(|builder| builder.queue_per_worker(4).unwrap()).await;
    let mut issued = Vec::new();
    for name in ["one", "two", "three"] {
        issued.push(service.issue(name).await);
    }
    let begun = service.pool.hashes_run();
    service.brake.close();
    let authenticator = service.keys.authenticator();
    let mut checks = Vec::new();
    for number in 0..5 {
        // Not more than two of one lookup.
        let key = with_other_secret(text(&issued[number / 2]), number);
        let presented = match address {
            Some(address) => presented_from(&key, address),
            None => presented(&key),
        };
        checks.push(tokio::spawn(authenticator.check(presented)));
        until(|| service.pool.hashes_run() == begun + 1 && service.pool.queued() + 1 == checks.len()).await;
    }
    assert_eq!(service.pool.queued(), service.pool.capacity());
    let id = issued[0].record.id;
    let rotate = tokio::spawn(async move { service.issuer.rotate(id, GRACE).await.map(drop) });
    settle().await;
    service.brake.open();
    rotate.await.unwrap().unwrap();
    for check in checks {
        assert!(check.await.unwrap().is_err());
    }
}
