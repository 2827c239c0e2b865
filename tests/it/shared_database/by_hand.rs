//! Rows that someone changes with another program.

use std::time::Duration;

use tower_api_key::audit::{AuditAction, AuditEvent};
use tower_api_key::key::{Actor, KeyStatus, Organization, SecretHash};
use tower_api_key::store::query::AuditEvents;
use tower_api_key::store::{Commit, Guard, ManagedStore, StoreErrorKind, StoreExt, Write};
use tower_api_key::{IssueRequest, Issuer};

use super::{Database, NOW, insert, new_key, organization};

/// The update would undo the change that was made in between.
#[tokio::test]
async fn update_loaded_before_a_change_by_hand_is_a_conflict() {
    for database in Database::shared() {
        let store = database.open().await;
        let acme = organization(&store).await;
        let key = new_key(&acme);
        insert(&store, &key).await.unwrap();
        database
            .by_hand("UPDATE api_keys_keys SET status = 'revoked'", &[])
            .await;
        let mut renamed = key.record.clone();
        renamed.name = "renamed".to_owned();
        let error = store
            .commit(Commit::new().write(Write::UpdateKey(renamed)))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Conflict);
        let stored = store.get(key.record.id).await.unwrap().unwrap().record;
        assert_eq!((stored.status, &*stored.name), (KeyStatus::Revoked, "orders"));

        let inactive = "UPDATE api_keys_organizations SET status = 'inactive'";
        database.by_hand(inactive, &[]).await;
        let mut renamed = acme.clone();
        renamed.name = "renamed".to_owned();
        let error = store
            .commit(Commit::new().write(Write::UpdateOrganization(renamed)))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Conflict);
    }
}

#[tokio::test]
async fn update_of_a_record_keeps_secrets_as_they_were_set_by_hand() {
    for database in Database::shared() {
        let store = database.open().await;
        let key = new_key(&organization(&store).await);
        insert(&store, &key).await.unwrap();
        let loaded = store.get(key.record.id).await.unwrap().unwrap();
        let by_hand = "UPDATE api_keys_key_secrets SET hash = 'sha256:11', expires_at = 5";
        database.by_hand(by_hand, &[]).await;
        let mut renamed = loaded.record;
        renamed.name = "renamed".to_owned();
        store
            .commit(Commit::new().write(Write::UpdateKey(renamed)))
            .await
            .unwrap();
        let stored = store.get(key.record.id).await.unwrap().unwrap();
        assert_eq!(stored.record.name, "renamed");
        assert_eq!(stored.secrets[0].hash.as_str(), "sha256:11");
        assert_eq!(stored.secrets[0].expires_at.map(|end| end.as_millis()), Some(5));

        // Replacing the old hash is a conflict; so it is when the key is gone, and the key stays deleted.
        let rehash = || {
            Commit::new().write(Write::ReplaceHash {
                lookup: key.secrets[0].lookup.clone(),
                old: key.secrets[0].hash.clone(),
                new: SecretHash::new("sha256:22").unwrap(),
            })
        };
        assert_eq!(
            store.commit(rehash()).await.unwrap_err().kind(),
            StoreErrorKind::Conflict
        );
        let delete = "DELETE FROM api_keys_key_secrets; DELETE FROM api_keys_keys";
        database.by_hand(delete, &[]).await;
        assert_eq!(
            store.commit(rehash()).await.unwrap_err().kind(),
            StoreErrorKind::Conflict
        );
        assert_eq!(store.get(key.record.id).await.unwrap(), None);
    }
}

