//! Refusals without a check are recorded like all others, with their reason and client.

#[cfg(feature = "testing")]
use std::time::Duration;

use http::{Request, StatusCode};
use tower::{Layer, ServiceExt};
use tower_api_key::key::RateLimit;
#[cfg(feature = "testing")]
use tower_api_key::{ApiKeyLayer, Authenticator};
use tower_api_key::{ClientAddress, KeySource, RequireScope};
use tracing::Level;

use crate::support::audit::Audit;
use crate::support::{Echo, House, ask, bearer, request, text, wrong_secret};

const PEER: &str = "192.0.2.7";

fn from_peer(mut request: Request<()>) -> Request<()> {
    request.extensions_mut().insert(ClientAddress(PEER.parse().unwrap()));
    request
}

/// The record of the one refusal since the last call.
fn recorded(audit: &Audit, seen: &mut usize) -> String {
    let refusals = audit.of_level(Level::INFO);
    assert_eq!(refusals.len(), *seen + 1, "{refusals:#?}");
    *seen += 1;
    refusals.last().unwrap().fields.clone()
}

fn assert_recorded(fields: &str, reason: &str) {
    assert!(fields.contains("outcome=\"refused\""), "{fields}");
    assert!(fields.contains(&format!("reason=\"{reason}\"")), "{fields}");
    assert!(fields.contains(&format!("client={PEER} ")), "{fields}");
}

#[tokio::test]
async fn refusals_of_all_layers_are_recorded_with_client() {
    let house = House::new().await;
    let key = house.key().await;
    let (audit, _guard) = Audit::start();
    let mut seen = 0;

    let layer = house.layer().source(KeySource::basic()).unwrap();
    for (lines, reason) in [
        (&[][..], "missing_credential"),
        (
            &[("x-api-key", "a"), ("authorization", "Bearer b")],
            "multiple_credentials",
        ),
        (&[("authorization", "Basic !")], "malformed_key"),
        (&[("x-api-key", "rubbish")], "malformed_key"),
    ] {
        let response = ask(&layer, from_peer(request(lines))).await;
        assert!(response.status().is_client_error());
        assert_recorded(&recorded(&audit, &mut seen), reason);
    }

    let scoped = || RequireScope::new("orders:write".parse().unwrap()).layer(Echo::default());
    let response = layer.layer(scoped()).oneshot(from_peer(bearer(&key))).await.unwrap();
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    let fields = recorded(&audit, &mut seen);
    assert_recorded(&fields, "insufficient_scope");
    assert!(fields.contains("key=") && fields.contains("lookup="), "{fields}");

    let optional = house.layer().optional();
    let response = optional.layer(scoped()).oneshot(from_peer(request(&[]))).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_recorded(&recorded(&audit, &mut seen), "missing_credential");

    let https = layer
        .require_https("x-forwarded-proto", "10.0.0.0/8".parse().unwrap())
        .unwrap();
    let service = https.layer(Echo::default());
    let response = service.oneshot(from_peer(bearer(&key))).await.unwrap();
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    assert_recorded(&recorded(&audit, &mut seen), "insecure_transport");
}

#[tokio::test]
async fn admissions_are_recorded_with_client() {
    let house = House::new().await;
    let key = house.key().await;
    let (audit, _guard) = Audit::start();
    for _ in 0..2 {
        assert_eq!(
            ask(&house.layer(), from_peer(bearer(&key))).await.status(),
            StatusCode::OK
        );
    }
    let admitted = audit.of_level(Level::DEBUG);
    assert_eq!(admitted.len(), 2, "{admitted:#?}");
    for event in admitted {
        for field in [
            "outcome=\"admitted\"",
            "key=",
            "organization=",
            "lookup=",
            &format!("client={PEER} "),
        ] {
            assert!(event.fields.contains(field), "{field} in {}", event.fields);
        }
    }
}

#[tokio::test]
async fn refusal_names_owner_of_verified_key_only() {
    let house = House::new().await;
    let request = house.request().user("alice".parse().unwrap());
    let request = request.limit(RateLimit::per_minute("requests", 1).unwrap());
    let issued = house.issue(request).await;
    let key = text(&issued);
    let layer = house.layer();
    assert_eq!(ask(&layer, from_peer(bearer(&key))).await.status(), StatusCode::OK);
    let (audit, _guard) = Audit::start();
    let mut seen = 0;
    let owner = format!(
        "key={} organization={} user=\"alice\" ",
        issued.record.id, house.organization.id
    );

    ask(&layer, from_peer(bearer(&key))).await;
    let limited = recorded(&audit, &mut seen);
    assert_recorded(&limited, "rate_limited");
    assert!(limited.contains(&owner), "{limited}");

    ask(&layer, from_peer(bearer(&wrong_secret(&key)))).await;
    let wrong = recorded(&audit, &mut seen);
    assert_recorded(&wrong, "wrong_secret");
    assert!(!wrong.contains("user=") && !wrong.contains("key="), "{wrong}");

    house.issuer.revoke(issued.record.id, "lost").await.unwrap();
    ask(&layer, from_peer(bearer(&key))).await;
    let revoked = recorded(&audit, &mut seen);
    assert_recorded(&revoked, "key_revoked");
    assert!(revoked.contains(&owner), "{revoked}");
}

