//! Deleting an organization with all that it has.

use tower_api_key::OrganizationRequest;
use tower_api_key::key::{KeyRecord, Labels, Organization, Timestamp, User};
use tower_api_key::store::query::{KeyUses, Keys, Users};
use tower_api_key::store::{Commit, ManagedStore, StoreExt, Write};

use super::*;

impl Realm {
    async fn add_user(&self, organization: OrganizationId, id: &str) {
        let user = User::new(organization, id.parse().unwrap(), Timestamp::from_millis(0));
        self.store
            .commit(Commit::new().write(Write::InsertUser(user)))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn preview_counts_what_deletion_deletes() {
    for realm in Realm::each().await {
        let request = OrganizationRequest::new("acme").email("a@b.example");
        let acme = realm.issuer.create_organization(request).await.unwrap();
        let other = realm.issuer.create_organization("other").await.unwrap();
        let stays = realm.issue(other.id, "stays").await;
        let (first, second) = (realm.issue(acme.id, "one").await, realm.issue(acme.id, "two").await);
        let _ = realm.issuer.rotate(first.record.id, DAY).await.unwrap();
        realm.issuer.revoke(second.record.id, "").await.unwrap();
        let labels: Labels = "blue green".parse().unwrap();
        let label = |record: &mut KeyRecord| record.labels = labels.clone();
        realm.issuer.update(first.record.id, label).await.unwrap();
        realm.add_user(acme.id, "alice").await;

        let preview = realm.issuer.preview_organization_deletion(acme.id).await.unwrap();
        assert_eq!((preview.keys, preview.live_keys, preview.secrets), (2, 1, 3));
        assert_eq!((preview.labels, preview.users), (2, 1));
        assert_eq!(preview.audit_events, realm.events(acme.id).await.len() as u64);
        assert_eq!(preview.organization, acme);
        let found = realm.store.get(Keys::of(acme.id)).await.unwrap();
        assert_eq!(found.items.len(), 2);

        realm.check(&first).await.unwrap();
        let before = realm.events(acme.id).await;
        let deleted = realm
            .issuer
            .delete_organization(acme.id, "contract ended")
            .await
            .unwrap();
        assert_eq!(deleted, preview);
        assert!(realm.check(&first).await.is_err());
        assert_eq!(realm.issuer.organization(acme.id).await.unwrap(), None);
        for id in [first.record.id, second.record.id] {
            assert_eq!(realm.store.get(id).await.unwrap(), None);
        }
        assert!(
            realm
                .store
                .get(Keys::all().label("blue"))
                .await
                .unwrap()
                .items
                .is_empty()
        );
        assert!(realm.store.get(Users::of(acme.id)).await.unwrap().items.is_empty());

        assert!(realm.store.get(KeyUses::of(first.record.id)).await.unwrap().is_empty());
        // The trail stays, with an event for each key and user, and one for the organization.
        let after = realm.events(acme.id).await;
        assert_eq!(after[..before.len()], before);
        let new: Vec<&str> = after[before.len()..]
            .iter()
            .map(|event| event.action.as_str())
            .collect();
        assert_eq!(
            new,
            ["key.deleted", "key.deleted", "user.deleted", "organization.deleted"]
        );
        let last = after.last().unwrap();
        assert_eq!(last.detail_of("reason"), Some("contract ended"));
        assert_eq!(
            (last.detail_of("keys"), last.detail_of("secrets")),
            (Some("2"), Some("3"))
        );
        assert_eq!(last.personal.get("before.email"), Some("a@b.example"));
        realm.keys.audit().verify(&Default::default()).await.unwrap();

        realm.check(&stays).await.unwrap();
        let again = realm.issuer.delete_organization(acme.id, "").await;
        assert_eq!(problem(again), about(IssueErrorKind::NotFound, "organization"));
        let request = OrganizationRequest::new("acme").slug(&*acme.slug).email("a@b.example");
        realm.issuer.create_organization(request).await.unwrap();
    }
}

#[tokio::test]
async fn operators_organization_is_not_deleted() {
    for realm in Realm::each().await {
        let mut own = Organization::new("operators");
        own.is_operator = true;
        let commit = Commit::new().write(Write::InsertOrganization(own.clone()));
        realm.store.commit(commit).await.unwrap();
        let refused = realm.issuer.delete_organization(own.id, "").await;
        assert_eq!(problem(refused), about(IssueErrorKind::InUse, "organization"));
        assert_eq!(realm.issuer.organization(own.id).await.unwrap(), Some(own));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn keys_and_users_of_meanwhile_leave_no_orphans() {
    for realm in Realm::each().await {
        for round in 0..5 {
            let acme = realm.issuer.create_organization("acme").await.unwrap();
            let writers: Vec<_> = (0..8)
                .map(|number| {
                    let (issuer, store) = (realm.issuer.clone(), realm.store.clone());
                    tokio::spawn(async move {
                        let mut made = Vec::new();
                        for turn in 0..4 {
                            let request = IssueRequest::new(acme.id, format!("key {number}"));
                            made.extend(issuer.issue(request).await.ok().map(|issued| issued.record.id));
                            let id = format!("user-{number}-{turn}").parse().unwrap();
                            let user = User::new(acme.id, id, Timestamp::from_millis(0));
                            let _ = store.commit(Commit::new().write(Write::InsertUser(user))).await;
                        }
                        made
                    })
                })
                .collect();
            let deleted = realm.issuer.delete_organization(acme.id, "").await;
            let mut made = Vec::new();
            for writer in writers {
                made.extend(writer.await.unwrap());
            }
            // Those who write all the time may come first each time.
            let deleted = match deleted {
                Ok(deleted) => deleted,
                Err(error) => {
                    assert_eq!(error.kind(), IssueErrorKind::Conflict);
                    realm.issuer.delete_organization(acme.id, "").await.unwrap()
                }
            };
            assert_eq!(deleted.keys, made.len() as u64, "round {round}");
            for id in made {
                assert_eq!(realm.store.get(id).await.unwrap(), None);
            }
            assert!(realm.store.get(Keys::of(acme.id)).await.unwrap().items.is_empty());
            assert!(realm.store.get(Users::of(acme.id)).await.unwrap().items.is_empty());
            let events = realm.events(acme.id).await;
            let count = |action: &str| events.iter().filter(|event| event.action.as_str() == action).count() as u64;
            assert_eq!(
                (count("key.issued"), count("key.deleted")),
                (deleted.keys, deleted.keys)
            );
        }
    }
}
