//! What can go wrong with a PostgreSQL database, in words and as errors of the store.

use std::error::Error;
use std::time::Duration;

use deadpool_postgres::{HookError, PoolError, TimeoutType};
use tokio_postgres::error::{DbError, Severity, SqlState};

use super::advice::advice;
use super::options::UrlError;
use super::tls_error::TlsError;
use crate::store::{StoreError, StoreErrorKind};

/// Why a database cannot serve as a key store.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    #[error(transparent)]
    Url(#[from] UrlError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(
        "cannot bring the schema {schema:?} up to date: a new one takes CREATE on the database, one that exists the rights of its owner; \
         `PostgresStoreBuilder::without_migrations`, `migrations = false` in a configuration file, leaves it as it is"
    )]
    Migrate {
        schema: String,
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    #[error("the user may not use the schema {schema:?}; for a service, grant it the role `{schema}_service`")]
    NotGranted {
        schema: String,
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    #[error(
        "the schema {0:?} has objects of another program; choose another name with `PostgresStoreBuilder::schema`, `schema` in a \
         configuration file"
    )]
    Foreign(String),
    #[error(
        "the schema {0:?} had another name when its functions were made, so changes are not logged in it; give it that name again \
         (ALTER SCHEMA ... RENAME TO)"
    )]
    Renamed(String),
    #[error(
        "the schema {schema:?} belongs to others, or they may make objects in it, and so decide which keys are good: {names}. Look at \
         what is in it; make it theirs no more (REVOKE CREATE ON SCHEMA, ALTER SCHEMA ... OWNER TO), or grant them the role \
         `{schema}_owner`"
    )]
    Strangers { schema: String, names: String },
    #[error("the database has no schema {0:?} of this crate yet; open it once with migrations")]
    NoSchema(String),
    #[error("the schema of the database is {found}, this version needs {known}; open it once with migrations")]
    Older { found: u32, known: u32 },
    #[error(
        "the server is a standby, which only reads; connect to the primary (several hosts: `target_session_attrs=read-write`)"
    )]
    Standby,
    #[error(
        "the schema was opened with `PostgresStoreBuilder::copy_target`, and no store has been copied into it yet, so it serves nobody"
    )]
    NotCopied,
    #[error("PostgreSQL must be version 15 or newer, the server has {0}")]
    TooOld(String),
    #[error("the database must be in the encoding UTF8, it is in {0}")]
    Encoding(String),
    #[error("the name of a schema has 1 to 48 of `a-z`, `0-9` and `_`, and begins with neither a digit nor `pg_`")]
    SchemaName,
    #[error("max_connections must be between 2 and 1000, got {0}")]
    MaxConnections(usize),
    #[error("{what} must be between {least:?} and {most:?}, got {given:?}")]
    Time {
        what: &'static str,
        least: Duration,
        most: Duration,
        given: Duration,
    },
    #[error("cannot make a pool of connections")]
    Pool(#[source] deadpool_postgres::BuildError),
}

impl From<Unusable> for StoreError {
    fn from(unusable: Unusable) -> Self {
        StoreError::with_source(StoreErrorKind::Unusable, unusable)
    }
}

/// What PostgreSQL or its driver says. The driver's own error would quote values of a row.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(super) struct PostgresError {
    text: String,
    code: Option<SqlState>,
    /// Whether the server ends the connection with it.
    is_fatal: bool,
    /// Whether it stays until the operator changes something.
    is_lasting: bool,
}

impl PostgresError {
    /// Of a connection that is not made.
    pub(super) fn of_connecting(error: tokio_postgres::Error) -> Self {
        let advice = advice(&error);
        let said = Self::from(error);
        match advice {
            Some(advice) => Self {
                text: format!("{}; {advice}", said.text),
                is_lasting: true,
                ..said
            },
            None => said,
        }
    }

    /// Which server it is about.
    pub(super) fn at(self, server: &str) -> Self {
        let text = format!("{server}: {}", self.text);
        Self { text, ..self }
    }

