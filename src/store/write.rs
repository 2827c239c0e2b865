//! What a commit writes: one kind of write for each kind of change of a row.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::audit::{Forget, RefusalCount, RefusalSample};
use crate::key::{
    IdempotencyRecord, KeyId, KeyRecord, KeySecret, KnownScope, Lookup, Organization, OrganizationId, Plan, PlanId,
    Realm, Role, Scope, SecretHash, SecretPurpose, ServerSecretRecord, StateChange, Subject, Timestamp, User, UserId,
};
use crate::last_use::UseBatch;

/// One row, inserted, updated or deleted.
///
/// | kind of write | when it fails |
/// |---|---|
/// | insert | [`AlreadyExists`](crate::store::StoreErrorKind::AlreadyExists) if the id, slug, e-mail address, name or lookup is taken, [`NotFound`](crate::store::StoreErrorKind::NotFound) if the owner or the plan does not exist |
/// | update | [`Conflict`](crate::store::StoreErrorKind::Conflict) if the stored revision is another, `NotFound` if there is no such row or plan, `AlreadyExists` if another row has the slug, address or name |
/// | delete | `NotFound` if there is no such row, `Conflict` if others need it |
///
/// A write of a secret changes its key, so the same commit inserts, updates or deletes that key too; otherwise the commit
/// is [`InvalidCommit`](crate::store::StoreErrorKind::InvalidCommit).
#[derive(Clone, Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "records are the usual case, and a box would be in every caller's way"
)]
#[non_exhaustive]
pub enum Write {
    /// Adds an organization with the revision it carries.
    InsertOrganization(Organization),
    /// Replaces an organization's row if its revision is still the given one, and raises the revision by one.
    UpdateOrganization(Organization),
    /// Deletes an organization with its idempotency keys; [`Conflict`](crate::store::StoreErrorKind::Conflict) while it has keys or
    /// users.
    DeleteOrganization(OrganizationId),
    /// Adds a key without secrets, with the revision it carries. One that was deleted comes back with at least the revision of
    /// its deletion: with a lower one, requests with it are answered with 503 until the process ends.
    InsertKey(KeyRecord),
    /// Replaces a key's record if its revision is still the given one, and raises the revision by one. Its secrets stay
    /// as they are. A key of another organization is `NotFound`, since a key never changes its owner.
    UpdateKey(KeyRecord),
    /// Sets whether a key works, if it is still in the state that was read, and raises its revision by one;
    /// [`Conflict`](crate::store::StoreErrorKind::Conflict) otherwise, [`NotFound`](crate::store::StoreErrorKind::NotFound) if
    /// there is no such key. The rest of the record stays as it is, whatever became of it meanwhile: somebody who renames a key all
    /// the time must not keep it alive by that.
    SetKeyState(StateChange),
    /// Deletes a key and its secrets.
    DeleteKey(KeyId),
    /// Adds a secret to a key, after those it has.
    InsertSecret(KeyId, KeySecret),
    /// Sets both ends of one of the key's secrets.
    UpdateSecret {
        /// The key.
        key: KeyId,
        /// Which of its secrets.
        lookup: Lookup,
        /// The secret's own end.
        expires_at: Option<Timestamp>,
        /// The end of its grace period.
        grace_ends_at: Option<Timestamp>,
    },
    /// Deletes one of the key's secrets.
    DeleteSecret {
        /// The key.
        key: KeyId,
        /// Which of its secrets.
        lookup: Lookup,
    },
    /// Replaces a secret's hash if it is still the old one; [`Conflict`](crate::store::StoreErrorKind::Conflict) otherwise, also if
    /// there is no such secret.
    ///
    /// The new hash is of the same key, so no decision depends on it: nothing is announced, and no revision is raised.
    ReplaceHash {
        /// Which secret.
        lookup: Lookup,
        /// The hash it must have.
        old: SecretHash,
        /// The hash it gets.
        new: SecretHash,
    },
    /// Sets until when the realm accepts keys with a CRC-32 checksum, if that and its id are still what was read;
    /// [`Conflict`](crate::store::StoreErrorKind::Conflict) otherwise.
    ///
    /// A change of the realm or of its secrets is one of [`Subject::Realm`]: every cached answer is read again.
    UpdateRealm {
        /// The realm that was read.
        was: Realm,
        /// The row it gets.
        row: Realm,
    },
    /// Gives a copy of a database an identity of its own, if it still has the one that was read;
    /// [`Conflict`](crate::store::StoreErrorKind::Conflict) otherwise. The secrets that stay are sealed anew in the same commit.
    AdoptRealm {
        /// The realm that was read.
        was: Realm,
        /// The same with another id.
        row: Realm,
    },
    /// Adds a secret of the servers. Of several servers that add the first one, one succeeds; the others read it back.
    InsertServerSecret(ServerSecretRecord),
    /// Replaces a secret of the servers if it is still the row that was read, in all its columns;
    /// [`Conflict`](crate::store::StoreErrorKind::Conflict) otherwise. One whose seal was changed in between would lose its new
    /// seal.
    UpdateServerSecret {
        /// The row that was read.
        was: ServerSecretRecord,
        /// The row it gets, of the same purpose, id and number.
        row: ServerSecretRecord,
    },
    /// Deletes a secret of the servers.
    DeleteServerSecret {
        /// What it is for.
        purpose: SecretPurpose,
        /// Which one of this purpose.
        id: String,
        /// Which one of this id.
        number: u8,
    },
    /// Adds a plan with the revision it carries.
    InsertPlan(Plan),
    /// Replaces a plan if its revision is still the given one, and raises the revision by one. Every cached answer is read
    /// again.
    UpdatePlan(Plan),
    /// Deletes a plan; [`Conflict`](crate::store::StoreErrorKind::Conflict) while an organization has it.
    DeletePlan(PlanId),
    /// Adds a user with the revision it carries. A write of a user is a change of its organization, whose revision stays.
    InsertUser(User),
    /// Replaces a user's row if its revision is still the given one, and raises the revision by one.
    UpdateUser(User),
    /// Deletes a user's row; [`Conflict`](crate::store::StoreErrorKind::Conflict) while it has keys that are not revoked: a user
    /// without a row is active, and the keys of a disabled one would work again.
    DeleteUser(OrganizationId, UserId),
    /// Adds a role with the revision it carries. A write of a role is a change of the realm.
    InsertRole(Role),
    /// Replaces a role if its revision is still the given one, and raises the revision by one.
    UpdateRole(Role),
    /// Deletes a role. Keys that have it lose its scopes.
    DeleteRole(String),
    /// Adds a scope to the catalogue of the realm.
    InsertScope(KnownScope),
    /// Takes a scope out of the catalogue.
    DeleteScope(Scope),
    /// Deletes the rows of the change log that are older than this by the clock of the store, oldest first, at most 65,536. The
    /// last row stays, so that a follower sees that the log continues.
    ///
    /// A process that slept for longer finds rows missing, and reads all its cached keys again.
    PurgeChanges {
        /// [`ChangesAfter::KEPT`](crate::store::query::ChangesAfter::KEPT) as a rule.
        older_than: Duration,
    },
    /// Deletes what the audit trail holds of a person, and the person's address from samples of refusals and from uses of keys, of
    /// a user also the networks of the user's keys and the idempotency keys of the user's requests. The events and their
    /// commitments stay.
    ForgetPersonal(Forget),
    /// Deletes the addresses and user agents of events from before this time, and the addresses of keys that were last used
    /// before it.
    ForgetOrigins {
        /// The first time of which they are kept.
        before: Timestamp,
    },
    /// Deletes an organization's events from the first one up to this number, and keeps the last one's number and hash, so that the
    /// rest still verifies. [`Conflict`](crate::store::StoreErrorKind::Conflict) if they are deleted already, `NotFound` if there
    /// is no event of this number.
    PruneAudit {
        /// Whose chain it is.
        organization: OrganizationId,
        /// The last event to be deleted.
        through: u64,
    },
    /// Adds refusals to the count of their hour, organization and kind.
    CountRefusals(RefusalCount),
    /// Adds a sample of a refusal.
    InsertRefusal(RefusalSample),
    /// Deletes counts and samples of refusals from before this time.
    PruneRefusals {
        /// The first time that is kept.
        before: Timestamp,
    },
    /// Adds uses of keys: requests are added up, last uses only grow, and first ones stay. What is of a secret that is gone is
    /// left out, as is what a key has no room for. A batch that was stored before changes nothing.
    ///
    /// No decision depends on it: nothing is announced, and no revision is raised.
    AddUses(Arc<UseBatch>),
    /// Deletes what is known of the batches of sources that stored none since this time.
    PruneUseSources {
        /// The first time that is kept.
        before: Timestamp,
    },
    /// Adds what was made for an idempotency key, in the commit that inserts the key. It replaces a row that is
    /// [over](IdempotencyRecord::is_over) by then; otherwise it is [`AlreadyExists`](crate::store::StoreErrorKind::AlreadyExists).
    /// Of more than [`IdempotencyRecord::MOST`] rows of an organization, those with the lowest ids of keys go. Nothing is
    /// announced.
    InsertIdempotency(IdempotencyRecord),
    /// Deletes what was made for idempotency keys, of rows that are over at this time.
    PruneIdempotency {
        /// Rows that end by then are deleted.
        before: Timestamp,
    },
    /// Takes, prolongs or ends the lease of a task, by the clock of the store; [`Conflict`](crate::store::StoreErrorKind::Conflict)
    /// while another holder has it.
    HoldLease {
        /// The task.
        task: String,
        /// Who takes it.
        holder: Uuid,
        /// For how long from now on, at most [`LONGEST_LEASE`](Write::LONGEST_LEASE); zero ends it.
        lasts: Duration,
    },
}

