//! What the rules share: a store, fresh rows, commits of one row, and a watch on the fence.

use std::fmt::Debug;
use std::sync::Arc;

use crate::audit::{AuditAction, AuditEvent};
use crate::fence::{Fence, Mark};
use crate::key::{Actor, KeyId, KeyRecord, KeySecret, Lookup, Organization, OrganizationId, SecretHash, Timestamp};
use crate::store::query::TypedQuery;
use crate::store::{
    Candidate, Commit, Committed, KeyStore, ManagedStore, StoreError, StoreErrorKind, StoreExt, StoredKey, Write,
};

pub(super) const NOW: Timestamp = Timestamp::from_millis(1_767_225_600_123);

/// One rule, and a store to try it on.
pub(super) struct Bench<S> {
    rule: &'static str,
    pub(super) store: Arc<S>,
}

impl<S: ManagedStore> Bench<S> {
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

    pub(super) fn parsed<T: std::str::FromStr<Err: Debug>>(&self, text: &str) -> T {
        text.parse()
            .unwrap_or_else(|error| self.broken(format!("{text} is refused: {error:?}")))
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

    pub(super) async fn get<Q: TypedQuery>(&self, what: &str, query: Q) -> Q::Output {
        self.ok(what, self.store.get(query).await)
    }

    /// What the first secret of a key finds.
    pub(super) async fn found(&self, key: &StoredKey) -> Candidate {
        match self.find(&key.secrets[0].lookup).await {
            Some(candidate) => candidate,
            None => self.broken("a key that was inserted is not found"),
        }
    }

    /// The answer to a query, which may be an error.
    pub(super) async fn store_get<Q: TypedQuery>(&self, query: Q) -> Result<Q::Output, StoreError> {
        self.store.get(query).await
    }

    pub(super) async fn key(&self, id: KeyId) -> Option<StoredKey> {
        self.get("reading a key", id).await
    }

    pub(super) async fn stored(&self, id: KeyId) -> StoredKey {
        match self.key(id).await {
            Some(key) => key,
            None => self.broken("a key that was inserted is not there"),
        }
    }

    pub(super) async fn commit(&self, what: &str, commit: Commit) -> Committed {
        self.ok(what, self.store.commit(commit).await)
    }

    /// Makes a commit that must fail with this kind.
    pub(super) async fn fails(&self, what: &str, commit: Commit, kind: StoreErrorKind) {
        self.refused(what, self.store.commit(commit).await, kind);
    }

    pub(super) async fn organization(&self) -> Organization {
        let organization = Organization::new("Acme");
        let commit = insert_organization(&organization);
        self.commit("inserting an organization", commit).await;
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
        self.commit("inserting a key", insert_key(key)).await;
    }

    /// Updates a key's record; its revision is the next one afterwards.
    pub(super) async fn update(&self, record: &mut KeyRecord) {
        let committed = self.commit("updating a key", update_key(record)).await;
        record.revision += 1;
        let revision = committed.revision_of(record.id);
        self.same("the revision that an update returned", revision, Some(record.revision));
    }

    /// Updates an organization; its revision is the next one afterwards.
    pub(super) async fn update_organization(&self, organization: &mut Organization) {
        let committed = self
            .commit("updating an organization", update_organization(organization))
            .await;
        organization.revision += 1;
        let revision = committed.revision_of(organization.id);
        self.same(
            "the revision that an update returned",
            revision,
            Some(organization.revision),
        );
    }

    /// Adds a secret to a key, with a change of its record.
    pub(super) async fn add_secret(&self, key: &mut StoredKey, secret: KeySecret) {
        let commit = update_key(&key.record).write(Write::InsertSecret(key.record.id, secret.clone()));
        self.commit("inserting a secret", commit).await;
        key.record.revision += 1;
        key.secrets.push(secret);
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

pub(super) fn one(write: Write) -> Commit {
    Commit::new().write(write)
}

pub(super) fn insert_organization(organization: &Organization) -> Commit {
    Commit::new().write(Write::InsertOrganization(organization.clone()))
}

pub(super) fn update_organization(organization: &Organization) -> Commit {
    Commit::new().write(Write::UpdateOrganization(organization.clone()))
}

/// Inserts a key with its secrets.
pub(super) fn insert_key(key: &StoredKey) -> Commit {
    let mut commit = Commit::new().write(Write::InsertKey(key.record.clone()));
    for secret in &key.secrets {
        commit = commit.write(Write::InsertSecret(key.record.id, secret.clone()));
    }
    commit
}

pub(super) fn update_key(record: &KeyRecord) -> Commit {
    Commit::new().write(Write::UpdateKey(record.clone()))
}

pub(super) fn event(organization: OrganizationId) -> AuditEvent {
    AuditEvent::new(organization, NOW, Actor::system(), AuditAction::new("test.done"))
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
