//! What is taken from the acting key between the judgement and the commit: it gives none of it.

use tower_api_key::UserRequest;
use tower_api_key::store::StoreErrorKind;
use tower_api_key::testing::{Barrier, Fault, FaultStore};

use super::*;

struct Slow<S> {
    store: FaultStore<S>,
    realm: Realm<FaultStore<S>>,
}

impl Slow<MemoryStore> {
    async fn new() -> Self {
        Self::over(MemoryStore::new()).await
    }
}

impl<S: ManagedStore> Slow<S> {
    async fn over(store: S) -> Self {
        let store = FaultStore::new(store);
        let realm = Realm::over(store.clone()).await;
        let role = Role::new("clerk", "orders:read invoices:read".parse().unwrap());
        realm.host.create_role(role).await.unwrap();
        Self { store, realm }
    }

    /// What comes of `call` when `change` is made after it was judged, before its commit.
    async fn meanwhile<T>(
        &self,
        call: impl AsyncFn() -> Result<T, IssueError>,
        change: impl AsyncFn(),
    ) -> Result<T, IssueError> {
        // The same without a change, to count what it reads: once for what is read again after other changes.
        call().await.unwrap();
        let before = self.store.faults().manages();
        call().await.unwrap();
        let calls = self.store.faults().manages() - before;
        let barrier = Barrier::new();
        for _ in 1..calls {
            self.store.faults().next_manage(Fault::None);
        }
        self.store.faults().next_manage(Fault::Before(barrier.clone()));
        let change = async {
            barrier.reached(1).await;
            change().await;
            barrier.open();
        };
        tokio::join!(call(), change).0
    }
}

#[tokio::test]
async fn role_narrowed_meanwhile_gives_nothing_that_it_has_lost() {
    let slow = Slow::new().await;
    let realm = &slow.realm;
    let request = IssueRequest::new(realm.acme.id, "admin").scopes("api-keys.keys:write".parse().unwrap());
    let clerk = realm.host.issue(request.roles("clerk".parse().unwrap())).await.unwrap();
    let acting = realm.issuer_of(&clerk).await;
    let narrow = async || {
        let scopes = |role: &mut Role| role.scopes = "orders:read".parse().unwrap();
        realm.host.update_role("clerk", scopes).await.unwrap();
    };
    let answer = slow
        .meanwhile(async || issue(&acting, realm.acme.id, "invoices:read").await, narrow)
        .await;
    is_refused(answer, FORBIDDEN);
    let widen = |role: &mut Role| role.scopes = "orders:read invoices:read".parse().unwrap();
    realm.host.update_role("clerk", widen).await.unwrap();
    // Nor one that was deleted and made anew, with the revision of before.
    let replace = async || {
        realm.host.delete_role("clerk").await.unwrap();
        let role = Role::new("clerk", "orders:read".parse().unwrap());
        realm.host.create_role(role).await.unwrap();
    };
    let answer = slow
        .meanwhile(async || issue(&acting, realm.acme.id, "invoices:read").await, replace)
        .await;
    is_refused(answer, FORBIDDEN);
    let _kept = issue(&acting, realm.acme.id, "orders:read").await.unwrap();
}

#[tokio::test]
async fn role_widened_meanwhile_is_not_given_by_the_operator() {
    let slow = Slow::new().await;
    let realm = &slow.realm;
    let request = IssueRequest::new(realm.operator.id, "clerk").scopes("orders:* invoices:*".parse().unwrap());
    let clerk = realm.host.issue(request).await.unwrap();
    let acting = realm.issuer_of(&clerk).await;
    let widen = async || {
        let scopes = |role: &mut Role| role.scopes = "users:*".parse().unwrap();
        realm.host.update_role("clerk", scopes).await.unwrap();
    };
    let give = async || {
        let request = IssueRequest::new(realm.acme.id, "key").roles("clerk".parse().unwrap());
        acting.issue(request).await
    };
    is_refused(slow.meanwhile(give, widen).await, FORBIDDEN);
}

