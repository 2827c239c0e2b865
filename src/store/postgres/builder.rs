//! Options of a PostgreSQL store, and how it is opened.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{ClientWrapper, Pool};

use super::config::Target;
use super::connections::{Connections, Settings, WRITES};
use super::connector::Connector;
use super::fault::{PostgresError, Unusable, not_granted, said};
use super::follower::{Followed, Following};
use super::journaling::JournalOfStore;
use super::lock::Locks;
use super::migrate;
use super::schema::Schema;
use super::session::{Session, answered, keep_timer};
use super::state::State;
use super::{Inner, PostgresStore};
use crate::fence::Fence;
use crate::store::journal::Journaled;
use crate::store::sql::migration::{Migration, POSTGRES};
use crate::store::sql::{Statements, first};
use crate::store::{Sharing, StoreError, StoreErrorKind};

/// How often the change log is looked at in the time for which a confirmation is good: it may come late, and fail.
const LOOKS: u32 = 5;
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
const CONNECTIONS: std::ops::RangeInclusive<usize> = 2..=1000;
const OLDEST: i64 = 150_000;

/// Options of a [`PostgresStore`], from [`PostgresStore::builder`].
#[derive(Clone, Debug)]
#[must_use]
pub struct PostgresStoreBuilder {
    pub(super) schema: String,
    max_connections: usize,
    statement_timeout: Duration,
    connect_timeout: Duration,
    max_staleness: Duration,
    migrates: bool,
    journal: Option<PathBuf>,
    copy_target: bool,
    pub(super) migrations: Cow<'static, [Migration]>,
}

impl Default for PostgresStoreBuilder {
    fn default() -> Self {
        Self {
            schema: "api_keys".to_owned(),
            max_connections: 16,
            statement_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(5),
            max_staleness: Duration::from_secs(5),
            migrates: true,
            journal: None,
            copy_target: false,
            migrations: Cow::Borrowed(POSTGRES),
        }
    }
}

impl PostgresStoreBuilder {
    /// The schema that holds the tables, made if there is none. Default: `api_keys`. 1 to 48 of `a-z`, `0-9` and `_`.
    pub fn schema(mut self, name: impl Into<String>) -> Self {
        self.schema = name.into();
        self
    }

