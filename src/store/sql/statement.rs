//! Every statement that the databases share.
//!
//! `{s}` is what the names of tables start with, and other words in braces stand for what databases write differently. Parameters
//! are numbered, `?1`. The texts are rendered once, when a store is opened. Each table has one list of columns: `record` writes values in its order, and `row` reads them in that order.

mod audit;
mod idempotency;
mod keys;
mod lists;
mod organizations;
mod text;
mod uses;

pub(super) use self::audit::AUDIT_EVENT;
use self::audit::AuditStatements;
use self::idempotency::IdempotencyStatements;
use self::keys::KeyStatements;
pub(super) use self::lists::Lists;
use self::organizations::OrganizationStatements;
pub(in crate::store) use self::text::after_prefix;
pub(super) use self::text::count;
use self::text::{insert, numbers, of, unchanged, update};
use self::uses::UseStatements;
use super::dialect::Dialect;

/// In front is what identifies the row in an update, and its revision.
pub(super) const KEY: &str = "id, organization_id, revision, user_id, name, name_folded, prefix, environment, scopes, \
     networks, limits, metadata, status, status_at, status_reason, status_actor, created_at, created_by, expires_at, \
     ends_with_user, labels, roles, lifted_limits, created_by_key, canary, requires, holds";
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
const ROLE_SCOPES: &str = "{role_scopes}";
pub(super) const SERVER_SECRET: &str = "purpose, id, n, state, sealed_by, value, created_at, active_from, retire_at";
/// Of every list and count: how many rows, and how many before them are skipped. The other values are in `list`.
const PAGE: &str = "LIMIT ?1 OFFSET ?2";
/// By id, after ?4 and up to ?16.
const BY_ID: &str = "id > ?4 AND id <= ?16";
/// By name, after name ?3 and id ?4, up to name ?5 and id ?16.
const BY_NAME: &str = "(name_folded, id) > (?3, ?4) AND (name_folded, id) <= (?5, ?16)";
/// Users of organization ?4 after user ?3 and up to user ?6.
const USERS: &str = "u.organization_id = ?4 AND u.user_id > ?3 AND u.user_id <= ?6";
/// Filters of users: status ?5.
const USER_FILTER: &str = "(u.status = ?5 OR ?5 IS NULL)";
/// Of a list by name alone, after name ?3: the one named ?4.
const NAMED: &str = "name > ?3 AND (name = ?4 OR ?4 IS NULL)";

macro_rules! statements {
    ($all:ident { $($group:ident: $statements:ident),* } $($name:ident,)*) => {
        /// Statements of one schema.
        pub(in crate::store) struct $all {
            $(pub(in crate::store) $group: $statements,)*
            $(pub(in crate::store) $name: crate::store::sql::Statement,)*
        }

        impl $all {
            /// How many there are.
            pub(in crate::store) const COUNT: usize = {
                let own: &[&str] = &[$(stringify!($name)),*];
                own.len() $(+ $statements::COUNT)*
            };

            #[cfg(test)]
            pub(in crate::store) fn all(&self) -> Vec<&crate::store::sql::Statement> {
                let groups: [Vec<&crate::store::sql::Statement>; _] = [$(self.$group.all(),)* vec![$(&self.$name),*]];
                groups.concat()
            }
        }
    };
}
use statements;

statements! {
    Statements {
        audit: AuditStatements, keys: KeyStatements, organizations: OrganizationStatements, uses: UseStatements,
        idempotency: IdempotencyStatements
    }
    find, operator_keys,
    organization, organization_by_slug, organization_by_email,
    insert_organization, update_organization, delete_organization, organization_revision, organization_is_used,
    key, key_record, key_by_hash, expired_keys, revoked_keys, live_keys, last_of_users,
    insert_key, update_key, set_key_state, descendants, delete_key, key_revision, owned_key_exists,
    secret_with_ends, insert_secret, update_secret, delete_secret, delete_secrets, replace_hash,
    change, changes, changes_from, changes_to_journal, last_change, oldest_changes, delete_changes,
    realm, update_realm, adopt_realm,
    server_secrets, server_secrets_of, server_secret_exists, insert_server_secret, update_server_secret,
    delete_server_secret,
    count_crc_keys,
    count_keys_of_form,
    plan, plans, insert_plan, update_plan, delete_plan, plan_exists, plan_is_used,
    user, users, count_users, insert_user, update_user, delete_user, user_exists, user_is_used, disabled_user,
    role, roles, insert_role, update_role, delete_role, role_exists,
    known_scopes, some_known_scopes, insert_scope, delete_scope,
}

