//! Events as stores keep them.

use uuid::Uuid;

use crate::audit::{CommitId, PersonalRow};
use crate::key::{OrganizationId, Timestamp};

/// An audit event as a store keeps it: the payload that was hashed, and columns that repeat parts of it, to be searched.
///
/// Everything is as it was stored, whatever it is, so that verification can say what is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditRow {
    /// Whose event it is.
    pub organization_id: OrganizationId,
    /// Its number in the chain.
    pub seq: u64,
    /// The commit that it was part of.
    pub commit: CommitId,
    /// When it happened.
    pub at: Timestamp,
    /// What kind of actor did it.
    pub actor_kind: String,
    /// The actor's id.
    pub actor: String,
    /// What was done.
    pub action: String,
    /// The key it was done to.
    pub key_id: Option<Uuid>,
    /// The user that the key acts for.
    pub user: Option<String>,
    /// The text that was hashed.
    pub payload: String,
    /// The hash of this entry and all before.
    pub hash: Vec<u8>,
    /// What stands beside it of persons; `None` if there was nothing or it was forgotten.
    pub personal: Option<PersonalRow>,
}

impl AuditRow {
    /// A row without columns, for stores to fill in.
    pub fn new(organization_id: OrganizationId, seq: u64, payload: String, hash: Vec<u8>) -> Self {
        Self {
            organization_id,
            seq,
            commit: CommitId::from(Uuid::nil()),
            at: Timestamp::from_millis(0),
            actor_kind: String::new(),
            actor: String::new(),
            action: String::new(),
            key_id: None,
            user: None,
            payload,
            hash,
            personal: None,
        }
    }
}