    /// The most connections at once, apart from one that follows the change log. Default: 16, from 2 to 1,000.
    ///
    /// Commits get half of them and lists a quarter, so that checks of keys always find one.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.max_connections = connections;
        self
    }

    /// How long a statement may take, and how long a caller waits for a connection. Default: 5 seconds, from 100 ms to 10 minutes.
    ///
    /// A server that does not answer at all is given up after this and [`connect_timeout`](Self::connect_timeout) together, by the
    /// clock of this process. Migrations may take longer than either.
    pub fn statement_timeout(mut self, timeout: Duration) -> Self {
        self.statement_timeout = timeout;
        self
    }

    /// How long it may take to connect, to all hosts of the URL together. Default: 5 seconds, from 100 ms to 10 minutes. The URL's
    /// `connect_timeout` counts instead.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How late a change by another process may be seen ([`Sharing::ChangeLog`]). Default: 5 seconds, from 250 ms to an hour.
    ///
    /// The change log is looked at five times in it, at least once a second.
    pub fn max_staleness(mut self, staleness: Duration) -> Self {
        self.max_staleness = staleness;
        self
    }

    /// Leaves the schema as it is: for a service whose user may not change it, such as one with the role `api_keys_service`. A schema
    /// that is missing, or older than this version needs, is [`Unusable`](StoreErrorKind::Unusable). Open it once with migrations, as a
    /// user with the role `api_keys_owner`, before services of a new version start.
    pub fn without_migrations(mut self) -> Self {
        self.migrates = false;
        self
    }

    /// Keeps a revocation journal in a file of this machine: what was taken from keys, written before the call returns. A database
    /// that is older than it, as one that was restored from a backup, takes all of that again before it answers. Each process
    /// has a file of its own, also of what others revoke. Default: none, so a restored backup brings back what was revoked since.
    pub fn journal(mut self, path: impl AsRef<Path>) -> Self {
        self.journal = Some(path.as_ref().to_owned());
        self
    }

    /// Opens the schema for [`copy`](crate::store::copy()) to copy another store into it: a new one, or one into which a copy was begun
    /// that is not finished, which is [`Unusable`](StoreErrorKind::Unusable) otherwise.
    ///
    /// Until it has been copied into, every call is `Unusable`. The user must own the tables, as the one who migrates does.
    pub fn copy_target(mut self) -> Self {
        self.copy_target = true;
        self
    }

    /// Opens the database of a URL, `postgres://user:password@host:port/database`, or of a connection string of libpq. See
    /// [`PostgresStore`] for their options.
    ///
    /// # Errors
    /// As [`PostgresStore::open`].
    pub async fn open(mut self, url: &str) -> Result<PostgresStore, StoreError> {
        let connections = self.connections(url)?;
        Box::pin(self.build(connections)).await
    }

    /// Takes the schema of a database back to an older version, before going back to that version of this crate. Data that later
    /// versions added is lost. Processes of the older version may run on meanwhile, those of this one may not. Version 0 is an empty
    /// schema: **all keys are lost**.
    ///
    /// # Errors
    /// Those of [`open`](Self::open), and `Unusable` when there is no such version, or the schema is older.
    pub async fn downgrade_and_lose_data(mut self, url: &str, version: u32) -> Result<(), StoreError> {
        let connections = self.connections(url)?;
        let schema = Schema::new(&self.schema)?;
        let mut client = self.connect(&connections).await?;
        migrate::downgrade(&mut client, &schema, &self.migrations, version).await
    }

    /// The version of the schema of a database, which stays as it is; 0 where there is none. [`open`](Self::open) brings it up to
    /// [`PostgresStore::SCHEMA_VERSION`].
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub async fn schema_version(mut self, url: &str) -> Result<u32, StoreError> {
        let connections = self.connections(url)?;
        let schema = Schema::new(&self.schema)?;
        let mut client = self.connect(&connections).await?;
        let version = migrate::version(&mut client, &schema, &self.migrations).await;
        version.map_err(|error| not_granted(error, schema.name()))
    }

    /// A step that the next version has.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn next_version(mut self, up: &'static str, down: &'static str) -> Self {
        self.migrations.to_mut().push(Migration {
            name: "next",
            up,
            down,
            min_program: 1,
        });
        self
    }

    /// Uses a pool of connections that the application has, which keeps its settings: what this crate needs is set for each
    /// transaction, so that every read is one, with two more round trips. [`max_connections`](Self::max_connections) is the pool's own,
    /// and so are TLS and its timeouts: give it a `wait_timeout` and a `create_timeout`. Without them a caller waits for a
    /// connection as long as for an answer, [`statement_timeout`](Self::statement_timeout) and
    /// [`connect_timeout`](Self::connect_timeout) together.
    ///
    /// One connection is taken out of the pool for good, to read the change log; the pool may open another one in its place. The pool
    /// must lead to the primary.
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// use deadpool_postgres::{Config, Runtime};
    /// use tokio_postgres::NoTls;
    /// use tower_api_key::store::PostgresStore;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut config = Config::new();
    /// config.url = Some(std::env::var("DATABASE_URL")?);
    /// let pool = config.builder(NoTls)?.max_size(16).runtime(Runtime::Tokio1);
    /// let pool = pool.wait_timeout(Some(Duration::from_secs(5))).create_timeout(Some(Duration::from_secs(5))).build()?;
    /// let store = PostgresStore::builder().with_pool(pool.clone()).await?;
    /// # let _ = store;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`PostgresStore::open`].
    pub async fn with_pool(self, pool: Pool) -> Result<PostgresStore, StoreError> {
        let settings = self.settings()?;
        Box::pin(self.build(Connections::borrowed(pool, settings))).await
    }

    pub(super) fn connections(&mut self, url: &str) -> Result<Connections, StoreError> {
        let target = Target::parse(url).map_err(Unusable::Url)?;
        self.connect_timeout = target.connect_timeout.unwrap_or(self.connect_timeout);
        let settings = self.settings()?;
        let connector =
            Connector::new(target, self.connect_timeout, settings.answer_timeout()).map_err(Unusable::Tls)?;
        Ok(Connections::own(connector, self.max_connections, settings)?)
    }

    fn settings(&self) -> Result<Settings, Unusable> {
        let within = |what, given: Duration, least, most| match (least..=most).contains(&given) {
            true => Ok(()),
            false => Err(Unusable::Time {
                what,
                least,
                most,
                given,
            }),
        };
        let (short, long) = (Duration::from_millis(100), Duration::from_secs(600));
        within("statement_timeout", self.statement_timeout, short, long)?;
        within("connect_timeout", self.connect_timeout, short, long)?;
        let (short, long) = (Duration::from_millis(250), Duration::from_secs(3600));
        within("max_staleness", self.max_staleness, short, long)?;
        if !CONNECTIONS.contains(&self.max_connections) {
            return Err(Unusable::MaxConnections(self.max_connections));
        }
        Ok(Settings {
            statement_timeout: self.statement_timeout,
            connect_timeout: self.connect_timeout,
        })
    }

    async fn build(self, connections: Connections) -> Result<PostgresStore, StoreError> {
        let schema = Schema::new(&self.schema)?;
        let mut client = self.connect(&connections).await?;
        let longest = connections.answer_timeout();
        match self.migrates {
            true => migrate::upgrade(&mut client, &schema, &self.migrations, self.copy_target)
                .await
                .map_err(|error| {
                    let schema = schema.name().to_owned();
                    match said(&error) {
                        Some(said) if !said.may_pass() => error
                            .into_kind(StoreErrorKind::Unusable)
                            .within(|source| Unusable::Migrate { schema, source }),
                        _ => error,
                    }
                })?,
            false => {
                let checked = migrate::check_as_it_is(&mut client, &schema, &self.migrations, self.copy_target);
                answered(longest, checked)
                    .await
                    .map_err(|error| not_granted(error, schema.name()))?;
            }
        }
        let (dialect, fence) = (schema.dialect(), Fence::new());
        let sql = Arc::new(Statements::new(&dialect));
        let realm = first(&Session::of(&client, longest), &sql.realm, &[], |row| row.realm()).await?;
        let missing = || StoreError::with_source(StoreErrorKind::InvalidRecord, "the row of the realm is missing");
        let realm = realm.ok_or_else(missing)?.id.as_uuid();
        drop(client);
        let (connections, state) = (
            Arc::new(connections),
            Arc::new(State::of(realm, &dialect, &self.migrations, self.copy_target)),
        );
        let journal = match &self.journal {
            Some(path) => {
                let journal = Journaled::at(path.clone(), schema.name().to_owned(), self.statement_timeout);
                let journal = JournalOfStore::of(journal, &schema, &connections, &sql);
                // What is to be copied into has no history of its own yet.
                if !self.copy_target {
                    journal.ask(|journal, database| journal.catch_up(database)).await?;
                }
                Some(journal)
            }
            None => {
                tracing::info!(
                    "no revocation journal is kept, so a restored backup brings back what was revoked since it was made: name a file \
                     by `PostgresStoreBuilder::journal`, `journal` in a configuration file"
                );
                None
            }
        };
        let followed = Followed {
            journal: journal.clone(),
            // A journal may have much to look through.
            longest_poll: longest,
            connections: connections.clone(),
            state: state.clone(),
            sql: sql.clone(),
            fence: fence.clone(),
            interval: (self.max_staleness / LOOKS).min(LONGEST_PAUSE),
        };
        let following = Following::prepare(followed, &schema, &self.migrations).await?;
        let inner = Arc::new(Inner {
            connections,
            sql,
            locks: Locks::of(&dialect),
            state,
            fence,
            sharing: Sharing::ChangeLog {
                max_staleness: self.max_staleness,
            },
            following,
            journal,
            schema,
            is_copy_target: self.copy_target,
            copying: tokio::sync::Mutex::default(),
        });
        keep_timer(&inner);
        Ok(PostgresStore(inner))
    }

    /// A connection to a server that can be used.
    pub(super) async fn connect(&self, connections: &Connections) -> Result<ClientWrapper, StoreError> {
        let connected = connections.alone().await;
        let client = connected.map_err(|error| match said(&error).is_some_and(PostgresError::is_lasting) {
            true => error.into_kind(StoreErrorKind::Unusable),
            false => error,
        })?;
        let session = Session::of(&client, connections.answer_timeout());
        let row = session.row(SERVER, &[]).await?;
        let (is_standby, version, text): (bool, i64, String) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let encoding: String = row.try_get(3)?;
        if encoding != "UTF8" {
            return Err(Unusable::Encoding(encoding).into());
        }
        if version < OLDEST {
            return Err(Unusable::TooOld(text).into());
        }
        if is_standby {
            return Err(Unusable::Standby.into());
        }
        if row.try_get(4)? {
            connections.set_reads_by_default();
            session.run(WRITES).await?;
        }
        Ok(client)
    }
}

const SERVER: &str = "SELECT pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('server_version_num')::bigint, \
     pg_catalog.current_setting('server_version'), pg_catalog.current_setting('server_encoding'), \
     EXISTS (SELECT 1 FROM pg_catalog.pg_settings WHERE name = 'default_transaction_read_only' AND setting = 'on' \
     AND source IN ('user', 'database user'))";
