//! Options of a file store, and how it is opened.

use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;
use zeroize::Zeroizing;

use super::entry::Rules;
use super::follower::Follower;
use super::keys::{Keys, Syntax};
use super::problem::{AtFile, Problem};
use super::served::Served;
use super::source::Source;
use super::watch::watch;
use super::{FileStore, Inner};
use crate::clock::Clock;
use crate::error::ConfigError;
use crate::key::KeyFormats;
use crate::store::{StoreError, StoreErrorKind};

const INTERVALS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(60);
const LONGEST_BAD_AGE: Duration = Duration::from_secs(24 * 3600);
/// Reloads that wait.
const REQUESTS: usize = 16;

/// Options of a [`FileStore`], from [`FileStore::builder`].
///
/// ```
/// use std::time::Duration;
/// use tower_api_key::key::KeyFormat;
/// use tower_api_key::store::FileStore;
///
/// let builder = FileStore::builder()
///     .formats(KeyFormat::new("acme")?)
///     .poll_interval(Duration::from_secs(5))?
///     .max_bad_age(Duration::from_secs(60))?;
/// # let _ = builder;
/// # Ok::<_, tower_api_key::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct FileStoreBuilder {
    formats: KeyFormats,
    only_formats: bool,
    plaintext: bool,
    interval: Duration,
    max_bad_age: Duration,
    clock: Clock,
}

impl Default for FileStoreBuilder {
    fn default() -> Self {
        Self {
            formats: KeyFormats::default(),
            only_formats: false,
            plaintext: false,
            interval: Duration::from_secs(1),
            max_bad_age: Duration::from_secs(300),
            clock: Clock::system(),
        }
    }
}

impl FileStoreBuilder {
    /// The formats of keys that have a `lookup` in the file. Default: the [default format](crate::key::KeyFormat::default).
    ///
    /// Keys without a `lookup` are found by their SHA-256 and may have any format. A file has no secrets: keyed checksums are
    /// verified under a secret that is given to [`ApiKeysBuilder::realm_secret`](crate::ApiKeysBuilder::realm_secret), or not at
    /// all.
    pub fn formats(mut self, formats: impl Into<KeyFormats>) -> Self {
        self.formats = formats.into();
        self
    }

    /// Refuses keys that are in none of the [`formats`](Self::formats), also those that are found by their SHA-256. Default:
    /// they may have any format.
    ///
    /// A layer needs it to tell keys from other values of `Authorization: Bearer`
    /// ([`KeySource::leave_others`](crate::KeySource::leave_others)).
    ///
    /// ```
    /// use tower_api_key::key::KeyFormat;
    /// use tower_api_key::store::FileStore;
    /// use tower_api_key::{ApiKeyLayer, KeySource};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("keys.toml");
    /// # std::fs::write(&path, "keys = []\n[end]\n")?;
    /// # #[cfg(unix)]
    /// # std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    /// let store = FileStore::builder().formats(KeyFormat::new("acme")?).only_formats().open(&path).await?;
    /// let layer = ApiKeyLayer::new(store).optional().sources([KeySource::bearer().leave_others()])?;
    /// # let _ = layer;
    /// # Ok(())
    /// # }
    /// ```
    pub fn only_formats(mut self) -> Self {
        self.only_formats = true;
        self
    }

    /// Allows keys in plain text: entries with a `key` in place of a `hash`. Each must have 128 bits by its length and
    /// alphabet. Default: such a file is refused.
    ///
    /// # Security
    /// Who reads the file has the keys. On Unix it is refused if others than its owner may read it.
    pub fn dangerous_plaintext(mut self) -> Self {
        self.plaintext = true;
        self
    }

    /// How often the file is looked at. Default: one second. A change is taken some 200 ms after it is seen.
    ///
    /// # Errors
    /// When it is below 100 ms or above a minute.
    pub fn poll_interval(mut self, interval: Duration) -> Result<Self, ConfigError> {
        if !INTERVALS.contains(&interval) {
            return Err(ConfigError::out_of_range("poll interval", INTERVALS, interval));
        }
        self.interval = interval;
        Ok(self)
    }

    /// How long keys are served after their file is found broken or missing, or could be looked at for the last time, which
    /// counts from 30 seconds up. From then on every request is answered with 503 until the file can be used. Default: 5 minutes.
    ///
    /// # Errors
    /// When it is longer than a day.
    pub fn max_bad_age(mut self, age: Duration) -> Result<Self, ConfigError> {
        if age > LONGEST_BAD_AGE {
            return Err(ConfigError::out_of_range(
                "max bad age",
                Duration::ZERO..=LONGEST_BAD_AGE,
                age,
            ));
        }
        self.max_bad_age = age;
        Ok(self)
    }

