//! The last key of the operator, whatever a key does to it; and the keys that a stolen one made.

use tower_api_key::key::{Checksum, KeyFormat, SecretForm, UserId};
use tower_api_key::testing::cheap_hashes;
use tower_api_key::{Descendants, KeySelection};

use super::*;

const MANAGING: &str = "* api-keys.keys:write api-keys.organizations:write";

/// An operator key that may manage by a role, of a user, with a label, made by another one that is gone.
async fn last_by_a_role(realm: &Realm<MemoryStore>) -> IssuedKey {
    let host = &realm.host;
    host.create_role(Role::new("root", MANAGING.parse().unwrap()))
        .await
        .unwrap();
    let alice: UserId = "alice".parse().unwrap();
    let request = IssueRequest::new(realm.operator.id, "last").roles("root".parse().unwrap());
    let request = request
        .user(alice.clone())
        .ends_with_user()
        .labels("ops".parse().unwrap());
    let last = host.issue(request.created_by_key(realm.root.record.id)).await;
    // The creator has no such role.
    assert_eq!(last.unwrap_err().field(), Some("roles"));
    let request = IssueRequest::new(realm.operator.id, "last").roles("root".parse().unwrap());
    let request = request
        .user(alice.clone())
        .ends_with_user()
        .labels("ops".parse().unwrap());
    let last = host.issue(request).await.unwrap();
    host.create_user(tower_api_key::UserRequest::new(realm.operator.id, alice))
        .await
        .unwrap();
    let other = realm.root.record.id;
    host.revoke_with_descendants(other, Descendants::None, "")
        .await
        .unwrap();
    last
}

#[tokio::test]
async fn last_operator_key_survives_every_way_to_stop_it() {
    let realm = Realm::new().await;
    let last = last_by_a_role(&realm).await;
    let (acting, id, operator) = (realm.issuer_of(&last).await, last.record.id, realm.operator.id);
    let alice: UserId = "alice".parse().unwrap();
    for selection in [
        KeySelection::user(operator, alice.clone()),
        KeySelection::label("ops"),
        KeySelection::label("ops").within(operator),
    ] {
        is_refused(acting.revoke_all(&selection, "").await, LAST);
        is_refused(acting.disable_all(&selection, "").await, LAST);
    }
    for descendants in [Descendants::None, Descendants::Disable, Descendants::Revoke] {
        is_refused(acting.revoke_with_descendants(id, descendants, "").await, LAST);
    }
    is_refused(acting.revoke(id, "").await, LAST);
    is_refused(acting.disable(id).await, LAST);
    is_refused(acting.disable_user(operator, &alice, "").await, LAST);
    is_refused(acting.delete_user(operator, &alice).await, LAST);
    let no_roles = |record: &mut KeyRecord| record.roles = Default::default();
    is_refused(acting.update(id, no_roles).await, LAST);
    // By what the key has from elsewhere.
    let narrow = |role: &mut Role| role.scopes = "orders:read".parse().unwrap();
    is_refused(acting.update_role("root", narrow).await, LAST);
    is_refused(acting.delete_role("root").await, LAST);
    let secret = Write::DeleteSecret {
        key: id,
        lookup: last.lookup.clone(),
    };
    let row = realm.keys.read(id).await.unwrap().unwrap().record;
    let commit = Commit::new().write(Write::UpdateKey(row)).write(secret);
    is_refused(acting.commit(commit).await.map_err(IssueError::from), LAST);
    let delete = Commit::new().write(Write::DeleteKey(id));
    is_refused(acting.commit(delete).await.map_err(IssueError::from), LAST);
    // What bounds the organization is not for its keys at all.
    for change in [
        (|row: &mut Organization| row.policy.longest_life = Some(Duration::from_millis(1))) as fn(&mut Organization),
        |row| row.policy.grantable = Some("orders:*".parse().unwrap()),
        |row| row.policy.requires_networks = true,
        |row| row.status = OrganizationStatus::Inactive,
        |row| row.plan = None,
        |row| row.is_operator = false,
    ] {
        let answer = acting.update_organization(operator, change).await;
        match answer {
            // It had no plan.
            Ok(row) => assert_eq!(row.revision, realm.operator.revision),
            Err(error) => assert_eq!(error.kind(), FORBIDDEN),
        }
    }
    is_refused(acting.deactivate_organization(operator, "").await, FORBIDDEN);
    assert!(acting.delete_organization(operator, "").await.is_err());
    // A plan gives limits and a number of keys, and stops none.
    let tight = |plan: &mut Plan| (plan.max_keys, plan.key_limits) = (Some(1), vec!["r=1/3600s".parse().unwrap()]);
    let plan = acting.plan_named("free").await.unwrap().unwrap();
    acting.update_plan(plan.id, tight).await.unwrap();
    assert!(acting.is_valid(id).await.unwrap());
    let still = realm.issuer_of(&last).await;
    still.organization(operator).await.unwrap().unwrap();
}

