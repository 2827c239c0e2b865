//! Refusals: exact counts by hour, and samples.

use crate::audit::{RefusalCount, RefusalSample};
use crate::key::{OrganizationId, Timestamp};
use crate::store::query::{Answer, Query, TypedQuery};

const MOST: u16 = 1000;

/// Counts of refusals, ordered by hour, organization and kind: at most 1,000. Ask again from the last hour on for more.
///
/// They are stored once a minute, so those of the last minute are not among them.
///
/// ```
/// use tower_api_key::store::query::{RefusalCounts, Refusals};
/// use tower_api_key::{ApiKeys, PresentedKey};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let keys = ApiKeys::open("memory:").await?;
/// let wrong = PresentedKey::new(b"not-a-key").client_address(Some("192.0.2.7".parse()?));
/// keys.authenticator().check(wrong).await.unwrap_err();
/// keys.flush().await?; // otherwise within a minute
///
/// let counts = keys.read(RefusalCounts::all()).await?;
/// assert_eq!((&*counts[0].kind, counts[0].number), ("malformed_key", 1));
/// let samples = keys.read(Refusals::all()).await?;
/// assert_eq!(samples[0].address, Some("192.0.2.7".parse()?));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use]
#[non_exhaustive]
pub struct RefusalCounts {
    /// Those of this organization's keys; the nil id for those of no verified key.
    pub organization: Option<OrganizationId>,
    /// Hours that begin at this time or later.
    pub from: Timestamp,
    /// Hours that begin before this time.
    pub until: Timestamp,
}

/// Samples of refusals, ordered by time: at most 1,000. Up to 512 are kept in a minute.
#[derive(Clone, Copy, Debug)]
#[must_use]
#[non_exhaustive]
pub struct Refusals {
    /// Those of this organization's keys.
    pub organization: Option<OrganizationId>,
    /// From this time on.
    pub from: Timestamp,
    /// Before this time.
    pub until: Timestamp,
}

macro_rules! narrowed {
    ($name:ident, $row:ident) => {
        impl $name {
            /// All of them.
            pub fn all() -> Self {
                Self {
                    organization: None,
                    from: Timestamp::from_millis(i64::MIN),
                    until: Timestamp::MAX,
                }
            }

            /// Those of this organization's keys.
            pub fn of(organization: OrganizationId) -> Self {
                Self {
                    organization: Some(organization),
                    ..Self::all()
                }
            }

            /// Only from this time on.
            pub fn since(self, from: Timestamp) -> Self {
                Self { from, ..self }
            }

            /// Only before this time.
            pub fn until(self, until: Timestamp) -> Self {
                Self { until, ..self }
            }

            /// How many rows to read.
            pub fn limit(&self) -> usize {
                MOST.into()
            }
        }

        impl TypedQuery for $name {
            type Output = Vec<$row>;

            fn query(self) -> Query {
                Query::$name(self)
            }

            fn take(answer: Answer) -> Option<Self::Output> {
                match answer {
                    Answer::$name(rows) => Some(rows),
                    _ => None,
                }
            }
        }
    };
}

narrowed!(RefusalCounts, RefusalCount);
narrowed!(Refusals, RefusalSample);

impl RefusalCounts {
    /// Whether it is one of them, for stores that hold rows in memory.
    pub fn matches(&self, count: &RefusalCount) -> bool {
        let is_in = self.organization.is_none_or(|id| count.organization_id == id);
        is_in && count.hour >= self.from && count.hour < self.until
    }
}

impl Refusals {
    /// Whether it is one of them, for stores that hold rows in memory.
    pub fn matches(&self, sample: &RefusalSample) -> bool {
        let is_in = self.organization.is_none_or(|id| sample.organization_id == Some(id));
        is_in && sample.at >= self.from && sample.at < self.until
    }
}
