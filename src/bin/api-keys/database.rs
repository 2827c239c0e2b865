//! The database that a command works on.

use std::env;
use std::path::{Path, PathBuf};

use tower_api_key::secrets::RootKeys;
use tower_api_key::store::{DynStore, PostgresStore, SqliteStore};
use tower_api_key::{ApiKeys, ApiKeysBuilder};

use crate::args::Global;
use crate::failure::Failure;

/// A database that is not open yet.
pub(crate) enum Database {
    /// A file, by its absolute path.
    Sqlite(PathBuf),
    /// The URL may have a password.
    Postgres(String),
}

impl Database {
    /// # Errors
    /// When the URL is not one of a database, or has a password where others see it.
    pub(crate) fn of(global: &Global) -> Result<Self, Failure> {
        if let Some(url) = &global.database {
            if has_password(url) {
                return Err(Failure::Usage(
                    "a URL with a password is visible to other users of this machine as an argument: put it into DATABASE_URL".to_owned(),
                ));
            }
            return Self::parse(url);
        }
        match env::var("DATABASE_URL") {
            Ok(url) if !url.is_empty() => Self::parse(&url),
            _ => Self::parse(USUAL),
        }
    }

    /// As an argument names it: a URL without a password, `env:NAME`, or `file:PATH`.
    ///
    /// # Errors
    /// As for [`Database::of`]; when there is no such variable or file.
    pub(crate) fn named(text: &str) -> Result<Self, Failure> {
        if let Some(name) = text.strip_prefix("env:") {
            let url = env::var(name)
                .map_err(|_| Failure::Usage(format!("the environment has no variable {name} with a database URL")))?;
            return Self::parse(&url);
        }
        if let Some(path) = text.strip_prefix("file:") {
            let path = Path::new(path);
            let url = std::fs::read_to_string(path).map_err(|error| Failure::file(path, &error))?;
            return Self::parse(&url);
        }
        match has_password(text) {
            true => Err(Failure::Usage(
                "a URL with a password is visible to other users of this machine as an argument: give it as env:NAME or file:PATH"
                    .to_owned(),
            )),
            false => Self::parse(text),
        }
    }

    /// # Errors
    /// When it is a file that is not there.
    pub(crate) fn must_be_there(&self) -> Result<(), Failure> {
        match self {
            Self::Sqlite(path) if !path.exists() => Err(Failure::Usage(format!(
                "there is no database at {}; `api-keys init` makes one",
                path.display()
            ))),
            _ => Ok(()),
        }
    }

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
        if path.is_empty() {
            return Err(Failure::Usage(
                "the database URL names no file; it is written as sqlite:keys.db".to_owned(),
            ));
        }
        std::path::absolute(path)
            .map(Self::Sqlite)
            .map_err(|error| Failure::file(Path::new(path), &error))
    }

    /// Where it is, without a password.
    pub(crate) fn place(&self) -> String {
        match self {
            Self::Sqlite(path) => path.display().to_string(),
            Self::Postgres(url) => without_password(url),
        }
    }

    /// The file of the root key: the one that is named, or the usual one if it is there.
    pub(crate) fn root_key_file(&self, global: &Global) -> PathBuf {
        match (&global.root_key_file, self) {
            (Some(path), _) => path.clone(),
            (None, Self::Sqlite(path)) => {
                let mut name = path.clone().into_os_string();
                name.push(".root-key");
                name.into()
            }
            (None, Self::Postgres(_)) => PathBuf::from("api-keys.root-key"),
        }
    }

    /// The store, of a database that is there.
    ///
    /// # Errors
    /// When there is none, or it cannot be used.
    pub(crate) async fn open(&self) -> Result<DynStore, Failure> {
        Ok(match self {
            Self::Sqlite(path) => {
                self.must_be_there()?;
                DynStore::new(SqliteStore::builder().create_if_missing(false).open(path).await?)
            }
            Self::Postgres(url) => DynStore::new(PostgresStore::builder().open(url).await?),
        })
    }

    /// The handle over it.
    ///
    /// # Errors
    /// As for [`Database::open`]; when the root key cannot be read.
    pub(crate) async fn keys(&self, global: &Global) -> Result<ApiKeys, Failure> {
        let builder = ApiKeys::builder(self.open().await?);
        Ok(self.with_root_key(builder, global)?.open().await?)
    }

    pub(crate) fn with_root_key(
        &self,
        builder: ApiKeysBuilder<DynStore>,
        global: &Global,
    ) -> Result<ApiKeysBuilder<DynStore>, Failure> {
        let file = self.root_key_file(global);
        if global.root_key_file.is_none() && !file.exists() {
            return Ok(builder);
        }
        Ok(builder.root_keys(RootKeys::from_file(&file)?))
    }
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

const USUAL: &str = "sqlite:api-keys.db";
