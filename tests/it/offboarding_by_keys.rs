//! Off-boarding by an issuer that acts with a key: within its organization and its scopes, and not of the last operator key.

use tower_api_key::hash::HashPolicy;
use tower_api_key::key::{Actor, KeyId, KeyRecord, KeyStatus, Organization};
use tower_api_key::store::{Commit, DynStore, ManagedStore, MemoryStore, StoreExt, Write};
use tower_api_key::{
    ApiKeys, Descendants, IssueErrorKind, IssueRequest, IssuedKey, Issuer, KeySelection, PresentedKey,
};

use crate::house::text;
use crate::users::{refused, stores, user_id};

async fn organization(host: &Issuer<DynStore>, name: &str) -> Organization {
    host.create_organization(name).await.unwrap()
}

async fn issue(host: &Issuer<DynStore>, organization: &Organization, scopes: &str) -> IssuedKey {
    let request = IssueRequest::new(organization.id, "key").scopes(scopes.parse().unwrap());
    let request = request
        .labels("all".parse().unwrap())
        .user(user_id("alice"))
        .ends_with_user();
    host.issue(request).await.unwrap()
}

async fn issuer_of(keys: &ApiKeys<DynStore>, key: &IssuedKey) -> Issuer<DynStore> {
    let presented = PresentedKey::new(text(key).as_bytes());
    let context = keys.authenticator().check(presented).await.unwrap();
    keys.issuer_for(&context)
}

#[tokio::test]
async fn last_operator_key_is_not_off_boarded_by_a_key() {
    for (store, _database) in stores().await {
        let keys = ApiKeys::builder(store)
            .hash_policy(HashPolicy::sha256())
            .open()
            .await
            .unwrap();
        let host = keys.issuer().acting_as(Actor::operator("root"));
        let operator = organization(&host, "operator").await;
        let mark = |row: &mut Organization| row.is_operator = true;
        host.update_organization(operator.id, mark).await.unwrap();
        let root = issue(&host, &operator, "* api-keys.keys:write api-keys.organizations:write").await;
        let acting = issuer_of(&keys, &root).await;
        let hers = KeySelection::user(operator.id, user_id("alice"));
        let (label, last) = (KeySelection::label("all"), IssueErrorKind::LastOperatorKey);
        for selection in [&hers, &label] {
            assert_eq!(acting.disable_all(selection, "").await.unwrap_err().kind(), last);
            assert_eq!(acting.revoke_all(selection, "").await.unwrap_err().kind(), last);
        }
        let done = acting
            .revoke_with_descendants(root.record.id, Descendants::Revoke, "")
            .await;
        assert_eq!(done.unwrap_err().kind(), last);
        host.create_user(tower_api_key::UserRequest::new(operator.id, user_id("alice")))
            .await
            .unwrap();
        assert_eq!(
            acting
                .delete_user(operator.id, &user_id("alice"))
                .await
                .unwrap_err()
                .kind(),
            last
        );
        let stored = keys
            .authenticator()
            .check(PresentedKey::new(text(&root).as_bytes()))
            .await;
        assert!(stored.is_ok());
        // Beside another one, it is, and on the host in any case.
        let other = issue(&host, &operator, "* api-keys.keys:write").await;
        host.update(other.record.id, |record| record.labels = Default::default())
            .await
            .unwrap();
        assert_eq!(acting.revoke_all(&label, "").await.unwrap().changed.len(), 1);
        assert_eq!(host.revoke_all(&hers, "").await.unwrap().changed.len(), 1);
    }
}

