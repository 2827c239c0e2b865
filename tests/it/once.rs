//! A create that is made once, on each store: what a repetition gets, and until when.
//!
//! What is tried here is what people report of idempotency keys elsewhere: two at once that both look first, losers that get an error
//! instead of the answer, keys that are used up by a request that failed, answers for somebody else, and times that are compared as
//! they were resolved.

mod callers;
mod faults;
mod rows;

use std::time::Duration;

use tokio::task::JoinSet;
use tower_api_key::audit::AuditAction;
use tower_api_key::key::{Actor, IdempotencyKey, KeyId, KeyRecord, KeyStatus, Organization};
use tower_api_key::store::query::{AuditEvents, Keys};
use tower_api_key::store::{DynStore, StoreExt};
use tower_api_key::testing::{ManualClock, cheap_hashes};
use tower_api_key::{ApiKeys, IssueError, IssueErrorKind, IssueRequest, IssuedKey, Issuer, OnceIssued, PresentedKey};

use crate::support::stores::Database;

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// A service on one store, with one organization, and an issuer on the host that acts as alice.
struct Shop {
    hand: ManualClock,
    store: DynStore,
    keys: ApiKeys<DynStore>,
    host: Issuer<DynStore>,
    acme: Organization,
    database: Database,
}

impl Shop {
    async fn over(database: Database) -> Self {
        let (store, hand) = (database.open().await, ManualClock::new());
        let keys = handle(store.clone(), &hand).await;
        let host = keys.issuer().acting_as(Actor::user("alice"));
        let acme = host.create_organization("acme").await.unwrap();
        Self {
            hand,
            store,
            keys,
            host,
            acme,
            database,
        }
    }

    /// One on each store.
    async fn each() -> Vec<Self> {
        let mut shops = Vec::new();
        for database in Database::each() {
            shops.push(Self::over(database).await);
        }
        shops
    }

    fn request(&self) -> IssueRequest {
        IssueRequest::new(self.acme.id, "key")
    }

    async fn once(&self, key: &str, request: IssueRequest) -> Result<OnceIssued, IssueError> {
        self.host.issue_once(request, &once(key)).await
    }

    /// How many keys there are, and how many events of new ones.
    async fn made(&self) -> (u64, usize) {
        let keys = self.store.get(Keys::of(self.acme.id).count()).await.unwrap();
        let events = AuditEvents::of(self.acme.id).action(AuditAction::KEY_ISSUED).page(1000);
        (keys.number, self.store.get(events).await.unwrap().items.len())
    }

    /// An issuer that acts with this key.
    async fn acting(&self, key: &IssuedKey) -> Issuer<DynStore> {
        let presented = PresentedKey::new(key.key.expose_secret().as_bytes());
        let context = self.keys.authenticator().check(presented).await.unwrap();
        self.keys.issuer_for(&context)
    }

    async fn update(&self, id: KeyId, change: impl Fn(&mut KeyRecord) + Send + Sync) {
        self.host.update(id, change).await.unwrap();
    }
}

async fn handle(store: DynStore, hand: &ManualClock) -> ApiKeys<DynStore> {
    let builder = ApiKeys::builder(store).hash_policy(cheap_hashes()).clock(hand.clock());
    builder.open().await.unwrap()
}

fn once(text: &str) -> IdempotencyKey {
    text.parse().unwrap()
}

#[track_caller]
fn made(answer: Result<OnceIssued, IssueError>) -> IssuedKey {
    match answer {
        Ok(OnceIssued::Made(issued)) => issued,
        other => panic!("not made now: {other:?}"),
    }
}

#[track_caller]
fn made_before(answer: Result<OnceIssued, IssueError>) -> KeyRecord {
    match answer {
        Ok(OnceIssued::MadeBefore(record)) => record,
        other => panic!("not made before: {other:?}"),
    }
}

#[track_caller]
fn refused(answer: Result<OnceIssued, IssueError>, kind: IssueErrorKind, field: Option<&str>) {
    let error = answer.unwrap_err();
    assert_eq!((error.kind(), error.field()), (kind, field), "{error}");
}

#[tokio::test]
async fn repeated_request_finds_the_key_that_it_made() {
    for shop in Shop::each().await {
        let request = || shop.request().scopes("orders:read".parse().unwrap());
        let issued = made(shop.once("one", request()).await);
        assert_eq!(made_before(shop.once("one", request()).await), issued.record);
        assert_eq!(shop.made().await, (1, 1));
        let presented = PresentedKey::new(issued.key.expose_secret().as_bytes());
        assert!(shop.keys.authenticator().check(presented).await.is_ok());
        // As it is now.
        shop.update(issued.record.id, |record| record.name = "renamed".into())
            .await;
        assert_eq!(made_before(shop.once("one", request()).await).name, "renamed");
        shop.host.revoke(issued.record.id, "lost").await.unwrap();
        let revoked = made_before(shop.once("one", request()).await);
        assert_eq!((revoked.id, revoked.status), (issued.record.id, KeyStatus::Revoked));

        // Letter case counts, and what is asked for without an idempotency key is new.
        assert_ne!(made(shop.once("One", request()).await).record.id, issued.record.id);
        let without = shop.host.issue(request()).await.unwrap();
        assert_ne!(without.record.id, issued.record.id);
        assert_eq!(shop.made().await, (3, 3));
    }
}

