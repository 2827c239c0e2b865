//! How events are linked: each one's hash covers the one before.

use sha2::{Digest, Sha256};

use crate::audit::{AuditEvent, CommitId, canonical};

/// Set apart from every other use of the hash.
const DOMAIN: &[u8] = b"ak-audit-1";

/// An event as a store keeps it, linked to the one before.
///
/// The chain: `hash = SHA-256("ak-audit-1" || previous hash || number, 8 bytes big-endian || payload)`. There is one for
/// each organization, and one for the system.
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
}

impl AuditEntry {
    /// The text that was hashed, to be stored as it is.
    pub fn payload(&self) -> String {
        canonical::write(&self.event, self.commit)
    }

    /// An entry as it was stored. `None` when the payload is not one.
    pub fn from_stored(seq: u64, payload: &str, hash: [u8; 32]) -> Option<Self> {
        let (event, commit) = canonical::read(payload)?;
        Some(Self {
            seq,
            commit,
            event,
            hash,
        })
    }
}

/// The end of a chain: number and hash of its last event. The default is the end of an empty chain.
///
/// Stores keep one for each organization and [link](Self::link) new events to it.
///
/// ```
/// use tower_api_key::audit::{AuditAction, AuditEvent, AuditHead, CommitId};
/// use tower_api_key::key::{Actor, OrganizationId, Timestamp};
///
/// let (acme, now) = (OrganizationId::new(), Timestamp::from_millis(0));
/// let event = AuditEvent::new(acme, now, Actor::system(), AuditAction::ORGANIZATION_CREATED);
///
/// let mut head = AuditHead::default();
/// let first = head.link(event.clone(), CommitId::new());
/// let second = head.link(event, CommitId::new());
/// assert_eq!((first.seq, second.seq, head.hash), (1, 2, second.hash));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuditHead {
    /// The number of the last event; 0 in an empty chain.
    pub seq: u64,
    /// The hash of the last event; zeros in an empty chain.
    pub hash: [u8; 32],
}

impl AuditHead {
    /// Appends an event to the chain.
    pub fn link(&mut self, event: AuditEvent, commit: CommitId) -> AuditEntry {
        let seq = self.seq.saturating_add(1);
        let payload = canonical::write(&event, commit);
        let hash = Sha256::new()
            .chain_update(DOMAIN)
            .chain_update(self.hash)
            .chain_update(seq.to_be_bytes())
            .chain_update(payload)
            .finalize()
            .into();
        *self = Self { seq, hash };
        AuditEntry {
            seq,
            commit,
            event,
            hash,
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::audit::AuditAction;
    use crate::key::{Actor, OrganizationId, Timestamp};

    fn event(action: &str) -> AuditEvent {
        let at = Timestamp::from_millis(0);
        AuditEvent::new(
            OrganizationId::from(Uuid::nil()),
            at,
            Actor::system(),
            AuditAction::new(action),
        )
    }

    #[test]
    fn hash_covers_all_events_before() {
        let commit = CommitId::from(Uuid::nil());
        let chain = |first: &str| {
            let mut head = AuditHead::default();
            head.link(event(first), commit);
            head.link(event("second"), commit).hash
        };
        assert_ne!(chain("first"), chain("other"));
        assert_eq!(chain("first"), chain("first"));
    }

    #[test]
    fn hash_is_that_of_the_documented_bytes() {
        let commit = CommitId::from(Uuid::nil());
        let entry = AuditHead::default().link(event("first"), commit);
        let mut bytes = b"ak-audit-1".to_vec();
        bytes.extend([0; 32]);
        bytes.extend(1_u64.to_be_bytes());
        bytes.extend(entry.payload().into_bytes());
        assert_eq!(entry.hash, <[u8; 32]>::from(Sha256::digest(bytes)));
        let stored = AuditEntry::from_stored(1, &entry.payload(), entry.hash);
        assert_eq!(stored, Some(entry));
    }
}
