//! `AuthContext::revoked` resolves when the key ends, and not before.
//!
//! Both kinds of time are moved by hand: the clock by which keys end, and the timers of the runtime.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use crate::support::rows::Rows as _;
use bytes::Bytes;
use http::{Request, Response};
use tokio::task::JoinHandle;
use tower::{Layer as _, ServiceExt as _};
use tower_api_key::hash::HashPolicy;
use tower_api_key::key::{KeyId, KeyRecord, Lookup, Organization, OrganizationId, OrganizationStatus};
use tower_api_key::store::{Candidate, Change, KeyStore, MemoryStore, Sharing, StoreError, StoreErrorKind};
use tower_api_key::testing::{Fault, FaultStore, ManualClock};
use tower_api_key::{ApiKeyLayer, AuthContext, Authenticator, Fence, IssueRequest, IssuedKey, Issuer};

use crate::house::elsewhere::Elsewhere;
use crate::house::*;

const TTL: Duration = Duration::from_secs(300);
const MOMENT: Duration = Duration::from_millis(2);

/// Spawns a task that waits for the end of the key; it is waiting when this returns.
async fn watch(context: &AuthContext) -> JoinHandle<()> {
    let watching = tokio::spawn(context.revoked());
    settle().await;
    watching
}

async fn pass(hand: &ManualClock, time: Duration) {
    hand.advance(time);
    tokio::time::advance(time).await;
    settle().await;
}

impl House {
    async fn watched(&self) -> (IssuedKey, JoinHandle<()>) {
        let issued = self.key().await;
        let context = self.check(text(&issued)).await.unwrap();
        let watching = watch(&context).await;
        assert!(!watching.is_finished());
        (issued, watching)
    }
}

