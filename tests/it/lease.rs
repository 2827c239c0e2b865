//! Stores that other processes change: cached keys are used for as long as the store's sharing allows, and no longer.

use std::time::Duration;

use tower_api_key::hash::HashPool;
use tower_api_key::store::{Change, MemoryStore, Sharing, StoreErrorKind};
use tower_api_key::testing::{Fault, FaultStore, ManualClock};
use tower_api_key::{ApiKeys, Authenticator, Fence, IssueRequest, IssuedKey, Issuer, PresentedKey, RejectionKind};
use tracing::Level;

use crate::house::elsewhere::Elsewhere;
use crate::house::{argon2, crc_format, kind, presented, text};
use crate::support::audit::Audit;

const NANOSECOND: Duration = Duration::from_nanos(1);
const LEASE: Duration = Duration::from_secs(5);
const CHANGE_LOG: Sharing = Sharing::ChangeLog { max_staleness: LEASE };
const TIME_TO_LIVE: Duration = Duration::from_secs(300);

/// Two processes on one store: one issues and changes keys, the other checks them.
struct Nodes {
    hand: ManualClock,
    rows: FaultStore<MemoryStore>,
    fence: Fence,
    pool: HashPool,
    issuer: Issuer<FaultStore<MemoryStore>>,
    authenticator: Authenticator<Elsewhere<FaultStore<MemoryStore>>>,
    issued: IssuedKey,
}

impl Nodes {
    async fn new(sharing: Sharing) -> Self {
        let (hand, rows, fence) = (ManualClock::new(), FaultStore::new(MemoryStore::new()), Fence::new());
        let pool = HashPool::builder().build();
        let settings = ApiKeys::builder(rows.clone())
            .formats(crc_format())
            .hash_policy(argon2());
        let issuer = crate::house::acting(settings.clock(hand.clock()));
        let store = Elsewhere {
            rows: rows.clone(),
            fence: (sharing == CHANGE_LOG).then(|| fence.clone()),
            sharing,
        };
        let builder = Authenticator::builder(store).clock(hand.clock()).pool(pool.clone());
        let acme = issuer.create_organization("acme").await.unwrap();
        let issued = issuer.issue(IssueRequest::new(acme.id, "key")).await.unwrap();
        Self {
            hand,
            rows,
            fence,
            pool,
            issuer,
            authenticator: builder.build(),
            issued,
        }
    }

    /// As the layer does. `None` when it was admitted.
    async fn check(&self) -> Option<RejectionKind> {
        let warm = PresentedKey::new(text(&self.issued).as_bytes());
        let checked = match self.authenticator.try_check(warm) {
            Some(checked) => checked,
            None => self.authenticator.check(presented(text(&self.issued))).await,
        };
        checked.is_err().then(|| kind(&checked))
    }

    async fn revoke(&self) {
        self.issuer.revoke(self.issued.record.id, "lost").await.unwrap();
    }

    /// What a follower does when it has read the log up to now.
    fn confirm(&self) {
        self.fence.confirmed(self.hand.clock().now());
    }

    #[track_caller]
    fn cost(&self, reads: u64) {
        assert_eq!((self.rows.faults().finds(), self.pool.hashes_run()), (reads, 1));
    }
}

#[tokio::test]
async fn without_a_follower_requests_read_and_one_warning_is_logged() {
    let (audit, _guard) = Audit::start();
    let nodes = Nodes::new(CHANGE_LOG).await;
    for reads in 1..=20 {
        assert_eq!(nodes.check().await, None);
        nodes.cost(reads);
        // A read at the very moment at which a request begins counts for it.
        nodes.hand.advance(NANOSECOND);
    }
    assert_eq!(audit.all_of_level(Level::WARN).len(), 1);
    // So even without a follower, a revoke by another process holds for the next request.
    nodes.revoke().await;
    nodes.hand.advance(NANOSECOND);
    assert_eq!(nodes.check().await, Some(RejectionKind::KeyRevoked));
}

#[tokio::test]
async fn follower_saves_the_reads_within_the_lease() {
    let nodes = Nodes::new(CHANGE_LOG).await;
    nodes.confirm();
    assert_eq!(nodes.check().await, None);
    for _ in 0..4 {
        nodes.hand.advance(LEASE);
        assert_eq!(nodes.check().await, None);
        nodes.cost(1);
        nodes.confirm();
    }
    // Then it stops.
    nodes.hand.advance(LEASE);
    assert_eq!(nodes.check().await, None);
    nodes.cost(1);
    nodes.hand.advance(NANOSECOND);
    for _ in 0..3 {
        assert_eq!(nodes.check().await, None);
        nodes.cost(2);
    }
    // What was read itself is good for as long.
    nodes.hand.advance(LEASE);
    assert_eq!(nodes.check().await, None);
    nodes.cost(2);
    nodes.hand.advance(NANOSECOND);
    assert_eq!(nodes.check().await, None);
    nodes.cost(3);
}