/// Audit events do not depend on the rows that they are about.
#[tokio::test]
async fn audit_events_of_deleted_organization_stay_and_continue() {
    for database in Database::shared() {
        let store = database.open().await;
        let issuer = Issuer::new(store.clone()).unwrap();
        let acme = issuer.create_organization("acme").await.unwrap();
        let event = |action| AuditEvent::new(acme.id, NOW, Actor::service(), action);
        let mut deletion = Commit::new();
        let mut first = None;
        for _ in 0..3 {
            let id = issuer.issue(IssueRequest::new(acme.id, "key")).await.unwrap().record.id;
            let _ = issuer.rotate(id, Duration::from_secs(60)).await.unwrap();
            first = first.or(Some(id));
            let deleted = event(AuditAction::new("key.deleted")).key(id);
            deletion = deletion.write(Write::DeleteKey(id)).audit(deleted);
        }
        let deletion = deletion
            .write(Write::DeleteOrganization(acme.id))
            .audit(event(AuditAction::new("organization.deleted")));
        let id = deletion.id;
        store.commit(deletion).await.unwrap();
        let trail = async || store.get(AuditEvents::of(acme.id).page(100)).await.unwrap().items;
        assert_eq!(trail().await.len(), 1 + 3 * 2 + 4);
        assert_eq!(store.get(AuditEvents::of_commit(id)).await.unwrap().items.len(), 4);
        let of_key = AuditEvents::of(acme.id).key(first.unwrap());
        assert_eq!(store.get(of_key).await.unwrap().items.len(), 3);

        // An organization with the same id is inserted, deleted by hand, and inserted again: its events continue the chain.
        let again = || {
            let mut organization = Organization::new("again");
            organization.id = acme.id;
            Commit::new()
                .write(Write::InsertOrganization(organization))
                .audit(event(AuditAction::ORGANIZATION_CREATED))
        };
        store.commit(again()).await.unwrap();
        let delete = "DELETE FROM api_keys_organizations WHERE id = ?1";
        assert!(database.by_hand(delete, &[acme.id.as_uuid()]).await > 0);
        store.commit(again()).await.unwrap();
        let entries = trail().await;
        assert!(entries.iter().zip(1..).all(|(entry, seq)| entry.seq == seq));
        assert_eq!(entries.len(), 13);
    }
}

#[tokio::test]
async fn commit_that_a_guard_stops_leaves_no_event_for_the_next() {
    for database in Database::shared() {
        let store = database.open().await;
        let key = new_key(&organization(&store).await);
        insert(&store, &key).await.unwrap();
        let id = key.record.organization_id;
        let event = |action| AuditEvent::new(id, NOW, Actor::service(), AuditAction::new(action));
        for (guard, kind) in [
            (Guard::KeyRevision(key.record.id, 9), StoreErrorKind::Conflict),
            (Guard::OrganizationRevision(id, 9), StoreErrorKind::Conflict),
            (Guard::LiveKeysBelow(id, 1), StoreErrorKind::LimitReached),
        ] {
            let commit = Commit::new()
                .guard(guard)
                .write(Write::UpdateKey(key.record.clone()))
                .audit(event("stopped"));
            let made = Commit::new().audit(event("made"));
            let (stopped, made) = tokio::join!(store.commit(commit), store.commit(made));
            assert_eq!(stopped.unwrap_err().kind(), kind);
            made.unwrap();
        }
        let entries = store.get(AuditEvents::of(id)).await.unwrap().items;
        let said: Vec<_> = entries
            .iter()
            .map(|entry| (entry.seq, entry.event.action.to_string()))
            .collect();
        assert_eq!(said, [1, 2, 3].map(|seq| (seq, "made".to_owned())));
    }
}

/// As of a clock that was a year ahead when the lease was taken, and was set back.
#[tokio::test]
async fn lease_of_a_clock_that_was_set_back_is_void() {
    for database in Database::shared() {
        let store = database.open().await;
        let hold = |holder: u128| {
            Commit::new().write(Write::HoldLease {
                task: "task".into(),
                holder: uuid::Uuid::from_u128(holder),
                lasts: Duration::MAX,
            })
        };
        store.commit(hold(1)).await.unwrap();
        assert_eq!(
            store.commit(hold(2)).await.unwrap_err().kind(),
            StoreErrorKind::Conflict
        );
        let ahead = "UPDATE api_keys_leases SET until = until + 31536000000";
        assert_eq!(database.by_hand(ahead, &[]).await, 1);
        store.commit(hold(2)).await.unwrap();
    }
}
