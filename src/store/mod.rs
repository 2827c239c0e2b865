//! Floor 2: where key records live.
//!
//! 1. Checking needs a [`KeyStore`]: one indexed read. A service that keeps its keys elsewhere writes a dozen lines.
//! 2. Issuing needs [`ManageKeys`] on top: writing that never overwrites, and that tells the
//!    [`Fence`](crate::Fence) of every change before it says "done". That order is what makes a revoke final.
//! 3. [`MemoryStore`] keeps everything in this process; `SqliteStore` (feature `sqlite`) in one file beside it.
//!    [`DynKeyStore`] is for a store chosen at run time.
//! 4. Whoever writes a store runs `testing::store_conformance` (feature `testing`) over it, and uses
//!    [`commit_change`] if its commits can be interrupted.
//!
//! A store that cannot tell answers with a [`StoreError`], which becomes a 503. It never answers "no such key" for that:
//! that would be a 401 for a good key.

mod candidate;
mod change;
mod dynamic;
mod error;
mod key_store;
mod manage_keys;
mod memory;
#[cfg(feature = "sqlite")]
mod migrations;
mod pauses;
#[cfg(feature = "sqlite")]
mod sqlite;

pub use self::candidate::{Candidate, StoredKey};
pub use self::change::{Change, commit_change};
pub use self::dynamic::DynKeyStore;
pub use self::error::{StoreError, StoreErrorKind};
pub use self::key_store::{KeyStore, Sharing};
pub use self::manage_keys::ManageKeys;
pub use self::memory::MemoryStore;
#[cfg(feature = "sqlite")]
pub use self::sqlite::{SqliteStore, SqliteStoreBuilder};
