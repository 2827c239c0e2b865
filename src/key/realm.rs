//! The realm: what one database is, and the secrets that its servers share.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretSlice};
use subtle::ConstantTimeEq;

use crate::key::{RealmId, Timestamp};

/// What one database is: every key in it belongs to one realm. Several realms are several databases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Realm {
    /// The identity of the database. A copy of the database has the same one.
    pub id: RealmId,
    /// Until when keys with a CRC-32 checksum are accepted; a time that has passed means not at all. New databases have the
    /// start of 1970. One that has keys from before this was stored has [`Timestamp::MAX`].
    pub crc_accepted_until: Timestamp,
    /// When the realm was made.
    pub created_at: Timestamp,
}

impl Realm {
    /// A new realm, which accepts no keys with a CRC-32 checksum.
    pub fn new(created_at: Timestamp) -> Self {
        Self {
            id: RealmId::new(),
            crc_accepted_until: Timestamp::from_millis(0),
            created_at,
        }
    }

    /// Whether keys with a CRC-32 checksum are accepted at this time.
    pub fn accepts_crc(&self, now: Timestamp) -> bool {
        now < self.crc_accepted_until
    }
}

/// A secret of the servers of a realm, as it is stored: sealed under a root key, or plain where there is none.
///
/// Purpose, id and number together identify it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerSecretRecord {
    /// What the secret is for. No secret serves two purposes.
    pub purpose: SecretPurpose,
    /// Which secret of this purpose: 1 to 64 bytes. For [`CHECKSUM`](SecretPurpose::CHECKSUM), the character that keys carry.
    pub id: String,
    /// Tells secrets of one purpose and id apart: 0 for the first. Databases that were merged can have several.
    pub number: u8,
    /// Whether the secret is used.
    pub state: SecretState,
    /// The root key that the value is sealed under; `None` for a plain value.
    pub sealed_by: Option<String>,
    /// The secret itself, 1 to 4,096 bytes.
    pub value: SecretValue,
    /// When the secret was made.
    pub created_at: Timestamp,
    /// From when servers may make something with it. Until then they only verify, so that every server knows it by then.
    pub active_from: Timestamp,
    /// When it is no longer needed to verify anything.
    pub retire_at: Option<Timestamp>,
}

impl ServerSecretRecord {
    /// The first secret of this purpose and id: active from now on, not sealed, without an end.
    pub fn new(purpose: SecretPurpose, id: impl Into<String>, value: SecretValue, created_at: Timestamp) -> Self {
        Self {
            purpose,
            id: id.into(),
            number: 0,
            state: SecretState::Active,
            sealed_by: None,
            value,
            created_at,
            active_from: created_at,
            retire_at: None,
        }
    }

    /// What identifies it.
    pub(crate) fn place(&self) -> (&SecretPurpose, &str, u8) {
        (&self.purpose, &self.id, self.number)
    }

    /// Whether all columns are equal.
    pub(crate) fn is_same_as(&self, other: &Self) -> bool {
        let columns = |row: &Self| {
            let times = (row.created_at, row.active_from, row.retire_at);
            (row.state, row.sealed_by.clone(), times)
        };
        let values = [self, other].map(|row| row.value.expose_secret());
        self.place() == other.place() && columns(self) == columns(other) && bool::from(values[0].ct_eq(values[1]))
    }
}

/// Whether a server secret is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SecretState {
    /// It verifies, and makes nothing yet.
    Pending,
    /// It verifies and makes.
    Active,
    /// It verifies what was made with it.
    Retired,
}

impl SecretState {
    /// `pending`, `active` or `retired`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Retired => "retired",
        }
    }
}

/// What a server secret is for, such as `checksum`.
///
/// Text and not an enum, so that secrets of a later version can be read.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretPurpose(Cow<'static, str>);

impl SecretPurpose {
    /// `checksum`: the keyed checksum of keys.
    pub const CHECKSUM: Self = Self(Cow::Borrowed("checksum"));
    /// `cursor`: the cursors of lists.
    pub const CURSOR: Self = Self(Cow::Borrowed("cursor"));

    /// `audit`: the chains of audit events.
    pub const AUDIT: Self = Self(Cow::Borrowed("audit"));

    /// Another purpose: 1 to 128 bytes.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Cow::Owned(text.into()))
    }

    /// The purpose's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SecretPurpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SecretPurpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretPurpose({:?})", self.as_str())
    }
}

/// The stored bytes of a server secret. Clones share one buffer, which is wiped when the last one is dropped.
///
/// [`expose_secret`](Self::expose_secret) is the only way to the bytes. There is no `Display` and no equality, and `Debug`
/// shows nothing.
///
/// ```
/// use tower_api_key::key::SecretValue;
///
/// let value = SecretValue::new(vec![7; 32]);
/// assert_eq!(format!("{value:?}"), "SecretValue([redacted])");
/// assert_eq!(value.expose_secret(), [7; 32]);
/// ```
#[derive(Clone)]
pub struct SecretValue(Arc<SecretSlice<u8>>);

impl SecretValue {
    /// Takes the bytes, sealed or plain.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Arc::new(SecretSlice::from(bytes)))
    }

    /// The bytes.
    ///
    /// # Security
    /// Plain ones make keys look genuine, or worse, depending on the purpose: do not log or copy them.
    pub fn expose_secret(&self) -> &[u8] {
        self.0.expose_secret()
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue([redacted])")
    }
}
