//! The management API: organizations, keys, users, plans, roles and the audit trail over HTTP, as an axum router with an OpenAPI
//! document.
//!
//! [`ApiKeys::manage`](crate::ApiKeys::manage) makes it. Every answer is JSON, every error `application/problem+json`.

mod acting;
mod audit;
mod body;
mod bulk;
mod catalogue;
mod csrf;
mod ended;
mod fields;
mod health;
mod hosts;
mod keys;
mod logins;
mod once;
mod openapi;
mod organization;
mod organizations;
mod overview;
mod paging;
mod path;
mod plans;
mod precondition;
mod problem;
mod roles;
mod router;
mod row;
mod state;
mod target;
mod users;
mod wire;

pub use self::router::Manage;
use crate::key::management as scopes;