#[tokio::test(start_paused = true)]
async fn ends_with_a_revoke() {
    let house = House::new().await;
    let (issued, watching) = house.watched().await;
    house.issuer.revoke(issued.record.id, "lost").await.unwrap();
    settle().await;
    assert!(watching.is_finished());
    house.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn ends_when_the_key_is_disabled() {
    let house = House::new().await;
    let (issued, watching) = house.watched().await;
    house.issuer.disable(issued.record.id).await.unwrap();
    settle().await;
    assert!(watching.is_finished());
}

#[tokio::test(start_paused = true)]
async fn ends_when_the_organization_is_deactivated() {
    let house = House::new().await;
    let (_, watching) = house.watched().await;
    let deactivate = |acme: &mut Organization| acme.status = OrganizationStatus::Inactive;
    house
        .issuer
        .update_organization(house.organization.id, deactivate)
        .await
        .unwrap();
    settle().await;
    assert!(watching.is_finished());
}

#[tokio::test(start_paused = true)]
async fn ends_with_a_rotation_without_grace() {
    let house = House::new().await;
    let (issued, watching) = house.watched().await;
    let _new = house.issuer.rotate(issued.record.id, Duration::ZERO).await.unwrap();
    settle().await;
    assert!(watching.is_finished());
}

#[tokio::test(start_paused = true)]
async fn ends_with_the_grace_of_a_rotation() {
    let house = House::new().await;
    let (issued, watching) = house.watched().await;
    let minute = Duration::from_secs(60);
    let new = house.issuer.rotate(issued.record.id, minute).await.unwrap();
    let of_the_new = watch(&house.check(text(&new)).await.unwrap()).await;
    pass(&house.hand, minute - MOMENT).await;
    assert!(!watching.is_finished());
    pass(&house.hand, 2 * MOMENT).await;
    assert!(watching.is_finished());
    assert!(!of_the_new.is_finished());
}

#[tokio::test(start_paused = true)]
async fn ends_with_the_expiry_of_the_key() {
    let house = House::new().await;
    let end = house.hand.clock().wall().after(Duration::from_secs(10));
    let issued = house.issuer.issue(house.request("key").expires_at(end)).await.unwrap();
    let watching = watch(&house.check(text(&issued)).await.unwrap()).await;
    pass(&house.hand, Duration::from_secs(10) - MOMENT).await;
    assert!(!watching.is_finished());
    pass(&house.hand, 2 * MOMENT).await;
    assert!(watching.is_finished());
    assert_eq!(house.faults().finds(), 1, "the end was known");
}

#[tokio::test(start_paused = true)]
async fn ends_with_an_expiry_that_was_set_later() {
    let house = House::new().await;
    let (issued, watching) = house.watched().await;
    let end = house.hand.clock().wall().after(Duration::from_secs(10));
    let shorten = |record: &mut KeyRecord| record.expires_at = Some(end);
    house.issuer.update(issued.record.id, shorten).await.unwrap();
    settle().await;
    assert!(!watching.is_finished());
    pass(&house.hand, Duration::from_secs(10) + MOMENT).await;
    assert!(watching.is_finished());
}

#[tokio::test(start_paused = true)]
async fn ends_at_once_if_the_key_has_ended() {
    let house = House::new().await;
    let issued = house.key().await;
    let context = house.check(text(&issued)).await.unwrap();
    house.issuer.revoke(issued.record.id, "lost").await.unwrap();
    assert!(watch(&context).await.is_finished());
    // Also when another request has already read the revoked key.
    assert!(house.check(text(&issued)).await.is_err());
    assert!(watch(&context).await.is_finished());
}

#[tokio::test(start_paused = true)]
async fn ends_when_the_read_after_a_change_fails() {
    let faults = [
        Fault::Error(StoreErrorKind::Unavailable),
        Fault::Error(StoreErrorKind::InvalidRecord),
        Fault::Panic,
    ];
    for fault in faults {
        let house = House::new().await;
        let (_, watching) = house.watched().await;
        house.faults().every_find(fault);
        house.everything_changed();
        settle().await;
        assert!(watching.is_finished());
        house.faults().heal();
        house.is_at_rest().await;
    }
}

#[tokio::test(start_paused = true)]
async fn ends_when_the_read_at_the_time_to_live_fails() {
    let house = House::new().await;
    let (_, watching) = house.watched().await;
    house.faults().every_find(Fault::Error(StoreErrorKind::Unavailable));
    pass(&house.hand, TTL / 2).await;
    assert!(!watching.is_finished());
    pass(&house.hand, TTL / 2 + MOMENT).await;
    assert!(watching.is_finished());
}

#[tokio::test(start_paused = true)]
async fn reads_again_shortly_before_the_time_to_live_and_continues() {
    let house = House::new().await;
    let (issued, watching) = house.watched().await;
    pass(&house.hand, TTL.mul_f64(0.89)).await;
    assert_eq!(house.faults().finds(), 1);
    pass(&house.hand, TTL.mul_f64(0.11) + MOMENT).await;
    assert_eq!(house.faults().finds(), 2);
    assert!(!watching.is_finished());
    house.issuer.revoke(issued.record.id, "lost").await.unwrap();
    settle().await;
    assert!(watching.is_finished());
}

/// Streams that began together must not all read at the same time.
#[tokio::test(start_paused = true)]
async fn reads_again_with_jitter() {
    let house = House::new().await;
    let mut watching = Vec::new();
    for _ in 0..100 {
        watching.push(house.watched().await);
    }
    let before = house.faults().finds();
    pass(&house.hand, TTL.mul_f64(0.95)).await;
    let halfway = house.faults().finds() - before;
    assert!((20..=80).contains(&halfway), "{halfway} of 100 in the first half");
    pass(&house.hand, TTL.mul_f64(0.05) + MOMENT).await;
    assert_eq!(house.faults().finds() - before, 100);
    assert!(watching.iter().all(|(_, watching)| !watching.is_finished()));
}

#[tokio::test(start_paused = true)]
async fn continues_through_changes_of_other_keys() {
    let house = House::new().await;
    let (issued, watching) = house.watched().await;
    let fence = house.store.fence().unwrap();
    for _ in 0..10_000 {
        fence.announce(&[Change::new(KeyId::new(), 1), Change::new(OrganizationId::new(), 1)]);
    }
    settle().await;
    assert!(!watching.is_finished());
    for _ in 0..10 {
        house.everything_changed();
        settle().await;
        assert!(!watching.is_finished());
    }
    let rename = |record: &mut KeyRecord| record.name = "renamed".into();
    house.issuer.update(issued.record.id, rename).await.unwrap();
    settle().await;
    assert!(!watching.is_finished());
    house.issuer.revoke(issued.record.id, "lost").await.unwrap();
    settle().await;
    assert!(watching.is_finished());
}

#[tokio::test(start_paused = true)]
async fn continues_after_a_rehash() {
    let house = House::with(argon2(), |builder| builder.rehash_obsolete()).await;
    let old_policy = house.issuer_with(|settings| settings.hash_policy(HashPolicy::sha256()));
    let issued = old_policy.issue(house.request("key")).await.unwrap();
    let watching = watch(&house.check(text(&issued)).await.unwrap()).await;
    let scheme = || async {
        let stored = house.store.inner().key(issued.record.id).await.unwrap().unwrap();
        stored.secrets[0].hash.scheme().to_owned()
    };
    while scheme().await != "argon2id" {
        tokio::task::yield_now().await;
    }
    house.everything_changed();
    settle().await;
    assert!(!watching.is_finished());
    // The key is not hashed again either.
    house.everything_changed();
    house.check(text(&issued)).await.unwrap();
    assert_eq!(house.pool.hashes_run(), 1);
    house.issuer.revoke(issued.record.id, "lost").await.unwrap();
    settle().await;
    assert!(watching.is_finished());
}

/// As a rotation does that read the key before the rehash and commits after it.
#[tokio::test(start_paused = true)]
async fn continues_when_a_change_puts_the_old_hash_back() {
    let house = House::with(argon2(), |builder| builder.rehash_obsolete()).await;
    let old_policy = house.issuer_with(|settings| settings.hash_policy(HashPolicy::sha256()));
    let issued = old_policy.issue(house.request("key")).await.unwrap();
    let stored = || async { house.store.inner().key(issued.record.id).await.unwrap().unwrap() };
    let before = stored().await;
    let early = watch(&house.check(text(&issued)).await.unwrap()).await;
    while stored().await.secrets[0].hash.scheme() != "argon2id" {
        tokio::task::yield_now().await;
    }
    settle().await;
    let late = watch(&house.check(text(&issued)).await.unwrap()).await;
    house.store.inner().update_key(before).await.unwrap();
    assert_eq!(stored().await.secrets[0].hash.scheme(), "sha256");
    settle().await;
    assert!(!early.is_finished() && !late.is_finished());
    house.everything_changed();
    settle().await;
    assert!(!early.is_finished() && !late.is_finished());
    house.issuer.revoke(issued.record.id, "lost").await.unwrap();
    settle().await;
    assert!(early.is_finished() && late.is_finished());
}

#[tokio::test(start_paused = true)]
async fn thousand_streams_of_one_key_share_a_read() {
    let house = House::new().await;
    let issued = house.key().await;
    let context = house.check(text(&issued)).await.unwrap();
    let mut watching = Vec::new();
    for _ in 0..1_000 {
        watching.push(tokio::spawn(context.revoked()));
    }
    settle().await;
    house.everything_changed();
    settle().await;
    assert_eq!(house.faults().finds(), 2);
    house.issuer.revoke(issued.record.id, "lost").await.unwrap();
    for watching in watching {
        watching.await.unwrap();
    }
    assert_eq!(house.faults().finds(), 3);
}

/// A store whose reads take [`SLOW_READ`].
struct Slow {
    rows: MemoryStore,
    reads: AtomicU32,
    hangs: AtomicBool,
}

const SLOW_READ: Duration = Duration::from_millis(200);

impl KeyStore for Slow {
    async fn find(&self, lookup: &Lookup) -> Result<Option<Candidate>, StoreError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(SLOW_READ).await;
        if self.hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        self.rows.find(lookup).await
    }

    fn fence(&self) -> Option<&Fence> {
        self.rows.fence()
    }

    fn sharing(&self) -> Sharing {
        self.rows.sharing()
    }
}

