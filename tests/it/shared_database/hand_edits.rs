//! Rows that someone wrote with another program: nulls, other types, other texts, numbers at their ends.

use std::time::Duration;

use tower_api_key::audit::Caller;
use tower_api_key::key::*;
use tower_api_key::store::query::*;
use tower_api_key::store::{Commit, StoreExt as _, Write};
use tower_api_key::testing::{ManualClock, cheap_hashes};
use tower_api_key::*;

use super::*;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// An error with its causes.
pub(crate) fn said(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

pub(crate) struct Made {
    acme: OrganizationId,
    other: OrganizationId,
    pub(crate) victim: IssuedKey,
    good: IssuedKey,
    roots: [IssuedKey; 2],
    old: KeyId,
}

pub(crate) fn hash(key: &IssuedKey) -> PresentedKey<'_> {
    PresentedKey::new(key.key.expose_secret().as_bytes()).client_address("192.0.2.1".parse().ok())
}

pub(crate) async fn open(database: &Database, hand: &ManualClock) -> Result<ApiKeys, StoreError> {
    let store = database.try_open().await?;
    ApiKeys::builder(store)
        .hash_policy(cheap_hashes())
        .clock(hand.clock())
        .open()
        .await
}

pub(crate) async fn make(database: &Database) -> Made {
    let hand = ManualClock::new();
    let keys = open(database, &hand).await.unwrap();
    let host = keys.issuer().acting_as(
        Caller::new(Actor::user("alice"))
            .name("Alice")
            .address("192.0.2.9".parse().unwrap())
            .user_agent("curl"),
    );
    let mut plan = Plan::new("small");
    plan.key_limits = vec!["requests=1000/1s".parse().unwrap()];
    plan.max_keys = Some(10);
    let plan = host.create_plan(plan).await.unwrap();
    for scope in ["orders:read", "orders:write"] {
        host.create_scope(KnownScope::new(scope.parse().unwrap(), "d"))
            .await
            .unwrap();
    }
    host.create_role(Role::new("reader", "orders:read".parse().unwrap()))
        .await
        .unwrap();
    let mut policy = Policy::default();
    policy.longest_life = Some(400 * DAY);
    policy.grantable = Some("orders:*".parse().unwrap());
    let mut metadata = Metadata::default();
    metadata.set("a", "b").unwrap();
    let request = OrganizationRequest::new("Acme")
        .email("ops@acme.example")
        .plan(plan.id)
        .policy(policy)
        .metadata(metadata.clone());
    let acme = host.create_organization(request).await.unwrap();
    let other = host.create_organization("other").await.unwrap();
    let operator = host.create_organization("operator").await.unwrap();
    host.update_organization(operator.id, |row| row.is_operator = true)
        .await
        .unwrap();
    let mut roots = Vec::new();
    for roles in ["reader", ""] {
        let request = IssueRequest::new(operator.id, "root")
            .roles(roles.parse().unwrap())
            .scopes("api-keys.keys:write".parse().unwrap());
        roots.push(host.issue(request).await.unwrap());
    }
    let request = UserRequest::new(acme.id, "alice".parse().unwrap())
        .name("A")
        .email("a@x.example")
        .metadata(metadata.clone());
    host.create_user(request).await.unwrap();
    let request = || {
        IssueRequest::new(acme.id, "orders")
            .user("alice".parse().unwrap())
            .roles("reader".parse().unwrap())
            .labels("l1".parse().unwrap())
            .scopes("orders:write".parse().unwrap())
            .metadata(metadata.clone())
    };
    let victim = host.issue(request()).await.unwrap();
    let old = host
        .issue(request().expires_in(Duration::from_secs(1)))
        .await
        .unwrap()
        .record
        .id;
    let good = host.issue(IssueRequest::new(other.id, "good")).await.unwrap();
    let old_too = IssueRequest::new(other.id, "old").expires_in(Duration::from_secs(1));
    let _ = host.issue(old_too).await.unwrap();
    for of in [acme.id, other.id] {
        let gone = host.issue(IssueRequest::new(of, "gone")).await.unwrap();
        host.revoke(gone.record.id, "gone").await.unwrap();
    }
    let _ = host.rotate(victim.record.id, 300 * DAY).await.unwrap();
    for key in [&victim, &good] {
        keys.authenticator().check(hash(key)).await.unwrap();
    }
    hand.advance(Duration::from_secs(10));
    let bad = PresentedKey::new(b"rubbish").client_address("192.0.2.1".parse().ok());
    let _ = keys.authenticator().check(bad).await;
    keys.flush().await.unwrap();
    let made = Made {
        acme: acme.id,
        other: other.id,
        victim,
        good,
        roots: roots.try_into().ok().unwrap(),
        old,
    };
    drop((host, keys));
    let old = "UPDATE api_keys_key_changes SET at = at - 2592000000; DELETE FROM api_keys_leases;
        INSERT INTO api_keys_leases VALUES ('change_log', zeroblob(16), 0);
        INSERT INTO api_keys_refusals
        SELECT zeroblob(16), at, organization_id, key_id, lookup, kind, address FROM api_keys_refusals LIMIT 1";
    database.by_hand(old, &[]).await;
    made
}

