//! The secrets that the servers of a realm share, such as that of keyed checksums: sealed under a root key, kept in the
//! store with their history, and rotated.
//!
//! [`ApiKeys`](crate::ApiKeys) makes and reads them. What its users need of it is [`RootKeys`], for
//! [`ApiKeysBuilder::root_keys`](crate::ApiKeysBuilder::root_keys). For operators, the page `docs/secrets.md` of the
//! repository:
#![doc = include_str!("../../docs/secrets.md")]

mod adoption;
mod audits;
mod cursors;
mod opened;
mod reading;
mod realm;
mod records;
mod root_key;
mod rotation;
mod seal;
mod settings;

pub(crate) use self::opened::OpenedSecrets;
pub(crate) use self::realm::RealmSecrets;
pub use self::root_key::{RootKey, RootKeys};
pub(crate) use self::rotation::NoRotation;
pub(crate) use self::settings::SecretSettings;
