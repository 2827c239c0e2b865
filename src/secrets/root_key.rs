//! Root keys: what stored secrets are sealed under.

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::error::ConfigError;
use crate::key::hex;
use crate::owner::secret_file;

/// In bytes.
const LENGTH: usize = 32;
/// Two lines of 64 digits, and room for line ends and spaces.
const LARGEST_FILE: u64 = 1024;
const SETTING: &str = "root key";
/// The environment variable that names the file of root keys.
pub(super) const FILE_VARIABLE: &str = "API_KEYS_ROOT_KEY_FILE";

/// A key that stored secrets of the servers are sealed under: 32 random bytes, kept apart from the database.
///
/// It cannot be read, compared or copied, and is wiped on drop.
///
/// ```
/// use tower_api_key::secrets::RootKey;
///
/// # let bytes = [7; 32];
/// let key = RootKey::new(&bytes)?; // 32 random bytes, from a secret manager
/// assert!(format!("{key:?}").ends_with(", [redacted])"));
/// # Ok::<_, tower_api_key::ConfigError>(())
/// ```
pub struct RootKey {
    /// Boxed, so that moving the key leaves no copy behind.
    bytes: Box<Zeroizing<[u8; LENGTH]>>,
    id: String,
}

/// The current root key, and the former one while secrets are sealed anew.
///
/// To rotate, give the new key as the current one and the old key as the former one. The next
/// [`open`](crate::ApiKeysBuilder::open) seals every secret under the new key; after that the old one can go.
///
/// ```
/// use tower_api_key::secrets::{RootKey, RootKeys};
///
/// # let (new, old) = ([1; 32], [2; 32]);
/// let keys = RootKeys::from(RootKey::new(&new)?).former(RootKey::new(&old)?);
/// # Ok::<_, tower_api_key::ConfigError>(())
/// ```
#[derive(Debug)]
pub struct RootKeys {
    current: RootKey,
    former: Option<RootKey>,
}

impl RootKey {
    /// A root key of 32 random bytes.
    ///
    /// # Errors
    /// When there are not 32 bytes.
    ///
    /// # Security
    /// Keep the bytes apart from the database and from its backups, and wipe what you pass in.
    pub fn new(bytes: &[u8]) -> Result<Self, ConfigError> {
        let Ok(bytes) = <[u8; LENGTH]>::try_from(bytes).map(Zeroizing::new) else {
            let problem = format!("must have {LENGTH} bytes, got {}", bytes.len());
            return Err(ConfigError::new(SETTING, problem));
        };
        let mut key = Self {
            bytes: Box::new(bytes),
            id: String::new(),
        };
        // By one-way derivation, so that the id that is stored beside what it seals tells nothing of the key.
        key.id = hex::encode(&*key.derive::<8>(b"tower-api-key root key id"));
        Ok(key)
    }

    /// What identifies the key beside the secrets that it seals.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// A key for one purpose: HKDF-SHA256 (RFC 5869).
    pub(super) fn derive<const N: usize>(&self, purpose: &[u8]) -> Zeroizing<[u8; N]> {
        // More is an error, which would leave a key of zeros.
        const { assert!(N <= 255 * 32) };
        let mut derived = Zeroizing::new([0; N]);
        let _ = Hkdf::<Sha256>::new(None, self.bytes.as_slice()).expand(purpose, &mut *derived);
        derived
    }
}

impl RootKeys {
    /// Adds the former root key.
    #[must_use]
    pub fn former(mut self, key: RootKey) -> Self {
        self.former = Some(key);
        self
    }

