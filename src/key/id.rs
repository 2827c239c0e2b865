//! Identifiers of keys, organizations and users, each with a type of its own.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use crate::error::ParseError;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id: a UUIDv7 (RFC 9562), so that ids sort by the time they were made.
            #[allow(clippy::new_without_default, reason = "a default should not differ each time")]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }

            /// The id with this number, for a table whose rows are numbered. The same number is the same id.
            ///
            /// ```
            #[doc = concat!("use tower_api_key::key::", stringify!($name), ";\n")]
            ///
            #[doc = concat!("let id = ", stringify!($name), "::from_u128(17);")]
            /// assert_eq!(id.to_string(), "00000000-0000-0000-0000-000000000011");
            #[doc = concat!("assert_eq!(id, ", stringify!($name), "::from_u128(17));")]
            /// ```
            pub const fn from_u128(number: u128) -> Self {
                Self(Uuid::from_u128(number))
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
            type Err = ParseError;

            // The text is not shown: it may be a key that was pasted into the wrong place.
            fn from_str(text: &str) -> Result<Self, ParseError> {
                Uuid::try_parse(text)
                    .map(Self)
                    .map_err(|_| ParseError::new($what, "must be a UUID"))
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
    /// The stable id of a key record, safe to log and show. It is not part of the key that clients send.
    KeyId, "key id"
}

uuid_id! {
    /// The stable id of an organization, the tenant that owns keys.
    OrganizationId, "organization id"
}

uuid_id! {
    /// The stable id of a plan.
    PlanId, "plan id"
}

uuid_id! {
    /// The identity of a database. It is part of everything that must not be taken from one database to another.
    RealmId, "realm id"
}

/// The user that a key acts for, under the id that the service uses: 1 to 255 bytes, no control characters.
///
/// ```
/// use tower_api_key::key::UserId;
///
/// assert_eq!("user-42".parse::<UserId>()?.as_str(), "user-42");
/// assert!("".parse::<UserId>().is_err());
/// # Ok::<_, tower_api_key::ParseError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(Box<str>);

impl UserId {
    /// The id as the service gave it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UserId {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        if text.is_empty() || text.len() > LONGEST_USER_ID {
            let problem = format!("must have 1 to {LONGEST_USER_ID} bytes, got {}", text.len());
            return Err(ParseError::new("user id", problem));
        }
        if text.chars().any(char::is_control) {
            return Err(ParseError::new("user id", "must not contain control characters"));
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

const LONGEST_USER_ID: usize = 255;
