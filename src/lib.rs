//! API keys for Rust services: a [Tower](tower_service) layer that checks a key inside the process, and the life of keys
//! around it.
//!
//! For services on axum, tonic or hyper. [`ApiKeyLayer`] takes the key from `Authorization` or `x-api-key`, finds its
//! record in a [`KeyStore`](store::KeyStore), verifies it (Argon2id by default), judges state, expiry, networks and
//! limits, and puts an [`AuthContext`] into the request's extensions; or refuses, and tells a stranger nothing.
//! [`Issuer`] issues, rotates, disables and revokes keys. Once a key is known, checking it again costs no Argon2, no I/O
//! and well under a microsecond, and still a revoke that has returned is final.
//!
//! ```
//! use axum::{Router, routing::get};
//! use tower_api_key::store::MemoryStore;
//! use tower_api_key::{ApiKeyLayer, AuthContext, IssueRequest, Issuer};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = MemoryStore::new();
//! let issuer = Issuer::new(store.clone())?;
//! let acme = issuer.create_organization("acme").await?;
//! let issued = issuer.issue(IssueRequest::new(acme.id, "first key")).await?;
//! println!("{}", issued.key.expose_secret()); // shown once, stored nowhere
//!
//! let app: Router = Router::new()
//!     .route("/whoami", get(|auth: AuthContext| async move { auth.organization().name.clone() }))
//!     .route_layer(ApiKeyLayer::new(store));
//! # let _ = app;
//! # Ok(())
//! # }
//! ```
//!
//! # The way of a request
//!
//! `middleware` → `check` → (`cache`, [`store`], [`hash`], `policy`, [`limit`]) → [`AuthContext`]. `docs/design.md` in the
//! repository tells what each of them guarantees, and why.
//!
//! # What it tells
//!
//! Every outcome is a [`tracing`] event of target `tower_api_key::audit`: admitted requests at DEBUG, refused ones at INFO
//! with their `reason`, a store that fails at WARN, a record that cannot be used, a broken hash pool and a store that
//! panics at ERROR; of each but the admitted at most 100 a second, and `left_out` counts the others. Fields are
//! `outcome`, `reason`, `key`, `organization`, `user`, `lookup`, `client`; never a secret.
//!
//! Refusals of keys that were verified, such as revoked ones, have a hundred a second of their own: requests without a
//! right key do not crowd them out.
//!
//! With feature `metrics`, for a recorder that is installed before the first request:
//!
//! | metric | what |
//! |---|---|
//! | `api_key_checks_total{outcome}` | `admitted`, or why not: [`RejectionKind::as_str`]. A request that was admitted and then lacks the scope of its route counts as both |
//! | `api_key_cache_total{result}` | `hit`, `stale` (one read), `miss` |
//! | `api_key_verify_seconds` | time from asking for a hash to its result, the queue included |
//! | `api_key_verify_queue`, `api_key_loads_in_flight` | checks that wait for a hash, the one being made included, and loads under way |
//! | `api_key_limit_overflow_total` | charges that found no room for a bucket of their own |
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `axum` | yes | [`AuthContext`] and `Option<AuthContext>` as handler arguments; depends on axum-core alone |
//! | `sqlite` | | `SqliteStore`: keys in one file, SQLite bundled |
//! | `legacy-hashes` | | bcrypt hashes of other systems verify |
//! | `metrics` | | counters and histograms through the `metrics` facade |
//! | `serde` | | the wire form of records, limits, scopes, times and ids; secrets and hashes have none |
//! | `testing` | | the store conformance kit, a manual clock, a store with faults, for tests of your own code |
//! | `full` | | all of these |
//!
//! Without features there is no SQL, no web framework and no TLS in the tree.
#![cfg_attr(docsrs, feature(doc_cfg))]

// Compiles what the README tells people to paste.
#[cfg(all(doctest, feature = "axum", feature = "sqlite"))]
#[doc = include_str!("../README.md")]
mod readme {}

/// Whatever the compiler. Why each of them does not, `tests/compile_fail.rs` sees, for one version of it.
#[cfg(doctest)]
mod must_not_compile {
    macro_rules! cases {
        ($($case:ident)*) => {$(
            #[doc = concat!("```compile_fail\n", include_str!(concat!("../tests/ui/", stringify!($case), ".rs")), "```")]
            mod $case {}
        )*};
    }

    cases! {
        a_check_is_not_overlooked
        a_new_key_is_not_overlooked
        a_refusal_is_not_overlooked
        context_has_no_constructor
        context_is_not_made_outside
    }
}

pub mod audit;
/// How this crate is built, and why: the page `docs/design.md` of the repository.
#[doc = include_str!("../docs/design.md")]
pub mod manual {}

mod check;
mod client;
mod clock;
mod error;
mod fence;
pub mod hash;
mod issue;
pub mod key;
mod keys;
pub mod limit;
pub mod middleware;
pub mod store;
mod sync;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use self::check::{
    ApiKeysBuilder, AuthContext, Authenticator, PresentedKey, Rejection, RejectionClass, RejectionKind,
};
pub use self::clock::{Clock, Monotonic};
pub use self::error::{ConfigError, ParseError};
pub use self::fence::Fence;
pub use self::issue::{IssueError, IssueErrorKind, IssueRequest, IssuedKey, Issuer, NoActor};
pub use self::keys::ApiKeys;
pub use self::middleware::address::ClientAddress;
#[cfg(feature = "axum")]
pub use self::middleware::extract::MissingAuthContext;
pub use self::middleware::future::ResponseFuture;
pub use self::middleware::grpc::GrpcStatus;
pub use self::middleware::layer::ApiKeyLayer;
pub use self::middleware::problem::ProblemJson;
pub use self::middleware::require::RequireFuture;
pub use self::middleware::require_https::{RequireHttps, RequireHttpsService};
pub use self::middleware::require_scope::{RequireScope, RequireScopeService};
pub use self::middleware::respond::{HeadersOnly, Respond, respond_fn};
pub use self::middleware::service::ApiKeyService;
pub use self::middleware::source::KeySource;
pub use self::middleware::success::RateLimitHeaders;
