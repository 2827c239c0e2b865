//! Rate limits within one process.

mod bucket;
mod bucket_set;
mod buckets;
mod cell_rate;
mod overflow;
#[cfg(test)]
mod tests;

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use smallvec::SmallVec;

use self::bucket::Bucket;
pub(in crate::limit) use self::bucket_set::BucketSet;
use self::buckets::Buckets;
use self::cell_rate::{CellRate, nanoseconds};
use self::overflow::Overflow;
use crate::key::Subject;
use crate::limit::{Allowance, Charge, Decision, KnownBuckets, RateLimiter, Take};

/// Enforces limits within this process, without I/O and without waiting.
///
/// Each limit of a key or an organization has a *bucket*, which records what was taken of it. Buckets are found by the id
/// of their owner and the limit's name. They outlive the cached key, and a limit whose numbers change keeps its bucket.
///
/// 1. In any span `T` at most `burst + limit × T / per` requests pass. [`governor`] decides, by the generic cell rate
///    algorithm (GCRA, ITU-T I.371).
/// 2. A request is charged to all of its limits or to none, also when many threads charge the same ones.
/// 3. Memory is bounded: 1,048,576 buckets by default, of 100 to 150 bytes each. A bucket is dropped only when it is full
///    again and no cached key holds it. Set the capacity above the number of limits of all cached keys.
/// 4. When the limiter is full and no bucket can be dropped, new keys with equal limits share one bucket. This is counted
///    (`api_key_limit_overflow_total`, feature `metrics`) and logged as a warning, at most once a minute.
/// 5. The state ends with the process. Several processes behind one load balancer each allow the full rate.
///
/// What was taken is kept as the time in which it comes back. When a limit changes, that time still has to pass, but at
/// most the time of a whole burst of the new limit: an exhausted limit that is raised tenfold has its next unit ten times
/// sooner.
///
/// Clones share their state.
///
/// ```
/// use std::time::Duration;
/// use tower_api_key::Clock;
/// use tower_api_key::key::{KeyId, OrganizationId, RateLimit};
/// use tower_api_key::limit::{Charge, Decision, LocalLimiter, RateLimiter, Take};
///
/// let limits = [RateLimit::per_second("requests", 2)?];
/// let limiter = LocalLimiter::new();
/// let charge = Charge::new(KeyId::new(), OrganizationId::new(), &limits, &[], Clock::system().now());
///
/// for remaining in [1, 0] {
///     let Take::Now(Decision::Allowed(allowance)) = limiter.take(&charge) else { panic!("two are allowed") };
///     assert_eq!(allowance.states()[0].remaining(), remaining);
/// }
/// let Take::Now(Decision::Limited(limited)) = limiter.take(&charge) else { panic!("the third is not") };
/// assert_eq!(limited.retry_after, Duration::from_millis(500));
/// # Ok::<_, tower_api_key::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct LocalLimiter(Arc<LimiterState>);

struct LimiterState {
    /// Distinguishes limiters. An address would not do: a new limiter may get that of one that was dropped.
    id: u64,
    capacity: NonZeroUsize,
    buckets: Buckets,
    overflow: Overflow,
}

/// Which limit a bucket is for.
#[derive(Hash)]
struct BucketOwner<'a> {
    subject: Subject,
    name: &'a str,
    /// The number of limits of the same name before it. A record should not have any, but two such limits must not be
    /// taken for two versions of one.
    occurrence: usize,
}

impl LocalLimiter {
    /// The default capacity: 1,048,576 buckets.
    pub const DEFAULT_CAPACITY: NonZeroUsize = NonZeroUsize::MIN.saturating_add((1 << 20) - 1);

    /// A limiter with the default capacity. It allocates buckets as they are needed.
    pub fn new() -> Self {
        Self::with_capacity(Self::DEFAULT_CAPACITY)
    }

    /// A limiter that keeps at most this many buckets. Each limit in use of a key or an organization needs one.
    pub fn with_capacity(buckets: NonZeroUsize) -> Self {
        static NEXT_ID: AtomicU64 = AtomicU64::new(0);
        Self(Arc::new(LimiterState {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            capacity: buckets,
            buckets: Buckets::new(buckets.get()),
            overflow: Overflow::default(),
        }))
    }

    /// The most buckets that it keeps.
    pub fn capacity(&self) -> NonZeroUsize {
        self.0.capacity
    }

    /// The number of buckets that it keeps now.
    pub fn buckets(&self) -> usize {
        self.0.buckets.len()
    }
}

impl RateLimiter for LocalLimiter {
    fn take(&self, charge: &Charge<'_>) -> Take {
        Take::Now(self.0.take(charge))
    }

    fn is_immediate(&self) -> bool {
        true
    }
}

impl LimiterState {
    fn take(&self, charge: &Charge<'_>) -> Decision {
        if charge.len() == 0 {
            return Decision::Allowed(Allowance::default());
        }
        let now = nanoseconds(charge.now());
        match charge.known_buckets().and_then(KnownBuckets::get) {
            Some(known) if known.is_of(self.id) => known.take(charge.lists(), now),
            _ => self.look_up_and_take(charge, now),
        }
    }

    fn look_up_and_take(&self, charge: &Charge<'_>, now: u64) -> Decision {
        let mut found: SmallVec<[(CellRate, Arc<Bucket>); 4]> = SmallVec::new();
        let mut overflowed = false;
        for (position, limit) in charge.limits().enumerate() {
            let rate = CellRate::new(limit);
            let owner = BucketOwner::of(charge, position);
            let own = self.buckets.find_or_insert(&owner, rate.window(), now);
            overflowed |= own.is_none();
            let Some(bucket) = own.or_else(|| self.overflow.bucket(&rate, now)) else {
                return Decision::Unavailable;
            };
            found.push((rate, bucket));
        }
        let set = BucketSet::new(self.id, found.into_iter());
        let decision = set.take(charge.lists(), now);
        // A shared bucket is not kept: the next request may find room for one of its own.
        if let Some(known) = charge.known_buckets()
            && !overflowed
        {
            known.keep(set);
        }
        decision
    }
}

impl<'a> BucketOwner<'a> {
    fn of(charge: &Charge<'a>, position: usize) -> Self {
        let (subject, limits, position) = match position.checked_sub(charge.key_limits().len()) {
            None => (Subject::Key(charge.key()), charge.key_limits(), position),
            Some(position) => {
                let subject = Subject::Organization(charge.organization());
                (subject, charge.organization_limits(), position)
            }
        };
        let (before, from) = limits.split_at_checked(position).unwrap_or((limits, &[]));
        let name = from.first().map_or("", |limit| limit.name());
        Self {
            subject,
            name,
            occurrence: before.iter().filter(|limit| limit.name() == name).count(),
        }
    }
}

impl Default for LocalLimiter {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for LocalLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalLimiter")
            .field("capacity", &self.0.capacity)
            .finish_non_exhaustive()
    }
}