#[tokio::test]
async fn revoke_by_other_process_is_seen_at_once_or_after_the_lease() {
    for is_followed in [true, false] {
        let nodes = Nodes::new(CHANGE_LOG).await;
        nodes.confirm();
        assert_eq!(nodes.check().await, None);
        nodes.revoke().await;
        if is_followed {
            nodes.fence.announce(&[Change::new(nodes.issued.record.id, 2)]);
            nodes.confirm();
        } else {
            nodes.hand.advance(LEASE);
            assert_eq!(nodes.check().await, None);
            nodes.hand.advance(NANOSECOND);
        }
        assert_eq!(nodes.check().await, Some(RejectionKind::KeyRevoked));
    }
}

#[tokio::test]
async fn lease_over_while_the_store_is_down_admits_nobody() {
    let nodes = Nodes::new(CHANGE_LOG).await;
    nodes.confirm();
    assert_eq!(nodes.check().await, None);
    nodes
        .rows
        .faults()
        .every_find(Fault::Error(StoreErrorKind::Unavailable));
    nodes.hand.advance(LEASE);
    assert_eq!(nodes.check().await, None);
    nodes.hand.advance(NANOSECOND);
    for _ in 0..3 {
        assert_eq!(nodes.check().await, Some(RejectionKind::StoreUnavailable));
    }
    nodes.rows.faults().heal();
    assert_eq!(nodes.check().await, None);
}

#[tokio::test]
async fn follower_with_another_clock_saves_no_reads() {
    let ahead = |nodes: &Nodes, by: Duration| nodes.fence.confirmed(nodes.hand.clock().now().after(by));
    // As far as the lease itself may be told by a thread whose reading is later than the request's.
    let nodes = Nodes::new(CHANGE_LOG).await;
    ahead(&nodes, LEASE);
    for _ in 0..3 {
        assert_eq!(nodes.check().await, None);
        nodes.hand.advance(NANOSECOND);
    }
    nodes.cost(1);

    for by in [2 * LEASE, Duration::from_secs(1 << 30), Duration::MAX] {
        let nodes = Nodes::new(CHANGE_LOG).await;
        ahead(&nodes, by);
        for reads in 1..=3 {
            // The right clock does not help: the latest confirmation counts.
            nodes.confirm();
            assert_eq!(nodes.check().await, None);
            nodes.cost(reads);
            nodes.hand.advance(NANOSECOND);
        }
        nodes.revoke().await;
        nodes.hand.advance(NANOSECOND);
        assert_eq!(nodes.check().await, Some(RejectionKind::KeyRevoked));
    }
}

#[tokio::test]
async fn lease_is_that_of_the_store_or_of_the_builder() {
    let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
    for (set, lease) in [(None, second), (Some(minute), minute)] {
        let nodes = Nodes::new(CHANGE_LOG).await;
        let store = Elsewhere {
            rows: nodes.rows.clone(),
            fence: Some(nodes.fence.clone()),
            sharing: Sharing::ChangeLog { max_staleness: second },
        };
        let mut builder = Authenticator::builder(store).clock(nodes.hand.clock());
        if let Some(set) = set {
            builder = builder.max_staleness(set).unwrap();
        }
        let authenticator = builder.build();
        nodes.confirm();
        let check = || authenticator.check(presented(text(&nodes.issued)));
        check().await.unwrap();
        nodes.revoke().await;
        nodes.hand.advance(lease);
        check().await.unwrap();
        nodes.hand.advance(NANOSECOND);
        assert_eq!(check().await.unwrap_err().kind(), RejectionKind::KeyRevoked);
    }
}

#[tokio::test]
async fn time_to_live_bounds_a_store_of_unknown_sharing() {
    let nodes = Nodes::new(Sharing::Unknown).await;
    assert_eq!(nodes.check().await, None);
    nodes.revoke().await;
    nodes.hand.advance(TIME_TO_LIVE);
    assert_eq!(nodes.check().await, None);
    nodes.cost(1);
    nodes.hand.advance(NANOSECOND);
    assert_eq!(nodes.check().await, Some(RejectionKind::KeyRevoked));
    nodes.cost(2);
}
