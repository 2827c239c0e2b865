//! The cache stays within its size in bytes, for keys of any size.

use std::fmt::Write;

use sha2::{Digest, Sha256};
use tower_api_key::key::{KeyRecord, KeySecret, Lookup, Metadata, Organization, RateLimit, SecretHash, Timestamp};
use tower_api_key::limit::{Allowance, Charge, Decision, RateLimiter, Take};
use tower_api_key::store::{Candidate, KeyStore, Sharing, StoreError};
use tower_api_key::{Authenticator, Fence};

use crate::house::{check, unknown_key};

const CACHE: u64 = 2 << 20;
const KEYS: usize = 8_000;

/// A record for every lookup, each with its own organization and its own texts.
struct MadeUp {
    texts: usize,
    limits: [usize; 2],
    fence: Fence,
}

impl MadeUp {
    fn limits(&self, place: usize, number: usize) -> Vec<RateLimit> {
        let limits = 0..self.limits[place];
        let named = limits.map(|limit| format!("{place}-{limit}-{number:0>width$}", width = self.texts.min(56)));
        let limit = |name: String| RateLimit::per_second(&name, u32::MAX).unwrap();
        named.map(limit).collect()
    }
}

impl KeyStore for MadeUp {
    async fn find(&self, lookup: &Lookup) -> Result<Option<Candidate>, StoreError> {
        let number: usize = lookup.as_str().trim_start_matches('Z').parse().unwrap();
        let text = format!("{number:0>width$}", width = self.texts);
        let mut organization = Organization::new(text.clone());
        organization.limits = self.limits(0, number);
        let created = Timestamp::from_millis(1_767_225_600_000);
        let mut record = KeyRecord::new(organization.id, text.clone(), created);
        record.prefix = "key".into();
        record.environment = Some("live".into());
        record.scopes = format!("a:{number:0>width$}", width = self.texts.min(60))
            .parse()
            .unwrap();
        record.limits = self.limits(1, number);
        if self.texts > 100 {
            let mut metadata = Metadata::default();
            metadata.set("note", &text).unwrap();
            record.metadata = metadata;
        }
        let mut hash = String::from("sha256:");
        for byte in Sha256::digest(unknown_key(number)) {
            write!(hash, "{byte:02x}").unwrap();
        }
        let secret = KeySecret::new(lookup.clone(), SecretHash::new(hash).unwrap(), created);
        Ok(Some(Candidate::new(record, secret, organization)))
    }

    fn fence(&self) -> Option<&Fence> {
        Some(&self.fence)
    }

    fn sharing(&self) -> Sharing {
        Sharing::Exclusive
    }
}

/// A limiter without buckets, because buckets have a bound of their own.
struct NoLimits;

impl RateLimiter for NoLimits {
    fn take(&self, _: &Charge<'_>) -> Take {
        Take::Now(Decision::Allowed(Allowance::default()))
    }

    fn is_immediate(&self) -> bool {
        true
    }
}

/// Checks more keys than fit, and returns the bytes in use as a part of the cache's size.
fn used(texts: usize, limits: [usize; 2]) -> f64 {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let store = MadeUp {
        texts,
        limits,
        fence: Fence::new(),
    };
    let mut authenticator = None;
    let empty = allocation_counter::measure(|| {
        let builder = Authenticator::builder(store).cache_bytes(CACHE).unwrap();
        authenticator = Some(builder.limiter(NoLimits).build());
    });
    let authenticator = authenticator.unwrap();
    let filled = allocation_counter::measure(|| {
        runtime.block_on(async {
            for number in 0..KEYS {
                assert!(check(&authenticator, &unknown_key(number)).await.is_ok());
            }
        });
    });
    let cached = authenticator.cached_keys();
    assert!((100..KEYS).contains(&cached), "{cached}");
    (empty.bytes_current + filled.bytes_current) as f64 / CACHE as f64
}

#[test]
fn cache_keeps_within_its_bytes_for_any_keys() {
    // A tenth is reserved for refusals, of which there are none, and the cells of limits stay empty.
    for (texts, limits) in [(8, [0, 0]), (8, [1, 1]), (255, [0, 0]), (200, [16, 0]), (200, [16, 16])] {
        let used = used(texts, limits);
        assert!(
            (0.5..=1.1).contains(&used),
            "texts of {texts}, {limits:?} limits: {used:.2}"
        );
    }
}
