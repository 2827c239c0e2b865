//! What events say, and where it stands.

use tower_api_key::audit::{AuditAction, AuditEvent};
use tower_api_key::key::{Organization, OrganizationStatus};
use tower_api_key::store::Commit;
use tracing::Level;

use super::*;
use crate::support::audit::Audit;

fn detail<'e>(entry: &'e AuditEntry, name: &str) -> &'e str {
    entry.event.detail_of(name).unwrap_or("-")
}

#[tokio::test]
async fn persons_stand_beside_the_chain_and_all_else_in_it() {
    let trail = Trail::in_memory().await;
    let acme = trail.acme().await;
    let entries = trail.entries(acme).await;
    assert_eq!(entries.len(), 8);
    for entry in &entries {
        let personal = &entry.event.personal;
        let of_caller = ["actor.name", "address", "agent"].map(|name| personal.get(name));
        assert_eq!(of_caller, [Some("Alice Adams"), Some("192.0.2.7"), Some("curl/8.5")]);
        for text in ["Alice", "192.0.2.7", "curl", "acme", "orders"] {
            assert!(!entry.payload().contains(text), "{text} in {}", entry.payload());
        }
        assert!(entry.payload().contains("alice"), "{}", entry.payload());
    }
    let renamed = &entries[2];
    assert_eq!(renamed.event.personal.get("before.name"), Some("orders"));
    assert_eq!(renamed.event.personal.get("after.name"), Some("orders 0"));
    assert_eq!(
        (detail(renamed, "changed"), detail(renamed, "before.name")),
        ("name", "-")
    );
    assert_eq!(detail(&entries[7], "reason"), "lost");
}

#[tokio::test]
async fn fields_before_and_after_are_recorded() {
    let trail = Trail::in_memory().await;
    let alice = trail.alice();
    let acme = alice.create_organization("acme").await.unwrap().id;
    let request = IssueRequest::new(acme, "orders").scopes("orders:read".parse().unwrap());
    let id = alice.issue(request).await.unwrap().record.id;
    let change = |record: &mut KeyRecord| {
        record.scopes = "*".parse().unwrap();
        record.networks = "192.0.2.0/24".parse().unwrap();
        record.expires_at = Some(Timestamp::from_millis(4_000_000_000_000));
    };
    alice.update(id, change).await.unwrap();
    let stop = |acme: &mut Organization| acme.status = OrganizationStatus::Inactive;
    alice.update_organization(acme, stop).await.unwrap();

    let entries = trail.entries(acme).await;
    let [created, issued, updated, stopped] = &entries[..] else {
        panic!("{entries:?}")
    };
    assert_eq!(
        (detail(created, "after.status"), detail(created, "before.status")),
        ("active", "-")
    );
    assert_eq!(created.event.personal.get("after.name"), Some("acme"));
    assert_eq!(
        (detail(issued, "after.scopes"), detail(issued, "before.scopes")),
        ("orders:read", "-")
    );
    assert_eq!(
        (detail(updated, "before.scopes"), detail(updated, "after.scopes")),
        ("orders:read", "*")
    );
    assert_eq!(
        (detail(updated, "before.expires_at"), detail(updated, "before.status")),
        ("", "-")
    );
    assert!(detail(updated, "after.expires_at").starts_with("2096-"));
    assert_eq!(updated.event.personal.get("after.networks"), Some("192.0.2.0/24"));
    assert_eq!(
        (detail(stopped, "before.status"), detail(stopped, "after.status")),
        ("active", "inactive")
    );
}

/// A key in the wrong place ends in no event.
#[tokio::test]
async fn key_in_a_user_agent_is_masked_in_store_and_line() {
    let trail = Trail::in_memory().await;
    let acme = trail.acme().await;
    let issued = trail.alice().issue(IssueRequest::new(acme, "second")).await.unwrap();
    let key = issued.key.expose_secret();
    let (audit, _guard) = Audit::start();
    let caller = Caller::new(Actor::user("bob")).user_agent(&format!("tool/1 ({key}) \u{1b}[2J"));
    trail
        .keys
        .issuer()
        .acting_as(caller)
        .disable(issued.record.id)
        .await
        .unwrap();
    let entry = trail.entries(acme).await.pop().unwrap();
    assert_eq!(entry.event.personal.get("agent"), Some("tool/1 ([masked]) \u{fffd}[2J"));
    let lines = audit.all_of_level(Level::INFO);
    assert!(!lines.is_empty());
    assert!(lines.iter().all(|line| !line.fields.contains(&key[..20])), "{lines:?}");
}

#[tokio::test]
async fn every_committed_event_is_logged_without_persons() {
    let (audit, _guard) = Audit::start();
    let trail = Trail::in_memory().await;
    let acme = trail.acme().await;
    let lines = audit.all_of_level(Level::INFO);
    let lines: Vec<_> = lines
        .iter()
        .filter(|line| line.target == "tower_api_key::audit::change")
        .collect();
    let of_acme: Vec<_> = lines
        .iter()
        .filter(|line| line.fields.contains(&acme.to_string()))
        .collect();
    assert_eq!(of_acme.len(), 8);
    for (line, entry) in of_acme.iter().zip(trail.entries(acme).await) {
        let fields = [
            format!("seq={} ", entry.seq),
            format!("at={} ", entry.event.at.as_millis()),
            "actor=user:alice ".to_owned(),
            format!("action=\"{}\"", entry.event.action),
            format!("commit={} ", entry.commit),
        ];
        for field in fields {
            assert!(line.fields.contains(&field), "{field} in {}", line.fields);
        }
        assert!(
            !line.fields.contains("192.0.2.7") && !line.fields.contains("Adams"),
            "{}",
            line.fields
        );
    }
    assert!(of_acme[7].fields.contains("reason=\"lost\""));
}

#[tokio::test]
async fn failed_commit_is_not_logged() {
    let trail = Trail::in_memory().await;
    let acme = trail.acme().await;
    let (audit, _guard) = Audit::start();
    let event = AuditEvent::new(
        acme,
        Timestamp::from_millis(0),
        Actor::service(),
        AuditAction::new("own"),
    );
    let guard = tower_api_key::store::Guard::OrganizationRevision(acme, 77);
    let failing = Commit::new().guard(guard).audit(event.clone());
    trail.alice().commit(failing).await.unwrap_err();
    assert!(audit.all_of_level(Level::INFO).is_empty());
    trail.alice().commit(Commit::new().audit(event)).await.unwrap();
    assert_eq!(audit.all_of_level(Level::INFO).len(), 1);
    assert!(trail.verify(&AuditAnchors::default()).await.is_ok());
}

/// A store may make its commits on another thread or task.
#[tokio::test]
async fn store_logs_to_the_callers_subscriber() {
    for (store, _database) in stores().await {
        let trail = Trail::over(store.clone(), true).await;
        let (audit, _guard) = Audit::start();
        trail.acme().await;
        // The line may come after the answer: it is written once the next commit is made.
        for _ in 0..2 {
            store.commit(Commit::new()).await.unwrap();
        }
        let lines = audit.all_of_level(Level::INFO);
        let changes = lines
            .iter()
            .filter(|line| line.target == "tower_api_key::audit::change");
        assert_eq!(changes.count(), 8, "{lines:?}");
    }
}
