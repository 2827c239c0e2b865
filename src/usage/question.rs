//! What can be asked of usage.

use std::num::NonZeroU32;
use std::time::Duration;

use jiff::civil::Time;
use jiff::tz::TimeZone;

use super::error::{UsageError, UsageErrorKind};
use super::rollup::Grain;
use super::status::{ErrorClass, UsageStatus};
use super::sums::UsageSums;
use crate::key::{KeyId, OrganizationId, Timestamp, UserId};

/// Whose usage is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UsageOf {
    /// Of all organizations.
    Everyone,
    /// Of an organization.
    Organization(OrganizationId),
    /// Of the keys that act for a user of an organization.
    User(OrganizationId, UserId),
    /// Of a key of an organization.
    Key(OrganizationId, KeyId),
}

impl UsageOf {
    /// The organization, if it is one's.
    pub fn organization(&self) -> Option<OrganizationId> {
        match self {
            Self::Everyone => None,
            Self::Organization(id) | Self::User(id, _) | Self::Key(id, _) => Some(*id),
        }
    }
}

/// Whose usage, and of when: whole hours of up to 90 days ago, whole days before.
///
/// ```
/// use tower_api_key::key::{OrganizationId, Timestamp};
/// use tower_api_key::usage::{UsageOf, UsageRange};
///
/// let acme = UsageOf::Organization(OrganizationId::new());
/// let from: Timestamp = "2026-01-01T00:00:00Z".parse()?;
/// let until: Timestamp = "2026-02-01T00:00:00Z".parse()?;
/// let january = UsageRange::new(acme.clone(), from, until)?;
/// assert_eq!(january.from(), from);
/// // An hour that has begun counts as a whole.
/// let begun = UsageRange::new(acme, from, "2026-01-01T10:20:00Z".parse()?)?;
/// assert_eq!(begun.until(), "2026-01-01T11:00:00Z".parse()?);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageRange {
    of: UsageOf,
    from: Timestamp,
    until: Timestamp,
}

/// Ten years, and the leap days in it.
const LONGEST: Duration = Duration::from_secs(3653 * 86_400);

impl UsageRange {
    /// From the hour of `from` on, up to the end of the hour before `until`.
    ///
    /// # Errors
    /// [`InvalidRange`](UsageErrorKind::InvalidRange) if it ends before it begins, or is longer than ten years.
    pub fn new(of: UsageOf, from: Timestamp, until: Timestamp) -> Result<Self, UsageError> {
        let (start, end) = (Grain::Hour.start(from), Grain::Hour.next(until));
        match from > until || end.since(start) > LONGEST {
            true => Err(UsageErrorKind::InvalidRange.into()),
            false => Ok(Self {
                of,
                from: start,
                until: end,
            }),
        }
    }

    /// The month of this time so far, by UTC.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn month_of(of: UsageOf, now: Timestamp) -> Result<Self, UsageError> {
        Self::new(of, month_start(now), now)
    }

    /// Whose usage it is.
    pub fn of(&self) -> &UsageOf {
        &self.of
    }

    /// When it begins: the start of an hour.
    pub fn from(&self) -> Timestamp {
        self.from
    }

    /// When it ends: the end of an hour, which is not in it.
    pub fn until(&self) -> Timestamp {
        self.until
    }

    /// The periods that it is made of: whole days, and the hours before and after them.
    pub(crate) fn periods(&self) -> Vec<(Grain, Timestamp, Timestamp)> {
        let (first_day, last_day) = (Grain::Day.next(self.from), Grain::Day.start(self.until));
        let parts = match first_day < last_day {
            true => vec![
                (Grain::Hour, self.from, first_day),
                (Grain::Day, first_day, last_day),
                (Grain::Hour, last_day, self.until),
            ],
            false => vec![(Grain::Hour, self.from, self.until)],
        };
        parts.into_iter().filter(|(_, from, until)| from < until).collect()
    }
}

/// When the month of this time began, by UTC.
fn month_start(at: Timestamp) -> Timestamp {
    let start = || {
        let moment = jiff::Timestamp::from_millisecond(at.as_millis()).ok()?;
        let month = TimeZone::UTC.to_datetime(moment).date().first_of_month();
        let moment = TimeZone::UTC.to_timestamp(month.to_datetime(Time::midnight())).ok()?;
        Some(Timestamp::from_millis(moment.as_millisecond()))
    };
    // A time that no calendar has is before every event.
    start().unwrap_or_else(|| Grain::Day.start(at))
}

/// What the most requests are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Consumers {
    /// Organizations.
    Organizations,
    /// Users.
    Users,
    /// Keys.
    Keys,
}

