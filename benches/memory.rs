//! The memory of a cached key, and of its limits: `cargo bench -- memory`.
//!
//! A million keys of one organization are checked once each. The growth of allocated memory, divided by the number of keys, is
//! the figure: it includes the entries and the cache's tables with their spare room. It counts the bytes requested from the
//! allocator, which are the same on every machine. The growth of resident memory is printed beside it.
//!
//! The keys share their scopes and limits, like the keys of one plan. Each record comes with texts of its own; the crate keeps
//! equal ones once. The memory of a key that shares nothing is printed too.
//!
//! The store makes up each record when it is read and keeps none, so nothing has to be subtracted for it. The limiter is
//! switched on when all keys are cached, so a second check of each key adds only the state of its limits.
//!
//! It is a program of its own, because counting allocations makes them slower, and the other benches measure time.
#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    unreachable_pub
)]

/// Shared with the other benches, which must not count allocations.
mod support {
    pub mod arguments;
    pub mod bounds;
    pub mod text;
}

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sha2::{Digest, Sha256};
use tokio::runtime::Runtime;
use tower_api_key::key::{KeyRecord, KeySecret, Lookup, Organization, RateLimit, SecretHash, Timestamp};
use tower_api_key::limit::{Allowance, Charge, Decision, LocalLimiter, RateLimiter, Take};
use tower_api_key::store::{Candidate, KeyStore, Sharing, StoreError};
use tower_api_key::{Authenticator, Fence, PresentedKey};

use self::support::arguments::{is_bench, words};
use self::support::bounds::Bounds;
use self::support::text::with_checksum;

const KEYS: u32 = 1_000_000;
/// Room for all keys.
const CACHE_BYTES: u64 = 1 << 30;

fn main() -> ExitCode {
    if !is_bench() || words().next().is_some_and(|bench| bench != "memory") {
        return ExitCode::SUCCESS;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let mut bounds = Bounds::default();
    println!("{KEYS} keys of one organization, each with 3 scopes, 1 limit and no metadata:");
    let (authenticator, limiter) = authenticator(Kind::Alike);
    let keys = held(|| check_all(&runtime, &authenticator));
    bounds.check("bytes per cached key", keys.allocated, ..=320.0);
    println!("  resident: {:.0}", keys.resident);
    limiter.is_on.store(true, Ordering::Relaxed);
    let limits = held(|| check_all(&runtime, &authenticator));
    println!(
        "bytes per limit beside its key: {:.0}, resident: {:.0}",
        limits.allocated, limits.resident
    );
    assert_eq!(limiter.limiter.buckets(), KEYS as usize);
    drop(authenticator);
    let (authenticator, _) = self::authenticator(Kind::Different);
    let keys = held(|| check_all(&runtime, &authenticator));
    println!(
        "bytes per cached key that shares no scopes and no limit: {:.0}",
        keys.allocated
    );
    bounds.exit_code()
}

/// Bytes for each key.
struct Held {
    allocated: f64,
    resident: f64,
}

/// How much more memory is held after the work than before.
fn held(work: impl FnOnce()) -> Held {
    let before = resident();
    let allocations = allocation_counter::measure(work);
    Held {
        allocated: allocations.bytes_current as f64 / f64::from(KEYS),
        resident: (resident() - before) / f64::from(KEYS),
    }
}

fn authenticator(kind: Kind) -> (Authenticator<MadeUp>, Arc<Switched>) {
    let limiter = Arc::new(Switched {
        is_on: AtomicBool::new(false),
        limiter: LocalLimiter::new(),
    });
    let authenticator = Authenticator::builder(MadeUp::new(kind))
        .cache_bytes(CACHE_BYTES)
        .expect("a size")
        .limiter(limiter.clone())
        .build();
    (authenticator, limiter)
}

fn check_all(runtime: &Runtime, authenticator: &Authenticator<MadeUp>) {
    runtime.block_on(async {
        for number in 0..KEYS {
            let text = text_of(&format!("{number:012}"));
            let checked = authenticator.check(PresentedKey::new(text.as_bytes())).await;
            assert!(checked.is_ok());
        }
    });
    assert_eq!(authenticator.cached_keys(), KEYS as usize, "some were evicted");
}

/// A limiter that keeps nothing until it is switched on.
struct Switched {
    is_on: AtomicBool,
    limiter: LocalLimiter,
}

impl RateLimiter for Switched {
    fn take(&self, charge: &Charge<'_>) -> Take {
        if self.is_on.load(Ordering::Relaxed) {
            self.limiter.take(charge)
        } else {
            Take::Now(Decision::Allowed(Allowance::default()))
        }
    }

    fn is_immediate(&self) -> bool {
        true
    }
}

/// Whether keys share their scopes and limits.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Alike,
    Different,
}

/// A record for every lookup.
struct MadeUp {
    kind: Kind,
    organization: Organization,
    fence: Fence,
}

impl MadeUp {
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            organization: Organization::new("acme"),
            fence: Fence::new(),
        }
    }
}

impl KeyStore for MadeUp {
    async fn find(&self, lookup: &Lookup) -> Result<Option<Candidate>, StoreError> {
        let created = Timestamp::from_millis(1_767_225_600_000);
        let mut record = KeyRecord::new(self.organization.id, format!("key {}", lookup.as_str()), created);
        record.prefix = "key".into();
        record.environment = Some("live".into());
        let number = match self.kind {
            Kind::Alike => "0".repeat(12),
            Kind::Different => lookup.as_str().to_owned(),
        };
        let scopes = format!("orders:read orders:write invoices:{number}");
        record.scopes = scopes.parse().expect("valid scopes");
        let name = format!("per-{number}");
        record.limits = vec![RateLimit::per_minute(&name, 100).expect("a valid limit")];
        let digest = Sha256::digest(text_of(lookup.as_str()).as_bytes());
        let mut hash = String::from("sha256:");
        for byte in digest {
            hash.push_str(&format!("{byte:02x}"));
        }
        let secret = KeySecret::new(lookup.clone(), SecretHash::new(hash).expect("a hash"), created);
        Ok(Some(Candidate::new(record, secret, self.organization.clone())))
    }

    fn fence(&self) -> Option<&Fence> {
        Some(&self.fence)
    }

    fn sharing(&self) -> Sharing {
        Sharing::Exclusive
    }
}

/// The key with this lookup; all have the same secret.
fn text_of(lookup: &str) -> String {
    with_checksum(&format!("key_live_{lookup}{:0>32}", ""))
}

/// The resident memory of this process in bytes; NaN where it is not known.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    kibibytes.map_or(f64::NAN, |kibibytes| kibibytes * 1024.0)
}