/// A thousand streams, each of another key, over a slow store.
struct Streams {
    store: Arc<Slow>,
    authenticator: Authenticator<Arc<Slow>>,
    issuer: Issuer<MemoryStore>,
    keys: Vec<IssuedKey>,
    watching: Vec<JoinHandle<()>>,
}

impl Streams {
    async fn new(read_timeout: Duration) -> Self {
        let rows = MemoryStore::new();
        let issuer = issuer(&rows);
        let acme = issuer.create_organization("acme").await.unwrap();
        let store = Arc::new(Slow {
            rows,
            reads: AtomicU32::new(0),
            hangs: AtomicBool::new(false),
        });
        let builder = Authenticator::builder(store.clone()).read_timeout(read_timeout);
        let authenticator = builder.unwrap().build();
        let (mut keys, mut watching) = (Vec::new(), Vec::new());
        for _ in 0..1_000 {
            let issued = issuer.issue(IssueRequest::new(acme.id, "stream")).await.unwrap();
            let context = check(&authenticator, text(&issued)).await.unwrap();
            watching.push(tokio::spawn(context.revoked()));
            keys.push(issued);
        }
        settle().await;
        Self {
            store,
            authenticator,
            issuer,
            keys,
            watching,
        }
    }

    fn over(&self) -> usize {
        self.watching.iter().filter(|watching| watching.is_finished()).count()
    }
}

