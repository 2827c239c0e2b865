//! Keys in a PostgreSQL database.

mod advice;
mod builder;
mod commit;
mod config;
mod connections;
mod connector;
mod copy;
mod drive;
mod fault;
mod follower;
mod inspect;
mod journaling;
mod lent;
mod lock;
mod log_end;
mod look;
mod migrate;
mod options;
mod outcome;
#[cfg(test)]
mod plans;
mod roles;
mod schema;
mod session;
mod state;
#[cfg(test)]
mod tests;
mod tls;
mod tls_error;
mod value;

use std::fmt;
use std::sync::Arc;

pub use self::builder::PostgresStoreBuilder;
use self::connections::Connections;
pub(super) use self::copy::PostgresEnd;
use self::fault::is_lost;
use self::follower::Following;
pub use self::inspect::{PostgresGrant, PostgresInspection, UserOfPostgres};
use self::journaling::JournalOfStore;
use self::lent::Lent;
use self::lock::Locks;
use self::schema::Schema;
use self::state::State;
use crate::clock::Clock;
use crate::fence::Fence;
use crate::key::Lookup;
use crate::store::query::{Answer, Query};
use crate::store::sql::{self, Statements};
use crate::store::{Candidate, Commit, Committed, KeyStore, ManagedStore, Sharing, StoreError, StoreErrorKind};

