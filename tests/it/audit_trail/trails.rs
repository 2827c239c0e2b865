//! A trail that nobody changed verifies, is anchored, and is cut by retention.

use tower_api_key::Fence;
use tower_api_key::audit::{AuditAction, AuditEvent, ProblemKind};
use tower_api_key::key::Lookup;
use tower_api_key::store::query::{Answer, Query};
use tower_api_key::store::{Candidate, Commit, Committed, KeyStore, Sharing, StoreError, Write};
use tracing::Level;

use super::*;
use crate::support::audit::Audit;

async fn retention_keeps_the_chain_verifying<S: ManagedStore + Clone>(trail: Trail<S>) {
    let acme = trail.acme().await;
    let entries = trail.entries(acme).await;
    let (before, fourth) = (trail.anchors().await, entries[3].event.at);

    // Nothing is old enough.
    assert_eq!(trail.keys.audit().prune(entries[0].event.at).await.unwrap(), 0);
    let older = async |end: Timestamp| {
        let entries = [trail.entries(acme).await, trail.entries(system()).await].concat();
        entries.iter().filter(|entry| entry.event.at < end).count() as u64
    };
    let expected = older(fourth).await;
    let deleted = trail.keys.audit().prune(fourth).await.unwrap();
    assert!(deleted == expected && deleted > 3);
    let left = trail.entries(acme).await;
    assert_eq!(left.first().map(|entry| entry.seq), Some(4));
    let pruned = left.last().unwrap();
    assert_eq!(
        (pruned.event.action.as_str(), pruned.event.detail_of("through")),
        ("audit.pruned", Some("3"))
    );
    for anchors in [&AuditAnchors::default(), &before] {
        assert!(trail.verify(anchors).await.is_ok(), "{:?}", trail.verify(anchors).await);
    }
    let mut anchors = before;
    assert_eq!(trail.keys.audit().anchor(&mut anchors).await.unwrap(), 2);

    // All of it, and then the chain goes on.
    trail.hand.advance(MINUTE);
    let later = Timestamp::from_millis(trail.hand.clock().wall().as_millis());
    let expected = older(later).await;
    assert_eq!(trail.keys.audit().prune(later).await.unwrap(), expected);
    let left = trail.entries(acme).await;
    assert_eq!((actions(&left), left[0].seq), (vec!["audit.pruned"], 10));
    assert_eq!(left[0].event.detail_of("through"), Some("9"));
    assert!(trail.verify(&anchors).await.is_ok());
    let rename = |acme: &mut tower_api_key::key::Organization| acme.name.push('!');
    trail.alice().update_organization(acme, rename).await.unwrap();
    assert_eq!(trail.verify(&anchors).await.unwrap().entries, 3);
}

#[tokio::test]
async fn retention_keeps_chains_of_each_store_verifying() {
    for (trail, _database) in Trail::each().await {
        retention_keeps_the_chain_verifying(trail).await;
    }
}

/// What was changed must not be deleted as if it were in order: afterwards nobody can tell.
#[tokio::test]
async fn retention_leaves_a_broken_chain_and_says_so() {
    for database in Database::shared() {
        let trail = Trail::over(database.open().await, true).await;
        let (acme, other) = (trail.acme().await, trail.acme().await);
        let edit = "UPDATE api_keys_audit_events SET payload = replace(payload, 'alice', 'malle') WHERE seq = 2 AND \
                    organization_id = ?1";
        database.by_hand(edit, &[acme.as_uuid()]).await;
        trail.hand.advance(MINUTE);
        let error = trail.keys.audit().prune(trail.hand.clock().wall()).await.unwrap_err();
        assert_eq!((error.problems().len(), error.problems()[0].seq), (1, 2));
        assert_eq!(trail.entries(acme).await.len(), 8);
        assert_eq!(actions(&trail.entries(other).await), ["audit.pruned"]);
    }
}

#[tokio::test]
async fn heads_that_moved_are_anchored_and_logged() {
    let trail = Trail::in_memory().await;
    let acme = trail.acme().await;
    let (audit, _guard) = Audit::start();
    let mut anchors = trail.anchors().await;
    assert_eq!((anchors.len(), anchors.of(acme).unwrap().seq), (2, 8));
    let logged = || {
        let lines = audit.all_of_level(Level::INFO);
        let lines = lines
            .into_iter()
            .filter(|line| line.target == "tower_api_key::audit::anchor");
        lines.map(|line| line.fields).collect::<Vec<_>>()
    };
    let lines = logged();
    assert_eq!(lines.len(), 2);
    let of_acme = lines.iter().find(|line| line.contains(&acme.to_string())).unwrap();
    let hash: String = anchors
        .of(acme)
        .unwrap()
        .hash
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    for field in ["audit_anchor", "seq=8 ", &hash] {
        assert!(of_acme.contains(field), "{field} in {of_acme}");
    }
    // Only what moved.
    assert_eq!(trail.keys.audit().anchor(&mut anchors).await.unwrap(), 0);
    let rename = |acme: &mut tower_api_key::key::Organization| acme.name.push('!');
    trail.alice().update_organization(acme, rename).await.unwrap();
    assert_eq!(trail.keys.audit().anchor(&mut anchors).await.unwrap(), 1);
    assert_eq!(logged().len(), 3);
    assert!(trail.verify(&anchors).await.is_ok());
}

