//! Floor 3: the decision about a request. No http in it: it serves any protocol.

mod attempt;
mod authenticator;
mod context;
mod entry;
mod home;
mod rejection;
mod tag;

pub use self::attempt::{Attempt, OwnedAttempt};
pub use self::authenticator::Authenticator;
pub use self::context::AuthContext;
pub use self::rejection::{Rejection, RejectionClass, RejectionKind};
