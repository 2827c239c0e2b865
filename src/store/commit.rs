//! Commands: what is checked and written in one transaction.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::audit::{AuditEvent, AuditKey, CommitId, Forget, RefusalCount, RefusalSample};
use crate::fence::Change;
use crate::key::{
    KeyId, KeyRecord, KeySecret, KnownScope, Lookup, Organization, OrganizationId, Plan, PlanId, Realm, Role, Scope,
    SecretHash, SecretPurpose, ServerSecretRecord, Subject, Timestamp, User, UserId,
};
use crate::store::{StoreError, StoreErrorKind};

/// Rows of one kind in a commit. Enough for an import in pieces, and a bound on what one transaction holds.
const MOST: usize = 65_536;

/// Changes that are made together or not at all, with the audit events that tell of them.
///
/// In one transaction a store checks the guards, makes the writes in their order, and links the audit events. If a guard
/// or a write fails, nothing is stored.
///
/// A commit with at least one audit event can be found by its id afterwards, so an unknown outcome can be settled. One
/// without events cannot.
///
/// ```
/// use tower_api_key::key::Organization;
/// use tower_api_key::store::{Commit, ManagedStore, MemoryStore, StoreExt, Write};
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let store = MemoryStore::new();
/// let acme = Organization::new("Acme");
/// let commit = Commit::new().write(Write::InsertOrganization(acme.clone()));
/// let committed = store.commit(commit).await?;
/// assert_eq!(committed.revision_of(acme.id), Some(1));
/// assert_eq!(store.get(acme.id).await?, Some(acme));
/// # Ok::<_, tower_api_key::store::StoreError>(())
/// # })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a commit does nothing until a store makes it"]
#[non_exhaustive]
pub struct Commit {
    /// Identifies the commit.
    pub id: CommitId,
    /// What must hold. All guards are checked before the first write.
    pub guards: Vec<Guard>,
    /// What is written, in this order.
    pub writes: Vec<Write>,
    /// What the audit trail says of it, in this order.
    pub audit: Vec<AuditEvent>,
    /// What the events are linked with. [`Issuer::commit`](crate::Issuer::commit) sets it; without one, anyone who can write the
    /// database can make a chain that verifies.
    pub audit_key: Option<AuditKey>,
}

/// What must hold when a commit is made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Guard {
    /// The key has this revision; [`Conflict`](StoreErrorKind::Conflict) otherwise.
    KeyRevision(KeyId, u64),
    /// The organization has this revision; [`Conflict`](StoreErrorKind::Conflict) otherwise.
    OrganizationRevision(OrganizationId, u64),
    /// The organization has fewer keys than this that are not revoked; [`LimitReached`](StoreErrorKind::LimitReached)
    /// otherwise.
    LiveKeysBelow(OrganizationId, u32),
    /// The user is not disabled: it has no row, or an active one; [`Conflict`](StoreErrorKind::Conflict) otherwise.
    UserIsActive(OrganizationId, UserId),
}

