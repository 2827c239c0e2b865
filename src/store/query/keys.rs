//! Lists of keys.

use std::time::Duration;

use crate::key::{KeyId, KeyLife, KeyStatus, OrganizationId, Timestamp, UserId, folded};
use crate::store::StoredKey;
use crate::store::query::cursor::list_id;
use crate::store::query::{Answer, Count, Filter, List, Page, Paged, Query, SortKey, TypedQuery, count, name};

/// A page of keys, ordered by id, or by name and id when names are searched.
///
/// A walk by cursor shows each key that stays in the list once, whatever comes and goes. A key that is renamed during a
/// walk by name may show twice or not at all.
///
/// ```
/// use tower_api_key::key::{KeyStatus, OrganizationId};
/// use tower_api_key::store::query::Keys;
/// use tower_api_key::store::{MemoryStore, StoreExt};
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// # let (store, acme) = (MemoryStore::new(), OrganizationId::new());
/// let query = Keys::of(acme).status(KeyStatus::Active).name_starts_with("nightly").page(20);
/// let mut page = store.get(query.clone()).await?;
/// while let Some(next) = page.next {
///     page = store.get(query.clone().after(next)).await?;
/// }
/// # Ok::<_, tower_api_key::store::StoreError>(())
/// # })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub type Keys = List<KeyFilter>;

/// Which keys a list has. A field that is not set filters nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyFilter {
    /// Those of this organization.
    pub organization: Option<OrganizationId>,
    /// Those of this user.
    pub user: Option<UserId>,
    /// Those with this status. Expiry is no part of it.
    pub status: Option<KeyStatus>,
    /// Those whose name, as it is searched, starts so.
    pub name: Option<String>,
    /// Those with a secret whose lookup starts so.
    pub lookup: Option<String>,
    /// Those with this label.
    pub label: Option<String>,
    /// Those of this environment.
    pub environment: Option<String>,
    /// Those that this key created.
    pub created_by_key: Option<KeyId>,
    /// Those whose own end is after this time, or open.
    pub ends_after: Option<Timestamp>,
    /// Those whose own end is at this time or before it.
    pub ends_until: Option<Timestamp>,
}

/// The first page of an organization's keys.
impl From<OrganizationId> for Keys {
    fn from(organization: OrganizationId) -> Self {
        Self::of(organization)
    }
}

impl Keys {
    /// The keys of all organizations.
    pub fn all() -> Self {
        Self::default()
    }

    /// The keys of this organization.
    pub fn of(organization: OrganizationId) -> Self {
        Self::from(KeyFilter {
            organization: Some(organization),
            ..KeyFilter::default()
        })
    }

    /// Only keys of this user.
    pub fn user(mut self, user: UserId) -> Self {
        self.filter.user = Some(user);
        self
    }

    /// Only keys with this status.
    pub fn status(mut self, status: KeyStatus) -> Self {
        self.filter.status = Some(status);
        self
    }

    /// Only keys that are so far in their lives at this time. Each key is in exactly one of these lists.
    pub fn life(self, life: KeyLife, at: Timestamp) -> Self {
        match life {
            KeyLife::Active => self.status(KeyStatus::Active).ends_after(at),
            KeyLife::Expired => self.status(KeyStatus::Active).ends_until(at),
            KeyLife::Disabled => self.status(KeyStatus::Disabled),
            KeyLife::Revoked => self.status(KeyStatus::Revoked),
        }
    }

    /// Only keys that work now, as far as their records say, and whose own end comes within this time.
    pub fn expiring(self, now: Timestamp, within: Duration) -> Self {
        self.life(KeyLife::Active, now).ends_until(now.after(within))
    }

    /// Only keys whose name starts so, regardless of case and of compatible forms of characters (NFKC). Orders by name.
    pub fn name_starts_with(mut self, prefix: &str) -> Self {
        self.filter.name = Some(folded(prefix));
        self
    }

