//! Usage in memory: sums that end with the process.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};

use super::batch::{UsageBatch, UsageSource};
use super::error::UsageError;
use super::latency::{LatencyBucket, percentile};
use super::question::{
    By, Consumer, Consumers, EndpointUsage, ErrorUsage, Latencies, Question, UsageAnswer, UsageOf, UsageRange,
};
use super::rollup::{Dimension, Grain, OfBucket, OfKey, OfValue, RollUps};
use super::seen::Seen;
use super::sink::{UsageQuery, UsageSink};
use super::sums::UsageSums;
use crate::key::{KeyId, OrganizationId, Timestamp, UserId};
use crate::sync::unpoisoned;

/// A sink that answers questions, for tests and for services of one process. Clones share what it knows.
///
/// Rows are of a key, an hour and a route, not of a request, and of at most 100 values of each tag. Minutes are kept for 48 hours, hours
/// for 90 days; days until the process ends.
#[derive(Clone, Default)]
pub struct MemoryUsage(Arc<Mutex<Sums>>);

struct Sums {
    seen: HashMap<UsageSource, Seen>,
    rows: RollUps,
    pruned_at: Timestamp,
}

/// Values of a tag in a period. All others are one row.
const MOST_VALUES: usize = 100;
const OTHER_VALUE: &str = "other";

impl Default for Sums {
    fn default() -> Self {
        Self {
            seen: HashMap::new(),
            rows: RollUps::default(),
            pruned_at: Timestamp::from_millis(i64::MIN),
        }
    }
}

impl MemoryUsage {
    /// Without any usage yet.
    pub fn new() -> Self {
        Self::default()
    }
}

impl UsageSink for MemoryUsage {
    async fn write(&self, batch: Arc<UsageBatch>) -> Result<(), UsageError> {
        let rows = RollUps::of(&batch);
        let mut sums = unpoisoned(self.0.lock());
        if sums.seen.entry(batch.source).or_default().add(batch.first, batch.end()) {
            sums.add(rows);
            // By the events themselves, which are not of the future.
            if let Some(newest) = batch.events.iter().map(|event| event.at).max() {
                sums.prune(newest);
            }
        }
        Ok(())
    }
}

impl UsageQuery for MemoryUsage {
    async fn ask(&self, question: Question) -> Result<UsageAnswer, UsageError> {
        let sums = unpoisoned(self.0.lock());
        Ok(match question {
            Question::Summary(range) => UsageAnswer::Summary(sums.of(&range).map(|(_, sums)| sums).sum()),
            Question::Periods(range, grain) => UsageAnswer::Periods(sums.periods(&range, grain)),
            Question::Endpoints(range, most) => UsageAnswer::Endpoints(sums.endpoints(&range, most)),
            Question::Errors(range, most) => UsageAnswer::Errors(sums.errors(&range, most)),
            Question::Latencies(range) => UsageAnswer::Latencies(sums.latencies(&range)),
            Question::Top(range, consumers, most) => UsageAnswer::Top(sums.top(&range, consumers, most)),
            Question::Values(range, by, most) => UsageAnswer::Values(sums.values(&range, &by, most)),
        })
    }
}

impl Sums {
    fn add(&mut self, rows: RollUps) {
        for (row, sums) in rows.keys {
            *self.rows.keys.entry(row).or_default() += sums;
        }
        for (row, sums) in rows.values {
            let row = self.room_for(row);
            *self.rows.values.entry(row).or_default() += sums;
        }
        for (row, count) in rows.latencies {
            let sum = self.rows.latencies.entry(row).or_default();
            *sum = sum.saturating_add(count);
        }
    }

    /// A row for this value, or that of all others.
    fn room_for(&self, row: OfValue) -> OfValue {
        if matches!(row.dimension, Dimension::Scope) || self.rows.values.contains_key(&row) {
            return row;
        }
        let first = OfValue {
            value: String::new(),
            ..row.clone()
        };
        let of_tag = |(other, _): &(&OfValue, &UsageSums)| {
            (other.grain, other.organization, other.start, &other.dimension)
                == (row.grain, row.organization, row.start, &row.dimension)
        };
        let known = self.rows.values.range(&first..).take_while(of_tag);
        match known.take(MOST_VALUES).count() < MOST_VALUES {
            true => row,
            false => OfValue {
                value: OTHER_VALUE.to_owned(),
                ..row
            },
        }
    }

    /// Removes what is older than its grain is kept.
    fn prune(&mut self, now: Timestamp) {
        let hour = Grain::Hour.start(now);
        if hour <= self.pruned_at {
            return;
        }
        self.pruned_at = hour;
        let begin = |days: i64| Timestamp::from_millis(hour.as_millis().saturating_sub(days * Grain::Day.length()));
        let (minutes, hours) = (begin(2), begin(90));
        let is_kept = |grain: Grain, start: Timestamp| match grain {
            Grain::Minute => start >= minutes,
            Grain::Hour => start >= hours,
            Grain::Day => true,
        };
        self.rows.keys.retain(|row, _| is_kept(row.grain, row.start));
        self.rows.values.retain(|row, _| is_kept(row.grain, row.start));
        self.rows.latencies.retain(|row, _| is_kept(row.grain, row.start));
    }