/// One row, inserted, updated or deleted.
///
/// | kind of write | when it fails |
/// |---|---|
/// | insert | [`AlreadyExists`](StoreErrorKind::AlreadyExists) if the id, slug, e-mail address, name or lookup is taken, [`NotFound`](StoreErrorKind::NotFound) if the owner or the plan does not exist |
/// | update | [`Conflict`](StoreErrorKind::Conflict) if the stored revision is another, `NotFound` if there is no such row or plan, `AlreadyExists` if another row has the slug, address or name |
/// | delete | `NotFound` if there is no such row, `Conflict` if others need it |
///
/// A write of a secret changes its key, so the same commit inserts, updates or deletes that key too; otherwise the commit
/// is [`InvalidCommit`](StoreErrorKind::InvalidCommit).
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
    /// Deletes an organization; [`Conflict`](StoreErrorKind::Conflict) while it has keys or users.
    DeleteOrganization(OrganizationId),
    /// Adds a key without secrets, with the revision it carries. One that was deleted comes back with at least the revision of
    /// its deletion: with a lower one, requests with it are answered with 503 until the process ends.
    InsertKey(KeyRecord),
    /// Replaces a key's record if its revision is still the given one, and raises the revision by one. Its secrets stay
    /// as they are. A key of another organization is `NotFound`, since a key never changes its owner.
    UpdateKey(KeyRecord),
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
    /// Replaces a secret's hash if it is still the old one; [`Conflict`](StoreErrorKind::Conflict) otherwise, also if
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
    /// [`Conflict`](StoreErrorKind::Conflict) otherwise.
    ///
    /// A change of the realm or of its secrets is one of [`Subject::Realm`]: every cached answer is read again.
    UpdateRealm {
        /// The realm that was read.
        was: Realm,
        /// The row it gets.
        row: Realm,
    },
    /// Adds a secret of the servers. Of several servers that add the first one, one succeeds; the others read it back.
    InsertServerSecret(ServerSecretRecord),
    /// Replaces a secret of the servers if it is still the row that was read, in all its columns;
    /// [`Conflict`](StoreErrorKind::Conflict) otherwise. One whose seal was changed in between would lose its new seal.
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
    /// Deletes a plan; [`Conflict`](StoreErrorKind::Conflict) while an organization has it.
    DeletePlan(PlanId),
    /// Adds a user with the revision it carries. A write of a user is a change of its organization, whose revision stays.
    InsertUser(User),
    /// Replaces a user's row if its revision is still the given one, and raises the revision by one.
    UpdateUser(User),
    /// Deletes a user's row; [`Conflict`](StoreErrorKind::Conflict) while it has keys that are not revoked: a user without a
    /// row is active, and the keys of a disabled one would work again.
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
    /// last row stays, so that whoever follows the log sees that it goes on.
    ///
    /// A process that slept for longer finds rows missing, and reads all its cached keys again.
    PurgeChanges {
        /// [`ChangesAfter::KEPT`](crate::store::query::ChangesAfter::KEPT) as a rule.
        older_than: Duration,
    },
    /// Deletes what the audit trail holds of a person, and the person's address from samples of refusals. The events and their
    /// commitments stay.
    ForgetPersonal(Forget),
    /// Deletes the addresses and user agents of events from before this time.
    ForgetOrigins {
        /// The first time of which they are kept.
        before: Timestamp,
    },
    /// Deletes an organization's events from the first one up to this number, and keeps the last one's number and hash, so that
    /// the rest still verifies. [`Conflict`](StoreErrorKind::Conflict) if they are deleted already, `NotFound` if there is no
    /// event of this number.
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
}

impl Commit {
    /// An empty commit with a new id.
    #[allow(clippy::new_without_default, reason = "each has an id of its own")]
    pub fn new() -> Self {
        Self {
            id: CommitId::new(),
            guards: Vec::new(),
            writes: Vec::new(),
            audit: Vec::new(),
            audit_key: None,
        }
    }

    /// One more guard.
    pub fn guard(mut self, guard: Guard) -> Self {
        self.guards.push(guard);
        self
    }

    /// One more write.
    pub fn write(mut self, write: Write) -> Self {
        self.writes.push(write);
        self
    }

    /// One more audit event.
    pub fn audit(mut self, event: AuditEvent) -> Self {
        self.audit.push(event);
        self
    }

    /// Whether the commit is one that a store can make. Stores call this first.
    ///
    /// # Errors
    /// [`InvalidCommit`](StoreErrorKind::InvalidCommit) when a secret is written without its key, a key or an organization is
    /// inserted with the nil id, a secret of the servers is out of its bounds or would get another place, or there are more than
    /// 65,536 guards, writes or events.
    pub fn check(&self) -> Result<(), StoreError> {
        let invalid = |problem| Err(StoreError::with_source(StoreErrorKind::InvalidCommit, problem));
        if [self.guards.len(), self.writes.len(), self.audit.len()]
            .iter()
            .any(|length| *length > MOST)
        {
            return invalid("a commit has at most 65536 guards, writes and audit events each");
        }
        let is_nil = |write: &Write| match write {
            Write::InsertOrganization(row) => row.id.as_uuid().is_nil(),
            Write::InsertKey(row) => row.id.as_uuid().is_nil(),
            Write::InsertPlan(row) => row.id.as_uuid().is_nil(),
            _ => false,
        };
        if self.writes.iter().any(is_nil) {
            return invalid("the nil id is the system's; give keys and organizations another one");
        }
        let is_out_of_bounds = |write: &Write| match write {
            Write::InsertServerSecret(row) | Write::UpdateServerSecret { row, .. } => !is_within_bounds(row),
            _ => false,
        };
        if self.writes.iter().any(is_out_of_bounds) {
            return invalid(
                "a secret of the servers has a purpose of 1 to 128 bytes, an id of 1 to 64, and a value of 1 to 4096",
            );
        }
        let moves = |write: &Write| match write {
            Write::UpdateServerSecret { was, row } => was.place() != row.place(),
            _ => false,
        };
        if self.writes.iter().any(moves) {
            return invalid("an update of a secret of the servers keeps its purpose, id and number");
        }
        let subjects: BTreeSet<Subject> = self.subjects().into_iter().collect();
        let alone = |write: &Write| write.key().is_some_and(|key| !subjects.contains(&Subject::Key(key)));
        if self.writes.iter().any(alone) {
            return invalid("a secret is written without its key; insert, update or delete the key in the same commit");
        }
        Ok(())
    }