#[tokio::test]
async fn tenant_off_boards_its_own_keys_and_wakes_no_stronger_one() {
    for (store, _database) in stores().await {
        let keys = ApiKeys::builder(store.clone())
            .hash_policy(HashPolicy::sha256())
            .open()
            .await
            .unwrap();
        let host = keys.issuer().acting_as(Actor::operator("root"));
        let (acme, other) = (organization(&host, "acme").await, organization(&host, "other").await);
        let request = IssueRequest::new(acme.id, "admin").scopes("orders:* api-keys.keys:write".parse().unwrap());
        let admin = host.issue(request).await.unwrap();
        let (weak, foreign) = (
            issue(&host, &acme, "orders:read").await,
            issue(&host, &other, "orders:read").await,
        );
        let acting = issuer_of(&keys, &admin).await;
        let everywhere = KeySelection::label("all");
        let own = KeySelection::label("all").within(acme.id);
        refused(
            acting.revoke_all(&everywhere, "").await,
            IssueErrorKind::Forbidden,
            None,
        );
        assert_eq!(acting.disable_all(&own, "").await.unwrap().changed.len(), 1);
        assert_eq!(acting.enable_all(&own).await.unwrap().changed.len(), 1);
        let strong = issue(&host, &acme, "invoices:read").await;
        assert_eq!(acting.disable_all(&own, "").await.unwrap().changed.len(), 2);
        // All or nothing.
        refused(acting.enable_all(&own).await, IssueErrorKind::Forbidden, None);
        for (key, status) in [
            (&weak, KeyStatus::Disabled),
            (&strong, KeyStatus::Disabled),
            (&foreign, KeyStatus::Active),
        ] {
            let stored = store.get(key.record.id).await.unwrap().unwrap();
            assert_eq!(stored.record.status, status);
        }
        assert_eq!(host.enable_all(&own).await.unwrap().changed.len(), 2);
    }
}

/// Rows of keys without secrets, as fast as a store takes them.
async fn insert(store: &DynStore, number: usize, row: impl Fn() -> KeyRecord) {
    let writes: Vec<Write> = (0..number).map(|_| Write::InsertKey(row())).collect();
    for some in writes.chunks(60_000) {
        let mut commit = Commit::new();
        commit.writes = some.to_vec();
        store.commit(commit).await.unwrap();
    }
}

async fn acme_of(store: &DynStore) -> (ApiKeys<DynStore>, Organization, IssuedKey) {
    let keys = ApiKeys::builder(store.clone())
        .hash_policy(HashPolicy::sha256())
        .open()
        .await
        .unwrap();
    let host = keys.issuer().acting_as(Actor::operator("root"));
    let acme = organization(&host, "acme").await;
    let admin = issue(&host, &acme, "* api-keys.keys:write").await;
    (keys, acme, admin)
}

#[tokio::test]
async fn key_that_stops_itself_with_more_than_fit_goes_last() {
    let store = DynStore::new(MemoryStore::new());
    let (keys, acme, admin) = acme_of(&store).await;
    insert(&store, 60_001, || {
        let mut record = KeyRecord::new(acme.id, "key", acme.created_at);
        record.labels = "all".parse().unwrap();
        record
    })
    .await;
    let all = KeySelection::label("all").within(acme.id);
    let acting = issuer_of(&keys, &admin).await;
    let done = acting.revoke_all(&all, "").await.unwrap();
    assert_eq!(done.total, 60_002);
    let host = keys.issuer().acting_as(Actor::operator("root"));
    assert_eq!(host.preview(&all).await.unwrap().revoked, 60_002);
}

#[tokio::test]
async fn descendants_behind_those_in_other_organizations_are_seen() {
    let store = DynStore::new(MemoryStore::new());
    let (keys, acme, admin) = acme_of(&store).await;
    let host = keys.issuer().acting_as(Actor::operator("root"));
    let other = organization(&host, "other").await;
    let made_by = |of: &Organization, creator: KeyId| {
        let mut record = KeyRecord::new(of.id, "key", of.created_at);
        record.created_by_key = Some(creator);
        record
    };
    insert(&store, 65_536, || made_by(&other, admin.record.id)).await;
    insert(&store, 1, || made_by(&acme, admin.record.id)).await;
    let acting = issuer_of(&keys, &admin).await;
    let all = KeySelection::descendants_of(admin.record.id);
    assert_eq!(acting.preview(&all).await.unwrap().total, 1);
}
