//! Every statement that the databases share.
//!
//! `{s}` is what the names of tables start with. Parameters are numbered, `?1`. The texts are rendered once, when a store is
//! opened. Each table has one list of columns: `record` writes values in its order, and `row` reads them in that order.

/// In front is what identifies the row in an update, and its revision.
pub(super) const KEY: &str = "id, organization_id, revision, user_id, name, name_folded, prefix, environment, scopes, \
     networks, limits, metadata, status, status_at, status_reason, status_actor, created_at, created_by, expires_at, \
     ends_with_user, labels, roles, lifted_limits, created_by_key, canary, requires";
/// Besides these there is `position`, which the database counts.
pub(super) const SECRET: &str = "lookup, key_id, hash, form, created_at, expires_at, grace_ends_at, hint";
pub(super) const ORGANIZATION: &str = "id, revision, slug, name, name_folded, status, limits, email, email_folded, plan_id, \
     is_operator, requires, lifted_limits, key_limits, lifted_key_limits, max_keys, policy, metadata, created_at";
pub(super) const PLAN: &str = "id, revision, name, key_limits, limits, max_keys";
pub(super) const USER: &str =
    "organization_id, user_id, revision, display_name, email, metadata, status, reason, actor, changed_at";
pub(super) const ROLE: &str = "name, revision, scopes, description";
pub(super) const KNOWN_SCOPE: &str = "scope, description";
/// The scopes of each role of a key. NULL if it has no roles, as most keys.
const ROLE_SCOPES: &str = "CASE WHEN k.roles = '[]' THEN NULL ELSE (SELECT json_group_array(json(r.scopes)) \
     FROM json_each(k.roles) e JOIN {s}roles r ON r.name = e.value) END";
pub(super) const SERVER_SECRET: &str = "purpose, id, n, state, sealed_by, value, created_at, active_from, retire_at";
pub(super) const AUDIT_EVENT: &str =
    "organization_id, seq, commit_id, at, actor_kind, actor, action, key_id, user_id, payload, hash";
/// Read by `Columns::audit_row`.
const AUDIT: &str = "a.organization_id, a.seq, a.payload, a.hash, a.commit_id, a.at, a.actor_kind, a.actor, a.action, \
     a.key_id, a.user_id, p.origin_salt, p.origin, p.salt, p.\"values\"";
/// With what stands beside the chain.
const AUDIT_TABLES: &str = "{s}audit_events a LEFT JOIN {s}audit_personal p ON p.organization_id = a.organization_id AND \
     p.seq = a.seq";
/// Filters of audit events: organization ?5, key ?7, actor's kind ?8 and id ?9, action ?10, from ?11 to ?12. NULL filters
/// nothing.
const AUDIT_FILTER: &str = "(a.organization_id = ?5 OR ?5 IS NULL) AND (a.key_id = ?7 OR ?7 IS NULL) AND (a.actor_kind = ?8 OR \
     ?8 IS NULL) AND (a.actor = ?9 OR ?9 IS NULL) AND (a.action = ?10 OR ?10 IS NULL) AND a.at >= ?11 AND a.at <= ?12";

/// Of every list and count: how many rows, and how many before them are skipped. The other values are in `list`.
const PAGE: &str = "LIMIT ?1 OFFSET ?2";
/// By id, after ?4.
const BY_ID: &str = "id > ?4";
/// By name, after name ?3 and id ?4, below ?5.
const BY_NAME: &str = "(name_folded, id) > (?3, ?4) AND name_folded < ?5";
/// Of organization ?6.
const OWNED: &str = "organization_id = ?6 AND ";
/// Filters that no index serves: user ?7, status ?8, lookups from ?9 up to ?10, label ?11, environment ?12, creator ?13, ends
/// after ?14 and until ?15. NULL filters nothing.
const KEY_FILTER: &str = "(i.user_id = ?7 OR ?7 IS NULL) AND (i.status = ?8 OR ?8 IS NULL) AND (EXISTS \
     (SELECT 1 FROM {s}key_secrets f WHERE f.key_id = i.id AND f.lookup >= ?9 AND f.lookup < ?10) OR ?9 IS NULL) \
     AND (EXISTS (SELECT 1 FROM {s}key_labels l WHERE l.key_id = i.id AND l.label = ?11) OR ?11 IS NULL) \
     AND (i.environment = ?12 OR ?12 IS NULL) AND (i.created_by_key = ?13 OR ?13 IS NULL) \
     AND (i.expires_at > ?14 OR i.expires_at IS NULL OR ?14 IS NULL) AND (i.expires_at <= ?15 OR ?15 IS NULL)";