/// What someone writes into rows of acme, and what its first key gets then. `?1` is the organization, `?2` that key, `?3` another one
/// that has expired, `?4` the first key of the operator.
const DAMAGES: &[(&str, Option<RejectionKind>)] = &[
    (
        "UPDATE api_keys_organizations SET plan_id = zeroblob(16) WHERE id = ?1",
        Some(RejectionKind::InvalidRecord),
    ),
    (
        "UPDATE api_keys_organizations SET plan_id = 'small' WHERE id = ?1",
        Some(RejectionKind::InvalidRecord),
    ),
    (
        "UPDATE api_keys_organizations SET policy = '{\"longest_life_ms\":-1}' WHERE id = ?1",
        Some(RejectionKind::InvalidRecord),
    ),
    (
        "UPDATE api_keys_organizations SET policy = 'null' WHERE id = ?1",
        Some(RejectionKind::InvalidRecord),
    ),
    (
        "UPDATE api_keys_organizations SET policy = '{\"tomorrow\":1}' WHERE id = ?1",
        Some(RejectionKind::InvalidRecord),
    ),
    (
        "UPDATE api_keys_organizations SET requires = '{}' WHERE id = ?1",
        Some(RejectionKind::InvalidRecord),
    ),
    (
        "UPDATE api_keys_organizations SET is_operator = 2 WHERE id = ?1",
        Some(RejectionKind::InvalidRecord),
    ),
    (
        "UPDATE api_keys_organizations SET max_keys = -1 WHERE id = ?1",
        Some(RejectionKind::InvalidRecord),
    ),
    (
        "UPDATE api_keys_organizations SET email = CAST(x'ff' AS TEXT) WHERE id = ?1",
        Some(RejectionKind::InvalidRecord),
    ),
    (
        "UPDATE api_keys_plans SET key_limits = '' WHERE name = 'small'",
        Some(RejectionKind::InvalidRecord),
    ),
    (
        "UPDATE api_keys_plans SET limits = x'ff' WHERE name = 'small'",
        Some(RejectionKind::InvalidRecord),
    ),
    (
        "UPDATE api_keys_plans SET max_keys = 4294967296 WHERE name = 'small'",
        Some(RejectionKind::InvalidRecord),
    ),
    (
        "UPDATE api_keys_users SET status = 'gone' WHERE organization_id = ?1",
        Some(RejectionKind::InvalidRecord),
    ),
    (
        "UPDATE api_keys_users SET metadata = '[' WHERE organization_id = ?1",
        Some(RejectionKind::InvalidRecord),
    ),
    (
        "UPDATE api_keys_users SET changed_at = 1e300 WHERE organization_id = ?1",
        Some(RejectionKind::InvalidRecord),
    ),
    (
        "UPDATE api_keys_roles SET scopes = '['",
        Some(RejectionKind::InvalidRecord),
    ),
    (
        "UPDATE api_keys_roles SET scopes = '\"*\"'",
        Some(RejectionKind::InvalidRecord),
    ),
    (
        "UPDATE api_keys_keys SET roles = '[' WHERE id IN (?2, ?3)",
        Some(RejectionKind::InvalidRecord),
    ),
    (
        "UPDATE api_keys_keys SET roles = '' WHERE id IN (?2, ?3)",
        Some(RejectionKind::InvalidRecord),
    ),
    (
        "UPDATE api_keys_keys SET canary = -1 WHERE id IN (?2, ?3)",
        Some(RejectionKind::InvalidRecord),
    ),
    (
        "UPDATE api_keys_keys SET requires = '[1]' WHERE id IN (?2, ?3)",
        Some(RejectionKind::InvalidRecord),
    ),
    (
        "UPDATE api_keys_keys SET holds = 'null' WHERE id IN (?2, ?3)",
        Some(RejectionKind::InvalidRecord),
    ),
    (
        "UPDATE api_keys_keys SET created_by_key = 'x' WHERE id IN (?2, ?3)",
        Some(RejectionKind::InvalidRecord),
    ),
    (
        "UPDATE api_keys_keys SET lifted_limits = '{}' WHERE id IN (?2, ?3)",
        Some(RejectionKind::InvalidRecord),
    ),
    (
        "UPDATE api_keys_key_secrets SET hash = '' WHERE key_id IN (?2, ?3)",
        Some(RejectionKind::InvalidRecord),
    ),
    (
        "UPDATE api_keys_key_secrets SET hint = x'ff' WHERE key_id IN (?2, ?3)",
        Some(RejectionKind::InvalidRecord),
    ),
    ("UPDATE api_keys_keys SET limits = '' WHERE id = ?4", None),
    ("UPDATE api_keys_keys SET roles = '[' WHERE id = ?4", None),
    (
        "UPDATE api_keys_scopes SET scope = 'NO' WHERE scope = 'orders:read'",
        None,
    ),
    ("UPDATE api_keys_key_labels SET label = x'ff' WHERE key_id = ?2", None),
    (
        "UPDATE api_keys_key_use SET requests = 'many', last_address = 'there' WHERE key_id = ?2",
        None,
    ),
    ("UPDATE api_keys_key_networks SET network = x'ff'", None),
    (
        "INSERT INTO api_keys_scope_use (key_id, scope, last_used_at) VALUES (?2, 'NO', 'never')",
        None,
    ),
    ("UPDATE api_keys_usage_sources SET through = 'x', seen_at = 'y'", None),
    ("UPDATE api_keys_leases SET until = 'x', holder = 1", None),
    (
        "UPDATE api_keys_refusals SET kind = x'ff', address = 'there', at = 'x'",
        None,
    ),
    (
        "UPDATE api_keys_refusal_counts SET n = 'x', organization_id = 'y'",
        None,
    ),
    (
        "UPDATE api_keys_organization_state SET audit_hash = '' WHERE organization_id = ?1",
        None,
    ),
    (
        "UPDATE api_keys_organization_state SET audit_seq = 9223372036854775807 WHERE organization_id = ?1",
        None,
    ),
    (
        "UPDATE api_keys_organization_state SET organization_id = zeroblob(17) WHERE organization_id = ?1",
        None,
    ),
    (
        "UPDATE api_keys_audit_events SET payload = x'ff' WHERE organization_id = ?1 AND seq = 1",
        None,
    ),
    (
        "UPDATE api_keys_audit_events SET organization_id = zeroblob(17) WHERE organization_id = ?1 AND seq = 1",
        None,
    ),
    (
        "UPDATE api_keys_audit_personal SET salt = 'x', origin = x'ff' WHERE organization_id = ?1",
        None,
    ),
    (
        "UPDATE api_keys_key_changes SET kind = 9, id = 'x', revision = 'y', tag = 'z'",
        None,
    ),
];