impl Write {
    /// A lease lasts no longer than this, a week. One in the store that seems to is of a clock that was set back since, and void.
    pub const LONGEST_LEASE: Duration = Duration::from_secs(7 * 24 * 3600);

    /// The key whose secret is written; `None` for writes of other rows, and for a hash, which is found by lookup alone.
    pub fn key(&self) -> Option<KeyId> {
        match self {
            Self::InsertSecret(key, _) | Self::UpdateSecret { key, .. } | Self::DeleteSecret { key, .. } => Some(*key),
            Self::InsertOrganization(_)
            | Self::UpdateOrganization(_)
            | Self::DeleteOrganization(_)
            | Self::InsertKey(_)
            | Self::SetKeyState(_)
            | Self::UpdateKey(_)
            | Self::DeleteKey(_)
            | Self::ReplaceHash { .. }
            | Self::UpdateRealm { .. }
            | Self::InsertServerSecret(_)
            | Self::UpdateServerSecret { .. }
            | Self::DeleteServerSecret { .. }
            | Self::InsertPlan(_)
            | Self::UpdatePlan(_)
            | Self::DeletePlan(_)
            | Self::InsertUser(_)
            | Self::UpdateUser(_)
            | Self::DeleteUser(..)
            | Self::InsertRole(_)
            | Self::UpdateRole(_)
            | Self::DeleteRole(_)
            | Self::InsertScope(_)
            | Self::DeleteScope(_)
            | Self::PurgeChanges { .. }
            | Self::ForgetPersonal(_)
            | Self::ForgetOrigins { .. }
            | Self::PruneAudit { .. }
            | Self::CountRefusals(_)
            | Self::InsertRefusal(_)
            | Self::PruneRefusals { .. }
            | Self::AddUses(_)
            | Self::PruneUseSources { .. }
            | Self::InsertIdempotency(_)
            | Self::PruneIdempotency { .. }
            | Self::HoldLease { .. }
            | Self::AdoptRealm { .. } => None,
        }
    }

