//! Users, one and lists of them.

use crate::key::{OrganizationId, User, UserId, UserStatus};
use crate::store::query::cursor::list_id;
use crate::store::query::{Answer, Count, Filter, List, Page, Paged, Query, SortKey, TypedQuery, count};

/// A page of an organization's users that have a row, ordered by id.
///
/// ```
/// use tower_api_key::key::UserStatus;
/// use tower_api_key::store::MemoryStore;
/// use tower_api_key::store::query::Users;
/// use tower_api_key::{Issuer, UserRequest};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let issuer = Issuer::new(MemoryStore::new())?;
/// let acme = issuer.create_organization("acme").await?;
/// issuer.create_user(UserRequest::new(acme.id, "alice".parse()?)).await?;
/// issuer.disable_user(acme.id, &"bob".parse()?, "left").await?; // makes a row
/// let disabled = issuer.users(Users::of(acme.id).status(UserStatus::Disabled)).await?;
/// assert_eq!(disabled.items[0].id.as_str(), "bob");
/// # Ok(())
/// # }
/// ```
pub type Users = List<UserFilter>;

/// One user of an organization; `None` if it has no row.
#[derive(Clone, Debug)]
#[must_use]
pub struct OneUser(pub OrganizationId, pub UserId);

/// Which users a list has. A field that is not set filters nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UserFilter {
    /// Those of this organization.
    pub organization: OrganizationId,
    /// Those with this status.
    pub status: Option<UserStatus>,
}

impl Users {
    /// The users of this organization.
    pub fn of(organization: OrganizationId) -> Self {
        Self::from(UserFilter {
            organization,
            status: None,
        })
    }

    /// Only users with this status.
    pub fn status(mut self, status: UserStatus) -> Self {
        self.filter.status = Some(status);
        self
    }

    /// The number of users in the list, instead of a page.
    pub fn count(self) -> CountUsers {
        CountUsers(self.filter)
    }
}

impl Filter for UserFilter {
    type Row = User;

    fn matches(&self, user: &User) -> bool {
        user.organization_id == self.organization && self.status.is_none_or(|status| user.status == status)
    }

    fn sort_key(&self, user: &User) -> SortKey {
        SortKey::Name(user.id.as_str().to_owned(), self.organization.as_uuid())
    }

    fn may_stand_at(&self, place: &SortKey) -> bool {
        matches!(place, SortKey::Name(_, id) if *id == self.organization.as_uuid())
    }

    fn list_id(&self) -> [u8; 32] {
        let organization = self.organization.to_string();
        list_id(&[Some("users"), Some(&organization), self.status.map(UserStatus::as_str)])
    }

    fn query(self, page: Page) -> Query {
        Query::Users(self, page)
    }

    fn take(answer: Answer) -> Option<Paged<User>> {
        match answer {
            Answer::Users(page) => Some(page),
            _ => None,
        }
    }
}

impl TypedQuery for OneUser {
    type Output = Option<User>;

    fn query(self) -> Query {
        Query::User(self.0, self.1)
    }

    fn take(answer: Answer) -> Option<Self::Output> {
        match answer {
            Answer::User(user) => Some(user),
            _ => None,
        }
    }
}

/// How many users a list has, from [`Users::count`].
#[derive(Clone, Debug)]
#[must_use]
pub struct CountUsers(UserFilter);

impl TypedQuery for CountUsers {
    type Output = Count;

    fn query(self) -> Query {
        Query::CountUsers(self.0)
    }

    fn take(answer: Answer) -> Option<Count> {
        count::take(answer)
    }
}
