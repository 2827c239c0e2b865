//! Rules about the source: which module may use which, and what is public.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A file that cannot be read is a failed test.

mod circles;
mod code;
mod files;
mod floors;
mod public_api;
