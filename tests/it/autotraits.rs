//! Auto traits of the public types: users hold them across awaits, share them between threads and move them.
//!
//! Auto traits depend on private fields, so a change inside can break users although no signature changes.

use std::cell::Cell;
use std::convert::Infallible;
use std::error::Error;
use std::fmt::Debug;
use std::future::{Ready, ready};
use std::rc::Rc;
use std::task::{Context, Poll};

use http::{Request, Response};
use static_assertions::{assert_impl_all, assert_not_impl_any};
use tower_api_key::hash::{Argon2Params, HashPolicy, HashPool, HashPoolBuilder, InvalidHash, PoolError};
use tower_api_key::key::{
    ApiKey, GenerateError, GeneratedKey, KeyFormat, KeyFormatBuilder, KeyFormats, KeyId, KeyRecord, KeySecret, Lookup,
    Metadata, Networks, Organization, OrganizationId, ParsedKey, RateLimit, Revocation, Scope, ScopeSet, SecretHash,
    ServerSecret, ServerSecrets, Timestamp, UserId,
};
use tower_api_key::limit::{Allowance, Charge, Decision, Limited, LocalLimiter, RateLimiter, Take, Unlimited};
use tower_api_key::store::{Candidate, Change, DynStore, MemoryStore, StoreError, StoredKey};
use tower_api_key::{
    ApiKeyLayer, ApiKeyService, ApiKeysBuilder, AuthContext, Authenticator, ClientAddress, Clock, ConfigError, Fence,
    GrpcStatus, HeadersOnly, IssueError, IssueRequest, IssuedKey, Issuer, KeySource, Monotonic, ParseError,
    PresentedKey, Principal, ProblemJson, RateLimitHeaders, Rejection, RequireFuture, RequireHttps,
    RequireHttpsService, RequireScope, RequireScopeService, ResponseFuture,
};
use tower_service::Service;

/// For values that are shared between threads.
macro_rules! assert_shareable {
    ($($type:ty),* $(,)?) => { $(assert_impl_all!($type: Send, Sync, Unpin);)* };
}

assert_shareable!(
    Fence,
    Clock,
    Monotonic,
    ClientAddress,
    Argon2Params,
    HashPolicy,
    HashPool,
    HashPoolBuilder,
    ApiKey,
    GeneratedKey,
    KeyFormat,
    KeyFormatBuilder,
    KeyFormats,
    KeyId,
    KeyRecord,
    KeySecret,
    Lookup,
    Metadata,
    Networks,
    Organization,
    OrganizationId,
    Principal,
    ParsedKey<'static>,
    RateLimit,
    Revocation,
    Scope,
    ScopeSet,
    SecretHash,
    ServerSecret,
    ServerSecrets,
    Timestamp,
    UserId,
    Allowance,
    Charge<'static>,
    Decision,
    Limited,
    LocalLimiter,
    Unlimited,
    Candidate,
    Change,
    StoredKey,
    DynStore,
    MemoryStore,
    AuthContext,
    Authenticator<MemoryStore>,
    ApiKeysBuilder<MemoryStore>,
    Rejection,
    IssueRequest,
    IssuedKey,
    Issuer<MemoryStore>,
    ApiKeyLayer<MemoryStore>,
    RequireScope,
    RateLimitHeaders,
    RequireHttps,
    KeySource,
    ProblemJson,
    tower_api_key::errors::ErrorFormat,
    GrpcStatus,
    HeadersOnly,
);

#[cfg(feature = "sqlite")]
assert_shareable!(
    tower_api_key::store::SqliteStore,
    tower_api_key::store::SqliteStoreBuilder
);

#[cfg(feature = "postgres")]
assert_shareable!(
    tower_api_key::store::PostgresStore,
    tower_api_key::store::PostgresStoreBuilder
);

#[cfg(feature = "testing")]
assert_shareable!(
    tower_api_key::testing::FaultStore<MemoryStore>,
    tower_api_key::testing::Faults,
    tower_api_key::testing::Barrier,
    tower_api_key::testing::ManualClock,
);

// Values of one request need not be shared between threads.
assert_impl_all!(PresentedKey<'static>: Send, Unpin);
assert_impl_all!(Take: Send, Unpin);

// `?` converts errors to boxed and wrapped ones.
assert_impl_all!(ConfigError: Error, Send, Sync, Unpin);
assert_impl_all!(ParseError: Error, Send, Sync, Unpin);
assert_impl_all!(StoreError: Error, Send, Sync, Unpin);
assert_impl_all!(PoolError: Error, Send, Sync, Unpin);
assert_impl_all!(InvalidHash: Error, Send, Sync, Unpin);
assert_impl_all!(IssueError: Error, Send, Sync, Unpin);
assert_impl_all!(GenerateError: Error, Send, Sync, Unpin);

// One layer serves all connections.
assert_impl_all!(Fence: Clone, Debug);
assert_impl_all!(MemoryStore: Clone);
assert_impl_all!(Authenticator<Unclonable>: Clone);
assert_impl_all!(ApiKeyLayer<Unclonable>: Clone);
assert_impl_all!(AuthContext: Clone, Debug);
assert_impl_all!(dyn RateLimiter: Send, Sync);

/// A store that is not `Clone`, because stores need not be.
struct Unclonable;

// A service has exactly the auto traits of its inner service.
type Guarded<I> = ApiKeyService<I, MemoryStore, ProblemJson>;
assert_impl_all!(Guarded<()>: Send, Sync, Unpin, Clone);
assert_impl_all!(Guarded<Cell<()>>: Send);
assert_not_impl_any!(Guarded<Cell<()>>: Sync);
assert_not_impl_any!(Guarded<Rc<()>>: Send, Sync);
assert_impl_all!(RequireScopeService<(), ProblemJson>: Send, Sync, Unpin, Clone);
assert_impl_all!(RequireHttpsService<(), ProblemJson>: Send, Sync, Unpin, Clone);
assert_impl_all!(RequireFuture<Ready<()>, ()>: Send, Sync);

// So has its future: servers that spawn need `Send`, those on one thread do not.
type Answer<I> = ResponseFuture<I, ProblemJson, (), ()>;
assert_impl_all!(Answer<Inner<()>>: Send);
assert_not_impl_any!(Answer<Inner<Rc<()>>>: Send);

struct Inner<T>(T);

impl<T> Service<Request<()>> for Inner<T> {
    type Response = Response<()>;
    type Error = Infallible;
    type Future = Ready<Result<Response<()>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        ready(Ok(Response::new(())))
    }
}

/// Users spawn the future of a check on any runtime.
#[test]
fn check_futures_can_be_spawned() {
    fn is_spawnable<F: Future + Send + 'static>(_: &F) {}

    fn of(authenticator: &Authenticator<MemoryStore>, presented: PresentedKey<'_>, context: &AuthContext) {
        is_spawnable(&authenticator.check(presented));
        is_spawnable(&context.revoked());
    }
    let _ = of;
}
