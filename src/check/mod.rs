//! Floor 3: the decision about a request. No http in it: it serves any protocol.
//!
//! `decide` is the way of a request, and `decide_now` that of a known key, which is most of them; the rest is what they walk
//! past: `cache` (what is known), `flight` and `load` (what has to be read and hashed), `policy` (what the key may do),
//! `context` and `rejection` (how it ends).

mod attempt;
mod authenticator;
mod budget;
mod builder;
mod cache;
mod common;
mod complaints;
mod context;
mod core;
mod decide;
mod decide_now;
mod entry;
mod flight;
#[cfg(feature = "testing")]
mod given;
mod home;
mod load;
#[cfg(feature = "metrics")]
mod metrics;
mod outcome;
mod policy;
mod rehash;
mod rejection;
mod revoked;
mod sampler;
mod tag;

pub use self::attempt::{Attempt, OwnedAttempt};
pub use self::authenticator::Authenticator;
pub use self::builder::AuthenticatorBuilder;
pub use self::context::AuthContext;
#[cfg(feature = "testing")]
pub(crate) use self::given::given;
pub use self::rejection::{Rejection, RejectionClass, RejectionKind};
