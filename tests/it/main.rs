//! The integration tests, as one program.
//!
//! Each subject has a module; `house`, `support` and `wire` are shared. To run one module:
//! `cargo nextest run --all-features revoked::` or `cargo test --all-features --test it revoked::`.
//!
//! Under `cargo test` all tests share one process. So subscribers and recorders are set for one thread only, and a test that
//! needs a process of its own starts one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A panic in a helper is a failed test too.

mod accepted_keys;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod adopt;
#[cfg(feature = "testing")]
mod allocations;
#[cfg(feature = "testing")]
mod answers;
#[cfg(feature = "testing")]
mod api_keys;
#[cfg(feature = "testing")]
mod argon2_is_counted;
mod audit;
#[cfg(feature = "testing")]
mod audit_trail;
#[cfg(feature = "testing")]
mod authority;
mod autotraits;
#[cfg(feature = "testing")]
mod cache_bytes;
#[cfg(feature = "testing")]
mod cancellation;
#[cfg(feature = "testing")]
mod check_flow;
#[cfg(feature = "testing")]
mod check_model;
#[cfg(feature = "testing")]
mod checksums;
#[cfg(feature = "testing")]
mod clock_steps;
#[cfg(all(feature = "axum", feature = "file", feature = "sqlite", feature = "testing"))]
mod config;
#[cfg(all(feature = "postgres", feature = "sqlite", feature = "testing", target_os = "linux"))]
mod copying;
#[cfg(all(feature = "axum", feature = "testing"))]
mod cors;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod crash;
#[cfg(all(feature = "legacy-hashes", feature = "testing"))]
mod cut_hashes;
#[cfg(feature = "sqlite")]
mod disk_faults;
mod documentation;
mod dyn_store;
mod error_bodies;
#[cfg(all(feature = "axum", feature = "sqlite"))]
mod error_chains;
#[cfg(all(feature = "axum", feature = "sqlite"))]
mod examples;
#[cfg(feature = "axum")]
mod extractor;
#[cfg(feature = "testing")]
mod failure_budget;
#[cfg(feature = "testing")]
mod fault_store;
#[cfg(feature = "testing")]
mod faults;
#[cfg(feature = "testing")]
mod features;
#[cfg(feature = "testing")]
mod field_life;
#[cfg(all(feature = "postgres", feature = "testing", target_os = "linux"))]
mod field_postgres;
#[cfg(all(feature = "file", feature = "testing"))]
mod file_store;
#[cfg(all(feature = "axum", feature = "testing"))]
mod given_context;
#[cfg(feature = "testing")]
mod going_ahead;
mod grpc_answers;
#[cfg(feature = "testing")]
mod hash_pool;
mod hash_schemes;
#[cfg(all(feature = "axum", feature = "testing"))]
mod hostile_clients;
#[cfg(feature = "testing")]
mod house;
#[cfg(all(feature = "axum", feature = "testing"))]
mod in_handler;
#[cfg(feature = "testing")]
mod issuing;
#[cfg(feature = "testing")]
mod issuing_rules;
#[cfg(feature = "testing")]
mod issuing_when_busy;
#[cfg(feature = "sqlite")]
mod journal;
mod key_formats;
#[cfg(feature = "testing")]
mod key_reading;
#[cfg(all(feature = "axum", feature = "testing"))]
mod last_use;
#[cfg(feature = "testing")]
mod lease;
#[cfg(feature = "axum")]
mod leave_others;
mod limits;
mod lists;
#[cfg(feature = "testing")]
mod loads;
#[cfg(feature = "testing")]
mod log_crate;
#[cfg(feature = "testing")]
mod maintenance;
#[cfg(all(feature = "axum", feature = "testing"))]
mod metering;
#[cfg(all(feature = "testing", feature = "metrics"))]
mod metrics;
#[cfg(feature = "testing")]
mod mismatched_parts;
mod misplaced_keys;
#[cfg(feature = "testing")]
mod offboarding;
#[cfg(feature = "testing")]
mod offboarding_by_keys;
#[cfg(feature = "testing")]
mod offboarding_exact;
#[cfg(feature = "testing")]
mod offboarding_pieces;
#[cfg(feature = "testing")]
mod offboarding_since;
#[cfg(feature = "testing")]
mod once;
#[cfg(feature = "testing")]
mod operations;
#[cfg(feature = "testing")]
mod organizations;
mod other_places;
mod parse_errors;
#[cfg(all(feature = "postgres", feature = "metrics", feature = "testing"))]
mod postgres_journal;
#[cfg(all(feature = "metrics", feature = "postgres", feature = "testing", target_os = "linux"))]
mod postgres_store;
mod proxies;
#[cfg(feature = "testing")]
mod reading_back;
#[cfg(feature = "testing")]
mod regressions;
#[cfg(feature = "testing")]
mod rehash;
#[cfg(feature = "testing")]
mod revoke_is_final;
#[cfg(feature = "testing")]
mod revoked;
#[cfg(unix)]
mod root_keys;
#[cfg(feature = "testing")]
mod rotation_ends;
#[cfg(feature = "testing")]
mod secrets_stay_secret;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod shared_database;
mod sources;
mod span;
#[cfg(feature = "sqlite")]
mod sqlite_store;
#[cfg(feature = "testing")]
mod statistics;
#[cfg(feature = "testing")]
mod store_conformance;
mod support;
#[cfg(target_os = "linux")]
mod test_services;
mod tower_contract;
#[cfg(feature = "testing")]
mod two_runtimes;
#[cfg(feature = "testing")]
mod unchanged;
#[cfg(feature = "testing")]
mod users;
#[cfg(all(feature = "axum", any(feature = "sqlite", feature = "testing")))]
mod wire;
#[cfg(feature = "serde")]
mod wire_form;
