//! What public reports say of other systems that keep keys, tried here through the layer.

use std::time::{Duration, Instant};

use http::{Request, StatusCode};
use tower_api_key::audit::Forget;
use tower_api_key::hash::HashPolicy;
use tower_api_key::key::{
    Actor, KeyId, KeyRecord, Organization, OrganizationId, OrganizationStatus, Plan, Role, UserId,
};
use tower_api_key::last_use::UseOfKey;
use tower_api_key::store::query::{
    AuditEvents, Cursor, KeyUses, Keys, Organizations, Paged, Plans, Refusals, Roles, Users,
};
use tower_api_key::store::{Commit, DynStore, MemoryStore, Write};
use tower_api_key::testing::{Fault, FaultStore, ManualClock};
use tower_api_key::{
    ApiKeys, ClientAddress, Descendants, IssueError, IssueErrorKind, IssueRequest, IssuedKey, Issuer, UserRequest,
};

use crate::support::stores::{BOUND, Database, stores};
use crate::support::{ask, bearer, text};

const DAY: Duration = Duration::from_secs(86_400);
/// A service that keeps its keys in a store, with one organization.
struct Shop {
    keys: ApiKeys<DynStore>,
    hand: ManualClock,
    acme: Organization,
}

impl Shop {
    async fn over(store: DynStore) -> Self {
        let hand = ManualClock::new();
        let keys = handle(store, Some(&hand)).await;
        let acme = match host(&keys).organization_by_slug("acme").await.unwrap() {
            Some(acme) => acme,
            None => host(&keys).create_organization("acme").await.unwrap(),
        };
        Self { keys, hand, acme }
    }

    /// One over each store.
    async fn all() -> Vec<(Self, Database)> {
        let mut all = Vec::new();
        for (store, database) in stores().await {
            all.push((Self::over(store).await, database));
        }
        all
    }

    fn host(&self) -> Issuer<DynStore> {
        host(&self.keys)
    }

    fn request(&self) -> IssueRequest {
        IssueRequest::new(self.acme.id, "key").user(alice())
    }

    async fn issue(&self) -> IssuedKey {
        self.host().issue(self.request()).await.unwrap()
    }

    async fn asks(&self, key: &IssuedKey) -> StatusCode {
        asks(&self.keys, key, "192.0.2.1").await
    }

    async fn organization(&self, change: impl Fn(&mut Organization) + Send + Sync) {
        self.host().update_organization(self.acme.id, change).await.unwrap();
    }

    async fn uses(&self, key: &IssuedKey) -> UseOfKey {
        self.keys.read(KeyUses::of(key.record.id)).await.unwrap().pop().unwrap()
    }
}

async fn handle(store: DynStore, hand: Option<&ManualClock>) -> ApiKeys<DynStore> {
    let mut builder = ApiKeys::builder(store).hash_policy(HashPolicy::sha256());
    if let Some(hand) = hand {
        builder = builder.clock(hand.clock());
    }
    builder.open().await.unwrap()
}

fn host(keys: &ApiKeys<DynStore>) -> Issuer<DynStore> {
    keys.issuer().acting_as(Actor::operator("root"))
}

/// The status of the answer to a request with this key, from this address.
async fn asks(keys: &ApiKeys<DynStore>, key: &IssuedKey, address: &str) -> StatusCode {
    let mut request: Request<()> = bearer(&text(key));
    request.extensions_mut().insert(ClientAddress(address.parse().unwrap()));
    ask(&keys.layer(), request).await.status()
}

async fn set_active(
    host: &Issuer<DynStore>,
    organization: OrganizationId,
    is_active: bool,
) -> Result<Organization, IssueError> {
    let status = match is_active {
        true => OrganizationStatus::Active,
        false => OrganizationStatus::Inactive,
    };
    host.update_organization(organization, |row| row.status = status).await
}

fn alice() -> UserId {
    "alice".parse().unwrap()
}

const OK: StatusCode = StatusCode::OK;
const NO: StatusCode = StatusCode::UNAUTHORIZED;

