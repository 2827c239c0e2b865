//! Handles with the settings of a file.

use std::env::VarError;

use zeroize::Zeroizing;

use super::error::{ConfigFileErrorKind, Fault};
use super::{Config, ConfigFileError};
use crate::check::ApiKeysBuilder;
use crate::hash::HashPool;
use crate::keys::ApiKeys;
#[cfg(feature = "postgres")]
use crate::store::PostgresStoreBuilder;
#[cfg(feature = "sqlite")]
use crate::store::SqliteStoreBuilder;
use crate::store::{DynStore, ManagedStore, MemoryStore};

/// The database, for files that name none.
const VARIABLE: &str = "DATABASE_URL";
const SMALLEST_CACHE: u64 = 1 << 20;

impl ApiKeys {
    /// Opens what a [configuration file](crate::config) names: the database, with formats, hashes, cache and limits, and the
    /// settings of each [`layer`](Self::layer) and of [`maintenance`](Self::maintenance).
    ///
    /// ```
    /// use tower_api_key::ApiKeys;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("api-keys.toml");
    /// std::fs::write(&path, "[database]\nurl = \"memory:\"\n\n[[formats]]\nprefix = \"acme\"\n")?;
    /// let keys = ApiKeys::open_config(&path).await?;
    /// let ensured = keys.ensure("acme", "my first key").await?;
    /// assert!(ensured.key.unwrap().expose_secret().starts_with("acme_test_"));
    /// let layer = keys.layer();
    /// # let _ = layer;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of [`Config::read`] and [`Config::open`].
    pub async fn open_config(path: impl AsRef<std::path::Path>) -> Result<Self, ConfigFileError> {
        Config::read(path)?.open().await
    }
}

impl Config {
    /// Opens the database of the file, or if it names none, that of the environment variable `DATABASE_URL`.
    ///
    /// # Errors
    /// When there is neither ([`NoDatabase`](ConfigFileErrorKind::NoDatabase)), or the variable is empty; when the database cannot be opened ([`Store`](ConfigFileErrorKind::Store)); and when a file of root
    /// keys cannot be read.
    pub async fn open(&self) -> Result<ApiKeys, ConfigFileError> {
        if let Some(url) = self.database_url() {
            return self
                .open_as(url.expose_secret(), "the database of `database.url` cannot be opened")
                .await;
        }
        let (kind, problem) = match std::env::var(VARIABLE) {
            // A template whose value is missing: the operator who set the variable wants a database.
            Ok(url) if url.is_empty() => (
                ConfigFileErrorKind::InvalidValue,
                "`DATABASE_URL` is set and empty: give it a URL, or unset it",
            ),
            Ok(url) => {
                let url = Zeroizing::new(url);
                return self
                    .open_as(&url, "the database of `DATABASE_URL` cannot be opened")
                    .await;
            }
            Err(VarError::NotUnicode(_)) => (ConfigFileErrorKind::InvalidValue, "`DATABASE_URL` must be UTF-8"),
            Err(VarError::NotPresent) => (
                ConfigFileErrorKind::NoDatabase,
                "no database is named: set `url` in section `database`, or the environment variable `DATABASE_URL`",
            ),
        };
        Err(self.locate(Fault::new(kind, problem)))
    }

