//! The protocol that makes a revoke final: generations, minimum revisions, and the load of a record.
//!
//! A change commits, then raises the minimum revision, then counts itself in `changes`, and only then turns the generation
//! of its stripe. A fill reads in the opposite order. If either side were reordered, some interleaving would let a revoked
//! key pass: `tests/fence_model.rs` runs this file under a model checker, and with such changes, to show it.
//!
//! Nothing but `crate::sync` and the standard library's collections is named here, so that the model checker can put
//! its own atomics in place of the real ones.

use std::collections::{HashMap, VecDeque};
use std::future::Future;

use crate::sync::{AtomicU64, Mutex, MutexGuard, Ordering};

/// How often a fill reads while changes come in between. After that the request fails; it is never admitted unconfirmed.
const ATTEMPTS: usize = 3;
/// Changes whose minimum revisions are kept. One matters while a source may still return the row of before: seconds.
const MINIMUM_REVISIONS: usize = 65_536;

/// Counters that only ever grow. All of it is `SeqCst`: on the machines this runs on, a load costs the same.
pub(crate) struct Protocol {
    changes: AtomicU64,
    keys: Box<[AtomicU64]>,
    organizations: Box<[AtomicU64]>,
    epoch: AtomicU64,
    /// When a follower last knew that it had seen every change from elsewhere; 0 while there is none.
    confirmed_at: AtomicU64,
    minimum_revisions: Mutex<MinimumRevisions>,
}

/// The least revision that each of the latest changes allows its record to have.
struct MinimumRevisions {
    capacity: usize,
    minimums: HashMap<RowId, MinimumRevision>,
    /// One for each raise; the last one of a row is the one that counts.
    raises: VecDeque<(RowId, u64)>,
    raised: u64,
}

struct MinimumRevision {
    revision: u64,
    raise: u64,
}

/// Which row a minimum revision is of. By the id alone, a key would be compared with the revisions of an organization
/// that has the same id: each kind has ids of its own, and imported ones are often small numbers.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum RowId {
    Key(u128),
    Organization(u128),
}

/// Which generation counters a key and its organization turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Stripes {
    pub(crate) key: u16,
    pub(crate) organization: u16,
}

/// The state of a record's counters at one time.
///
/// The counters only grow, so their sum is unchanged exactly if each of them is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Mark {
    sum: u64,
    stripes: Stripes,
}

impl Mark {
    pub(crate) fn stripes(&self) -> Stripes {
        self.stripes
    }
}

/// Which rows a candidate was read from, and their revisions.
pub(crate) struct Identity {
    pub(crate) stripes: Stripes,
    pub(crate) key: u128,
    pub(crate) key_revision: u64,
    pub(crate) organization: u128,
    pub(crate) organization_revision: u64,
}

/// Where [`load`] gets a record, and how it verifies the presented key against it.
pub(crate) trait Source {
    type Candidate;
    type Verified;
    type Failure;

    fn find(&self) -> impl Future<Output = Result<Option<Self::Candidate>, Self::Failure>>;
    fn identify(&self, candidate: &Self::Candidate) -> Identity;
    fn verify(&self, candidate: Self::Candidate) -> impl Future<Output = Result<Self::Verified, Self::Failure>>;
}

/// How a load ended.
pub(crate) enum Loaded<V, F> {
    /// Verified against a record as of `mark`, or of something newer.
    Verified { verified: V, mark: Mark },
    /// The store has no such record.
    Absent,
    /// The record is older than a change that was already announced: a read from somewhere that lags.
    BelowMinimum,
    /// Changes came during every read, and each read gave another owner of the lookup, which no store does that keeps its
    /// contract.
    Unconfirmed,
    /// The source failed.
    Failed(F),
}

impl Protocol {
    pub(crate) fn new(stripes: usize) -> Self {
        Self::with_minimum_revisions(stripes, MINIMUM_REVISIONS)
    }

    /// Keeps the minimum revisions of this many changes.
    pub(crate) fn with_minimum_revisions(stripes: usize, capacity: usize) -> Self {
        let counters = || (0..stripes).map(|_| AtomicU64::new(0)).collect();
        Self {
            changes: AtomicU64::new(0),
            keys: counters(),
            organizations: counters(),
            epoch: AtomicU64::new(0),
            confirmed_at: AtomicU64::new(0),
            minimum_revisions: Mutex::new(MinimumRevisions::new(capacity)),
        }
    }

    /// How many changes were announced so far.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    /// The state of these counters now.
    #[inline]
    pub(crate) fn mark(&self, stripes: Stripes) -> Mark {
        let key = self.keys[usize::from(stripes.key)].load(Ordering::SeqCst);
        let organization = self.organizations[usize::from(stripes.organization)].load(Ordering::SeqCst);
        let epoch = self.epoch.load(Ordering::SeqCst);
        Mark {
            sum: key.wrapping_add(organization).wrapping_add(epoch),
            stripes,
        }
    }

    /// Whether nothing on the mark's stripes has changed since it was taken.
    #[inline]
    pub(crate) fn is_current(&self, mark: &Mark) -> bool {
        self.mark(mark.stripes).sum == mark.sum
    }

    pub(crate) fn bump_key(&self, stripe: u16, key: u128, revision: u64) {
        self.raise_minimum_revision(RowId::Key(key), revision);
        self.count_change();
        self.turn_key(stripe);
    }

