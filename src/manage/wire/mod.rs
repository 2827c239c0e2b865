//! What goes in and out, as JSON.

pub(super) mod key;
pub(super) mod limit;
pub(super) mod patch;
pub(super) mod problem;