/// A stream must not end because its key is read after the others.
#[tokio::test(start_paused = true)]
async fn thousand_streams_outlive_a_change_that_all_must_read() {
    let streams = Streams::new(Duration::from_millis(250)).await;
    let (read, revoked) = (streams.store.reads.load(Ordering::SeqCst), &streams.keys[999]);
    streams.issuer.revoke(revoked.record.id, "lost").await.unwrap();
    streams.store.fence().unwrap().everything_changed();
    // Requests can still read from the store meanwhile.
    settle().await;
    check(&streams.authenticator, text(&streams.keys[0])).await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(streams.over(), 1);
    assert!(streams.watching[999].is_finished());
    assert!(streams.store.reads.load(Ordering::SeqCst) - read >= 1_000);
}

/// The stalled futures are polled once and then no more, like those of a handler whose client stops reading.
#[tokio::test(start_paused = true)]
async fn stalled_streams_keep_no_turn_from_others() {
    let house = House::new().await;
    let mut stalled = Vec::new();
    for _ in 0..200 {
        let issued = house.key().await;
        stalled.push(Box::pin(house.check(text(&issued)).await.unwrap().revoked()));
    }
    let (_, watching) = house.watched().await;
    for _ in 0..2 {
        for stalled in &mut stalled {
            assert!(poll_once(stalled.as_mut()).await.is_none());
        }
        house.everything_changed();
    }
    settle().await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(!watching.is_finished());
    for stalled in &mut stalled {
        assert!(poll_once(stalled.as_mut()).await.is_none());
    }
    drop(stalled);
    house.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn streams_wait_for_their_turn_in_bounded_time() {
    let read_timeout = Duration::from_secs(1);
    let streams = Streams::new(read_timeout).await;
    streams.store.hangs.store(true, Ordering::SeqCst);
    streams.store.fence().unwrap().everything_changed();
    // The allowed staleness, and one read.
    tokio::time::sleep(Duration::from_secs(5) + read_timeout + MOMENT).await;
    assert_eq!(streams.over(), 1_000);
}

#[tokio::test(start_paused = true)]
async fn ends_when_the_authenticator_is_gone() {
    let house = House::new().await;
    let issued = house.key().await;
    let context = house.check(text(&issued)).await.unwrap();
    drop(house.authenticator);
    assert!(watch(&context).await.is_finished());
}

/// A context that is kept, in a session for example, does not keep the store or the cache alive.
#[tokio::test(start_paused = true)]
async fn ends_when_the_layer_is_gone() {
    let house = House::new().await;
    let issued = house.key().await;
    let layer = ApiKeyLayer::from(house.authenticator);
    let context = admitted_by(&layer, text(&issued)).await;
    drop(layer);
    assert!(watch(&context).await.is_finished());
}

async fn admitted_by<S: KeyStore>(layer: &ApiKeyLayer<S>, key: &str) -> AuthContext {
    let inner = tower::service_fn(async |request: Request<()>| {
        let context = request.extensions().get::<AuthContext>().cloned();
        let mut response = Response::new(Bytes::new());
        response.extensions_mut().insert(context.unwrap());
        Ok::<_, Infallible>(response)
    });
    let request = Request::get("/").header("x-api-key", key).body(()).unwrap();
    let mut response = layer.layer(inner).oneshot(request).await.unwrap();
    response.extensions_mut().remove::<AuthContext>().unwrap()
}

/// A service that shuts down drops its layers while it still sends responses.
#[tokio::test(start_paused = true)]
async fn continues_when_the_authenticator_goes_later() {
    let house = House::new().await;
    let (issued, watching) = house.watched().await;
    drop(house.authenticator);
    house.store.fence().unwrap().everything_changed();
    settle().await;
    assert!(!watching.is_finished());
    house.issuer.revoke(issued.record.id, "lost").await.unwrap();
    settle().await;
    assert!(watching.is_finished());
}

#[tokio::test(start_paused = true)]
async fn dropped_future_leaves_nothing() {
    let house = House::new().await;
    for _ in 0..200 {
        let (_, watching) = house.watched().await;
        house.faults().next_find(Fault::Hang);
        house.everything_changed();
        settle().await;
        assert_eq!(house.authenticator.loads_in_flight(), 1);
        watching.abort();
        settle().await;
        assert_eq!(house.authenticator.loads_in_flight(), 0);
        house.faults().heal();
    }
    house.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn revoke_by_other_process_is_seen_within_the_bound() {
    let stores = [
        (
            Some(Fence::new()),
            Sharing::ChangeLog {
                max_staleness: Duration::from_secs(5),
            },
            Duration::from_secs(5),
        ),
        (None, Sharing::Unknown, TTL),
    ];
    for (fence, sharing, bound) in stores {
        let rows = MemoryStore::new();
        let issuer = issuer(&rows);
        let acme = issuer.create_organization("acme").await.unwrap();
        let issued = issuer.issue(IssueRequest::new(acme.id, "key")).await.unwrap();
        let hand = ManualClock::new();
        let store = Elsewhere { rows, fence, sharing };
        let authenticator = Authenticator::builder(store).clock(hand.clock()).build();
        let watching = watch(&check(&authenticator, text(&issued)).await.unwrap()).await;
        for _ in 0..3 {
            pass(&hand, bound + MOMENT).await;
            assert!(!watching.is_finished(), "{sharing:?}");
        }
        issuer.revoke(issued.record.id, "lost").await.unwrap();
        settle().await;
        assert!(!watching.is_finished(), "{sharing:?}: the stream ended");
        pass(&hand, bound + MOMENT).await;
        assert!(watching.is_finished(), "{sharing:?}");
    }
}

/// Each confirmation of the follower extends what it has; without them it is read again, as a request would.
#[tokio::test(start_paused = true)]
async fn follower_saves_streams_the_reads() {
    let staleness = Duration::from_secs(1);
    let rows = FaultStore::new(MemoryStore::new());
    let issuer = issuer(&rows);
    let acme = issuer.create_organization("acme").await.unwrap();
    let issued = issuer.issue(IssueRequest::new(acme.id, "key")).await.unwrap();
    let (hand, fence) = (ManualClock::new(), Fence::new());
    let store = Elsewhere {
        rows: rows.clone(),
        fence: Some(fence.clone()),
        sharing: Sharing::ChangeLog {
            max_staleness: staleness,
        },
    };
    let authenticator = Authenticator::builder(store).clock(hand.clock()).build();
    let watching = watch(&check(&authenticator, text(&issued)).await.unwrap()).await;
    for _ in 0..100 {
        fence.confirmed(hand.clock().now());
        pass(&hand, staleness / 5).await;
    }
    assert_eq!(rows.faults().finds(), 1);
    // Now the follower stops.
    pass(&hand, staleness + MOMENT).await;
    assert_eq!(rows.faults().finds(), 2);
    issuer.revoke(issued.record.id, "lost").await.unwrap();
    settle().await;
    assert!(!watching.is_finished());
    pass(&hand, staleness + MOMENT).await;
    assert!(watching.is_finished());
}

/// One thread begins to wait while another revokes. If the wake-up were lost, the wait would last for the whole time to
/// live.
#[test]
fn no_wake_up_is_lost() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let store = MemoryStore::new();
        let issuer = issuer(&store);
        let acme = issuer.create_organization("acme").await.unwrap();
        let authenticator = Authenticator::new(store);
        for round in 0..2_000 {
            let issued = issuer.issue(IssueRequest::new(acme.id, "key")).await.unwrap();
            let context = check(&authenticator, text(&issued)).await.unwrap();
            let go = Arc::new(AtomicBool::new(false));
            let watching = tokio::spawn({
                let go = go.clone();
                async move {
                    while !go.load(Ordering::SeqCst) {
                        tokio::task::yield_now().await;
                    }
                    context.revoked().await;
                }
            });
            tokio::task::yield_now().await;
            go.store(true, Ordering::SeqCst);
            for _ in 0..round % 7 {
                std::hint::spin_loop();
            }
            issuer.revoke(issued.record.id, "lost").await.unwrap();
            let in_time = tokio::time::timeout(Duration::from_secs(20), watching).await;
            in_time
                .unwrap_or_else(|_| panic!("round {round} was not woken"))
                .unwrap();
        }
    });
}
