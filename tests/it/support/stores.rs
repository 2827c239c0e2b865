//! Each store of this crate in a place of its own, empty at first: to be opened, opened again, and changed by hand.

mod hand;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tower_api_key::store::{DynStore, MemoryStore, StoreError};
use uuid::Uuid;

pub(crate) use hand::Hand;

#[cfg(all(feature = "postgres", target_os = "linux"))]
use super::postgres;

/// How late a store opened here sees the changes of others.
pub(crate) const BOUND: Duration = Duration::from_secs(1);

/// Where a store keeps its rows.
pub(crate) enum Database {
    Memory(MemoryStore),
    #[cfg(feature = "sqlite")]
    Sqlite {
        path: PathBuf,
        _folder: Option<tempfile::TempDir>,
    },
    /// A schema of the server that tests share, or the one of a URL.
    #[cfg(all(feature = "postgres", target_os = "linux"))]
    Postgres {
        url: String,
        schema: String,
    },
}

/// Each store, with its database.
pub(crate) async fn stores() -> Vec<(DynStore, Database)> {
    let mut stores = Vec::new();
    for database in Database::each() {
        stores.push((database.open().await, database));
    }
    stores
}

impl Database {
    /// One of each kind.
    pub(crate) fn each() -> impl Iterator<Item = Self> {
        [Self::Memory(MemoryStore::new())].into_iter().chain(Self::shared())
    }

    /// One of each kind that other processes and programs can open.
    pub(crate) fn shared() -> impl Iterator<Item = Self> {
        let kinds: [fn() -> Option<Self>; 2] = [Self::sqlite, Self::postgres];
        kinds.into_iter().filter_map(|make| make())
    }

