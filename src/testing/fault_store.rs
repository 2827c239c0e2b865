//! A store that fails as it is told to.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::fence::Fence;
use crate::key::{KeyId, KeyRecord, KeySecret, Lookup, Organization, OrganizationId, SecretHash};
use crate::store::{Candidate, KeyStore, ManageKeys, Sharing, StoreError, StoreErrorKind, StoredKey};
use crate::sync::unpoisoned;
use crate::testing::Gate;

/// Wraps a store and makes calls go wrong in a scripted order; clones share the store and the script.
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

/// What goes wrong with one call.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// Nothing: the call is passed on.
    None,
    /// It fails before the store is asked.
    Error(StoreErrorKind),
    /// It fails after the store has answered: a change is made, and its caller is told otherwise.
    ErrorAfter(StoreErrorKind),
    /// It is pending until [`Faults::release`], and passed on then.
    Hang,
    /// It panics before the store is asked.
    Panic,
    /// It waits at the gate before the store is asked.
    Before(Gate),
    /// It waits at the gate after the store has answered: what it holds may be out of date when it goes on.
    After(Gate),
    /// The answer is the record of another lookup. A find's fault; other calls are passed on.
    AnotherKey(Lookup),
    /// The answer is this candidate, read earlier. A find's fault; other calls are passed on.
    Stale(Box<Candidate>),
}

/// The script of a [`FaultStore`], and its counters; clones are one.
#[derive(Clone, Debug)]
pub struct Faults(Arc<Script>);

#[derive(Debug)]
struct Script {
    finds: Mutex<Plan>,
    manages: Mutex<Plan>,
    hanging: Mutex<Gate>,
    finds_begun: AtomicU64,
    finds_ended: AtomicU64,
    manages_begun: AtomicU64,
}

/// The next faults, and what comes when there are none.
#[derive(Debug)]
struct Plan {
    next: VecDeque<Fault>,
    otherwise: Fault,
}

impl<S> FaultStore<S> {
    /// Wraps a store; nothing goes wrong yet.
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

    /// The store inside, which has no faults.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// A call of [`ManageKeys`]. Called late: what the store does before its first await is also behind the fault.
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
            hanging: Mutex::new(Gate::new()),
            finds_begun: AtomicU64::new(0),
            finds_ended: AtomicU64::new(0),
            manages_begun: AtomicU64::new(0),
        }))
    }

    /// Lets the next [`find`](KeyStore::find) for which none is planned yet go wrong in this way.
    pub fn next_find(&self, fault: Fault) {
        unpoisoned(self.0.finds.lock()).next.push_back(fault);
    }

    /// Lets every `find` for which none is planned go wrong in this way.
    pub fn every_find(&self, fault: Fault) {
        unpoisoned(self.0.finds.lock()).otherwise = fault;
    }

    /// Lets the next call of [`ManageKeys`], whichever it is, go wrong in this way.
    pub fn next_manage(&self, fault: Fault) {
        unpoisoned(self.0.manages.lock()).next.push_back(fault);
    }

    /// Lets every call of `ManageKeys` for which none is planned go wrong in this way.
    pub fn every_manage(&self, fault: Fault) {
        unpoisoned(self.0.manages.lock()).otherwise = fault;
    }

    /// Lets the calls that [hang](Fault::Hang) now go on.
    pub fn release(&self) {
        let gate = std::mem::replace(&mut *unpoisoned(self.0.hanging.lock()), Gate::new());
        gate.open();
    }

    /// Forgets all faults and releases the calls that hang.
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

    /// How many calls of `ManageKeys` have begun.
    pub fn manages(&self) -> u64 {
        self.0.manages_begun.load(Ordering::SeqCst)
    }

    async fn before(&self, fault: &Fault) -> Result<(), StoreError> {
        match fault {
            Fault::Error(kind) => return Err(StoreError::new(*kind)),
            Fault::Panic => panic!("a fault store was told to panic"),
            Fault::Before(gate) => gate.pass().await,
            Fault::Hang => {
                let gate = unpoisoned(self.0.hanging.lock()).clone();
                gate.pass().await;
            }
            _ => {}
        }
        Ok(())
    }

    async fn after(&self, fault: &Fault) -> Result<(), StoreError> {
        match fault {
            Fault::ErrorAfter(kind) => return Err(StoreError::new(*kind)),
            Fault::After(gate) => gate.pass().await,
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

/// Counts a find as ended however it ends.
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
}

impl<S: ManageKeys> ManageKeys for FaultStore<S> {
    async fn insert_organization(&self, organization: Organization) -> Result<(), StoreError> {
        self.manage(|| self.inner.insert_organization(organization)).await
    }

    async fn organization(&self, id: OrganizationId) -> Result<Option<Organization>, StoreError> {
        self.manage(|| self.inner.organization(id)).await
    }

    async fn update_organization(&self, organization: Organization) -> Result<Organization, StoreError> {
        self.manage(|| self.inner.update_organization(organization)).await
    }

    async fn insert_key(&self, record: KeyRecord, secret: KeySecret) -> Result<(), StoreError> {
        self.manage(|| self.inner.insert_key(record, secret)).await
    }

    async fn key(&self, id: KeyId) -> Result<Option<StoredKey>, StoreError> {
        self.manage(|| self.inner.key(id)).await
    }

    async fn update_key(&self, key: StoredKey) -> Result<KeyRecord, StoreError> {
        self.manage(|| self.inner.update_key(key)).await
    }

    async fn replace_hash(&self, lookup: &Lookup, old: &SecretHash, new: &SecretHash) -> Result<bool, StoreError> {
        self.manage(|| self.inner.replace_hash(lookup, old, new)).await
    }
}
