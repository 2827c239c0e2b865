//! Copies one store into another one.

mod end;
mod error;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use tokio::sync::oneshot;
use tracing::{Dispatch, dispatcher};

pub use self::end::Copyable;
use self::end::{AnyEnd, Either};
pub use self::error::{CopyError, CopyErrorKind};
use crate::store::sql::Database;
use crate::store::sql::copy::{End, Filled, fill};

/// Copies everything from one store into another one, which is then what the first one was: from SQLite to PostgreSQL, back, or between
/// two of a kind.
///
/// Organizations, plans, users, roles, scopes, keys with their secrets and uses, the audit trail, refusals, and the realm with its
/// secrets: every key passes afterwards, and every chain verifies. Secrets stay sealed, so the servers of the target need the same root
/// key. Leases and the change log stay behind; that of the target says that everything has changed.
///
/// **The target** is opened with `copy_target` of its builder, and must be new. Until the copy is finished it serves nobody, in no process.
/// A copy that was cut off, by whatever, is finished by copying again: what is there already is compared, and what is missing is written.
/// If the source has changed meanwhile in what was copied, the copy starts over. A copy that is finished and was not used since can be
/// copied again, which writes nothing.
///
/// **The source** takes no changes while it is copied, some seconds for 100,000 keys, so that nothing is revoked behind the copy's back:
/// commits wait, and are [`Unavailable`](crate::store::StoreErrorKind::Unavailable) after their timeout. Keys are checked as before. What
/// it takes *after* the copy, the target never learns. So stop the services that change it first, copy, and start them with the target.
/// Then put the source out of their reach: both are the same realm. Uses of keys that a service has not stored yet, of the last minute,
/// are stored when it is stopped in order ([`ApiKeys::flush`](crate::ApiKeys::flush)). The role of a service may not keep others from
/// writing: open a source in PostgreSQL as the user that migrates.
///
/// It runs on a thread of its own, in pages of 1,000 rows. When the future is dropped, it stops after the page at hand. Of each table an
/// event of level `INFO` says when it is done.
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_api_key::store::{SqliteStore, copy};
/// use tower_api_key::{ApiKeys, PresentedKey};
///
/// # let folder = tempfile::tempdir()?;
/// # let (old, new) = (folder.path().join("old.sqlite"), folder.path().join("new.sqlite"));
/// let source = SqliteStore::open(&old).await?;
/// # let keys = ApiKeys::builder(source.clone()).open().await?;
/// # let issued = keys.ensure("Acme", "orders").await?;
/// # let key = issued.key.unwrap();
/// let target = SqliteStore::builder().copy_target().open(&new).await?;
/// // Or: PostgresStore::builder().copy_target().open("postgres://user@host/database").await?
/// let copied = copy(&source, &target).await?;
/// assert_eq!(copied.rows("keys"), 1);
///
/// let keys = ApiKeys::builder(target).open().await?;
/// let presented = PresentedKey::new(key.expose_secret().as_bytes());
/// assert!(keys.authenticator().check(presented).await.is_ok());
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "sqlite"))]
/// # fn main() {}
/// ```
///
/// # Errors
/// Those of [`CopyErrorKind`]. Whatever is wrong, the target serves nobody until a copy has succeeded.
pub async fn copy<S: Copyable, T: Copyable>(source: &S, target: &T) -> Result<Copied, CopyError> {
    let (AnyEnd(source), AnyEnd(target)) = (source.as_end(), target.as_end());
    if !target.is_copy_target() {
        return Err(CopyError::new(CopyErrorKind::NotATarget));
    }
    let dispatch = dispatcher::get_default(Dispatch::clone);
    let (reply, answer) = oneshot::channel();
    let copying = move || {
        let is_wanted = || !reply.is_closed();
        let copied = catch_unwind(AssertUnwindSafe(|| {
            dispatcher::with_default(&dispatch, || copy_here(source, target, &is_wanted))
        }));
        if let Ok(copied) = copied {
            // The caller may have gone.
            let _ = reply.send(copied);
        }
    };
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| CopyError::caused(CopyErrorKind::Target, error);
    thread::Builder::new()
        .name("api-keys-copy".into())
        .spawn(copying)
        .map_err(|error| failed(error.into()))?;
    answer.await.map_err(|error| failed(error.into()))?
}

/// What was copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied(Vec<(&'static str, u64)>);

impl Copied {
    /// How many rows of a table, `keys` or `audit_events`; 0 for one that is not copied.
    pub fn rows(&self, table: &str) -> u64 {
        self.tables()
            .find(|(name, _)| *name == table)
            .map_or(0, |(_, rows)| rows)
    }

    /// All tables with the numbers of their rows, in the order in which they were copied.
    pub fn tables(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().copied()
    }
}

fn copy_here(source: Either, target: Either, is_wanted: &dyn Fn() -> bool) -> Result<Copied, CopyError> {
    // Connections need one, and that of the caller may end.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| CopyError::caused(CopyErrorKind::Target, error))?;
    runtime.block_on(Box::pin(async {
        match source {
            #[cfg(feature = "sqlite")]
            Either::Sqlite(source) => {
                let end = source.source().map_err(CopyError::source)?;
                let copied = copy_from(&end, target, is_wanted).await;
                end.roll_back().await;
                source.check().map_err(CopyError::source)?;
                copied
            }
            #[cfg(feature = "postgres")]
            Either::Postgres(source) => {
                let end = source.source().await.map_err(CopyError::source)?;
                let copied = copy_from(&end, target, is_wanted).await?;
                // If the connection was lost before the target was finished, something may have changed in between.
                end.commit().await.map_err(CopyError::source)?;
                Ok(copied)
            }
        }
    }))
}

async fn copy_from<S: Database>(
    source: &End<S>,
    target: Either,
    is_wanted: &dyn Fn() -> bool,
) -> Result<Copied, CopyError> {
    match target {
        #[cfg(feature = "sqlite")]
        Either::Sqlite(target) => {
            let _alone = target.alone().await;
            let end = target.target().map_err(CopyError::target)?;
            let filled = fill(source, &end, is_wanted).await?;
            let begun = target.begin_journal(&end, &filled).map_err(CopyError::target);
            let held = match begun {
                Ok(()) => source.is_held().await.map_err(CopyError::source),
                begun => begun,
            };
            if let Err(error) = held.and_then(|()| target.finish(&end, &filled).map_err(CopyError::target)) {
                end.roll_back().await;
                return Err(error);
            }
            Ok(copied(filled))
        }
        #[cfg(feature = "postgres")]
        Either::Postgres(target) => {
            let _alone = target.alone().await;
            let end = target.target().await.map_err(CopyError::target)?;
            let filled = fill(source, &end, is_wanted).await?;
            target.begin_journal(&end, &filled).await.map_err(CopyError::target)?;
            source.is_held().await.map_err(CopyError::source)?;
            target.finish(&end, &filled).await.map_err(CopyError::target)?;
            Ok(copied(filled))
        }
    }
}

fn copied(filled: Filled) -> Copied {
    Copied(filled.rows)
}
