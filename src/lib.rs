//! API key authentication for Rust services: a [Tower](tower_service) layer for axum, tonic and hyper that verifies keys in
//! your own process, with issuing, rotation, revocation, scopes and rate limits.
//!
//! [`ApiKeys`] is the handle over a store of keys. Its [layer](ApiKeys::layer) reads the key from `Authorization: Bearer` or
//! `x-api-key`, verifies it, and inserts an [`AuthContext`] into the request's extensions; other requests it refuses. Its
//! [issuer](ApiKeys::issuer) issues, rotates, disables and revokes keys.
//!
//! ```
//! use axum::{Router, routing::get};
//! use tower_api_key::key::Actor;
//! use tower_api_key::{ApiKeys, AuthContext, IssueRequest};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let keys = ApiKeys::open("memory:").await?; // or "sqlite:keys.db", "postgres://…", with their features
//! let issuer = keys.issuer().acting_as(Actor::user("alice")); // the audit trail names her
//! let acme = issuer.create_organization("acme").await?;
//! let issued = issuer.issue(IssueRequest::new(acme.id, "first key")).await?;
//! println!("{}", issued.key.expose_secret()); // the only time: the store keeps a hash
//!
//! let app: Router = Router::new()
//!     .route("/whoami", get(|auth: AuthContext| async move { auth.organization().name.clone() }))
//!     .route_layer(keys.layer());
//! # use tower::ServiceExt;
//! # let ask = |key: &str| http::Request::get("/whoami").header("x-api-key", key).body(axum::body::Body::empty());
//! # assert_eq!(app.clone().oneshot(ask(issued.key.expose_secret())?).await?.status(), 200);
//! # assert_eq!(app.oneshot(ask("not-a-key")?).await?.status(), 401);
//! # Ok(())
//! # }
//! ```
//!
//! A cached key is verified again without hashing and without I/O, in about half a microsecond. A revoke that has returned is
//! final all the same: no request passes after it. Every invalid key gets the same 401 response, byte for byte, so callers
//! cannot probe why.
//!
//! # Where to look
//!
//! | for | see |
//! |---|---|
//! | settings of formats, hashes, cache and limits | [`ApiKeys::builder`], or a file: `config`, with feature `file` |
//! | the layer's rules and settings | [`middleware`], [`ApiKeyLayer`] |
//! | scopes and HTTPS for routes | [`RequireScope`], [`RequireHttps`] |
//! | responses to refused requests | [`Respond`], [`ProblemJson`], [`errors`], [`GrpcStatus`], [`Rejection`] |
//! | checking a key without HTTP | [`Authenticator`] |
//! | issuing, rotation, revocation, canaries, keys that manage keys | [`Issuer`], [`IssueRequest`], [`guide::keys`] |
//! | organizations, plans, policies, roles | [`guide::organizations`], [`OrganizationRequest`] |
//! | users, many keys at once | [`guide::users`], [`UserRequest`], [`KeySelection`] |
//! | every operation, and the call for it | [`guide::operations`] |
//! | last use, statistics, hygiene, maintenance | [`last_use`], [`Hygiene`], [`Maintenance`] |
//! | key formats, records, scopes | [`key`] |
//! | root keys, which seal stored secrets | [`secrets`] |
//! | hash schemes, and the pool that runs them | [`hash`] |
//! | rate limits | [`limit`] |
//! | usage: what each key was used for, counted once | [`usage`], [`MeterLayer`] |
//! | stores, and how to write one | [`store`] |
//! | audit events; the trail, verified, anchored, exported | [`audit`], [`AuditTrail`], [`Issuer::export_audit`] |
//! | proxies, browsers, sockets | [`deploying`] |
//! | clients in curl, Python and JavaScript | [`guide::authentication`] |
//! | how keys stay secret; what a refusal or a message means | [`guide::best_practice`], [`guide::troubleshooting`] |
//! | keys of another system | [`guide::migration`] |
//! | architecture and guarantees | [`manual`] |
//!
//! # Logging and metrics
//!
//! Every outcome of a check is a [`tracing`] event with the target `tower_api_key::audit` and the fields `outcome`, `reason`,
//! `key`, `organization`, `user`, `lookup` and `client`. No field ever holds a secret.
//!
//! A refusal that is a security event has its name in the field `security`. Committed changes have the target
//! `tower_api_key::audit::change`, ends of audit chains `tower_api_key::audit::anchor`: see [`audit`].
//!
//! | level | events |
//! |---|---|
//! | DEBUG | admitted requests |
//! | INFO | refused requests |
//! | WARN | failures of the store |
//! | ERROR | records that cannot be used, failures of the hash pool, panics of the store |
//!
//! Each kind except admitted requests is limited to 100 events a second; the field `left_out` counts those that were dropped.
//! Refusals of verified keys, such as revoked ones, have a limit of their own, so a flood of wrong keys does not hide them.
//!
//! With feature `metrics`, the layer records these metrics. Install the recorder before the first request.
//!
//! | metric | meaning |
//! |---|---|
//! | `api_key_checks_total{outcome}` | checks by outcome: `admitted` or a [`RejectionKind`]. A request that was admitted and then lacks a scope of its route counts twice |
//! | `api_key_cache_total{result}` | cache lookups: `hit`, `stale` (one read from the store) or `miss` |
//! | `api_key_verify_seconds` | time from requesting a hash to its result, including the queue |
//! | `api_key_verify_queue` | checks that wait for a hash, including those whose hash is running |
//! | `api_key_loads_in_flight` | loads from the store in progress |
//! | `api_key_database_clock_skew_seconds` | by how much the clock of a PostgreSQL differs from this machine's |
//! | `api_key_lost_changes_total` | revokes and narrowings that a database lacked and its revocation journal had, as after a restored backup: taken again before the first answer. Raise an alarm: other changes of that time are lost |
//! | `api_key_file_reloads_total{result}` | changes of a `FileStore`'s file: `taken` or `failed` |
//! | `api_key_usage_events_total{result}` | usage events of a [`usage::Meter`]: `accepted`, `stored` or `dropped` |
//! | `api_key_usage_queued` | those that wait |
//! | `api_key_limit_overflow_total` | rate-limit charges without room for a bucket of their own |
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `axum` | yes | [`AuthContext`] and `Option<AuthContext>` as handler arguments; depends on axum-core alone |
//! | `sqlite` | | `SqliteStore`: keys in one file, SQLite bundled, WAL |
//! | `postgres` | | `PostgresStore`: keys in a PostgreSQL database that several servers share |
//! | `postgres-tls` | | TLS to PostgreSQL on another machine: rustls with `ring` |
//! | `file` | | `FileStore`: keys in a TOML or JSON file, or in an environment variable; settings in a configuration file: module `config` |
//! | `legacy-hashes` | | bcrypt hashes of other systems verify; SHA-256, SHA-512 and Argon2id always do |
//! | `manage` | | `ApiKeys::manage`: a management API as an axum router, with its OpenAPI document |
//! | `metrics` | | counters and histograms through the `metrics` facade |
//! | `serde` | | a stable JSON form of records, limits, scopes and timestamps |
//! | `testing` | | store conformance kit, manual clock, a store with faults, for tests of your own code |
//! | `full` | | all of these |
//! | `cli` | | the program `api-keys`, with what it needs; no part of `full` |
//! | `otlp` | | `cli` with traces: `api-keys serve --otlp URL` sends OpenTelemetry spans; no part of `full` |
//!
//! Without features there is no SQL, no web framework and no TLS in the dependency tree.
#![cfg_attr(docsrs, feature(doc_cfg))]