/// Filters of organizations: status ?6, plan ?7.
const ORGANIZATION_FILTER: &str = "(o.status = ?6 OR ?6 IS NULL) AND (o.plan_id = ?7 OR ?7 IS NULL)";
/// Users of organization ?4 after user ?3, with status ?5.
const USERS: &str = "u.organization_id = ?4 AND u.user_id > ?3 AND (u.status = ?5 OR ?5 IS NULL)";
/// Of a list by name alone, after name ?3: the one named ?4.
const NAMED: &str = "name > ?3 AND (name = ?4 OR ?4 IS NULL)";

macro_rules! statements {
    ($($name:ident,)*) => {
        /// The texts of all statements, with the names of one schema.
        pub(in crate::store) struct Statements {
            $(pub(in crate::store) $name: Box<str>,)*
        }

        impl Statements {
            /// How many there are.
            pub(in crate::store) const COUNT: usize = [$(stringify!($name)),*].len();

            #[cfg(test)]
            pub(in crate::store) fn all(&self) -> Vec<&str> {
                vec![$(&self.$name),*]
            }
        }
    };
}

statements! {
    find,
    organization, organization_by_slug, organization_by_email, organizations_by_id, organizations_by_name, count_organizations, count_organizations_by_name,
    insert_organization, update_organization, delete_organization, organization_revision, organization_is_used,
    key, keys_by_id, keys_by_name, owned_keys_by_id, owned_keys_by_name,
    count_keys, count_keys_by_name, count_owned_keys, count_owned_keys_by_name, live_keys,
    insert_key, update_key, delete_key, key_revision, owned_key_exists,
    insert_secret, update_secret, delete_secret, delete_secrets, replace_hash,
    audit_head, set_audit_head, insert_audit_event, insert_audit_personal, audit_events, audit_events_of_organization,
    audit_events_of_commit, audit_events_of_key, audit_events_of_actor, audit_events_of_action, audit_events_of_time,
    audit_events_by_time, audit_rows, first_audited, audit_chains, audit_hash, pruned_seq, set_pruned, prune_personal, prune_events,
    count_refusals, insert_refusal, prune_refusal_counts, prune_refusals, refusal_counts, refusal_counts_of, refusals,
    refusals_of,
    forget_origins, forget_actor, forget_user, forget_address, forget_user_in_refusals, forget_address_in_refusals,
    commit_exists,
    change, changes, changes_from, last_change, oldest_changes, delete_changes,
    realm, update_realm,
    server_secrets, server_secrets_of, server_secret_exists, insert_server_secret, update_server_secret,
    delete_server_secret,
    count_crc_keys,
    count_keys_of_form,
    plan, plans, insert_plan, update_plan, delete_plan, plan_exists, plan_is_used,
    user, users, count_users, insert_user, update_user, delete_user, user_exists, user_is_used, disabled_user,
    roles, insert_role, update_role, delete_role, role_exists,
    known_scopes, insert_scope, delete_scope,
}

