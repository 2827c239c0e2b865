//! Lists of audit events.

use crate::audit::{AuditEntry, CommitId};
use crate::key::{KeyId, OrganizationId};
use crate::store::query::cursor::list_id;
use crate::store::query::{Answer, Cursor, Filter, Page, Paged, Query, SortKey, TypedQuery};

/// A page of audit events, ordered by organization and number.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct AuditEvents {
    filter: AuditFilter,
    page: Page,
}

/// Which audit events a list has. A field that is not set filters nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditFilter {
    /// Those of this organization.
    pub organization: Option<OrganizationId>,
    /// Those of this commit.
    pub commit: Option<CommitId>,
    /// Those of this key.
    pub key: Option<KeyId>,
}

impl AuditEvents {
    /// The events of this organization.
    pub fn of(organization: OrganizationId) -> Self {
        let mut events = Self::default();
        events.filter.organization = Some(organization);
        events
    }

    /// The events of this commit.
    pub fn of_commit(commit: CommitId) -> Self {
        let mut events = Self::default();
        events.filter.commit = Some(commit);
        events
    }

    /// Only events of this key.
    pub fn key(mut self, key: KeyId) -> Self {
        self.filter.key = Some(key);
        self
    }

    /// The size of the page, 1 to 1,000; default 50.
    pub fn page(mut self, size: u16) -> Self {
        self.page = self.page.with_size(size);
        self
    }

    /// The page after this cursor.
    pub fn after(mut self, cursor: Cursor) -> Self {
        self.page = self.page.after(cursor);
        self
    }
}

impl TypedQuery for AuditEvents {
    type Output = Paged<AuditEntry>;

    fn query(self) -> Query {
        Query::AuditEvents(self.filter, self.page)
    }

    fn take(answer: Answer) -> Option<Self::Output> {
        match answer {
            Answer::AuditEvents(page) => Some(page),
            _ => None,
        }
    }
}

impl Filter for AuditFilter {
    type Row = AuditEntry;

    fn matches(&self, entry: &AuditEntry) -> bool {
        let event = &entry.event;
        self.organization.is_none_or(|id| event.organization_id == id)
            && self.commit.is_none_or(|commit| entry.commit == commit)
            && self.key.is_none_or(|key| event.key_id == Some(key))
    }

    fn sort_key(&self, entry: &AuditEntry) -> SortKey {
        SortKey::Entry(entry.event.organization_id.as_uuid(), entry.seq)
    }

    fn may_stand_at(&self, place: &SortKey) -> bool {
        let organization = self.organization.map(|id| id.as_uuid());
        matches!(place, SortKey::Entry(id, _) if organization.is_none_or(|organization| organization == *id))
    }

    fn list_id(&self) -> [u8; 8] {
        list_id(&[
            Some("audit events"),
            self.organization.map(|id| id.to_string()).as_deref(),
            self.commit.map(|id| id.to_string()).as_deref(),
            self.key.map(|id| id.to_string()).as_deref(),
        ])
    }
}
