//! Tools for tests of code that uses this crate (feature `testing`).

mod barrier;
mod clock;
mod conformance;
mod context;
mod fault_store;

pub use self::barrier::Barrier;
pub use self::clock::ManualClock;
pub use self::conformance::store_conformance;
pub use self::context::auth_context;
pub use self::fault_store::{Fault, FaultStore, Faults};
