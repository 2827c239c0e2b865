//! Keys in this process's memory.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::fence::Fence;
use crate::key::{KeyId, KeyRecord, KeySecret, Lookup, Organization, OrganizationId, SecretHash};
use crate::store::{Candidate, Change, KeyStore, ManageKeys, Sharing, StoreError, StoreErrorKind, StoredKey};
use crate::sync::unpoisoned;

/// Keys in this process's memory, gone when it ends: for tests, for examples, and for services that get their keys
/// from a configuration at start.
///
/// Clones share the rows and the fence. Nothing is evicted: its size is what is inserted, so let only people who may
/// create keys decide how many there are.
///
/// Every change happens within the first poll of its future, under one lock: a caller cannot go away in the middle.
///
/// ```
/// use tower_api_key::key::{KeyRecord, KeySecret, Lookup, Organization, SecretHash, Timestamp};
/// use tower_api_key::store::{KeyStore, ManageKeys, MemoryStore};
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let store = MemoryStore::new();
/// let acme = Organization::new("Acme");
/// let created = Timestamp::from_millis(1_767_225_600_000);
/// let record = KeyRecord::new(acme.id, "orders", created);
/// let lookup = Lookup::new("4kTz0Q2mVbXw")?;
/// let secret = KeySecret::new(lookup.clone(), SecretHash::new("sha256:00")?, created);
///
/// store.insert_organization(acme).await?;
/// store.insert_key(record.clone(), secret).await?;
/// let found = store.find(&lookup).await?.unwrap();
/// assert_eq!(found.record, record);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct MemoryStore {
    rows: Arc<RwLock<Rows>>,
    fence: Fence,
}

/// All of it under one lock, so that a reader never sees half a change. Every change is tried out first and then made
/// by steps that cannot fail.
#[derive(Default)]
struct Rows {
    organizations: HashMap<OrganizationId, Organization>,
    keys: HashMap<KeyId, StoredKey>,
    lookups: HashMap<Lookup, KeyId>,
}