    /// The rows of keys that a range is the sum of.
    fn of<'s>(&'s self, range: &'s UsageRange) -> impl Iterator<Item = (&'s OfKey, UsageSums)> {
        let periods = range.periods();
        self.rows
            .keys
            .iter()
            .filter(move |(row, _)| is_in(&periods, row.grain, row.start) && is_of(range.of(), row))
            .map(|(row, sums)| (row, *sums))
    }

    fn periods(&self, range: &UsageRange, grain: Grain) -> Vec<(Timestamp, UsageSums)> {
        let mut periods: BTreeMap<Timestamp, UsageSums> = BTreeMap::new();
        let whole = [(grain, grain.start(range.from()), grain.next(range.until()))];
        for (row, sums) in &self.rows.keys {
            if is_in(&whole, row.grain, row.start) && is_of(range.of(), row) {
                *periods.entry(row.start).or_default() += *sums;
            }
        }
        periods.into_iter().collect()
    }

    fn endpoints(&self, range: &UsageRange, most: NonZeroU32) -> Vec<EndpointUsage> {
        let routes = self.of(range).filter_map(|(row, sums)| {
            let shape = row.shape.as_ref()?;
            Some(((shape.route.to_string(), shape.method), sums))
        });
        let endpoint = |((route, method), sums): ((String, &str), UsageSums)| EndpointUsage {
            route,
            method: method.to_owned(),
            sums,
        };
        largest(routes, most).into_iter().map(endpoint).collect()
    }

    fn errors(&self, range: &UsageRange, most: NonZeroU32) -> Vec<ErrorUsage> {
        let errors = self.of(range).filter_map(|(row, sums)| {
            let shape = row.shape.as_ref()?;
            Some(((shape.status, shape.error?), sums))
        });
        let error = |((status, class), sums): (_, UsageSums)| ErrorUsage {
            status,
            class,
            requests: sums.requests,
        };
        largest(errors, most).into_iter().map(error).collect()
    }

    fn latencies(&self, range: &UsageRange) -> Latencies {
        let periods = range.periods();
        let is_meant = |row: &OfBucket| {
            let of = (row.organization, row.key, row.user.as_ref());
            is_in(&periods, row.grain, row.start) && is_whose(range.of(), of)
        };
        let counts = self.rows.latencies.iter().filter(|(row, _)| is_meant(row));
        Latencies::of(counts.map(|(row, count)| (row.bucket, *count)).collect())
    }

    fn top(&self, range: &UsageRange, consumers: Consumers, most: NonZeroU32) -> Vec<Consumer> {
        let of = |row: &OfKey| -> Option<(OrganizationId, Option<UserId>, Option<KeyId>)> {
            Some(match consumers {
                Consumers::Organizations => (row.organization, None, None),
                Consumers::Users => (row.organization, Some(row.user.clone()?), None),
                Consumers::Keys => (row.organization, None, Some(row.key)),
            })
        };
        let rows = self.of(range).filter_map(|(row, sums)| Some((of(row)?, sums)));
        let consumer = |((organization, user, key), sums): (_, UsageSums)| Consumer {
            organization,
            user,
            key,
            sums,
        };
        largest(rows, most).into_iter().map(consumer).collect()
    }

    fn values(&self, range: &UsageRange, by: &By, most: NonZeroU32) -> Vec<(String, UsageSums)> {
        let dimension = match by {
            By::Scope => Dimension::Scope,
            By::Tag(name) => Dimension::Tag(name.clone()),
        };
        let periods = range.periods();
        let organization = range.of().organization();
        let is_meant = |row: &OfValue| {
            row.dimension == dimension
                && is_in(&periods, row.grain, row.start)
                && organization.is_none_or(|id| id == row.organization)
        };
        let rows = self.rows.values.iter().filter(|(row, _)| is_meant(row));
        largest(rows.map(|(row, sums)| (row.value.clone(), *sums)), most)
    }
}

impl Latencies {
    pub(crate) fn of(counts: Vec<(LatencyBucket, u64)>) -> Self {
        let at = |part| percentile(counts.iter().copied(), part);
        Self {
            requests: counts.iter().fold(0, |sum, (_, count)| sum.saturating_add(*count)),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
        }
    }
}

fn is_of(of: &UsageOf, row: &OfKey) -> bool {
    is_whose(of, (row.organization, row.key, row.user.as_ref()))
}

fn is_whose(of: &UsageOf, (organization, key, user): (OrganizationId, KeyId, Option<&UserId>)) -> bool {
    match of {
        UsageOf::Everyone => true,
        UsageOf::Organization(id) => *id == organization,
        UsageOf::Key(id, of) => *id == organization && *of == key,
        UsageOf::User(id, of) => *id == organization && user == Some(of),
    }
}

fn is_in(periods: &[(Grain, Timestamp, Timestamp)], grain: Grain, start: Timestamp) -> bool {
    let is_one = |(of, from, until): &(Grain, Timestamp, Timestamp)| *of == grain && (*from..*until).contains(&start);
    periods.iter().any(is_one)
}

/// Those with the most requests first; among equals in the order of their names.
fn largest<K: Ord + Clone>(rows: impl Iterator<Item = (K, UsageSums)>, most: NonZeroU32) -> Vec<(K, UsageSums)> {
    let mut sums: BTreeMap<K, UsageSums> = BTreeMap::new();
    for (name, row) in rows {
        *sums.entry(name).or_default() += row;
    }
    let mut all: Vec<(K, UsageSums)> = sums.into_iter().collect();
    all.sort_by_key(|(_, sums)| Reverse(sums.requests));
    all.truncate(usize::try_from(most.get()).unwrap_or(usize::MAX));
    all
}

impl fmt::Debug for MemoryUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryUsage").finish_non_exhaustive()
    }
}
