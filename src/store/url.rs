//! Opening a store by URL.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::store::{DynStore, MemoryStore, StoreError, StoreErrorKind};

impl DynStore {
    /// Opens the store that a URL names, and brings its tables up to date.
    ///
    /// | URL | store |
    /// |---|---|
    /// | `sqlite:keys.db`, `sqlite://keys.db` | the file `keys.db` in the working directory |
    /// | `sqlite:/var/lib/my%20keys.db`, `sqlite:///var/lib/my keys.db` | the file `/var/lib/my keys.db` |
    /// | `file:keys.toml`, `file:///etc/keys.json` | the keys in this file, which is read only (feature `file`) |
    /// | `postgres://user@host/database` | the schema `api_keys` of this PostgreSQL database (feature `postgres`) |
    /// | `memory:` | a new [`MemoryStore`] |
    ///
    /// The path is percent-decoded. The option `?mode=rwc`, which some programs write, is the default: the file is created
    /// if there is none. `?mode=rw` opens an existing file only.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use tower_api_key::store::{DynStore, StoreErrorKind};
    ///
    /// assert!(DynStore::open("memory:").await.is_ok());
    /// let error = DynStore::open("mysql://keys:hunter2@db/keys").await.unwrap_err();
    /// assert_eq!(error.kind(), StoreErrorKind::Unusable);
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Unusable`](StoreErrorKind::Unusable) for an unknown scheme or option, and when the file cannot be opened, with its
    /// path: its folder is missing, it may not be written, it is another program's, or of a newer version. An error names no
    /// more of a URL than its scheme, the names of options, and the path of a file, so that no password shows.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        match StoreUrl::parse(url)? {
            StoreUrl::Memory => Ok(Self::new(MemoryStore::new())),
            StoreUrl::Sqlite(file) => open_sqlite(&file).await,
            StoreUrl::Postgres => open_postgres(url).await,
            StoreUrl::File(file) => open_file(&file).await,
        }
    }
}

/// What a URL names.
pub(crate) enum StoreUrl {
    Memory,
    Sqlite(FileUrl),
    Postgres,
    File(FileUrl),
}

impl StoreUrl {
    pub(crate) fn parse(url: &str) -> Result<Self, StoreError> {
        let Some((scheme, rest)) = url.split_once(':') else {
            return Err(UrlError::NoScheme.into());
        };
        match &*scheme.to_ascii_lowercase() {
            "memory" if rest.is_empty() => Ok(Self::Memory),
            "memory" => Err(UrlError::MemoryPath.into()),
            "sqlite" => Ok(Self::Sqlite(FileUrl::parse(rest)?)),
            "postgres" | "postgresql" => Ok(Self::Postgres),
            "file" if rest.contains('?') => Err(UrlError::FileOption.into()),
            "file" => Ok(Self::File(FileUrl::parse(rest)?)),
            scheme => Err(UrlError::UnknownScheme(shown_scheme(scheme, rest)).into()),
        }
    }
}

#[cfg(feature = "sqlite")]
async fn open_sqlite(file: &FileUrl) -> Result<DynStore, StoreError> {
    let builder = crate::store::SqliteStore::builder();
    let store = builder.create_if_missing(!file.must_exist).open(&file.path).await?;
    Ok(DynStore::new(store))
}

#[cfg(not(feature = "sqlite"))]
async fn open_sqlite(_: &FileUrl) -> Result<DynStore, StoreError> {
    Err(UrlError::NeedsFeature.into())
}

#[cfg(feature = "postgres")]
async fn open_postgres(url: &str) -> Result<DynStore, StoreError> {
    Ok(DynStore::new(crate::store::PostgresStore::open(url).await?))
}

#[cfg(not(feature = "postgres"))]
async fn open_postgres(_: &str) -> Result<DynStore, StoreError> {
    Err(UrlError::PostgresNeedsFeature.into())
}

#[cfg(feature = "file")]
async fn open_file(file: &FileUrl) -> Result<DynStore, StoreError> {
    let store = crate::store::FileStore::open(&file.path).await?;
    Ok(DynStore::find_only(store))
}

#[cfg(not(feature = "file"))]
async fn open_file(_: &FileUrl) -> Result<DynStore, StoreError> {
    Err(UrlError::FileNeedsFeature.into())
}

/// What follows `sqlite:` or `file:`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FileUrl {
    pub(crate) path: String,
    pub(crate) must_exist: bool,
}

impl FileUrl {
    fn parse(rest: &str) -> Result<Self, UrlError> {
        let (path, options) = match rest.split_once('?') {
            Some((path, options)) => (path, Some(options)),
            None => (rest, None),
        };
        let (path, has_host) = match path.strip_prefix("//") {
            Some(path) => (path, !path.starts_with('/')),
            None => (path, false),
        };
        let path = decoded(path).ok_or(UrlError::NotText)?;
        // SQLite gives these a meaning of its own: a database in memory, which each connection has for itself, or a URL with
        // options that are not checked here.
        if path.is_empty() || path.starts_with(':') || path.starts_with("file:") || path.contains('\0') {
            return Err(UrlError::SpecialPath);
        }
        // A password may have a slash, which ends what a URL has for its host.
        let authority = if has_host {
            &*path
        } else {
            path.split('/').next().unwrap_or_default()
        };
        if authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':')) {
            return Err(UrlError::Credentials);
        }
        let mut must_exist = false;
        for option in options.iter().flat_map(|options| options.split('&')) {
            let Some((name, value)) = option.split_once('=') else {
                return Err(UrlError::UnknownOption(shown("", 0)));
            };
            match (&*decoded(name).ok_or(UrlError::NotText)?, value) {
                ("mode", "rwc") => must_exist = false,
                ("mode", "rw") => must_exist = true,
                ("mode", _) => return Err(UrlError::Mode),
                (name, _) => return Err(UrlError::UnknownOption(shown(name, 16))),
            }
        }
        Ok(Self {
            path: path.into_owned(),
            must_exist,
        })
    }
}

fn decoded(text: &str) -> Option<Cow<'_, str>> {
    percent_decode_str(text).decode_utf8().ok()
}

/// A scheme in an error: a key or a password may have been put in the URL's place, and it may have a colon. What comes before `://` is
/// a scheme; what comes before a colon alone may be the user, or the password.
fn shown_scheme(scheme: &str, rest: &str) -> String {
    let is_scheme =
        scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && !scheme.contains('_') && rest.starts_with("//");
    shown(if is_scheme { scheme } else { "" }, 20)
}

/// A name in an error: what is not a name, or is longer than names are, may be a key or a part of a password.
fn shown(name: &str, longest: usize) -> String {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.' | '_');
    match name.len() <= longest && !name.is_empty() && name.chars().all(is_name) {
        true => format!("`{name}`"),
        false => "(not shown)".to_owned(),
    }
}

#[derive(Debug, thiserror::Error)]
enum UrlError {
    #[error(
        "the store's URL has no scheme; use `sqlite:keys.db`, `postgres://user@host/database`, `file:keys.toml` or `memory:`; a \
         connection string, `host=… dbname=…`, is for `PostgresStore::open`"
    )]
    NoScheme,
    #[error("unknown scheme {0} of the store's URL; known are `sqlite`, `postgres`, `file` and `memory`")]
    UnknownScheme(String),
    #[error("`memory:` must stand alone; a path is for `sqlite:`")]
    MemoryPath,
    #[error("`sqlite:` and `file:` must be followed by the path of a file; for a store in memory use `memory:`")]
    SpecialPath,
    #[error("`sqlite:` and `file:` take no user and password")]
    Credentials,
    #[error("unknown option {0} of `sqlite:`; known is `mode`")]
    UnknownOption(String),
    #[error("option `mode` of `sqlite:` must be `rwc` (create the file if it is missing) or `rw`")]
    Mode,
    #[error("`file:` takes no options")]
    FileOption,
    #[error("what is percent-encoded in the store's URL must be UTF-8")]
    NotText,
    #[cfg(not(feature = "sqlite"))]
    #[error("`sqlite:` needs feature `sqlite` of tower-api-key")]
    NeedsFeature,
    #[cfg(not(feature = "postgres"))]
    #[error("`postgres:` needs feature `postgres` of tower-api-key")]
    PostgresNeedsFeature,
    #[cfg(not(feature = "file"))]
    #[error("`file:` needs feature `file` of tower-api-key")]
    FileNeedsFeature,
}