/// Keys in a PostgreSQL database that several servers share (feature `postgres`).
///
/// For services that run as several processes on several machines, and for those that have a PostgreSQL anyway. Version 15 or newer,
/// no extension, no superuser. The tables are in a schema of their own, `api_keys`, and every statement names it: tables, functions and
/// `search_path` of the application make no difference. The page `docs/postgresql.md` of the repository is for operators.
///
/// **Any number of processes** may have the database open, each with a cache and limits of its own. The store is
/// [`Sharing::ChangeLog`]: triggers number and log every change when it commits, a change by hand in psql as well, and a thread of each
/// process reads the log once a second, on a connection of its own.
///
/// | a revoke that has returned | holds |
/// |---|---|
/// | in the process that made it | at once, also for requests whose key is being verified |
/// | in every other one | within [`max_staleness`](PostgresStoreBuilder::max_staleness), 5 seconds by default |
/// | in one that cannot read the log | within the same time: without a confirmation, cached keys are read again or refused |
///
/// **A commit that has returned is on the disk**, with its audit events, as far as the server's `fsync` is on. A commit
/// takes its course once it has begun: a caller that goes away leaves no open transaction, and no other process misses the change. If
/// the connection is lost while the server commits, or no answer comes, the store asks what became of the transaction
/// (`pg_xact_status`). The call waits for that, up to the sum of `statement_timeout` and `connect_timeout`; then it is
/// [`OutcomeUnknown`](StoreErrorKind::OutcomeUnknown), as while a synchronous standby is away that COMMIT waits for. The store goes on
/// asking, and announces the change once it can be seen.
///
/// **When the server is down**, cached keys are admitted until `max_staleness` is over. Then each request gets a 503, never a 401 and
/// never an admission that nobody confirmed. The store connects again by itself. A server that answers as a standby, or from another
/// database than the one that was opened, counts as down: a standby shows revoked keys for as long as it lags.
///
/// **Connections.** Up to [`max_connections`](PostgresStoreBuilder::max_connections), 16, and two more: one that reads the change log,
/// and now and then one that asks for the outcome of a commit. Each has a `statement_timeout`, so that a caller that went away leaves
/// nothing running, and is closed if the server does not answer. Commits get half of the connections and lists a quarter. A check of a
/// key that is not cached takes one round trip.
///
/// **PgBouncer** works in session mode, which is tested. Transaction mode needs PgBouncer 1.21 or newer with
/// `max_prepared_statements`, and was not run. **A pool of the application's** ([`with_pool`](PostgresStoreBuilder::with_pool))
/// keeps its settings: each read and commit sets what it needs for its transaction, which takes two more round trips. Read keys from
/// the primary, whatever the pool is for.
///
/// **By hand.** Rows may be changed with psql, in READ COMMITTED transactions: `UPDATE api_keys.keys SET status = 'revoked' WHERE id = …`
/// holds everywhere within `max_staleness`, and an update that was prepared before it fails as
/// [`Conflict`](StoreErrorKind::Conflict). The audit trail has no event of it. If a trigger is missing or disabled, one of its functions
/// was replaced, or a table was truncated, cached keys are read again.
///
/// # Backups, restores and fail-over
///
/// Any means of PostgreSQL will do: `pg_dump`, `pg_basebackup`, an archive of the write-ahead log. **A restored database is of its
/// time**: keys that were issued since the backup are unknown, and keys that were revoked since work again, unless a
/// [`journal`](PostgresStoreBuilder::journal) knows of it. Without one, stop the services, restore, revoke again what was revoked since, and start them.
/// A process that ran on notices that the log is another one, and reads every cached key again.
///
/// The same holds for a standby that is promoted: with asynchronous replication it lacks the last changes, perhaps a revoke. With
/// `synchronous_standby_names` every change that has returned is on the standby. A copy of the database that is not to be the
/// original needs [`ApiKeysBuilder::adopt`](crate::ApiKeysBuilder::adopt).
///
/// # Where it is
///
/// A URL, `postgres://keys:password@db1:5432,db2/app?sslmode=verify-full`, or a connection string of libpq, `host=db1,db2 user=keys
/// dbname=app`. In a URL, `@`, `/`, `?`, `&` and `%` of a user, a password or a value are percent-encoded. Only what is written there
/// counts: environment variables of libpq (`PGSSLMODE`) and its files (`~/.pgpass`, `~/.postgresql`) are not read.
///
/// | option | meaning |
/// |---|---|
/// | `host`, `hostaddr`, `port` | up to 16 servers; a host that is an absolute path is the folder of a Unix socket. Of several servers, the primary is found, also after another one has become it |
/// | `user`, `password`, `dbname` | as in the URL's first part |
/// | `sslmode` | see below |
/// | `sslrootcert` | a file with the certificates of the authorities to trust, in PEM; without it, or if it is `system`, those that the system trusts |
/// | `sslcert`, `sslkey` | files with the own certificate and its key, in PEM |
/// | `channel_binding` | `prefer` (default), `require`, `disable` |
/// | `target_session_attrs` | `any`, `read-write`, `primary`; of several hosts always `primary`, which `read-write` means too |
/// | `load_balance_hosts` | `random` begins with any of the hosts; default `disable` |
/// | `connect_timeout` | seconds for all hosts together, see [`PostgresStoreBuilder::connect_timeout`] |
/// | `tcp_user_timeout` | milliseconds; default the sum of `statement_timeout` and `connect_timeout` |
/// | `keepalives`, `keepalives_idle`, `keepalives_interval`, `keepalives_count` | as libpq; `keepalives_idle` is 10 seconds by default |
/// | `application_name` | default `tower-api-key` |
/// | `options` | settings of the server |
///
/// Other options are an error that names them. So is `schema`, with which others name the schema of their own tables: see
/// [`PostgresStoreBuilder::schema`].
///
/// # TLS
///
/// | `sslmode` | to another machine | to a loopback address, `localhost`, or a Unix socket |
/// |---|---|---|
/// | none, `prefer`, `allow` | TLS, verified | no TLS; over TCP verified TLS if `sslrootcert` or `sslcert` is given, or another host is another machine |
/// | `require`, `verify-ca`, `verify-full` | TLS, verified | TLS, verified; none over a Unix socket |
/// | `disable` | no TLS, logged at WARN | no TLS |
///
/// Verified is as `verify-full`, whatever else is written: the certificate is signed by a trusted authority, not expired, and for
/// the host of the URL, by a name or an address in its subjectAltName. The files are read when the store is opened. TLS needs feature
/// `postgres-tls`: rustls with `ring`, and no other TLS library.
///
/// ```
/// use tower_api_key::store::{PostgresStore, StoreErrorKind};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let url = "postgres://keys:hunter2@db.internal/app?sslmod=verify-full";
/// let error = PostgresStore::open(url).await.unwrap_err();
/// assert_eq!(error.kind(), StoreErrorKind::Unusable);
/// let reason = std::error::Error::source(&error).unwrap().to_string();
/// assert!(reason.starts_with("option `sslmod` of the database's URL is not known"));
/// # }
/// ```
///
/// # Example
///
/// ```no_run
/// use tower_api_key::ApiKeys;
/// use tower_api_key::store::PostgresStore;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let url = std::env::var("DATABASE_URL")?; // postgres://user:password@host/database
/// let store = PostgresStore::builder()
///     .max_connections(8)
///     .without_migrations() // the service's user may not change tables
///     .open(&url)
///     .await?;
/// let keys = ApiKeys::builder(store).open().await?;
/// let layer = keys.layer();
/// # let _ = layer;
/// # Ok(())
/// # }
/// ```
///
/// With default settings `ApiKeys::open("postgres://…")` does the same. `examples/postgres.rs` serves axum over it.
///
/// # Security
///
/// Someone who can write the tables has every key; someone who can read them has the hashes. Migrations make three roles that nobody can
/// log in as: `api_keys_owner` owns the tables; `api_keys_service` is all that a service needs, and can neither change nor delete audit
/// events; `api_keys_reader` reads everything but hashes, secrets and personal fields. The migration logs them at INFO, each with the
/// statement that grants it, and at WARN what its user may not do and was left out. Grant the service's user `api_keys_service` and
/// open the store [without migrations](PostgresStoreBuilder::without_migrations). Roles belong to the whole server: two databases with
/// one name of the schema share them.
///
/// Errors, logs and `Debug` show no password and no presented key. Hashes and lookups are values of statements, so a server that logs
/// parameters (`log_parameter_max_length`) has them in its log. What is sent before TLS is verified is the wish for it
/// alone.
#[derive(Clone)]
pub struct PostgresStore(Arc<Inner>);

