//! What may cross threads, be pinned or not: a promise that a private field can break from afar.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use static_assertions::{assert_impl_all, assert_obj_safe};
use std::panic::{RefUnwindSafe, UnwindSafe};
use tower_api_key::hash::{Argon2Params, ClientGroup, HashPolicy, HashPool, HashPoolBuilder, InvalidHash, PoolError};
use tower_api_key::key::{
    Alphabet, ApiKey, Checksum, GenerateError, GeneratedKey, KeyFormat, KeyFormatBuilder, KeyFormats, KeyId, KeyRecord,
    KeySecret, KeyStatus, Lookup, MalformedKey, Metadata, Networks, Organization, OrganizationId, ParsedKey, RateLimit,
    Revocation, Scope, ScopeSet, SecretHash, ServerSecret, ServerSecrets, Timestamp, UserId,
};
use tower_api_key::limit::{
    Allowance, Cells, Charge, Decision, LimitState, Limited, LocalLimiter, RateLimiter, Take, Unlimited,
};
use tower_api_key::store::{
    Candidate, Change, DynKeyStore, MemoryStore, Sharing, StoreError, StoreErrorKind, StoredKey,
};
use tower_api_key::{
    Attempt, AuthContext, Authenticator, AuthenticatorBuilder, Clock, ConfigError, Fence, IssueError, IssueErrorKind,
    IssueRequest, IssuedKey, Issuer, Monotonic, OwnedAttempt, Rejection, RejectionClass, RejectionKind,
};

macro_rules! shareable {
    ($($type:ty),* $(,)?) => { $(assert_impl_all!($type: Send, Sync, Unpin);)* };
}

macro_rules! plain {
    ($($type:ty),* $(,)?) => { $(assert_impl_all!($type: Send, Sync, Unpin, UnwindSafe, RefUnwindSafe);)* };
}

shareable! {
    Authenticator<MemoryStore>, AuthenticatorBuilder<MemoryStore>, AuthContext, Rejection, OwnedAttempt, Issuer<MemoryStore>,
    IssuedKey, IssueRequest, IssueError, Fence, Clock, HashPool, HashPoolBuilder, PoolError, InvalidHash, MemoryStore,
    DynKeyStore, StoreError, LocalLimiter, Cells, Charge<'static>, Decision, GenerateError, GeneratedKey, ApiKey,
    ServerSecret, ServerSecrets, Checksum, KeyFormat, KeyFormats, KeyFormatBuilder, ParsedKey<'static>,
}

plain! {
    RejectionKind, RejectionClass, IssueErrorKind, StoreErrorKind, ConfigError, MalformedKey, Monotonic, Sharing, Change,
    Argon2Params, ClientGroup, HashPolicy, Alphabet, KeyId, OrganizationId, UserId, KeyRecord, KeySecret, KeyStatus, Lookup,
    Metadata, Networks, Organization, RateLimit, Revocation, Scope, ScopeSet, SecretHash, Timestamp, Candidate, StoredKey,
    Allowance, LimitState, Limited, Unlimited,
}

// An attempt is of one request: it may move to another thread, but two threads must not charge it at once.
assert_impl_all!(Attempt<'static>: Send, Unpin);
static_assertions::assert_not_impl_any!(Attempt<'static>: Sync);
// Its other half is a future that is awaited where it is.
assert_impl_all!(Take: Send, Unpin);

assert_obj_safe!(RateLimiter);

#[cfg(feature = "sqlite")]
shareable!(
    tower_api_key::store::SqliteStore,
    tower_api_key::store::SqliteStoreBuilder
);

#[cfg(feature = "testing")]
shareable! {
    tower_api_key::testing::ManualClock, tower_api_key::testing::FaultStore<MemoryStore>, tower_api_key::testing::Faults,
    tower_api_key::testing::Fault, tower_api_key::testing::Gate,
}

/// A check moves between threads while it waits, and needs nothing of where it came from.
#[test]
fn a_check_can_be_spawned() {
    fn is_spawnable<T: Send + 'static>(_: &T) {}
    let check = {
        let authenticator = Authenticator::new(MemoryStore::new());
        let key = b"not a key".to_vec();
        authenticator.check(Attempt::new(&key).into_owned())
    };
    is_spawnable(&check);
}

/// Whoever has a store behind a type that cannot be cloned can still clone the authenticator.
#[test]
fn an_authenticator_is_cloned_whatever_its_store_is() {
    struct NotClone;
    impl tower_api_key::store::KeyStore for NotClone {
        async fn find(&self, _: &Lookup) -> Result<Option<Candidate>, StoreError> {
            Ok(None)
        }
    }
    let authenticator = Authenticator::new(NotClone);
    assert_eq!(authenticator.clone().realm(), "api");
}
