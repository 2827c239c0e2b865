//! Ways around the bounds of a key that acts: by what marks keys, by users, by roles of tomorrow, and by what is done in between.

use tower_api_key::UserRequest;
use tower_api_key::key::{Labels, UserId};
use tower_api_key::testing::{Barrier, Fault, FaultStore};

use super::*;

fn alice() -> UserId {
    "alice".parse().unwrap()
}

fn labels(text: &str) -> Labels {
    text.parse().unwrap()
}

#[tokio::test]
async fn label_that_many_keys_are_stopped_by_is_not_taken_off() {
    let realm = Realm::new().await;
    let other = issue(&realm.host, realm.acme.id, "invoices:*").await.unwrap().record;
    let admin = realm.issuer_of(&realm.admin).await;
    for id in [realm.admin.record.id, other.id] {
        realm.host.update(id, |key| key.labels = labels("ci")).await.unwrap();
        is_refused(admin.update(id, |key| key.labels = labels("")).await, FORBIDDEN);
        is_refused(admin.update(id, |key| key.labels = labels("x")).await, FORBIDDEN);
        admin.update(id, |key| key.labels = labels("ci x")).await.unwrap();
    }
}

#[tokio::test]
async fn key_stays_with_the_one_that_made_it() {
    let realm = Realm::new().await;
    let admin = realm.issuer_of(&realm.admin).await;
    let child = issue(&admin, realm.acme.id, "orders:read").await.unwrap().record;
    let changes: [fn(&mut KeyRecord); 3] = [
        |key| key.created_by_key = None,
        |key| key.created_by = Actor::operator("bob"),
        |key| key.created_at = key.created_at.after(Duration::from_secs(9)),
    ];
    for change in changes {
        let _ = admin.update(child.id, change).await;
        let mut row = child.clone();
        change(&mut row);
        let commit = Commit::new().write(Write::UpdateKey(row));
        assert!(admin.commit(commit).await.is_err());
        let stored = realm.keys.read(child.id).await.unwrap().unwrap().record;
        assert_eq!(stored, child);
    }
}

#[tokio::test]
async fn user_of_stronger_keys_is_not_woken_by_a_weaker_one() {
    let realm = Realm::new().await;
    let (host, acme) = (&realm.host, realm.acme.id);
    let strong = IssueRequest::new(acme, "strong").scopes("invoices:*".parse().unwrap());
    let _ = host.issue(strong.user(alice())).await.unwrap();
    host.disable_user(acme, &alice(), "left").await.unwrap();
    let admin = realm.issuer_of(&realm.admin).await;
    is_refused(admin.enable_user(acme, &alice()).await, FORBIDDEN);
    let equal = issue(host, acme, &format!("{ADMIN} invoices:*")).await.unwrap();
    realm.issuer_of(&equal).await.enable_user(acme, &alice()).await.unwrap();
    // To stop her takes nothing that the key does not have.
    admin.disable_user(acme, &alice(), "left").await.unwrap();
}

#[tokio::test]
async fn key_whose_user_is_disabled_meanwhile_leaves_none_behind() {
    let store = FaultStore::new(MemoryStore::new());
    let realm = Realm::over(store.clone()).await;
    let acme = realm.acme.id;
    realm.host.create_user(UserRequest::new(acme, alice())).await.unwrap();
    let hers = IssueRequest::new(acme, "hers").scopes(ADMIN.parse().unwrap());
    let hers = realm.host.issue(hers.user(alice())).await.unwrap();
    let acting = realm.issuer_of(&hers).await;
    let before = store.faults().manages();
    let _ = issue(&acting, acme, "orders:read").await.unwrap();
    let calls = store.faults().manages() - before;
    let barrier = Barrier::new();
    for _ in 1..calls {
        store.faults().next_manage(Fault::None);
    }
    store.faults().next_manage(Fault::Before(barrier.clone()));
    let disable = async {
        barrier.reached(1).await;
        realm.host.disable_user(acme, &alice(), "left").await.unwrap();
        barrier.open();
    };
    let (answer, ()) = tokio::join!(issue(&acting, acme, "orders:read"), disable);
    is_refused(answer, FORBIDDEN);
}

#[tokio::test]
async fn new_key_lives_no_longer_and_opens_from_no_more_places() {
    let realm = Realm::new().await;
    let acme = realm.acme.id;
    let request = || IssueRequest::new(acme, "key").scopes(ADMIN.parse().unwrap());
    let bound = request()
        .networks("192.0.2.0/24".parse().unwrap())
        .expires_in(Duration::from_secs(3600))
        .environment("test");
    let bound = realm.host.issue(bound).await.unwrap();
    let presented = PresentedKey::new(bound.key.expose_secret().as_bytes());
    let presented = presented.client_address(Some("192.0.2.7".parse().unwrap()));
    let context = realm.keys.authenticator().check(presented).await.unwrap();
    let acting = realm.keys.issuer_for(&context);
    let inner = || {
        let inner = request().networks("192.0.2.128/25".parse().unwrap());
        inner.expires_in(Duration::from_secs(60)).environment("test")
    };
    let weaker = acting.issue(inner()).await.unwrap().record;
    is_refused(acting.issue(inner().networks(Default::default())).await, FORBIDDEN);
    is_refused(
        acting.issue(inner().networks("192.0.0.0/16".parse().unwrap())).await,
        FORBIDDEN,
    );
    is_refused(
        acting.issue(inner().expires_in(Duration::from_secs(7200))).await,
        FORBIDDEN,
    );
    is_refused(acting.issue(inner().environment("live")).await, FORBIDDEN);
    let _ = acting.rotate(weaker.id, Duration::ZERO).await.unwrap();
    // Who gets a new secret of a key is that key.
    is_refused(acting.rotate(realm.admin.record.id, Duration::ZERO).await, FORBIDDEN);
    realm.host.disable(realm.admin.record.id).await.unwrap();
    is_refused(acting.enable(realm.admin.record.id).await, FORBIDDEN);
}

#[tokio::test]
async fn role_that_there_is_not_yet_is_given_to_nobody() {
    let realm = Realm::new().await;
    let admin = realm.issuer_of(&realm.admin).await;
    let child = issue(&admin, realm.acme.id, "orders:read").await.unwrap().record;
    let mut row = child.clone();
    row.roles = "tomorrow".parse().unwrap();
    let commit = Commit::new().write(Write::UpdateKey(row));
    assert!(admin.commit(commit).await.is_err());
    assert!(
        admin
            .update(child.id, |key| key.roles = "tomorrow".parse().unwrap())
            .await
            .is_err()
    );
}

#[tokio::test]
async fn key_that_lacks_the_networks_it_needs_does_not_act() {
    let realm = Realm::new().await;
    let root = realm.issuer_of(&realm.root).await;
    let networks = |row: &mut Organization| row.policy.requires_networks = true;
    realm
        .host
        .update_organization(realm.operator.id, networks)
        .await
        .unwrap();
    is_refused(issue(&root, realm.acme.id, "orders:read").await, FORBIDDEN);
}

#[tokio::test]
async fn new_key_of_a_key_that_ends_ends_with_it() {
    let realm = Realm::new().await;
    let request = || IssueRequest::new(realm.acme.id, "key").scopes(ADMIN.parse().unwrap());
    let bound = realm
        .host
        .issue(request().expires_in(Duration::from_secs(3600)))
        .await
        .unwrap();
    let made = realm.issuer_of(&bound).await.issue(request()).await.unwrap();
    assert_eq!(made.record.expires_at, bound.record.expires_at);
}
