//! Parts that do not fit each other: an issuer and a layer with different key formats, and records with another prefix or
//! environment than their keys have. The log says so.

use std::time::Duration;

use tower_api_key::hash::HashPolicy;
use tower_api_key::key::{KeyFormat, KeyFormats, KeyId};
use tower_api_key::store::MemoryStore;
use tower_api_key::{ApiKeys, Authenticator, IssueRequest, IssuedKey, Issuer, RejectionKind};
use tracing::Level;

use crate::house::*;
use crate::support::audit::Audit;
use crate::support::rows::Rows as _;

/// The fields of the warnings that contain this text.
fn told(audit: &Audit, level: Level, text: &str) -> Vec<String> {
    let all = audit.all_of_level(level).into_iter().map(|event| event.fields);
    all.filter(|fields| fields.contains(text)).collect()
}

async fn key_of(issuer: &Issuer<MemoryStore>) -> IssuedKey {
    let acme = issuer.create_organization("acme").await.unwrap();
    issuer.issue(IssueRequest::new(acme.id, "key")).await.unwrap()
}

fn quick(store: &MemoryStore, format: KeyFormat) -> Issuer<MemoryStore> {
    acting(
        ApiKeys::builder(store.clone())
            .hash_policy(HashPolicy::sha256())
            .formats(format),
    )
}

#[tokio::test]
async fn key_that_no_layer_accepts_is_told_when_issued() {
    let (audit, _guard) = Audit::start();
    let store = MemoryStore::new();
    let _layer = Authenticator::builder(store.clone())
        .formats(KeyFormat::new("acme").unwrap())
        .build();
    let issuer = Issuer::new(store.clone()).unwrap();
    for _ in 0..3 {
        let _key = key_of(&issuer).await;
    }
    let warnings = told(&audit, Level::WARN, "no layer or authenticator");
    assert_eq!(warnings.len(), 1);
    for part in ["prefix=key", "environment=live", "accepted={\"acme\"}"] {
        assert!(warnings[0].contains(part), "{part}: {}", warnings[0]);
    }
}

#[tokio::test]
async fn layer_that_does_not_accept_issued_keys_is_told_when_built() {
    let (audit, _guard) = Audit::start();
    let store = MemoryStore::new();
    let issuer = Issuer::new(store.clone()).unwrap();
    let _key = key_of(&issuer).await;
    assert!(
        told(&audit, Level::WARN, "no layer").is_empty(),
        "it may be for another process"
    );
    let _layer = Authenticator::builder(store)
        .formats(KeyFormat::new("acme").unwrap())
        .build();
    assert_eq!(told(&audit, Level::WARN, "no layer").len(), 1);
}

#[tokio::test]
async fn parts_that_fit_are_not_told() {
    let (audit, _guard) = Audit::start();
    let store = MemoryStore::new();
    let acme = KeyFormat::new("acme").unwrap();
    let formats = KeyFormats::new([acme.clone(), KeyFormat::default()]).unwrap();
    let keys = ApiKeys::builder(store.clone())
        .formats(formats)
        .hash_policy(HashPolicy::sha256())
        .checking();
    for issued in [
        key_of(&keys.issuer().acting_as(tower_api_key::key::Actor::service())).await,
        key_of(&Issuer::new(store.clone()).unwrap()).await,
        key_of(&quick(&store, acme)).await,
    ] {
        check(&keys.authenticator(), text(&issued)).await.unwrap();
    }
    assert_eq!(
        kind(&check(&keys.authenticator(), "key_live_nonsense").await),
        RejectionKind::MalformedKey
    );
    assert!(about_parts(&audit).is_empty(), "{:?}", about_parts(&audit));
}

/// All warnings but those about the secrets of the realm, which no layer here has.
fn about_parts(audit: &Audit) -> Vec<String> {
    let all = audit.all_of_level(Level::WARN);
    let about_parts = all.into_iter().filter(|event| !event.target.ends_with("::realm"));
    about_parts.map(|event| event.fields).collect()
}

/// Issuer and layer in two processes: the layer tells at the first key.
#[tokio::test]
async fn key_of_the_default_format_is_told_when_presented() {
    let (audit, _guard) = Audit::start();
    let elsewhere = key_of(&quick(&MemoryStore::new(), KeyFormat::default())).await;
    let layer = Authenticator::builder(MemoryStore::new())
        .formats(KeyFormat::new("acme").unwrap())
        .build();
    for text in ["nonsense", "key_live_nonsense"] {
        assert_eq!(kind(&check(&layer, text).await), RejectionKind::MalformedKey);
    }
    assert!(about_parts(&audit).is_empty(), "{:?}", about_parts(&audit));
    for _ in 0..3 {
        assert_eq!(
            kind(&check(&layer, text(&elsewhere)).await),
            RejectionKind::MalformedKey
        );
    }
    let warnings = told(&audit, Level::WARN, "a key of the default format");
    assert_eq!(warnings.len(), 1);
    assert!(
        warnings[0].contains("prefix=\"key\"") && warnings[0].contains("[\"acme\"]"),
        "{}",
        warnings[0]
    );
    let secret = &text(&elsewhere)["key_live_".len() + 12..];
    assert!(!warnings[0].contains(secret));
}

