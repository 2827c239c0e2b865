//! Which keys a layer takes: `prefix`, `only_environment` and `require_scope`.

use http::StatusCode;
use tower::{Layer, ServiceExt};
use tower_api_key::hash::HashPolicy;
use tower_api_key::key::{Actor, KeyFormat, KeyRecord, RateLimit};
use tower_api_key::store::MemoryStore;
use tower_api_key::{
    ApiKeyLayer, ApiKeys, Authenticator, IssueRequest, PresentedKey, Rejection, RejectionKind, RequireScope,
};

use crate::support::{Echo, House, ask, bearer, field, json, seen, text, unknown};

#[tokio::test]
async fn only_environment_takes_no_key_of_another() {
    let house = House::new().await;
    let limit = || RateLimit::per_hour("requests", 3).unwrap();
    let live = text(&house.issue(house.request().limit(limit())).await);
    let test = text(&house.issue(house.request().environment("test").limit(limit())).await);
    let unknown = unknown(&test);
    let every = house.layer();
    let only = every.clone().only_environment("live").unwrap();

    let mut answers = Vec::new();
    // Not cached yet, then cached.
    for _ in 0..5 {
        for (key, kind) in [
            (&test, RejectionKind::EnvironmentNotAllowed),
            (&unknown, RejectionKind::UnknownKey),
        ] {
            let response = ask(&only, bearer(key)).await;
            assert_eq!(response.extensions().get::<Rejection>().unwrap().kind(), kind);
            answers.push(format!(
                "{} {:?} {:?}",
                response.status(),
                response.headers(),
                response.body()
            ));
        }
    }
    assert!(answers[0].starts_with("401"), "{}", answers[0]);
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
    assert_eq!(ask(&only, bearer(&live)).await.status(), StatusCode::OK);
    // No request was charged.
    let response = ask(&every, bearer(&test)).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(field(&response, "ratelimit").unwrap().starts_with("\"requests\";r=2;"));

    // Without HTTP, and for a key of a format without environments.
    let authenticator = Authenticator::new(house.store.clone());
    let key = PresentedKey::new(test.as_bytes());
    assert!(authenticator.check(key.only_environment("test")).await.is_ok());
    let rejected = authenticator.check(key.only_environment("live")).await.unwrap_err();
    assert_eq!(rejected.kind(), RejectionKind::EnvironmentNotAllowed);
}

#[test]
fn unknown_environment_is_a_config_error() {
    let layer = || ApiKeyLayer::new(MemoryStore::new());
    for known in ["live", "test"] {
        assert!(layer().only_environment(known).is_ok());
    }
    for bad in ["", "Live", "production"] {
        let error = layer().only_environment(bad).unwrap_err();
        assert_eq!(error.setting(), "environment");
    }
}

#[tokio::test]
async fn prefix_takes_keys_that_have_it() {
    let store = MemoryStore::new();
    let acme = ApiKeys::builder(store.clone())
        .hash_policy(HashPolicy::sha256())
        .formats(KeyFormat::new("acme").unwrap())
        .checking();
    let issuer = acme.issuer().acting_as(Actor::service());
    let organization = issuer.create_organization("acme").await.unwrap();
    let issued = issuer.issue(IssueRequest::new(organization.id, "a key")).await.unwrap();
    let key = text(&issued);
    assert!(key.starts_with("acme_live_"));

    let layer = ApiKeyLayer::new(store.clone());
    assert_eq!(ask(&layer, bearer(&key)).await.status(), StatusCode::UNAUTHORIZED);
    // Settings that were made before stay.
    let layer = ApiKeyLayer::new(store)
        .challenge_realm("acme api")
        .unwrap()
        .prefix("acme")
        .unwrap();
    assert_eq!(ask(&layer, bearer(&key)).await.status(), StatusCode::OK);
    let response = ask(&layer, bearer(&key.replace("acme_", "key_"))).await;
    let challenge = "Bearer realm=\"acme api\", error=\"invalid_token\"";
    assert_eq!(field(&response, "www-authenticate"), Some(challenge));
}

/// Two formats for one cache would be two answers for one key.
#[test]
fn prefix_of_a_shared_layer_is_a_config_error() {
    assert!(ApiKeyLayer::new(MemoryStore::new()).prefix("a b").is_err());
    let layer = ApiKeyLayer::new(MemoryStore::new());
    let clone = layer.clone();
    let keys = ApiKeys::checking(MemoryStore::new());
    for shared in [layer, keys.layer()] {
        let error = shared.prefix("acme").unwrap_err();
        assert!(error.to_string().contains("ApiKeysBuilder::formats"), "{error}");
    }
    drop(clone);
}

/// A scope that the layer knows is refused before the charge, one that only the route knows after it.
#[tokio::test]
async fn scope_that_the_layer_requires_costs_no_limit() {
    let house = House::new().await;
    let limit = RateLimit::per_hour("requests", 3).unwrap();
    let issued = house
        .issue(house.request().scopes("orders:read".parse().unwrap()).limit(limit))
        .await;
    let key = text(&issued);
    let layer = house.layer();
    let write = layer.clone().require_scope("orders:write".parse().unwrap());
    let read = layer.clone().require_scope("orders:read".parse().unwrap());
    let status = async |layer: &ApiKeyLayer<MemoryStore>| ask(layer, bearer(&key)).await;
    // Not cached yet, then cached.
    for _ in 0..5 {
        let response = status(&write).await;
        assert_eq!(response.status(), StatusCode::FORBIDDEN);
        assert!(seen(&response).is_none());
        assert_eq!(json(&response)["scope"], "orders:write");
        let challenge = "Bearer realm=\"api\", error=\"insufficient_scope\", scope=\"orders:write\"";
        assert_eq!(field(&response, "www-authenticate"), Some(challenge));
        assert!(field(&response, "ratelimit").is_none());
    }
    let response = status(&read).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(field(&response, "ratelimit").unwrap().starts_with("\"requests\";r=2;"));
    let scoped = RequireScope::new("orders:write".parse().unwrap()).layer(Echo::default());
    let response = layer.layer(scoped).oneshot(bearer(&key)).await.unwrap();
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    let left = field(&response, "ratelimit").unwrap();
    assert!(left.starts_with("\"requests\";r=1;"), "{left}");
    // The key may have been granted the scope meanwhile.
    let granted = |record: &mut KeyRecord| record.scopes = "orders:*".parse().unwrap();
    house.issuer.update(issued.record.id, granted).await.unwrap();
    assert_eq!(status(&write).await.status(), StatusCode::OK);
}
