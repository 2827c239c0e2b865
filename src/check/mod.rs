//! The check of a presented key, for any protocol.
//!
//! `step` is the decision: parse, look up, load, policy, limits, confirm, without I/O. `authenticator` drives it, and `load`
//! reads and verifies what it asks for, once for all who wait (`loads`). `cache` and `entry` are what is known of keys;
//! `policy` is what a key may do; `context` and `rejection` are how a check ends, and `audit` records it;
//! `metering` is what a handler adds to its usage.

mod audit;
mod authenticator;
mod builder;
mod cache;
mod context;
mod core;
mod entry;
mod hashing;
mod load;
mod loads;
mod metering;
mod policy;
mod presented;
mod realm;
mod rejection;
mod revoked;
mod step;

pub use self::authenticator::Authenticator;
pub use self::builder::ApiKeysBuilder;
pub use self::context::AuthContext;
#[cfg(feature = "testing")]
pub(crate) use self::entry::{AnyAuthenticator, Entry};
pub use self::presented::PresentedKey;
pub use self::rejection::{Rejection, RejectionClass, RejectionKind};
