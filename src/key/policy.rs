//! What an organization allows its keys.

use std::time::Duration;

use crate::key::ScopeSet;

/// What an organization allows its keys. Judged when a key is issued or changed, and whenever it is used: a policy that
/// becomes stricter holds for the keys that are there.
///
/// The default allows everything.
///
/// ```
/// use std::time::Duration;
/// use tower_api_key::key::Policy;
/// use tower_api_key::store::MemoryStore;
/// use tower_api_key::{IssueErrorKind, IssueRequest, Issuer, OrganizationRequest};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut policy = Policy::default();
/// policy.longest_life = Some(Duration::from_secs(90 * 86_400));
/// policy.requires_networks = true;
///
/// let issuer = Issuer::new(MemoryStore::new())?;
/// let acme = issuer.create_organization(OrganizationRequest::new("acme").policy(policy)).await?;
/// let error = issuer.issue(IssueRequest::new(acme.id, "nightly export")).await.unwrap_err();
/// assert_eq!((error.kind(), error.field()), (IssueErrorKind::NotAllowed, Some("networks")));
/// assert_eq!(error.to_string(), "the organization's keys must be bound to networks");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Policy {
    /// A key ends at the latest so long after it was created, whatever its own end. Whole milliseconds count.
    pub longest_life: Option<Duration>,
    /// The life of a new key for which no end is asked.
    pub default_life: Option<Duration>,
    /// Whether every new key must have an end, its own or that of [`default_life`](Self::default_life).
    pub requires_expiry: bool,
    /// What keys may do at most: they have the part of their scopes that these allow. `None` allows every scope.
    pub grantable: Option<ScopeSet>,
    /// Whether a key must be bound to networks. One without networks is refused as if it came from the wrong one.
    pub requires_networks: bool,
}
