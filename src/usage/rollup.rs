//! What a batch adds to the sums of its hours and days.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::batch::UsageBatch;
use super::event::UsageEvent;
use super::latency::LatencyBucket;
use super::status::{ErrorClass, UsageStatus};
use super::sums::UsageSums;
use crate::key::{KeyId, OrganizationId, Timestamp, UserId};

/// How long a period is. All begin by UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Grain {
    /// Kept for 48 hours.
    Minute,
    /// Kept for 90 days.
    Hour,
    /// Kept until it is deleted.
    Day,
}

impl Grain {
    /// Milliseconds of a period.
    pub(crate) const fn length(self) -> i64 {
        match self {
            Self::Minute => 60_000,
            Self::Hour => 3_600_000,
            Self::Day => 86_400_000,
        }
    }

    /// When the period of this time began.
    pub fn start(self, at: Timestamp) -> Timestamp {
        let length = self.length();
        Timestamp::from_millis(at.as_millis().div_euclid(length).saturating_mul(length))
    }

    /// The first period that begins at this time or after it.
    pub(crate) fn next(self, at: Timestamp) -> Timestamp {
        let start = self.start(at);
        match start == at {
            true => at,
            false => Timestamp::from_millis(start.as_millis().saturating_add(self.length())),
        }
    }
}

/// What requests have in common that are summed in one row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Shape {
    pub(crate) route: Arc<str>,
    pub(crate) method: &'static str,
    pub(crate) status: UsageStatus,
    pub(crate) error: Option<ErrorClass>,
}

/// Sums of a key. Minutes have no shape.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OfKey {
    pub(crate) grain: Grain,
    pub(crate) organization: OrganizationId,
    pub(crate) start: Timestamp,
    pub(crate) key: KeyId,
    /// For whom it acted then.
    pub(crate) user: Option<UserId>,
    pub(crate) shape: Option<Shape>,
}

/// Sums of an organization's requests with this scope or tag.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OfValue {
    pub(crate) grain: Grain,
    pub(crate) organization: OrganizationId,
    pub(crate) start: Timestamp,
    pub(crate) dimension: Dimension,
    pub(crate) value: String,
}

/// What values are of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Dimension {
    Scope,
    /// Of this name.
    Tag(Box<str>),
}

/// How many requests of a key took so long.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OfBucket {
    pub(crate) grain: Grain,
    pub(crate) organization: OrganizationId,
    pub(crate) start: Timestamp,
    pub(crate) key: KeyId,
    pub(crate) user: Option<UserId>,
    pub(crate) bucket: LatencyBucket,
}

/// Rows to add, summed already: a batch of one busy key is a handful of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct RollUps {
    pub(crate) keys: BTreeMap<OfKey, UsageSums>,
    pub(crate) values: BTreeMap<OfValue, UsageSums>,
    pub(crate) latencies: BTreeMap<OfBucket, u64>,
}

impl RollUps {
    pub(crate) fn of(batch: &UsageBatch) -> Self {
        let mut all = Self::default();
        for event in &batch.events {
            all.add(event);
        }
        all
    }

    fn add(&mut self, event: &UsageEvent) {
        let sums = UsageSums::of(event);
        let (organization, key) = (event.organization, event.key);
        let shape = Shape {
            route: event.route.clone(),
            method: event.method,
            status: event.status,
            error: event.error,
        };
        for grain in [Grain::Minute, Grain::Hour, Grain::Day] {
            let start = grain.start(event.at);
            let shape = (grain != Grain::Minute).then(|| shape.clone());
            let row = OfKey {
                grain,
                organization,
                start,
                key,
                user: event.user.clone(),
                shape,
            };
            *self.keys.entry(row).or_default() += sums;
            if grain == Grain::Minute {
                continue;
            }
            if has_response_time(event) {
                let bucket = LatencyBucket::of(event.latency);
                let row = OfBucket {
                    grain,
                    organization,
                    start,
                    key,
                    user: event.user.clone(),
                    bucket,
                };
                *self.latencies.entry(row).or_default() += 1;
            }
            let scope = event.scope.iter().map(|scope| (Dimension::Scope, scope.to_string()));
            let tags = event
                .tags
                .iter()
                .map(|(name, value)| (Dimension::Tag(name.into()), value.to_owned()));
            for (dimension, value) in scope.chain(tags) {
                let row = OfValue {
                    grain,
                    organization,
                    start,
                    dimension,
                    value,
                };
                *self.values.entry(row).or_default() += sums;
            }
        }
    }
}

/// A connection that was upgraded is open for hours, which says nothing of how long clients wait.
fn has_response_time(event: &UsageEvent) -> bool {
    event.status != UsageStatus::http(101) && event.method != "CONNECT"
}
