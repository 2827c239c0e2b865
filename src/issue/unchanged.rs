//! A change that is for one revision of a row: it is made to that one, or not at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::key::{KeyId, KeyRecord, Organization, OrganizationId, Plan, PlanId, Role, User, UserId};
use crate::store::query::{Answer, OneUser, Query, Roles};
use crate::store::{Guard, ManagedStore, StoreError, StoreErrorKind, StoreExt, StoredKey};

/// A row and its revision, for [`Issuer::if_unchanged`](crate::Issuer::if_unchanged). Made from the row as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct RowRevision {
    row: Row,
    revision: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Row {
    Key(KeyId),
    Organization(OrganizationId),
    Plan(PlanId),
    User(OrganizationId, UserId),
    Role(String),
}

impl RowRevision {
    fn new(row: Row, revision: u64) -> Self {
        Self { row, revision }
    }

    /// The revision.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    fn guard(&self) -> Guard {
        let revision = self.revision;
        match self.row.clone() {
            Row::Key(id) => Guard::KeyRevision(id, revision),
            Row::Organization(id) => Guard::OrganizationRevision(id, revision),
            Row::Plan(id) => Guard::PlanRevision(id, revision),
            Row::User(organization, id) => Guard::UserRevision(organization, id, revision),
            Row::Role(name) => Guard::RoleRevision(name, revision),
        }
    }
}

/// That a row is unchanged, until a commit was made with it.
#[derive(Clone)]
pub(super) struct Unchanged(Arc<Pending>);

struct Pending {
    row: RowRevision,
    is_over: AtomicBool,
}

impl Unchanged {
    pub(super) fn new(row: RowRevision) -> Self {
        let is_over = AtomicBool::new(false);
        Self(Arc::new(Pending { row, is_over }))
    }

    pub(super) fn is_pending(&self) -> bool {
        !self.0.is_over.load(Ordering::Relaxed)
    }

    /// A commit was made with its guard: what follows is over the row that came of it.
    pub(super) fn end(&self) {
        self.0.is_over.store(true, Ordering::Relaxed);
    }

    pub(super) fn guard(&self) -> Guard {
        self.0.row.guard()
    }

    /// Whether the answer to this query says what revision the row has.
    pub(super) fn is_asked_by(&self, query: &Query) -> bool {
        match (&self.0.row.row, query) {
            (Row::Key(id), Query::Key(asked)) => id == asked,
            (Row::Organization(id), Query::Organization(asked)) => id == asked,
            (Row::Plan(id), Query::Plan(asked)) => id == asked,
            (Row::User(organization, id), Query::User(of, asked)) => (organization, id) == (of, asked),
            (Row::Role(name), Query::Roles(filter, _)) => filter.name.as_ref() == Some(name),
            _ => false,
        }
    }

    /// # Errors
    /// [`RowChanged`](StoreErrorKind::RowChanged) when the row of this answer has another revision, or there is none.
    pub(super) fn check(&self, answer: &Answer) -> Result<(), StoreError> {
        let revision = match answer {
            Answer::Key(found) => found.as_ref().map(|key| key.record.revision),
            Answer::Organization(found) => found.as_ref().map(|row| row.revision),
            Answer::Plan(found) => found.as_ref().map(|row| row.revision),
            Answer::User(found) => found.as_ref().map(|row| row.revision),
            Answer::Roles(found) => found.items.first().map(|row| row.revision),
            _ => None,
        };
        match revision == Some(self.0.row.revision) {
            true => Ok(()),
            false => Err(StoreError::new(StoreErrorKind::RowChanged)),
        }
    }

    /// Reads the row from a store that checks its answers.
    pub(super) async fn read_again<S: ManagedStore>(&self, store: &S) -> Result<(), StoreError> {
        match &self.0.row.row {
            Row::Key(id) => store.get(*id).await.map(drop),
            Row::Organization(id) => store.get(*id).await.map(drop),
            Row::Plan(id) => store.get(*id).await.map(drop),
            Row::User(organization, id) => store.get(OneUser(*organization, id.clone())).await.map(drop),
            Row::Role(name) => store.get(Roles::named(name).page(1)).await.map(drop),
        }
    }
}

impl From<&KeyRecord> for RowRevision {
    fn from(record: &KeyRecord) -> Self {
        Self::new(Row::Key(record.id), record.revision)
    }
}

impl From<&Organization> for RowRevision {
    fn from(row: &Organization) -> Self {
        Self::new(Row::Organization(row.id), row.revision)
    }
}

impl From<&Plan> for RowRevision {
    fn from(plan: &Plan) -> Self {
        Self::new(Row::Plan(plan.id), plan.revision)
    }
}

impl From<&User> for RowRevision {
    fn from(user: &User) -> Self {
        Self::new(Row::User(user.organization_id, user.id.clone()), user.revision)
    }
}

impl From<&Role> for RowRevision {
    fn from(role: &Role) -> Self {
        Self::new(Row::Role(role.name.clone()), role.revision)
    }
}

impl From<&StoredKey> for RowRevision {
    fn from(key: &StoredKey) -> Self {
        Self::from(&key.record)
    }
}
