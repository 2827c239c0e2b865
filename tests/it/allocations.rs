//! The check of a cached key with limits in memory allocates nothing.

use std::convert::Infallible;
use std::future::Future;
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use tower::{Layer, Service};
use tower_api_key::key::{Metadata, RateLimit, Scope};
use tower_api_key::store::MemoryStore;
use tower_api_key::{ApiKeyLayer, AuthContext, Authenticator, ClientAddress, IssueRequest, PresentedKey};

use crate::house::*;

const LIMITS: [&str; 4] = ["one", "two", "three", "four"];

fn limit(name: &str) -> RateLimit {
    RateLimit::per_second(name, 1_000_000).unwrap()
}

/// An authenticator with a cached key that has this many limits, half of them its organization's.
fn warm(limits: usize) -> (String, Authenticator<MemoryStore>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
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
            .check(presented_from(text(&issued), "192.0.2.7"))
            .await
            .unwrap();
        assert_eq!(first.allowance().len(), limits);
        (text(&issued).to_owned(), authenticator)
    })
}

/// Allocations of one warm check, whose context is used and dropped.
fn allocations(limits: usize) -> u64 {
    let (key, authenticator) = warm(limits);
    let scope: Scope = "orders:read".parse().unwrap();
    let address = "192.0.2.7".parse().ok();
    let check = || {
        let presented = PresentedKey::new(key.as_bytes())
            .client_address(address)
            .require_scope(&scope);
        let context = authenticator.try_check(presented).unwrap().unwrap();
        black_box((context.key_id(), context.name(), context.user(), context.allows(&scope)));
        black_box(context.allowance().map(|(_, state)| state.remaining()).sum::<u32>());
    };
    check();
    let info = allocation_counter::measure(|| {
        for _ in 0..100 {
            check();
        }
    });
    assert_eq!(info.count_current, 0, "a warm check keeps memory");
    info.count_total
}

#[test]
fn warm_check_allocates_nothing() {
    for limits in [0, 1, 2, 4] {
        assert_eq!(allocations(limits), 0, "with {limits} limits");
    }
}

fn request(key: &str) -> Request<()> {
    let mut request = Request::new(());
    let bearer = format!("Bearer {key}").parse().unwrap();
    request.headers_mut().insert("authorization", bearer);
    request
        .extensions_mut()
        .insert(ClientAddress("192.0.2.7".parse().unwrap()));
    request
}

/// Allocates nothing itself.
async fn inner(request: Request<()>) -> Result<Response<Bytes>, Infallible> {
    assert!(black_box(&request).extensions().get::<AuthContext>().is_some());
    Ok(Response::new(Bytes::new()))
}

/// Allocations of the layer's `call` with a ready inner service, and those until the response.
fn allocations_of_a_request(layer: &ApiKeyLayer<MemoryStore>, key: &str) -> (u64, u64) {
    let mut service = layer.layer(tower::service_fn(inner));
    let mut context = Context::from_waker(Waker::noop());
    let mut counted = (0, 0);
    // The first request prepares what the later ones share.
    for _ in 0..3 {
        let request = request(key);
        assert!(Service::<Request<()>>::poll_ready(&mut service, &mut context).is_ready());
        let mut future = None;
        let of_call = allocation_counter::measure(|| future = Some(service.call(request)));
        let mut future = pin!(future.unwrap());
        let mut answer = None;
        let of_answer = allocation_counter::measure(|| {
            if let Poll::Ready(Ok(response)) = future.as_mut().poll(&mut context) {
                answer = Some(response);
            }
        });
        assert_eq!(answer.unwrap().status(), 200);
        counted = (of_call.count_total, of_call.count_total + of_answer.count_total);
    }
    counted
}

#[test]
fn warm_request_allocates_only_for_its_context() {
    for limits in [0, 1, 2, 4] {
        let (key, authenticator) = warm(limits);
        let presented = PresentedKey::new(key.as_bytes()).client_address("192.0.2.7".parse().ok());
        let context = authenticator.try_check(presented).unwrap().unwrap();
        let mut by_hand = request(&key);
        let inserted = allocation_counter::measure(|| {
            by_hand.extensions_mut().insert(context);
        });
        let mut answer = Response::new(());
        let fields = allocation_counter::measure(|| {
            let fields = answer.headers_mut();
            fields.insert("vary", HeaderValue::from_static("authorization, x-api-key"));
            fields.insert("cache-control", HeaderValue::from_static("private"));
        });
        assert!(inserted.count_total > 0 && fields.count_total > 0);

        let layer = ApiKeyLayer::from(authenticator);
        let silent = layer.clone().success_headers(false);
        let expected = (inserted.count_total, inserted.count_total);
        assert_eq!(allocations_of_a_request(&silent, &key), expected, "{limits} limits");
        // The two rate-limit headers are prepared before the handler gets the context: each is a text, in one box.
        let texts = if limits == 0 { 0 } else { 3 };
        let (call, whole) = allocations_of_a_request(&layer, &key);
        assert_eq!(call, inserted.count_total + texts, "{limits} limits");
        if limits == 0 {
            assert_eq!(whole, call + fields.count_total);
        }
    }
}

/// Shows that the counter counts.
#[test]
fn counter_sees_an_allocation() {
    let info = allocation_counter::measure(|| {
        black_box(presented(&unknown_key(1)));
    });
    assert!(info.count_total > 0);
}
