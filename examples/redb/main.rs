//! A managed store of your own: keys in a file of redb, an embedded database of bytes.
//!
//! `cargo run --example redb --features serde,testing`. It issues a key, opens the file again, and revokes the key. `cargo test
//! --example redb --features serde,testing` runs the conformance kit over it.
//!
//! Rows of keys, organizations and the audit trail are read from the file. What many keys share is small: it is kept in memory
//! too, in [`SharedRows`], which knows the rules of its writes. Lists are cut in memory by [`Page::cut`]. That suits some ten
//! thousand keys; with more, a store needs an index for each filter.
//!
//! [`Page::cut`]: tower_api_key::store::query::Page::cut
#![allow(clippy::print_stdout, unreachable_pub)]

mod audit;
mod idempotency;
mod read;
mod rows;
mod tables;
#[cfg(test)]
mod tests;
mod uses;
mod write;

use std::error::Error;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use redb::{Database, ReadableDatabase};
use tower_api_key::hash::HashPolicy;
use tower_api_key::key::{Actor, Lookup};
use tower_api_key::store::query::{Answer, Page, PlanFilter, Query};
use tower_api_key::store::{
    Candidate, Change as Changed, Commit, Committed, KeyStore, ManagedStore, SharedRows, Sharing, StoreError,
    StoreErrorKind, Write,
};
use tower_api_key::{ApiKeys, Fence, IssueRequest, PresentedKey, RejectionKind};

use crate::tables::{Change as _, Read as _, unavailable};

/// Keys in a file of redb, which one process opens at a time.
#[derive(Clone)]
pub struct RedbStore(Arc<Opened>);

struct Opened {
    database: Database,
    /// Changed with the file: who takes it and begins to read, under the lock, has both of one point in time.
    shared: RwLock<Arc<SharedRows>>,
    fence: Fence,
}

impl RedbStore {
    /// Opens a file, or makes a new one.
    ///
    /// # Errors
    /// [`Unusable`](StoreErrorKind::Unusable) when it cannot be opened, [`Unavailable`](StoreErrorKind::Unavailable) when
    /// another process has it open.
    ///
    /// # Security
    /// The file holds secrets of the servers and hashes of keys: nobody but the service may read it.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref().to_owned();
        blocking(move || {
            let file = private_file(&path).map_err(|error| StoreError::with_source(StoreErrorKind::Unusable, error))?;
            let database = Database::builder().create_file(file).map_err(unavailable)?;
            let transaction = database.begin_write().map_err(unavailable)?;
            for table in tables::ALL {
                transaction.open_table(table).map_err(unavailable)?;
            }
            if transaction.all(tables::SHARED)?.is_empty() {
                first_rows(&transaction)?;
            }
            let shared = RwLock::new(Arc::new(read::shared(&transaction)?));
            transaction.commit().map_err(unavailable)?;
            let fence = Fence::new();
            Ok(Self(Arc::new(Opened {
                database,
                shared,
                fence,
            })))
        })
        .await
    }
}

/// The realm and the plans of a new store.
fn first_rows(transaction: &redb::WriteTransaction) -> Result<(), StoreError> {
    let shared = SharedRows::new();
    if let Answer::Realm(realm) = shared.read(Query::Realm)? {
        let (place, row) = write::shared_row(&Write::UpdateRealm { was: realm, row: realm })?;
        transaction.put(tables::SHARED, &place, &rows::write_form(&row)?)?;
    }
    if let Answer::Plans(plans) = shared.read(Query::Plans(PlanFilter::default(), Page::new(1000)))? {
        for plan in plans.items {
            let (place, row) = write::shared_row(&Write::InsertPlan(plan))?;
            transaction.put(tables::SHARED, &place, &rows::write_form(&row)?)?;
        }
    }
    Ok(())
}