    /// Whether a row is written that [`SharedRows`](crate::store::SharedRows) holds: of the realm, of plans, roles, scopes or
    /// users.
    pub fn is_shared(&self) -> bool {
        match self {
            Self::InsertUser(_) | Self::UpdateUser(_) | Self::DeleteUser(..) => true,
            write => matches!(write.subject(), Some(Subject::Realm | Subject::Plan(_))),
        }
    }

    /// Whether something of the audit trail is deleted, or refusals are written.
    pub fn is_of_audit(&self) -> bool {
        matches!(
            self,
            Self::ForgetPersonal(_)
                | Self::ForgetOrigins { .. }
                | Self::PruneAudit { .. }
                | Self::CountRefusals(_)
                | Self::InsertRefusal(_)
                | Self::PruneRefusals { .. }
        )
    }

    /// Whether [`UseRows`](crate::store::UseRows) alone makes this write: of uses of keys, or of a lease. Forgetting is of the
    /// audit trail as well.
    pub fn is_of_use(&self) -> bool {
        matches!(
            self,
            Self::AddUses(_) | Self::PruneUseSources { .. } | Self::HoldLease { .. }
        )
    }

    /// Whether [`IdempotencyRows`](crate::store::IdempotencyRows) makes this write.
    pub fn is_of_idempotency(&self) -> bool {
        matches!(self, Self::InsertIdempotency(_) | Self::PruneIdempotency { .. })
    }