    /// The clock that [`max_bad_age`](Self::max_bad_age) goes by. Default: the system's.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Opens a file whose name ends in `.toml` or `.json`, and follows its changes.
    ///
    /// # Errors
    /// Those of [`FileStore::open`].
    pub async fn open(self, path: impl AsRef<Path>) -> Result<FileStore, StoreError> {
        let path = path.as_ref().to_owned();
        let Some(syntax) = syntax_of(&path) else {
            let problem = Problem::new("its name must end in .toml or .json");
            return Err(AtFile { path, problem }.into());
        };
        let (reply, answer) = oneshot::channel();
        let (requests, inbox) = sync_channel(REQUESTS);
        let (formats, interval) = (self.accepted(), self.interval);
        let follow = move || {
            let follower = Follower::new(Source::new(&path), syntax, self.rules());
            if let Some((follower, served)) = self.begin(follower, reply) {
                follower.run(&served, &inbox, interval);
            }
        };
        thread::Builder::new()
            .name("api-keys-file".into())
            .spawn(follow)
            .map_err(|error| StoreError::with_source(StoreErrorKind::Unusable, error))?;
        let served = answer
            .await
            .map_err(|gone| StoreError::with_source(StoreErrorKind::Unavailable, gone))??;
        let (watched, is_open) = sync_channel(0);
        let watch = {
            let served = served.clone();
            move || watch(&served, &is_open)
        };
        thread::Builder::new()
            .name("api-keys-watch".into())
            .spawn(watch)
            .map_err(|error| StoreError::with_source(StoreErrorKind::Unusable, error))?;
        Ok(FileStore(Arc::new(Inner {
            served,
            formats,
            requests: Some(requests),
            _watched: Some(watched),
        })))
    }

    /// Reads the keys of an environment variable: the JSON of a file.
    ///
    /// # Errors
    /// Those of [`FileStore::from_env`].
    pub fn from_env(self, variable: &str) -> Result<FileStore, ConfigError> {
        let wrong = |problem: String| ConfigError::new(SETTING, format!("{} {problem}", shown(variable)));
        // Such names make the standard library panic.
        if variable.is_empty() || variable.contains(['=', '\0']) {
            return Err(wrong("is not a name".to_owned()));
        }
        let text = std::env::var_os(variable).ok_or_else(|| wrong("is not set".to_owned()))?;
        let text = Zeroizing::new(text.into_encoded_bytes());
        if text.iter().all(u8::is_ascii_whitespace) {
            return Err(wrong("is empty".to_owned()));
        }
        if matches!(text.trim_ascii_start().first(), Some(b'\'' | b'"')) {
            let problem =
                "begins with a quotation mark; leave out those around the value, which `docker run --env-file` keeps";
            return Err(wrong(problem.to_owned()));
        }
        let keys = Keys::parse(&text, Syntax::Json, &self.rules());
        let keys = keys.map_err(|problem| wrong(format!("cannot be used: {problem}")))?;
        if keys.has_plaintext {
            tracing::warn!(
                variable = shown(variable),
                "the variable has keys in plain text, which every child process inherits; use their SHA-256 instead"
            );
        }
        Ok(FileStore(Arc::new(Inner {
            formats: self.accepted(),
            served: Arc::new(Served::new(keys, self.clock, self.max_bad_age)),
            requests: None,
            _watched: None,
        })))
    }

    fn accepted(&self) -> KeyFormats {
        self.formats.clone().also_by_hash(!self.only_formats)
    }

    fn rules(&self) -> Rules {
        Rules {
            formats: self.formats.clone(),
            plaintext: self.plaintext,
        }
    }

    /// Reads the file for the first time. Nothing when it cannot be used, or when nobody waits for it.
    fn begin(
        self,
        mut follower: Follower,
        reply: oneshot::Sender<Result<Arc<Served>, StoreError>>,
    ) -> Option<(Follower, Arc<Served>)> {
        let keys = follower.begin();
        let served = keys.map(|keys| Arc::new(Served::new(keys, self.clock, self.max_bad_age)));
        let following = served.as_ref().ok().cloned();
        if let Some(served) = &following {
            served.follows(self.interval);
        }
        reply.send(served).ok()?;
        Some((follower, following?))
    }
}

fn syntax_of(path: &Path) -> Option<Syntax> {
    let ending = path.extension()?.to_str()?.to_ascii_lowercase();
    match &*ending {
        "toml" => Some(Syntax::Toml),
        "json" => Some(Syntax::Json),
        _ => None,
    }
}

/// The name of a variable in an error: its value may have been put in its place, or a key.
fn shown(variable: &str) -> String {
    let is_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    match variable.len() <= 64 && !variable.is_empty() && variable.chars().all(is_name) {
        true => format!("variable `{variable}`"),
        false => "the variable (name not shown)".to_owned(),
    }
}

const SETTING: &str = "keys in the environment";