    #[cfg(feature = "sqlite")]
    fn sqlite() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        Some(Self::Sqlite {
            path: folder.path().join("keys.sqlite"),
            _folder: Some(folder),
        })
    }

    #[cfg(all(feature = "postgres", target_os = "linux"))]
    fn postgres() -> Option<Self> {
        Some(Self::Postgres {
            url: postgres::shared(),
            schema: postgres::schema_name(),
        })
    }

    #[cfg(not(feature = "sqlite"))]
    fn sqlite() -> Option<Self> {
        None
    }

    #[cfg(not(all(feature = "postgres", target_os = "linux")))]
    fn postgres() -> Option<Self> {
        None
    }

    /// What another process finds it by, with [`Database::at`].
    pub(crate) fn address(&self) -> String {
        match self {
            Self::Memory(_) => panic!("no other process finds it"),
            #[cfg(feature = "sqlite")]
            Self::Sqlite { path, .. } => path.display().to_string(),
            #[cfg(all(feature = "postgres", target_os = "linux"))]
            Self::Postgres { url, schema } => format!("{url} {schema}"),
        }
    }

    pub(crate) fn at(address: &str) -> Self {
        match address.split_once(' ') {
            #[cfg(all(feature = "postgres", target_os = "linux"))]
            Some((url, schema)) if url.starts_with("postgres:") => Self::Postgres {
                url: url.to_owned(),
                schema: schema.to_owned(),
            },
            #[cfg(feature = "sqlite")]
            _ => Self::Sqlite {
                path: address.into(),
                _folder: None,
            },
            #[cfg(not(feature = "sqlite"))]
            _ => panic!("no store of this program is at {address}"),
        }
    }

    /// Of a file, a second store in the same process is the same one; of a server, it is another one.
    pub(crate) async fn open(&self) -> DynStore {
        self.try_open().await.unwrap()
    }

    pub(crate) async fn try_open(&self) -> Result<DynStore, StoreError> {
        match self {
            Self::Memory(store) => Ok(DynStore::new(store.clone())),
            #[cfg(feature = "sqlite")]
            Self::Sqlite { path, .. } => {
                let store = tower_api_key::store::SqliteStore::open(path).await?;
                Ok(DynStore::new(store))
            }
            #[cfg(all(feature = "postgres", target_os = "linux"))]
            Self::Postgres { url, schema } => {
                let builder = tower_api_key::store::PostgresStore::builder().schema(schema);
                let store = builder.max_staleness(BOUND).open(url).await?;
                Ok(DynStore::new(store))
            }
        }
    }

    /// Another program.
    pub(crate) async fn hand(&self) -> Hand {
        match self {
            Self::Memory(_) => panic!("nobody reaches it by hand"),
            #[cfg(feature = "sqlite")]
            Self::Sqlite { path, .. } => Hand::Sqlite(rusqlite::Connection::open(path).unwrap()),
            #[cfg(all(feature = "postgres", target_os = "linux"))]
            Self::Postgres { url, schema } => {
                let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
                tokio::spawn(connection);
                Hand::Postgres(client, schema.clone())
            }
        }
    }

    /// [`Hand::run`] of a connection of its own.
    pub(crate) async fn by_hand(&self, statements: &str, ids: &[Uuid]) -> u64 {
        self.hand().await.run(statements, ids).await
    }

    pub(crate) fn is_postgres(&self) -> bool {
        self.to_string() == "postgres"
    }

    /// A value for statements, of hexadecimal digits.
    pub(crate) fn bytes(&self, digits: &str) -> String {
        match self.is_postgres() {
            true => format!(r"'\x{digits}'"),
            false => format!("x'{digits}'"),
        }
    }

    /// Another database with the same rows, as a backup that is put in there.
    pub(crate) async fn copy(&self) -> Self {
        match self {
            Self::Memory(_) => panic!("it has no backup"),
            #[cfg(feature = "sqlite")]
            Self::Sqlite { .. } => {
                let copy = Self::sqlite().unwrap();
                self.by_hand(&format!("VACUUM INTO '{}'", copy.address()), &[]).await;
                copy
            }
            #[cfg(all(feature = "postgres", target_os = "linux"))]
            Self::Postgres { url, schema } => {
                let name = postgres::schema_name();
                self.by_hand(&format!("CREATE DATABASE {name} TEMPLATE template0"), &[])
                    .await;
                let (server, _) = url.rsplit_once('/').unwrap();
                let copy = format!("{server}/{name}");
                postgres::psql(&copy, &postgres::dump_schema(url, schema));
                Self::Postgres {
                    url: copy,
                    schema: schema.clone(),
                }
            }
        }
    }

    /// What it has stored: its files, or what a backup of a server has.
    pub(crate) fn contents(&self) -> Vec<u8> {
        match self {
            Self::Memory(_) => Vec::new(),
            #[cfg(feature = "sqlite")]
            Self::Sqlite { path, .. } => {
                let files = std::fs::read_dir(path.parent().unwrap()).unwrap();
                // A file that was deleted in the meantime holds nothing.
                files
                    .flat_map(|file| std::fs::read(file.unwrap().path()).unwrap_or_default())
                    .collect()
            }
            #[cfg(all(feature = "postgres", target_os = "linux"))]
            Self::Postgres { url, schema } => postgres::dump_schema(url, schema).into_bytes(),
        }
    }

    /// Whether it has these bytes in what it has stored.
    pub(crate) fn has(&self, bytes: &[u8]) -> bool {
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let contents = self.contents();
        let has = |part: &[u8]| contents.windows(part.len()).any(|window| window == part);
        // A backup has bytes as digits.
        has(bytes) || self.is_postgres() && has(digits.as_bytes())
    }

    /// Waits until what was closed is written back. SQLite's threads remove the log when they end.
    pub(crate) async fn is_closed(&self) {
        let log = self.path().map(|path| path.with_extension("sqlite-wal"));
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        while log.as_ref().is_some_and(|log| log.exists()) {
            assert!(std::time::Instant::now() < deadline, "the log of SQLite is still there");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The file of a SQLite database.
    pub(crate) fn path(&self) -> Option<&Path> {
        #[cfg(feature = "sqlite")]
        if let Self::Sqlite { path, .. } = self {
            return Some(path);
        }
        None
    }
}

/// Of several, a failed test drops that of its failure first.
impl Drop for Database {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("store: {self}");
        }
    }
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory(_) => "memory",
            #[cfg(feature = "sqlite")]
            Self::Sqlite { .. } => "sqlite",
            #[cfg(all(feature = "postgres", target_os = "linux"))]
            Self::Postgres { .. } => "postgres",
        })
    }
}
