//! When keys were last used, how often, from where, and for which scopes.
//!
//! Requests write nothing. What they did is kept in memory and stored once a minute, as one [`UseBatch`]. For operators, the
//! page `docs/maintenance.md` of the repository:
#![doc = include_str!("../../docs/maintenance.md")]

mod batch;
mod counter;
mod pending;
mod rows;

pub use self::batch::{UseBatch, UseSource};
pub(crate) use self::counter::{Counted, LastUsed, UseCounter};
pub(crate) use self::pending::PendingUses;
pub use self::rows::{NetworkUse, ScopeUse, SecretUse, UseOfKey};
