//! Making a copy of a database a realm of its own.

use super::anonymize::anonymize;
use crate::audit::{AuditAction, AuditEvent, AuditKey};
use crate::clock::Clock;
use crate::key::{Actor, KeyRecord, KeyStatus, OrganizationId, Revocation};
use crate::secrets::{RealmSecrets, SecretSettings};
use crate::store::query::{Cursor, KeyFilter, Keys, Organizations};
use crate::store::{Commit, ManagedStore, StoreError, StoreExt, Write};

/// How a copy of a database becomes one of its own: for [`ApiKeysBuilder::adopt`](crate::ApiKeysBuilder::adopt).
///
/// ```
/// use tower_api_key::store::MemoryStore;
/// use tower_api_key::{Adopt, ApiKeys};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let copy = MemoryStore::new();
/// let staging = ApiKeys::builder(copy).adopt(Adopt::new().revoke_all_keys()).await?;
/// # let _ = staging;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Adopt {
    revokes_all: bool,
    forgets_origins: bool,
    forgets_persons: bool,
}

impl Adopt {
    /// Revokes the keys of the operator's organization, and leaves all others.
    pub fn new() -> Self {
        Self::default()
    }

    /// Revokes all keys. Default: keys of customers work in the copy as they do where it comes from.
    pub fn revoke_all_keys(mut self) -> Self {
        self.revokes_all = true;
        self
    }

    /// Deletes all addresses and user agents from the audit trail. Default: they stay.
    pub fn forget_origins(mut self) -> Self {
        self.forgets_origins = true;
        self
    }

    /// Deletes what is known of persons. Default: it stays.
    ///
    /// Users lose name, address and metadata, organizations their address and metadata, keys their metadata; the audit trail loses
    /// all that stands beside the chains, with names, addresses and user agents; and samples of refusals and uses of keys lose
    /// their addresses and networks. Ids of users stay, and so do names of keys, labels and organizations.
    pub fn forget_persons(mut self) -> Self {
        self.forgets_persons = true;
        self
    }

    /// Adopts a database that nothing else has open.
    pub(crate) async fn run<S: ManagedStore>(
        &self,
        store: &S,
        settings: SecretSettings,
        clock: &Clock,
    ) -> Result<(), StoreError> {
        let now = clock.wall();
        let adoption = RealmSecrets::new(settings).adoption(store, now).await?;
        let event = AuditEvent::of_system(now, Actor::system(), AuditAction::REALM_ADOPTED)
            .detail("before.realm", adoption.was.to_string())
            .detail("after.realm", adoption.id.to_string())
            .detail("lost_secrets", adoption.lost.to_string());
        let mut commit = Commit::new().audit(event);
        commit.audit_key = adoption.audit_key.clone();
        commit.writes = adoption.writes;
        if self.forgets_origins {
            commit.writes.push(Write::ForgetOrigins {
                before: crate::key::Timestamp::MAX,
            });
        }
        // With the identity or not at all: a copy that is one of its own admits no operator of the other.
        if let Some(operator) = operator(store).await? {
            for record in keys(store, Keys::of(operator)).await? {
                commit = revoked(commit, record, clock);
            }
        }
        store.commit(commit).await?;
        if self.revokes_all {
            revoke_all(store, adoption.audit_key.as_ref(), clock).await?;
        }
        if self.forgets_persons {
            anonymize(store, adoption.audit_key.as_ref(), clock, REASON).await?;
        }
        Ok(())
    }
}

async fn operator<S: ManagedStore>(store: &S) -> Result<Option<OrganizationId>, StoreError> {
    let mut after: Option<Cursor> = None;
    loop {
        let mut list = Organizations::all().page(PAGE);
        if let Some(after) = after {
            list = list.after(after);
        }
        let page = store.get(list).await?;
        if let Some(found) = page.items.iter().find(|organization| organization.is_operator) {
            return Ok(Some(found.id));
        }
        after = page.next;
        if after.is_none() {
            return Ok(None);
        }
    }
}

/// The keys of a list that are not revoked.
async fn keys<S: ManagedStore>(store: &S, list: Keys) -> Result<Vec<KeyRecord>, StoreError> {
    let mut records = Vec::new();
    let mut list = list.page(PAGE);
    loop {
        let page = store.get(list.clone()).await?;
        let records_of_page = page.items.into_iter().map(|key| key.record);
        records.extend(records_of_page.filter(|record| record.status != KeyStatus::Revoked));
        let Some(next) = page.next else { return Ok(records) };
        list = list.after(next);
    }
}

async fn revoke_all<S: ManagedStore>(store: &S, key: Option<&AuditKey>, clock: &Clock) -> Result<(), StoreError> {
    let mut list = Keys::from(KeyFilter::default()).page(PAGE);
    loop {
        let page = store.get(list.clone()).await?;
        let mut commit = Commit::new();
        commit.audit_key = key.cloned();
        for key in page.items {
            if key.record.status != KeyStatus::Revoked {
                commit = revoked(commit, key.record, clock);
            }
        }
        if !commit.writes.is_empty() {
            store.commit(commit).await?;
        }
        let Some(next) = page.next else { return Ok(()) };
        list = list.after(next);
    }
}

fn revoked(commit: Commit, mut record: KeyRecord, clock: &Clock) -> Commit {
    let now = clock.wall();
    record.status = KeyStatus::Revoked;
    record.revocation = Some(Revocation::new(now, REASON, Actor::system()));
    let event = AuditEvent::new(record.organization_id, now, Actor::system(), AuditAction::KEY_REVOKED)
        .key(record.id)
        .user(record.user.clone())
        .detail("reason", REASON);
    commit.audit(event).write(Write::UpdateKey(record))
}

const REASON: &str = "the database was adopted as a copy";
const PAGE: u16 = 1000;
