//! Connections to the database, and how many of them each kind of work may have.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use deadpool_postgres::{
    Client, ClientWrapper, Hook, HookError, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime, Transaction,
};
use tokio::sync::Semaphore;
use tokio_postgres::{Config, IsolationLevel};

use super::connector::Connector;
use super::fault::{PostgresError, Unusable, of_pool};
use super::lent::{Lent, Places};
use super::session::{Session, answered};
use crate::store::{StoreError, StoreErrorKind};

/// Callers that wait for a connection, of each kind of work.
const MOST_WAITING: usize = 1024;

pub(super) struct Connections {
    pool: Pool,
    settings: Settings,
    /// `None` for a pool of the application's own. That keeps its settings, so ours are set for each transaction.
    connector: Option<Connector>,
    /// Whether transactions of this user only read unless they say that they write.
    reads_by_default: AtomicBool,
    commits: Lane,
    scans: Lane,
}

/// What is set on a connection, so that neither a lost caller nor a schema of someone else's decides what a statement does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) statement_timeout: Duration,
    pub(super) connect_timeout: Duration,
}

/// What reads, and how long each answer is waited for.
pub(super) enum Reading<'l> {
    Connection(&'l ClientWrapper, Duration),
    Transaction(Transaction<'l>, Duration),
}

impl Reading<'_> {
    pub(super) fn session(&self) -> Session<'_> {
        match self {
            Self::Connection(client, longest) => Session::of(client, *longest),
            Self::Transaction(transaction, longest) => Session::within(transaction, *longest),
        }
    }
}

/// Work of one kind: some of it at once, some that waits.
struct Lane {
    at_once: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

impl Connections {
    pub(super) fn own(connector: Connector, size: usize, settings: Settings) -> Result<Self, Unusable> {
        let manager = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        // The connector knows where to.
        let manager = Manager::from_connect(Config::new(), connector.clone(), manager);
        let texts = settings.of_session();
        let set = Hook::async_fn(move |client: &mut ClientWrapper, _| {
            let texts = texts.clone();
            Box::pin(async move { client.batch_execute(&texts).await.map_err(HookError::Backend) })
        });
        let pool = Pool::builder(manager)
            .max_size(size)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(settings.statement_timeout))
            .create_timeout(Some(settings.connect_timeout))
            .recycle_timeout(Some(settings.connect_timeout))
            .post_create(set)
            .build()
            .map_err(Unusable::Pool)?;
        Ok(Self::of(pool, settings, Some(connector)))
    }

    pub(super) fn borrowed(pool: Pool, settings: Settings) -> Self {
        Self::of(pool, settings, None)
    }

    fn of(pool: Pool, settings: Settings, connector: Option<Connector>) -> Self {
        let size = pool.status().max_size;
        // Commits wait for each other's rows, and lists may take long: checks of keys keep some connections.
        let commits = Lane::of(size / 2);
        Self {
            pool,
            settings,
            connector,
            reads_by_default: AtomicBool::new(false),
            scans: match size {
                0..=2 => commits.beside(),
                _ => Lane::of(size / 4),
            },
            commits,
        }
    }

    /// How long an answer is waited for. The server ends a statement before that.
    pub(super) fn answer_timeout(&self) -> Duration {
        self.settings.answer_timeout()
    }

    /// For a check of a key, or another read of few rows.
    pub(super) async fn for_read(&self) -> Result<Lent, StoreError> {
        if self.pool.status().waiting >= MOST_WAITING {
            return Err(StoreError::with_source(StoreErrorKind::Overloaded, TOO_MANY));
        }
        self.lend(None).await
    }

    pub(super) async fn for_scan(&self) -> Result<Lent, StoreError> {
        let places = self.scans.place(self.settings.statement_timeout).await?;
        self.lend(Some(places)).await
    }

    pub(super) async fn for_commit(&self) -> Result<Lent, StoreError> {
        let places = self.commits.place(self.settings.statement_timeout).await?;
        self.lend(Some(places)).await
    }

    async fn lend(&self, places: Option<Places>) -> Result<Lent, StoreError> {
        // The pool's own timeouts end before that, if it has any. What is set on a new connection is in none of them.
        let client = tokio::time::timeout(self.answer_timeout(), self.pool.get()).await;
        let late = |_| {
            StoreError::with_source(
                StoreErrorKind::Unavailable,
                "there was no connection to the database in time",
            )
        };
        let client = client.map_err(late)?.map_err(of_pool)?;
        Ok(Lent::new(client, self.settings.statement_timeout, places))
    }

    /// A connection beside the pool: what depends on it does not wait for others.
    pub(super) async fn alone(&self) -> Result<ClientWrapper, StoreError> {
        let connect = async {
            let client = match &self.connector {
                Some(connector) => {
                    let (client, driver) = connector.connect().await?;
                    // The driver ends with it.
                    ClientWrapper::new(client, driver)
                }
                None => {
                    let mut client = Client::take(self.pool.get().await.map_err(of_pool)?);
                    // A transaction that somebody has left open on it would never show anything new. It ends with this one, which is
                    // refused in it, or is a part of it.
                    drop(client.build_transaction().deferrable(false).start().await);
                    client
                }
            };
            client.batch_execute(&self.settings.of_session()).await?;
            if self.reads_by_default() {
                client.batch_execute(WRITES).await?;
            }
            Ok(client)
        };
        let connected = tokio::time::timeout(self.settings.connect_timeout, connect).await;
        connected.unwrap_or_else(|_| Err(PostgresError::too_late().into()))
    }

