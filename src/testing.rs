//! Tools for tests of code that uses this crate (feature `testing`).

#[cfg(feature = "testing")]
mod anonymous;
#[cfg(feature = "testing")]
mod barrier;
mod clock;
#[cfg(feature = "testing")]
mod conformance;
#[cfg(feature = "testing")]
mod context;
#[cfg(feature = "testing")]
mod fault_store;
#[cfg(feature = "testing")]
mod features;
#[cfg(feature = "testing")]
mod keys;
#[cfg(all(feature = "testing", feature = "postgres"))]
mod next_version;

#[cfg(feature = "testing")]
pub use self::anonymous::anonymous;
#[cfg(feature = "testing")]
pub use self::barrier::Barrier;
// The crate's own tests use it without the feature too.
pub use self::clock::ManualClock;
#[cfg(feature = "testing")]
pub use self::conformance::store_conformance;
#[cfg(feature = "testing")]
pub use self::context::auth_context;
#[cfg(feature = "testing")]
pub use self::fault_store::{Fault, FaultStore, Faults};
#[cfg(feature = "testing")]
pub use self::features::know_features;
#[cfg(feature = "testing")]
pub use self::keys::{api_keys, cheap_hashes};
#[cfg(all(feature = "testing", feature = "postgres"))]
pub use self::next_version::next_version;