    /// Of two servers that could serve. What passes by itself at one of them, passes.
    pub(super) fn and(self, other: Self) -> Self {
        let text = format!("{}, and {}", self.text, other.text);
        match self.is_lasting {
            true => Self { text, ..other },
            false => Self { text, ..self },
        }
    }

    pub(super) fn is_lasting(&self) -> bool {
        self.is_lasting
    }

    /// Whether it may be another time, without any change by the operator.
    pub(super) fn may_pass(&self) -> bool {
        let class = |code: &SqlState| PASSING.iter().any(|class| code.code().starts_with(class));
        self.code.as_ref().is_none_or(class)
    }

    /// Whether the user may not do it.
    pub(super) fn is_denied(&self) -> bool {
        self.code == Some(SqlState::INSUFFICIENT_PRIVILEGE)
    }

    pub(super) fn too_late() -> Self {
        Self {
            text: "the server did not accept a connection in time".to_owned(),
            code: None,
            is_fatal: true,
            is_lasting: false,
        }
    }

    /// What the server said, if it did; `None` if it did not answer, or ended the connection.
    pub(super) fn refusal(&self) -> Option<&SqlState> {
        self.code.as_ref().filter(|_| !self.is_fatal)
    }
}

impl From<tokio_postgres::Error> for PostgresError {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(said) = error.as_db_error() else {
            let mut text = error.to_string();
            let mut source = error.source();
            while let Some(cause) = source {
                let cause_text = cause.to_string();
                if !text.contains(&cause_text) {
                    text = format!("{text}: {cause_text}");
                }
                source = cause.source();
            }
            return Self {
                text,
                code: None,
                is_fatal: true,
                is_lasting: false,
            };
        };
        Self {
            text: text_of(said),
            code: Some(said.code().clone()),
            is_fatal: is_fatal(said),
            is_lasting: false,
        }
    }
}

/// Whether the connection ends with it. The word for how severe it is may be in the language of the server, and a pooler in front
/// says `ERROR` of a connection that it has lost.
fn is_fatal(said: &DbError) -> bool {
    let is_error = match said.parsed_severity() {
        Some(severity) => severity == Severity::Error,
        None => said.severity() == "ERROR",
    };
    let code = said.code().code();
    !is_error || OF_CONNECTIONS.iter().any(|class| code.starts_with(class))
}

/// Classes of codes: connection exceptions, and shutdowns.
const OF_CONNECTIONS: [&str; 2] = ["08", "57P"];

/// Without the details, which quote the row; nor the message where that quotes a value.
fn text_of(said: &DbError) -> String {
    let code = said.code().code();
    match code.starts_with(DATA_EXCEPTION) {
        true => format!("a value is not accepted (SQLSTATE {code})"),
        false => format!("{} (SQLSTATE {code})", said.message()),
    }
}

const DATA_EXCEPTION: &str = "22";
/// Connections, other transactions, resources, locks, the server's end, its disks.
const PASSING: [&str; 6] = ["08", "40", "53", "55", "57", "58"];

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        PostgresError::from(error).into()
    }
}

impl From<PostgresError> for StoreError {
    fn from(error: PostgresError) -> Self {
        StoreError::with_source(kind(&error), error)
    }
}

fn kind(error: &PostgresError) -> StoreErrorKind {
    let Some(code) = &error.code else {
        return StoreErrorKind::Unavailable;
    };
    if *code == SqlState::UNIQUE_VIOLATION {
        StoreErrorKind::AlreadyExists
    } else if *code == SqlState::FOREIGN_KEY_VIOLATION {
        // A new row's owner: the organization of a key, or the key of a secret.
        StoreErrorKind::NotFound
    } else if [
        SqlState::CHARACTER_NOT_IN_REPERTOIRE,
        SqlState::UNTRANSLATABLE_CHARACTER,
    ]
    .contains(code)
    {
        // A NUL character in a text.
        StoreErrorKind::InvalidCommit
    } else if *code == SqlState::TOO_MANY_CONNECTIONS {
        StoreErrorKind::Overloaded
    } else {
        StoreErrorKind::Unavailable
    }
}