/// What changes nothing for the worse in PostgreSQL: it is a text of bits there.
const HARMLESS: &str = "x'ff'";

/// Columns of PostgreSQL have types.
fn is_refused_by_types(error: &str) -> bool {
    ["invalid input syntax", "is of type", "out of range", "does not exist"]
        .iter()
        .any(|part| error.contains(part))
}

/// What is of one organization stops nothing of another one: neither checks nor changes, and no maintenance.
#[tokio::test]
async fn damaged_row_is_refused_and_stops_nobody_else() {
    for template in Database::shared() {
        let made = make(&template).await;
        for (damage, refused) in DAMAGES {
            if template.is_postgres() && damage.contains(HARMLESS) {
                continue;
            }
            let database = template.copy().await;
            let by_hand = database.hand().await.breaks_rules().await;
            let ids = [
                made.acme.as_uuid(),
                made.victim.record.id.as_uuid(),
                made.old.as_uuid(),
                made.roots[0].record.id.as_uuid(),
            ];
            match by_hand.try_run(damage, &ids).await {
                Ok(changed) => assert!(changed > 0, "{damage}"),
                Err(error) => {
                    assert!(
                        database.is_postgres() && is_refused_by_types(&error),
                        "{damage}: {error}"
                    );
                    continue;
                }
            }
            stops_nobody_else(&database, &made, damage, *refused).await;
        }
    }
}

