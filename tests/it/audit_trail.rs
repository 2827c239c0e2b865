//! The audit trail: what it records, what shows that it was changed, and what it forgets.

mod attempts;
mod exports;
#[cfg(unix)]
mod files;
mod forgetting;
mod queries;
mod recording;
mod tampering;
mod trails;

use std::time::Duration;

use tower_api_key::audit::{AuditEntry, Caller, ChainProblem};
use tower_api_key::key::{Actor, KeyRecord, OrganizationId, Timestamp};
use tower_api_key::secrets::RootKey;
use tower_api_key::store::query::AuditEvents;
use tower_api_key::store::{DynStore, ManagedStore, MemoryStore};
use tower_api_key::testing::{ManualClock, cheap_hashes};
use tower_api_key::{ApiKeys, AuditAnchors, AuditError, AuditErrorKind, IssueRequest, Issuer, VerifiedTrail};

use crate::support::stores::{Database, stores};

const MINUTE: Duration = Duration::from_secs(60);

fn system() -> OrganizationId {
    uuid::Uuid::nil().into()
}

fn alice() -> Caller {
    Caller::new(Actor::user("alice"))
        .name("Alice Adams")
        .address("192.0.2.7".parse().unwrap())
        .user_agent("curl/8.5")
}

/// A handle over a store, with a manual clock, and with a root key or without.
struct Trail<S = DynStore> {
    keys: ApiKeys<S>,
    hand: ManualClock,
}

impl<S: ManagedStore + Clone> Trail<S> {
    async fn over(store: S, has_root_key: bool) -> Self {
        let hand = ManualClock::new();
        let mut builder = ApiKeys::builder(store).hash_policy(cheap_hashes()).clock(hand.clock());
        if has_root_key {
            builder = builder.root_keys(RootKey::new(&[7; 32]).unwrap());
        }
        let keys = builder.open().await.unwrap();
        Self { keys, hand }
    }

    fn alice(&self) -> Issuer<S> {
        self.keys.issuer().acting_as(alice())
    }

    /// An organization with eight events, a minute after each other.
    async fn acme(&self) -> OrganizationId {
        let alice = self.alice();
        let acme = alice.create_organization("acme").await.unwrap().id;
        self.hand.advance(MINUTE);
        let issued = alice.issue(IssueRequest::new(acme, "orders")).await.unwrap();
        let id = issued.record.id;
        for step in 0..3 {
            self.hand.advance(MINUTE);
            let rename = |record: &mut KeyRecord| record.name = format!("orders {step}");
            alice.update(id, rename).await.unwrap();
        }
        self.hand.advance(MINUTE);
        alice.disable(id).await.unwrap();
        self.hand.advance(MINUTE);
        alice.enable(id).await.unwrap();
        self.hand.advance(MINUTE);
        alice.revoke(id, "lost").await.unwrap();
        acme
    }

    async fn entries(&self, organization: OrganizationId) -> Vec<AuditEntry> {
        let list = AuditEvents::of(organization).page(1000);
        self.keys.read(list).await.unwrap().items
    }

    async fn verify(&self, anchors: &AuditAnchors) -> Result<VerifiedTrail, AuditError> {
        self.keys.audit().verify(anchors).await
    }

    /// What is wrong with the trail.
    async fn problems(&self, anchors: &AuditAnchors) -> Vec<ChainProblem> {
        match self.verify(anchors).await {
            Ok(_) => Vec::new(),
            Err(error) => {
                assert_eq!(error.kind(), AuditErrorKind::Broken, "{error:?}");
                assert!(!error.problems().is_empty());
                error.problems().to_vec()
            }
        }
    }

    async fn anchors(&self) -> AuditAnchors {
        let mut anchors = AuditAnchors::default();
        self.keys.audit().anchor(&mut anchors).await.unwrap();
        anchors
    }
}

impl Trail {
    /// One with a root key over each store.
    async fn each() -> Vec<(Self, Database)> {
        let mut all = Vec::new();
        for (store, database) in stores().await {
            all.push((Self::over(store, true).await, database));
        }
        all
    }
}

impl Trail<MemoryStore> {
    async fn in_memory() -> Self {
        Self::over(MemoryStore::new(), true).await
    }
}

fn actions(entries: &[AuditEntry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.event.action.as_str()).collect()
}

fn times(trail: &[AuditEntry]) -> Vec<Timestamp> {
    trail.iter().map(|entry| entry.event.at).collect()
}