#[tokio::test]
async fn another_request_under_the_same_key_is_refused() {
    for shop in Shop::each().await {
        let request = || shop.request().scopes("orders:read invoices:*".parse().unwrap());
        let first = made(shop.once("one", request().expires_in(DAY)).await);
        for other in [
            request(),
            request().expires_in(2 * DAY),
            // The same time, asked for in another way.
            request().expires_at(first.record.expires_at.unwrap()),
            shop.request().expires_in(DAY),
            request().expires_in(DAY).canary(),
            // Not even valid.
            IssueRequest::new(shop.acme.id, ""),
        ] {
            let answer = shop.once("one", other).await;
            refused(answer, IssueErrorKind::IdempotencyKeyReused, Some("idempotency_key"));
        }
        assert_eq!(shop.made().await, (1, 1));
        // Later, and with its sets in another order.
        shop.hand.advance(HOUR);
        let same = shop.request().scopes("invoices:* orders:read".parse().unwrap());
        assert_eq!(made_before(shop.once("one", same.expires_in(DAY)).await), first.record);
    }
}

#[tokio::test]
async fn what_is_made_is_found_though_it_could_not_be_made_now() {
    for shop in Shop::each().await {
        let end = shop.hand.clock().wall().after(HOUR);
        let request = || shop.request().expires_at(end).user("bob".parse().unwrap());
        let first = made(shop.once("one", request()).await);
        shop.hand.advance(2 * HOUR);
        shop.host
            .disable_user(shop.acme.id, &"bob".parse().unwrap(), "left")
            .await
            .unwrap();
        let limit = |row: &mut Organization| row.max_keys = Some(1);
        shop.host.update_organization(shop.acme.id, limit).await.unwrap();
        shop.host.deactivate_organization(shop.acme.id, "unpaid").await.unwrap();
        assert_eq!(made_before(shop.once("one", request()).await).id, first.record.id);
        refused(
            shop.once("two", shop.request()).await,
            IssueErrorKind::NotAllowed,
            Some("organization"),
        );
    }
}

#[tokio::test]
async fn request_that_fails_uses_no_idempotency_key_up() {
    for shop in Shop::each().await {
        let nameless = IssueRequest::new(shop.acme.id, "");
        refused(
            shop.once("one", nameless).await,
            IssueErrorKind::InvalidRequest,
            Some("name"),
        );
        shop.host.deactivate_organization(shop.acme.id, "unpaid").await.unwrap();
        refused(
            shop.once("one", shop.request()).await,
            IssueErrorKind::NotAllowed,
            Some("organization"),
        );
        shop.host.activate_organization(shop.acme.id).await.unwrap();
        let _ = shop.host.issue(shop.request()).await.unwrap();
        let limit = |row: &mut Organization| row.max_keys = Some(1);
        shop.host.update_organization(shop.acme.id, limit).await.unwrap();
        refused(
            shop.once("one", shop.request()).await,
            IssueErrorKind::LimitReached,
            Some("max_keys"),
        );
        let limit = |row: &mut Organization| row.max_keys = None;
        shop.host.update_organization(shop.acme.id, limit).await.unwrap();
        let corrected = || shop.request().labels("corrected".parse().unwrap());
        let first = made(shop.once("one", corrected()).await);
        assert_eq!(made_before(shop.once("one", corrected()).await), first.record);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_fifty_at_once_one_makes_the_key() {
    for most in [None, Some(1)] {
        for shop in Shop::each().await {
            // Where only one may be made, those that come later get that one, and no error that there are too many.
            let limit = move |row: &mut Organization| row.max_keys = most;
            shop.host.update_organization(shop.acme.id, limit).await.unwrap();
            // As many stores as there would be processes; over a file and in memory they are one.
            let other = handle(shop.database.open().await, &shop.hand).await;
            let other = other.issuer().acting_as(Actor::user("alice"));
            let mut tasks = JoinSet::new();
            for number in 0..50 {
                let issuer = [&shop.host, &other][number % 2].clone();
                let request = shop.request();
                tasks.spawn(async move { issuer.issue_once(request, &once("one")).await });
            }
            let (mut now, mut ids) = (0, Vec::new());
            while let Some(answer) = tasks.join_next().await {
                let answer = answer.unwrap().unwrap();
                now += usize::from(matches!(answer, OnceIssued::Made(_)));
                ids.push(answer.record().id);
            }
            ids.dedup();
            assert_eq!((now, ids.len()), (1, 1), "{}", shop.database);
            assert_eq!(shop.made().await, (1, 1), "{}", shop.database);
        }
    }
}

/// Two requests at once under one key: one is made, and the other one is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_requests_at_once_one_is_made() {
    for shop in Shop::each().await {
        for number in 0..10 {
            let (key, before) = (format!("one-{number}"), shop.made().await.0);
            let other = shop.request().canary();
            let (one, other) = tokio::join!(shop.once(&key, shop.request()), shop.once(&key, other));
            let ((Ok(_), Err(error)) | (Err(error), Ok(_))) = (one, other) else {
                panic!("both were made, or none");
            };
            assert_eq!(error.kind(), IssueErrorKind::IdempotencyKeyReused);
            assert_eq!(shop.made().await.0, before + 1);
        }
    }
}

#[tokio::test]
async fn after_24_hours_the_same_request_makes_another_key() {
    for shop in Shop::each().await {
        let first = made(shop.once("one", shop.request()).await);
        shop.hand.advance(DAY - Duration::from_millis(1));
        assert_eq!(made_before(shop.once("one", shop.request()).await), first.record);
        shop.hand.advance(Duration::from_millis(1));
        let second = made(shop.once("one", shop.request()).await);
        assert_ne!(second.record.id, first.record.id);
        // From then on for another 24 hours, and for any request that comes first.
        shop.hand.advance(DAY - Duration::from_millis(1));
        assert_eq!(made_before(shop.once("one", shop.request()).await), second.record);
        shop.hand.advance(Duration::from_millis(1));
        let other = made(shop.once("one", shop.request().canary()).await);
        assert_eq!(shop.made().await, (3, 3));
        assert!(other.record.is_canary);
    }
}