#[tokio::test]
async fn revoked_key_is_refused_after_restart_and_clean_up() {
    for database in Database::shared() {
        let shop = Shop::over(database.open().await).await;
        let (revoked, other) = (shop.issue().await, shop.issue().await);
        assert_eq!((shop.asks(&revoked).await, shop.asks(&other).await), (OK, OK));
        shop.host().revoke(revoked.record.id, "leaked").await.unwrap();
        assert_eq!(shop.asks(&revoked).await, NO);
        drop(shop);
        for _ in 0..2 {
            let shop = Shop::over(database.open().await).await;
            assert_eq!((shop.asks(&revoked).await, shop.asks(&other).await), (NO, OK));
            shop.hand.advance(30 * DAY);
            let report = shop.keys.maintenance().run_once().await;
            assert_eq!(report.failed().count(), 0, "{report:?}");
            assert_eq!((shop.asks(&revoked).await, shop.asks(&other).await), (NO, OK));
            let _ = shop.host().delete_revoked(DAY).await.unwrap();
            assert_eq!((shop.asks(&revoked).await, shop.asks(&other).await), (NO, OK));
        }
    }
}

#[tokio::test]
async fn thousand_requests_in_a_minute_are_few_commits() {
    let store = FaultStore::new(MemoryStore::new());
    let faults = store.faults().clone();
    let shop = Shop::over(DynStore::new(store)).await;
    let key = shop.issue().await;
    shop.keys.flush().await.unwrap();
    let before = (faults.manages(), faults.finds());
    for _ in 0..1000 {
        assert_eq!(shop.asks(&key).await, OK);
    }
    assert_eq!((faults.manages(), faults.finds()), (before.0, before.1 + 1));
    shop.keys.flush().await.unwrap();
    let stored = faults.manages();
    assert!(stored <= before.0 + 4, "{stored} {before:?}");
    // What was stored is not stored again.
    shop.keys.flush().await.unwrap();
    assert!(faults.manages() <= stored + 1, "{stored} {}", faults.manages());
    assert_eq!(shop.uses(&key).await.requests(), 1000);
}

#[tokio::test]
async fn refusal_for_any_reason_is_no_use_of_the_key() {
    for (shop, _database) in Shop::all().await {
        let host = shop.host();
        let key = shop.issue().await;
        let id = key.record.id;
        assert_eq!(shop.asks(&key).await, OK);
        let used = shop.uses(&key).await.last_used_at();
        shop.hand.advance(DAY);
        for step in 0..6 {
            match step {
                0 => drop(host.disable(id).await.unwrap()),
                1 => drop(host.disable_user(shop.acme.id, &alice(), "left").await.unwrap()),
                2 => drop(set_active(&host, shop.acme.id, false).await.unwrap()),
                3 => shop.organization(|acme| acme.policy.longest_life = Some(DAY / 2)).await,
                4 => shop.organization(|acme| acme.policy.requires_networks = true).await,
                _ => {
                    let elsewhere = |record: &mut KeyRecord| record.networks = "198.51.100.0/24".parse().unwrap();
                    host.update(id, elsewhere).await.unwrap();
                }
            }
            for _ in 0..3 {
                assert!(shop.asks(&key).await.is_client_error(), "{step}");
            }
            for _ in 0..2 {
                let uses = shop.uses(&key).await;
                assert_eq!((uses.requests(), uses.last_used_at()), (1, used), "{step}");
                shop.keys.flush().await.unwrap();
            }
            match step {
                0 => drop(host.enable(id).await.unwrap()),
                1 => drop(host.enable_user(shop.acme.id, &alice()).await.unwrap()),
                2 => drop(set_active(&host, shop.acme.id, true).await.unwrap()),
                3 => shop.organization(|acme| acme.policy.longest_life = None).await,
                4 => shop.organization(|acme| acme.policy.requires_networks = false).await,
                _ => drop(
                    host.update(id, |record| record.networks = Default::default())
                        .await
                        .unwrap(),
                ),
            }
        }
        assert_eq!(shop.asks(&key).await, OK);
        let uses = shop.uses(&key).await;
        assert_eq!(uses.requests(), 2);
        assert!(uses.last_used_at() > used);
    }
}

