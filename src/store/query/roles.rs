//! Lists of roles and of known scopes.

use uuid::Uuid;

use crate::key::{KnownScope, Role};
use crate::store::query::cursor::list_id;
use crate::store::query::{Answer, Filter, List, Page, Paged, Query, SortKey};

/// A page of roles, ordered by name.
///
/// ```
/// use tower_api_key::Issuer;
/// use tower_api_key::key::Role;
/// use tower_api_key::store::MemoryStore;
/// use tower_api_key::store::query::Roles;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let issuer = Issuer::new(MemoryStore::new())?;
/// issuer.create_role(Role::new("clerk", "orders:read".parse()?)).await?;
/// let page = issuer.roles(Roles::all()).await?;
/// assert_eq!(page.items[0].name, "clerk");
/// # Ok(())
/// # }
/// ```
pub type Roles = List<RoleFilter>;

/// A page of the scopes that the realm knows, in order.
pub type KnownScopes = List<ScopeFilter>;

/// Which roles a list has. A field that is not set filters nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RoleFilter {
    /// The one with this name.
    pub name: Option<String>,
}

/// Which known scopes a list has: all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScopeFilter {}

impl Roles {
    /// All roles.
    pub fn all() -> Self {
        Self::default()
    }

    /// The role with exactly this name, if there is one.
    pub fn named(name: impl Into<String>) -> Self {
        Self::from(RoleFilter {
            name: Some(name.into()),
        })
    }
}

impl KnownScopes {
    /// All known scopes.
    pub fn all() -> Self {
        Self::default()
    }
}

impl Filter for RoleFilter {
    type Row = Role;

    fn matches(&self, role: &Role) -> bool {
        self.name.as_ref().is_none_or(|name| role.name == *name)
    }

    fn sort_key(&self, role: &Role) -> SortKey {
        SortKey::Name(role.name.clone(), Uuid::nil())
    }

    fn may_stand_at(&self, place: &SortKey) -> bool {
        stands_alone(place)
    }

    fn list_id(&self) -> [u8; 32] {
        list_id(&[Some("roles"), self.name.as_deref()])
    }

    fn query(self, page: Page) -> Query {
        Query::Roles(self, page)
    }

    fn take(answer: Answer) -> Option<Paged<Role>> {
        match answer {
            Answer::Roles(page) => Some(page),
            _ => None,
        }
    }
}

impl Filter for ScopeFilter {
    type Row = KnownScope;

    fn matches(&self, _: &KnownScope) -> bool {
        true
    }

    fn sort_key(&self, row: &KnownScope) -> SortKey {
        SortKey::Name(row.scope.as_str().to_owned(), Uuid::nil())
    }

    fn may_stand_at(&self, place: &SortKey) -> bool {
        stands_alone(place)
    }

    fn list_id(&self) -> [u8; 32] {
        list_id(&[Some("scopes")])
    }

    fn query(self, page: Page) -> Query {
        Query::KnownScopes(self, page)
    }

    fn take(answer: Answer) -> Option<Paged<KnownScope>> {
        match answer {
            Answer::KnownScopes(page) => Some(page),
            _ => None,
        }
    }
}

/// A name that is unique needs no id behind it.
fn stands_alone(place: &SortKey) -> bool {
    matches!(place, SortKey::Name(_, id) if id.is_nil())
}
