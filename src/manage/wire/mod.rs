//! What goes in and out, as JSON.

pub(super) mod bulk;
pub(super) mod key;
pub(super) mod limit;
pub(super) mod metadata;
pub(super) mod object;
pub(super) mod organization;
pub(super) mod patch;
pub(super) mod plan;
pub(super) mod policy;
pub(super) mod problem;
pub(super) mod reason;
pub(super) mod role;
pub(super) mod text;
pub(super) mod user;
