//! Statements of the audit trail and of refusals.

use super::super::dialect::Dialect;
use super::text::insert;
use super::{PAGE, statements};

pub(in crate::store::sql) const AUDIT_EVENT: &str =
    "organization_id, seq, commit_id, at, actor_kind, actor, action, key_id, user_id, payload, hash";
/// Read by `Columns::audit_row`.
const AUDIT: &str = "a.organization_id, a.seq, a.payload, a.hash, a.commit_id, a.at, a.actor_kind, a.actor, a.action, \
     a.key_id, a.user_id, p.origin_salt, p.origin, p.salt, p.\"values\"";
const BY_TIME: &str = "(a.at, a.organization_id, a.seq)";
/// With what stands beside the chain.
const AUDIT_TABLES: &str = "{s}audit_events a LEFT JOIN {s}audit_personal p ON p.organization_id = a.organization_id AND \
     p.seq = a.seq";
/// Filters of audit events: organization ?5, key ?7, actor's kind ?8 and id ?9, action ?10, from ?11 to ?12. NULL filters
/// nothing. No index may serve the times (`+`): in a list by number, SQLite would read and sort all events of that time.
const AUDIT_FILTER: &str = "(a.organization_id = ?5 OR ?5 IS NULL) AND (a.key_id = ?7 OR ?7 IS NULL) AND (a.actor_kind = ?8 OR \
     ?8 IS NULL) AND (a.actor = ?9 OR ?9 IS NULL) AND (a.action = ?10 OR ?10 IS NULL) AND +a.at >= ?11 AND +a.at <= ?12";

statements! {
    AuditStatements {}
    audit_head, set_audit_head, insert_audit_event, insert_audit_personal, audit_events, audit_events_of_organization,
    audit_events_of_commit, audit_events_of_key, audit_events_of_actor, audit_events_of_action, audit_events_of_time,
    audit_events_by_time, last_of_events_of_key, last_of_events_of_actor, last_of_events_by_time, audit_rows, first_audited, audit_chains, audit_hash, pruned_seq, set_pruned, prune_personal, prune_events,
    count_refusals, insert_refusal, prune_refusal_counts, prune_refusals, refusal_counts, refusal_counts_of, refusals,
    refusals_of,
    forget_origins, forget_everyone, forget_everyone_in_refusals, forget_actor, forget_user, forget_address, forget_user_in_refusals, forget_address_in_refusals,
    commit_exists,
    insert_waiting, waiting, delete_waiting,
}

impl AuditStatements {
    pub(super) fn new(dialect: &Dialect) -> Self {
        let render = |text: &str| dialect.render(text);
        let audit = |range: &str, order: &str| {
            let text =
                format!("SELECT {AUDIT} FROM {AUDIT_TABLES} WHERE {range} AND {AUDIT_FILTER} ORDER BY {order} {PAGE}");
            render(&text)
        };
        // After organization ?3 and number ?4.
        let audit_by_number = |range: &str| audit(range, "a.organization_id, a.seq");
        // After time ?13, organization ?3 and number ?4, up to time ?12, organization ?14 and number ?15. ?11 is not before the
        // first of these times.
        let between = |range: &str| {
            format!(
                "{range} AND a.at >= ?11 AND a.at <= ?12 AND {BY_TIME} > (?13, ?3, ?4) AND {BY_TIME} <= (?12, ?14, ?15)"
            )
        };
        let audit_by_time = |range: &str| audit(&between(range), "a.at, a.organization_id, a.seq");
        let last_by_time = |range: &str| {
            render(&format!(
                "SELECT a.at, a.organization_id, a.seq FROM {{s}}audit_events a WHERE {} \
                 ORDER BY a.at, a.organization_id, a.seq {PAGE}",
                between(range)
            ))
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
        Self {
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
            last_of_events_of_key: last_by_time("a.key_id = ?7"),
            last_of_events_of_actor: last_by_time("a.organization_id = ?5 AND a.actor = ?9"),
            last_of_events_by_time: last_by_time("TRUE"),
            audit_rows: render(&format!(
                "SELECT {AUDIT} FROM {AUDIT_TABLES} WHERE a.organization_id = ?2 AND a.seq > ?3 ORDER BY a.seq LIMIT ?1"
            )),
            first_audited: render(
                "SELECT organization_id FROM {s}audit_events WHERE organization_id >= ?1 AND {is_id} \
                 ORDER BY organization_id LIMIT 1",
            ),
            // A row may be there for its lock alone: a chain without events is none. Not EXISTS, for which PostgreSQL may read all events.
            audit_chains: render(
                "SELECT organization_id, audit_seq, audit_hash, pruned_seq, pruned_hash FROM {s}organization_state c \
                 WHERE organization_id >= ?2 AND {is_id} AND (audit_seq <> 0 OR pruned_seq <> 0 \
                 OR (SELECT e.seq FROM {s}audit_events e WHERE e.organization_id = c.organization_id LIMIT 1) IS NOT NULL) \
                 ORDER BY organization_id LIMIT ?1",
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
                 ON CONFLICT (hour, organization_id, kind) DO UPDATE SET n = CASE WHEN c.n > 9223372036854775807 - excluded.n \
                 THEN 9223372036854775807 ELSE c.n + excluded.n END",
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
            // Of organization ?1, or of those from ?2 to ?3.
            forget_everyone: render(
                "DELETE FROM {s}audit_personal WHERE organization_id >= coalesce(?1{id}, ?2{id}) AND organization_id <= coalesce(?1{id}, ?3{id})",
            ),
            forget_everyone_in_refusals: render(
                "UPDATE {s}refusals SET address = NULL WHERE address > '' AND (organization_id = ?1 OR ?1 IS NULL)",
            ),
            forget_actor: forget("actor"),
            forget_user: forget("user_id"),
            forget_address: forget("address"),
            // Few rows have an address, and for a bounded time. Not EXISTS, as above.
            forget_user_in_refusals: render(
                "UPDATE {s}refusals SET address = NULL WHERE address > '' AND (organization_id = ?1 OR ?1 IS NULL) AND (\
                 (SELECT k.id FROM {s}keys k WHERE k.id = {s}refusals.key_id AND k.user_id = ?2) IS NOT NULL OR \
                 (SELECT a.seq FROM {s}audit_events a WHERE a.key_id = {s}refusals.key_id AND a.user_id = ?2 LIMIT 1) IS NOT NULL)",
            ),
            forget_address_in_refusals: render(
                "UPDATE {s}refusals SET address = NULL WHERE address = ?2 AND (organization_id = ?1 OR ?1 IS NULL)",
            ),
            insert_waiting: render("INSERT INTO {s}audit_waiting (event) VALUES (?1)"),
            waiting: render("SELECT n, event FROM {s}audit_waiting WHERE n > 0 ORDER BY n LIMIT ?1"),
            delete_waiting: render("DELETE FROM {s}audit_waiting WHERE n > 0 AND n <= ?1"),
            commit_exists: render("SELECT 1 FROM {s}audit_events WHERE commit_id = ?1 LIMIT 1"),
        }
    }
}
