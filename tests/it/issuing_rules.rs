//! What new and changed keys must keep to, on each store: policy, known scopes, roles, users, numbers of keys, creators.

use std::time::Duration;

use tokio::task::JoinSet;
use tower_api_key::key::{
    Actor, KeyFormat, KeyRecord, KeyStatus, KnownScope, Metadata, Organization, OrganizationStatus, Plan, Role, User,
    UserStatus,
};
use tower_api_key::store::query::{AuditEvents, Keys};
use tower_api_key::store::{Commit, ManagedStore, MemoryStore, StoreErrorKind, StoreExt, Write};
use tower_api_key::testing::{Barrier, Fault, FaultStore, ManualClock};
use tower_api_key::{ApiKeys, IssueErrorKind, IssueRequest, IssuedKey, RejectionKind};

use crate::house::place::{DAY, Place, detail};
use crate::house::{acting, check, crc_format, kind, text};

#[tokio::test]
async fn every_field_of_a_request_is_stored_and_audited() {
    for place in Place::all().await {
        let alice: tower_api_key::key::UserId = "alice".parse().unwrap();
        place
            .write(Write::InsertRole(Role::new("reader", "orders:read".parse().unwrap())))
            .await;
        let mut metadata = Metadata::default();
        metadata.set("team", "data").unwrap();
        let request = place
            .request()
            .user(alice.clone())
            .ends_with_user()
            .labels("nightly team:data".parse().unwrap())
            .environment("test")
            .scopes("invoices:read".parse().unwrap())
            .roles("reader".parse().unwrap())
            .networks("192.0.2.0/24".parse().unwrap())
            .limit("requests=1/60s".parse().unwrap())
            .lift_limits("writes".parse().unwrap())
            .metadata(metadata.clone())
            .canary()
            .requires("of-tomorrow".parse().unwrap())
            .expires_at(place.in_days(1));
        let issued = place.issue(request).await;
        let stored = place.issuer.key(issued.record.id).await.unwrap().unwrap();
        let record = &stored.record;
        assert_eq!(*record, issued.record);
        assert_eq!((record.user.as_ref(), record.ends_with_user), (Some(&alice), true));
        assert_eq!(record.labels.to_string(), "nightly team:data");
        assert_eq!(record.roles.to_string(), "reader");
        assert_eq!(record.lifted_limits.to_string(), "writes");
        assert_eq!((&record.metadata, record.is_canary), (&metadata, true));
        assert_eq!(record.requires.to_string(), "of-tomorrow");
        assert_eq!(record.expires_at, Some(place.in_days(1)));

        let events = place.store.get(AuditEvents::all().key(issued.record.id)).await.unwrap();
        let event = &events.items[0].event;
        for (field, value) in [
            ("after.labels", "nightly team:data"),
            ("after.roles", "reader"),
            ("after.lifted_limits", "writes"),
            ("after.canary", "true"),
            ("after.ends_with_user", "true"),
            ("after.requires", "of-tomorrow"),
        ] {
            assert_eq!(detail(event, field), Some(value), "{field}");
        }
    }
}

#[tokio::test]
async fn request_that_contradicts_itself_is_refused() {
    for place in Place::all().await {
        let mut metadata = Metadata::default();
        for number in 0..16 {
            metadata.set(&format!("name{number:04}"), &"x".repeat(1016)).unwrap();
        }
        let _key = place.issue(place.request().metadata(metadata.clone())).await;
        metadata.set("name0000", &"x".repeat(1017)).unwrap();
        let error = place
            .refused(
                place.request().metadata(metadata.clone()),
                IssueErrorKind::InvalidRequest,
                "metadata",
            )
            .await;
        assert_eq!(
            error.to_string(),
            "invalid metadata: must have at most 16384 bytes in all, got 16385"
        );
        let orphan = place.request().ends_with_user();
        place
            .refused(orphan, IssueErrorKind::InvalidRequest, "ends_with_user")
            .await;
        let key = place.issue(place.request()).await;
        let invalid = IssueErrorKind::InvalidRequest;
        place
            .update_refused(&key, |key| key.metadata = metadata.clone(), invalid, "metadata")
            .await;
        place
            .update_refused(&key, |key| key.ends_with_user = true, invalid, "ends_with_user")
            .await;
    }
}

