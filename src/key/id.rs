//! Typed identifiers: a key's id cannot be passed where an organization's is asked for.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use crate::error::ConfigError;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id, ordered by the time of its making (UUIDv7, RFC 9562).
            #[allow(clippy::new_without_default, reason = "a default that is another one each time surprises")]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }

            /// The id as a UUID.
            pub const fn as_uuid(&self) -> Uuid {
                self.0
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }

        impl FromStr for $name {
            type Err = ConfigError;

            fn from_str(text: &str) -> Result<Self, ConfigError> {
                Uuid::try_parse(text)
                    .map(Self)
                    .map_err(|_| ConfigError::new("id", "not a UUID"))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }
    };
}

uuid_id! {
    /// Names a key record for ever; safe to log and show. It is not part of the key that clients send.
    KeyId
}

uuid_id! {
    /// Names an organization, the tenant that owns keys.
    OrganizationId
}

/// The user a key acts for, as the service itself names its users: 1 to 255 bytes, no control characters.
///
/// ```
/// use tower_api_key::key::UserId;
///
/// assert_eq!("user-42".parse::<UserId>()?.as_str(), "user-42");
/// assert!("".parse::<UserId>().is_err());
/// # Ok::<_, tower_api_key::ConfigError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(Box<str>);

impl UserId {
    /// The id as the service wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UserId {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        if text.is_empty() || text.len() > 255 {
            return Err(ConfigError::new("user id", "must have 1 to 255 bytes"));
        }
        if text.chars().any(char::is_control) {
            return Err(ConfigError::new("user id", "must not hold control characters"));
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserId({:?})", &self.0)
    }
}