    /// Root keys from a file: 64 hexadecimal digits, and on a second line, during a rotation, those of the former key.
    /// `openssl rand -hex 32` makes such a line.
    ///
    /// # Errors
    /// When the file cannot be read; on Unix, when it belongs to a user other than root and that of this process, or when others
    /// than its owner can read or change it (the group of a file of root may read it, as in Kubernetes); or when it has anything
    /// else in it. On Linux a file that is mounted for reading alone may belong to anyone.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        let problem = |text: String| ConfigError::new(SETTING, format!("file {}: {text}", path.display()));
        // Before it is opened: that would wait for a writer if it were a pipe.
        if std::fs::metadata(path).is_ok_and(|about| !about.is_file()) {
            return Err(problem(format!("must be a file of at most {LARGEST_FILE} bytes")));
        }
        // One handle for the checks and for reading: the file behind a path can be exchanged in between.
        let file = File::open(path).map_err(|error| problem(format!("cannot be opened: {error}")))?;
        let about = file
            .metadata()
            .map_err(|error| problem(format!("cannot be read: {error}")))?;
        if !about.is_file() || about.len() > LARGEST_FILE {
            return Err(problem(format!("must be a file of at most {LARGEST_FILE} bytes")));
        }
        secret_file::check(&file, &about).map_err(problem)?;
        let mut text = Zeroizing::new(String::with_capacity(LARGEST_FILE as usize + 1));
        file.take(LARGEST_FILE)
            .read_to_string(&mut text)
            .map_err(|error| problem(format!("cannot be read: {error}")))?;
        Self::from_text(&text).ok_or_else(|| {
            problem(format!(
                "must have {} hexadecimal digits, or two lines of them",
                2 * LENGTH
            ))
        })
    }

    /// These, and as the former key the current one of others. `None` if there is a former one already.
    #[cfg(feature = "file")]
    pub(crate) fn after(mut self, others: Self) -> Option<Self> {
        match self.former {
            None => self.former = Some(others.current),
            Some(_) => return None,
        }
        Some(self)
    }

    /// Those of the file that `API_KEYS_ROOT_KEY_FILE` names, if it is set.
    pub(crate) fn from_environment() -> Result<Option<Self>, ConfigError> {
        Self::from_named(std::env::var_os(FILE_VARIABLE).as_deref())
    }

    fn from_named(path: Option<&OsStr>) -> Result<Option<Self>, ConfigError> {
        match path {
            // A template whose value is missing: the operator who set the variable wants a root key.
            Some(path) if path.is_empty() => Err(ConfigError::new(
                SETTING,
                format!("{FILE_VARIABLE} is set and empty: name a file, or unset it"),
            )),
            Some(path) => Self::from_file(Path::new(path)).map(Some),
            None => Ok(None),
        }
    }

    fn from_text(text: &str) -> Option<Self> {
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let key = |line: &str| RootKey::new(Zeroizing::new(hex::decode::<LENGTH>(line)?).as_slice()).ok();
        let keys = Self::from(key(lines.next()?)?);
        let keys = match lines.next() {
            Some(line) => keys.former(key(line)?),
            None => keys,
        };
        lines.next().is_none().then_some(keys)
    }

    pub(super) fn current(&self) -> &RootKey {
        &self.current
    }

    /// The key with this id.
    pub(super) fn with_id(&self, id: &str) -> Option<&RootKey> {
        let keys = [Some(&self.current), self.former.as_ref()];
        keys.into_iter().flatten().find(|key| key.id == id)
    }
}

impl From<RootKey> for RootKeys {
    fn from(current: RootKey) -> Self {
        Self { current, former: None }
    }
}

impl fmt::Debug for RootKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RootKey({}, [redacted])", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "0123456789abcdef0123456789ABCDEF0123456789abcdef0123456789ABCDEF";

    #[test]
    fn text_has_one_line_or_two() {
        let other = LINE.replace('0', "1");
        for (text, keys) in [
            (LINE.to_owned(), 1),
            (format!("{LINE}\n"), 1),
            (format!("\n {LINE} \r\n\n{other}\n"), 2),
        ] {
            let read = RootKeys::from_text(&text).unwrap();
            assert_eq!(read.former.is_some(), keys == 2);
            assert!(read.with_id(read.current().id()).is_some());
        }
        for bad in [
            "",
            "\n",
            &LINE[1..],
            &format!("{LINE}0"),
            &format!("{LINE}\n{other}\n{LINE}"),
            &format!("{LINE}\nsecond"),
        ] {
            assert!(RootKeys::from_text(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn keys_of_two_purposes_and_of_two_roots_differ() {
        let (one, two) = (RootKey::new(&[1; 32]).unwrap(), RootKey::new(&[2; 32]).unwrap());
        assert_ne!(one.derive::<32>(b"a"), one.derive::<32>(b"b"));
        assert_ne!(one.derive::<32>(b"a"), two.derive::<32>(b"a"));
        assert_ne!(one.id(), two.id());
        assert!(!format!("{one:?}").contains("01010101"));
        assert!(RootKey::new(&[1; 31]).is_err() && RootKey::new(&[1; 33]).is_err());
    }

    #[test]
    fn empty_variable_is_refused_by_its_name() {
        assert!(RootKeys::from_named(None).unwrap().is_none());
        let error = RootKeys::from_named(Some(OsStr::new(""))).unwrap_err().to_string();
        assert!(error.contains("API_KEYS_ROOT_KEY_FILE is set and empty"), "{error}");
    }
}
