//! For tests of code that uses this crate (feature `testing`).

pub use crate::clock::ManualClock;
