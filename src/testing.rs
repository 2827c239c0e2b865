//! For tests of code that uses this crate (feature `testing`).

mod conformance;
mod context;
mod fault_store;
mod gate;

pub use self::conformance::store_conformance;
pub use self::context::auth_context;
pub use self::fault_store::{Fault, FaultStore, Faults};
pub use self::gate::Gate;
pub use crate::clock::ManualClock;
