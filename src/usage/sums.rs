//! What is added up of requests.

use std::ops::AddAssign;
use std::time::Duration;

use super::event::UsageEvent;

/// Sums over requests. Each stays at `i64::MAX` once it is there: what a database can add up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UsageSums {
    /// How many requests there were.
    pub requests: u64,
    /// Those with an [`ErrorClass`](super::ErrorClass).
    pub errors: u64,
    /// Bytes of the bodies of requests.
    pub bytes_in: u64,
    /// Bytes of the bodies of responses.
    pub bytes_out: u64,
    /// Microseconds from the requests to the ends of their responses.
    pub latency_micros: u64,
    /// What handlers counted in tokens.
    pub tokens: u64,
    /// What handlers said that it costs, in millionths of a dollar.
    pub micro_usd: u64,
}

const MOST: u64 = i64::MAX as u64;

impl UsageSums {
    /// Those of one request.
    pub fn of(event: &UsageEvent) -> Self {
        let micros = u64::try_from(event.latency.as_micros()).unwrap_or(MOST);
        Self {
            requests: 1,
            errors: u64::from(event.error.is_some()),
            bytes_in: event.bytes_in.min(MOST),
            bytes_out: event.bytes_out.min(MOST),
            latency_micros: micros.min(MOST),
            tokens: event.tokens.min(MOST),
            micro_usd: event.micro_usd.min(MOST),
        }
    }

    /// The mean latency; `None` without requests. A connection that was upgraded counts with all the time that it was open: see the
    /// percentiles of [`Latencies`](super::Latencies) for how long clients wait.
    pub fn mean_latency(&self) -> Option<Duration> {
        self.latency_micros
            .checked_div(self.requests)
            .map(Duration::from_micros)
    }

    /// The sums in the order in which stores keep them.
    pub(crate) fn values(&self) -> [u64; 7] {
        [
            self.requests,
            self.errors,
            self.bytes_in,
            self.bytes_out,
            self.latency_micros,
            self.tokens,
            self.micro_usd,
        ]
    }

    /// Sums of such values.
    pub(crate) fn of_values(values: [u64; 7]) -> Self {
        let [requests, errors, bytes_in, bytes_out, latency_micros, tokens, micro_usd] = values;
        Self {
            requests,
            errors,
            bytes_in,
            bytes_out,
            latency_micros,
            tokens,
            micro_usd,
        }
    }
}

impl AddAssign for UsageSums {
    fn add_assign(&mut self, other: Self) {
        let (one, other) = (self.values(), other.values());
        let add = |place: usize| one[place].saturating_add(other[place]).min(MOST);
        *self = Self::of_values(std::array::from_fn(add));
    }
}

impl std::iter::Sum for UsageSums {
    fn sum<I: Iterator<Item = Self>>(sums: I) -> Self {
        sums.fold(Self::default(), |mut all, one| {
            all += one;
            all
        })
    }
}