// Compiles and runs the examples of the README.
#[cfg(all(doctest, feature = "full"))]
#[doc = include_str!("../README.md")]
mod readme {}

/// Cases that no compiler may accept. `tests/compile_fail.rs` compares the errors of one version.
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
/// Responders that answer as well-known APIs do, so that their client libraries raise the right errors.
pub mod errors {
    pub use crate::middleware::errors::{ErrorFormat, anthropic, openai, stripe};
}
/// Architecture and guarantees: the page `docs/design.md` of the repository.
#[doc = include_str!("../docs/design.md")]
pub mod manual {}

/// Behind proxies, for browsers, on Unix sockets: the page `docs/deploying.md` of the repository.
#[doc = include_str!("../docs/deploying.md")]
pub mod deploying {}

/// Keys in PostgreSQL, for operators: the page `docs/postgresql.md` of the repository.
#[doc = include_str!("../docs/postgresql.md")]
pub mod postgresql {}

/// Keys, organizations and users, with examples, and guides for clients and operators: pages of the repository's folder `docs`. Others stand with the modules that they
/// are about: [audit], [maintenance], [secrets], [deploying], [postgresql], and the [architecture](manual).
///
#[doc = include_str!("pages.md")]
pub mod guide {
    // Of two links with one name the first one holds, so those of the pages lead to modules here, and to files elsewhere.
    #[doc = include_str!("pages.md")]
    #[doc = include_str!("../docs/keys.md")]
    pub mod keys {}

