//! `[database]`: where keys live.

use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf, absolute};
use std::time::Duration;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};

use super::error::Fault;
use super::setting::Setting;
use super::value::{Section, Value};
use crate::key::KeyFormats;
use crate::store::{DynStore, StoreError, StoreUrl};

/// The URL of a database, which may have a password: neither shown by `Debug` nor by errors.
#[derive(Clone)]
pub struct DatabaseUrl(SecretString);

impl DatabaseUrl {
    /// The URL as [`DynStore::open`] takes it. The path of a file is absolute.
    pub fn expose_secret(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DatabaseUrl([redacted])")
    }
}

/// Where the revocation journal is, as `database.journal` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum JournalConfig {
    /// Of SQLite the file that ends in `.revocations`, beside the database; of PostgreSQL nowhere.
    #[default]
    Usual,
    /// This file.
    File(PathBuf),
    /// Nowhere.
    Off,
}

/// Options of the store. Those of another kind of database are left alone, so that one file is good for several.
#[derive(Clone, Debug)]
pub(super) struct DatabaseConfig {
    pub(super) url: Option<Setting<DatabaseUrl>>,
    max_staleness: Option<Setting<Duration>>,
    /// `None` for none.
    journal: Option<Setting<Option<PathBuf>>>,
    create_if_missing: Option<Setting<bool>>,
    beside_other_tables: Option<Setting<bool>>,
    busy_timeout: Option<Setting<Duration>>,
    schema: Option<Setting<String>>,
    migrations: Option<Setting<bool>>,
    max_connections: Option<Setting<usize>>,
    statement_timeout: Option<Setting<Duration>>,
    connect_timeout: Option<Setting<Duration>>,
}

impl DatabaseConfig {
    pub(super) fn read(mut section: Section<'_, '_>) -> Result<Self, Fault> {
        let read = Self {
            url: section.setting("url", url)?,
            max_staleness: section.setting("max_staleness", Value::duration)?,
            journal: section.setting("journal", |value| match value.is_false() {
                true => Ok(None),
                false if value.text().is_err() => Err(value.fault("must be a path in quotes, or false")),
                false => value.path().map(Some),
            })?,
            create_if_missing: section.setting("create_if_missing", Value::is_true)?,
            beside_other_tables: section.setting("beside_other_tables", Value::is_true)?,
            busy_timeout: section.setting("busy_timeout", Value::duration)?,
            schema: section.setting("schema", |value| Ok(value.text()?.to_owned()))?,
            migrations: section.setting("migrations", Value::is_true)?,
            max_connections: section.setting("max_connections", |value| value.number(2..=1000))?,
            statement_timeout: section.setting("statement_timeout", Value::duration)?,
            connect_timeout: section.setting("connect_timeout", Value::duration)?,
        };
        section.end()?;
        read.refuse_without_effect()?;
        Ok(read)
    }

    pub(super) fn journal(&self) -> JournalConfig {
        match self.journal.as_ref().map(|setting| &setting.value) {
            None => JournalConfig::Usual,
            Some(Some(path)) => JournalConfig::File(path.clone()),
            Some(None) => JournalConfig::Off,
        }
    }

    /// Options that the database of the file does not have.
    fn refuse_without_effect(&self) -> Result<(), Fault> {
        let Some(url) = &self.url else { return Ok(()) };
        let Self {
            url: _,
            max_staleness,
            journal,
            create_if_missing,
            beside_other_tables,
            busy_timeout,
            schema,
            migrations,
            max_connections,
            statement_timeout,
            connect_timeout,
        } = self;
        let shared = [max_staleness.as_ref().map(about), journal.as_ref().map(about)];
        let sqlite = [
            create_if_missing.as_ref().map(about),
            beside_other_tables.as_ref().map(about),
            busy_timeout.as_ref().map(about),
        ];
        let postgres = [
            schema.as_ref().map(about),
            migrations.as_ref().map(about),
            max_connections.as_ref().map(about),
            statement_timeout.as_ref().map(about),
            connect_timeout.as_ref().map(about),
        ];
        let (kind, others): (&str, Vec<_>) = match StoreUrl::parse(url.value.expose_secret()) {
            Ok(StoreUrl::Sqlite(_)) => ("sqlite", postgres.into()),
            Ok(StoreUrl::Postgres) => ("postgres", sqlite.into()),
            Ok(StoreUrl::Memory) => ("memory", [&shared[..], &sqlite, &postgres].concat()),
            Ok(StoreUrl::File(_)) => ("file", [&shared[..], &sqlite, &postgres].concat()),
            Err(_) => return Ok(()),
        };
        match others.into_iter().flatten().next() {
            Some(setting) => Err(setting.fault(format!(
                "has no effect on the database of `database.url`, whose scheme is `{kind}`: remove it"
            ))),
            None => Ok(()),
        }
    }

    /// Opens the database of a URL with these options.
    pub(super) async fn open(&self, url: &str, formats: Option<&KeyFormats>) -> Result<DynStore, StoreError> {
        match StoreUrl::parse(url)? {
            StoreUrl::Memory => DynStore::open(url).await,
            #[cfg(feature = "sqlite")]
            StoreUrl::Sqlite(file) => self.open_sqlite(&file.path, file.must_exist).await,
            #[cfg(not(feature = "sqlite"))]
            StoreUrl::Sqlite(_) => DynStore::open(url).await,
            #[cfg(feature = "postgres")]
            StoreUrl::Postgres => self.open_postgres(url).await,
            #[cfg(not(feature = "postgres"))]
            StoreUrl::Postgres => DynStore::open(url).await,
            StoreUrl::File(file) => {
                let mut builder = crate::store::FileStore::builder();
                if let Some(formats) = formats {
                    builder = builder.formats(formats.clone());
                }
                Ok(DynStore::find_only(builder.open(&file.path).await?))
            }
        }
    }