/// What requests are summed by.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum By {
    /// The scope that the route asked for.
    Scope,
    /// The value of the tag with this name.
    Tag(Box<str>),
}

/// A question. Callers use the typed methods of [`UsageExt`](super::UsageExt).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Question {
    /// The sums of a range.
    Summary(UsageRange),
    /// The sums of each of its periods that has any.
    Periods(UsageRange, Grain),
    /// The sums of each route and method, those with the most requests first.
    Endpoints(UsageRange, NonZeroU32),
    /// How many errors there were of each status and class, the most first.
    Errors(UsageRange, NonZeroU32),
    /// How long requests took.
    Latencies(UsageRange),
    /// Who had the most requests.
    Top(UsageRange, Consumers, NonZeroU32),
    /// The sums of each scope, or of each value of a tag, those with the most requests first. Of an organization or of all.
    Values(UsageRange, By, NonZeroU32),
}

/// The answer to a [`Question`], of the same name.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum UsageAnswer {
    /// To [`Question::Summary`].
    Summary(UsageSums),
    /// To [`Question::Periods`], in their order.
    Periods(Vec<(Timestamp, UsageSums)>),
    /// To [`Question::Endpoints`].
    Endpoints(Vec<EndpointUsage>),
    /// To [`Question::Errors`].
    Errors(Vec<ErrorUsage>),
    /// To [`Question::Latencies`].
    Latencies(Latencies),
    /// To [`Question::Top`].
    Top(Vec<Consumer>),
    /// To [`Question::Values`].
    Values(Vec<(String, UsageSums)>),
}

/// The sums of a route and method.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct EndpointUsage {
    /// The template of the route.
    pub route: String,
    /// The method.
    pub method: String,
    /// Its sums.
    pub sums: UsageSums,
}

/// How many errors there were of one kind.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct ErrorUsage {
    /// Their status.
    pub status: UsageStatus,
    /// Their class.
    pub class: ErrorClass,
    /// How many.
    pub requests: u64,
}

/// One of those with the most requests.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Consumer {
    /// The organization.
    pub organization: OrganizationId,
    /// The user, if users were asked for.
    pub user: Option<UserId>,
    /// The key, if keys were asked for.
    pub key: Option<KeyId>,
    /// The sums.
    pub sums: UsageSums,
}

/// How long requests took: of all of them, this part took at most so long. Each is exact to 6.25 %; `None` without requests.
///
/// Connections that were upgraded, such as WebSockets, are not among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Latencies {
    /// How many requests there were.
    pub requests: u64,
    /// Half of them.
    pub p50: Option<Duration>,
    /// Nine of ten.
    pub p90: Option<Duration>,
    /// Ninety-nine of a hundred.
    pub p99: Option<Duration>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn months_begin_on_their_first_day() {
        for (at, start) in [
            ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
            ("2026-02-28T23:59:59Z", "2026-02-01T00:00:00Z"),
            ("2024-02-29T12:00:00Z", "2024-02-01T00:00:00Z"),
            ("2024-03-01T00:00:00Z", "2024-03-01T00:00:00Z"),
            ("2000-12-31T01:00:00Z", "2000-12-01T00:00:00Z"),
            ("1970-01-31T00:00:00Z", "1970-01-01T00:00:00Z"),
        ] {
            assert_eq!(month_start(time(at)), time(start), "{at}");
        }
    }

    #[test]
    fn range_is_of_days_and_the_hours_around_them() {
        let range = |from, until| {
            UsageRange::new(UsageOf::Everyone, time(from), time(until))
                .unwrap()
                .periods()
        };
        assert_eq!(
            range("2026-01-01T22:10:00Z", "2026-01-03T01:00:00Z"),
            [
                (Grain::Hour, time("2026-01-01T22:00:00Z"), time("2026-01-02T00:00:00Z")),
                (Grain::Day, time("2026-01-02T00:00:00Z"), time("2026-01-03T00:00:00Z")),
                (Grain::Hour, time("2026-01-03T00:00:00Z"), time("2026-01-03T01:00:00Z")),
            ]
        );
        assert_eq!(
            range("2026-01-01T22:10:00Z", "2026-01-02T01:00:00Z"),
            [(Grain::Hour, time("2026-01-01T22:00:00Z"), time("2026-01-02T01:00:00Z"))]
        );
        assert_eq!(range("2026-01-01T22:00:00Z", "2026-01-01T22:00:00Z"), []);
        let wrong = UsageRange::new(
            UsageOf::Everyone,
            time("2026-01-02T00:00:00Z"),
            time("2026-01-01T00:00:00Z"),
        );
        assert_eq!(wrong.unwrap_err().kind(), UsageErrorKind::InvalidRange);
    }
}