    /// What the commit changes, in the order of its writes.
    pub fn subjects(&self) -> Vec<Subject> {
        self.writes.iter().filter_map(Write::subject).collect()
    }
}

fn is_within_bounds(row: &ServerSecretRecord) -> bool {
    let lengths = [
        (row.purpose.as_str().len(), 128),
        (row.id.len(), 64),
        (row.value.expose_secret().len(), 4096),
    ];
    lengths.iter().all(|(length, most)| (1..=*most).contains(length))
}

impl Guard {
    /// What a store answers when the guard does not hold.
    pub fn failure(&self) -> StoreErrorKind {
        match self {
            Self::KeyRevision(..) | Self::OrganizationRevision(..) => StoreErrorKind::Conflict,
            Self::LiveKeysBelow(..) => StoreErrorKind::LimitReached,
            Self::UserIsActive(..) => StoreErrorKind::Conflict,
        }
    }
}

impl Write {
    /// The key whose secret is written; `None` for writes of other rows, and for a hash, which is found by lookup alone.
    pub fn key(&self) -> Option<KeyId> {
        match self {
            Self::InsertSecret(key, _) | Self::UpdateSecret { key, .. } | Self::DeleteSecret { key, .. } => Some(*key),
            _ => None,
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

    fn subject(&self) -> Option<Subject> {
        match self {
            Self::InsertOrganization(row) | Self::UpdateOrganization(row) => Some(row.id.into()),
            Self::DeleteOrganization(id) => Some((*id).into()),
            Self::InsertKey(row) | Self::UpdateKey(row) => Some(row.id.into()),
            Self::DeleteKey(id) => Some((*id).into()),
            Self::InsertSecret(..) | Self::UpdateSecret { .. } | Self::DeleteSecret { .. } => None,
            Self::ReplaceHash { .. }
            | Self::PurgeChanges { .. }
            | Self::ForgetPersonal(_)
            | Self::ForgetOrigins { .. }
            | Self::PruneAudit { .. }
            | Self::CountRefusals(_)
            | Self::InsertRefusal(_)
            | Self::PruneRefusals { .. } => None,
            Self::InsertUser(row) | Self::UpdateUser(row) => Some(row.organization_id.into()),
            Self::DeleteUser(organization, _) => Some((*organization).into()),
            Self::InsertPlan(row) | Self::UpdatePlan(row) => Some(row.id.into()),
            Self::DeletePlan(id) => Some((*id).into()),
            Self::UpdateRealm { .. }
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

/// What a commit changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Committed {
    /// What changed, with the new revisions, in the order of the writes. A deleted row counts with one more than the revision
    /// it had, the realm with 0.
    pub changes: Vec<Change>,
}

impl Committed {
    /// A result with these changes, for stores.
    pub fn new(changes: Vec<Change>) -> Self {
        Self { changes }
    }

    /// The new revision of a key or an organization; `None` if the commit did not change it. The realm has none, which is 0.
    pub fn revision_of(&self, subject: impl Into<Subject>) -> Option<u64> {
        let subject = subject.into();
        let last = self.changes.iter().rev().find(|change| change.subject() == subject)?;
        Some(last.revision())
    }
}