impl From<UrlError> for StoreError {
    fn from(error: UrlError) -> Self {
        Self::with_source(StoreErrorKind::Unusable, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_that_people_write() {
        for (rest, path) in [
            ("keys.db", "keys.db"),
            ("//keys.db", "keys.db"),
            ("///var/lib/keys.db", "/var/lib/keys.db"),
            ("/var/lib/my keys.db", "/var/lib/my keys.db"),
            ("my%20keys.db", "my keys.db"),
            ("keys.db?mode=rwc", "keys.db"),
            ("C:\\keys.db", "C:\\keys.db"),
            ("user@host/keys.db", "user@host/keys.db"),
            ("folder/a:b@c.db", "folder/a:b@c.db"),
            ("///folder/a:b@c.db", "/folder/a:b@c.db"),
            ("100%.db", "100%.db"),
            ("keys.db#x", "keys.db#x"),
            ("./keys.db", "./keys.db"),
            ("//localhost/keys.db", "localhost/keys.db"),
            ("~/keys.db", "~/keys.db"),
        ] {
            let file = FileUrl::parse(rest).unwrap();
            assert_eq!((&*file.path, file.must_exist), (path, false), "{rest}");
        }
        assert!(FileUrl::parse("keys.db?mode=rw").unwrap().must_exist);
    }

    #[test]
    fn unknown_schemes_are_shown_and_passwords_are_not() {
        let error = |url: &str| {
            let error = StoreUrl::parse(url).err().unwrap();
            let source = std::error::Error::source(&error).unwrap();
            format!("{source} {error:?}")
        };
        assert!(error("MySQL://u:hunter2@h/keys").contains("unknown scheme `mysql`"));
        for url in ["hunter2:", "hunter2:x@h/keys", "u:hunter2@h/keys", "mysql://hunter2"] {
            let text = error(url);
            assert!(!text.contains("hunter2"), "{url}: {text}");
        }
    }

    #[test]
    fn refused_urls_show_no_password() {
        for rest in [
            "",
            "?mode=rwc",
            ":memory:",
            "%3Amemory%3A",
            "file:keys.db?mode=memory",
            "file:hunter2",
            "a%00b.db",
            "hunter2%ff",
            "//u:hunter2@h/keys.db",
            "u:hunter2@h",
            "//u:hun/ter2hunter2@h/keys.db",
            "//u:a@b/hunter2@h/keys.db",
            "keys.db?mode=ro",
            "keys.db?mode=hunter2",
            "keys.db?key=hunter2",
            "keys.db?hunter2",
            "keys.db?hunter2%40!=1",
            "keys.db?key_live_hunter2-7k=1",
            "keys.db?mode=rwc&pass%77ord=hunter2",
        ] {
            let error = FileUrl::parse(rest).unwrap_err();
            let texts = format!("{error} {error:?}");
            assert!(!texts.contains("hunter2"), "{rest}: {texts}");
        }
    }
}
