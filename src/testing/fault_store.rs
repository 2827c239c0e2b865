//! A store that fails by a script.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::clock::Clock;
use crate::fence::Fence;
use crate::key::{KeyFormats, Lookup};
use crate::store::query::{Answer, Query};
use crate::store::{Candidate, Commit, Committed, KeyStore, ManagedStore, Sharing, StoreError, StoreErrorKind};
use crate::sync::unpoisoned;
use crate::testing::Barrier;

/// Wraps a store and makes its calls fail in a scripted order; clones share the store and the script.
///
/// ```
/// use tower_api_key::key::Lookup;
/// use tower_api_key::store::{KeyStore, MemoryStore, StoreErrorKind};
/// use tower_api_key::testing::{Fault, FaultStore};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let store = FaultStore::new(MemoryStore::new());
/// store.faults().next_find(Fault::Error(StoreErrorKind::Unavailable));
///
/// let lookup = Lookup::new("4kTz0Q2mVbXw").unwrap();
/// assert!(store.find(&lookup).await.is_err());
/// assert!(store.find(&lookup).await.is_ok());
/// assert_eq!(store.faults().finds(), 2);
/// # });
/// ```
#[derive(Debug)]
pub struct FaultStore<S> {
    inner: Arc<S>,
    faults: Faults,
}

/// How one call fails.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// Not at all: the call is passed on.
    None,
    /// It fails before the store is asked.
    Error(StoreErrorKind),
    /// It fails after the store has answered: a commit is made, and its caller gets an error.
    ErrorAfter(StoreErrorKind),
    /// It is pending until [`Faults::release`], then it is passed on.
    Hang,
    /// It panics before the store is asked.
    Panic,
    /// It waits at the barrier before the store is asked.
    Before(Barrier),
    /// It waits at the barrier after the store has answered: the answer may be out of date when it returns.
    After(Barrier),
    /// The answer is the record of another lookup. For finds; other calls are passed on.
    AnotherKey(Lookup),
    /// The answer is this candidate, read earlier. For finds; other calls are passed on.
    Stale(Box<Candidate>),
}

/// The script of a [`FaultStore`] and its counters. Clones share them.
#[derive(Clone, Debug)]
pub struct Faults(Arc<Script>);

#[derive(Debug)]
struct Script {
    finds: Mutex<Plan>,
    manages: Mutex<Plan>,
    hanging: Mutex<Barrier>,
    finds_begun: AtomicU64,
    finds_ended: AtomicU64,
    manages_begun: AtomicU64,
}

/// The planned faults, and the one for all other calls.
#[derive(Debug)]
struct Plan {
    next: VecDeque<Fault>,
    otherwise: Fault,
}

impl<S> FaultStore<S> {
    /// Wraps a store. No fault is planned yet.
    pub fn new(inner: S) -> Self {
        Self {
            inner: Arc::new(inner),
            faults: Faults::new(),
        }
    }

    /// The script.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// The wrapped store, which has no faults.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// A commit or a query. The fault comes first; `call` is called after it, so the store has not begun when it comes.
    async fn manage<T, F: Future<Output = Result<T, StoreError>>>(
        &self,
        call: impl FnOnce() -> F,
    ) -> Result<T, StoreError> {
        self.faults.0.manages_begun.fetch_add(1, Ordering::SeqCst);
        let fault = take(&self.faults.0.manages);
        self.faults.before(&fault).await?;
        let answer = call().await;
        self.faults.after(&fault).await?;
        answer
    }
}

// By hand: a derive would ask `S: Clone`.
impl<S> Clone for FaultStore<S> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            faults: self.faults.clone(),
        }
    }
}

impl Faults {
    fn new() -> Self {
        Self(Arc::new(Script {
            finds: Plan::nothing(),
            manages: Plan::nothing(),
            hanging: Mutex::new(Barrier::new()),
            finds_begun: AtomicU64::new(0),
            finds_ended: AtomicU64::new(0),
            manages_begun: AtomicU64::new(0),
        }))
    }

    /// Plans a fault for the next [`find`](KeyStore::find) without one.
    pub fn next_find(&self, fault: Fault) {
        unpoisoned(self.0.finds.lock()).next.push_back(fault);
    }

    /// Sets the fault of every `find` without a planned one.
    pub fn every_find(&self, fault: Fault) {
        unpoisoned(self.0.finds.lock()).otherwise = fault;
    }

