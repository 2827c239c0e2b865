//! The database that a command works on, and the settings of the configuration file.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tower_api_key::config::Config;
use tower_api_key::secrets::RootKeys;
use tower_api_key::store::{DynStore, KeyStore, StoreError};
use tower_api_key::{ApiKeys, ApiKeysBuilder};

use crate::failure::Failure;
use crate::global::{Global, variable};

/// The stores that commands have opened.
static OPENED: Mutex<Vec<DynStore>> = Mutex::new(Vec::new());

/// Closes the stores that commands have opened, however they ended: a SQLite file is whole by itself then.
pub(crate) async fn close_all() {
    let opened = std::mem::take(&mut *OPENED.lock().unwrap_or_else(PoisonError::into_inner));
    for store in opened {
        store.close().await;
    }
}

/// Remembers a store, to be closed before the program ends.
pub(crate) fn opened(store: DynStore) -> DynStore {
    let mut opened = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
    opened.push(store.clone());
    store
}

/// A database that is not open yet.
pub(crate) struct Database {
    config: Config,
    kind: Kind,
}

/// The kinds of databases.
pub(crate) enum Kind {
    /// A file, by its absolute path.
    Sqlite(PathBuf),
    /// The URL may have a password.
    Postgres(String),
}

impl Database {
    /// That of the command line, else of the configuration file, else of `DATABASE_URL`, else `api-keys.db` in the working
    /// directory.
    ///
    /// # Errors
    /// When the file is wrong, the URL is not one of a database, or has a password where others see it.
    pub(crate) fn of(global: &Global) -> Result<Self, Failure> {
        let config = configuration(global)?;
        let kind = match (&global.database, config.database_url()) {
            (Some(url), _) if has_password(url) => {
                return Err(Failure::Usage(
                    "a URL with a password is visible to other users of this machine as an argument: put it into DATABASE_URL".to_owned(),
                ));
            }
            (Some(url), _) => Kind::parse(url)?,
            (None, Some(url)) => Kind::parse(url.expose_secret())?,
            (None, None) => match variable("DATABASE_URL")? {
                Some(url) => Kind::parse(&url.to_string_lossy())?,
                None => Kind::parse(USUAL)?,
            },
        };
        Ok(Self { config, kind })
    }

    /// The settings of the file.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// Where it is, without a password.
    pub(crate) fn place(&self) -> String {
        match &self.kind {
            Kind::Sqlite(path) => path.display().to_string(),
            Kind::Postgres(url) => without_password(url),
        }
    }

    /// The file of the root key: the one that is named, or the usual one.
    pub(crate) fn root_key_file(&self, global: &Global) -> PathBuf {
        match (self.named_root_key_file(global), &self.kind) {
            (Some(path), _) => path.to_owned(),
            (None, Kind::Sqlite(path)) => {
                let mut name = path.clone().into_os_string();
                name.push(".root-key");
                name.into()
            }
            (None, Kind::Postgres(_)) => PathBuf::from("api-keys.root-key"),
        }
    }

    /// The same, if it is named at all.
    pub(crate) fn named_root_key_file<'a>(&'a self, global: &'a Global) -> Option<&'a Path> {
        let option = global.root_key_file.as_deref();
        let option = option.or(self.config.root_key_file());
        option.or(global.root_key_variable.as_deref())
    }

    /// The store, of a database that is there.
    ///
    /// # Errors
    /// When there is none, or it cannot be used.
    pub(crate) async fn open(&self) -> Result<DynStore, Failure> {
        self.must_be_there()?;
        if let Kind::Postgres(url) = &self.kind {
            let version = self.config.postgres_builder().schema_version(url).await;
            if version.map_err(unopened)? == 0 {
                // Opening it would make them, in a database whose name may be mistyped.
                return Err(Failure::Usage(format!(
                    "{} has no tables of keys; `api-keys init` makes them",
                    self.place()
                )));
            }
        }
        match &self.kind {
            // Not made if it goes in between.
            Kind::Sqlite(path) => self.opened(&format!("{}?mode=rw", url_of(path))).await,
            Kind::Postgres(url) => self.opened(url).await,
        }
    }

    async fn opened(&self, url: &str) -> Result<DynStore, Failure> {
        Ok(opened(self.config.open_store(url).await?))
    }

    /// The store, which is made if there is none.
    ///
    /// # Errors
    /// When it cannot be used.
    pub(crate) async fn make(&self) -> Result<DynStore, Failure> {
        match &self.kind {
            Kind::Sqlite(path) => self.opened(&url_of(path)).await,
            Kind::Postgres(url) => self.opened(url).await,
        }
    }

    /// The handle over it, with the settings of the file.
    ///
    /// # Errors
    /// As for [`Database::open`]; when the root key cannot be read.
    pub(crate) async fn keys(&self, global: &Global) -> Result<ApiKeys, Failure> {
        self.keys_over(self.open().await?, global).await
    }

    /// The handle over this store.
    ///
    /// # Errors
    /// When it cannot be used, or the root key cannot be read.
    pub(crate) async fn keys_over(&self, store: DynStore, global: &Global) -> Result<ApiKeys, Failure> {
        let keys = self.builder(store, global)?.open().await?;
        Ok(self.config.apply_to(keys)?)
    }