#[tokio::test]
async fn trail_without_root_key_is_one_without_key() {
    let trail = Trail::over(MemoryStore::new(), false).await;
    let acme = trail.acme().await;
    let entries = trail.entries(acme).await;
    assert!(entries.iter().all(|entry| entry.payload().starts_with("1:2,0:,")));
    assert!(trail.verify(&AuditAnchors::default()).await.is_ok());

    let keyed = Trail::in_memory().await;
    let acme = keyed.acme().await;
    let entries = [keyed.entries(acme).await, keyed.entries(system()).await].concat();
    assert!(entries.iter().all(|entry| entry.payload().starts_with("1:2,1:0,")));
}

#[tokio::test]
async fn store_that_fails_says_nothing_of_the_trail() {
    use tower_api_key::store::StoreErrorKind;
    use tower_api_key::testing::{Fault, FaultStore};
    let store = FaultStore::new(MemoryStore::new());
    let trail = Trail::over(store.clone(), true).await;
    trail.acme().await;
    store.faults().every_manage(Fault::Error(StoreErrorKind::Unavailable));
    let error = trail.verify(&AuditAnchors::default()).await.unwrap_err();
    assert_eq!(error.kind(), AuditErrorKind::Store);
}

/// Each step of retention adds an event, which would be deleted by the next one, for good.
#[tokio::test]
async fn retention_up_to_a_time_to_come_ends() {
    for (trail, _database) in Trail::each().await {
        let acme = trail.acme().await;
        let audit = trail.keys.audit();
        let pruned = audit.prune(Timestamp::MAX);
        let pruned = tokio::time::timeout(Duration::from_secs(20), pruned).await;
        assert!(pruned.expect("it ends").unwrap() >= 8);
        assert_eq!(actions(&trail.entries(acme).await), ["audit.pruned"]);
        assert!(trail.verify(&AuditAnchors::default()).await.is_ok());
    }
}

/// What someone does to the rows of `?1`, and what is found of it. Columns of PostgreSQL have types, so there it is less.
const DAMAGES: [(&str, ProblemKind, bool); 4] = [
    (
        "UPDATE api_keys_organization_state SET audit_hash = 'x' WHERE organization_id = ?1",
        ProblemKind::StateUnreadable,
        true,
    ),
    (
        "UPDATE api_keys_organization_state SET pruned_seq = -1 WHERE organization_id = ?1",
        ProblemKind::StateUnreadable,
        true,
    ),
    (
        "UPDATE api_keys_audit_events SET payload = x'00' WHERE organization_id = ?1 AND seq = 1",
        ProblemKind::Unreadable,
        false,
    ),
    (
        "UPDATE api_keys_audit_events SET at = 'x' WHERE organization_id = ?1 AND seq = 4",
        ProblemKind::Unreadable,
        false,
    ),
];

/// Verification, anchors and retention go on to the next chain.
#[tokio::test]
async fn damaged_chain_is_named_and_others_are_looked_after() {
    for (damage, kind, of_any_type) in DAMAGES {
        for database in Database::shared().filter(|database| of_any_type || !database.is_postgres()) {
            let trail = Trail::over(database.open().await, true).await;
            let (acme, other) = (trail.acme().await, trail.acme().await);
            let hand = database.hand().await.breaks_rules().await;
            assert_eq!(hand.run(damage, &[acme.as_uuid()]).await, 1, "{damage}");

            let error = trail.verify(&AuditAnchors::default()).await.unwrap_err();
            let found: Vec<_> = error
                .problems()
                .iter()
                .map(|one| (one.organization_id, one.kind))
                .collect();
            assert_eq!(found, [(acme, kind)], "{damage}");
            let mut anchors = AuditAnchors::default();
            let anchored = trail.keys.audit().anchor(&mut anchors).await;
            assert_eq!(anchored.is_err(), kind == ProblemKind::StateUnreadable);
            assert_eq!(anchors.of(other).map(|head| head.seq), Some(8));

            trail.hand.advance(MINUTE);
            let error = trail.keys.audit().prune(trail.hand.clock().wall()).await.unwrap_err();
            assert_eq!(
                error.problems().iter().map(|one| one.kind).collect::<Vec<_>>(),
                [kind],
                "{damage}"
            );
            assert_eq!(actions(&trail.entries(other).await), ["audit.pruned"]);
        }
    }
}

