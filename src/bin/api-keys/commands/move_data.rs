//! Copies, backups and their way back.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};
use tower_api_key::store::{Copied, CopyError, DynStore, PostgresStore, SqliteStore, copy};

use crate::database::{Database, Kind, opened};
use crate::failure::Failure;
use crate::global::Global;
use crate::output::{cell, record, table};
use crate::work::{confirm, database, output};

/// Copies a database into a new one, which is then what the first one was. The first one takes no changes meanwhile: stop the services that
/// change it first, and start them with the new one. Secrets stay sealed, so the root key is the same.
///
/// A database is given as its URL; one with a password as `env:NAME`, the name of an environment variable, or as `file:PATH`, a file that has it.
#[derive(Args, Debug)]
pub(crate) struct Copy {
    /// The database, such as sqlite:keys.db
    from: String,
    /// The new one, such as env:NEW_DATABASE_URL
    to: String,
}

/// Writes a backup of a SQLite database. The services may run meanwhile.
#[derive(Args, Debug)]
pub(crate) struct Backup {
    /// The new file, for its owner alone
    file: PathBuf,
}

/// Puts a backup in the place of a SQLite database, which no process may have open. What the revocation journal beside it has is taken from
/// keys again before this is done.
#[derive(Args, Debug)]
pub(crate) struct Restore {
    /// The backup
    file: PathBuf,
}

impl Copy {
    pub(crate) async fn run(self, global: &Global) -> Result<(), Failure> {
        if global.server.is_some() || global.database.is_some() {
            return Err(Failure::Usage(
                "copy takes both databases as its arguments: leave --server and --database out, and API_KEYS_SERVER unset".to_owned(),
            ));
        }
        let (from, to) = (Database::named(&self.from)?, Database::named(&self.to)?);
        from.must_be_there()?;
        if from.place() == to.place() {
            return Err(Failure::Usage(format!(
                "{} would be copied into itself: name a new database",
                to.place()
            )));
        }
        let copied = match from.kind() {
            Kind::Sqlite(path) => {
                let source = SqliteStore::builder().create_if_missing(false).open(path).await?;
                opened(DynStore::new(source.clone()));
                into(&to, async |target| target.copy_from_sqlite(&source).await).await?
            }
            Kind::Postgres(url) => {
                let source = PostgresStore::builder().without_migrations().open(url).await?;
                into(&to, async |target| target.copy_from_postgres(&source).await).await?
            }
        };
        let rows: Vec<(&str, u64)> = copied.tables().collect();
        let tables: serde_json::Map<String, Value> = rows
            .iter()
            .map(|(name, rows)| ((*name).to_owned(), (*rows).into()))
            .collect();
        let answer = json!({"from": from.place(), "to": to.place(), "rows": tables});
        output(global).show(&answer, |answer| {
            let rows = rows
                .iter()
                .map(|(name, rows)| vec![(*name).to_owned(), crate::text::number(*rows)]);
            format!(
                "{} was copied to {}.\n\n{}",
                cell(&answer["from"]),
                cell(&answer["to"]),
                table(&["table", "rows"], rows)
            )
        })
    }
}

/// Where a copy goes.
enum Target {
    Sqlite(SqliteStore),
    Postgres(PostgresStore),
}

impl Target {
    async fn copy_from_sqlite(&self, source: &SqliteStore) -> Result<Copied, CopyError> {
        match self {
            Self::Sqlite(target) => copy(source, target).await,
            Self::Postgres(target) => copy(source, target).await,
        }
    }

    async fn copy_from_postgres(&self, source: &PostgresStore) -> Result<Copied, CopyError> {
        match self {
            Self::Sqlite(target) => copy(source, target).await,
            Self::Postgres(target) => copy(source, target).await,
        }
    }
}

async fn into(to: &Database, copy: impl AsyncFnOnce(&Target) -> Result<Copied, CopyError>) -> Result<Copied, Failure> {
    let target = match to.kind() {
        Kind::Sqlite(path) => {
            let target = SqliteStore::builder().copy_target().open(path).await?;
            opened(DynStore::new(target.clone()));
            Target::Sqlite(target)
        }
        Kind::Postgres(url) => Target::Postgres(PostgresStore::builder().copy_target().open(url).await?),
    };
    Ok(copy(&target).await?)
}

/// The path of a SQLite database, and for PostgreSQL what does it there.
fn sqlite_path<'d>(database: &'d Database, instead: &str) -> Result<&'d Path, Failure> {
    match database.kind() {
        Kind::Sqlite(path) => Ok(path),
        Kind::Postgres(_) => Err(Failure::Usage(format!(
            "this is for SQLite; for PostgreSQL use its own program, {instead}"
        ))),
    }
}

impl Backup {
    pub(crate) async fn run(self, global: &Global) -> Result<(), Failure> {
        let database = database(global, "backup")?;
        let path = sqlite_path(&database, "pg_dump --format=custom --schema=api_keys")?;
        database.must_be_there()?;
        let builder = database.config().sqlite_builder();
        let store = builder.create_if_missing(false).open(path).await?;
        opened(DynStore::new(store.clone()));
        store.backup(&self.file).await?;
        let bytes = std::fs::metadata(&self.file).map(|file| file.len()).unwrap_or_default();
        let answer = json!({"database": database.place(), "file": self.file.display().to_string(), "bytes": bytes});
        output(global).show(&answer, record)
    }
}

impl Restore {
    pub(crate) async fn run(self, global: &Global) -> Result<(), Failure> {
        let database = database(global, "restore")?;
        let path = sqlite_path(&database, "pg_restore")?;
        if path.exists() {
            let what = format!(
                "Replace {} by {}: keys that were issued or rotated since the backup will not work",
                path.display(),
                self.file.display()
            );
            confirm(global.yes, &what)?;
        }
        let builder = database.config().sqlite_builder().busy_timeout(PATIENCE);
        builder.restore(&self.file, path).await?;
        // Opening it takes from keys again what the journal says.
        let keys = database.keys(global).await?;
        let numbers = keys.statistics(None).await?;
        keys.flush().await?;
        let answer = json!({
            "database": database.place(),
            "keys": numbers.total,
            "active": numbers.active,
            "revoked": numbers.revoked,
        });
        output(global).show(&answer, |answer| {
            format!(
                "The backup is in place, and what was revoked since is revoked in it. Keys that were issued or rotated since the backup are \
                 unknown.\n\n{}",
                record(answer)
            )
        })
    }
}

/// How long processes that are about to end have.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(1);
