//! What is refused anyway costs no hash: whoever may do little must not keep the pool busy.

use tower_api_key::hash::HashPool;
use tower_api_key::{OrganizationRequest, Principal};

use super::*;

#[tokio::test]
async fn refused_key_and_rotation_are_not_hashed() {
    let pool = HashPool::builder().build();
    let keys = ApiKeys::builder(MemoryStore::new()).hash_policy(cheap_hashes());
    let keys = keys.pool(pool.clone()).open().await.unwrap();
    let host = keys.issuer().acting_as(Actor::operator("alice"));
    let acme = host.create_organization("acme").await.unwrap();
    let admin = issue(&host, acme.id, ADMIN).await.unwrap();
    let alices = IssueRequest::new(acme.id, "stronger").user("alice".parse().unwrap());
    let stronger = host
        .issue(alices.scopes("invoices:read".parse().unwrap()))
        .await
        .unwrap();
    let id = stronger.record.id;

    let presented = PresentedKey::new(admin.key.expose_secret().as_bytes());
    let admin = keys.issuer_for(&keys.authenticator().check(presented).await.unwrap());
    let alice = Principal::new(acme.id, "alice".parse().unwrap()).grants("orders:read".parse().unwrap());
    let alice = keys.issuer_for_principal(&alice.unwrap());
    let before = pool.hashes_run();
    assert!(before > 0);
    for issuer in [&admin, &alice] {
        let request = || IssueRequest::new(acme.id, "key").scopes("invoices:read".parse().unwrap());
        is_refused(issuer.issue(request()).await, FORBIDDEN);
        is_refused(issuer.issue_once(request(), &"once".parse().unwrap()).await, FORBIDDEN);
        is_refused(issuer.rotate(id, Duration::ZERO).await, FORBIDDEN);
        is_refused(issuer.rotate(id, Duration::from_secs(60)).await, FORBIDDEN);
        is_refused(issuer.ensure(OrganizationRequest::new("new"), "key").await, FORBIDDEN);
    }
    is_refused(alice.ensure("acme", "key").await, FORBIDDEN);
    assert_eq!(pool.hashes_run(), before);
    let made = admin.ensure("acme", "another").await.unwrap();
    assert_eq!((made.key.is_some(), pool.hashes_run()), (true, before + 1));
}