impl Statements {
    /// The statements for tables whose names start so.
    pub(in crate::store) fn new(dialect: &Dialect) -> Self {
        let render = |text: &str| dialect.render(text);
        let (key, secret, organization) = (of("k", KEY), of("s", SECRET), of("o", ORGANIZATION));
        let (plan, user, role) = (of("p", PLAN), of("u", USER), of("r", ROLE));
        // After key ?3, so that those with a CRC-32 are seen to go along the index of such secrets.
        let count_of_form = |form: &str| {
            render(&format!(
                "SELECT count(*) FROM (SELECT DISTINCT s.key_id FROM {{s}}key_secrets s JOIN {{s}}keys k ON k.id = s.key_id \
                 WHERE {form} AND s.key_id > ?3 AND k.status <> 'revoked' AND (k.expires_at > ?2 OR k.expires_at IS NULL) \
                 AND (s.expires_at > ?2 OR s.expires_at IS NULL) AND (s.grace_ends_at > ?2 OR s.grace_ends_at IS NULL) \
                 LIMIT ?1) counted"
            ))
        };
        // What a page looks at ends there, whatever its filter.
        let last_of = |table: &str, order: &str, range: &str| {
            render(&format!(
                "SELECT {order} FROM {{s}}{table} WHERE {range} ORDER BY {order} {PAGE}"
            ))
        };
        Self {
            audit: AuditStatements::new(dialect),
            keys: KeyStatements::new(dialect),
            organizations: OrganizationStatements::new(dialect),
            uses: UseStatements::new(dialect),
            idempotency: IdempotencyStatements::new(dialect),
            // Outer joins: a secret whose key is gone is damage, and must not look like an unknown lookup.
            find: render(&format!(
                "SELECT {{state}}{secret}, {key}, {organization}, {ROLE_SCOPES}, {plan}, {user} FROM {{found}} \
                 LEFT JOIN {{s}}keys k ON k.id = s.key_id LEFT JOIN {{s}}organizations o ON o.id = k.organization_id \
                 LEFT JOIN {{s}}plans p ON p.id = o.plan_id \
                 LEFT JOIN {{s}}users u ON u.organization_id = k.organization_id AND u.user_id = k.user_id \
                 {{of_lookup}}"
            )),
            operator_keys: render(&format!(
                "SELECT {secret}, {key}, {organization}, {ROLE_SCOPES}, {plan}, {user} FROM {{s}}organizations o \
                 JOIN {{s}}keys k ON k.organization_id = o.id JOIN {{s}}key_secrets s ON s.key_id = k.id \
                 LEFT JOIN {{s}}plans p ON p.id = o.plan_id \
                 LEFT JOIN {{s}}users u ON u.organization_id = k.organization_id AND u.user_id = k.user_id \
                 WHERE o.is_operator = TRUE"
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
            key_record: render(&format!("SELECT {key} FROM {{s}}keys k WHERE k.id = ?1")),
            key_by_hash: render(&format!(
                "SELECT {key}, {secret} FROM {{s}}keys k LEFT JOIN {{s}}key_secrets s ON s.key_id = k.id WHERE k.id = \
                 (SELECT h.key_id FROM {{s}}key_secrets h WHERE h.hash = ?1 ORDER BY h.key_id LIMIT 1) ORDER BY s.position"
            )),
            expired_keys: render(&format!(
                "SELECT {key} FROM {{s}}keys k WHERE k.expires_at IS NOT NULL AND k.status <> 'revoked' AND k.expires_at <= ?2 \
                 AND NOT EXISTS (SELECT 1 FROM {{s}}keys c WHERE c.created_by_key = k.id) ORDER BY k.expires_at, k.id LIMIT ?1"
            )),
            revoked_keys: render(&format!(
                "SELECT {key} FROM {{s}}keys k WHERE k.status = 'revoked' AND k.status_at <= ?2 \
                 AND NOT EXISTS (SELECT 1 FROM {{s}}keys c WHERE c.created_by_key = k.id) ORDER BY k.status_at, k.id LIMIT ?1"
            )),
            live_keys: render(
                "SELECT count(*) FROM (SELECT 1 FROM {s}keys WHERE organization_id = ?1 AND status <> 'revoked' LIMIT ?2) \
                 counted",
            ),
            insert_key: render(&insert("keys", KEY)),
            update_key: render(&update("keys", KEY, 3)),
            // A row that was not changed at all may have its holds in another form.
            set_key_state: render(
                "UPDATE {s}keys SET status = ?5, status_at = ?6, status_reason = ?7, status_actor = ?8, holds = ?9, \
                 revision = revision + 1 WHERE id = ?1 AND status = ?3 AND (holds = ?4 OR revision = ?2) RETURNING revision",
            ),
            // UNION ends a circle. CROSS, so that the keys are not gone through in their order instead.
            descendants: render(&format!(
                "WITH RECURSIVE tree(id) AS (SELECT id FROM {{s}}keys WHERE created_by_key = ?1 \
                 UNION SELECT k.id FROM tree t CROSS JOIN {{s}}keys k WHERE k.created_by_key = t.id) \
                 SELECT {key} FROM (SELECT id FROM tree t WHERE id <> ?1 AND id > ?3 ORDER BY id LIMIT ?2) t CROSS JOIN {{s}}keys k \
                 WHERE k.id = t.id ORDER BY k.id"
            )),
            delete_key: render("DELETE FROM {s}keys WHERE id = ?1 RETURNING revision"),
            key_revision: render("SELECT revision FROM {s}keys WHERE id = ?1"),
            owned_key_exists: render("SELECT 1 FROM {s}keys WHERE id = ?1 AND organization_id = ?2"),

            secret_with_ends: render(
                "SELECT 1 FROM {s}key_secrets WHERE lookup = ?1 AND key_id = ?2 AND expires_at IS NOT DISTINCT FROM ?3 \
                 AND grace_ends_at IS NOT DISTINCT FROM ?4",
            ),
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

            changes: render(
                "SELECT seq, tag, kind, id, revision, at FROM {s}key_changes WHERE seq > ?1 AND kind <> 0 \
                 ORDER BY seq LIMIT ?2",
            ),
            change: render("SELECT seq, tag FROM {s}key_changes WHERE seq = ?1"),
            changes_from: render(
                "SELECT seq, tag, kind, id, revision FROM {s}key_changes WHERE seq >= ?1 ORDER BY seq LIMIT ?2",
            ),
            changes_to_journal: render(
                "SELECT seq, tag, kind, id, part FROM {s}key_changes WHERE seq > ?1 ORDER BY seq LIMIT ?2",
            ),
            last_change: render("SELECT seq, tag FROM {s}key_changes WHERE seq > 0 ORDER BY seq DESC LIMIT 1"),
            oldest_changes: render("SELECT seq, at FROM {s}key_changes WHERE seq > 0 ORDER BY seq LIMIT ?1"),
            delete_changes: render("DELETE FROM {s}key_changes WHERE seq > 0 AND seq <= ?1"),

            realm: render("SELECT realm_id, crc_accepted_until, created_at FROM {s}realm WHERE one = TRUE"),
            update_realm: render(
                "UPDATE {s}realm SET crc_accepted_until = ?2 WHERE one = TRUE AND realm_id = ?1 AND realm_id = ?3 \
                 AND crc_accepted_until = ?4",
            ),
            adopt_realm: render("UPDATE {s}realm SET realm_id = ?1 WHERE one = TRUE AND realm_id = ?2"),
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
                "SELECT {user} FROM {{s}}users u WHERE {USERS} AND {USER_FILTER} ORDER BY u.user_id {PAGE}"
            )),
            count_users: render(&format!(
                "SELECT count(*) FROM (SELECT 1 FROM {{s}}users u WHERE {USERS} AND {USER_FILTER} {PAGE}) counted"
            )),
            last_of_users: last_of("users u", "u.user_id", USERS),
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

            role: render(&format!("SELECT {role} FROM {{s}}roles r WHERE r.name = ?1")),
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
            some_known_scopes: render(
                "SELECT count(*) FROM (SELECT 1 FROM {s}scopes WHERE scope > '' LIMIT ?1) counted",
            ),
            insert_scope: render(&insert("scopes", KNOWN_SCOPE)),
            delete_scope: render("DELETE FROM {s}scopes WHERE scope = ?1"),
        }
    }
}