struct Inner {
    connections: Arc<Connections>,
    sql: Arc<Statements>,
    locks: Locks,
    state: Arc<State>,
    fence: Fence,
    sharing: Sharing,
    following: Following,
    journal: Option<JournalOfStore>,
    schema: Schema,
    is_copy_target: bool,
    /// Held while another store is copied into the schema.
    copying: tokio::sync::Mutex<()>,
}

impl PostgresStore {
    /// The version of the schema that this version of the crate makes.
    pub const SCHEMA_VERSION: u32 = sql::migration::POSTGRES.len() as u32;

    /// Opens the database of a URL or connection string, and brings the schema `api_keys` in it up to date. Of several processes that
    /// open a new database at once, one makes the tables.
    ///
    /// # Errors
    /// [`Unusable`](StoreErrorKind::Unusable) for what the operator has to change: the URL, user, password, database or TLS, a user who
    /// may not do what the migrations need, a schema of another program or of a version of this crate that this one cannot use, a
    /// standby, a server older than version 15. [`Unavailable`](StoreErrorKind::Unavailable) or
    /// [`Overloaded`](StoreErrorKind::Overloaded) for what may pass by itself: no answer, a host that cannot be found, a server that
    /// starts or has no connection left. The reason is the source. No error shows a password.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        Self::builder().open(url).await
    }

    /// Another machine that this URL or connection string leads to without TLS, since it has `sslmode=disable`: the password, hashes and
    /// lookups cross the network in clear. `None` if all that leaves this machine is encrypted. Nothing is connected to.
    ///
    /// ```
    /// use tower_api_key::store::PostgresStore;
    ///
    /// let url = "postgres://keys@db.internal/app?sslmode=disable";
    /// assert_eq!(PostgresStore::exposed_to(url)?.as_deref(), Some("db.internal:5432"));
    /// assert_eq!(PostgresStore::exposed_to("postgres://keys@db.internal/app")?, None);
    /// # Ok::<_, tower_api_key::store::StoreError>(())
    /// ```
    ///
    /// # Errors
    /// [`Unusable`](StoreErrorKind::Unusable) for a URL that cannot be read.
    pub fn exposed_to(url: &str) -> Result<Option<String>, StoreError> {
        Ok(config::Target::parse(url).map_err(fault::Unusable::Url)?.exposed)
    }

    /// For another schema, another number of connections, and other times.
    pub fn builder() -> PostgresStoreBuilder {
        PostgresStoreBuilder::default()
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").finish_non_exhaustive()
    }
}

impl KeyStore for PostgresStore {
    async fn find(&self, lookup: &Lookup) -> Result<Option<Candidate>, StoreError> {
        let mut lent = self.0.connections.for_read().await?;
        let mut found = self.0.find(&mut lent, lookup).await;
        if lent.has_forgotten(&found) {
            found = self.0.find(&mut lent, lookup).await;
        }
        lent.end(found)
    }

    fn fence(&self) -> Option<&Fence> {
        Some(&self.0.fence)
    }

    fn sharing(&self) -> Sharing {
        self.0.sharing
    }

    fn follow(&self, clock: &Clock) {
        self.0.following.begin(&self.0.fence, clock);
    }
}

impl ManagedStore for PostgresStore {
    async fn commit(&self, commit: Commit) -> Result<Committed, StoreError> {
        Box::pin(commit::commit(&self.0, commit)).await
    }

    async fn read(&self, query: Query) -> Result<Answer, StoreError> {
        // On the heap, since it has room for the largest of all answers.
        Box::pin(self.0.answer(query)).await
    }
}

impl Inner {
    async fn find(&self, lent: &mut Lent, lookup: &Lookup) -> Result<Option<Candidate>, StoreError> {
        let reading = self.connections.reading(lent).await?;
        let (session, values) = (reading.session(), [lookup.as_str().into()]);
        let found = sql::first(&session, &self.sql.find, &values, |row| {
            self.state.check(row)?;
            row.is_next_set().then(|| row.candidate()).transpose()
        });
        let nothing = || StoreError::with_source(StoreErrorKind::Unavailable, "the database did not say who it is");
        found.await?.ok_or_else(nothing)
    }

    async fn answer(&self, query: Query) -> Result<Answer, StoreError> {
        match self.answer_once(query.clone()).await {
            // On a connection that was lost while it rested, as after a restart of the server.
            Err(error) if is_lost(&error) => self.answer_once(query).await,
            answer => answer,
        }
    }

    async fn answer_once(&self, query: Query) -> Result<Answer, StoreError> {
        let mut lent = match query.is_of_few_rows() {
            true => self.connections.for_read().await?,
            false => self.connections.for_scan().await?,
        };
        let mut answer = self.read(&mut lent, query.clone()).await;
        if lent.has_forgotten(&answer) {
            answer = self.read(&mut lent, query).await;
        }
        lent.end(answer)
    }

    async fn read(&self, lent: &mut Lent, query: Query) -> Result<Answer, StoreError> {
        let reading = self.connections.reading(lent).await?;
        let session = reading.session();
        self.state.verify(&session).await?;
        sql::answer(&session, &self.sql, query).await
    }
}
