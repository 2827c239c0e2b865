//! What must hold for a commit to be made.

use crate::key::{KeyId, Lookup, OrganizationId, PlanId, ScopeSet, Timestamp, UserId};
use crate::store::StoreErrorKind;

/// What must hold when a commit is made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Guard {
    /// The key has this revision; [`Conflict`](StoreErrorKind::Conflict) otherwise.
    KeyRevision(KeyId, u64),
    /// The organization has this revision; [`Conflict`](StoreErrorKind::Conflict) otherwise.
    OrganizationRevision(OrganizationId, u64),
    /// The plan has this revision; [`Conflict`](StoreErrorKind::Conflict) otherwise.
    PlanRevision(PlanId, u64),
    /// The user has a row of this revision; [`Conflict`](StoreErrorKind::Conflict) otherwise.
    UserRevision(OrganizationId, UserId, u64),
    /// The role has this revision; [`Conflict`](StoreErrorKind::Conflict) otherwise.
    RoleRevision(String, u64),
    /// The role allows exactly these scopes; [`Conflict`](StoreErrorKind::Conflict) otherwise, also if there is no such role.
    RoleScopes(String, ScopeSet),
    /// The realm knows fewer scopes than this; [`LimitReached`](StoreErrorKind::LimitReached) otherwise.
    KnownScopesBelow(u32),
    /// The organization has fewer keys than this that are not revoked; [`LimitReached`](StoreErrorKind::LimitReached)
    /// otherwise.
    LiveKeysBelow(OrganizationId, u32),
    /// The user is not disabled: it has no row, or an active one; [`Conflict`](StoreErrorKind::Conflict) otherwise.
    UserIsActive(OrganizationId, UserId),
    /// After the writes a key lives that [administers](crate::store::Candidate::administers) the realm and is not one of these;
    /// [`LastOperatorKey`](StoreErrorKind::LastOperatorKey) otherwise. Checked behind the writes, unlike the other guards: of two
    /// commits at once that each take one of the last two such keys, the second fails.
    OperatorKeyLives {
        /// Keys that do not count, because the commit takes something from them.
        beside: Vec<KeyId>,
        /// The time at which it must work.
        at: Timestamp,
    },
    /// The key has this secret, and it has these ends; [`Conflict`](StoreErrorKind::Conflict) otherwise. A change of a secret by
    /// hand raises no revision, and must not be undone by one that was prepared before it.
    SecretEnds {
        /// The key.
        key: KeyId,
        /// Which of its secrets.
        lookup: Lookup,
        /// The secret's own end.
        expires_at: Option<Timestamp>,
        /// The end of its grace period.
        grace_ends_at: Option<Timestamp>,
    },
}

impl Guard {
    /// What a store answers when the guard does not hold.
    pub fn failure(&self) -> StoreErrorKind {
        match self {
            Self::KeyRevision(..) | Self::PlanRevision(..) | Self::OrganizationRevision(..) => StoreErrorKind::Conflict,
            Self::LiveKeysBelow(..) | Self::KnownScopesBelow(_) => StoreErrorKind::LimitReached,
            Self::UserRevision(..) | Self::RoleRevision(..) | Self::RoleScopes(..) => StoreErrorKind::Conflict,
            Self::UserIsActive(..) | Self::SecretEnds { .. } => StoreErrorKind::Conflict,
            Self::OperatorKeyLives { .. } => StoreErrorKind::LastOperatorKey,
        }
    }

    /// Whether the guard is checked behind the writes, and not before the first one.
    pub fn is_of_outcome(&self) -> bool {
        matches!(self, Self::OperatorKeyLives { .. })
    }
}
