//! The program `api-keys`, as people and scripts run it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "tests")]

mod data;
mod deploy;
mod doctor;
mod environment;
mod examples;
mod files;
mod guides;
mod hostile;
mod keys;
mod mistakes;
mod over_server;
mod page;
#[cfg(target_os = "linux")]
mod postgres;
#[cfg(target_os = "linux")]
#[path = "../it/support/postgres/mod.rs"]
#[allow(dead_code, unused_imports, reason = "other tests use more of it")]
mod postgres_server;
mod readme;
mod rows;
mod scan;
mod serve;
mod server;
#[cfg(target_os = "linux")]
mod service;
mod support;
#[cfg(target_os = "linux")]
mod terminal;
mod traces;