impl Statements {
    /// The statements for tables whose names start so.
    pub(in crate::store) fn new(schema: &str) -> Self {
        let render = |text: &str| Box::from(text.replace("{s}", schema));
        let (key, secret, organization) = (of("k", KEY), of("s", SECRET), of("o", ORGANIZATION));
        let (plan, user, role) = (of("p", PLAN), of("u", USER), of("r", ROLE));
        let organizations = |range: &str, order: &str| {
            render(&format!(
                "SELECT {organization} FROM {{s}}organizations o WHERE {range} AND {ORGANIZATION_FILTER} \
                 ORDER BY {order} {PAGE}"
            ))
        };
        let count_organizations = |range: &str| {
            render(&format!(
                "SELECT count(*) FROM (SELECT 1 FROM {{s}}organizations o WHERE {range} AND {ORGANIZATION_FILTER} \
                 {PAGE}) counted"
            ))
        };
        // One statement, so that records and their secrets are of one point in time.
        let keys = |range: &str, order: &str| {
            render(&format!(
                "SELECT {key}, {secret} FROM (SELECT * FROM {{s}}keys i WHERE {range} AND {KEY_FILTER} ORDER BY {order} \
                 {PAGE}) k LEFT JOIN {{s}}key_secrets s ON s.key_id = k.id ORDER BY {order}, s.position"
            ))
        };
        let count_keys = |range: &str| {
            render(&format!(
                "SELECT count(*) FROM (SELECT 1 FROM {{s}}keys i WHERE {range} AND {KEY_FILTER} {PAGE}) counted"
            ))
        };
        // After key ?3, so that those with a CRC-32 are seen to go along the index of such secrets.
        let count_of_form = |form: &str| {
            render(&format!(
                "SELECT count(*) FROM (SELECT DISTINCT s.key_id FROM {{s}}key_secrets s JOIN {{s}}keys k ON k.id = s.key_id \
                 WHERE {form} AND s.key_id > ?3 AND k.status <> 'revoked' AND (k.expires_at > ?2 OR k.expires_at IS NULL) \
                 AND (s.expires_at > ?2 OR s.expires_at IS NULL) AND (s.grace_ends_at > ?2 OR s.grace_ends_at IS NULL) \
                 LIMIT ?1) counted"
            ))
        };
        let audit = |range: &str, order: &str| {
            let text =
                format!("SELECT {AUDIT} FROM {AUDIT_TABLES} WHERE {range} AND {AUDIT_FILTER} ORDER BY {order} {PAGE}");
            render(&text)
        };
        // After organization ?3 and number ?4.
        let audit_by_number = |range: &str| audit(range, "a.organization_id, a.seq");
        // After time ?13, organization ?3 and number ?4. ?11 is not before that time.
        let audit_by_time = |range: &str| {
            let after = format!("{range} AND a.at >= ?11 AND (a.at, a.organization_id, a.seq) > (?13, ?3, ?4)");
            audit(&after, "a.at, a.organization_id, a.seq")
        };
        // From ?2 up to ?3, of organization ?4.
        let refusal_counts = |of: &str| {
            render(&format!(
                "SELECT hour, organization_id, kind, n FROM {{s}}refusal_counts WHERE {of}hour >= ?2 AND hour < ?3 \
                 ORDER BY hour, organization_id, kind LIMIT ?1"
            ))
        };
        let refusals = |of: &str| {
            render(&format!(
                "SELECT id, at, organization_id, key_id, lookup, kind, address FROM {{s}}refusals \
                 WHERE {of}at >= ?2 AND at < ?3 ORDER BY at, id LIMIT ?1"
            ))
        };
        let forget = |whom: &str| {
            let range = format!("{whom} = ?2 AND (organization_id = ?1 OR ?1 IS NULL)");
            render(&format!("DELETE FROM {{s}}audit_personal WHERE {range}"))
        };
        let owned = |range: &str| format!("{OWNED}{range}");
        Self {
            // Outer joins: a secret whose key is gone is damage, and must not look like an unknown lookup.
            find: render(&format!(
                "SELECT {secret}, {key}, {organization}, {ROLE_SCOPES}, {plan}, {user} FROM {{s}}key_secrets s \
                 LEFT JOIN {{s}}keys k ON k.id = s.key_id LEFT JOIN {{s}}organizations o ON o.id = k.organization_id \
                 LEFT JOIN {{s}}plans p ON p.id = o.plan_id \
                 LEFT JOIN {{s}}users u ON u.organization_id = k.organization_id AND u.user_id = k.user_id \
                 WHERE s.lookup = ?1"
            )),

            organization: render(&format!(
                "SELECT {organization} FROM {{s}}organizations o WHERE o.id = ?1"
            )),
            organization_by_slug: render(&format!(
                "SELECT {organization} FROM {{s}}organizations o WHERE o.slug = ?1"
            )),
            organization_by_email: render(&format!(
                "SELECT {organization} FROM {{s}}organizations o WHERE o.email_folded = ?1"
            )),
            organizations_by_id: organizations(BY_ID, "id"),
            organizations_by_name: organizations(BY_NAME, "name_folded, id"),
            count_organizations: count_organizations(BY_ID),
            count_organizations_by_name: count_organizations(BY_NAME),
            insert_organization: render(&insert("organizations", ORGANIZATION)),
            update_organization: render(&update("organizations", ORGANIZATION, 2)),
            delete_organization: render("DELETE FROM {s}organizations WHERE id = ?1 RETURNING revision"),
            organization_revision: render("SELECT revision FROM {s}organizations WHERE id = ?1"),
            organization_is_used: render(
                "SELECT 1 FROM {s}keys WHERE organization_id = ?1 \
                 UNION ALL SELECT 1 FROM {s}users WHERE organization_id = ?1 LIMIT 1",
            ),

            key: render(&format!(
                "SELECT {key}, {secret} FROM {{s}}keys k LEFT JOIN {{s}}key_secrets s ON s.key_id = k.id WHERE k.id = ?1 \
                 ORDER BY s.position"
            )),
            keys_by_id: keys(BY_ID, "id"),
            keys_by_name: keys(BY_NAME, "name_folded, id"),
            owned_keys_by_id: keys(&owned(BY_ID), "id"),
            owned_keys_by_name: keys(&owned(BY_NAME), "name_folded, id"),
            count_keys: count_keys(BY_ID),
            count_keys_by_name: count_keys(BY_NAME),
            count_owned_keys: count_keys(&owned(BY_ID)),
            count_owned_keys_by_name: count_keys(&owned(BY_NAME)),
            live_keys: render(
                "SELECT count(*) FROM (SELECT 1 FROM {s}keys WHERE organization_id = ?1 AND status <> 'revoked' LIMIT ?2) \
                 counted",
            ),
            insert_key: render(&insert("keys", KEY)),
            update_key: render(&update("keys", KEY, 3)),
            delete_key: render("DELETE FROM {s}keys WHERE id = ?1 RETURNING revision"),
            key_revision: render("SELECT revision FROM {s}keys WHERE id = ?1"),
            owned_key_exists: render("SELECT 1 FROM {s}keys WHERE id = ?1 AND organization_id = ?2"),

            // The key is ?2.
            insert_secret: render(&format!(
                "INSERT INTO {{s}}key_secrets ({SECRET}, position) VALUES ({}, (SELECT coalesce(max(position) + 1, 0) \
                 FROM {{s}}key_secrets WHERE key_id = ?2))",
                numbers(SECRET)
            )),
            update_secret: render(
                "UPDATE {s}key_secrets SET expires_at = ?3, grace_ends_at = ?4 WHERE lookup = ?1 AND key_id = ?2",
            ),
            delete_secret: render("DELETE FROM {s}key_secrets WHERE lookup = ?1 AND key_id = ?2"),
            delete_secrets: render("DELETE FROM {s}key_secrets WHERE key_id = ?1"),
            replace_hash: render("UPDATE {s}key_secrets SET hash = ?3 WHERE lookup = ?1 AND hash = ?2"),

            audit_head: render("SELECT audit_seq, audit_hash FROM {s}organization_state WHERE organization_id = ?1"),
            set_audit_head: render(
                "INSERT INTO {s}organization_state (organization_id, audit_seq, audit_hash, pruned_seq, pruned_hash) \
                 VALUES (?1, ?2, ?3, 0, ?4) ON CONFLICT (organization_id) \
                 DO UPDATE SET audit_seq = excluded.audit_seq, audit_hash = excluded.audit_hash",
            ),
            insert_audit_event: render(&insert("audit_events", AUDIT_EVENT)),
            // What is left of an event that someone deleted by hand must not be in the way of a revoke.
            insert_audit_personal: render(
                "INSERT INTO {s}audit_personal (organization_id, seq, at, origin_salt, origin, salt, \"values\", actor, user_id, \
                 address) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT (organization_id, seq) DO UPDATE SET \
                 at = excluded.at, origin_salt = excluded.origin_salt, origin = excluded.origin, salt = excluded.salt, \
                 \"values\" = excluded.\"values\", actor = excluded.actor, user_id = excluded.user_id, \
                 address = excluded.address",
            ),
            audit_events: audit_by_number("(a.organization_id, a.seq) > (?3, ?4)"),
            audit_events_of_organization: audit_by_number("a.organization_id = ?3 AND a.seq > ?4"),
            audit_events_of_commit: audit_by_number("a.commit_id = ?6 AND (a.organization_id, a.seq) > (?3, ?4)"),
            audit_events_of_key: audit_by_time("a.key_id = ?7"),
            audit_events_of_actor: audit_by_time("a.organization_id = ?5 AND a.actor = ?9"),
            audit_events_of_action: audit_by_time("a.organization_id = ?5 AND a.action = ?10"),
            audit_events_of_time: audit_by_time("a.organization_id = ?5"),
            audit_events_by_time: audit_by_time("TRUE"),
            audit_rows: render(&format!(
                "SELECT {AUDIT} FROM {AUDIT_TABLES} WHERE a.organization_id = ?2 AND a.seq > ?3 ORDER BY a.seq LIMIT ?1"
            )),
            first_audited: render(
                "SELECT organization_id FROM {s}audit_events WHERE organization_id >= ?1 ORDER BY organization_id LIMIT 1",
            ),
            audit_chains: render(
                "SELECT organization_id, audit_seq, audit_hash, pruned_seq, pruned_hash FROM {s}organization_state \
                 WHERE organization_id >= ?2 ORDER BY organization_id LIMIT ?1",
            ),
            audit_hash: render("SELECT hash FROM {s}audit_events WHERE organization_id = ?1 AND seq = ?2"),
            pruned_seq: render("SELECT pruned_seq FROM {s}organization_state WHERE organization_id = ?1"),
            set_pruned: render(
                "UPDATE {s}organization_state SET pruned_seq = ?2, pruned_hash = ?3 \
                 WHERE organization_id = ?1 AND pruned_seq < ?2",
            ),
            prune_personal: render("DELETE FROM {s}audit_personal WHERE organization_id = ?1 AND seq <= ?2"),
            prune_events: render("DELETE FROM {s}audit_events WHERE organization_id = ?1 AND seq <= ?2"),
            count_refusals: render(
                "INSERT INTO {s}refusal_counts AS c (hour, organization_id, kind, n) VALUES (?1, ?2, ?3, ?4) \
                 ON CONFLICT (hour, organization_id, kind) DO UPDATE SET n = c.n + excluded.n",
            ),
            insert_refusal: render(
                "INSERT INTO {s}refusals (id, at, organization_id, key_id, lookup, kind, address) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            ),
            prune_refusal_counts: render("DELETE FROM {s}refusal_counts WHERE hour < ?1"),
            prune_refusals: render("DELETE FROM {s}refusals WHERE at < ?1"),
            refusal_counts: refusal_counts(""),
            refusal_counts_of: refusal_counts("organization_id = ?4 AND "),
            refusals: refusals(""),
            refusals_of: refusals("organization_id = ?4 AND "),
            forget_origins: render(
                "UPDATE {s}audit_personal SET origin_salt = NULL, origin = NULL, address = NULL \
                 WHERE at < ?1 AND origin IS NOT NULL",
            ),
            forget_actor: forget("actor"),
            forget_user: forget("user_id"),
            forget_address: forget("address"),
            // Few rows have an address, and for a bounded time.
            forget_user_in_refusals: render(
                "UPDATE {s}refusals SET address = NULL WHERE address > '' AND (organization_id = ?1 OR ?1 IS NULL) AND EXISTS \
                 (SELECT 1 FROM {s}keys k WHERE k.id = {s}refusals.key_id AND k.user_id = ?2)",
            ),
            forget_address_in_refusals: render(
                "UPDATE {s}refusals SET address = NULL WHERE address = ?2 AND (organization_id = ?1 OR ?1 IS NULL)",
            ),
            commit_exists: render("SELECT 1 FROM {s}audit_events WHERE commit_id = ?1 LIMIT 1"),

            changes: render(
                "SELECT seq, tag, kind, id, revision, at FROM {s}key_changes WHERE seq > ?1 AND kind <> 0 \
                 ORDER BY seq LIMIT ?2",
            ),
            change: render("SELECT seq, tag FROM {s}key_changes WHERE seq = ?1"),
            changes_from: render(
                "SELECT seq, tag, kind, id, revision FROM {s}key_changes WHERE seq >= ?1 ORDER BY seq LIMIT ?2",
            ),
            last_change: render("SELECT seq, tag FROM {s}key_changes WHERE seq > 0 ORDER BY seq DESC LIMIT 1"),
            oldest_changes: render("SELECT seq, at FROM {s}key_changes WHERE seq > 0 ORDER BY seq LIMIT ?1"),
            delete_changes: render("DELETE FROM {s}key_changes WHERE seq > 0 AND seq <= ?1"),

            realm: render("SELECT realm_id, crc_accepted_until, created_at FROM {s}realm WHERE one = TRUE"),
            update_realm: render(
                "UPDATE {s}realm SET crc_accepted_until = ?2 WHERE one = TRUE AND realm_id = ?1 AND realm_id = ?3 \
                 AND crc_accepted_until = ?4",
            ),
            server_secrets: render(&format!(
                "SELECT {SERVER_SECRET} FROM {{s}}server_secrets WHERE purpose > '' ORDER BY purpose, id, n LIMIT ?1"
            )),
            server_secrets_of: render(&format!(
                "SELECT {SERVER_SECRET} FROM {{s}}server_secrets WHERE purpose = ?2 ORDER BY purpose, id, n LIMIT ?1"
            )),
            server_secret_exists: render("SELECT 1 FROM {s}server_secrets WHERE purpose = ?1 AND id = ?2 AND n = ?3"),
            insert_server_secret: render(&insert("server_secrets", SERVER_SECRET)),
            update_server_secret: render(&format!(
                "{} AND {}",
                update("server_secrets", SERVER_SECRET, 3),
                unchanged(SERVER_SECRET, 3)
            )),
            delete_server_secret: render("DELETE FROM {s}server_secrets WHERE purpose = ?1 AND id = ?2 AND n = ?3"),
            count_crc_keys: count_of_form("s.form = 'crc32'"),
            count_keys_of_form: count_of_form("s.form = ?4"),

            plan: render(&format!("SELECT {plan} FROM {{s}}plans p WHERE p.id = ?1")),
            plans: render(&format!(
                "SELECT {plan} FROM {{s}}plans p WHERE {NAMED} ORDER BY p.name {PAGE}"
            )),
            insert_plan: render(&insert("plans", PLAN)),
            update_plan: render(&update("plans", PLAN, 2)),
            delete_plan: render("DELETE FROM {s}plans WHERE id = ?1 RETURNING revision"),
            plan_exists: render("SELECT 1 FROM {s}plans WHERE id = ?1"),
            plan_is_used: render("SELECT 1 FROM {s}organizations WHERE plan_id = ?1 LIMIT 1"),

            user: render(&format!(
                "SELECT {user} FROM {{s}}users u WHERE u.organization_id = ?1 AND u.user_id = ?2"
            )),
            users: render(&format!(
                "SELECT {user} FROM {{s}}users u WHERE {USERS} ORDER BY u.user_id {PAGE}"
            )),
            count_users: render(&format!(
                "SELECT count(*) FROM (SELECT 1 FROM {{s}}users u WHERE {USERS} {PAGE}) counted"
            )),
            insert_user: render(&insert("users", USER)),
            update_user: render(&update("users", USER, 3)),
            delete_user: render("DELETE FROM {s}users WHERE organization_id = ?1 AND user_id = ?2"),
            user_exists: render("SELECT 1 FROM {s}users WHERE organization_id = ?1 AND user_id = ?2"),
            user_is_used: render(
                "SELECT 1 FROM {s}keys WHERE organization_id = ?1 AND user_id = ?2 AND status <> 'revoked' LIMIT 1",
            ),
            disabled_user: render(
                "SELECT 1 FROM {s}users WHERE organization_id = ?1 AND user_id = ?2 AND status <> 'active'",
            ),

            roles: render(&format!(
                "SELECT {role} FROM {{s}}roles r WHERE {NAMED} ORDER BY r.name {PAGE}"
            )),
            insert_role: render(&insert("roles", ROLE)),
            update_role: render(&update("roles", ROLE, 2)),
            delete_role: render("DELETE FROM {s}roles WHERE name = ?1"),
            role_exists: render("SELECT 1 FROM {s}roles WHERE name = ?1"),

            known_scopes: render(&format!(
                "SELECT {KNOWN_SCOPE} FROM {{s}}scopes WHERE scope > ?3 ORDER BY scope {PAGE}"
            )),
            insert_scope: render(&insert("scopes", KNOWN_SCOPE)),
            delete_scope: render("DELETE FROM {s}scopes WHERE scope = ?1"),
        }
    }
}

/// How many columns a list has.
pub(super) const fn count(columns: &str) -> usize {
    let (mut number, mut index) = (1, 0);
    while index < columns.len() {
        if columns.as_bytes()[index] == b',' {
            number += 1;
        }
        index += 1;
    }
    number
}

/// The columns of the table that a query calls so.
fn of(table: &str, columns: &str) -> String {
    format!("{table}.{}", columns.replace(", ", &format!(", {table}.")))
}

/// A parameter for each column.
fn numbers(columns: &str) -> String {
    let numbers: Vec<String> = (1..=count(columns)).map(|number| format!("?{number}")).collect();
    numbers.join(", ")
}

fn insert(table: &str, columns: &str) -> String {
    format!("INSERT INTO {{s}}{table} ({columns}) VALUES ({})", numbers(columns))
}

/// That all columns but the first ones are as they are given after those of an update.
fn unchanged(columns: &str, first: usize) -> String {
    let others = columns.split(", ").skip(first);
    let same = (count(columns) + 1..)
        .zip(others)
        .map(|(number, column)| format!("{column} IS NOT DISTINCT FROM ?{number}"));
    same.collect::<Vec<_>>().join(" AND ")
}

/// Sets all columns but the first ones, in the row that has those as they are given. A revision is raised by one.
fn update(table: &str, columns: &str, first: usize) -> String {
    let (mut row, mut set) = (Vec::new(), Vec::new());
    for (number, column) in (1..).zip(columns.split(", ")) {
        if number <= first {
            row.push(format!("{column} = ?{number}"));
        }
        if column == "revision" {
            set.push(format!("revision = ?{number} + 1"));
        } else if number > first {
            set.push(format!("{column} = ?{number}"));
        }
    }
    format!("UPDATE {{s}}{table} SET {} WHERE {}", set.join(", "), row.join(" AND "))
}

/// The first text after all that start so, in the order of their bytes.
pub(in crate::store) fn after_prefix(prefix: &str) -> String {
    let mut text = prefix.to_owned();
    while let Some(last) = text.pop() {
        let next = match last {
            '\u{d7ff}' => Some('\u{e000}'),
            last => char::from_u32(u32::from(last) + 1),
        };
        if let Some(next) = next {
            text.push(next);
            return text;
        }
    }
    // After every text there is: this many of the last character are in no name.
    char::MAX.to_string().repeat(64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_of_a_table_name_its_columns_in_order() {
        let columns = "id, revision, name";
        assert_eq!((count(columns), count("id")), (3, 1));
        assert_eq!(of("o", columns), "o.id, o.revision, o.name");
        assert_eq!(
            insert("t", columns),
            "INSERT INTO {s}t (id, revision, name) VALUES (?1, ?2, ?3)"
        );
        let raised = "UPDATE {s}t SET revision = ?2 + 1, name = ?3 WHERE id = ?1 AND revision = ?2";
        assert_eq!(update("t", columns, 2), raised);
        assert_eq!(
            update("t", "id, n, a, b", 2),
            "UPDATE {s}t SET a = ?3, b = ?4 WHERE id = ?1 AND n = ?2"
        );
    }

    #[test]
    fn text_after_a_prefix_is_the_next_one() {
        for (prefix, after) in [("a", "b"), ("az", "a{"), ("é", "ê"), ("\u{d7ff}", "\u{e000}")] {
            assert_eq!(after_prefix(prefix), after);
            assert!(format!("{prefix}\u{10ffff}").as_str() < after);
        }
        assert_eq!(after_prefix("a\u{10ffff}"), "b");
        assert!(after_prefix("").as_str() > "\u{10ffff}name");
    }
}
