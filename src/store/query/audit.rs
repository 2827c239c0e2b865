//! Lists of audit events.

use crate::audit::{AuditAction, AuditEntry, CommitId};
use crate::key::{Actor, KeyId, OrganizationId, Timestamp};
use crate::store::query::cursor::list_id;
use crate::store::query::{Answer, Filter, List, Page, Paged, Query, SortKey};

/// A page of audit events, ordered by organization and number. When they are those of a key, an actor, an action or a time, and
/// not of one commit, they are ordered by time, then by organization and number.
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
    /// What this actor did.
    pub actor: Option<Actor>,
    /// Those with this action.
    pub action: Option<AuditAction>,
    /// Those from this time on.
    pub from: Option<Timestamp>,
    /// Those before this time.
    pub until: Option<Timestamp>,
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

    /// Only what this actor did. Without an organization, events are looked through in the order of their times.
    pub fn actor(mut self, actor: Actor) -> Self {
        self.filter.actor = Some(actor);
        self
    }

    /// Only events with this action. Without an organization, events are looked through in the order of their times.
    pub fn action(mut self, action: AuditAction) -> Self {
        self.filter.action = Some(action);
        self
    }

    /// Only events from this time on.
    pub fn since(mut self, since: Timestamp) -> Self {
        self.filter.from = Some(since);
        self
    }

    /// Only events before this time.
    pub fn until(mut self, until: Timestamp) -> Self {
        self.filter.until = Some(until);
        self
    }
}

impl AuditFilter {
    /// Whether the list is ordered by time.
    pub(in crate::store) fn is_by_time(&self) -> bool {
        let is_narrowed = self.key.is_some() || self.actor.is_some() || self.action.is_some();
        self.commit.is_none() && (is_narrowed || self.from.is_some() || self.until.is_some())
    }
}

impl Filter for AuditFilter {
    type Row = AuditEntry;

    fn matches(&self, entry: &AuditEntry) -> bool {
        let event = &entry.event;
        self.organization.is_none_or(|id| event.organization_id == id)
            && self.commit.is_none_or(|commit| entry.commit == commit)
            && self.key.is_none_or(|key| event.key_id == Some(key))
            && self.actor.as_ref().is_none_or(|actor| event.actor == *actor)
            && self.action.as_ref().is_none_or(|action| event.action == *action)
            && self.from.is_none_or(|from| event.at >= from)
            && self.until.is_none_or(|until| event.at < until)
    }

    fn sort_key(&self, entry: &AuditEntry) -> SortKey {
        let organization = entry.event.organization_id.as_uuid();
        match self.is_by_time() {
            true => SortKey::Time(entry.event.at.as_millis(), organization, entry.seq),
            false => SortKey::Entry(organization, entry.seq),
        }
    }

    fn may_stand_at(&self, place: &SortKey) -> bool {
        let id = match place {
            SortKey::Entry(id, _) if !self.is_by_time() => id,
            SortKey::Time(_, id, _) if self.is_by_time() => id,
            _ => return false,
        };
        self.organization
            .is_none_or(|organization| organization.as_uuid() == *id)
    }

    fn list_id(&self) -> [u8; 32] {
        list_id(&[
            Some("audit events"),
            self.organization.map(|id| id.to_string()).as_deref(),
            self.commit.map(|id| id.to_string()).as_deref(),
            self.key.map(|id| id.to_string()).as_deref(),
            self.actor.as_ref().map(Actor::to_string).as_deref(),
            self.action.as_ref().map(AuditAction::as_str),
            self.from.map(|at| at.as_millis().to_string()).as_deref(),
            self.until.map(|at| at.as_millis().to_string()).as_deref(),
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
