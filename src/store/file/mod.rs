//! Keys without a database: in a file, or in an environment variable.

mod builder;
mod entry;
mod follower;
mod json;
mod keys;
mod organizations;
mod plaintext;
mod problem;
mod served;
mod source;
mod toml;
mod value;
mod watch;
mod writers;

use std::convert::Infallible;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};

use tokio::sync::oneshot;

pub use self::builder::FileStoreBuilder;
use self::follower::Reply;
pub use self::served::FileStatus;
use self::served::Served;
use crate::error::ConfigError;
use crate::fence::Fence;
use crate::key::{KeyFormats, Lookup};
use crate::store::{Candidate, KeyStore, Sharing, StoreError, StoreErrorKind};

/// Keys in a file that people write, TOML or JSON, or in an environment variable (feature `file`). It only reads.
///
/// ```
/// use tower_api_key::store::FileStore;
/// use tower_api_key::{ApiKeyLayer, Authenticator, PresentedKey};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("keys.toml");
/// let text = r#"
/// [[keys]]
/// name = "nightly export"
/// organization = "acme"
/// hash = "sha256:50a96df2c22c5e06d2ca2273f9ce5b3c64ca13aee6f0cfc9f4c7c8d1dd9e3a2b" # printf %s KEY | sha256sum
/// scopes = ["orders:read"]
/// networks = "any"
///
/// [end]
/// "#;
/// std::fs::write(&path, text)?;
/// # #[cfg(unix)]
/// # std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
/// let store = FileStore::open(&path).await?;
/// assert_eq!(store.status().keys, 1);
///
/// let layer = ApiKeyLayer::new(store);
/// # let _ = layer;
/// # Ok(())
/// # }
/// ```
///
/// # The form
///
/// A file has `keys`, may have `organizations` and a `realm`, and in TOML ends with `[end]`, so that a file that was cut off
/// is not taken. The JSON is the same without `end`. An unknown or repeated field is an error, and so is a repeated name,
/// hash or lookup.
///
/// | of a key | |
/// |---|---|
/// | `name`, `organization` | their ids are made of these: a key that is renamed is a new key |
/// | `hash` | `sha256:` and 64 hex digits for a random key; for others a PHC hash such as `$argon2id$…`, with a `lookup` |
/// | `key` | the key itself, in place of `hash`: with [`dangerous_plaintext`](FileStoreBuilder::dangerous_plaintext) only |
/// | `scopes` | a list; `[]` for none |
/// | `networks` | a list, or `"any"` |
/// | `lookup`, `prefix`, `environment` | optional: the parts of a key in one of the [formats](FileStoreBuilder::formats); by default the first format and its first environment |
/// | `limits` | optional: `["requests=100/60s"]` ([`RateLimit`](crate::key::RateLimit)), or `[{ name = "requests", limit = 100, per = 60 }]` with `per` in seconds; also `burst`, `cost` |
/// | `user`, `metadata`, `status`, `expires_at` | optional: who the key acts for, `{ name = "text" }`, `"active"` or `"disabled"`, an RFC 3339 date and time |
///
/// An organization has a `name`, and may have a `slug` (default: made from the name), a `status` (`"active"` or `"inactive"`)
/// and `limits` that its keys share. Where organizations are listed, all are. A file has at most 10,000 keys and 4 MiB, which
/// is room for as many keys of 400 bytes; one with a SHA-256 and three scopes has 225, one with Argon2id 275.
///
/// # Changes
///
/// A thread looks at the file every second, by time, size and inode; links on the way may change. A change is taken when two reads 200 ms apart agree,
/// whether the file was edited in place or replaced. It is final like any other change: cached keys are read again, and
/// the streams of a key that was removed end. [`reload`](Self::reload) does not wait for the next look.
///
/// A file that is broken, missing or too open is not taken. The keys of before are served for 5 minutes
/// ([`max_bad_age`](FileStoreBuilder::max_bad_age)), and then none: every request is answered with 503. Each failure is logged
/// as an error, counted (`api_key_file_reloads_total`, feature `metrics`) and shown by [`status`](Self::status).
///
/// # Security
///
/// Who can write the file, or put another one in its place, has every key. On Unix, the file and every folder on the way to it,
/// through links, must belong to root or to the user of the process: the owner of a file can change it. A file that its group
/// or others may write is refused, and so is one whose folder, or the folder of a link to it, they may write, or one below a
/// folder that everyone may write. A folder may be open if it has the sticky bit and the file is the process's own or root's.
/// On Linux, what is mounted for reading alone, as Kubernetes does, may belong to anyone, and its folders may be open. No error
/// shows what stands in a file.
///
/// See [Keys in a file](crate::deploying#keys-in-a-file) for Kubernetes, containers and variables.
#[derive(Clone)]
pub struct FileStore(Arc<Inner>);

