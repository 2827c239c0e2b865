//! The program `api-keys`, as people and scripts run it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "tests")]

mod data;
mod environment;
mod files;
mod hostile;
mod keys;
mod mistakes;
mod page;
mod readme;
mod rows;
mod scan;
mod serve;
mod support;