async fn stops_nobody_else(database: &Database, made: &Made, damage: &str, refused: Option<RejectionKind>) {
    let hand = ManualClock::new();
    hand.advance(100 * DAY);
    let keys = open(database, &hand)
        .await
        .unwrap_or_else(|error| panic!("{damage}: {}", said(&error)));
    let checks = keys.authenticator();
    let checked = checks.check(hash(&made.victim)).await;
    assert_eq!(checked.err().map(|rejection| rejection.kind()), refused, "{damage}");
    checks
        .check(hash(&made.good))
        .await
        .unwrap_or_else(|error| panic!("{damage}: {}", said(&error)));

    let maintenance = keys.maintenance().audit_events(HOUR).unwrap().origins(HOUR).unwrap();
    let report = maintenance.refusals(HOUR).unwrap().run_once().await;
    let failed: Vec<_> = report.failed().map(|(task, error)| (task, error.kind())).collect();
    // They say which chain it is.
    let names_a_chain = |task| matches!(task, Task::AuditAnchor | Task::AuditEvents);
    let is_expected = |(task, kind): &(Task, AuditErrorKind)| names_a_chain(*task) && *kind == AuditErrorKind::Broken;
    assert!(failed.iter().all(is_expected), "{damage}: {failed:?}");
    assert!(damage.contains("audit") || failed.is_empty(), "{damage}: {failed:?}");
    let ended = keys
        .read(Keys::of(made.other).ends_until(hand.clock().wall()))
        .await
        .unwrap();
    assert_eq!(ended.items, [], "{damage}");
    let trail = keys.read(AuditEvents::of(made.other)).await.unwrap().items;
    assert_eq!(trail.first().map(|entry| entry.seq > 5), Some(true), "{damage}");

    // A key of the operator acts, and its guard looks at all of them.
    let context = checks.check(hash(&made.roots[1])).await.unwrap();
    let acting = keys.issuer_for(&context);
    acting
        .revoke(made.good.record.id, "leaked")
        .await
        .unwrap_or_else(|error| panic!("{damage}: {}", said(&error)));
    let rejection = checks.check(hash(&made.good)).await.unwrap_err();
    assert_eq!(rejection.kind(), RejectionKind::KeyRevoked, "{damage}");
    let host = keys.issuer().acting_as(Actor::operator("bob"));
    let _ = host
        .issue(IssueRequest::new(made.other, "new"))
        .await
        .unwrap_or_else(|error| panic!("{damage}: {}", said(&error)));
}

/// The program `sqlite3` does not enforce foreign keys unless told to.
#[tokio::test]
async fn keys_whose_plan_is_gone_are_refused_and_none_are_made() {
    for database in Database::shared() {
        let made = make(&database).await;
        let hand = database.hand().await.breaks_rules().await;
        let gone = "DELETE FROM api_keys_plans WHERE name = 'small'";
        assert!(hand.run(gone, &[]).await > 0);
        let keys = open(&database, &ManualClock::new()).await.unwrap();
        let rejection = keys.authenticator().check(hash(&made.victim)).await.unwrap_err();
        assert_eq!(rejection.kind(), RejectionKind::InvalidRecord);
        keys.authenticator().check(hash(&made.good)).await.unwrap();
        let issuer = keys.issuer().acting_as(Actor::user("bob"));
        let error = issuer.issue(IssueRequest::new(made.acme, "new")).await.unwrap_err();
        assert_eq!(error.kind(), IssueErrorKind::InvalidRecord);
    }
}

/// Its changes could not be told from one another, and so it could not be revoked.
#[tokio::test]
async fn row_with_the_last_revision_is_damaged() {
    for template in Database::shared() {
        let made = make(&template).await;
        for table in ["keys", "organizations", "plans", "users"] {
            let database = template.copy().await;
            let sql = format!("UPDATE api_keys_{table} SET revision = 9223372036854775807");
            database.by_hand(&sql, &[]).await;
            let keys = open(&database, &ManualClock::new()).await.unwrap();
            let rejection = keys.authenticator().check(hash(&made.victim)).await.unwrap_err();
            assert_eq!(rejection.kind(), RejectionKind::InvalidRecord, "{table}");
        }
    }
}

