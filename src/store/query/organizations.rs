//! Lists of organizations.

use crate::error::ConfigError;
use crate::key::{Organization, OrganizationStatus, folded};
use crate::store::query::cursor::list_id;
use crate::store::query::{Answer, CountOrganizations, Cursor, Filter, Page, Paged, Query, SortKey, TypedQuery};

/// A page of organizations, ordered by id, or by name and id when names are searched.
///
/// ```
/// use tower_api_key::store::query::Organizations;
/// use tower_api_key::store::{MemoryStore, StoreExt};
/// use tower_api_key::Issuer;
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let store = MemoryStore::new();
/// let acme = Issuer::new(store.clone())?.create_organization("Acme").await?;
/// let found = store.get(Organizations::all().name_starts_with("ac")).await?;
/// assert_eq!(found.items, [acme]);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Organizations {
    filter: OrganizationFilter,
    page: Page,
}

/// Which organizations a list has. A field that is not set filters nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OrganizationFilter {
    /// Those with this status.
    pub status: Option<OrganizationStatus>,
    /// Those whose name, as it is searched, starts so.
    pub name: Option<String>,
}

impl Organizations {
    /// All organizations.
    pub fn all() -> Self {
        Self::default()
    }

    /// Only organizations with this status.
    pub fn status(mut self, status: OrganizationStatus) -> Self {
        self.filter.status = Some(status);
        self
    }

    /// Only organizations whose name starts so, regardless of case and of compatible forms of characters (NFKC). Orders by
    /// name.
    pub fn name_starts_with(mut self, prefix: &str) -> Self {
        self.filter.name = Some(folded(prefix));
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

    /// The page without its first `rows` rows.
    ///
    /// # Errors
    /// When it is more than 10,000 rows.
    pub fn offset(mut self, rows: u32) -> Result<Self, ConfigError> {
        self.page = self.page.offset(rows)?;
        Ok(self)
    }

    /// The number of organizations in the list, instead of a page.
    pub fn count(self) -> CountOrganizations {
        CountOrganizations(self.filter)
    }
}

impl TypedQuery for Organizations {
    type Output = Paged<Organization>;

    fn query(self) -> Query {
        Query::Organizations(self.filter, self.page)
    }

    fn take(answer: Answer) -> Option<Self::Output> {
        match answer {
            Answer::Organizations(page) => Some(page),
            _ => None,
        }
    }
}

impl Filter for OrganizationFilter {
    type Row = Organization;

    fn matches(&self, organization: &Organization) -> bool {
        self.status.is_none_or(|status| organization.status == status)
            && self
                .name
                .as_ref()
                .is_none_or(|name| folded(&organization.name).starts_with(name))
    }

    fn sort_key(&self, organization: &Organization) -> SortKey {
        let id = organization.id.as_uuid();
        match self.name {
            Some(_) => SortKey::Name(folded(&organization.name), id),
            None => SortKey::Id(id),
        }
    }

    fn may_stand_at(&self, place: &SortKey) -> bool {
        match (&self.name, place) {
            (Some(prefix), SortKey::Name(name, _)) => name.starts_with(prefix),
            (None, SortKey::Id(_)) => true,
            _ => false,
        }
    }

    fn list_id(&self) -> [u8; 8] {
        list_id(&[
            Some("organizations"),
            self.status.map(OrganizationStatus::as_str),
            self.name.as_deref(),
        ])
    }
}