    /// Opens the database of another URL, such as one of the command line, with the settings of the file. Options of
    /// `[database]` that the kind of database does not have are left out. A relative path begins at the working directory.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_url(&self, url: &str) -> Result<ApiKeys, ConfigFileError> {
        self.open_as(url, STORE).await
    }

    /// The database of a URL alone, with the options of `[database]`: for [`builder`](Self::builder), or to
    /// [copy](crate::store::copy()) it.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub async fn open_store(&self, url: &str) -> Result<DynStore, ConfigFileError> {
        self.store(url, STORE).await
    }

    /// A builder of SQLite stores with the options of `[database]`: for what a store of any kind does not do, such as
    /// [`restore`](SqliteStoreBuilder::restore).
    #[cfg(feature = "sqlite")]
    pub fn sqlite_builder(&self) -> SqliteStoreBuilder {
        self.database.sqlite_builder()
    }

    /// A builder of PostgreSQL stores with the options of `[database]`: for what a store of any kind does not do, such as
    /// [`schema_version`](PostgresStoreBuilder::schema_version).
    #[cfg(feature = "postgres")]
    pub fn postgres_builder(&self) -> PostgresStoreBuilder {
        self.database.postgres_builder()
    }

    /// A builder with the settings of the file, over any store: to add what a file cannot say, such as a clock. Give the handle
    /// to [`apply_to`](Self::apply_to), which makes the settings of its layers and of its maintenance.
    ///
    /// ```
    /// use tower_api_key::Clock;
    /// use tower_api_key::config::Config;
    /// use tower_api_key::store::MemoryStore;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let config = Config::parse("[layer]\nchallenge_realm = \"acme\"\n")?;
    /// let keys = config.builder(MemoryStore::new())?.clock(Clock::system()).open().await?;
    /// let keys = config.apply_to(keys)?;
    /// assert!(format!("{:?}", keys.layer()).contains("acme"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When a file of root keys cannot be read.
    pub fn builder<S: ManagedStore + Clone>(&self, store: S) -> Result<ApiKeysBuilder<S>, ConfigFileError> {
        self.builder_of(store).map_err(|fault| self.locate(fault))
    }

    /// Makes the settings of the handle's [layers](ApiKeys::layers) and of its [maintenance](ApiKeys::maintenance). The handle
    /// must be from [`builder`](Self::builder).
    ///
    /// # Errors
    /// When a setting does not go with the formats of the handle, if those are others than the file's.
    pub fn apply_to<S: ManagedStore + Clone>(&self, keys: ApiKeys<S>) -> Result<ApiKeys<S>, ConfigFileError> {
        self.settle(keys).map_err(|fault| self.locate(fault))
    }

    async fn open_as(&self, url: &str, problem: &str) -> Result<ApiKeys, ConfigFileError> {
        let builder = self.builder(self.store(url, problem).await?)?;
        let opened = builder.open().await;
        self.apply_to(opened.map_err(|error| self.locate(Fault::store(problem, error)))?)
    }

    async fn store(&self, url: &str, problem: &str) -> Result<DynStore, ConfigFileError> {
        let opened = Box::pin(self.database.open(url, self.formats.as_ref())).await;
        opened.map_err(|error| self.locate(Fault::store(problem, error)))
    }

    fn builder_of<S: ManagedStore + Clone>(&self, store: S) -> Result<ApiKeysBuilder<S>, Fault> {
        let mut builder = self.checks.apply(ApiKeys::builder(store))?;
        if let Some(formats) = &self.formats {
            builder = builder.formats(formats.clone());
        }
        if let Some(policy) = self.hash.policy {
            builder = builder.hash_policy(policy);
        }
        if let Some(pool) = self.hash.pool()? {
            builder = builder.pool(pool);
        }
        if self.hash.rehash_obsolete {
            builder = builder.rehash_obsolete();
        }
        if let Some(keys) = self.secrets.root_keys()? {
            builder = builder.root_keys(keys);
        }
        Ok(builder)
    }

    fn settle<S: ManagedStore + Clone>(&self, keys: ApiKeys<S>) -> Result<ApiKeys<S>, Fault> {
        let layer = self.layer.apply(keys.layer())?;
        let keys = keys.begun_with(&layer);
        keys.maintained(|maintenance| {
            let maintenance = self.maintenance.apply(maintenance)?;
            Ok(match &self.checks.audit.anchor_file {
                Some(file) => maintenance.anchor_file(&file.value),
                None => maintenance,
            })
        })
    }

    /// Makes each setting once, so that one that is out of its bounds is found when the file is read. Nothing is opened.
    pub(super) fn try_out(&self) -> Result<(), Fault> {
        drop(self.checks.apply(ApiKeys::builder(MemoryStore::new()))?);
        drop(self.hash.pool()?);
        // Not with the cache of the file, which may be large.
        let builder = ApiKeys::builder(MemoryStore::new()).pool(HashPool::builder().build());
        let builder = builder.formats(self.formats.clone().unwrap_or_default());
        let Ok(builder) = builder.cache_bytes(SMALLEST_CACHE) else {
            return Ok(());
        };
        self.settle(builder.checking()).map(drop)
    }

    fn locate(&self, fault: Fault) -> ConfigFileError {
        fault.in_file(self.path.as_deref())
    }
}

const STORE: &str = "the database cannot be opened";
