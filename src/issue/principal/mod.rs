//! Persons who are logged in to the service and act without a key: what they see, and what they may make and change.

mod judge;
mod login;
mod reading;
mod standing;
mod steps;

pub use self::login::{Principal, Sees};
pub(super) use self::reading::{read, sees};
pub(super) use self::standing::{PrincipalAuthority, Standing};
