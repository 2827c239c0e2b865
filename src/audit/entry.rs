//! Events as they are listed.

use crate::audit::{AuditEvent, AuditRow, CommitId, canonical};

/// An event as it is listed, linked to the one before.
///
/// The chain: `hash = H("ak-audit-1" || previous hash || number, 8 bytes big-endian || payload)`, where H is HMAC-SHA256 under
/// the audit key, or SHA-256 where there is none. There is one chain for each organization, and one for the system.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditEntry {
    /// The event's number in its organization's chain, from 1 without gaps.
    pub seq: u64,
    /// The commit that it was part of.
    pub commit: CommitId,
    /// What happened.
    pub event: AuditEvent,
    /// The hash of this entry and all before.
    pub hash: [u8; 32],
    pub(super) payload: Box<str>,
}

impl AuditEntry {
    /// The text that was hashed, to be stored as it is.
    pub fn payload(&self) -> &str {
        &self.payload
    }

    /// An entry as it was stored. `None` when the payload is not one.
    pub fn from_stored(row: &AuditRow) -> Option<Self> {
        let payload = canonical::read(&row.payload)?;
        Some(Self {
            seq: row.seq,
            commit: payload.commit,
            event: canonical::event(payload, row.personal.as_ref())?,
            hash: row.hash.as_slice().try_into().ok()?,
            payload: row.payload.as_str().into(),
        })
    }
}

impl From<&AuditEntry> for AuditRow {
    fn from(entry: &AuditEntry) -> Self {
        let event = &entry.event;
        Self {
            organization_id: event.organization_id,
            seq: entry.seq,
            commit: entry.commit,
            at: event.at,
            actor_kind: event.actor.kind().as_str().to_owned(),
            actor: event.actor.id().to_owned(),
            action: event.action.as_str().to_owned(),
            key_id: event.key_id.map(|id| id.as_uuid()),
            user: event.user.as_ref().map(|user| user.as_str().to_owned()),
            payload: entry.payload().to_owned(),
            hash: entry.hash.to_vec(),
            personal: event.personal.row(),
        }
    }
}
