//! Whose request it is, and what that caller may still do.

use tower_api_key::key::IdempotencyRecord;
use tower_api_key::store::query::OneIdempotency;
use tower_api_key::store::{Commit, Write};

use super::*;

const ADMIN: &str = "orders:* api-keys.keys:read api-keys.keys:write";

impl Shop {
    async fn admin(&self, acme: &Organization) -> IssuedKey {
        let request = IssueRequest::new(acme.id, "admin").scopes(ADMIN.parse().unwrap());
        self.host.issue(request).await.unwrap()
    }
}

#[tokio::test]
async fn callers_and_organizations_do_not_meet_under_one_key() {
    for shop in Shop::each().await {
        let other = shop.host.create_organization("other").await.unwrap();
        let (one, two) = (shop.admin(&shop.acme).await, shop.admin(&shop.acme).await);
        let (one, two) = (shop.acting(&one).await, shop.acting(&two).await);
        let bob = shop.keys.issuer().acting_as(Actor::user("bob"));
        let elsewhere = || IssueRequest::new(other.id, "key");
        let mut ids = Vec::new();
        for (issuer, request) in [
            (&shop.host, shop.request()),
            (&bob, shop.request()),
            (&one, shop.request()),
            (&two, shop.request()),
            (&shop.host, elsewhere()),
            (&bob, elsewhere()),
        ] {
            let issued = made(issuer.issue_once(request.clone(), &once("one")).await);
            let again = made_before(issuer.issue_once(request.clone(), &once("one")).await);
            assert_eq!(again, issued.record);
            // What another one has asked for does not show.
            let another = issuer.issue_once(request.canary(), &once("one")).await;
            refused(another, IssueErrorKind::IdempotencyKeyReused, Some("idempotency_key"));
            ids.push(issued.record.id);
        }
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 6, "{}", shop.database);

        // A key stays the caller, whatever actor it names.
        let named = one.acting_as(Actor::user("carol"));
        assert_eq!(
            made_before(named.issue_once(shop.request(), &once("one")).await).created_by_key,
            one_id(&shop, &one).await
        );
        // Nobody creates anything in another organization, under whatever key.
        for text in ["one", "two"] {
            refused(
                one.issue_once(elsewhere(), &once(text)).await,
                IssueErrorKind::NotFound,
                Some("organization"),
            );
        }
    }
}

/// The key that an issuer acts with, by what it makes.
async fn one_id(shop: &Shop, issuer: &Issuer<DynStore>) -> Option<KeyId> {
    let record = made_before(issuer.issue_once(shop.request(), &once("one")).await);
    record.created_by_key
}

#[tokio::test]
async fn repetition_is_judged_by_what_its_caller_may_do_now() {
    for shop in Shop::each().await {
        let admin = shop.admin(&shop.acme).await;
        let issuer = shop.acting(&admin).await;
        let request = || shop.request().scopes("orders:read".parse().unwrap());
        let ask = async |text: &str| issuer.issue_once(request(), &once(text)).await;
        let first = made(ask("one").await);
        let scopes = |text: &'static str| move |record: &mut KeyRecord| record.scopes = text.parse().unwrap();

        shop.update(admin.record.id, scopes("api-keys.keys:write")).await;
        for text in ["one", "two"] {
            refused(ask(text).await, IssueErrorKind::Forbidden, None);
        }
        shop.update(admin.record.id, scopes(ADMIN)).await;
        assert_eq!(made_before(ask("one").await), first.record);

        shop.update(admin.record.id, |record| {
            record.networks = "192.0.2.0/24".parse().unwrap();
        })
        .await;
        refused(ask("one").await, IssueErrorKind::Forbidden, None);
        shop.update(admin.record.id, |record| record.networks = Default::default())
            .await;
        assert_eq!(made_before(ask("one").await), first.record);

        shop.host.revoke(admin.record.id, "lost").await.unwrap();
        for text in ["one", "two"] {
            refused(ask(text).await, IssueErrorKind::Forbidden, None);
        }
        assert_eq!(shop.made().await, (2, 2));
    }
}

/// "In 5 days" is later at the repetition than at the request, and the caller ends in between.
#[tokio::test]
async fn end_of_the_caller_is_compared_with_that_of_what_was_made() {
    for shop in Shop::each().await {
        let admin = shop.admin(&shop.acme).await;
        let issuer = shop.acting(&admin).await;
        let request = || shop.request().expires_in(5 * DAY);
        let end = shop.hand.clock().wall().after(5 * DAY + HOUR);
        shop.update(admin.record.id, |record| record.expires_at = Some(end))
            .await;
        let first = made(issuer.issue_once(request(), &once("one")).await);
        // Without an end of its own it ends with the caller.
        let other = made(issuer.issue_once(shop.request(), &once("two")).await);
        assert_eq!(other.record.expires_at, Some(end));
        shop.hand.advance(6 * HOUR);
        refused(
            issuer.issue_once(request(), &once("three")).await,
            IssueErrorKind::Forbidden,
            None,
        );
        let again = issuer.issue_once(request(), &once("one")).await;
        assert_eq!(made_before(again), first.record);
        let again = issuer.issue_once(shop.request(), &once("two")).await;
        assert_eq!(made_before(again), other.record);
    }
}

#[tokio::test]
async fn repetition_with_a_creator_that_was_revoked_is_refused() {
    for shop in Shop::each().await {
        let admin = shop.admin(&shop.acme).await;
        let request = || shop.request().created_by_key(admin.record.id);
        let first = made(shop.once("one", request()).await);
        assert_eq!(made_before(shop.once("one", request()).await), first.record);
        shop.host.revoke(admin.record.id, "lost").await.unwrap();
        refused(
            shop.once("one", request()).await,
            IssueErrorKind::NotAllowed,
            Some("created_by_key"),
        );
    }
}

/// A key that acts notes nothing for others, and nothing about keys that it has not made.
#[tokio::test]
async fn key_that_acts_notes_what_it_made_alone() {
    for shop in Shop::each().await {
        let admin = shop.admin(&shop.acme).await;
        let issuer = shop.acting(&admin).await;
        let now = shop.hand.clock().wall();
        let own = Actor::key(admin.record.id);
        for (caller, is_allowed) in [
            (Actor::user("alice"), false),
            (Actor::key(KeyId::new()), false),
            (own.clone(), true),
        ] {
            let mut record = KeyRecord::new(shop.acme.id, "planted", now);
            record.created_by = own.clone();
            record.created_by_key = Some(admin.record.id);
            record.environment.clone_from(&admin.record.environment);
            let row = IdempotencyRecord::new(shop.acme.id, caller.clone(), once("x"), [0; 32], record.id, now);
            let commit = Commit::new()
                .write(Write::InsertKey(record))
                .write(Write::InsertIdempotency(row));
            let answer = issuer.commit(commit).await;
            assert_eq!(answer.is_ok(), is_allowed, "{caller}: {answer:?}");
            let query = OneIdempotency(shop.acme.id, caller, once("x"));
            assert_eq!(shop.store.get(query).await.unwrap().is_some(), is_allowed);
        }
        // What others have asked for is not there for it.
        let _ = made(shop.once("y", shop.request()).await);
        let of = |actor: Actor, text: &str| OneIdempotency(shop.acme.id, actor, once(text));
        assert_eq!(issuer.read(of(Actor::user("alice"), "y")).await.unwrap(), None);
        assert!(issuer.read(of(own.clone(), "x")).await.unwrap().is_some());
        let prune = Commit::new().write(Write::PruneIdempotency {
            before: now.after(2 * DAY),
        });
        assert!(issuer.commit(prune).await.is_err());
    }
}
