//! Limits of this process: governor decides, the state is kept here.

mod bucket;
mod bucket_set;
mod buckets;
mod cell_rate;
mod overflow;

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
use crate::limit::{Allowance, Charge, Decision, RateLimiter, Take};

/// Enforces limits within this process, without I/O and without waiting.
///
/// Each limit of a key or an organization has a *bucket*: what was taken of it, kept by id and name of the limit. It
/// survives whatever happens to the cached key. When the parameters of a limit change, the bucket stays and the next
/// request is judged by the new ones.
///
/// 1. In any span `T` at most `burst + limit × T / per` requests pass. The decision is [`governor`]'s, the generic cell
///    rate algorithm (GCRA, ITU-T I.371).
/// 2. All limits of a request are charged or none, also when many threads charge the same ones.
/// 3. Memory is bounded: 1,048,576 buckets unless told otherwise, 100 to 150 bytes each. A bucket is dropped only when it
///    is full again and no cached key holds it. Give it more room than there are limits among the cached keys.
/// 4. When there is no room and nothing can be dropped, newcomers with equal limits share one bucket. That is counted
///    (`api_key_limit_overflow_total`, feature `metrics`) and a warning is logged, once a minute at most.
/// 5. The state is this process's alone and is gone when it ends. Behind a load balancer each node admits the full rate.
///
/// What was taken is kept as the time in which it comes back. A limit that is changed is owed that time, at most a whole
/// burst of the new one: an exhausted limit that is raised tenfold has its next unit ten times sooner.
///
/// A burst whose refill would take more than 73 years is cut to what comes back in that time.
///
/// Clones share their state.
///
/// ```
/// use std::time::Duration;
/// use tower_api_key::Monotonic;
/// use tower_api_key::key::{KeyId, OrganizationId, RateLimit};
/// use tower_api_key::limit::{Cells, Charge, Decision, LocalLimiter, RateLimiter, Take};
///
/// let limits = [RateLimit::per_second("requests", 2)?];
/// let limiter = LocalLimiter::new();
/// let (key, organization, cells) = (KeyId::new(), OrganizationId::new(), Cells::new());
///
/// let now = Monotonic::from_nanos(5_000_000_000);
/// let charge = Charge::new(key, organization, &limits, &[], now, &cells);
/// for remaining in [1, 0] {
///     let Take::Now(Decision::Allowed(allowance)) = limiter.take(&charge) else { panic!("two are allowed") };
///     assert_eq!(allowance.states()[0].remaining(), remaining);
/// }
/// let Take::Now(Decision::Limited(limited)) = limiter.take(&charge) else { panic!("the third is not") };
/// assert_eq!(limited.retry_after, Duration::from_millis(500));
/// # Ok::<_, tower_api_key::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct LocalLimiter(Arc<State>);

struct State {
    /// Tells limiters apart. An address would not do: another limiter may get the one of a limiter that is gone.
    id: u64,
    capacity: NonZeroUsize,
    buckets: Buckets,
    overflow: Overflow,
}

/// Whose limit a bucket is for.
#[derive(Hash)]
struct Owner<'a> {
    is_organization: bool,
    id: u128,
    name: &'a str,
    /// Limits of equal name that come before it. A record must not have such; if one does, they must not be taken for
    /// two versions of one limit.
    occurrence: usize,
}

impl LocalLimiter {
    /// The buckets that are kept unless told otherwise.
    pub const DEFAULT_CAPACITY: NonZeroUsize = NonZeroUsize::MIN.saturating_add((1 << 20) - 1);

    /// A limiter with room for 1,048,576 buckets; memory is taken as they come.
    pub fn new() -> Self {
        Self::with_capacity(Self::DEFAULT_CAPACITY)
    }

    /// A limiter that keeps at most this many buckets: one for every limit of a key or an organization that is in use.
    ///
    /// Above about a thousand the bound is kept in up to 64 equal parts, of which one may be full slightly before the
    /// others.
    pub fn with_capacity(buckets: NonZeroUsize) -> Self {
        static NEXT_ID: AtomicU64 = AtomicU64::new(0);
        Self(Arc::new(State {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            capacity: buckets,
            buckets: Buckets::new(buckets.get()),
            overflow: Overflow::default(),
        }))
    }

    /// The most buckets that are kept.
    pub fn capacity(&self) -> NonZeroUsize {
        self.0.capacity
    }

    /// The buckets that are kept now. It visits all parts: for gauges, not for requests.
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

impl State {
    #[inline]
    fn take(&self, charge: &Charge<'_>) -> Decision {
        if charge.len() == 0 {
            return Decision::Allowed(Allowance::default());
        }
        let now = nanoseconds(charge.now);
        match charge.cells.buckets() {
            Some(kept) if kept.is_for(self.id, charge) => kept.take(now),
            _ => self.look_up_and_take(charge, now),
        }
    }

    #[cold]
    fn look_up_and_take(&self, charge: &Charge<'_>, now: u64) -> Decision {
        let mut found: SmallVec<[(CellRate, Arc<Bucket>); 4]> = SmallVec::new();
        let mut overflowed = false;
        for (position, limit) in charge.limits().enumerate() {
            let rate = CellRate::new(limit);
            let own = self
                .buckets
                .find_or_insert(&Owner::of(charge, position), rate.window(), now);
            overflowed |= own.is_none();
            let Some(bucket) = own.or_else(|| self.overflow.bucket(&rate, now)) else {
                return Decision::Unavailable;
            };
            found.push((rate, bucket));
        }
        let set = BucketSet::new(self.id, charge, found.into_iter());
        let decision = set.take(now);
        // A shared bucket is not kept: there may be room for an own one next time.
        if !overflowed {
            charge.cells.keep(set);
        }
        decision
    }
}

impl<'a> Owner<'a> {
    fn of(charge: &Charge<'a>, position: usize) -> Self {
        let organization = position.checked_sub(charge.key_limits.len());
        let (id, limits, position) = match organization {
            None => (charge.key.as_uuid(), charge.key_limits, position),
            Some(position) => (charge.organization.as_uuid(), charge.organization_limits, position),
        };
        let (before, from) = limits.split_at_checked(position).unwrap_or((limits, &[]));
        let name = from.first().map_or("", |limit| limit.name());
        Self {
            is_organization: organization.is_some(),
            id: id.as_u128(),
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
