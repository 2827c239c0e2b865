//! Floor 2: where key records live.

mod error;

use std::future::Future;
use std::sync::Arc;

pub use self::error::{StoreError, StoreErrorKind};
use crate::fence::Fence;
use crate::key::{KeyId, KeyRecord, KeySecret, Lookup, Organization, OrganizationId, SecretHash};

/// All that checking a key needs of a store. (contract in prose to be written here)
pub trait KeyStore: Send + Sync + 'static {
    /// The record with this lookup, its organization, and the one secret that the lookup belongs to, in one read.
    fn find(&self, lookup: &Lookup) -> impl Future<Output = Result<Option<Candidate>, StoreError>> + Send;

    /// The fence that this store's changes bump.
    fn fence(&self) -> Option<&Fence> {
        None
    }

    /// Who else may change what this store reads.
    fn sharing(&self) -> Sharing {
        Sharing::Unknown
    }
}

impl<S: KeyStore + ?Sized> KeyStore for Arc<S> {
    fn find(&self, lookup: &Lookup) -> impl Future<Output = Result<Option<Candidate>, StoreError>> + Send {
        (**self).find(lookup)
    }

    fn fence(&self) -> Option<&Fence> {
        (**self).fence()
    }

    fn sharing(&self) -> Sharing {
        (**self).sharing()
    }
}

/// Who may change what a store reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sharing {
    /// This process alone: the fence sees every change.
    Exclusive,
    /// Several processes, and a log of changes tells of all of them.
    ChangeLog,
    /// Unknown: a change from elsewhere is seen when the cached answer's time to live is over.
    Unknown,
}

/// What a store found: everything needed to decide about a request.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Candidate {
    /// The key's record.
    pub record: KeyRecord,
    /// The secret that the lookup belongs to.
    pub secret: KeySecret,
    /// The organization that owns the key.
    pub organization: Organization,
}

impl Candidate {
    /// A candidate of these parts.
    pub fn new(record: KeyRecord, secret: KeySecret, organization: Organization) -> Self {
        Self {
            record,
            secret,
            organization,
        }
    }
}

/// A key record with all its secrets.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StoredKey {
    /// The record.
    pub record: KeyRecord,
    /// One secret, or two while a rotation is under way; oldest first.
    pub secrets: Vec<KeySecret>,
}

impl StoredKey {
    /// A key of these parts.
    pub fn new(record: KeyRecord, secrets: Vec<KeySecret>) -> Self {
        Self { record, secrets }
    }
}

/// What issuing needs of a store: writing that never overwrites, and that bumps the fence.
///
/// (contract in prose to be written here)
pub trait ManageKeys: KeyStore {
    /// Adds an organization. `AlreadyExists` when its id is taken.
    fn insert_organization(&self, organization: Organization) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The organization with this id.
    fn organization(&self, id: OrganizationId)
    -> impl Future<Output = Result<Option<Organization>, StoreError>> + Send;

    /// Writes an organization if its revision is still the given one; returns it with the next revision.
    fn update_organization(
        &self,
        organization: Organization,
    ) -> impl Future<Output = Result<Organization, StoreError>> + Send;

    /// Adds a key with its first secret. `AlreadyExists` when its id or the lookup is taken; `NotFound` when the
    /// organization does not exist.
    fn insert_key(&self, record: KeyRecord, secret: KeySecret) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The key with this id and its secrets.
    fn key(&self, id: KeyId) -> impl Future<Output = Result<Option<StoredKey>, StoreError>> + Send;

    /// Writes a key's record and exactly these secrets, if its revision is still the given one; returns the record
    /// with the next revision.
    fn update_key(&self, key: StoredKey) -> impl Future<Output = Result<KeyRecord, StoreError>> + Send;

    /// Replaces a secret's hash by one of a newer policy, if it is still the old one; whether it was. No change in the
    /// fence's sense: nothing that a decision depends on is different.
    fn replace_hash(
        &self,
        lookup: &Lookup,
        old: &SecretHash,
        new: &SecretHash,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;
}
