//! Lists of audit events.

use crate::audit::{AuditEntry, CommitId};
use crate::key::{KeyId, OrganizationId};
use crate::store::query::cursor::list_id;
use crate::store::query::{Answer, Filter, List, Page, Paged, Query, SortKey};

/// A page of audit events, ordered by organization and number.
pub type AuditEvents = List<AuditFilter>;

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
    /// The events of all organizations, and those of the store itself.
    ///
    /// ```
    /// use tower_api_key::ApiKeys;
    /// use tower_api_key::store::query::AuditEvents;
    ///
    /// # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
    /// let keys = ApiKeys::open("memory:").await?;
    /// keys.ensure("acme", "nightly export").await?;
    /// let page = keys.read(AuditEvents::all().page(100)).await?;
    /// assert!(page.items.iter().any(|entry| entry.event.action.as_str() == "key.issued"));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn all() -> Self {
        Self::default()
    }

    /// The events of this organization.
    pub fn of(organization: OrganizationId) -> Self {
        Self::from(AuditFilter {
            organization: Some(organization),
            ..AuditFilter::default()
        })
    }

    /// The events of this commit.
    pub fn of_commit(commit: CommitId) -> Self {
        Self::from(AuditFilter {
            commit: Some(commit),
            ..AuditFilter::default()
        })
    }

    /// Only events of this key.
    pub fn key(mut self, key: KeyId) -> Self {
        self.filter.key = Some(key);
        self
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

    fn list_id(&self) -> [u8; 32] {
        list_id(&[
            Some("audit events"),
            self.organization.map(|id| id.to_string()).as_deref(),
            self.commit.map(|id| id.to_string()).as_deref(),
            self.key.map(|id| id.to_string()).as_deref(),
        ])
    }

    fn query(self, page: Page) -> Query {
        Query::AuditEvents(self, page)
    }

    fn take(answer: Answer) -> Option<Paged<AuditEntry>> {
        match answer {
            Answer::AuditEvents(page) => Some(page),
            _ => None,
        }
    }
}
