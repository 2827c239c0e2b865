//! API keys for Rust services.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod check;
mod client;
mod clock;
mod error;
mod fence;
pub mod hash;
mod issue;
pub mod key;
pub mod limit;
mod middleware;
pub mod store;
mod sync;
#[cfg(feature = "testing")]
pub mod testing;

pub use self::check::{
    Attempt, AuthContext, Authenticator, AuthenticatorBuilder, OwnedAttempt, Rejection, RejectionClass, RejectionKind,
};
pub use self::clock::{Clock, Monotonic};
pub use self::error::ConfigError;
pub use self::fence::Fence;
pub use self::issue::{IssueError, IssueErrorKind, IssueRequest, IssuedKey, Issuer};
