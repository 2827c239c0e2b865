//! Statements of uses of keys, and of leases.

use super::super::dialect::Dialect;
use super::statements;
use crate::last_use::UseOfKey;

/// Keys of user ?2 in organization ?1; in all of them if that is NULL.
const KEYS_OF_USER: &str = "SELECT k.id FROM {s}organizations o JOIN {s}keys k ON k.organization_id = o.id AND k.user_id = ?2 \
     WHERE o.id >= coalesce(?1{id}, ?3{id}) AND (o.id = ?1 OR ?1 IS NULL)";

statements! {
    UseStatements {}
    secrets_of_key, scopes_of_key, networks_of_key,
    take_batch, prune_sources, add_use, add_scope, add_network,
    forget_everyone, forget_all_networks, forget_user, forget_networks_of_user, forget_address, forget_old_addresses,
    hold_lease,
    statistics,
}

impl UseStatements {
    pub(super) fn new(dialect: &Dialect) -> Self {
        let render = |text: &str| dialect.render(text);
        // Organization by organization, so that each number is a range of an index.
        let keys = |which: &str| {
            format!(
                "(SELECT count(*) FROM {{s}}organizations o CROSS JOIN {{s}}keys k WHERE o.id >= ?1 AND o.id <= ?2 \
                 AND k.organization_id = o.id{which})"
            )
        };
        let uses = |what: &str, which: &str| {
            format!(
                "(SELECT {what} FROM {{s}}organizations o CROSS JOIN {{s}}key_use u WHERE o.id >= ?1 AND o.id <= ?2 \
                 AND u.organization_id = o.id{which})"
            )
        };
        let used = |which: &str| uses("count(DISTINCT u.key_id)", which);
        let statistics = [
            keys(""),
            keys(" AND k.status = 'active' AND (k.expires_at > ?3 OR k.expires_at IS NULL)"),
            keys(" AND k.status = 'disabled' AND (k.expires_at > ?3 OR k.expires_at IS NULL)"),
            // Not by the index of what is revoked, of all organizations.
            keys(" AND k.status BETWEEN 'revoked' AND 'revoked'"),
            keys(" AND k.status IN ('active', 'disabled') AND k.expires_at <= ?3"),
            keys(" AND k.status = 'active' AND k.expires_at > ?3 AND k.expires_at <= ?4"),
            used(" AND u.last_used_at > 0"),
            // A time before 1970 is never, too.
            used(" AND u.last_used_at > 0 AND u.last_used_at >= ?5"),
            used(" AND u.last_used_at > 0 AND u.last_used_at >= ?6"),
            used(" AND u.last_used_at > 0 AND u.last_used_at >= ?7"),
            // In two halves, each of which is far from the largest number.
            uses(
                "CAST(CASE WHEN sum(u.requests / 4294967296) + sum(u.requests % 4294967296) / 4294967296 > 2147483647 \
                 THEN 9223372036854775807 ELSE coalesce(sum(u.requests / 4294967296) * 4294967296 \
                 + sum(u.requests % 4294967296), 0) END AS BIGINT)",
                " AND u.last_used_at > 0",
            ),
        ];
        let (networks, scopes) = (UseOfKey::MOST_NETWORKS, UseOfKey::MOST_SCOPES);
        Self {
            secrets_of_key: render(
                "SELECT lookup, key_id, organization_id, last_used_at, last_address, requests FROM {s}key_use \
                 WHERE key_id = ?1 ORDER BY lookup",
            ),
            scopes_of_key: render(
                "SELECT key_id, scope, last_used_at FROM {s}scope_use WHERE key_id = ?1 ORDER BY scope",
            ),
            networks_of_key: render(
                "SELECT key_id, network, first_seen FROM {s}key_networks WHERE key_id = ?1 ORDER BY network",
            ),

            // No row is changed if the batch was stored before.
            take_batch: render(
                "INSERT INTO {s}usage_sources AS s (node, epoch, through, seen_at) VALUES (?1, ?2, ?3, ?4) \
                 ON CONFLICT (node, epoch) DO UPDATE SET through = excluded.through, seen_at = excluded.seen_at \
                 WHERE s.through < excluded.through",
            ),
            prune_sources: render("DELETE FROM {s}usage_sources WHERE seen_at < ?1"),
            // Several processes add to one row.
            add_use: render(
                "UPDATE {s}key_use SET requests = CASE WHEN requests > 9223372036854775807 - ?5 THEN 9223372036854775807 \
                 ELSE requests + ?5 END, \
                 last_address = CASE WHEN ?3 >= last_used_at THEN coalesce(?4, last_address) ELSE last_address END, \
                 last_used_at = CASE WHEN ?3 >= last_used_at THEN ?3 ELSE last_used_at END WHERE lookup = ?1 AND key_id = ?2",
            ),
            add_scope: render(&format!(
                "INSERT INTO {{s}}scope_use AS u (key_id, scope, last_used_at) SELECT ?1, ?2, ?3 \
                 WHERE EXISTS (SELECT 1 FROM {{s}}keys k WHERE k.id = ?1) AND \
                 (EXISTS (SELECT 1 FROM {{s}}scope_use o WHERE o.key_id = ?1 AND o.scope = ?2) \
                 OR (SELECT count(*) FROM {{s}}scope_use o WHERE o.key_id = ?1) < {scopes}) \
                 ON CONFLICT (key_id, scope) DO UPDATE SET last_used_at = excluded.last_used_at \
                 WHERE u.last_used_at < excluded.last_used_at"
            )),
            add_network: render(&format!(
                "INSERT INTO {{s}}key_networks AS n (key_id, network, first_seen) SELECT ?1, ?2, ?3 \
                 WHERE EXISTS (SELECT 1 FROM {{s}}keys k WHERE k.id = ?1) AND \
                 (EXISTS (SELECT 1 FROM {{s}}key_networks o WHERE o.key_id = ?1 AND o.network = ?2) \
                 OR (SELECT count(*) FROM {{s}}key_networks o WHERE o.key_id = ?1) < {networks}) \
                 ON CONFLICT (key_id, network) DO UPDATE SET first_seen = excluded.first_seen \
                 WHERE n.first_seen > excluded.first_seen"
            )),

            // Of organization ?1, or of those from ?2 to ?3. Not IS NOT NULL, which has an index of its own, of all organizations.
            forget_everyone: render(
                "UPDATE {s}key_use SET last_address = NULL WHERE organization_id >= coalesce(?1{id}, ?2{id}) \
                 AND organization_id <= coalesce(?1{id}, ?3{id}) AND coalesce(last_address, '') <> ''",
            ),
            forget_all_networks: render(
                "DELETE FROM {s}key_networks WHERE key_id IN (SELECT k.id FROM {s}organizations o CROSS JOIN {s}keys k \
                 WHERE o.id >= coalesce(?1{id}, ?2{id}) AND o.id <= coalesce(?1{id}, ?3{id}) AND k.organization_id = o.id)",
            ),
            forget_user: render(&format!(
                "UPDATE {{s}}key_use SET last_address = NULL WHERE key_id IN ({KEYS_OF_USER})"
            )),
            forget_networks_of_user: render(&format!(
                "DELETE FROM {{s}}key_networks WHERE key_id IN ({KEYS_OF_USER})"
            )),
            forget_address: render(
                "UPDATE {s}key_use SET last_address = NULL WHERE last_address = ?2 AND (organization_id = ?1 OR ?1 IS NULL)",
            ),
            forget_old_addresses: render(
                "UPDATE {s}key_use SET last_address = NULL WHERE last_used_at < ?1 AND last_address IS NOT NULL",
            ),

            // Until ?3, now is ?4.
            statistics: render(&format!(
                "SELECT {} FROM {{s}}realm r WHERE r.one = TRUE",
                statistics.join(", ")
            )),
            hold_lease: render(
                "INSERT INTO {s}leases AS l (task, holder, until) VALUES (?1, ?2, ?3) ON CONFLICT (task) \
                 DO UPDATE SET holder = excluded.holder, until = excluded.until \
                 WHERE l.holder = excluded.holder OR l.until <= ?4 OR l.until > ?5",
            ),
        }
    }
}