    /// Whether a commit of such writes alone lets others go first: a revoke never waits behind it in the queue.
    #[cfg(feature = "sqlite")]
    pub(super) fn can_wait(&self) -> bool {
        matches!(
            self,
            Self::AddUses(_) | Self::PruneUseSources { .. } | Self::PruneIdempotency { .. }
        )
    }

    pub(super) fn subject(&self) -> Option<Subject> {
        match self {
            Self::InsertOrganization(row) | Self::UpdateOrganization(row) => Some(row.id.into()),
            Self::DeleteOrganization(id) => Some((*id).into()),
            Self::InsertKey(row) | Self::UpdateKey(row) => Some(row.id.into()),
            Self::DeleteKey(id) | Self::SetKeyState(StateChange { key: id, .. }) => Some((*id).into()),
            Self::InsertSecret(..) | Self::UpdateSecret { .. } | Self::DeleteSecret { .. } => None,
            Self::ReplaceHash { .. }
            | Self::PurgeChanges { .. }
            | Self::ForgetPersonal(_)
            | Self::ForgetOrigins { .. }
            | Self::PruneAudit { .. }
            | Self::CountRefusals(_)
            | Self::InsertRefusal(_)
            | Self::PruneRefusals { .. }
            | Self::AddUses(_)
            | Self::PruneUseSources { .. }
            | Self::InsertIdempotency(_)
            | Self::PruneIdempotency { .. }
            | Self::HoldLease { .. } => None,
            Self::InsertUser(row) | Self::UpdateUser(row) => Some(row.organization_id.into()),
            Self::DeleteUser(organization, _) => Some((*organization).into()),
            Self::InsertPlan(row) | Self::UpdatePlan(row) => Some(row.id.into()),
            Self::DeletePlan(id) => Some((*id).into()),
            Self::UpdateRealm { .. }
            | Self::AdoptRealm { .. }
            | Self::InsertServerSecret(_)
            | Self::UpdateServerSecret { .. }
            | Self::DeleteServerSecret { .. }
            | Self::InsertRole(_)
            | Self::UpdateRole(_)
            | Self::DeleteRole(_)
            | Self::InsertScope(_)
            | Self::DeleteScope(_) => Some(Subject::Realm),
        }
    }
}