/// At once where both have one store, which is that of a file.
#[tokio::test]
async fn stop_and_its_end_reach_another_handle_in_time() {
    for database in Database::shared() {
        let one = handle(database.open().await, None).await;
        let other = handle(database.open().await, None).await;
        let host = host(&one);
        let acme = host.create_organization("acme").await.unwrap().id;
        host.create_user(UserRequest::new(acme, alice())).await.unwrap();
        let key = host.issue(IssueRequest::new(acme, "key").user(alice())).await.unwrap();
        let id = key.record.id;
        for round in 0..5 {
            for step in 0..3 {
                for (is_stopped, expected) in [(false, OK), (true, NO), (false, OK)] {
                    match (step, is_stopped) {
                        (0, true) => drop(host.disable_user(acme, &alice(), "left").await.unwrap()),
                        (0, false) => drop(host.enable_user(acme, &alice()).await.unwrap()),
                        (1, true) => drop(set_active(&host, acme, false).await.unwrap()),
                        (1, false) => drop(set_active(&host, acme, true).await.unwrap()),
                        (2, true) => drop(host.disable(id).await.unwrap()),
                        (2, false) => drop(host.enable(id).await.unwrap()),
                        _ => unreachable!(),
                    }
                    let returned = Instant::now();
                    for keys in [&one, &other, &one] {
                        let mut found = asks(keys, &key, "192.0.2.1").await;
                        let is_late = database.is_postgres() && std::ptr::eq(keys, &other);
                        while is_late && found != expected && returned.elapsed() < BOUND {
                            tokio::time::sleep(Duration::from_millis(5)).await;
                            found = asks(keys, &key, "192.0.2.1").await;
                        }
                        assert_eq!(found, expected, "{round} {step} {is_stopped}");
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn rows_of_users_and_policies_changed_by_hand_hold_soon() {
    for database in Database::shared() {
        let keys = handle(database.open().await, None).await;
        let host = host(&keys);
        let acme = host.create_organization("acme").await.unwrap().id;
        host.create_user(UserRequest::new(acme, alice())).await.unwrap();
        let key = host.issue(IssueRequest::new(acme, "key").user(alice())).await.unwrap();
        let by_hand = database.hand().await;
        for (sql, expected) in [
            ("UPDATE api_keys_users SET status = 'disabled'", NO),
            ("UPDATE api_keys_users SET status = 'active'", OK),
            ("UPDATE api_keys_users SET status = 'disabled'", NO),
            // A user without a row is active.
            ("DELETE FROM api_keys_users", OK),
            (
                "UPDATE api_keys_organizations SET policy = '{\"requires_networks\":true}'",
                StatusCode::FORBIDDEN,
            ),
            ("UPDATE api_keys_organizations SET policy = '{}'", OK),
            ("DELETE FROM api_keys_key_secrets; DELETE FROM api_keys_keys", NO),
        ] {
            by_hand.run(sql, &[]).await;
            tokio::time::sleep(BOUND).await;
            assert_eq!(asks(&keys, &key, "192.0.2.1").await, expected, "{sql}");
        }
    }
}

#[tokio::test]
async fn longest_life_holds_for_keys_from_before_the_policy() {
    for (shop, _database) in Shop::all().await {
        let host = shop.host();
        let (endless, later) = (shop.issue().await, shop.request().expires_in(90 * DAY));
        let later = host.issue(later).await.unwrap();
        shop.hand.advance(10 * DAY);
        // A new secret is no new life.
        let rotated = host.rotate(endless.record.id, Duration::ZERO).await.unwrap();
        for key in [&rotated, &later] {
            assert_eq!(shop.asks(key).await, OK);
        }
        shop.organization(|acme| acme.policy.longest_life = Some(11 * DAY))
            .await;
        for key in [&rotated, &later] {
            assert_eq!(shop.asks(key).await, OK);
        }
        // By the whole life, and not by what remains of it.
        shop.hand.advance(DAY + Duration::from_secs(1));
        for key in [&rotated, &later] {
            assert_eq!(shop.asks(key).await, NO);
        }
        let prolonged = host
            .update(later.record.id, |record| {
                record.expires_at = Some(record.created_at.after(20 * DAY))
            })
            .await;
        if let Ok(record) = prolonged {
            assert_eq!(shop.asks(&later).await, NO, "{record:?}");
        }
        let new = shop.issue().await;
        assert_eq!(shop.asks(&new).await, OK);
    }
}

#[tokio::test]
async fn deleted_row_is_gone_from_the_cache_on_return() {
    for (shop, _database) in Shop::all().await {
        let key = shop.issue().await;
        let rotated = shop.host().rotate(key.record.id, DAY).await.unwrap();
        assert_eq!((shop.asks(&key).await, shop.asks(&rotated).await), (OK, OK));
        let stored = shop.keys.read(key.record.id).await.unwrap().unwrap();
        let secret = Write::DeleteSecret {
            key: key.record.id,
            lookup: stored.secrets[0].lookup.clone(),
        };
        let steps = [
            (vec![Write::UpdateKey(stored.record), secret], (NO, OK)),
            (vec![Write::DeleteKey(key.record.id)], (NO, NO)),
        ];
        for (writes, expected) in steps {
            let mut commit = Commit::new();
            commit.writes = writes;
            shop.host().commit(commit).await.unwrap();
            assert_eq!((shop.asks(&key).await, shop.asks(&rotated).await), expected);
        }
        let last = shop.issue().await;
        assert_eq!(shop.asks(&last).await, OK);
        let mut commit = Commit::new();
        commit.writes = vec![
            Write::DeleteKey(last.record.id),
            Write::DeleteOrganization(shop.acme.id),
        ];
        shop.host().commit(commit).await.unwrap();
        assert_eq!(shop.asks(&last).await, NO);
    }
}

#[tokio::test]
async fn key_without_scopes_has_none_of_its_owner() {
    for (shop, _database) in Shop::all().await {
        let host = shop.host();
        host.create_user(UserRequest::new(shop.acme.id, alice())).await.unwrap();
        let all = host.issue(shop.request().scopes("*".parse().unwrap())).await.unwrap();
        let none = shop.issue().await;
        let layer = shop.keys.layer().require_scope("orders:read".parse().unwrap());
        for (key, expected) in [(&all, OK), (&none, StatusCode::FORBIDDEN)] {
            let response = ask(&layer, bearer(&text(key))).await;
            assert_eq!(response.status(), expected);
        }
    }
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn locked_file_is_an_error_of_the_store_and_no_401() {
    let database = Database::shared().find(|database| !database.is_postgres()).unwrap();
    let store = tower_api_key::store::SqliteStore::builder().busy_timeout(Duration::from_millis(20));
    let store = store.open(database.path().unwrap()).await.unwrap();
    lock_is_an_error_of_the_store(&database, DynStore::new(store), "BEGIN IMMEDIATE").await;
}

#[cfg(all(feature = "postgres", target_os = "linux"))]
#[tokio::test]
async fn locked_tables_are_an_error_of_the_store_and_no_401() {
    let database = Database::shared().find(Database::is_postgres).unwrap();
    let Database::Postgres { url, schema } = &database else {
        panic!("a server")
    };
    let store = tower_api_key::store::PostgresStore::builder().schema(schema);
    let store = store.statement_timeout(Duration::from_millis(200)).open(url).await;
    let lock = "BEGIN; LOCK TABLE api_keys_organizations, api_keys_organization_state, api_keys_keys, api_keys_key_secrets, \
                api_keys_users, api_keys_key_use IN EXCLUSIVE MODE";
    lock_is_an_error_of_the_store(&database, DynStore::new(store.unwrap()), lock).await;
}

async fn lock_is_an_error_of_the_store(database: &Database, store: DynStore, lock: &str) {
    let keys = handle(store, None).await;
    let host = host(&keys);
    let acme = host.create_organization("acme").await.unwrap().id;
    let request = || IssueRequest::new(acme, "key").user(alice());
    let (warm, cold) = (
        host.issue(request()).await.unwrap(),
        host.issue(request()).await.unwrap(),
    );
    assert_eq!(asks(&keys, &warm, "192.0.2.1").await, OK);
    let by_hand = database.hand().await;
    by_hand.run(lock, &[]).await;
    let id = warm.record.id;
    let kinds = [
        host.revoke(id, "leaked").await.err().map(|error| error.kind()),
        host.disable(id).await.err().map(|error| error.kind()),
        host.issue(request()).await.err().map(|error| error.kind()),
        host.rotate(id, DAY).await.err().map(|error| error.kind()),
        host.disable_user(acme, &alice(), "left")
            .await
            .err()
            .map(|error| error.kind()),
        set_active(&host, acme, false).await.err().map(|error| error.kind()),
        host.create_organization("other").await.err().map(|error| error.kind()),
        host.forget(Forget::user(alice())).await.err().map(|error| error.kind()),
    ];
    assert_eq!(kinds, [Some(IssueErrorKind::StoreUnavailable); 8]);
    let failed = keys.flush().await.is_err();
    for key in [&warm, &cold] {
        let status = asks(&keys, key, "192.0.2.1").await;
        assert!(status == OK || status == StatusCode::SERVICE_UNAVAILABLE, "{status}");
    }
    assert!(failed);
    by_hand.run("ROLLBACK", &[]).await;
    assert_eq!(
        (
            asks(&keys, &warm, "192.0.2.1").await,
            asks(&keys, &cold, "192.0.2.1").await
        ),
        (OK, OK)
    );
    host.revoke(id, "leaked").await.unwrap();
    assert_eq!(asks(&keys, &warm, "192.0.2.1").await, NO);
    keys.flush().await.unwrap();
    let uses = keys.read(KeyUses::of(cold.record.id)).await.unwrap();
    assert_eq!(uses[0].requests(), 2);
}

/// Reads a list in pages of so many rows; how many pages those were.
macro_rules! pages {
    ($keys:expr, $query:expr, $size:expr) => {{
        let (mut pages, mut rows, mut next) = (0, 0, None::<Cursor>);
        loop {
            let query = $query.page($size);
            let query = match next {
                Some(cursor) => query.after(cursor),
                None => query,
            };
            let page: Paged<_> = $keys.read(query).await.unwrap();
            pages += 1;
            rows += page.items.len();
            next = page.next;
            if next.is_none() {
                break (pages, rows);
            }
        }
    }};
}

#[tokio::test]
async fn last_page_of_the_exact_size_has_no_next_one() {
    for (shop, _database) in Shop::all().await {
        let (host, acme) = (shop.host(), shop.acme.id);
        let plans = shop.keys.read(Plans::all()).await.unwrap().items.len();
        let events = shop.keys.read(AuditEvents::of(acme)).await.unwrap().items.len();
        for number in 0..6 {
            let name = format!("b{number}");
            if number > 0 {
                host.create_organization(name.as_str()).await.unwrap();
            }
            let user: UserId = name.parse().unwrap();
            host.create_user(UserRequest::new(acme, user)).await.unwrap();
            let _ = shop.issue().await;
            let mut commit = Commit::new();
            commit
                .writes
                .push(Write::InsertRole(Role::new(&*name, Default::default())));
            if number >= plans {
                commit.writes.push(Write::InsertPlan(Plan::new(&*name)));
            }
            host.commit(commit).await.unwrap();
        }
        for (size, expected) in [(6, 1), (3, 2), (2, 3), (1, 6), (5, 2), (7, 1)] {
            assert_eq!(pages!(shop.keys, Keys::of(acme), size), (expected, 6));
            assert_eq!(
                pages!(shop.keys, Keys::of(acme).name_starts_with("k"), size),
                (expected, 6)
            );
            assert_eq!(pages!(shop.keys, Keys::of(acme).user(alice()), size), (expected, 6));
            assert_eq!(pages!(shop.keys, Organizations::all(), size), (expected, 6));
            assert_eq!(pages!(shop.keys, Users::of(acme), size), (expected, 6));
            assert_eq!(pages!(shop.keys, Plans::all(), size), (expected, 6));
            assert_eq!(pages!(shop.keys, Roles::all(), size), (expected, 6));
        }
        let all = events + 12;
        assert_eq!(pages!(shop.keys, AuditEvents::of(acme), all as u16), (1, all));
        let issued = AuditEvents::of(acme).action(tower_api_key::audit::AuditAction::KEY_ISSUED);
        assert_eq!(pages!(shop.keys, issued.clone(), 3), (2, 6));
    }
}

#[tokio::test]
async fn search_takes_wildcards_of_like_for_themselves() {
    for (shop, _database) in Shop::all().await {
        let host = shop.host();
        for name in ["50% off", "50 off", "a_b", "aXb", r"a\b", "a*b", "a?b", "a[b]"] {
            let _ = host.issue(IssueRequest::new(shop.acme.id, name)).await.unwrap();
            host.create_organization(name).await.unwrap();
        }
        for (search, names) in [
            ("50%", 1),
            ("a_", 1),
            (r"a\", 1),
            ("a*", 1),
            ("a?", 1),
            ("a[", 1),
            ("%", 0),
            ("_", 0),
            ("a", 7),
        ] {
            let keys = shop
                .keys
                .read(Keys::of(shop.acme.id).name_starts_with(search))
                .await
                .unwrap();
            let organizations = shop
                .keys
                .read(Organizations::all().name_starts_with(search))
                .await
                .unwrap();
            // "acme" begins with an a too.
            let of_acme = usize::from("acme".starts_with(search));
            assert_eq!(keys.items.len() + of_acme, names, "{search}");
            assert_eq!(organizations.items.len(), names, "{search}");
            let lookups = shop
                .keys
                .read(Keys::of(shop.acme.id).lookup_starts_with("%"))
                .await
                .unwrap();
            assert_eq!(lookups.items.len(), 0);
        }
    }
}

#[tokio::test]
async fn forgotten_user_leaves_no_address_in_refusals() {
    for is_stored in [true, false] {
        for (shop, _database) in Shop::all().await {
            let (key, other) = (
                shop.issue().await,
                shop.host()
                    .issue(IssueRequest::new(shop.acme.id, "other"))
                    .await
                    .unwrap(),
            );
            for id in [key.record.id, other.record.id] {
                shop.host().disable(id).await.unwrap();
            }
            assert_eq!(asks(&shop.keys, &key, "203.0.113.5").await, NO);
            assert_eq!(asks(&shop.keys, &other, "198.51.100.7").await, NO);
            if is_stored {
                shop.keys.flush().await.unwrap();
            }
            shop.host().forget(Forget::user(alice())).await.unwrap();
            shop.keys.flush().await.unwrap();
            let samples = shop.keys.read(Refusals::all()).await.unwrap();
            let address = |id: KeyId| {
                samples
                    .iter()
                    .find(|sample| sample.key_id == Some(id))
                    .map(|sample| sample.address)
            };
            assert_eq!(address(key.record.id), Some(None), "{is_stored}");
            // Of what waits it is not known whose it is.
            let kept = is_stored.then(|| "198.51.100.7".parse().unwrap());
            assert_eq!(address(other.record.id), Some(kept), "{is_stored}");
        }
    }
}

#[tokio::test]
async fn ended_key_stays_while_one_that_it_made_is_there() {
    for (shop, _database) in Shop::all().await {
        let host = shop.host();
        let root = shop.issue().await;
        let by = |creator: &IssuedKey| shop.request().created_by_key(creator.record.id);
        let middle = host.issue(by(&root).expires_in(2 * DAY)).await.unwrap();
        let leaf = host.issue(by(&middle).expires_in(2 * DAY)).await.unwrap();
        host.revoke(middle.record.id, "left").await.unwrap();
        shop.hand.advance(DAY);
        assert_eq!(host.delete_revoked(Duration::ZERO).await.unwrap(), 0);
        let ended = host.revoke_with_descendants(root.record.id, Descendants::Revoke, "leaked");
        ended.await.unwrap();
        assert_eq!(shop.asks(&leaf).await, NO);
        assert_eq!(host.delete_revoked(Duration::ZERO).await.unwrap(), 3);
        assert_eq!(shop.asks(&leaf).await, NO);
    }
}

#[tokio::test]
async fn plan_lowered_during_an_issue_holds_for_that_key() {
    let store = FaultStore::new(MemoryStore::new());
    let faults = store.faults().clone();
    let shop = Shop::over(DynStore::new(store)).await;
    let host = shop.host();
    let mut plan = Plan::new("team");
    plan.max_keys = Some(2);
    host.commit(Commit::new().write(Write::InsertPlan(plan.clone())))
        .await
        .unwrap();
    shop.organization(|acme| acme.plan = Some(plan.id)).await;
    let _ = shop.issue().await;
    // One call before the other: at one of them the plan was read, and the key is not stored.
    for calls in 0..12 {
        for _ in 0..calls {
            faults.next_manage(Fault::None);
        }
        faults.next_manage(Fault::Hang);
        let (issuer, request) = (shop.host(), shop.request());
        let issue = tokio::spawn(async move { issuer.issue(request).await.map(drop) });
        for _ in 0..50 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        if issue.is_finished() {
            break;
        }
        let lower = |most: u32| {
            let host = shop.host();
            async move {
                host.update_plan(plan.id, |plan| plan.max_keys = Some(most))
                    .await
                    .unwrap()
            }
        };
        lower(1).await;
        faults.release();
        let issued = issue.await.unwrap();
        let keys = shop.keys.read(Keys::of(shop.acme.id)).await.unwrap().items;
        assert_eq!((issued.is_ok(), keys.len()), (false, 1), "{calls}");
        lower(2).await;
    }
}
