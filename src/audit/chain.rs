//! How events are linked: each one's hash covers the one before.

use crate::audit::{AuditEntry, AuditEvent, AuditKey, CommitId, canonical, key};
use crate::key::OrganizationId;

/// Set apart from every other use of the hash.
const DOMAIN: &[u8] = b"ak-audit-1";

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
/// let first = head.link(event.clone(), CommitId::new(), None);
/// let second = head.link(event, CommitId::new(), None);
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
    /// Appends an event to the chain, under the key of its commit: [`Commit::audit_key`](crate::store::Commit::audit_key).
    pub fn link(&mut self, event: AuditEvent, commit: CommitId, key: Option<&AuditKey>) -> AuditEntry {
        let seq = self.seq.saturating_add(1);
        let payload = canonical::write(&event, commit, key.map_or("", AuditKey::id));
        let hash = self.next(&payload, key);
        *self = Self { seq, hash };
        AuditEntry {
            seq,
            commit,
            event,
            hash,
            payload: payload.into(),
        }
    }

    /// The hash of the entry after this one, with this payload.
    pub(super) fn next(&self, payload: &str, key: Option<&AuditKey>) -> [u8; 32] {
        let seq = self.seq.saturating_add(1).to_be_bytes();
        key::hash(key, [DOMAIN, &self.hash, &seq, payload.as_bytes()])
    }
}

/// Both ends of what is kept of an organization's chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditChain {
    /// Whose chain it is; the nil id is the system's.
    pub organization_id: OrganizationId,
    /// Its end.
    pub head: AuditHead,
    /// The last event that retention deleted; the default if it deleted none.
    pub pruned: AuditHead,
    /// Whether what the store has of these ends cannot be read. They are the defaults then, and say nothing.
    pub is_damaged: bool,
}

impl AuditChain {
    /// A chain with these ends.
    pub fn new(organization_id: OrganizationId, head: AuditHead, pruned: AuditHead) -> Self {
        Self {
            organization_id,
            head,
            pruned,
            is_damaged: false,
        }
    }

    /// A chain whose ends cannot be read.
    pub fn damaged(organization_id: OrganizationId) -> Self {
        Self {
            is_damaged: true,
            ..Self::new(organization_id, AuditHead::default(), AuditHead::default())
        }
    }
}

#[cfg(test)]
mod tests {
    use hmac::{Hmac, KeyInit, Mac};
    use sha2::{Digest, Sha256};
    use uuid::Uuid;

    use super::*;
    use crate::audit::{AuditAction, AuditRow};
    use crate::key::{Actor, Timestamp};

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
            head.link(event(first), commit, None);
            head.link(event("second"), commit, None).hash
        };
        assert_ne!(chain("first"), chain("other"));
        assert_eq!(chain("first"), chain("first"));
    }

    #[test]
    fn hash_is_that_of_the_documented_bytes() {
        let commit = CommitId::from(Uuid::nil());
        for key in [None, Some(AuditKey::new("0", &[7; 32]).unwrap())] {
            let entry = AuditHead::default().link(event("first"), commit, key.as_ref());
            let mut bytes = b"ak-audit-1".to_vec();
            bytes.extend([0; 32]);
            bytes.extend(1_u64.to_be_bytes());
            bytes.extend(entry.payload().as_bytes());
            let expected: [u8; 32] = match key {
                None => Sha256::digest(bytes).into(),
                Some(_) => Hmac::<Sha256>::new_from_slice(&[7; 32])
                    .unwrap()
                    .chain_update(bytes)
                    .finalize()
                    .into_bytes()
                    .into(),
            };
            assert_eq!(entry.hash, expected);
            assert_eq!(AuditEntry::from_stored(&AuditRow::from(&entry)), Some(entry));
        }
    }
}
