//! What issuing needs of a store.

use std::future::Future;
use std::sync::Arc;

use crate::key::{KeyId, KeyRecord, KeySecret, Lookup, Organization, OrganizationId, SecretHash};
use crate::store::{KeyStore, StoreError, StoredKey};

/// What issuing needs of a store: writing that never overwrites, and that bumps the fence.
///
/// # The contract
///
/// 1. **Inserting is not saving.** An insert whose id or lookup is taken fails with
///    [`AlreadyExists`](crate::store::StoreErrorKind::AlreadyExists) and changes nothing. A lookup that could be taken
///    over would give its owner's name to someone else's key.
/// 2. **An update names the revision it read.** It is stored with the next one, or fails with
///    [`Conflict`](crate::store::StoreErrorKind::Conflict) and changes nothing; of several updates from one revision
///    exactly one succeeds. Revisions only rise. Without this, an update that was prepared before a revoke would
///    bring the key back to life.
/// 3. **All or nothing**, for readers too: a record, its secrets and its revision change together.
/// 4. **Commit, then bump, then return.** Every committed change, inserts included (an answer "unknown key" may be
///    cached), is announced to [`fence`](KeyStore::fence) *after* it can be read and *before* the method returns, with the
///    revision that the record has then: what a lagging reader gives of an older one is refused. Bumping
///    first lets a reader fill a cache with the old state under the new count. A bump too many costs one read; a bump
///    too few keeps a revoked key alive.
/// 5. **A caller that goes away does not matter.** Dropping a returned future at any point leaves the change either
///    undone for ever, or done *and* announced. A future that was never polled does nothing.
///    [`commit_change`](crate::store::commit_change) does this for stores whose commit is an await.
/// 6. **An unknown outcome is resolved, not returned**, as far as it can be: bump, read back until it is certain, bump
///    again. [`OutcomeUnknown`](crate::store::StoreErrorKind::OutcomeUnknown) is for when even that is impossible;
///    the fence was bumped then, and the caller should read the row.
///
/// Issuing calls these methods, seldom compared to [`find`](KeyStore::find), and decides nothing from cached state.
/// `testing::store_conformance` (feature `testing`) tries every rule on a store.
pub trait ManageKeys: KeyStore {
    /// Adds an organization, with the revision it carries.
    ///
    /// `AlreadyExists` when its id is taken.
    fn insert_organization(&self, organization: Organization) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The organization with this id.
    fn organization(&self, id: OrganizationId)
    -> impl Future<Output = Result<Option<Organization>, StoreError>> + Send;

    /// Writes an organization if its revision is still the given one; returns it with the next revision.
    ///
    /// `Conflict` when it is not, `NotFound` when there is no such organization.
    fn update_organization(
        &self,
        organization: Organization,
    ) -> impl Future<Output = Result<Organization, StoreError>> + Send;

    /// Adds a key with its first secret, with the revision it carries.
    ///
    /// `AlreadyExists` when its id or the lookup is taken; `NotFound` when the organization does not exist.
    fn insert_key(&self, record: KeyRecord, secret: KeySecret) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The key with this id and its secrets, as of one point in time.
    fn key(&self, id: KeyId) -> impl Future<Output = Result<Option<StoredKey>, StoreError>> + Send;

    /// Writes a key's record and exactly these secrets, if its revision is still the given one; returns the record
    /// with the next revision. Secrets that are not given are gone.
    ///
    /// `Conflict` when the revision is another; `NotFound` when this organization has no key of this id, since a key
    /// never changes its owner; `AlreadyExists` when a lookup is given twice or belongs to another key.
    fn update_key(&self, key: StoredKey) -> impl Future<Output = Result<KeyRecord, StoreError>> + Send;

    /// Replaces a secret's hash by one of a newer policy, if it is still the old one; whether it was. No change in the
    /// fence's sense: nothing that a decision depends on is different, so the revision stays and nothing is bumped.
    ///
    /// A later [`update_key`](Self::update_key) that was read before may put the old hash back. It opens with the same
    /// key, and is replaced again at its next use.
    fn replace_hash(
        &self,
        lookup: &Lookup,
        old: &SecretHash,
        new: &SecretHash,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;
}

impl<S: ManageKeys + ?Sized> ManageKeys for Arc<S> {
    fn insert_organization(&self, organization: Organization) -> impl Future<Output = Result<(), StoreError>> + Send {
        (**self).insert_organization(organization)
    }

    fn organization(
        &self,
        id: OrganizationId,
    ) -> impl Future<Output = Result<Option<Organization>, StoreError>> + Send {
        (**self).organization(id)
    }

    fn update_organization(
        &self,
        organization: Organization,
    ) -> impl Future<Output = Result<Organization, StoreError>> + Send {
        (**self).update_organization(organization)
    }

    fn insert_key(&self, record: KeyRecord, secret: KeySecret) -> impl Future<Output = Result<(), StoreError>> + Send {
        (**self).insert_key(record, secret)
    }

    fn key(&self, id: KeyId) -> impl Future<Output = Result<Option<StoredKey>, StoreError>> + Send {
        (**self).key(id)
    }

    fn update_key(&self, key: StoredKey) -> impl Future<Output = Result<KeyRecord, StoreError>> + Send {
        (**self).update_key(key)
    }

    fn replace_hash(
        &self,
        lookup: &Lookup,
        old: &SecretHash,
        new: &SecretHash,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send {
        (**self).replace_hash(lookup, old, new)
    }
}