#[tokio::test]
async fn policy_is_judged_when_a_key_is_issued() {
    let forbidden = IssueErrorKind::NotAllowed;
    for place in Place::all().await {
        place
            .organization(|acme| {
                acme.policy.longest_life = Some(30 * DAY);
                acme.policy.requires_expiry = true;
                acme.policy.requires_networks = true;
                acme.policy.grantable = Some("orders:*".parse().unwrap());
            })
            .await;
        let good = || {
            place
                .request()
                .networks("192.0.2.0/24".parse().unwrap())
                .scopes("orders:read".parse().unwrap())
                .expires_in(30 * DAY)
        };
        let _key = place.issue(good()).await;
        let late = good().expires_in(30 * DAY + Duration::from_millis(1));
        let error = place.refused(late, forbidden, "expiry").await;
        assert!(
            error
                .to_string()
                .contains("end at the latest 30 days after their creation"),
            "{error}"
        );
        let endless = IssueRequest::new(place.acme.id, "endless").networks("192.0.2.0/24".parse().unwrap());
        let error = place.refused(endless, forbidden, "expiry").await;
        assert_eq!(error.to_string(), "the organization's keys must have an expiry");
        place
            .refused(good().networks(Default::default()), forbidden, "networks")
            .await;
        for scopes in ["invoices:read", "orders:read *", "invoices:*"] {
            let error = place
                .refused(good().scopes(scopes.parse().unwrap()), forbidden, "scopes")
                .await;
            assert!(error.to_string().contains("may not grant the scope"), "{error}");
        }
    }
}

#[tokio::test]
async fn default_life_ends_a_key_for_which_none_is_asked() {
    for place in Place::all().await {
        place
            .organization(|acme| {
                acme.policy.default_life = Some(7 * DAY);
                acme.policy.requires_expiry = true;
            })
            .await;
        assert_eq!(
            place.issue(place.request()).await.record.expires_at,
            Some(place.in_days(7))
        );
        let asked = place.request().expires_in(9 * DAY);
        assert_eq!(place.issue(asked).await.record.expires_at, Some(place.in_days(9)));
        // One that is longer than the longest, which only another way than the issuer's stores.
        let mut acme = place.store.get(place.acme.id).await.unwrap().unwrap();
        acme.policy.longest_life = Some(2 * DAY);
        place.write(Write::UpdateOrganization(acme)).await;
        assert_eq!(
            place.issue(place.request()).await.record.expires_at,
            Some(place.in_days(2))
        );
    }
}

#[tokio::test]
async fn unknown_scopes_are_refused_once_there_is_a_catalogue() {
    let invalid = IssueErrorKind::InvalidRequest;
    for place in Place::all().await {
        let with = |scopes: &str| place.request().scopes(scopes.parse().unwrap());
        let key = place.issue(with("anything:goes")).await;
        // More than fit on a page, so that the last one is found as well.
        for number in 0..1001 {
            let scope = format!("resource-{number}:read").parse().unwrap();
            place.write(Write::InsertScope(KnownScope::new(scope, ""))).await;
        }
        place
            .write(Write::InsertScope(KnownScope::new("zebras:*".parse().unwrap(), "")))
            .await;
        for known in [
            "resource-0:read",
            "resource-999:read",
            "resource-7:*",
            "zebras:feed",
            "*",
        ] {
            let _key = place.issue(with(known)).await;
        }
        for unknown in ["orders:read", "resource-0:read resource-0:write", "zebra:feed"] {
            place.refused(with(unknown), invalid, "scopes").await;
        }
        let error = place.refused(with("orders:read"), invalid, "scopes").await;
        assert_eq!(
            error.to_string(),
            "invalid scopes: must be in the catalogue of scopes, got \"orders:read\""
        );

        // What the key has already may stay, and be taken away.
        let renamed = place
            .issuer
            .update(key.record.id, |key| key.name = "renamed".into())
            .await;
        let mut key = key;
        key.record = renamed.unwrap();
        let added = |key: &mut KeyRecord| key.scopes = "anything:goes orders:read".parse().unwrap();
        place.update_refused(&key, added, invalid, "scopes").await;
        let narrowed = |key: &mut KeyRecord| key.scopes = "resource-1:read".parse().unwrap();
        place.issuer.update(key.record.id, narrowed).await.unwrap();
    }
}