    /// Only keys with a secret whose lookup starts exactly so.
    pub fn lookup_starts_with(mut self, prefix: &str) -> Self {
        self.filter.lookup = Some(prefix.to_owned());
        self
    }

    /// Only keys with this label.
    pub fn label(mut self, label: &str) -> Self {
        self.filter.label = Some(label.to_owned());
        self
    }

    /// Only keys of this environment.
    pub fn environment(mut self, environment: &str) -> Self {
        self.filter.environment = Some(environment.to_owned());
        self
    }

    /// Only keys that this key created.
    pub fn created_by_key(mut self, key: KeyId) -> Self {
        self.filter.created_by_key = Some(key);
        self
    }

    /// Only keys whose own end is after this time, or open: those that have not expired then. The policy of an organization may
    /// end them sooner.
    pub fn ends_after(mut self, time: Timestamp) -> Self {
        self.filter.ends_after = Some(time);
        self
    }

    /// Only keys whose own end is at this time or before it: those that have expired by then.
    pub fn ends_until(mut self, time: Timestamp) -> Self {
        self.filter.ends_until = Some(time);
        self
    }

    /// The number of keys in the list, instead of a page.
    pub fn count(self) -> CountKeys {
        CountKeys(self.filter)
    }
}

impl Filter for KeyFilter {
    type Row = StoredKey;

    fn matches(&self, key: &StoredKey) -> bool {
        let record = &key.record;
        let has_lookup = |prefix: &str| {
            let mut lookups = key.secrets.iter().map(|secret| secret.lookup.as_str());
            lookups.any(|lookup| lookup.starts_with(prefix))
        };
        self.organization.is_none_or(|id| record.organization_id == id)
            && self.user.as_ref().is_none_or(|user| record.user.as_ref() == Some(user))
            && self.status.is_none_or(|status| record.status == status)
            && name::matches(self.name.as_deref(), &record.name)
            && self.lookup.as_deref().is_none_or(has_lookup)
            && self.label.as_deref().is_none_or(|label| record.labels.contains(label))
            && (self.environment.is_none() || record.environment == self.environment)
            && (self.created_by_key.is_none() || record.created_by_key == self.created_by_key)
            && self
                .ends_after
                .is_none_or(|time| record.expires_at.is_none_or(|end| end > time))
            && self
                .ends_until
                .is_none_or(|time| record.expires_at.is_some_and(|end| end <= time))
    }

    fn sort_key(&self, key: &StoredKey) -> SortKey {
        name::sort_key(self.name.as_deref(), &key.record.name, key.record.id.as_uuid())
    }

    fn may_stand_at(&self, place: &SortKey) -> bool {
        name::may_stand_at(self.name.as_deref(), place)
    }

    fn list_id(&self) -> [u8; 32] {
        list_id(&[
            Some("keys"),
            self.organization.map(|id| id.to_string()).as_deref(),
            self.user.as_ref().map(UserId::as_str),
            self.status.map(KeyStatus::as_str),
            self.name.as_deref(),
            self.lookup.as_deref(),
            self.label.as_deref(),
            self.environment.as_deref(),
            self.created_by_key.map(|id| id.to_string()).as_deref(),
            self.ends_after.map(|time| time.as_millis().to_string()).as_deref(),
            self.ends_until.map(|time| time.as_millis().to_string()).as_deref(),
        ])
    }

    fn query(self, page: Page) -> Query {
        Query::Keys(self, page)
    }

    fn take(answer: Answer) -> Option<Paged<StoredKey>> {
        match answer {
            Answer::Keys(page) => Some(page),
            _ => None,
        }
    }
}

/// How many keys a list has, from [`Keys::count`].
#[derive(Clone, Debug)]
#[must_use]
pub struct CountKeys(KeyFilter);

impl TypedQuery for CountKeys {
    type Output = Count;

    fn query(self) -> Query {
        Query::CountKeys(self.0)
    }

    fn take(answer: Answer) -> Option<Count> {
        count::take(answer)
    }
}
