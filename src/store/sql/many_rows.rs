//! Rows and reads of tests that look at plans: 1,000 organizations with 100 keys each, and one with 20,000.

use super::dialect::Dialect;
use crate::key::{KeyId, KeyStatus, OrganizationId, Timestamp, UserId, UserStatus};
use crate::store::query::*;

/// The organization with 20,000 keys.
pub(in crate::store) fn large() -> OrganizationId {
    uuid::Uuid::from_u128(1001).into()
}

/// The statements that insert them, in this order. The table `numbers` has each `n` from 0 to 119,999.
pub(in crate::store) fn rows(dialect: &Dialect) -> Vec<String> {
    let (words, numbers) = match dialect.is_postgres() {
        false => (SQLITE, "numbers"),
        true => (POSTGRES, "generate_series(0::bigint, 119999) AS numbers (n)"),
    };
    let rows = ROWS.iter().map(|text| {
        let text = words
            .iter()
            .fold((*text).to_owned(), |text, (word, meaning)| text.replace(word, meaning));
        dialect.render(&text.replace("{numbers}", numbers)).text().to_owned()
    });
    rows.collect()
}

/// A number between these marks stands for the id that has it.
const SQLITE: &[(&str, &str)] = &[
    ("«", "unhex(printf('%032x', "),
    ("»", "))"),
    ("{json}", "text"),
    ("{hash}", "zeroblob(32)"),
    ("{tag}", "randomblob(16)"),
];
const POSTGRES: &[(&str, &str)] = &[
    ("«", "CAST(lpad(to_hex("),
    ("»", "), 32, '0') AS uuid)"),
    ("{json}", "jsonb"),
    ("{hash}", "decode(repeat('00', 32), 'hex')"),
    ("{tag}", "gen_random_uuid()"),
];

const ROWS: &[&str] = &[
    "INSERT INTO {s}organizations (id, slug, name, name_folded, status, limits, email, email_folded, plan_id, revision)
     SELECT «n», 'org-' || n, 'Org ' || n, 'org ' || n, CASE WHEN n % 10 = 0 THEN 'inactive' ELSE 'active' END, '[]',
         'a' || n || '@example.com', 'a' || n || '@example.com', (SELECT id FROM {s}plans LIMIT 1), 1
     FROM {numbers} WHERE n BETWEEN 1 AND 1001",
    // The ids of an organization's keys are spread among those of the others, as times of creation are.
    "INSERT INTO {s}keys (id, organization_id, user_id, name, name_folded, labels, prefix, environment, scopes, roles,
         networks, limits, metadata, status, created_at, created_by, created_by_key, expires_at, revision)
     SELECT «(n * 7919) % 1000003 + 1», «CASE WHEN n < 100000 THEN n / 100 + 1 ELSE 1001 END»,
         'user' || (n % 20), 'Key ' || n, 'key ' || n, CAST('[\"l' || (n % 50) || '\"]' AS {json}), 'key',
         CASE WHEN n % 2 = 1 THEN 'live' ELSE 'test' END, '[]', CAST(CASE WHEN n % 7 = 0 THEN '[\"role1\"]' ELSE '[]' END AS {json}),
         '[]', '[]', '{}', CASE n % 10 WHEN 0 THEN 'disabled' ELSE 'active' END, n, 'service',
         CASE WHEN n % 100 = 0 THEN «1» END, CASE WHEN n % 3 = 0 THEN n END, 1
     FROM {numbers} WHERE n < 120000",
    "INSERT INTO {s}key_secrets (lookup, key_id, position, hash, form, created_at)
     SELECT 'lookup' || substr(CAST(1000000 + n AS text), 2), «(n * 7919) % 1000003 + 1», 0, 'sha256:' || n, 'keyed', 0
     FROM {numbers} WHERE n < 120000",
    "UPDATE {s}key_use SET last_used_at = 1, last_address = '192.0.' || substr(lookup, 9) WHERE lookup > 'lookup100' AND lookup < 'lookup110'",
    "INSERT INTO {s}scope_use (key_id, scope, last_used_at) SELECT «n», 'orders:read', 1 FROM {numbers} WHERE n < 20000",
    "INSERT INTO {s}key_networks (key_id, network, first_seen) SELECT «n», '192.0.2.0/24', 1 FROM {numbers} WHERE n < 20000",
    "INSERT INTO {s}usage_sources (node, epoch, through, seen_at) SELECT «n», n, n, n FROM {numbers} WHERE n < 5000",
    "INSERT INTO {s}idempotency (organization_id, actor, key, request_hash, key_id, created_at, expires_at)
     SELECT «CASE WHEN n < 20000 THEN n / 20 + 1 ELSE 1001 END», 'user:user' || (n % 20), 'once' || n, {hash}, «n», n, n
     FROM {numbers} WHERE n < 30000",
    "INSERT INTO {s}users (organization_id, user_id, metadata, status, reason, actor, changed_at, revision)
     SELECT «CASE WHEN n < 20000 THEN n / 20 + 1 ELSE 1001 END», 'user' || n, '{}', 'active', '', 'service', 0, 1
     FROM {numbers} WHERE n < 60000",
    "INSERT INTO {s}roles (name, scopes, description, revision)
     SELECT 'role' || n, '[]', '', 1 FROM {numbers} WHERE n < 1000",
    "INSERT INTO {s}scopes (scope, description) SELECT 'scope' || n, '' FROM {numbers} WHERE n < 1000",
    "INSERT INTO {s}plans (id, name, key_limits, limits, revision)
     SELECT «n», 'plan' || n, '[]', '[]', 1 FROM {numbers} WHERE n < 1000",
    "INSERT INTO {s}audit_events (organization_id, seq, commit_id, at, actor_kind, actor, action, key_id, payload, hash)
     SELECT «CASE WHEN n < 60000 THEN n / 60 + 1 ELSE 1001 END», n + 1, «n / 2», n, 'user',
         'user' || (n % 20), 'action' || (n % 10), «n / 4», '', {hash} FROM {numbers} WHERE n < 120000",
    "INSERT INTO {s}audit_personal (organization_id, seq, at, origin, actor, address)
     SELECT organization_id, seq, at, '', 'user1', '192.0.2.7' FROM {s}audit_events WHERE at % 4 = 0",
    "INSERT INTO {s}organization_state (organization_id, audit_seq, audit_hash, pruned_seq, pruned_hash)
     SELECT id, 100, {hash}, 0, {hash} FROM {s}organizations",
    "INSERT INTO {s}refusal_counts (hour, organization_id, kind, n)
     SELECT n / 100, «n % 100», 'key_revoked', 1 FROM {numbers} WHERE n < 20000",
    "INSERT INTO {s}refusals (id, at, organization_id, key_id, kind, address)
     SELECT «n», n, «n % 100», «n», 'key_revoked', CASE WHEN n % 10 = 0 THEN '192.0.2.7' END
     FROM {numbers} WHERE n < 20000",
    "INSERT INTO {s}key_changes (seq, tag, kind, id, revision, at)
     SELECT (SELECT coalesce(max(seq), 0) FROM {s}key_changes) + 1 + n, {tag}, 1, «n», 2, n FROM {numbers} WHERE n < 20000",
    "INSERT INTO {s}server_secrets (purpose, id, n, state, value, created_at, active_from)
     SELECT 'audit', 'x' || n, 0, 'active', {hash}, 1, 1 FROM {numbers} WHERE n < 30",
    "INSERT INTO {s}audit_waiting (event) SELECT '' FROM {numbers} WHERE n < 100",
];