/// Who answers is not the one that decides.
#[derive(Debug, thiserror::Error)]
pub(super) enum WrongServer {
    #[error("the server is a standby, which may lag behind what was revoked")]
    Standby,
    #[error("the database is not the one that was opened: its realm has another id")]
    OtherRealm,
}

impl From<WrongServer> for StoreError {
    fn from(wrong: WrongServer) -> Self {
        StoreError::with_source(StoreErrorKind::Unavailable, wrong)
    }
}

/// The server was asked, and did not answer for as long as anything may take it.
#[derive(Debug, thiserror::Error)]
#[error("the server did not answer in time")]
pub(super) struct NoAnswer;

impl From<NoAnswer> for StoreError {
    fn from(none: NoAnswer) -> Self {
        StoreError::with_source(StoreErrorKind::Unavailable, none)
    }
}

/// Whether a connection that gave this answer would give it again, or answers something else first; another one perhaps not.
pub(super) fn makes_connection_useless(error: &StoreError) -> bool {
    let is_useless = |source: &(dyn Error + 'static)| source.is::<WrongServer>() || source.is::<NoAnswer>();
    let only_reads = || said(error).is_some_and(|said| said.code == Some(SqlState::READ_ONLY_SQL_TRANSACTION));
    error.source().is_some_and(is_useless) || only_reads()
}

/// Whether the connection is not as it was left: a statement that was prepared on it is gone, or a transaction is open. Nothing was done
/// then.
pub(super) fn has_forgotten(error: &StoreError) -> bool {
    let code = said(error).and_then(|error| error.code.as_ref());
    code.is_some_and(|code| FORGOTTEN.contains(code))
}

/// Statements are gone, or of tables that are no more: the application has said `DEALLOCATE ALL`, or a table was made anew. Or it has left a
/// transaction open, perhaps a failed one, which the refused beginning of ours has rolled back.
const FORGOTTEN: &[SqlState] = &[
    SqlState::INVALID_SQL_STATEMENT_NAME,
    SqlState::FEATURE_NOT_SUPPORTED,
    SqlState::ACTIVE_SQL_TRANSACTION,
    SqlState::IN_FAILED_SQL_TRANSACTION,
];

/// Whether another transaction was in the way, and the same one may succeed now.
pub(super) fn is_in_the_way(error: &StoreError) -> bool {
    let code = said(error).and_then(|error| error.code.as_ref());
    code.is_some_and(|code| [SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED].contains(code))
}

/// Whether a lock was waited for in vain.
pub(super) fn is_locked(error: &StoreError) -> bool {
    said(error).and_then(|error| error.code.as_ref()) == Some(&SqlState::LOCK_NOT_AVAILABLE)
}

/// Whether the connection was lost before anything could be committed on it.
pub(super) fn is_lost(error: &StoreError) -> bool {
    error.kind() == StoreErrorKind::Unavailable && said(error).is_some_and(|error| error.refusal().is_none())
}

/// What the database said, if that is why.
pub(super) fn said(error: &StoreError) -> Option<&PostgresError> {
    error.source().and_then(|source| source.downcast_ref())
}

/// What a user who may not read the tables has to be given.
pub(super) fn not_granted(error: StoreError, schema: &str) -> StoreError {
    let schema = schema.to_owned();
    match said(&error).is_some_and(PostgresError::is_denied) {
        true => error
            .into_kind(StoreErrorKind::Unusable)
            .within(|source| Unusable::NotGranted { schema, source }),
        false => error,
    }
}

/// What a pool of connections says.
pub(super) fn of_pool(error: PoolError) -> StoreError {
    match error {
        PoolError::Backend(error) => PostgresError::of_connecting(error).into(),
        PoolError::PostCreateHook(HookError::Backend(error)) => error.into(),
        PoolError::Timeout(TimeoutType::Create) => PostgresError::too_late().into(),
        PoolError::Timeout(TimeoutType::Wait) => {
            StoreError::with_source(StoreErrorKind::Overloaded, "all connections to the database are in use")
        }
        error => StoreError::with_source(StoreErrorKind::Unavailable, error),
    }
}