/// Rows of a clock that was years ahead stay for years, and so would all after them.
#[tokio::test]
async fn row_of_the_future_does_not_keep_the_change_log_from_being_cut() {
    for template in Database::shared() {
        let made = make(&template).await;
        for at in ["at + 315360000000", "'tomorrow'", "9223372036854775807"] {
            let database = template.copy().await;
            let by_hand = database.hand().await;
            let sql = format!(
                "UPDATE api_keys_key_changes SET at = {at} WHERE seq = (SELECT min(seq) FROM api_keys_key_changes)"
            );
            match by_hand.try_run(&sql, &[]).await {
                Ok(changed) => assert_eq!(changed, 1),
                Err(error) => {
                    assert!(database.is_postgres() && is_refused_by_types(&error), "{error}");
                    continue;
                }
            }
            let last = by_hand.number("SELECT max(seq) FROM api_keys_key_changes").await;
            let keys = open(&database, &ManualClock::new()).await.unwrap();
            assert_eq!(keys.maintenance().run_once().await.failed().count(), 0, "{at}");
            let left = format!("SELECT count(*) FROM api_keys_key_changes WHERE seq < {last}");
            assert_eq!(by_hand.number(&left).await, 0, "{at}");
            keys.authenticator().check(hash(&made.good)).await.unwrap();
        }
    }
}

/// The folded name, by which it is found, stays as it was.
#[tokio::test]
async fn list_by_name_goes_on_after_a_rename_by_hand() {
    for database in Database::shared() {
        let store = database.open().await;
        let acme = organization(&store).await;
        for name in ["a-one", "a-two", "a-three", "a-four"] {
            let mut key = new_key(&acme);
            key.record.name = name.to_owned();
            insert(&store, &key).await.unwrap();
            let mut other = Organization::new(name);
            other.slug = name.to_owned();
            store.insert_organization(other).await.unwrap();
        }
        for table in ["keys", "organizations"] {
            for name in ["zzz", "A", "É"] {
                let sql = format!("UPDATE api_keys_{table} SET name = '{name}' WHERE name_folded = 'a-one'");
                assert!(database.by_hand(&sql, &[]).await > 0);
                let mut seen = 0;
                let mut after = None;
                while seen < 9 {
                    let next = match table {
                        "keys" => {
                            let mut list = Keys::of(acme.id).name_starts_with("a-").page(1);
                            list = after.iter().cloned().fold(list, Keys::after);
                            let page = store.get(list).await.unwrap();
                            seen += page.items.len();
                            page.next
                        }
                        _ => {
                            let mut list = Organizations::all().name_starts_with("a-").page(1);
                            list = after.iter().cloned().fold(list, Organizations::after);
                            let page = store.get(list).await.unwrap();
                            seen += page.items.len();
                            page.next
                        }
                    };
                    after = next;
                    if after.is_none() {
                        break;
                    }
                }
                assert_eq!(seen, 4, "{table} {name}");
            }
        }
    }
}

/// Counts that are at their end, by hand or after very long.
#[tokio::test]
async fn counts_at_their_end_are_the_largest_there_is() {
    for database in Database::shared() {
        let made = make(&database).await;
        let most = "UPDATE api_keys_key_use SET requests = 9223372036854775807 WHERE last_used_at > 0;
            UPDATE api_keys_refusal_counts SET n = 9223372036854775807, hour = 0";
        database.by_hand(most, &[]).await;
        let keys = open(&database, &ManualClock::new()).await.unwrap();
        assert_eq!(keys.statistics(None).await.unwrap().requests, i64::MAX as u64);
        assert_eq!(keys.statistics(made.other).await.unwrap().requests, i64::MAX as u64);
        let count = keys.read(RefusalCounts::all()).await.unwrap().remove(0);
        let more = Commit::new().write(Write::CountRefusals(count.clone()));
        keys.issuer().acting_as(Actor::service()).commit(more).await.unwrap();
        assert_eq!(keys.read(RefusalCounts::all()).await.unwrap(), [count]);
    }
}

/// It is found under its former name, in front of the one that has this name now.
#[tokio::test]
async fn renamed_key_is_made_again_once() {
    for database in Database::shared() {
        let keys = open(&database, &ManualClock::new()).await.unwrap();
        let _ = keys.ensure("acme", "nightly").await.unwrap();
        let renamed = "UPDATE api_keys_keys SET name = 'weekly'";
        assert!(database.by_hand(renamed, &[]).await > 0);
        let again = keys.ensure("acme", "nightly").await.unwrap();
        assert!(again.key.is_some());
        let third = keys.ensure("acme", "nightly").await.unwrap();
        assert!(third.key.is_none());
        assert_eq!(third.record.id, again.record.id);
    }
}