    pub(crate) fn bump_organization(&self, stripe: u16, organization: u128, revision: u64) {
        self.raise_minimum_revision(RowId::Organization(organization), revision);
        self.count_change();
        self.organizations[usize::from(stripe)].fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn turn_epoch(&self) {
        self.count_change();
        self.epoch.fetch_add(1, Ordering::SeqCst);
    }

    /// Every change committed before `at` has been announced here.
    pub(crate) fn confirm(&self, at: u64) {
        self.confirmed_at.fetch_max(at, Ordering::SeqCst);
    }

    /// Whether there ever was a follower.
    pub(crate) fn is_followed(&self) -> bool {
        self.confirmed_at() != 0
    }

    /// The latest confirmation; 0 without one.
    pub(crate) fn confirmed_at(&self) -> u64 {
        self.confirmed_at.load(Ordering::SeqCst)
    }

    /// Whether what was read at `read_at` is confirmed as of at most `max_staleness` ago. Without a follower nothing is. A
    /// confirmation that is further ahead does not count: it comes from another clock, and would never let the lease end.
    ///
    /// Call this *before* [`is_current`](Self::is_current). The follower announces changes first and confirms then, so a visible
    /// confirmation implies a mark that shows the changes. In the other order, a follower that resumes after a long pause could
    /// let one check pass in between.
    pub(crate) fn is_within_lease(&self, read_at: u64, now: u64, max_staleness: u64) -> bool {
        let confirmed_at = self.confirmed_at();
        confirmed_at != 0
            && confirmed_at.saturating_sub(now) <= max_staleness
            && now.saturating_sub(confirmed_at.max(read_at)) <= max_staleness
    }

    // The steps of a bump, separate so that the model test can take them in a wrong order, which must fail.

    pub(crate) fn count_change(&self) {
        self.changes.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn turn_key(&self, stripe: u16) {
        self.keys[usize::from(stripe)].fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn raise_minimum_revision(&self, row: RowId, revision: u64) {
        self.minimum_revisions().raise(row, revision);
    }

    /// The records may be older than the changes that were announced, and stay so.
    pub(crate) fn forget_minimum_revisions(&self) {
        let mut minimums = self.minimum_revisions();
        minimums.minimums.clear();
        minimums.raises.clear();
    }

    /// Whether a change was announced that this record does not have yet.
    pub(crate) fn is_below_minimum_revision(&self, identity: &Identity) -> bool {
        let minimums = self.minimum_revisions();
        minimums.is_above(RowId::Key(identity.key), identity.key_revision)
            || minimums.is_above(
                RowId::Organization(identity.organization),
                identity.organization_revision,
            )
    }

    fn minimum_revisions(&self) -> MutexGuard<'_, MinimumRevisions> {
        self.minimum_revisions
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl MinimumRevisions {
    fn new(capacity: usize) -> Self {
        Self {
            capacity,
            minimums: HashMap::new(),
            raises: VecDeque::new(),
            raised: 0,
        }
    }

    fn raise(&mut self, row: RowId, revision: u64) {
        self.raised += 1;
        let raise = self.raised;
        let minimum = self.minimums.entry(row).or_insert(MinimumRevision { revision, raise });
        // Two changes of one record may be announced in the wrong order.
        minimum.revision = minimum.revision.max(revision);
        minimum.raise = raise;
        self.raises.push_back((row, raise));
        if self.raises.len() > self.capacity
            && let Some((row, raise)) = self.raises.pop_front()
            // Not one that was raised again since: by age of its first raise, the newest might go first.
            && self.minimums.get(&row).is_some_and(|minimum| minimum.raise == raise)
        {
            self.minimums.remove(&row);
        }
    }

    fn is_above(&self, row: RowId, revision: u64) -> bool {
        self.minimums
            .get(&row)
            .is_some_and(|minimum| revision < minimum.revision)
    }
}

/// Reads and verifies a record so that the answer carries a mark no newer than the record.
///
/// With `known` stripes the mark is taken before the read, and a change that comes later makes it old by itself. Without,
/// the stripes are known only after the read: the mark is taken then, and *after* it `changes` must not have moved
/// since before the read. In this order only: a mark that saw a change implies a `changes` that shows it.
pub(crate) async fn load<S: Source>(
    protocol: &Protocol,
    mut known: Option<Stripes>,
    source: &S,
) -> Loaded<S::Verified, S::Failure> {
    let mut is_below_minimum_revision = false;
    for _ in 0..ATTEMPTS {
        let changes = protocol.changes();
        let before = known.map(|stripes| protocol.mark(stripes));
        let candidate = match source.find().await {
            Ok(Some(candidate)) => candidate,
            Ok(None) => return Loaded::Absent,
            Err(failure) => return Loaded::Failed(failure),
        };
        let identity = source.identify(&candidate);
        // A lookup's key and organization never change, so the next attempt takes the mark before it reads. Were it to
        // begin from nothing again, steady changes of any other keys (an import, say) would refuse every key not seen yet.
        let before = before.filter(|mark| mark.stripes == identity.stripes);
        known = Some(identity.stripes);
        // Not an answer yet: the change may have come while the record was read, and then the next read sees it.
        is_below_minimum_revision = protocol.is_below_minimum_revision(&identity);
        if is_below_minimum_revision {
            continue;
        }
        let mark = match before {
            Some(mark) => mark,
            None => {
                let mark = protocol.mark(identity.stripes);
                if protocol.changes() != changes {
                    continue;
                }
                mark
            }
        };
        return match source.verify(candidate).await {
            Ok(verified) => Loaded::Verified { verified, mark },
            Err(failure) => Loaded::Failed(failure),
        };
    }
    match is_below_minimum_revision {
        true => Loaded::BelowMinimum,
        false => Loaded::Unconfirmed,
    }
}
