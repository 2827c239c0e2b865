//! What the rules need: a store, fresh rows, an eye on the fence, and words for what is wrong.

use std::fmt::Debug;
use std::sync::Arc;

use crate::fence::{Fence, Mark};
use crate::key::{KeyId, KeyRecord, KeySecret, Lookup, Organization, OrganizationId, SecretHash, Timestamp};
use crate::store::{Candidate, KeyStore, ManageKeys, StoreError, StoreErrorKind, StoredKey};

pub(super) const NOW: Timestamp = Timestamp::from_millis(1_767_225_600_123);

/// One rule, and a store to try it on.
pub(super) struct Bench<S> {
    rule: &'static str,
    pub(super) store: Arc<S>,
}

impl<S: ManageKeys> Bench<S> {
    pub(super) fn new(rule: &'static str, store: S) -> Self {
        Self {
            rule,
            store: Arc::new(store),
        }
    }

    #[track_caller]
    pub(super) fn broken(&self, how: impl AsRef<str>) -> ! {
        panic!("the store breaks the rule \"{}\": {}", self.rule, how.as_ref())
    }

    #[track_caller]
    pub(super) fn holds(&self, holds: bool, otherwise: impl AsRef<str>) {
        if !holds {
            self.broken(otherwise);
        }
    }

    #[track_caller]
    pub(super) fn same<T: PartialEq + Debug>(&self, what: &str, is: T, should: T) {
        self.holds(is == should, format!("{what} is {is:?} instead of {should:?}"));
    }

    #[track_caller]
    pub(super) fn ok<T>(&self, what: &str, answer: Result<T, StoreError>) -> T {
        answer.unwrap_or_else(|error| self.broken(format!("{what} failed: {error} ({error:?})")))
    }

    #[track_caller]
    pub(super) fn refused<T: Debug>(&self, what: &str, answer: Result<T, StoreError>, kind: StoreErrorKind) {
        match answer {
            Ok(value) => self.broken(format!("{what} succeeded with {value:?} instead of {kind:?}")),
            Err(error) => self.same(&format!("the error of {what}"), error.kind(), kind),
        }
    }

    pub(super) async fn find(&self, lookup: &Lookup) -> Option<Candidate> {
        self.ok("find", self.store.find(lookup).await)
    }

    pub(super) async fn key(&self, id: KeyId) -> Option<StoredKey> {
        self.ok("key", self.store.key(id).await)
    }

    pub(super) async fn stored(&self, id: KeyId) -> StoredKey {
        match self.key(id).await {
            Some(key) => key,
            None => self.broken("a key that was inserted is not there"),
        }
    }

    pub(super) async fn organization(&self) -> Organization {
        let organization = Organization::new("Acme");
        let inserted = self.store.insert_organization(organization.clone()).await;
        self.ok("insert_organization", inserted);
        organization
    }

    /// A key that is in the store, and its organization.
    pub(super) async fn inserted(&self) -> (Organization, StoredKey) {
        let organization = self.organization().await;
        let key = new_key(&organization);
        self.insert(&key).await;
        (organization, key)
    }

    pub(super) async fn insert(&self, key: &StoredKey) {
        let inserted = self.store.insert_key(key.record.clone(), key.secrets[0].clone()).await;
        self.ok("insert_key", inserted);
    }

    /// Watches the fence for a change of this key.
    pub(super) fn watch_key(&self, id: KeyId) -> Watch {
        self.watch(id, OrganizationId::new())
    }

    /// Watches the fence for a change of this organization.
    pub(super) fn watch_organization(&self, id: OrganizationId) -> Watch {
        self.watch(KeyId::new(), id)
    }

    fn watch(&self, key: KeyId, organization: OrganizationId) -> Watch {
        let Some(fence) = self.store.fence() else {
            self.broken("a store that writes has no fence");
        };
        Watch {
            mark: fence.protocol().mark(fence.stripes(key, organization)),
            changes: fence.changes(),
            fence: fence.clone(),
        }
    }
}

/// The state of the fence at one time. Of the two ids of a mark, the one that is not watched is a made-up one.
pub(super) struct Watch {
    fence: Fence,
    mark: Mark,
    changes: u64,
}

impl Watch {
    pub(super) fn was_bumped(&self) -> bool {
        self.fence.changes() != self.changes && !self.fence.protocol().is_current(&self.mark)
    }
}

/// A key with one secret, not yet in the store.
pub(super) fn new_key(organization: &Organization) -> StoredKey {
    let record = KeyRecord::new(organization.id, "orders", NOW);
    StoredKey::new(record, vec![new_secret("sha256:00")])
}

pub(super) fn new_secret(hash: &str) -> KeySecret {
    secret(&new_text(), hash)
}

pub(super) fn secret(lookup: &str, hash: &str) -> KeySecret {
    KeySecret::new(self::lookup(lookup), self::hash(hash), NOW)
}

/// Text that nothing in the store has: 32 lower-case letters and digits. Backwards, since an id begins with the time and
/// some rules take only the first characters.
pub(super) fn new_text() -> String {
    let id = KeyId::new().as_uuid().simple().to_string();
    id.chars().rev().collect()
}

pub(super) fn lookup(text: &str) -> Lookup {
    Lookup::new(text).unwrap_or_else(|error| panic!("{error}"))
}

pub(super) fn hash(text: &str) -> SecretHash {
    SecretHash::new(text).unwrap_or_else(|error| panic!("{error}"))
}