#[tokio::test]
async fn operator_key_with_a_crc_does_not_end_all_of_its_kind() {
    let store = MemoryStore::new();
    let crc = || {
        let format = KeyFormat::builder("key").checksum(Checksum::Crc32);
        ApiKeys::builder(store.clone()).formats(format.build().unwrap())
    };
    let host = crc()
        .hash_policy(cheap_hashes())
        .checking()
        .issuer()
        .acting_as(Actor::operator("alice"));
    let operator = host.create_organization("operator").await.unwrap();
    host.update_organization(operator.id, |row| row.is_operator = true)
        .await
        .unwrap();
    let old = issue(&host, operator.id, MANAGING).await.unwrap();
    let stored = host.key(old.record.id).await.unwrap().unwrap();
    assert_eq!(stored.secrets[0].form, SecretForm::Crc32);
    let was = host.read(TheRealm).await.unwrap();
    let mut row = was;
    row.crc_accepted_until = tower_api_key::key::Timestamp::MAX;
    host.commit(Commit::new().write(Write::UpdateRealm { was, row }))
        .await
        .unwrap();
    let keys = ApiKeys::builder(store.clone())
        .hash_policy(cheap_hashes())
        .open()
        .await
        .unwrap();
    let acting = async |key: &IssuedKey| {
        let presented = PresentedKey::new(key.key.expose_secret().as_bytes());
        let context = keys.authenticator().check(presented).await.unwrap();
        keys.issuer_for(&context)
    };
    let with_crc = acting(&old).await;
    is_refused(with_crc.end_crc_keys().await, LAST);
    let new = with_crc.rotate(old.record.id, Duration::from_secs(60)).await.unwrap();
    acting(&new).await.end_crc_keys().await.unwrap();
}

#[tokio::test]
async fn revoked_key_that_may_manage_takes_what_it_made_with_it() {
    let realm = Realm::new().await;
    let admin = realm.issuer_of(&realm.admin).await;
    let child = issue(&admin, realm.acme.id, ADMIN).await.unwrap();
    let grandchild = issue(&realm.issuer_of(&child).await, realm.acme.id, "orders:read")
        .await
        .unwrap();
    let status = async |key: &IssuedKey| realm.host.key(key.record.id).await.unwrap().unwrap().record.status;
    realm.host.revoke(realm.admin.record.id, "leaked").await.unwrap();
    for key in [&child, &grandchild] {
        assert_eq!(status(key).await, KeyStatus::Disabled);
    }
    // Who enables them has looked at them: the same call again changes nothing.
    let made = KeySelection::descendants_of(realm.admin.record.id);
    realm.host.enable_all(&made).await.unwrap();
    let again = realm.host.revoke(realm.admin.record.id, "again").await.unwrap();
    assert_eq!(again.revocation.unwrap().reason, "leaked");
    assert_eq!(status(&child).await, KeyStatus::Active);
    // By a role as by a scope of its own.
    realm
        .host
        .create_role(Role::new("admin", ADMIN.parse().unwrap()))
        .await
        .unwrap();
    let by_role = IssueRequest::new(realm.acme.id, "by role").roles("admin".parse().unwrap());
    let by_role = realm.host.issue(by_role).await.unwrap();
    let made = issue(&realm.issuer_of(&by_role).await, realm.acme.id, "orders:read")
        .await
        .unwrap();
    realm.host.revoke(by_role.record.id, "leaked").await.unwrap();
    assert_eq!(status(&made).await, KeyStatus::Disabled);
    // A key that manages nothing leaves them.
    let plain = issue(&realm.host, realm.acme.id, "orders:read").await.unwrap();
    let made = IssueRequest::new(realm.acme.id, "made").created_by_key(plain.record.id);
    let made = realm.host.issue(made).await.unwrap();
    realm.host.revoke(plain.record.id, "").await.unwrap();
    assert_eq!(status(&made).await, KeyStatus::Active);
}

/// The one that acts was made by the one that leaked, and there is no other: it stays, and the leaked one goes.
#[tokio::test]
async fn leaked_operator_key_is_revoked_though_it_made_the_last_one() {
    let realm = Realm::new().await;
    let root = realm.issuer_of(&realm.root).await;
    let second = issue(&root, realm.operator.id, "* api-keys.keys:write").await.unwrap();
    let acting = realm.issuer_of(&second).await;
    let error = acting.revoke(realm.root.record.id, "leaked").await.unwrap_err();
    assert_eq!((error.kind(), error.field()), (LAST, Some("descendants")));
    assert_eq!(
        error.to_string(),
        "the key is revoked, and not all that it made is disabled"
    );
    let status = async |id| realm.host.key(id).await.unwrap().unwrap().record.status;
    assert_eq!(status(realm.root.record.id).await, KeyStatus::Revoked);
    assert_eq!(status(second.record.id).await, KeyStatus::Active);
    // By itself it cannot go, so its error is about nothing else.
    let error = acting.revoke(second.record.id, "").await.unwrap_err();
    assert_eq!((error.kind(), error.field()), (LAST, None));
}

#[tokio::test]
async fn descendants_are_left_when_it_is_said_so() {
    let realm = Realm::new().await;
    let admin = realm.issuer_of(&realm.admin).await;
    let child = issue(&admin, realm.acme.id, "orders:read").await.unwrap();
    let id = realm.admin.record.id;
    let done = realm
        .host
        .revoke_with_descendants(id, Descendants::None, "replaced")
        .await;
    assert_eq!(done.unwrap().changed.len(), 1);
    assert!(realm.host.is_valid(child.record.id).await.unwrap());
    assert_eq!(Descendants::default(), Descendants::DisableOfManaging);
}
