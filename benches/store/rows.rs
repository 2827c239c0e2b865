//! Keys that are made up, and a store in a folder of its own.

#[cfg(feature = "sqlite")]
use std::path::PathBuf;

#[cfg(feature = "sqlite")]
use tempfile::TempDir;
use tower_api_key::audit::{AuditAction, AuditEvent};
use tower_api_key::key::{Actor, KeyRecord, KeySecret, Lookup, Organization, SecretForm, SecretHash, Timestamp};
#[cfg(feature = "sqlite")]
use tower_api_key::store::SqliteStore;
use tower_api_key::store::{Commit, ManagedStore, Write};

#[cfg(feature = "sqlite")]
pub struct File {
    _folder: TempDir,
    pub path: PathBuf,
}

#[cfg(feature = "sqlite")]
impl File {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("keys.sqlite");
        Self { _folder: folder, path }
    }

    pub async fn open(&self) -> SqliteStore {
        SqliteStore::open(&self.path).await.expect("a store")
    }
}

pub async fn organization(store: &impl ManagedStore) -> Organization {
    let acme = Organization::new("acme");
    let commit = Commit::new().write(Write::InsertOrganization(acme.clone()));
    store.commit(commit).await.expect("an organization");
    acme
}

/// A key as the issuer makes it: with scopes and one limit.
pub fn key(organization: &Organization, number: usize) -> (KeyRecord, KeySecret) {
    let now = Timestamp::now();
    let mut record = KeyRecord::new(organization.id, format!("key {number}"), now);
    record.prefix = "key".into();
    record.environment = Some("live".into());
    record.scopes = "orders:read orders:write invoices:read".parse().expect("scopes");
    record.limits = vec!["requests=100/60s".parse().expect("a limit")];
    let hash = format!("sha256:{:032x}{:032x}", rand::random::<u128>(), rand::random::<u128>());
    let mut secret = KeySecret::new(lookup(), SecretHash::new(hash).expect("a hash"), now);
    secret.form = SecretForm::Keyed;
    (record, secret)
}

fn lookup() -> Lookup {
    // As many characters as one has, so that the rows are as long.
    let text = format!("{:016x}", rand::random::<u64>());
    Lookup::new(&text[..12]).expect("a lookup")
}

pub fn event(record: &KeyRecord, action: AuditAction) -> AuditEvent {
    AuditEvent::new(record.organization_id, Timestamp::now(), Actor::service(), action)
        .key(record.id)
        .detail("name", record.name.clone())
}

/// The commit that adds keys, with an event for each.
pub fn insert(keys: &[(KeyRecord, KeySecret)], is_audited: bool) -> Commit {
    let mut commit = Commit::new();
    for (record, secret) in keys {
        commit = commit
            .write(Write::InsertKey(record.clone()))
            .write(Write::InsertSecret(record.id, secret.clone()));
        if is_audited {
            commit = commit.audit(event(record, AuditAction::KEY_ISSUED));
        }
    }
    commit
}
