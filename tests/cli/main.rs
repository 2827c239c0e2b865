//! The program `api-keys`, as people and scripts run it.
#![allow(clippy::unwrap_used, reason = "tests")]
