//! How far a key is in its life, computed when it is read.

use crate::key::{KeyRecord, KeyStatus, Timestamp};

/// How far a key is in its life at a time. `Expired` is not stored: it is computed when the key is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyLife {
    /// It works, as far as its record says. Its organization, its user or a policy may keep it from working.
    Active,
    /// It does not work until it is enabled again.
    Disabled,
    /// It never works again.
    Revoked,
    /// It is neither disabled nor revoked, and its own end is over.
    Expired,
}

impl KeyRecord {
    /// How far the key is in its life at this time.
    ///
    /// ```
    /// use tower_api_key::key::{KeyRecord, KeyLife, OrganizationId, Timestamp};
    ///
    /// let at = Timestamp::from_millis;
    /// let mut record = KeyRecord::new(OrganizationId::new(), "nightly export", at(0));
    /// record.expires_at = Some(at(1_000));
    /// assert_eq!(record.life(at(999)), KeyLife::Active);
    /// assert_eq!(record.life(at(1_000)), KeyLife::Expired);
    /// ```
    pub fn life(&self, at: Timestamp) -> KeyLife {
        match self.status {
            KeyStatus::Disabled => KeyLife::Disabled,
            KeyStatus::Revoked => KeyLife::Revoked,
            KeyStatus::Active => match self.expires_at {
                Some(end) if end <= at => KeyLife::Expired,
                _ => KeyLife::Active,
            },
        }
    }
}