impl Opened {
    fn shared(&self) -> Arc<SharedRows> {
        self.shared.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn begin_read(&self) -> Result<(redb::ReadTransaction, Arc<SharedRows>), StoreError> {
        let shared = self.shared.read().unwrap_or_else(PoisonError::into_inner);
        let transaction = self.database.begin_read().map_err(unavailable)?;
        Ok((transaction, shared.clone()))
    }

    fn commit(&self, mut commit: Commit) -> Result<Committed, StoreError> {
        commit.check()?;
        let subjects = commit.subjects();
        // One at a time: the next one waits here, so nothing changes `shared` meanwhile.
        let transaction = self.database.begin_write().map_err(unavailable)?;
        let mut writer = write::Writer {
            transaction: &transaction,
            shared: self.shared(),
        };
        let changes = writer.make(&mut commit)?;
        let events = audit::link(&transaction, &commit)?;
        let after = writer.shared;
        let mut shared = self.shared.write().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = transaction.commit() {
            drop(shared);
            // It may be in the file all the same. Nobody may go on with what was cached.
            let doubt: Vec<_> = subjects.into_iter().map(|subject| Changed::new(subject, 0)).collect();
            self.fence.announce(&doubt);
            let unknown = redb::Error::from(error);
            return Err(StoreError::with_source(StoreErrorKind::OutcomeUnknown, unknown));
        }
        *shared = after;
        drop(shared);
        // Everyone can read it now, and `commit` has not returned yet.
        self.fence.announce(&changes);
        tower_api_key::audit::emit(&events);
        Ok(Committed::new(changes))
    }
}

impl KeyStore for RedbStore {
    async fn find(&self, lookup: &Lookup) -> Result<Option<Candidate>, StoreError> {
        let (opened, lookup) = (self.0.clone(), lookup.clone());
        blocking(move || {
            let (transaction, shared) = opened.begin_read()?;
            read::find(&transaction, &shared, &lookup)
        })
        .await
    }

    fn fence(&self) -> Option<&Fence> {
        Some(&self.0.fence)
    }

    /// redb locks the file.
    fn sharing(&self) -> Sharing {
        Sharing::Exclusive
    }
}

impl ManagedStore for RedbStore {
    /// A caller that goes away leaves the thread to commit and announce.
    async fn commit(&self, commit: Commit) -> Result<Committed, StoreError> {
        let opened = self.0.clone();
        blocking(move || opened.commit(commit)).await
    }

    async fn read(&self, query: Query) -> Result<Answer, StoreError> {
        let opened = self.0.clone();
        blocking(move || {
            let (transaction, shared) = opened.begin_read()?;
            read::answer(&transaction, &shared, query)
        })
        .await
    }
}

/// redb waits for the disk, so it must not run on a thread of the runtime.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let task = tokio::task::spawn_blocking(work).await;
    task.unwrap_or_else(|panic| Err(StoreError::with_source(StoreErrorKind::OutcomeUnknown, panic)))
}

fn private_file(path: &Path) -> std::io::Result<std::fs::File> {
    let mut options = std::fs::OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("keys.redb");
    let open = async || {
        let builder = ApiKeys::builder(RedbStore::open(&path).await?).hash_policy(HashPolicy::sha256());
        builder.open().await
    };

    let keys = open().await?;
    let root = keys.issuer().acting_as(Actor::operator("root"));
    let acme = root.create_organization("acme").await?;
    let issued = root.issue(IssueRequest::new(acme.id, "nightly export")).await?;
    drop((root, keys));

    let keys = open().await?;
    let authenticator = keys.authenticator();
    let presented = || PresentedKey::new(issued.key.expose_secret().as_bytes());
    let context = authenticator.check(presented()).await?;
    println!("{} of {}", context.name(), context.organization().name);

    let root = keys.issuer().acting_as(Actor::operator("root"));
    root.revoke(issued.record.id, "the example ends").await?;
    match authenticator.check(presented()).await {
        Ok(_) => Err("a revoked key passes".into()),
        Err(refused) => {
            println!("{refused}");
            assert_eq!(refused.kind(), RejectionKind::KeyRevoked);
            Ok(())
        }
    }
}
