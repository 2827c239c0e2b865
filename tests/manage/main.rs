//! The management API over a socket, on real stores.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod bulk;
mod document;
mod forged;
mod keys;
mod logins;
mod matrix;
#[path = "../clients/nginx.rs"]
mod nginx;
mod once;
mod operations;
mod organizations;
mod proxies;
mod races;
mod realm;
mod reports;
mod schemathesis;
mod stronger;
mod support;
mod users;
