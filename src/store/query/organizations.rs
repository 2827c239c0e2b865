//! Lists of organizations.

use crate::key::{Organization, OrganizationId, OrganizationStatus, PlanId, folded};
use crate::store::query::cursor::list_id;
use crate::store::query::{Answer, Count, Filter, List, Page, Paged, Query, SortKey, TypedQuery, count, name};

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
pub type Organizations = List<OrganizationFilter>;

/// Which organizations a list has. A field that is not set filters nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OrganizationFilter {
    /// Those with this status.
    pub status: Option<OrganizationStatus>,
    /// Those whose name, as it is searched, starts so.
    pub name: Option<String>,
    /// Those with this plan.
    pub plan: Option<PlanId>,
}

/// The organization with this slug.
///
/// ```
/// use tower_api_key::store::query::OrganizationBySlug;
/// use tower_api_key::store::{MemoryStore, StoreExt};
/// use tower_api_key::Issuer;
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let store = MemoryStore::new();
/// let acme = Issuer::new(store.clone())?.create_organization("Acme Inc.").await?;
/// assert_eq!(store.get(OrganizationBySlug("acme-inc".to_owned())).await?, Some(acme));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct OrganizationBySlug(pub String);

/// The organization with this e-mail address, regardless of case.
#[derive(Clone, Debug)]
#[must_use]
pub struct OrganizationByEmail(pub String);

impl TypedQuery for OrganizationByEmail {
    type Output = Option<Organization>;

    fn query(self) -> Query {
        Query::OrganizationByEmail(folded(&self.0))
    }

    fn take(answer: Answer) -> Option<Self::Output> {
        OrganizationId::take(answer)
    }
}

impl TypedQuery for OrganizationBySlug {
    type Output = Option<Organization>;

    fn query(self) -> Query {
        Query::OrganizationBySlug(self.0)
    }

    fn take(answer: Answer) -> Option<Self::Output> {
        OrganizationId::take(answer)
    }
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

    /// Only organizations with this plan.
    pub fn plan(mut self, plan: PlanId) -> Self {
        self.filter.plan = Some(plan);
        self
    }

    /// Only organizations whose name starts so, regardless of case and of compatible forms of characters (NFKC). Orders by
    /// name.
    pub fn name_starts_with(mut self, prefix: &str) -> Self {
        self.filter.name = Some(folded(prefix));
        self
    }

    /// The number of organizations in the list, instead of a page.
    pub fn count(self) -> CountOrganizations {
        CountOrganizations(self.filter)
    }
}

impl Filter for OrganizationFilter {
    type Row = Organization;

    fn matches(&self, organization: &Organization) -> bool {
        self.status.is_none_or(|status| organization.status == status)
            && name::matches(self.name.as_deref(), &organization.name)
            && self.plan.is_none_or(|plan| organization.plan == Some(plan))
    }

    fn sort_key(&self, organization: &Organization) -> SortKey {
        name::sort_key(self.name.as_deref(), &organization.name, organization.id.as_uuid())
    }

    fn may_stand_at(&self, place: &SortKey) -> bool {
        name::may_stand_at(self.name.as_deref(), place)
    }

    fn list_id(&self) -> [u8; 32] {
        list_id(&[
            Some("organizations"),
            self.status.map(OrganizationStatus::as_str),
            self.name.as_deref(),
            self.plan.map(|plan| plan.to_string()).as_deref(),
        ])
    }

    fn query(self, page: Page) -> Query {
        Query::Organizations(self, page)
    }

    fn take(answer: Answer) -> Option<Paged<Organization>> {
        match answer {
            Answer::Organizations(page) => Some(page),
            _ => None,
        }
    }
}

/// How many organizations a list has, from [`Organizations::count`].
#[derive(Clone, Debug)]
#[must_use]
pub struct CountOrganizations(OrganizationFilter);

impl TypedQuery for CountOrganizations {
    type Output = Count;

    fn query(self) -> Query {
        Query::CountOrganizations(self.0)
    }

    fn take(answer: Answer) -> Option<Count> {
        count::take(answer)
    }
}
