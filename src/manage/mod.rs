//! The management API: organizations, keys, users, plans, roles and the audit trail over HTTP, as an axum router with an OpenAPI
//! document.
//!
//! [`ApiKeys::manage`](crate::ApiKeys::manage) makes it. Every answer is JSON, every error `application/problem+json`.

mod acting;
mod body;
mod health;
mod keys;
mod manage;
mod openapi;
mod paging;
mod precondition;
mod problem;
mod scopes;
mod wire;

pub use self::manage::Manage;
