//! Questions with their own types of answers.

use std::future::Future;
use std::num::NonZeroU32;

use super::error::{UsageError, UsageErrorKind};
use super::question::{
    By, Consumer, Consumers, EndpointUsage, ErrorUsage, Latencies, Question, UsageAnswer, UsageOf, UsageRange,
};
use super::rollup::Grain;
use super::sink::UsageQuery;
use super::sums::UsageSums;
use crate::key::Timestamp;

/// Questions, on every [`UsageQuery`]. Not to be implemented by hand.
///
/// Each fails with [`Unavailable`](UsageErrorKind::Unavailable) if the store cannot answer,
/// [`InvalidRecord`](UsageErrorKind::InvalidRecord) if it cannot be understood, and
/// [`Unsupported`](UsageErrorKind::Unsupported) if it keeps no usage.
pub trait UsageExt: UsageQuery {
    /// The sums of a range: of a month for its bill, of the current month with [`UsageRange::month_of`].
    fn summary(&self, range: UsageRange) -> impl Future<Output = Result<UsageSums, UsageError>> + Send {
        asked(self, Question::Summary(range), |answer| match answer {
            UsageAnswer::Summary(sums) => Some(sums),
            _ => None,
        })
    }

    /// The sums of each day, hour or minute that has any, in their order. Each is whole: the first and the last day of a range may begin
    /// before it and end after it.
    fn periods(
        &self,
        range: UsageRange,
        grain: Grain,
    ) -> impl Future<Output = Result<Vec<(Timestamp, UsageSums)>, UsageError>> + Send {
        asked(self, Question::Periods(range, grain), |answer| match answer {
            UsageAnswer::Periods(periods) => Some(periods),
            _ => None,
        })
    }

    /// The sums of each route and method, those with the most requests first.
    fn endpoints(
        &self,
        range: UsageRange,
        most: NonZeroU32,
    ) -> impl Future<Output = Result<Vec<EndpointUsage>, UsageError>> + Send {
        asked(self, Question::Endpoints(range, most), |answer| match answer {
            UsageAnswer::Endpoints(endpoints) => Some(endpoints),
            _ => None,
        })
    }

    /// How many errors there were of each status and class, the most first.
    fn errors(
        &self,
        range: UsageRange,
        most: NonZeroU32,
    ) -> impl Future<Output = Result<Vec<ErrorUsage>, UsageError>> + Send {
        asked(self, Question::Errors(range, most), |answer| match answer {
            UsageAnswer::Errors(errors) => Some(errors),
            _ => None,
        })
    }

    /// How long requests took.
    fn latencies(&self, range: UsageRange) -> impl Future<Output = Result<Latencies, UsageError>> + Send {
        asked(self, Question::Latencies(range), |answer| match answer {
            UsageAnswer::Latencies(latencies) => Some(latencies),
            _ => None,
        })
    }

    /// Who had the most requests.
    fn top(
        &self,
        range: UsageRange,
        consumers: Consumers,
        most: NonZeroU32,
    ) -> impl Future<Output = Result<Vec<Consumer>, UsageError>> + Send {
        asked(self, Question::Top(range, consumers, most), |answer| match answer {
            UsageAnswer::Top(consumers) => Some(consumers),
            _ => None,
        })
    }

    /// The sums of each scope, or of each value of a tag, those with the most requests first. Of an organization, or of all: for a user or
    /// a key it is [`OfOrganizations`](UsageErrorKind::OfOrganizations).
    fn values(
        &self,
        range: UsageRange,
        by: By,
        most: NonZeroU32,
    ) -> impl Future<Output = Result<Vec<(String, UsageSums)>, UsageError>> + Send {
        async move {
            if matches!(range.of(), UsageOf::User(..) | UsageOf::Key(..)) {
                return Err(UsageErrorKind::OfOrganizations.into());
            }
            let take = |answer| match answer {
                UsageAnswer::Values(values) => Some(values),
                _ => None,
            };
            asked(self, Question::Values(range, by, most), take).await
        }
    }
}

impl<U: UsageQuery + ?Sized> UsageExt for U {}

async fn asked<U: UsageQuery + ?Sized, T>(
    usage: &U,
    question: Question,
    take: impl FnOnce(UsageAnswer) -> Option<T> + Send,
) -> Result<T, UsageError> {
    let other = || UsageError::with_source(UsageErrorKind::InvalidRecord, "the answer to another question");
    take(usage.ask(question).await?).ok_or_else(other)
}
