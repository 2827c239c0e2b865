//! Committed events as log lines.

use crate::audit::{AuditEntry, AuditEvent};

/// Writes committed events to `tracing`, one line each: target `tower_api_key::audit::change`, level INFO, with the fields
/// `organization`, `seq`, `at`, `actor`, `action`, `key`, `user`, `reason` and `commit`. Personal fields are not written, and no
/// event holds a secret.
///
/// [`MemoryStore`](crate::store::MemoryStore) and `SqliteStore` do this after each commit; stores of your own should.
pub fn emit<'e>(entries: impl IntoIterator<Item = &'e AuditEntry>) {
    for entry in entries {
        write(&entry.event, entry);
    }
}

fn write(event: &AuditEvent, entry: &AuditEntry) {
    tracing::info!(
        target: "tower_api_key::audit::change",
        organization = %event.organization_id,
        seq = entry.seq,
        at = event.at.as_millis(),
        actor = %event.actor,
        action = event.action.as_str(),
        key = event.key_id.map(tracing::field::display),
        user = event.user.as_ref().map(|user| user.as_str()),
        reason = event.detail_of("reason"),
        commit = %entry.commit,
    );
}