struct Inner {
    served: Arc<Served>,
    formats: KeyFormats,
    /// To the thread that looks at the file, which ends when this is dropped.
    requests: Option<SyncSender<Reply>>,
    /// To the thread that watches that one, and ends likewise.
    _watched: Option<SyncSender<Infallible>>,
}

impl FileStore {
    /// Opens a file whose name ends in `.toml` or `.json`, and follows its changes.
    ///
    /// # Errors
    /// [`Unusable`](StoreErrorKind::Unusable), with the path, and line and column, as its source: when the file cannot be read,
    /// has a mistake, or may be written by others.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::builder().open(path).await
    }

    /// Reads the keys of an environment variable: the JSON of a file. They do not change.
    ///
    /// ```no_run
    /// use tower_api_key::ApiKeyLayer;
    /// use tower_api_key::store::FileStore;
    ///
    /// // API_KEYS='{"keys": [{"name": "ci", "organization": "acme", "hash": "sha256:…", "scopes": [], "networks": "any"}]}'
    /// let layer = ApiKeyLayer::new(FileStore::from_env("API_KEYS")?);
    /// # let _ = layer;
    /// # Ok::<_, tower_api_key::ConfigError>(())
    /// ```
    ///
    /// # Errors
    /// When the variable is not set, is empty, or has a mistake, with line and column.
    ///
    /// # Security
    /// Child processes inherit the environment: use hashes.
    pub fn from_env(variable: &str) -> Result<Self, ConfigError> {
        Self::builder().from_env(variable)
    }

    /// For other formats and times.
    pub fn builder() -> FileStoreBuilder {
        FileStoreBuilder::default()
    }

    /// Looks at the file now, and returns once its keys are served: for a signal handler.
    ///
    /// # Errors
    /// [`Unusable`](StoreErrorKind::Unusable) as for [`open`](Self::open): the keys of before are served for now.
    /// [`Unsupported`](StoreErrorKind::Unsupported) for keys of an environment variable.
    pub async fn reload(&self) -> Result<(), StoreError> {
        let Some(requests) = &self.0.requests else {
            let problem = "keys of an environment variable do not change";
            return Err(StoreError::with_source(StoreErrorKind::Unsupported, problem));
        };
        let (reply, answer) = oneshot::channel();
        requests.try_send(reply).map_err(|error| match error {
            TrySendError::Full(_) => StoreError::new(StoreErrorKind::Overloaded),
            TrySendError::Disconnected(_) => StoreError::new(StoreErrorKind::Unavailable),
        })?;
        answer
            .await
            .map_err(|gone| StoreError::with_source(StoreErrorKind::Unavailable, gone))?
    }

    /// What is served now, and what became of the latest change.
    pub fn status(&self) -> FileStatus {
        self.0.served.status()
    }
}

impl fmt::Debug for FileStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileStore").finish_non_exhaustive()
    }
}

impl KeyStore for FileStore {
    async fn find(&self, lookup: &Lookup) -> Result<Option<Candidate>, StoreError> {
        self.0.served.find(lookup)
    }

    fn fence(&self) -> Option<&Fence> {
        Some(&self.0.served.fence)
    }

    /// What is read is the snapshot, which changes in this process alone.
    fn sharing(&self) -> Sharing {
        Sharing::Exclusive
    }

    fn formats(&self) -> Option<KeyFormats> {
        Some(self.0.formats.clone())
    }
}
