//! The program `api-keys`, as people and scripts run it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "tests")]

mod data;
mod examples;
mod deploy;
mod files;
mod guides;
mod keys;
mod mistakes;
mod page;
mod readme;
mod rows;
mod scan;
mod serve;
mod server;
mod service;
mod support;
mod traces;

/// Of the integration tests.
#[path = "../it/support"]
#[allow(dead_code, unused_imports, reason = "what these tests need of it")]
mod servers {
    pub(crate) mod postgres;
}
