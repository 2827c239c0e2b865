//! The schema of the database, up and down.

use clap::{Args, Subcommand};
use serde_json::json;
use tower_api_key::store::{PostgresStore, SqliteStore};

use crate::database::{Database, Kind};
use crate::failure::Failure;
use crate::global::Global;
use crate::output::record;
use crate::work::{confirm, database, output};

/// The schema of the database.
#[derive(Debug, Subcommand)]
pub(crate) enum Migrate {
    /// The version that the database has, and the one that this program makes. Exit code 1 if it is older
    Status,
    /// Brings the schema up to date. Every command that opens the database does so too
    Up,
    /// Takes the schema back to an older version, and destroys what later versions added
    Down(Down),
}

/// Takes the schema back.
#[derive(Args, Debug)]
pub(crate) struct Down {
    /// The version; 0 deletes all keys
    #[arg(long, value_name = "VERSION")]
    to: u32,
}

pub(crate) async fn run(global: &Global, migrate: Migrate) -> Result<(), Failure> {
    let database = database(global, "migrate")?;
    match migrate {
        Migrate::Status => status(global, &database).await,
        Migrate::Up => up(global, &database).await,
        Migrate::Down(down) => down.run(global, &database).await,
    }
}

async fn status(global: &Global, database: &Database) -> Result<(), Failure> {
    let (found, newest) = (version(database).await?, newest(database));
    let answer = json!({"database": database.place(), "version": found, "newest": newest});
    output(global).show(&answer, record)?;
    match found < newest {
        true => Err(Failure::Refused(format!(
            "the schema has version {found}, and this program makes {newest}: `api-keys migrate up`"
        ))),
        false => Ok(()),
    }
}

async fn up(global: &Global, database: &Database) -> Result<(), Failure> {
    let before = version(database).await?;
    drop(match database.kind() {
        Kind::Sqlite(_) => database.open().await?,
        // Its tables may be made by another user than that of `init`.
        Kind::Postgres(_) => database.make().await?,
    });
    let answer = json!({"database": database.place(), "before": before, "version": version(database).await?});
    output(global).show(&answer, record)
}

impl Down {
    pub(crate) async fn run(self, global: &Global, database: &Database) -> Result<(), Failure> {
        let found = version(database).await?;
        let lost = if self.to == 0 {
            "all keys"
        } else {
            "what later versions added"
        };
        let what = format!(
            "Take the schema of {} from version {found} back to {}, and destroy {lost} in it",
            database.place(),
            self.to
        );
        confirm(global.yes, &what)?;
        match database.kind() {
            Kind::Sqlite(path) => {
                let builder = database.config().sqlite_builder();
                builder.downgrade_and_lose_data(path, self.to).await?;
            }
            Kind::Postgres(url) => {
                let builder = database.config().postgres_builder();
                builder.downgrade_and_lose_data(url, self.to).await?;
            }
        }
        let answer = json!({"database": database.place(), "before": found, "version": self.to});
        output(global).show(&answer, record)
    }
}

/// The version that the database has, which stays as it is.
pub(super) async fn version(database: &Database) -> Result<u32, Failure> {
    Ok(match database.kind() {
        Kind::Sqlite(path) => {
            database.must_be_there()?;
            database.config().sqlite_builder().schema_version(path).await?
        }
        Kind::Postgres(url) => database.config().postgres_builder().schema_version(url).await?,
    })
}

pub(super) fn newest(database: &Database) -> u32 {
    match database.kind() {
        Kind::Sqlite(_) => SqliteStore::SCHEMA_VERSION,
        Kind::Postgres(_) => PostgresStore::SCHEMA_VERSION,
    }
}