    /// Connections that rest are made anew: another server may have taken over.
    pub(super) fn renew(&self) {
        if self.connector.is_some() {
            self.pool.retain(|_, _| false);
        }
    }

    /// A transaction that writes says so where the default of this *user* is another one. Where it is that of the server or of the
    /// database, as while these are moved, what is written could be lost.
    pub(super) fn reads_by_default(&self) -> bool {
        self.reads_by_default.load(Ordering::Relaxed)
    }

    pub(super) fn set_reads_by_default(&self) {
        self.reads_by_default.store(true, Ordering::Relaxed);
    }

    /// What a transaction has to set for itself.
    pub(super) fn settings_of_transaction(&self) -> Option<String> {
        self.connector.is_none().then(|| self.settings.texts("SET LOCAL"))
    }

    /// What reads on a connection: in a transaction if the settings are of that alone.
    pub(super) async fn reading<'l>(&self, lent: &'l mut Lent) -> Result<Reading<'l>, StoreError> {
        let client = lent.client()?;
        let Some(settings) = self.settings_of_transaction() else {
            return Ok(Reading::Connection(client, self.answer_timeout()));
        };
        // An application may have another default, and one that is serializable and deferrable waits for others. With `deferrable` it is
        // refused in a transaction that the application has left open, perhaps long ago.
        let transaction = client
            .build_transaction()
            .isolation_level(IsolationLevel::ReadCommitted);
        let begun = transaction.deferrable(false).read_only(true).start();
        let reading = Reading::Transaction(answered(self.answer_timeout(), begun).await?, self.answer_timeout());
        reading.session().run(&settings).await?;
        Ok(reading)
    }
}

impl Settings {
    pub(super) fn answer_timeout(&self) -> Duration {
        self.statement_timeout + self.connect_timeout
    }

    fn of_session(&self) -> String {
        self.texts("SET")
    }

    fn texts(&self, set: &str) -> String {
        let millis = self.statement_timeout.as_millis();
        // A caller that went away leaves its statement, and a process that stands still its transaction. A COMMIT, which waits for
        // the change log, has no other timeout than that of locks.
        let times = [
            format!("statement_timeout = {millis}"),
            format!("lock_timeout = {millis}"),
            format!("idle_in_transaction_session_timeout = {}", 2 * millis),
        ];
        let settings = times.iter().map(String::as_str).chain(SETTINGS.iter().copied());
        settings.map(|setting| format!("{set} {setting};")).collect()
    }
}

impl Lane {
    fn of(at_once: usize) -> Self {
        Self {
            at_once: Arc::new(Semaphore::new(at_once.max(1))),
            places: Arc::new(Semaphore::new(MOST_WAITING)),
        }
    }

    /// Work of another kind that takes turns with it.
    fn beside(&self) -> Self {
        Self {
            at_once: self.at_once.clone(),
            places: Arc::new(Semaphore::new(MOST_WAITING)),
        }
    }

    async fn place(&self, longest: Duration) -> Result<Places, StoreError> {
        let full = |_| StoreError::with_source(StoreErrorKind::Overloaded, TOO_MANY);
        let place = self.places.clone().try_acquire_owned().map_err(full)?;
        let busy = |_| StoreError::with_source(StoreErrorKind::Overloaded, ALL_IN_USE);
        let turn = tokio::time::timeout(longest, self.at_once.clone().acquire_owned())
            .await
            .map_err(busy)?;
        let closed = |source| StoreError::with_source(StoreErrorKind::Unavailable, source);
        Ok((turn.map_err(closed)?, place))
    }
}

/// Every statement is led to its rows by an index. A filter that may be absent, `(x = $1 OR $1 IS NULL)`, is taken for one that leaves
/// next to nothing: of plans made for that, some read and sort whole tables. It takes longer to compile a statement than to run it.
const SETTINGS: &[&str] = &[
    // Otherwise temporary tables come first, and their names are those of types.
    "search_path = pg_catalog, pg_temp",
    // Rows that a policy hides would be rows that are not there: a good key unknown, a revoke not in the log. So they are an error.
    "row_security = off",
    // A role may have other defaults. The change log is not written in any other isolation.
    "default_transaction_isolation = 'read committed'",
    "default_transaction_deferrable = off",
    // That of the driver: an application may have set another one, for what it writes.
    "client_encoding = 'UTF8'",
    "plan_cache_mode = force_generic_plan",
    "enable_indexscan = on",
    "enable_indexonlyscan = on",
    "enable_nestloop = on",
    "enable_seqscan = off",
    "enable_bitmapscan = off",
    "enable_hashjoin = off",
    "enable_mergejoin = off",
    "enable_material = off",
    "jit = off",
];
/// For a connection beside the pool, of a user whose transactions only read unless they say something else.
pub(super) const WRITES: &str = "SET default_transaction_read_only = off";
const ALL_IN_USE: &str = "all connections to the database are in use";
const TOO_MANY: &str = "too many callers wait for a connection to the database";