/// Uses of all keys are stored together.
#[tokio::test]
async fn uses_of_other_organizations_are_recorded_beside_a_damaged_chain() {
    for database in Database::shared() {
        let trail = Trail::over(database.open().await, true).await;
        let (acme, other) = (trail.acme().await, trail.acme().await);
        let mut issued = Vec::new();
        for organization in [acme, other] {
            let request = IssueRequest::new(organization, "used");
            issued.push(trail.alice().issue(request).await.unwrap());
        }
        let hand = database.hand().await.breaks_rules().await;
        assert_eq!(hand.run(DAMAGES[0].0, &[acme.as_uuid()]).await, 1);
        for key in &issued {
            let key = tower_api_key::PresentedKey::new(key.key.expose_secret().as_bytes());
            let key = key.client_address("192.0.2.1".parse().ok());
            trail.keys.authenticator().check(key).await.unwrap();
        }
        let (audit, _guard) = Audit::start();
        trail.keys.flush().await.unwrap();
        assert_eq!(actions(&trail.entries(other).await).last(), Some(&"key.used"));
        let said = audit.all_of_level(Level::ERROR);
        assert!(
            said.iter().any(|line| line.fields.contains("audit chain is damaged")),
            "{said:?}"
        );
    }
}

/// Retention, writers and verification at once: nothing that is in order is found broken, and no event is lost that is not old.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn retention_beside_writers_leaves_every_chain_in_order() {
    for (trail, _database) in Trail::each().await {
        let (acme, other) = (trail.acme().await, trail.acme().await);
        let old = trail.anchors().await;
        trail.hand.advance(MINUTE);
        let writers = (0..8).map(|number| {
            let alice = trail.alice();
            let organization = if number % 2 == 0 { acme } else { other };
            tokio::spawn(async move {
                for step in 0..20 {
                    let request = IssueRequest::new(organization, format!("key {number} {step}"));
                    let _ = alice.issue(request).await.unwrap();
                }
            })
        });
        let writers: Vec<_> = writers.collect();
        let before = trail.hand.clock().wall();
        for _ in 0..6 {
            trail.keys.audit().prune(before).await.unwrap();
            trail.verify(&old).await.unwrap();
        }
        for writer in writers {
            writer.await.unwrap();
        }
        let mut anchors = old.clone();
        trail.keys.audit().anchor(&mut anchors).await.unwrap();
        // What was written meanwhile is as old as the rest now.
        trail.hand.advance(MINUTE);
        let (audit, until) = (trail.keys.audit(), trail.hand.clock().wall());
        let (one, two) = tokio::join!(audit.prune(until), audit.prune(until));
        assert!(one.unwrap() + two.unwrap() >= 160);
        for anchors in [&AuditAnchors::default(), &old, &anchors] {
            trail.verify(anchors).await.unwrap();
        }
        trail.keys.audit().anchor(&mut anchors).await.unwrap();
        trail.verify(&anchors).await.unwrap();
    }
}

/// A store in which another process cuts a chain before its rows are read.
#[derive(Clone)]
struct Cut {
    rows: MemoryStore,
    other: std::sync::Arc<std::sync::Mutex<Option<Commit>>>,
}

impl KeyStore for Cut {
    async fn find(&self, lookup: &Lookup) -> Result<Option<Candidate>, StoreError> {
        self.rows.find(lookup).await
    }

    fn fence(&self) -> Option<&Fence> {
        self.rows.fence()
    }

    fn sharing(&self) -> Sharing {
        self.rows.sharing()
    }
}

impl ManagedStore for Cut {
    async fn commit(&self, commit: Commit) -> Result<Committed, StoreError> {
        self.rows.commit(commit).await
    }

    async fn read(&self, query: Query) -> Result<Answer, StoreError> {
        let other = match query {
            Query::AuditRows(_) => self.other.lock().unwrap().take(),
            _ => None,
        };
        if let Some(other) = other {
            self.rows.commit(other).await?;
        }
        self.rows.read(query).await
    }
}

/// As maintenance of one process does it while an operator prunes in another one.
#[tokio::test]
async fn rows_that_another_process_prunes_meanwhile_are_no_finding() {
    let store = Cut {
        rows: MemoryStore::new(),
        other: std::sync::Arc::default(),
    };
    let trail = Trail::over(store.clone(), false).await;
    let acme = trail.acme().await;
    trail.hand.advance(MINUTE);
    let now = trail.hand.clock().wall();
    // All chains but acme's, which is the last.
    trail
        .keys
        .audit()
        .prune(trail.entries(acme).await[0].event.at)
        .await
        .unwrap();
    let event = AuditEvent::new(acme, now, Actor::system(), AuditAction::AUDIT_PRUNED).detail("through", "5");
    let other = Write::PruneAudit {
        organization: acme,
        through: 5,
    };
    *store.other.lock().unwrap() = Some(Commit::new().write(other).audit(event));
    let deleted = trail.keys.audit().prune(now).await.unwrap();
    assert!(store.other.lock().unwrap().is_none() && deleted >= 3, "{deleted}");
    assert_eq!(actions(&trail.entries(acme).await), ["audit.pruned", "audit.pruned"]);
    assert!(trail.verify(&AuditAnchors::default()).await.is_ok());
}
