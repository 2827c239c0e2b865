//! Keys in this process's memory.

mod tables;
mod transaction;

use std::fmt;
use std::sync::{Arc, RwLock, RwLockReadGuard};

use self::tables::Tables;
use crate::audit::{self, AuditEntry};
use crate::fence::Fence;
use crate::key::Lookup;
use crate::store::query::{Answer, Query};
use crate::store::{Candidate, Commit, Committed, KeyStore, ManagedStore, Sharing, StoreError};
use crate::sync::unpoisoned;

/// Keys in this process's memory, gone when it ends: for tests, for examples, and for services that get their keys
/// from a configuration at start.
///
/// Clones share the rows and the fence. Keys and organizations are never evicted, so let
/// only trusted callers create them. Of audit events and of the change log, the last 65,536 are kept, without an event that says
/// so: a longer trail under an audit key does not verify.
///
/// A commit happens within the first poll of its future, under one lock: a caller cannot go away in the middle.
///
/// ```
/// use tower_api_key::key::{KeyRecord, KeySecret, Lookup, Organization, SecretHash, Timestamp};
/// use tower_api_key::store::{Commit, KeyStore, ManagedStore, MemoryStore, Write};
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let store = MemoryStore::new();
/// let acme = Organization::new("Acme");
/// let created = Timestamp::from_millis(1_767_225_600_000);
/// let record = KeyRecord::new(acme.id, "orders", created);
/// let lookup = Lookup::new("4kTz0Q2mVbXw")?;
/// let secret = KeySecret::new(lookup.clone(), SecretHash::new("sha256:00")?, created);
///
/// let commit = Commit::new()
///     .write(Write::InsertOrganization(acme))
///     .write(Write::InsertKey(record.clone()))
///     .write(Write::InsertSecret(record.id, secret));
/// let committed = store.commit(commit).await?;
/// assert_eq!(committed.revision_of(record.id), Some(1));
/// let found = store.find(&lookup).await?.unwrap();
/// assert_eq!(found.record, record);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct MemoryStore {
    tables: Arc<RwLock<Tables>>,
    fence: Fence,
}

impl MemoryStore {
    /// An empty store with a fence of its own.
    pub fn new() -> Self {
        Self {
            tables: Arc::default(),
            fence: Fence::new(),
        }
    }

    fn tables(&self) -> RwLockReadGuard<'_, Tables> {
        unpoisoned(self.tables.read())
    }

    /// The lock is free again when this returns, so that everyone can read the change before it is announced.
    fn change(&self, commit: Commit) -> Result<(Committed, Vec<AuditEntry>), StoreError> {
        unpoisoned(self.tables.write()).commit(commit)
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").finish_non_exhaustive()
    }
}

impl KeyStore for MemoryStore {
    async fn find(&self, lookup: &Lookup) -> Result<Option<Candidate>, StoreError> {
        Ok(self.tables().find(lookup))
    }

    fn fence(&self) -> Option<&Fence> {
        Some(&self.fence)
    }

    fn sharing(&self) -> Sharing {
        Sharing::Exclusive
    }
}

impl ManagedStore for MemoryStore {
    // No await: what happens, happens in the first poll.
    async fn commit(&self, commit: Commit) -> Result<Committed, StoreError> {
        let (committed, entries) = self.change(commit)?;
        self.fence.announce(&committed.changes);
        audit::emit(&entries);
        Ok(committed)
    }

    async fn read(&self, query: Query) -> Result<Answer, StoreError> {
        self.tables().read(query)
    }
}