#[tokio::test]
async fn plan_tightened_meanwhile_bounds_the_new_key() {
    let slow = Slow::new().await;
    let realm = &slow.realm;
    let mut plan = Plan::new("team");
    plan.key_limits = vec!["writes=10/1s".parse().unwrap()];
    let plan = realm.host.create_plan(plan).await.unwrap();
    realm
        .host
        // With a number of its own, that of the plan is not looked at.
        .update_organization(realm.acme.id, |row| {
            (row.plan, row.max_keys) = (Some(plan.id), Some(100))
        })
        .await
        .unwrap();
    let acting = realm.issuer_of(&realm.admin).await;
    let tighten = async || {
        let limits = |plan: &mut Plan| plan.key_limits = vec!["writes=1/1s".parse().unwrap()];
        realm.host.update_plan(plan.id, limits).await.unwrap();
    };
    let make = async || {
        let request = IssueRequest::new(realm.acme.id, "key").limit("writes=10/1s".parse().unwrap());
        acting.issue(request).await
    };
    is_refused(slow.meanwhile(make, tighten).await, FORBIDDEN);
}

/// A change of a secret by hand raises no revision.
#[tokio::test]
async fn secret_ended_by_hand_meanwhile_leaves_none_behind() {
    for database in Database::shared() {
        let slow = Slow::over(database.open().await).await;
        let realm = &slow.realm;
        let acting = realm.issuer_of(&realm.admin).await;
        let end = async || {
            let lookup = realm.admin.lookup.as_str();
            let end = format!("UPDATE api_keys_key_secrets SET expires_at = 1 WHERE lookup = '{lookup}'");
            assert!(database.by_hand(&end, &[]).await > 0);
        };
        let make = async || issue(&acting, realm.acme.id, "orders:read").await;
        is_refused(slow.meanwhile(make, end).await, FORBIDDEN);
    }
}

#[tokio::test]
async fn key_widened_meanwhile_is_not_woken_with_its_user() {
    let slow = Slow::new().await;
    let (realm, acme) = (&slow.realm, slow.realm.acme.id);
    let alice: tower_api_key::key::UserId = "alice".parse().unwrap();
    realm
        .host
        .create_user(UserRequest::new(acme, alice.clone()))
        .await
        .unwrap();
    let hers = IssueRequest::new(acme, "hers").user(alice.clone());
    let hers = realm.host.issue(hers).await.unwrap().record;
    let acting = realm.issuer_of(&realm.admin).await;
    let wake = async || {
        realm.host.disable_user(acme, &alice, "left").await.unwrap();
        acting.enable_user(acme, &alice).await
    };
    let widen = async || {
        let scopes = |record: &mut KeyRecord| record.scopes = "invoices:*".parse().unwrap();
        realm.host.update(hers.id, scopes).await.unwrap();
    };
    is_refused(slow.meanwhile(wake, widen).await, FORBIDDEN);
}

/// Whether a guard holds tells of the row that it is about.
#[tokio::test]
async fn guards_of_a_commit_tell_nothing_of_others() {
    let realm = Realm::new().await;
    let other = realm.host.create_organization("other").await.unwrap();
    let theirs = issue(&realm.host, other.id, "orders:read").await.unwrap().record;
    let admin = realm.issuer_of(&realm.admin).await;
    use tower_api_key::store::Guard;
    for (guards, kind) in [
        (
            [Guard::KeyRevision(theirs.id, 1), Guard::KeyRevision(KeyId::new(), 1)],
            StoreErrorKind::NotFound,
        ),
        (
            [
                Guard::OrganizationRevision(other.id, 1),
                Guard::OrganizationRevision(OrganizationId::new(), 1),
            ],
            StoreErrorKind::Forbidden,
        ),
        (
            [Guard::LiveKeysBelow(other.id, 1), Guard::LiveKeysBelow(other.id, 9)],
            StoreErrorKind::Forbidden,
        ),
    ] {
        for guard in guards {
            let shown = format!("{guard:?}");
            let error = admin.commit(Commit::new().guard(guard)).await.unwrap_err();
            assert_eq!(error.kind(), kind, "{shown}");
        }
    }
    // Nor does it write into their trail.
    let event = tower_api_key::audit::AuditEvent::new(
        other.id,
        theirs.created_at,
        Actor::operator("root"),
        tower_api_key::audit::AuditAction::KEY_REVOKED,
    );
    let error = admin.commit(Commit::new().audit(event)).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Forbidden);
}
