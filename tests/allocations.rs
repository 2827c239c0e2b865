//! The warm way allocates nothing: a known key, with its limits decided in memory.
#![allow(clippy::unwrap_used, clippy::expect_used)]
#![cfg(feature = "testing")]

mod house;

use std::hint::black_box;
use std::num::NonZeroU32;
use std::time::Duration;

use house::*;
use tower_api_key::key::{Metadata, RateLimit, Scope};
use tower_api_key::store::MemoryStore;
use tower_api_key::{Attempt, Authenticator, IssueRequest};

const LIMITS: [&str; 4] = ["one", "two", "three", "four"];

fn limit(name: &str) -> RateLimit {
    RateLimit::new(name, NonZeroU32::new(1_000_000).unwrap(), Duration::from_secs(1)).unwrap()
}

/// Allocations of one warm check of a key with so many limits, half of them its organization's; the context is used and
/// dropped.
fn allocations(limits: usize) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (key, authenticator) = runtime.block_on(async {
        let store = MemoryStore::new();
        let issuer = issuer(&store);
        let acme = issuer.create_organization("acme").await.unwrap();
        let (of_key, of_organization) = LIMITS[..limits].split_at(limits.div_ceil(2));
        let share = |acme: &mut tower_api_key::key::Organization| {
            acme.limits = of_organization.iter().map(|name| limit(name)).collect();
        };
        issuer.update_organization(acme.id, share).await.unwrap();
        let mut metadata = Metadata::default();
        metadata.set("team", "exports").unwrap();
        let mut request = IssueRequest::new(acme.id, "nightly export")
            .user("u-17".parse().unwrap())
            .scopes("orders:read orders:write".parse().unwrap())
            .networks("192.0.2.0/24".parse().unwrap())
            .metadata(metadata);
        for name in of_key {
            request = request.limit(limit(name));
        }
        let issued = issuer.issue(request).await.unwrap();
        let authenticator = Authenticator::new(store);
        let first = authenticator
            .check(attempt_from(text(&issued), "192.0.2.7"))
            .await
            .unwrap();
        assert_eq!(first.allowance().len(), limits);
        (text(&issued).to_owned(), authenticator)
    });
    let scope: Scope = "orders:read".parse().unwrap();
    let address = "192.0.2.7".parse().ok();
    let check = || {
        let attempt = Attempt::new(key.as_bytes())
            .client_address(address)
            .require_scope(&scope);
        let context = authenticator.try_check(&attempt).unwrap().unwrap();
        black_box((context.key_id(), context.name(), context.user(), context.allows(&scope)));
        black_box(context.allowance().map(|(_, state)| state.remaining()).sum::<u32>());
    };
    check();
    let info = allocation_counter::measure(|| {
        for _ in 0..100 {
            check();
        }
    });
    assert_eq!(info.count_current, 0, "something is kept");
    info.count_total
}

#[test]
fn a_warm_check_allocates_nothing() {
    for limits in [0, 1, 2, 4] {
        assert_eq!(allocations(limits), 0, "with {limits} limits");
    }
}

/// The counter counts: what has to allocate is seen to.
#[test]
fn a_check_of_another_lookup_allocates() {
    let info = allocation_counter::measure(|| {
        black_box(attempt(&unknown_key(1)));
    });
    assert!(info.count_total > 0);
}