    #[cfg(feature = "sqlite")]
    async fn open_sqlite(&self, path: &str, must_exist: bool) -> Result<DynStore, StoreError> {
        let create = self.create_if_missing.as_ref().is_none_or(|setting| setting.value);
        let builder = self.sqlite_builder().create_if_missing(create && !must_exist);
        Ok(DynStore::new(builder.open(path).await?))
    }

    #[cfg(feature = "sqlite")]
    pub(super) fn sqlite_builder(&self) -> crate::store::SqliteStoreBuilder {
        let mut builder = crate::store::SqliteStore::builder();
        let Self {
            max_staleness,
            journal,
            create_if_missing,
            beside_other_tables,
            busy_timeout,
            ..
        } = self;
        builder = builder.create_if_missing(create_if_missing.as_ref().is_none_or(|setting| setting.value));
        if let Some(setting) = max_staleness {
            builder = builder.max_staleness(setting.value);
        }
        if let Some(setting) = busy_timeout {
            builder = builder.busy_timeout(setting.value);
        }
        if beside_other_tables.as_ref().is_some_and(|setting| setting.value) {
            builder = builder.beside_other_tables();
        }
        match journal.as_ref().map(|setting| &setting.value) {
            Some(Some(path)) => builder = builder.journal(path),
            Some(None) => builder = builder.without_journal(),
            None => {}
        }
        builder
    }

    #[cfg(feature = "postgres")]
    async fn open_postgres(&self, url: &str) -> Result<DynStore, StoreError> {
        Ok(DynStore::new(self.postgres_builder().open(url).await?))
    }

    #[cfg(feature = "postgres")]
    pub(super) fn postgres_builder(&self) -> crate::store::PostgresStoreBuilder {
        let mut builder = crate::store::PostgresStore::builder();
        let Self {
            max_staleness,
            journal,
            schema,
            migrations,
            max_connections,
            statement_timeout,
            connect_timeout,
            ..
        } = self;
        if let Some(setting) = max_staleness {
            builder = builder.max_staleness(setting.value);
        }
        if let Some(Setting { value: Some(path), .. }) = journal {
            builder = builder.journal(path);
        }
        if let Some(setting) = schema {
            builder = builder.schema(&setting.value);
        }
        if migrations.as_ref().is_some_and(|setting| !setting.value) {
            builder = builder.without_migrations();
        }
        if let Some(setting) = max_connections {
            builder = builder.max_connections(setting.value);
        }
        if let Some(setting) = statement_timeout {
            builder = builder.statement_timeout(setting.value);
        }
        if let Some(setting) = connect_timeout {
            builder = builder.connect_timeout(setting.value);
        }
        builder
    }

    /// Whether the URL has a password, by anything that looks like one.
    pub(super) fn has_password(&self) -> bool {
        let Some(url) = &self.url else { return false };
        let url = url.value.expose_secret();
        let Ok(StoreUrl::Postgres) = StoreUrl::parse(url) else {
            return false;
        };
        let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
        let user = authority.rsplit_once('@').map(|(user, _)| user);
        let decoded = percent_decode_str(url).decode_utf8_lossy().to_lowercase();
        user.is_some_and(|user| user.contains(':')) || decoded.contains("password")
    }
}

/// Any setting, for its name and place.
fn about<T>(setting: &Setting<T>) -> Setting<()> {
    setting.without_value()
}

fn url(value: &Value<'_, '_>) -> Result<DatabaseUrl, Fault> {
    let text = value.text()?;
    if text.is_empty() {
        return Err(value.fault("must not be empty: remove it to use `DATABASE_URL`"));
    }
    if text.starts_with('$') || text.contains("${") {
        return Err(value.fault("must not have variables: they are not replaced here. Remove it to use `DATABASE_URL`"));
    }
    let (scheme, file) = match StoreUrl::parse(text) {
        Ok(StoreUrl::Sqlite(file)) => ("sqlite", file),
        Ok(StoreUrl::File(file)) => ("file", file),
        Ok(StoreUrl::Memory | StoreUrl::Postgres) => return Ok(DatabaseUrl(text.into())),
        // Its cause names no more of the URL than the scheme and names of options.
        Err(error) => {
            let cause = error.source().map_or_else(|| error.to_string(), ToString::to_string);
            return Err(value.fault(format!("cannot be used: {cause}")));
        }
    };
    value.refuse_variables(&file.path)?;
    let path = absolute_path(&file.path, value.folder());
    let path = path.ok_or_else(|| value.fault("must be below a folder whose name is UTF-8"))?;
    let option = if file.must_exist { "?mode=rw" } else { "" };
    Ok(DatabaseUrl(
        format!("{scheme}:{}{option}", utf8_percent_encode(&path, NOT_IN_PATHS)).into(),
    ))
}

/// Absolute, so that it stays the same when the working directory changes.
fn absolute_path(path: &str, folder: Option<&Path>) -> Option<String> {
    let path = folder.map_or_else(|| path.into(), |folder| folder.join(path));
    absolute(path).ok()?.into_os_string().into_string().ok()
}

/// What would be read as something else than a character of a path.
const NOT_IN_PATHS: &AsciiSet = &CONTROLS.add(b'%').add(b'?');