#[tokio::test]
async fn client_named_by_trusted_proxy_is_recorded() {
    let layer = House::new().await.layer();
    let layer = layer
        .trusted_proxies("x-forwarded-for", "10.0.0.0/8".parse().unwrap())
        .unwrap();
    let (audit, _guard) = Audit::start();
    let mut request = request(&[("x-forwarded-for", PEER)]);
    request
        .extensions_mut()
        .insert(ClientAddress("10.0.0.1".parse().unwrap()));
    let _ = ask(&layer, request).await;
    assert_recorded(&recorded(&audit, &mut 0), "missing_credential");
}

#[tokio::test]
async fn missing_client_address_is_warned_once_per_layer() {
    let house = House::new().await;
    let (audit, _guard) = Audit::start();
    let warnings = || audit.all_of_level(Level::WARN).len();
    let layer = house.layer();
    let known = bearer(&house.key().await);
    assert_eq!(ask(&layer, from_peer(known)).await.status(), StatusCode::OK);
    assert_eq!(warnings(), 0, "the address is known");

    for _ in 0..3 {
        let key = house.key().await;
        assert_eq!(ask(&layer, bearer(&key)).await.status(), StatusCode::OK);
        assert_eq!(warnings(), 1, "{:#?}", audit.all_of_level(Level::WARN));
    }
    let said = audit.all_of_level(Level::WARN).remove(0).fields;
    assert!(said.contains("client_address"), "{said}");
    let another = house.layer();
    assert_eq!(ask(&another, bearer(&house.key().await)).await.status(), StatusCode::OK);
    assert_eq!(warnings(), 2);

    // Behind a proxy that sends no client address.
    let proxied = house.layer();
    let proxied = proxied
        .trusted_proxies("x-real-ip", "192.0.2.0/24".parse().unwrap())
        .unwrap();
    let request = from_peer(bearer(&house.key().await));
    assert_eq!(ask(&proxied, request).await.status(), StatusCode::OK);
    let said = audit.all_of_level(Level::WARN).remove(2).fields;
    assert!(said.contains(PEER), "{said}");
}

#[cfg(feature = "testing")]
#[tokio::test]
async fn require_https_shares_clock_address_and_audit_of_its_layer() {
    let house = House::new().await;
    let hand = tower_api_key::testing::ManualClock::new();
    let authenticator = Authenticator::builder(house.store.clone()).clock(hand.clock());
    let layer = ApiKeyLayer::from(authenticator.build()).client_address(|_| "198.51.100.1".parse().ok());
    let https = layer
        .require_https("x-forwarded-proto", "10.0.0.0/8".parse().unwrap())
        .unwrap();
    let (audit, _guard) = Audit::start();
    let refuse = async |count: usize| {
        for _ in 0..count {
            let response = https.layer(Echo::default()).oneshot(request(&[])).await.unwrap();
            assert_eq!(response.status(), StatusCode::FORBIDDEN);
        }
        audit.of_level(Level::INFO)
    };
    // Requests that the layer itself refuses have the same bound.
    for _ in 0..60 {
        ask(&layer, request(&[])).await;
    }
    let recorded = refuse(90).await;
    assert_eq!(recorded.len(), 100);
    assert!(
        recorded[99].fields.contains("client=198.51.100.1 "),
        "{}",
        recorded[99].fields
    );
    hand.advance(Duration::from_secs(1));
    let last = refuse(1).await.pop().unwrap().fields;
    assert!(
        last.contains("insecure_transport") && last.contains("left_out=50 "),
        "{last}"
    );
}

#[cfg(feature = "testing")]
#[tokio::test]
async fn refusals_without_key_leave_room_for_those_of_keys() {
    let house = House::new().await;
    let hand = tower_api_key::testing::ManualClock::new();
    let authenticator = Authenticator::builder(house.store.clone()).clock(hand.clock());
    let layer = ApiKeyLayer::from(authenticator.build());
    let issued = house.issue(house.request()).await;
    house.issuer.revoke(issued.record.id, "leaked").await.unwrap();
    let (audit, _guard) = Audit::start();
    let told = |reason: &str| {
        let lines = audit.of_level(Level::INFO);
        lines
            .into_iter()
            .filter(|line| line.fields.contains(reason))
            .collect::<Vec<_>>()
    };
    for _ in 0..150 {
        ask(&layer, from_peer(request(&[]))).await;
    }
    assert_eq!(told("missing_credential").len(), 100);
    for _ in 0..150 {
        ask(&layer, from_peer(bearer(issued.key.expose_secret()))).await;
    }
    assert_eq!(told("key_revoked").len(), 100, "these are bounded too");

    hand.advance(Duration::from_secs(1));
    ask(&layer, from_peer(bearer(issued.key.expose_secret()))).await;
    ask(&layer, from_peer(request(&[]))).await;
    for reason in ["key_revoked", "missing_credential"] {
        let last = told(reason).pop().unwrap().fields;
        assert!(last.contains("left_out=50 "), "{last}");
    }
}
