//! Commands: what is checked and written in one transaction.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::audit::{AuditEvent, AuditKey, CommitId};
use crate::fence::Change;
use crate::key::{KeyId, OrganizationId, ServerSecretRecord, Subject};
use crate::store::{Guard, StoreError, StoreErrorKind, Write};

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
    /// What must hold. All guards are checked before the first write, apart from those of the
    /// [outcome](Guard::is_of_outcome).
    pub guards: Vec<Guard>,
    /// What is written, in this order.
    pub writes: Vec<Write>,
    /// What the audit trail says of it, in this order.
    pub audit: Vec<AuditEvent>,
    /// What the events are linked with. [`Issuer::commit`](crate::Issuer::commit) sets it; without one, anyone who can write the
    /// database can make a chain that verifies.
    pub audit_key: Option<AuditKey>,
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
    /// inserted with the nil id, a secret of the servers is out of its bounds or would get another place, the row of an idempotency
    /// key is written twice or without the insert of the key that it is about, or there are more than 65,536 guards, writes or
    /// events.
    pub fn check(&self) -> Result<(), StoreError> {
        let invalid = |problem| Err(StoreError::with_source(StoreErrorKind::InvalidCommit, problem));
        if [self.guards.len(), self.writes.len(), self.audit.len()]
            .iter()
            .any(|length| *length > MOST)
        {
            return invalid("a commit has at most 65536 guards, writes and audit events each");
        }
        if let Some(problem) = self.writes.iter().find_map(problem_of) {
            return invalid(problem);
        }
        let subjects: BTreeSet<Subject> = self.subjects().into_iter().collect();
        let alone = |write: &Write| write.key().is_some_and(|key| !subjects.contains(&Subject::Key(key)));
        if self.writes.iter().any(alone) {
            return invalid("a secret is written without its key; insert, update or delete the key in the same commit");
        }
        if !self.has_keys_of_idempotency() {
            return invalid("what was made for an idempotency key is written once, in the commit that inserts the key");
        }
        Ok(())
    }

    /// Whether each row of an idempotency key is about a key of its own that the commit inserts, in the same organization.
    fn has_keys_of_idempotency(&self) -> bool {
        let rows = || {
            self.writes.iter().filter_map(|write| match write {
                Write::InsertIdempotency(row) => Some(row),
                _ => None,
            })
        };
        if rows().next().is_none() {
            return true;
        }
        let inserted = self.writes.iter().filter_map(|write| match write {
            Write::InsertKey(record) => Some((record.id, record.organization_id)),
            _ => None,
        });
        let mut inserted: BTreeMap<KeyId, OrganizationId> = inserted.collect();
        let mut places = HashSet::new();
        rows().all(|row| {
            inserted.remove(&row.key_id) == Some(row.organization_id)
                && places.insert((row.organization_id, &row.actor, &row.key))
        })
    }

    /// Whether the guards hold, apart from those of the outcome. Stores call this before the first write.
    ///
    /// # Errors
    /// That of the first guard that does not hold, and those of `holds`.
    pub fn check_guards<E: From<StoreErrorKind>>(&self, holds: impl Fn(&Guard) -> Result<bool, E>) -> Result<(), E> {
        self.check_those(false, holds)
    }

    /// Whether the guards of the outcome hold. Stores call this after the last write, and write nothing if one does not.
    ///
    /// # Errors
    /// That of the first guard that does not hold, and those of `holds`.
    pub fn check_outcome<E: From<StoreErrorKind>>(&self, holds: impl Fn(&Guard) -> Result<bool, E>) -> Result<(), E> {
        self.check_those(true, holds)
    }

    fn check_those<E: From<StoreErrorKind>>(
        &self,
        of_outcome: bool,
        holds: impl Fn(&Guard) -> Result<bool, E>,
    ) -> Result<(), E> {
        for guard in self.guards.iter().filter(|guard| guard.is_of_outcome() == of_outcome) {
            if !holds(guard)? {
                return Err(guard.failure().into());
            }
        }
        Ok(())
    }

    /// What the commit changes, in the order of its writes.
    pub fn subjects(&self) -> Vec<Subject> {
        self.writes.iter().filter_map(Write::subject).collect()
    }
}

/// What no store can make of a write, whatever its rows are. Every write is named, so that a new one is not forgotten.
fn problem_of(write: &Write) -> Option<&'static str> {
    let (id, was, secret) = match write {
        Write::InsertOrganization(row) => (Some(row.id.as_uuid()), None, None),
        Write::InsertKey(row) => (Some(row.id.as_uuid()), None, None),
        Write::InsertPlan(row) => (Some(row.id.as_uuid()), None, None),
        Write::InsertServerSecret(row) => (None, None, Some(row)),
        Write::UpdateServerSecret { was, row } => (None, Some(was), Some(row)),
        Write::UpdateOrganization(_)
        | Write::DeleteOrganization(_)
        | Write::SetKeyState(_)
        | Write::UpdateKey(_)
        | Write::DeleteKey(_)
        | Write::InsertSecret(..)
        | Write::UpdateSecret { .. }
        | Write::DeleteSecret { .. }
        | Write::ReplaceHash { .. }
        | Write::UpdateRealm { .. }
        | Write::DeleteServerSecret { .. }
        | Write::UpdatePlan(_)
        | Write::DeletePlan(_)
        | Write::InsertUser(_)
        | Write::UpdateUser(_)
        | Write::DeleteUser(..)
        | Write::InsertRole(_)
        | Write::UpdateRole(_)
        | Write::DeleteRole(_)
        | Write::InsertScope(_)
        | Write::DeleteScope(_)
        | Write::PurgeChanges { .. }
        | Write::ForgetPersonal(_)
        | Write::ForgetOrigins { .. }
        | Write::PruneAudit { .. }
        | Write::CountRefusals(_)
        | Write::InsertRefusal(_)
        | Write::PruneRefusals { .. }
        | Write::AddUses(_)
        | Write::PruneUseSources { .. }
        | Write::InsertIdempotency(_)
        | Write::PruneIdempotency { .. }
        | Write::HoldLease { .. }
        | Write::AdoptRealm { .. } => return None,
    };
    if id.is_some_and(|id| id.is_nil()) {
        return Some("the nil id is the system's; give keys and organizations another one");
    }
    let row = secret?;
    if !is_within_bounds(row) {
        return Some(
            "a secret of the servers has a purpose of 1 to 128 bytes, an id of 1 to 64, and a value of 1 to 4096",
        );
    }
    let moves = was.is_some_and(|was| was.place() != row.place());
    moves.then_some("an update of a secret of the servers keeps its purpose, id and number")
}

fn is_within_bounds(row: &ServerSecretRecord) -> bool {
    let lengths = [
        (row.purpose.as_str().len(), 128),
        (row.id.len(), 64),
        (row.value.expose_secret().len(), 4096),
    ];
    lengths.iter().all(|(length, most)| (1..=*most).contains(length))
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