    /// A handle to be opened.
    ///
    /// # Errors
    /// When the root key cannot be read.
    pub(crate) fn builder(&self, store: DynStore, global: &Global) -> Result<ApiKeysBuilder<DynStore>, Failure> {
        let builder = self.config.builder(store)?;
        let file = self.root_key_file(global);
        // The configuration's own is in the builder, with a former one.
        let is_in_builder = global.root_key_file.is_none() && self.config.root_key_file().is_some();
        if is_in_builder || (self.named_root_key_file(global).is_none() && !file.exists()) {
            return Ok(builder);
        }
        Ok(builder.root_keys(RootKeys::from_file(&file)?))
    }

    /// As an argument names it: a URL without a password, `env:NAME`, or `file:PATH`.
    ///
    /// # Errors
    /// As for [`Database::of`]; when there is no such variable or file.
    pub(crate) fn named(text: &str) -> Result<Self, Failure> {
        if let Some(name) = text.strip_prefix("env:") {
            let url = env::var(name)
                .map_err(|_| Failure::Usage(format!("the environment has no variable {name} with a database URL")))?;
            return Self::without_configuration(&url);
        }
        if let Some(path) = text.strip_prefix("file:") {
            let url = crate::small_file::text(Path::new(path))?;
            return Self::without_configuration(&url);
        }
        match has_password(text) {
            true => Err(Failure::Usage(
                "a URL with a password is visible to other users of this machine as an argument: give it as env:NAME or file:PATH"
                    .to_owned(),
            )),
            false => Self::without_configuration(text),
        }
    }

    fn without_configuration(url: &str) -> Result<Self, Failure> {
        Ok(Self {
            config: Config::parse("")?,
            kind: Kind::parse(url)?,
        })
    }

    /// Which kind it is, with its path or URL.
    pub(crate) fn kind(&self) -> &Kind {
        &self.kind
    }

    /// # Errors
    /// When it is a file that is not there.
    pub(crate) fn must_be_there(&self) -> Result<(), Failure> {
        match &self.kind {
            Kind::Sqlite(path) if !path.exists() => Err(Failure::Usage(format!(
                "there is no database at {}; `api-keys init` makes one",
                path.display()
            ))),
            _ => Ok(()),
        }
    }
}

impl Kind {
    fn parse(url: &str) -> Result<Self, Failure> {
        let url = url.trim();
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Ok(Self::Postgres(url.to_owned()));
        }
        let Some(path) = url.strip_prefix("sqlite:") else {
            // The URL is not shown: it may have a password.
            return Err(Failure::Usage(
                "the database URL must begin with sqlite: or postgres://, as in sqlite:keys.db".to_owned(),
            ));
        };
        let path = path.strip_prefix("//").unwrap_or(path);
        let path = path.split('?').next().unwrap_or_default();
        if path.is_empty() {
            return Err(Failure::Usage(
                "the database URL names no file; it is written as sqlite:keys.db".to_owned(),
            ));
        }
        let path = percent_encoding::percent_decode_str(path)
            .decode_utf8_lossy()
            .into_owned();
        std::path::absolute(&path)
            .map(Self::Sqlite)
            .map_err(|error| Failure::file(Path::new(&path), &error))
    }
}

/// The configuration: of the file that is named, or of the user's folder. Never of the working directory, which others may write.
pub(crate) fn configuration(global: &Global) -> Result<Config, Failure> {
    configuration_at(global.config.as_deref())
}

/// The same, of the file at this path if one is named.
pub(crate) fn configuration_at(named: Option<&Path>) -> Result<Config, Failure> {
    if let Some(path) = named {
        return Ok(Config::read(path)?);
    }
    // A relative path, or none, would be in the working directory.
    let folder = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = folder("XDG_CONFIG_HOME").or_else(|| Some(folder("HOME")?.join(".config")));
    match folder.map(|folder| folder.join("api-keys").join("config.toml")) {
        Some(path) if path.exists() => Ok(Config::read(path)?),
        _ => Ok(Config::parse("")?),
    }
}

/// A failure to open the database, in the words that the configuration has for it.
fn unopened(error: StoreError) -> Failure {
    let words = |sentence: String| format!("the database cannot be opened: {sentence}");
    match error.into() {
        Failure::Usage(sentence) => Failure::Usage(words(sentence)),
        Failure::Unavailable(sentence) => Failure::Unavailable(words(sentence)),
        other => other,
    }
}

fn url_of(path: &Path) -> String {
    let path = path.to_string_lossy();
    format!("sqlite:{}", percent_encoding::utf8_percent_encode(&path, IN_URLS))
}

fn has_password(url: &str) -> bool {
    let Some((_, rest)) = url.split_once("://") else {
        return false;
    };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let user = authority.rsplit_once('@').map(|(user, _)| user);
    user.is_some_and(|user| user.contains(':')) || rest.contains("password=")
}

fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let path = path.split('?').next().unwrap_or_default();
    format!("{scheme}://{host}{path}")
}

/// What has a meaning in a URL.
const IN_URLS: &percent_encoding::AsciiSet = &percent_encoding::CONTROLS.add(b'%').add(b'?').add(b'#').add(b' ');
const USUAL: &str = "sqlite:api-keys.db";
