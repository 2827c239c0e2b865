//! When keys were last used.

use crate::key::KeyId;
use crate::last_use::UseOfKey;
use crate::store::query::{Answer, Query, TypedQuery};

/// How keys were used: each of their secrets, scopes and networks. Keys that are not there are left out, and so is what
/// comes after the first 1,000.
///
/// ```
/// use tower_api_key::IssueRequest;
/// use tower_api_key::key::Actor;
/// use tower_api_key::store::query::KeyUses;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let keys = tower_api_key::testing::api_keys().open().await?;
/// let issuer = keys.issuer().acting_as(Actor::user("alice"));
/// let acme = issuer.create_organization("acme").await?;
/// let issued = issuer.issue(IssueRequest::new(acme.id, "nightly export")).await?;
/// let uses = keys.read(KeyUses::of(issued.record.id)).await?;
/// assert_eq!(uses[0].last_used_at(), None);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct KeyUses(Vec<KeyId>);

impl KeyUses {
    /// Keys in one query.
    pub const MOST: usize = 1000;

    /// Of one key.
    pub fn of(key: KeyId) -> Self {
        Self(vec![key])
    }

    /// Of these keys, in this order.
    pub fn of_all(keys: impl IntoIterator<Item = KeyId>) -> Self {
        Self(keys.into_iter().take(Self::MOST).collect())
    }
}

impl TypedQuery for KeyUses {
    type Output = Vec<UseOfKey>;

    fn query(self) -> Query {
        Query::KeyUses(self.0)
    }

    fn take(answer: Answer) -> Option<Self::Output> {
        match answer {
            Answer::KeyUses(uses) => Some(uses),
            _ => None,
        }
    }
}