    #[doc = include_str!("pages.md")]
    #[doc = include_str!("../docs/operations.md")]
    pub mod operations {}

    #[doc = include_str!("pages.md")]
    #[doc = include_str!("../docs/organizations.md")]
    pub mod organizations {}

    #[doc = include_str!("../docs/users.md")]
    pub mod users {}

    #[doc = include_str!("pages.md")]
    #[doc = include_str!("../docs/authentication.md")]
    pub mod authentication {}

    #[doc = include_str!("pages.md")]
    #[doc = include_str!("../docs/best-practice.md")]
    pub mod best_practice {}

    #[doc = include_str!("pages.md")]
    #[doc = include_str!("../docs/troubleshooting.md")]
    pub mod troubleshooting {}

    #[doc = include_str!("pages.md")]
    #[doc = include_str!("../docs/usage.md")]
    pub mod usage {}

    #[doc = include_str!("pages.md")]
    #[doc = include_str!("../docs/migration.md")]
    pub mod migration {}
}

mod check;
mod client;
mod clock;
mod compact;
#[cfg(feature = "file")]
pub mod config;
mod error;
mod fence;
pub mod hash;
mod issue;
pub mod key;
mod keys;
pub mod last_use;
pub mod limit;
#[cfg(feature = "manage")]
#[allow(unused_qualifications, reason = "code that utoipa makes has them")]
mod manage;
pub mod middleware;
mod owner;
pub mod secrets;
pub mod store;
mod sync;
mod telemetry;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod usage;

pub use self::check::{
    ApiKeysBuilder, AuthContext, Authenticator, PresentedKey, Rejection, RejectionClass, RejectionKind,
};
pub use self::clock::{Clock, Monotonic};
pub use self::error::{ConfigError, ParseError};
pub use self::fence::Fence;
pub use self::issue::{
    Adopt, AuditAnchors, AuditError, AuditErrorKind, AuditTrail, BulkChange, Descendants, Ensured, ExportFormat,
    IfUsed, IssueError, IssueErrorKind, IssueRequest, IssuedKey, Issuer, KeySelection, NoActor, OnceIssued,
    OrganizationDeletion, OrganizationRequest, PolicyEffect, Principal, RowRevision, Sees, SelectedKeys,
    SelectionDigest, UserRequest, VerifiedTrail,
};
pub use self::keys::ApiKeys;
#[cfg(feature = "manage")]
pub use self::manage::Manage;
pub use self::middleware::address::ClientAddress;
#[cfg(feature = "axum")]
pub use self::middleware::extract::MissingAuthContext;
pub use self::middleware::future::ResponseFuture;
pub use self::middleware::grpc::GrpcStatus;
pub use self::middleware::layer::ApiKeyLayer;
pub use self::middleware::members::{Members, PublicRejection};
pub use self::middleware::meter::body::MeteredBody;
pub use self::middleware::meter::future::MeterFuture;
pub use self::middleware::meter::layer::{MeterLayer, MeterService};
pub use self::middleware::meter::request_body::CountedBody;
pub use self::middleware::others::Others;
pub use self::middleware::problem::ProblemJson;
pub use self::middleware::require::RequireFuture;
pub use self::middleware::require_https::{RequireHttps, RequireHttpsService};
pub use self::middleware::require_scope::{RequireScope, RequireScopeService};
pub use self::middleware::respond::{HeadersOnly, Respond, respond_fn};
pub use self::middleware::service::ApiKeyService;
pub use self::middleware::source::KeySource;
pub use self::middleware::success::RateLimitHeaders;

pub use self::issue::{
    Finding, Hygiene, HygieneReport, KeyFindings, Maintenance, MaintenanceReport, Task, TaskOutcome,
};
