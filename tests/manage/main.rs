//! The management API over a socket, on real stores.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod keys;
mod logins;
mod once;
mod support;