impl MemoryStore {
    /// An empty store with a fence of its own.
    pub fn new() -> Self {
        Self {
            rows: Arc::default(),
            fence: Fence::new(),
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Rows> {
        unpoisoned(self.rows.read())
    }

    /// Makes a change under the lock, and announces it when the lock is free again and everyone can read it.
    fn change<T>(&self, apply: impl FnOnce(&mut Rows) -> Result<(T, Change), StoreErrorKind>) -> Result<T, StoreError> {
        let (value, change) = apply(&mut self.write()).map_err(StoreError::new)?;
        change.announce(&self.fence);
        Ok(value)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Rows> {
        unpoisoned(self.rows.write())
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
        Ok(self.read().find(lookup))
    }

    fn fence(&self) -> Option<&Fence> {
        Some(&self.fence)
    }

    fn sharing(&self) -> Sharing {
        Sharing::Exclusive
    }
}

// No await in any of these: what happens, happens in the first poll.
impl ManageKeys for MemoryStore {
    async fn insert_organization(&self, organization: Organization) -> Result<(), StoreError> {
        self.change(|rows| rows.insert_organization(organization))
    }

    async fn organization(&self, id: OrganizationId) -> Result<Option<Organization>, StoreError> {
        Ok(self.read().organizations.get(&id).cloned())
    }

    async fn update_organization(&self, organization: Organization) -> Result<Organization, StoreError> {
        self.change(|rows| rows.update_organization(organization))
    }

    async fn insert_key(&self, record: KeyRecord, secret: KeySecret) -> Result<(), StoreError> {
        self.change(|rows| rows.insert_key(record, secret))
    }

    async fn key(&self, id: KeyId) -> Result<Option<StoredKey>, StoreError> {
        Ok(self.read().keys.get(&id).cloned())
    }

    async fn update_key(&self, key: StoredKey) -> Result<KeyRecord, StoreError> {
        self.change(|rows| rows.update_key(key))
    }

    async fn replace_hash(&self, lookup: &Lookup, old: &SecretHash, new: &SecretHash) -> Result<bool, StoreError> {
        Ok(self.write().replace_hash(lookup, old, new))
    }
}

impl Rows {
    fn find(&self, lookup: &Lookup) -> Option<Candidate> {
        let key = self.keys.get(self.lookups.get(lookup)?)?;
        let secret = key.secrets.iter().find(|secret| secret.lookup == *lookup)?;
        let organization = self.organizations.get(&key.record.organization_id)?;
        Some(Candidate::new(key.record.clone(), secret.clone(), organization.clone()))
    }

    fn insert_organization(&mut self, organization: Organization) -> Result<((), Change), StoreErrorKind> {
        let Entry::Vacant(place) = self.organizations.entry(organization.id) else {
            return Err(StoreErrorKind::AlreadyExists);
        };
        let change = Change::organization(organization.id, organization.revision);
        place.insert(organization);
        Ok(((), change))
    }

    fn update_organization(&mut self, mut given: Organization) -> Result<(Organization, Change), StoreErrorKind> {
        let stored = self.organizations.get_mut(&given.id).ok_or(StoreErrorKind::NotFound)?;
        given.revision = next_revision(stored.revision, given.revision)?;
        *stored = given.clone();
        let change = Change::organization(given.id, given.revision);
        Ok((given, change))
    }

    fn insert_key(&mut self, record: KeyRecord, secret: KeySecret) -> Result<((), Change), StoreErrorKind> {
        if !self.organizations.contains_key(&record.organization_id) {
            return Err(StoreErrorKind::NotFound);
        }
        if self.keys.contains_key(&record.id) || self.lookups.contains_key(&secret.lookup) {
            return Err(StoreErrorKind::AlreadyExists);
        }
        let change = Change::key(record.id, record.revision);
        self.lookups.insert(secret.lookup.clone(), record.id);
        self.keys.insert(record.id, StoredKey::new(record, vec![secret]));
        Ok(((), change))
    }

    fn update_key(&mut self, mut given: StoredKey) -> Result<(KeyRecord, Change), StoreErrorKind> {
        let id = given.record.id;
        let stored = self.keys.get_mut(&id).ok_or(StoreErrorKind::NotFound)?;
        if stored.record.organization_id != given.record.organization_id {
            return Err(StoreErrorKind::NotFound);
        }
        given.record.revision = next_revision(stored.record.revision, given.record.revision)?;
        for (index, secret) in given.secrets.iter().enumerate() {
            let twice = given.secrets[..index].iter().any(|other| other.lookup == secret.lookup);
            if twice || self.lookups.get(&secret.lookup).is_some_and(|owner| *owner != id) {
                return Err(StoreErrorKind::AlreadyExists);
            }
        }
        for secret in &stored.secrets {
            self.lookups.remove(&secret.lookup);
        }
        for secret in &given.secrets {
            self.lookups.insert(secret.lookup.clone(), id);
        }
        let record = given.record.clone();
        *stored = given;
        let change = Change::key(id, record.revision);
        Ok((record, change))
    }

    fn replace_hash(&mut self, lookup: &Lookup, old: &SecretHash, new: &SecretHash) -> bool {
        let secret = self.lookups.get(lookup).and_then(|id| {
            let secrets = &mut self.keys.get_mut(id)?.secrets;
            secrets
                .iter_mut()
                .find(|secret| secret.lookup == *lookup && secret.hash == *old)
        });
        let Some(secret) = secret else { return false };
        secret.hash = new.clone();
        true
    }
}

fn next_revision(stored: u64, given: u64) -> Result<u64, StoreErrorKind> {
    if stored != given {
        return Err(StoreErrorKind::Conflict);
    }
    stored.checked_add(1).ok_or(StoreErrorKind::InvalidRecord)
}
