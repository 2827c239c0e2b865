//! The management API over a socket, on real stores.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod bulk;
mod keys;
mod organizations;
mod realm;
mod reports;
mod support;
mod users;
