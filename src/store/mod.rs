//! Key stores: where key records live.
//!
//! 1. Checking needs a [`KeyStore`]: one indexed read. A store over an existing table takes a dozen lines.
//! 2. Issuing and managing need a [`ManagedStore`]: [`commit`](ManagedStore::commit) writes a [`Commit`] and its audit
//!    events in one transaction and announces it to the [`Fence`](crate::Fence) before it returns;
//!    [`read`](ManagedStore::read) answers the queries of [`query`].
//! 3. [`MemoryStore`] keeps everything in this process, `SqliteStore` (feature `sqlite`) in one file, and `PostgresStore` (feature
//!    `postgres`) in a database that several servers share. `FileStore` (feature `file`) reads keys that people write, from a TOML or
//!    JSON file. [`DynStore`] is any store, chosen at run time.
//! 4. Run `testing::store_conformance` (feature `testing`) over a store of your own, and use [`commit_change`] if its
//!    commits can be interrupted.
//! 5. `copy` (features `sqlite`, `postgres`) moves everything from one database to another one.
//!
//! # A managed store of your own
//!
//! The rules of writes are in helpers, so a store finds rows and stores them. Begin with `examples/managed_store.rs`, which has its
//! rows in memory and is some 150 lines; `examples/redb` does the same over a database of bytes, ten times as long. What they have no
//! arm for is [`Unsupported`](StoreErrorKind::Unsupported), and the kit says which rule that breaks.
//!
//! | rows | writes | reads |
//! |---|---|---|
//! | guards | [`Commit::check_guards`] before the writes and [`Commit::check_outcome`] after them | [`SharedRows::holds`] |
//! | keys and secrets | [`StoredKey::replace_record`], [`StoredKey::write_secret`] | [`StoredKey::candidate`] |
//! | organizations | [`SharedRows::check_organization`], [`replace_organization`] | [`Organization::folded_email`](crate::key::Organization::folded_email) for an index |
//! | realm, secrets of the servers, plans, users, roles, known scopes | [`Write::is_shared`], then [`SharedRows::write`] | [`SharedRows::read`], [`SharedRows::complete`] |
//! | audit events and refusals in memory | [`Write::is_of_audit`], then [`AuditLog::write`]; [`AuditLog::link`] | [`Query::is_of_audit`](query::Query::is_of_audit), then [`AuditLog::read`] |
//! | audit events elsewhere | [`AuditHead::link`](crate::audit::AuditHead::link), stored as [`AuditRow`](crate::audit::AuditRow) | [`AuditEntry::from_stored`](crate::audit::AuditEntry::from_stored) |
//! | uses of keys, leases | [`Write::is_of_use`], then [`UseRows::write`] | [`Query::is_of_use`](query::Query::is_of_use), then [`UseRows::read`] |
//! | idempotency keys | [`Write::is_of_idempotency`], then [`IdempotencyRows::write`], which [`Write::ForgetPersonal`] goes to as well; [`IdempotencyRows::delete_of`] | [`Query::is_of_idempotency`](query::Query::is_of_idempotency), then [`IdempotencyRows::read`] |
//! | lists | | [`Page::cut`](query::Page::cut), [`Count::of_rows`](query::Count::of_rows) |
//!
//! A row comes back as it was written. Store times as numbers of milliseconds, since any may come: the wire form (feature `serde`)
//! refuses to write those outside of the years 0000 to 9999. It has none of hashes and secrets.
//!
//! Make and announce a commit where a caller that goes away cannot stop it: on a thread of its own, as the example does, or with
//! [`commit_change`].
//!
//! A store that cannot answer returns a [`StoreError`], which becomes a 503. It never answers "no such key" instead: that
//! would be a 401 for a good key.

mod audit_log;
mod candidate;
mod commit;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod copy;
mod dynamic;
mod effective;
mod error;
#[cfg(feature = "file")]
mod file;
mod guard;
mod held;
mod idempotency_rows;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
#[cfg_attr(
    not(all(feature = "sqlite", feature = "postgres")),
    allow(dead_code, unused_imports, reason = "each database uses a part of it")
)]
mod journal;
mod key_store;
mod managed;
mod memory;
mod pauses;
#[cfg(feature = "postgres")]
mod postgres;
pub mod query;
mod rows;
mod settle;
mod shared;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
#[cfg_attr(
    not(all(feature = "sqlite", feature = "postgres")),
    allow(dead_code, unused_imports, reason = "each database uses a part of it")
)]
mod sql;
#[cfg(feature = "sqlite")]
mod sqlite;
mod url;
mod use_rows;
mod write;

pub use self::audit_log::AuditLog;
pub use self::candidate::{Candidate, StoredKey};
pub use self::commit::{Commit, Committed};
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub use self::copy::{Copied, CopyError, CopyErrorKind, Copyable, copy};
pub use self::dynamic::DynStore;
pub(crate) use self::effective::{Barrier, key_limits as given_key_limits};
pub use self::error::{StoreError, StoreErrorKind};
#[cfg(feature = "file")]
pub use self::file::{FileStatus, FileStore, FileStoreBuilder};
pub use self::guard::Guard;
pub use self::idempotency_rows::IdempotencyRows;
pub use self::key_store::{KeyStore, Sharing};
pub(crate) use self::managed::replace_hash;
pub use self::managed::{ManagedStore, StoreExt};
pub use self::memory::MemoryStore;
#[cfg(feature = "postgres")]
pub use self::postgres::{PostgresGrant, PostgresInspection, PostgresStore, PostgresStoreBuilder, UserOfPostgres};
pub use self::rows::replace_organization;
pub use self::settle::commit_change;
use self::shared::SharedRow;
pub use self::shared::SharedRows;
#[cfg(feature = "sqlite")]
pub use self::sqlite::{SqliteStore, SqliteStoreBuilder};
#[cfg(feature = "file")]
pub(crate) use self::url::StoreUrl;
pub use self::use_rows::UseRows;
pub use self::write::Write;
pub use crate::fence::Change;