    /// Plans a fault for the next [`commit`](ManagedStore::commit) or [`read`](ManagedStore::read) without one.
    pub fn next_manage(&self, fault: Fault) {
        unpoisoned(self.0.manages.lock()).next.push_back(fault);
    }

    /// Sets the fault of every commit and read without a planned one.
    pub fn every_manage(&self, fault: Fault) {
        unpoisoned(self.0.manages.lock()).otherwise = fault;
    }

    /// Passes on the calls that [hang](Fault::Hang) now.
    pub fn release(&self) {
        let barrier = std::mem::replace(&mut *unpoisoned(self.0.hanging.lock()), Barrier::new());
        barrier.open();
    }

    /// Removes all faults and releases the calls that hang.
    pub fn heal(&self) {
        for plan in [&self.0.finds, &self.0.manages] {
            *unpoisoned(plan.lock()) = Plan {
                next: VecDeque::new(),
                otherwise: Fault::None,
            };
        }
        self.release();
    }

    /// How many finds have begun.
    pub fn finds(&self) -> u64 {
        self.0.finds_begun.load(Ordering::SeqCst)
    }

    /// How many finds have begun and neither returned, panicked, nor been dropped.
    pub fn finds_in_progress(&self) -> u64 {
        let ended = self.0.finds_ended.load(Ordering::SeqCst);
        self.finds().saturating_sub(ended)
    }

    /// How many commits and reads have begun.
    pub fn manages(&self) -> u64 {
        self.0.manages_begun.load(Ordering::SeqCst)
    }

    async fn before(&self, fault: &Fault) -> Result<(), StoreError> {
        match fault {
            Fault::Error(kind) => return Err(StoreError::new(*kind)),
            Fault::Panic => panic!("Fault::Panic"),
            Fault::Before(barrier) => barrier.pass().await,
            Fault::Hang => {
                let barrier = unpoisoned(self.0.hanging.lock()).clone();
                barrier.pass().await;
            }
            _ => {}
        }
        Ok(())
    }

    async fn after(&self, fault: &Fault) -> Result<(), StoreError> {
        match fault {
            Fault::ErrorAfter(kind) => return Err(StoreError::new(*kind)),
            Fault::After(barrier) => barrier.pass().await,
            _ => {}
        }
        Ok(())
    }
}

impl Plan {
    fn nothing() -> Mutex<Self> {
        Mutex::new(Self {
            next: VecDeque::new(),
            otherwise: Fault::None,
        })
    }
}

fn take(plan: &Mutex<Plan>) -> Fault {
    let mut plan = unpoisoned(plan.lock());
    let next = plan.next.pop_front();
    next.unwrap_or_else(|| plan.otherwise.clone())
}

/// Counts a find as ended, however it ends.
struct InProgress<'a>(&'a AtomicU64);

impl Drop for InProgress<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl<S: KeyStore> KeyStore for FaultStore<S> {
    async fn find(&self, lookup: &Lookup) -> Result<Option<Candidate>, StoreError> {
        self.faults.0.finds_begun.fetch_add(1, Ordering::SeqCst);
        let _in_progress = InProgress(&self.faults.0.finds_ended);
        let fault = take(&self.faults.0.finds);
        self.faults.before(&fault).await?;
        let answer = match &fault {
            Fault::AnotherKey(other) => self.inner.find(other).await,
            Fault::Stale(candidate) => Ok(Some((**candidate).clone())),
            _ => self.inner.find(lookup).await,
        };
        self.faults.after(&fault).await?;
        answer
    }

    fn fence(&self) -> Option<&Fence> {
        self.inner.fence()
    }

    fn sharing(&self) -> Sharing {
        self.inner.sharing()
    }

    fn formats(&self) -> Option<KeyFormats> {
        self.inner.formats()
    }

    fn follow(&self, clock: &Clock) {
        self.inner.follow(clock);
    }

    fn close(&self) -> impl Future<Output = ()> + Send {
        self.inner.close()
    }
}

impl<S: ManagedStore> ManagedStore for FaultStore<S> {
    async fn commit(&self, commit: Commit) -> Result<Committed, StoreError> {
        self.manage(|| self.inner.commit(commit)).await
    }

    async fn read(&self, query: Query) -> Result<Answer, StoreError> {
        self.manage(|| self.inner.read(query)).await
    }
}
