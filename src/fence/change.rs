//! A committed change, as it is announced.

use crate::key::Subject;

/// A committed change: the key or organization, and the revision it has now.
///
/// ```
/// use tower_api_key::Fence;
/// use tower_api_key::key::KeyId;
/// use tower_api_key::store::Change;
///
/// let fence = Fence::new();
/// fence.announce(&[Change::new(KeyId::new(), 2)]);
/// assert_eq!(fence.changes(), 1);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    subject: Subject,
    revision: u64,
}

impl Change {
    /// The subject has this revision now. After a deletion: one more than the row had.
    pub fn new(subject: impl Into<Subject>, revision: u64) -> Self {
        Self {
            subject: subject.into(),
            revision,
        }
    }

    /// What changed.
    pub fn subject(&self) -> Subject {
        self.subject
    }

    /// The revision after the change.
    pub fn revision(&self) -> u64 {
        self.revision
    }
}