#[tokio::test]
async fn unknown_roles_are_refused() {
    let invalid = IssueErrorKind::InvalidRequest;
    for place in Place::all().await {
        place
            .write(Write::InsertRole(Role::new("reader", "orders:read".parse().unwrap())))
            .await;
        let key = place.issue(place.request().roles("reader".parse().unwrap())).await;
        let unknown = place.request().roles("reader writer".parse().unwrap());
        let error = place.refused(unknown, invalid, "roles").await;
        assert_eq!(error.to_string(), "invalid roles: there is no role \"writer\"");
        let widened = |key: &mut KeyRecord| key.roles = "reader writer".parse().unwrap();
        place.update_refused(&key, widened, invalid, "roles").await;
        // One that was deleted may stay.
        place.write(Write::DeleteRole("reader".into())).await;
        place
            .issuer
            .update(key.record.id, |key| key.name = "renamed".into())
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn disabled_users_and_inactive_organizations_get_no_keys() {
    let (forbidden, disabled) = (IssueErrorKind::NotAllowed, IssueErrorKind::UserDisabled);
    for place in Place::all().await {
        let alice: tower_api_key::key::UserId = "alice".parse().unwrap();
        let mut row = User::new(place.acme.id, alice.clone(), place.hand.clock().wall());
        place.write(Write::InsertUser(row.clone())).await;
        let _key = place.issue(place.request().user(alice.clone())).await;
        row.status = UserStatus::Disabled;
        place.write(Write::UpdateUser(row)).await;
        let error = place
            .refused(place.request().user(alice.clone()), disabled, "user")
            .await;
        assert_eq!(error.to_string(), "the user is disabled and gets no new keys");
        let key = place.issue(place.request()).await;
        place
            .update_refused(&key, |key| key.user = Some("alice".parse().unwrap()), disabled, "user")
            .await;
        place
            .organization(|acme| acme.status = OrganizationStatus::Inactive)
            .await;
        place.refused(place.request(), forbidden, "organization").await;
    }
}

/// The user is disabled after it was read and before the key is stored: the guard finds it.
#[tokio::test]
async fn user_disabled_during_an_issue_gets_no_key() {
    let hand = ManualClock::new();
    let store = FaultStore::new(MemoryStore::new());
    let settings = ApiKeys::builder(store.clone())
        .formats(crc_format())
        .clock(hand.clock());
    let issuer = acting(settings.hash_policy(tower_api_key::hash::HashPolicy::sha256()));
    let acme = issuer.create_organization("acme").await.unwrap();
    let mut row = User::new(acme.id, "alice".parse().unwrap(), hand.clock().wall());
    store
        .commit(Commit::new().write(Write::InsertUser(row.clone())))
        .await
        .unwrap();
    let barrier = Barrier::new();
    // The organization, the user, then the commit.
    for fault in [Fault::None, Fault::After(barrier.clone())] {
        store.faults().next_manage(fault);
    }
    let slow = tokio::spawn({
        let request = IssueRequest::new(acme.id, "key").user("alice".parse().unwrap());
        let issuer = issuer.clone();
        async move { issuer.issue(request).await }
    });
    barrier.reached(1).await;
    row.status = UserStatus::Disabled;
    store
        .inner()
        .commit(Commit::new().write(Write::UpdateUser(row)))
        .await
        .unwrap();
    barrier.open();
    let refused = slow.await.unwrap().unwrap_err();
    assert_eq!(
        (refused.kind(), refused.field()),
        (IssueErrorKind::UserDisabled, Some("user"))
    );
    assert_eq!(store.inner().get(Keys::of(acme.id).count()).await.unwrap().number, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn issues_beside_a_disable_leave_no_living_key() {
    for place in Place::all().await {
        let mut row = User::new(place.acme.id, "alice".parse().unwrap(), place.hand.clock().wall());
        place.write(Write::InsertUser(row.clone())).await;
        let mut tasks = JoinSet::new();
        for _ in 0..50 {
            let (issuer, request) = (place.issuer.clone(), place.request().user("alice".parse().unwrap()));
            tasks.spawn(async move { issuer.issue(request).await });
        }
        row.status = UserStatus::Disabled;
        place.write(Write::UpdateUser(row)).await;
        for answer in tasks.join_all().await {
            match answer {
                Ok(issued) => assert_eq!(
                    kind(&check(&place.authenticator, text(&issued)).await),
                    RejectionKind::UserDisabled
                ),
                Err(error) => assert_eq!(error.field(), Some("user"), "{error}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_creations_at_a_maximum_of_ten_make_ten() {
    for place in Place::all().await {
        for by_plan in [false, true] {
            let acme = place
                .issuer
                .create_organization(format!("by plan {by_plan}"))
                .await
                .unwrap();
            let mut plan = Plan::new(format!("ten-{by_plan}"));
            plan.max_keys = Some(10);
            place.write(Write::InsertPlan(plan.clone())).await;
            let bounded = |acme: &mut Organization| match by_plan {
                true => acme.plan = Some(plan.id),
                false => acme.max_keys = Some(10),
            };
            place.issuer.update_organization(acme.id, bounded).await.unwrap();
            let mut tasks = JoinSet::new();
            for _ in 0..50 {
                let (issuer, request) = (place.issuer.clone(), IssueRequest::new(acme.id, "key"));
                tasks.spawn(async move { issuer.issue(request).await });
            }
            let mut made = Vec::new();
            for answer in tasks.join_all().await {
                match answer {
                    Ok(issued) => made.push(issued.record.id),
                    Err(error) => {
                        assert_eq!(
                            (error.kind(), error.field()),
                            (IssueErrorKind::LimitReached, Some("max_keys"))
                        );
                        assert_eq!(
                            error.to_string(),
                            "the organization may have 10 keys that are not revoked, and has as many"
                        );
                    }
                }
            }
            assert_eq!(made.len(), 10);

            // A disabled key keeps its place, so that enabling it never makes one too many.
            place.issuer.disable(made[0]).await.unwrap();
            let full = place.issuer.issue(IssueRequest::new(acme.id, "key")).await.unwrap_err();
            assert_eq!(full.kind(), IssueErrorKind::LimitReached);
            place.issuer.enable(made[0]).await.unwrap();
            place.issuer.revoke(made[0], "").await.unwrap();
            let _key = place.issuer.issue(IssueRequest::new(acme.id, "key")).await.unwrap();
            let full = place.issuer.ensure(&*acme.name, "another").await.unwrap_err();
            assert_eq!(full.kind(), IssueErrorKind::LimitReached);
        }
    }
}

#[tokio::test]
async fn policy_is_judged_when_a_key_is_changed() {
    let forbidden = IssueErrorKind::NotAllowed;
    for place in Place::all().await {
        let wide = place
            .request()
            .scopes("invoices:* orders:read".parse().unwrap())
            .networks("192.0.2.0/24".parse().unwrap())
            .expires_in(90 * DAY);
        let key = place.issue(wide).await;
        place
            .organization(|acme| {
                acme.policy.longest_life = Some(30 * DAY);
                acme.policy.requires_expiry = true;
                acme.policy.requires_networks = true;
                acme.policy.grantable = Some("orders:*".parse().unwrap());
            })
            .await;
        let later = place.in_days(91);
        place
            .update_refused(&key, |key| key.expires_at = Some(later), forbidden, "expiry")
            .await;
        place
            .update_refused(&key, |key| key.expires_at = None, forbidden, "expiry")
            .await;
        place
            .update_refused(&key, |key| key.networks = Default::default(), forbidden, "networks")
            .await;
        let more = |key: &mut KeyRecord| key.scopes = "invoices:* orders:read users:read".parse().unwrap();
        place.update_refused(&key, more, forbidden, "scopes").await;
        // Narrower, though not yet within the policy.
        let sooner = place.in_days(60);
        let narrowed = place.issuer.update(key.record.id, |key| {
            key.expires_at = Some(sooner);
            key.scopes = "invoices:read orders:read".parse().unwrap();
            key.networks = "192.0.2.0/25".parse().unwrap();
        });
        assert_eq!(narrowed.await.unwrap().revision, 2);
    }
}

/// The policy holds when a key is used, so it does not matter which change came first.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_key_outlives_the_stricter_of_two_policies() {
    for place in Place::all().await {
        let mut tasks = JoinSet::new();
        for number in 0..50 {
            let (issuer, request) = (place.issuer.clone(), place.request().expires_in((number + 1) * DAY));
            tasks.spawn(async move { issuer.issue(request).await });
        }
        let longest = |days: u32| move |acme: &mut Organization| acme.policy.longest_life = Some(days * DAY);
        place.organization(longest(20)).await;
        place.organization(longest(5)).await;
        let mut keys = Vec::new();
        for answer in tasks.join_all().await {
            match answer {
                Ok(issued) => keys.push(issued),
                Err(error) => assert_eq!(error.field(), Some("expiry"), "{error}"),
            }
        }
        assert!(keys.len() >= 5, "{}", keys.len());
        place.hand.advance(5 * DAY - Duration::from_millis(1));
        for key in keys.iter().filter(|key| key.record.expires_at > Some(place.in_days(0))) {
            check(&place.authenticator, text(key)).await.unwrap();
        }
        place.hand.advance(Duration::from_millis(1));
        for key in &keys {
            assert_eq!(
                kind(&check(&place.authenticator, text(key)).await),
                RejectionKind::KeyExpired
            );
        }
    }
}

#[tokio::test]
async fn created_key_gets_no_more_than_its_creator_has() {
    let forbidden = IssueErrorKind::NotAllowed;
    for place in Place::all().await {
        for name in ["reader", "writer"] {
            let role = Role::new(name, "orders:read invoices:read".parse().unwrap());
            place.write(Write::InsertRole(role)).await;
        }
        let creator = place
            .request()
            .scopes("orders:*".parse().unwrap())
            .roles("reader".parse().unwrap())
            .networks("192.0.2.0/24 2001:db8::/48".parse().unwrap())
            .expires_in(30 * DAY);
        let creator = place.issue(creator).await.record.id;
        let good = || {
            place
                .request()
                .created_by_key(creator)
                .scopes("orders:write invoices:read".parse().unwrap())
                .roles("reader".parse().unwrap())
                .networks("192.0.2.128/25".parse().unwrap())
        };
        let made = place.issue(good()).await.record;
        assert_eq!(
            (made.created_by_key, made.expires_at),
            (Some(creator), Some(place.in_days(30)))
        );
        let _key = place.issue(good().expires_in(DAY)).await;
        for (scopes, sentence) in [
            ("users:read", "the creator key does not have the scope \"users:read\""),
            ("*", "the creator key does not have the scope \"*\""),
            ("invoices:*", "the creator key does not have the scope \"invoices:*\""),
        ] {
            let error = place
                .refused(good().scopes(scopes.parse().unwrap()), forbidden, "scopes")
                .await;
            assert_eq!(error.to_string(), sentence);
        }
        // It allows today what the creator may do, but may be changed.
        let role = good().roles("writer".parse().unwrap());
        place.refused(role, forbidden, "roles").await;
        for networks in [
            "",
            "0.0.0.0/0",
            "192.0.2.0/23",
            "192.0.2.0/24 198.51.100.1",
            "2001:db8::/32",
        ] {
            place
                .refused(good().networks(networks.parse().unwrap()), forbidden, "networks")
                .await;
        }
        place
            .refused(
                good().expires_in(30 * DAY + Duration::from_millis(1)),
                forbidden,
                "expiry",
            )
            .await;

        // What the organization does not grant, the creator does not have.
        let narrow = |acme: &mut Organization| acme.policy.grantable = Some("orders:* users:*".parse().unwrap());
        place.organization(narrow).await;
        place
            .refused(good().scopes("invoices:read".parse().unwrap()), forbidden, "scopes")
            .await;
        place.organization(|acme| acme.policy.grantable = None).await;

        let other = place.issuer.create_organization("other").await.unwrap();
        let foreign = IssueRequest::new(other.id, "key").created_by_key(creator);
        place.refused(foreign, IssueErrorKind::NotFound, "created_by_key").await;
        let nobody = place.request().created_by_key(tower_api_key::key::KeyId::new());
        place.refused(nobody, IssueErrorKind::NotFound, "created_by_key").await;
    }
}

#[tokio::test]
async fn creator_that_does_not_work_creates_nothing() {
    let forbidden = IssueErrorKind::NotAllowed;
    for place in Place::all().await {
        let with = |creator: &IssuedKey| place.request().created_by_key(creator.record.id);
        let disabled = place.issue(place.request()).await;
        place.issuer.disable(disabled.record.id).await.unwrap();
        let revoked = place.issue(place.request()).await;
        place.issuer.revoke(revoked.record.id, "").await.unwrap();
        let canary = place.issue(place.request().canary()).await;
        let expired = place.issue(place.request().expires_in(DAY)).await;
        let of_alice = place.issue(place.request().user("alice".parse().unwrap())).await;
        let mut row = User::new(place.acme.id, "alice".parse().unwrap(), place.hand.clock().wall());
        row.status = UserStatus::Disabled;
        place.write(Write::InsertUser(row)).await;
        place.hand.advance(DAY);
        for creator in [&disabled, &revoked, &canary, &expired, &of_alice] {
            let error = place.refused(with(creator), forbidden, "created_by_key").await;
            assert_eq!(error.to_string(), "the creator key does not work any more");
        }
    }
}

/// The creator is revoked after it was read and before the key is stored.
#[tokio::test]
async fn creator_revoked_during_an_issue_creates_nothing() {
    let store = FaultStore::new(MemoryStore::new());
    let settings = ApiKeys::builder(store.clone()).formats(crc_format());
    let issuer = acting(settings.hash_policy(tower_api_key::hash::HashPolicy::sha256()));
    let acme = issuer.create_organization("acme").await.unwrap();
    let creator = issuer.issue(IssueRequest::new(acme.id, "creator")).await.unwrap();
    let barrier = Barrier::new();
    store.faults().next_find(Fault::After(barrier.clone()));
    let slow = tokio::spawn({
        let request = IssueRequest::new(acme.id, "key").created_by_key(creator.record.id);
        let issuer = issuer.clone();
        async move { issuer.issue(request).await }
    });
    barrier.reached(1).await;
    issuer.revoke(creator.record.id, "leaked").await.unwrap();
    barrier.open();
    let refused = slow.await.unwrap().unwrap_err();
    assert_eq!(refused.field(), Some("created_by_key"));
    assert_eq!(store.inner().get(Keys::of(acme.id).count()).await.unwrap().number, 1);
}

#[tokio::test]
async fn change_during_an_issue_costs_no_second_hash() {
    let store = FaultStore::new(MemoryStore::new());
    let hashes = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = hashes.clone();
    let pool = tower_api_key::hash::HashPool::builder().before_each_hash(move || {
        counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    });
    let settings = ApiKeys::builder(store.clone()).formats(crc_format());
    let issuer = acting(settings.hash_policy(crate::house::argon2()).pool(pool.build()));
    let acme = issuer.create_organization("acme").await.unwrap();
    store.faults().next_manage(Fault::None);
    store.faults().next_manage(Fault::Error(StoreErrorKind::Conflict));
    let issued = issuer.issue(IssueRequest::new(acme.id, "key")).await.unwrap();
    assert_eq!(hashes.load(std::sync::atomic::Ordering::SeqCst), 1);
    let stored = issuer.key(issued.record.id).await.unwrap().unwrap();
    assert_eq!((stored.record, stored.secrets.len()), (issued.record, 1));
}

#[tokio::test]
async fn canary_stays_a_canary_and_identity_stays() {
    for place in Place::all().await {
        let creator = place.issue(place.request()).await.record.id;
        let canary = place.issue(place.request().canary().created_by_key(creator)).await;
        let changed = place.issuer.update(canary.record.id, |key| {
            key.is_canary = false;
            key.created_by_key = None;
            key.created_by = Actor::system();
            key.name = "renamed".into();
        });
        let changed = changed.await.unwrap();
        assert!(changed.is_canary);
        assert_eq!(changed.created_by_key, Some(creator));
        assert_eq!(changed.created_by, canary.record.created_by);
        assert_eq!(
            kind(&check(&place.authenticator, text(&canary)).await),
            RejectionKind::CanaryUsed
        );
    }
}

#[tokio::test]
async fn every_changed_field_is_named_in_the_audit() {
    for place in Place::all().await {
        place
            .write(Write::InsertRole(Role::new("reader", Default::default())))
            .await;
        let key = place.issue(place.request()).await;
        let end = place.in_days(1);
        let change = |key: &mut KeyRecord| {
            key.user = Some("alice".parse().unwrap());
            key.ends_with_user = true;
            key.name = "renamed".into();
            key.labels = "a".parse().unwrap();
            key.scopes = "orders:read".parse().unwrap();
            key.roles = "reader".parse().unwrap();
            key.networks = "192.0.2.0/24".parse().unwrap();
            key.limits = vec!["requests=1/60s".parse().unwrap()];
            key.lifted_limits = "writes".parse().unwrap();
            key.metadata.set("team", "data").unwrap();
            key.requires = "of-tomorrow".parse().unwrap();
            key.expires_at = Some(end);
        };
        let record = place.issuer.update(key.record.id, change).await.unwrap();
        let events = place.store.get(AuditEvents::all().key(record.id)).await.unwrap();
        let event = &events.items.last().unwrap().event;
        assert_eq!(
            detail(event, "changed"),
            Some(
                "user ends_with_user name labels scopes roles networks limits lifted_limits metadata requires expires_at"
            )
        );
        assert_eq!(place.issuer.key(record.id).await.unwrap().unwrap().record, record);
        assert_eq!(record.status, KeyStatus::Active);
    }
}

#[tokio::test]
async fn hint_is_stored_where_128_bits_stay_secret() {
    let store = MemoryStore::new();
    let issuer_of = |format| {
        let settings = ApiKeys::builder(store.clone()).formats(format);
        acting(settings.hash_policy(tower_api_key::hash::HashPolicy::sha256()))
    };
    let acme = issuer_of(crc_format()).create_organization("acme").await.unwrap();
    let length = |secret: usize| KeyFormat::builder("key").body_length(16 + secret).lookup_length(16);
    for (format, has_hint) in [
        (KeyFormat::new("key").unwrap(), true),
        (crc_format(), true),
        // 26 characters are 154 bits, 25 are 148: four of them tell up to 24.
        (length(26).build().unwrap(), true),
        (length(25).build().unwrap(), false),
        (length(22).build().unwrap(), false),
    ] {
        let issuer = issuer_of(format.clone());
        let issued = issuer.issue(IssueRequest::new(acme.id, "key")).await.unwrap();
        let rotated = issuer.rotate(issued.record.id, DAY).await.unwrap();
        let stored = issuer.key(issued.record.id).await.unwrap().unwrap();
        for (key, secret) in [&issued, &rotated].into_iter().zip(&stored.secrets) {
            let end = &text(key)[text(key).len() - 4..];
            assert_eq!(secret.hint.as_deref(), has_hint.then_some(end), "{format:?}");
        }
    }
}

#[tokio::test]
async fn creator_whose_user_is_disabled_meanwhile_makes_none() {
    let store = FaultStore::new(MemoryStore::new());
    let issuer = acting(ApiKeys::builder(store.clone()).hash_policy(tower_api_key::hash::HashPolicy::sha256()));
    let acme = issuer.create_organization("acme").await.unwrap();
    let alice: tower_api_key::key::UserId = "alice".parse().unwrap();
    let creator = issuer
        .issue(IssueRequest::new(acme.id, "hers").user(alice.clone()))
        .await
        .unwrap();
    let request = || IssueRequest::new(acme.id, "key").created_by_key(creator.record.id);
    let before = store.faults().manages();
    let _ = issuer.issue(request()).await.unwrap();
    let calls = store.faults().manages() - before;
    let barrier = Barrier::new();
    for _ in 1..calls {
        store.faults().next_manage(Fault::None);
    }
    store.faults().next_manage(Fault::Before(barrier.clone()));
    let disable = async {
        barrier.reached(1).await;
        issuer.disable_user(acme.id, &alice, "left").await.unwrap();
        barrier.open();
    };
    let (answer, ()) = tokio::join!(issuer.issue(request()), disable);
    assert!(answer.is_err());
}

#[tokio::test]
async fn created_key_has_no_looser_limits_than_its_creator() {
    let forbidden = IssueErrorKind::NotAllowed;
    for place in Place::all().await {
        let given = |acme: &mut Organization| acme.key_limits = vec!["reads=50/1s".parse().unwrap()];
        place.organization(given).await;
        let limits = |request: IssueRequest, limits: &[&str]| {
            let limits = limits.iter().map(|limit| limit.parse().unwrap());
            limits.fold(request, IssueRequest::limit)
        };
        let creator = limits(place.request(), &["writes=10/1s", "reads=5/1s"]);
        let creator = place.issue(creator).await.record.id;
        let with = |of: &[&str]| limits(place.request().created_by_key(creator), of);
        for looser in [
            &[][..],
            &["writes=10/1s"],
            &["reads=5/1s"],
            &["writes=11/1s", "reads=5/1s"],
            &["writes=10/1s", "reads=50/1s"],
        ] {
            let error = place.refused(with(looser), forbidden, "limits").await;
            assert!(error.to_string().contains("no looser than"), "{error}");
        }
        let lifted = with(&["writes=10/1s"]).lift_limits("reads".parse().unwrap());
        place.refused(lifted, forbidden, "limits").await;
        let _tighter = place.issue(with(&["writes=9/1s", "reads=5/1s", "others=1/1s"])).await;
        // What the organization gives each key, the creator has as well.
        let plain = place.issue(place.request()).await.record.id;
        let made = place.request().created_by_key(plain);
        let lifted = made.clone().lift_limits("reads".parse().unwrap());
        place.refused(lifted, forbidden, "limits").await;
        let _made = place.issue(made).await;
    }
}

#[tokio::test]
async fn creator_of_tests_creates_no_live_key() {
    let forbidden = IssueErrorKind::NotAllowed;
    for place in Place::all().await {
        let of = |environment: &str| place.request().environment(environment);
        let tests = place.issue(of("test")).await.record.id;
        for live in [of("live"), place.request()] {
            let error = place
                .refused(live.created_by_key(tests), forbidden, "environment")
                .await;
            assert_eq!(
                error.to_string(),
                "the environment must be that of the creator key, \"test\""
            );
        }
        let _test = place.issue(of("test").created_by_key(tests)).await;
        let live = place.issue(of("live")).await.record.id;
        for environment in ["live", "test"] {
            let _key = place.issue(of(environment).created_by_key(live)).await;
        }
    }
}

/// What the creator had by a role when it was read, it has no more when the key is stored.
#[tokio::test]
async fn creator_whose_role_is_narrowed_meanwhile_gives_less() {
    let store = FaultStore::new(MemoryStore::new());
    let issuer = acting(ApiKeys::builder(store.clone()).hash_policy(tower_api_key::hash::HashPolicy::sha256()));
    let acme = issuer.create_organization("acme").await.unwrap();
    let role = Role::new("clerk", "orders:read invoices:read".parse().unwrap());
    issuer.create_role(role).await.unwrap();
    let creator = IssueRequest::new(acme.id, "creator").roles("clerk".parse().unwrap());
    let creator = issuer.issue(creator).await.unwrap().record.id;
    let request = || {
        let request = IssueRequest::new(acme.id, "key").created_by_key(creator);
        request.scopes("invoices:read".parse().unwrap())
    };
    let _ = issuer.issue(request()).await.unwrap();
    let before = store.faults().manages();
    let _ = issuer.issue(request()).await.unwrap();
    let calls = store.faults().manages() - before;
    let barrier = Barrier::new();
    for _ in 1..calls {
        store.faults().next_manage(Fault::None);
    }
    store.faults().next_manage(Fault::Before(barrier.clone()));
    let narrow = async {
        barrier.reached(1).await;
        let scopes = |role: &mut Role| role.scopes = "orders:read".parse().unwrap();
        issuer.update_role("clerk", scopes).await.unwrap();
        barrier.open();
    };
    let (answer, ()) = tokio::join!(issuer.issue(request()), narrow);
    assert_eq!(answer.unwrap_err().field(), Some("scopes"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parallel_creations_of_scopes_end_at_the_thousandth() {
    for place in Place::all().await {
        let scope = |number: usize| KnownScope::new(format!("a{number:04}:read").parse().unwrap(), "");
        let mut commit = Commit::new();
        commit.writes = (0..990).map(|number| Write::InsertScope(scope(number))).collect();
        place.store.commit(commit).await.unwrap();
        let mut tasks = JoinSet::new();
        for number in 990..1040 {
            let (issuer, scope) = (place.issuer.clone(), scope(number));
            tasks.spawn(async move { issuer.create_scope(scope).await });
        }
        let mut made = 0;
        for answer in tasks.join_all().await {
            match answer {
                Ok(_) => made += 1,
                Err(error) => assert_eq!(
                    (error.kind(), error.field()),
                    (IssueErrorKind::LimitReached, Some("scope"))
                ),
            }
        }
        assert_eq!(made, 10);
    }
}

#[tokio::test]
async fn ensured_key_keeps_to_the_policy_of_its_organization() {
    for place in Place::all().await {
        let ensure = async |name: &str| {
            let request = tower_api_key::OrganizationRequest::new("acme").slug(&*place.acme.slug);
            place.issuer.ensure(request, name).await
        };
        place
            .organization(|acme| {
                acme.policy.longest_life = Some(30 * DAY);
                acme.policy.default_life = Some(10 * DAY);
            })
            .await;
        let made = ensure("first").await.unwrap();
        assert_eq!(made.record.expires_at, Some(place.in_days(10)));
        place.organization(|acme| acme.policy.default_life = None).await;
        let endless = ensure("endless").await.unwrap().record;
        assert_eq!(endless.expires_at, None);
        assert_eq!(ensure("endless").await.unwrap().record.id, endless.id);
        // The policy ends it, though not by itself: what does not open is no first key.
        place.hand.advance(30 * DAY);
        assert_eq!(ensure("endless").await.unwrap_err().kind(), IssueErrorKind::Expired);
        let required = |acme: &mut Organization| acme.policy.requires_expiry = true;
        place.organization(required).await;
        let error = ensure("second").await.unwrap_err();
        assert_eq!(
            (error.kind(), error.field()),
            (IssueErrorKind::NotAllowed, Some("expiry"))
        );
        place.organization(|acme| acme.policy.default_life = Some(DAY)).await;
        let second = ensure("second").await.unwrap().record;
        assert_eq!(second.expires_at, Some(place.in_days(1)));
    }
}
