//! Numbers of keys and of their use.

use std::time::Duration;

use crate::key::{KeyRecord, KeyStatus, OrganizationId, Timestamp};
use crate::last_use::UseOfKey;
use crate::store::query::{Answer, Query, TypedQuery};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// How many keys there are, and how many were used, at a time. [`ApiKeys::statistics`](crate::ApiKeys::statistics) asks it.
#[derive(Clone, Copy, Debug)]
#[must_use]
#[non_exhaustive]
pub struct KeyStatistics {
    /// Of this organization; of all if it is not set.
    pub organization: Option<OrganizationId>,
    /// The time at which keys have ended, or not.
    pub at: Timestamp,
}

/// Numbers of keys, exact, and of the requests with them.
///
/// A key is active, disabled, revoked or expired: a revoked one has not expired, an expired one is neither active nor disabled.
/// Only its own end counts, not that of its secrets or of its organization's policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// All keys.
    pub total: u64,
    /// Neither disabled nor revoked nor expired.
    pub active: u64,
    /// Disabled, and not expired.
    pub disabled: u64,
    /// Revoked.
    pub revoked: u64,
    /// Ended by time, and not revoked.
    pub expired: u64,
    /// Active, and will end within 30 days.
    pub expiring: u64,
    /// Never used.
    pub never_used: u64,
    /// Used within a day.
    pub used_in_a_day: u64,
    /// Used within 7 days.
    pub used_in_a_week: u64,
    /// Used within 30 days.
    pub used_in_a_month: u64,
    /// Admitted requests with the secrets of these keys.
    pub requests: u64,
}

impl KeyStatistics {
    /// Of all organizations, at this time.
    pub fn at(at: Timestamp) -> Self {
        Self { organization: None, at }
    }

    /// Only of this organization.
    pub fn of(self, organization: OrganizationId) -> Self {
        Self {
            organization: Some(organization),
            ..self
        }
    }

    /// The times that matter, for stores: 30 days from then on, and a day, 7 days and 30 days before.
    pub fn times(&self) -> [Timestamp; 4] {
        [
            self.at.after(30 * DAY),
            self.at.before(DAY),
            self.at.before(7 * DAY),
            self.at.before(30 * DAY),
        ]
    }

    /// Counts a key, for stores that hold rows in memory.
    pub fn count(&self, statistics: &mut Statistics, record: &KeyRecord, uses: &UseOfKey) {
        if self.organization.is_some_and(|id| id != record.organization_id) {
            return;
        }
        let [soon, day, week, month] = self.times();
        let ends_by = |time| record.expires_at.is_some_and(|end| end <= time);
        let counts: [(&mut u64, bool); 10] = [
            (&mut statistics.total, true),
            (
                &mut statistics.active,
                record.status == KeyStatus::Active && !ends_by(self.at),
            ),
            (
                &mut statistics.disabled,
                record.status == KeyStatus::Disabled && !ends_by(self.at),
            ),
            (&mut statistics.revoked, record.status == KeyStatus::Revoked),
            (
                &mut statistics.expired,
                record.status != KeyStatus::Revoked && ends_by(self.at),
            ),
            (
                &mut statistics.expiring,
                record.status == KeyStatus::Active && !ends_by(self.at) && ends_by(soon),
            ),
            (&mut statistics.never_used, uses.last_used_at().is_none()),
            (&mut statistics.used_in_a_day, uses.last_used_at() >= Some(day)),
            (&mut statistics.used_in_a_week, uses.last_used_at() >= Some(week)),
            (&mut statistics.used_in_a_month, uses.last_used_at() >= Some(month)),
        ];
        for (number, counts) in counts {
            *number += u64::from(counts);
        }
        statistics.requests = statistics.requests.saturating_add(uses.requests());
    }
}

impl TypedQuery for KeyStatistics {
    type Output = Statistics;

    fn query(self) -> Query {
        Query::Statistics(self)
    }

    fn take(answer: Answer) -> Option<Statistics> {
        match answer {
            Answer::Statistics(statistics) => Some(statistics),
            _ => None,
        }
    }
}