/// Changes the stored prefix and environment of a key past the issuer.
async fn give_head(store: &MemoryStore, key: KeyId, prefix: &str, environment: Option<&str>) {
    let mut stored = store.key(key).await.unwrap().unwrap();
    stored.record.prefix = prefix.to_owned();
    stored.record.environment = environment.map(ToOwned::to_owned);
    store.update_key(stored).await.unwrap();
}

async fn key_with_head(store: &MemoryStore, prefix: &str, environment: Option<&str>) -> (KeyId, String) {
    let issued = key_of(&quick(store, KeyFormat::new("acme").unwrap())).await;
    give_head(store, issued.record.id, prefix, environment).await;
    (issued.record.id, text(&issued).to_owned())
}

#[tokio::test]
async fn record_with_another_head_is_told_with_both() {
    for (prefix, environment) in [("other", Some("live")), ("acme", Some("test")), ("other", None)] {
        let (audit, _guard) = Audit::start();
        let store = MemoryStore::new();
        let (id, text) = key_with_head(&store, prefix, environment).await;
        let formats = [KeyFormat::new("acme").unwrap(), KeyFormat::bare_hex()];
        let layer = Authenticator::builder(store)
            .formats(KeyFormats::new(formats).unwrap())
            .build();
        assert_eq!(
            kind(&check(&layer, &text).await),
            RejectionKind::WrongSecret,
            "one 401 for all"
        );
        let warnings = told(&audit, Level::WARN, "another prefix or environment");
        let environment = environment.unwrap_or_default();
        for part in [
            format!("key={id}"),
            "presented_prefix=\"acme\"".to_owned(),
            "presented_environment=\"live\"".to_owned(),
            format!("stored_prefix=\"{prefix}\""),
            format!("stored_environment=\"{environment}\""),
        ] {
            assert!(warnings[0].contains(&part), "{part}: {}", warnings[0]);
        }
    }
}

/// As of one that is not cached, and in a stream, which has no key to compare.
#[tokio::test]
async fn cached_key_ends_when_its_record_gets_another_head() {
    for (prefix, environment) in [("other", Some("live")), ("acme", Some("test"))] {
        let store = MemoryStore::new();
        let issued = key_of(&quick(&store, KeyFormat::new("acme").unwrap())).await;
        let formats = [KeyFormat::new("acme").unwrap(), KeyFormat::bare_hex()];
        let layer = Authenticator::builder(store.clone())
            .formats(KeyFormats::new(formats).unwrap())
            .build();
        let context = check(&layer, text(&issued)).await.unwrap();
        let stream = tokio::spawn(context.revoked());
        tokio::task::yield_now().await;
        give_head(&store, issued.record.id, prefix, environment).await;
        let refused = check(&layer, text(&issued)).await;
        let ended = tokio::time::timeout(Duration::from_secs(5), stream).await;
        assert_eq!(kind(&refused), RejectionKind::WrongSecret);
        assert!(ended.is_ok(), "the stream goes on");
        // Its read has put nothing into the cache.
        assert_eq!(kind(&check(&layer, text(&issued)).await), RejectionKind::WrongSecret);
        // The right head again.
        give_head(&store, issued.record.id, "acme", Some("live")).await;
        assert!(check(&layer, text(&issued)).await.is_ok());
    }
}

#[tokio::test]
async fn record_without_a_head_that_every_format_has_is_invalid() {
    for (prefix, environment, column) in [
        ("", Some("live"), "prefix"),
        ("acme", None, "environment"),
        ("acme", Some(""), "environment"),
        ("", None, "prefix"),
    ] {
        let (audit, _guard) = Audit::start();
        let store = MemoryStore::new();
        let (_, text) = key_with_head(&store, prefix, environment).await;
        let layer = Authenticator::builder(store)
            .formats(KeyFormat::new("acme").unwrap())
            .build();
        assert_eq!(kind(&check(&layer, &text).await), RejectionKind::InvalidRecord);
        let errors = told(&audit, Level::ERROR, "empty prefix or environment");
        assert!(errors[0].contains(&format!("column=\"{column}\"")), "{}", errors[0]);
    }
}

/// With a format that has no prefix, an empty one is no fault of the record: a client may present its lookup under another one.
#[tokio::test]
async fn forged_head_of_a_key_without_one_is_a_wrong_secret() {
    let store = MemoryStore::new();
    let (_, text) = key_with_head(&store, "", None).await;
    let formats = [KeyFormat::new("acme").unwrap(), KeyFormat::bare_hex()];
    let layer = Authenticator::builder(store)
        .formats(KeyFormats::new(formats).unwrap())
        .build();
    assert_eq!(kind(&check(&layer, &text).await), RejectionKind::WrongSecret);
}