fn idempotency() -> OneIdempotency {
    let caller = crate::key::Actor::user("user1");
    OneIdempotency(large(), caller, "once29001".parse().unwrap())
}

type Reads = Vec<(&'static str, Query)>;

/// Those that answer with one row, and what belongs to it.
pub(in crate::store) fn of_one_row() -> Reads {
    let slug = OrganizationBySlug("org-700".into());
    let address = OrganizationByEmail("a700@example.com".into());
    vec![
        ("organization", large().query()),
        ("slug", slug.query()),
        ("address", address.query()),
        ("key", KeyId::from_u128(1).query()),
        ("user", OneUser(large(), user("user21000")).query()),
        ("realm", TheRealm.query()),
        ("idempotency key", idempotency().query()),
        ("first audited", FirstAudited(large()).query()),
    ]
}

/// A page of 50, which takes as much in an organization of 20,000 as anywhere.
pub(in crate::store) fn pages() -> Reads {
    let of = || Keys::of(large());
    vec![
        ("keys", of().query()),
        ("all keys", Keys::all().query()),
        ("names", of().name_starts_with("key 1").query()),
        ("live", of().status(KeyStatus::Active).query()),
        ("keys of a user", of().user(user("user7")).query()),
        (
            "keys of a creator",
            Keys::all().created_by_key(KeyId::from_u128(1)).query(),
        ),
        ("keys with a label", Keys::all().label("l7").query()),
        ("keys of one with a label", of().label("l7").query()),
        ("organizations", Organizations::all().query()),
        ("users", Users::of(large()).query()),
        ("plans", Plans::all().query()),
        ("roles", Roles::all().query()),
        ("scopes", KnownScopes::all().query()),
    ]
}

/// Pages whose filters match none of the rows to which an index leads. They look at 10,000 rows.
pub(in crate::store) fn fruitless() -> Reads {
    let of = || Keys::of(large());
    let actor = crate::key::Actor::user("nobody");
    vec![
        ("user of all", Keys::all().user(user("nobody")).query()),
        ("status of all", Keys::all().status(KeyStatus::Revoked).query()),
        (
            "label and status",
            of().status(KeyStatus::Active).environment("none").query(),
        ),
        ("lookup", Keys::all().lookup_starts_with("none").query()),
        ("environment", of().environment("none").query()),
        (
            "name",
            Keys::all().name_starts_with("key").status(KeyStatus::Revoked).query(),
        ),
        ("ends", Keys::all().ends_until(Timestamp::from_millis(-1)).query()),
        ("events", AuditEvents::all().actor(actor).query()),
        ("users", Users::of(large()).status(UserStatus::Disabled).query()),
    ]
}

/// Lists of keys to which an index leads, so that nothing is looked at if there are none.
pub(in crate::store) fn led() -> Vec<(&'static str, Keys)> {
    let (of, all) = (|| Keys::of(large()), Keys::all);
    let nobody = || user("nobody");
    vec![
        ("user", of().user(nobody())),
        ("label", all().label("none")),
        ("label of one", of().label("none")),
        ("creator", all().created_by_key(KeyId::new())),
        ("creator and owner", of().created_by_key(KeyId::new())),
        ("status", of().status(KeyStatus::Revoked)),
        ("user and label", of().user(nobody()).label("l7")),
        (
            "creator and status",
            all().created_by_key(KeyId::new()).status(KeyStatus::Active),
        ),
    ]
}

fn user(id: &str) -> UserId {
    id.parse().unwrap()
}
