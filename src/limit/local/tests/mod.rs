//! How much the local limiter lets through, when, and what it forgets.

mod amount;
mod changes;
mod memory;
mod several;
mod threads;

use std::num::NonZeroUsize;
use std::time::Duration;

use crate::clock::Monotonic;
use crate::key::{KeyId, OrganizationId, RateLimit};
use crate::limit::{Allowance, Charge, Decision, KnownBuckets, LimitState, Limited, LocalLimiter, RateLimiter, Take};

const SECOND: u64 = 1_000_000_000;
const START: u64 = 1_000 * SECOND;
const DAY: Duration = Duration::from_secs(86_400);

/// One key of one organization, as a cached entry would hold it.
struct Client {
    key: KeyId,
    organization: OrganizationId,
    key_limits: Vec<RateLimit>,
    organization_limits: Vec<RateLimit>,
    known_buckets: KnownBuckets,
}

impl Client {
    fn new(key_limits: impl Into<Vec<RateLimit>>) -> Self {
        Self::of(OrganizationId::new(), key_limits, [])
    }

    fn of(
        organization: OrganizationId,
        key_limits: impl Into<Vec<RateLimit>>,
        organization_limits: impl Into<Vec<RateLimit>>,
    ) -> Self {
        Self {
            key: KeyId::new(),
            organization,
            key_limits: key_limits.into(),
            organization_limits: organization_limits.into(),
            known_buckets: KnownBuckets::default(),
        }
    }

    /// The same key after the cache has read it again.
    fn reloaded(&self) -> Self {
        Self {
            key: self.key,
            organization: self.organization,
            key_limits: self.key_limits.clone(),
            organization_limits: self.organization_limits.clone(),
            known_buckets: KnownBuckets::default(),
        }
    }

    /// Other limits, as the cache reads them after a change.
    fn change_key_limits(&mut self, key_limits: impl Into<Vec<RateLimit>>) {
        self.key_limits = key_limits.into();
        self.known_buckets = KnownBuckets::default();
    }

    fn change_organization_limits(&mut self, organization_limits: impl Into<Vec<RateLimit>>) {
        self.organization_limits = organization_limits.into();
        self.known_buckets = KnownBuckets::default();
    }

    fn take(&self, limiter: &impl RateLimiter, now: u64) -> Result<Allowance, Box<Limited>> {
        let charge = Charge::new(
            self.key,
            self.organization,
            &self.key_limits,
            &self.organization_limits,
            Monotonic::from_nanos(now),
        )
        .with_known_buckets(&self.known_buckets);
        match limiter.take(&charge) {
            Take::Now(Decision::Allowed(allowance)) => Ok(allowance),
            Take::Now(Decision::Limited(limited)) => Err(limited),
            other => panic!("unexpected {other:?}"),
        }
    }

    fn passes(&self, limiter: &impl RateLimiter, now: u64) -> bool {
        self.take(limiter, now).is_ok()
    }

    /// How many of these pass at one point in time, until the first that does not.
    fn drain(&self, limiter: &impl RateLimiter, now: u64) -> u32 {
        (0..100_000).take_while(|_| self.passes(limiter, now)).count() as u32
    }
}

fn limit(name: &str, limit: u32, per: Duration, burst: u32) -> RateLimit {
    RateLimit::new(name, limit, per).unwrap().burst(burst).unwrap()
}

fn per_second(name: &str, rate: u32, burst: u32) -> RateLimit {
    limit(name, rate, Duration::from_secs(1), burst)
}

fn with_capacity(buckets: usize) -> LocalLimiter {
    LocalLimiter::with_capacity(NonZeroUsize::new(buckets).unwrap())
}

fn remaining(states: &[LimitState]) -> Vec<u32> {
    states.iter().map(|state| state.remaining()).collect()
}

/// How many requests of each of them pass at one point in time.
fn drain_each(clients: &[Client], limiter: &LocalLimiter) -> Vec<u32> {
    clients.iter().map(|client| client.drain(limiter, START)).collect()
}
