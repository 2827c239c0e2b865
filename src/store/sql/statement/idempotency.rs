//! Statements of what was made for idempotency keys.

use super::super::dialect::Dialect;
use super::statements;
use super::text::numbers;
use crate::key::IdempotencyRecord;

const IDEMPOTENCY: &str = "organization_id, actor, key, request_hash, key_id, created_at, expires_at";

statements! {
    IdempotencyStatements {}
    one, insert, delete_oldest, delete_over, delete_of_organization, forget,
}

impl IdempotencyStatements {
    pub(super) fn new(dialect: &Dialect) -> Self {
        let render = |text: &str| dialect.render(text);
        let last = IdempotencyRecord::MOST.saturating_sub(1);
        Self {
            one: render(&format!(
                "SELECT {IDEMPOTENCY} FROM {{s}}idempotency WHERE organization_id = ?1 AND actor = ?2 AND key = ?3"
            )),
            // No row is changed if the one that is there is not over.
            insert: render(&format!(
                "INSERT INTO {{s}}idempotency AS i ({IDEMPOTENCY}) VALUES ({}) ON CONFLICT (organization_id, actor, key) \
                 DO UPDATE SET request_hash = excluded.request_hash, key_id = excluded.key_id, \
                 created_at = excluded.created_at, expires_at = excluded.expires_at WHERE i.expires_at <= excluded.created_at",
                numbers(IDEMPOTENCY)
            )),
            // By id, which no clock that was set back makes older. An organization with few rows reads no more than these.
            delete_oldest: render(&format!(
                "DELETE FROM {{s}}idempotency WHERE organization_id = ?1 AND key_id < (SELECT n.key_id FROM {{s}}idempotency n \
                 WHERE n.organization_id = ?1 ORDER BY n.key_id DESC LIMIT 1 OFFSET {last})"
            )),
            delete_over: render("DELETE FROM {s}idempotency WHERE expires_at <= ?1"),
            // Of organization ?1, or of those from ?2 to ?3; of the caller ?4, or of all.
            forget: render(
                "DELETE FROM {s}idempotency WHERE organization_id >= coalesce(?1{id}, ?2{id}) \
                 AND organization_id <= coalesce(?1{id}, ?3{id}) AND actor = coalesce(?4, actor)",
            ),
            delete_of_organization: render("DELETE FROM {s}idempotency WHERE organization_id = ?1"),
        }
    }
}
