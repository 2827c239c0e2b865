//! Keys beside other tokens in `Authorization: Bearer`.

use axum::routing::get;
use axum::{Extension, Router};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use tower::ServiceExt;
use tower_api_key::key::{KeyFormat, KeyFormats};
use tower_api_key::store::MemoryStore;
use tower_api_key::{
    ApiKeyLayer, AuthContext, Authenticator, KeySource, Others, Rejection, RejectionKind, RequireScope, respond_fn,
};

use crate::support::audit::Audit;
use crate::support::down::Down;
use crate::support::{Echo, House, ask, bearer, request, seen, unknown};

/// Of the shape of a JWT: three parts in base64url, joined by dots.
const JWT: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.key_live_-0qJbXNz1xk8y0m3vVdQ";

fn beside() -> [KeySource; 2] {
    [
        KeySource::bearer().leave_others(),
        KeySource::header("x-api-key").unwrap(),
    ]
}

fn layer(house: &House) -> ApiKeyLayer<MemoryStore> {
    house.layer().optional().sources(beside()).unwrap()
}

fn together(house: &House) -> ApiKeyLayer<MemoryStore> {
    let sources = [
        KeySource::bearer().leave_others().together(),
        KeySource::header("x-api-key").unwrap(),
    ];
    house.layer().optional().sources(sources).unwrap()
}

fn kind(response: &Response<Bytes>) -> RejectionKind {
    assert!(seen(response).is_none(), "the inner service was called");
    response.extensions().get::<Rejection>().unwrap().kind()
}

/// Admitted without a key, with all of its lines, and sensitive ones.
fn is_left(response: &Response<Bytes>, values: &[&str]) {
    assert_eq!(response.status(), StatusCode::OK);
    let seen = seen(response).unwrap();
    assert!(seen.context().is_none());
    assert!(seen.extensions.get::<Others>().is_some());
    let lines: Vec<_> = seen.headers.get_all("authorization").iter().collect();
    assert_eq!(lines, values);
    assert!(lines.iter().all(|line| line.is_sensitive()));
}

#[tokio::test]
async fn value_that_is_no_key_is_left_and_counts_as_absent() {
    let house = House::new().await;
    let layer = layer(&house);
    for value in [
        JWT,
        "opaque",
        "mF_9.B5f-4.1JqM",
        "v4.local.abc",
        "live_key_",
        "keylive",
        "xkey_live_a",
        "=",
        "é",
    ] {
        let sent = format!("Bearer {value}");
        is_left(&ask(&layer, bearer(value)).await, &[&sent]);
    }
    let lines = [
        ("authorization", "Bearer a"),
        ("authorization", "Digest d"),
        ("authorization", "bearer b"),
    ];
    is_left(
        &ask(&layer, request(&lines)).await,
        &["Bearer a", "Digest d", "bearer b"],
    );
    is_left(
        &ask(&layer, request(&[("authorization", ""), ("authorization", "Bearer a")])).await,
        &["", "Bearer a"],
    );
    is_left(&ask(&layer, bearer("a, Bearer b")).await, &["Bearer a, Bearer b"]);

    // Without a token it is plainly anonymous.
    let nothing = ask(&layer, request(&[])).await;
    assert!(seen(&nothing).unwrap().extensions.get::<Others>().is_none());
    // A layer that needs keys has none.
    let strict = house.layer().sources(beside()).unwrap();
    assert_eq!(kind(&ask(&strict, bearer(JWT)).await), RejectionKind::MissingCredential);
    // Without the option the value counts as a key.
    let default = house.layer().optional();
    assert_eq!(kind(&ask(&default, bearer(JWT)).await), RejectionKind::MalformedKey);
}

#[tokio::test]
async fn keys_are_checked_beside_other_tokens() {
    let house = House::new().await;
    let (layer, issued) = (layer(&house), house.issue(house.request()).await);
    let key = crate::support::text(&issued);
    for request in [bearer(&key), bearer(&key), request(&[("x-api-key", &key)])] {
        let response = ask(&layer, request).await;
        let seen = seen(&response).unwrap();
        assert!(!seen.context().unwrap().is_beside_others());
        assert!(seen.extensions.get::<Others>().is_none() && seen.headers.is_empty());
    }
    assert_eq!(
        kind(&ask(&layer, bearer(&unknown(&key))).await),
        RejectionKind::UnknownKey
    );
    house.issuer.revoke(issued.record.id, "lost").await.unwrap();
    assert_eq!(kind(&ask(&layer, bearer(&key)).await), RejectionKind::KeyRevoked);
    for value in ["Bearer", "Bearer "] {
        let response = ask(&layer, request(&[("authorization", value)])).await;
        assert_eq!(kind(&response), RejectionKind::MissingCredential);
    }
}

#[tokio::test]
async fn sixty_spellings_of_a_key_are_never_left() {
    let house = House::new().await;
    let (layer, key) = (layer(&house), house.key().await);
    let rest = key.strip_prefix("key_live_").unwrap();
    let escaped: String = key.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let spellings = [
        // Case.
        format!("KEY_live_{rest}"),
        format!("Key_Live_{rest}"),
        format!("KEY_LIVE_{rest}"),
        key.to_uppercase(),
        key.to_lowercase(),
        // Cut, mistyped, or of another environment.
        "key_".to_owned(),
        "key_live_".to_owned(),
        format!("key_live_{}", &rest[1..]),
        format!("{key}x"),
        format!("key_prod_{rest}"),
        format!("key_{rest}"),
        format!("key_live{rest}"),
        // Quoted.
        format!("\"{key}\""),
        format!("'{key}'"),
        format!("`{key}`"),
        format!("\"{key}"),
        format!("'\"{key}\"'"),
        format!("\\\"{key}\\\""),
        format!("\u{201c}{key}\u{201d}"),
        format!("\u{ab}{key}\u{bb}"),
        format!("&quot;{key}&quot;"),
        // In brackets.
        format!("<{key}>"),
        format!("[{key}]"),
        format!("({key})"),
        format!("{{{key}}}"),
        format!("${{{key}}}"),
        format!("{{{{ {key} }}}}"),
        format!("<api-key>{key}</api-key>"),
        // White space.
        format!(" {key}"),
        format!("\t{key}"),
        format!("{key} {key}"),
        format!("\u{a0}{key}"),
        format!("\u{feff}{key}"),
        format!("\u{200b}{key}"),
        // Escaped.
        escaped,
        key.replace('_', "%5F"),
        key.replace('_', "%5f"),
        key.replace('_', "%255F"),
        format!("%20{key}"),
        format!("%22{key}%22"),
        format!("%3C{key}%3E"),
        format!("%EF%BB%BF{key}"),
        key.replace('_', "\\_"),
        // With a scheme, or a name.
        format!("Bearer {key}"),
        format!("bearer {key}"),
        format!("Bearer Bearer {key}"),
        format!("BEARER\t{key}"),
        format!("Bearer: {key}"),
        format!("Bearer:{key}"),
        format!("Bearer%20{key}"),
        format!("Bearer+{key}"),
        format!("Bearer{key}"),
        format!("\"Bearer {key}\""),
        format!("Token {key}"),
        format!("Basic {key}"),
        format!("ApiKey {key}"),
        format!("Authorization: Bearer {key}"),
        format!("token={key}"),
        format!("api_key={key}"),
        format!("key={key}"),
        format!("={key}"),
        format!(":{key}"),
        format!("_{key}"),
        format!("...{key}"),
        format!("https://example.com/?api_key={key}"),
        format!("{{\"key\":\"{key}\"}}"),
        format!("{JWT} {key}"),
    ];
    assert!(spellings.len() >= 60);
    for spelling in &spellings {
        let mut sent = request(&[]);
        let value = http::HeaderValue::from_bytes(format!("Bearer {spelling}").as_bytes()).unwrap();
        sent.headers_mut().insert("authorization", value);
        let response = ask(&layer, sent).await;
        let accepted = seen(&response).is_some_and(|seen| seen.context().is_some() && seen.headers.is_empty());
        // White space in front is not part of the value.
        assert!(accepted == (spelling.trim_start_matches(' ') == key), "{spelling}");
        if !accepted {
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{spelling}");
            assert_eq!(kind(&response), RejectionKind::MalformedKey);
        }
    }
}

#[tokio::test]
async fn key_beside_a_left_value_is_refused_unless_together() {
    let house = House::new().await;
    let (one, both, key) = (layer(&house), together(&house), house.key().await);
    let (jwt, bearer) = (format!("Bearer {JWT}"), format!("Bearer {key}"));
    let lines = [("authorization", jwt.as_str()), ("authorization", "Bearer opaque")];
    for key_line in [("authorization", bearer.as_str()), ("x-api-key", &key)] {
        for sent in [
            vec![key_line, lines[0]],
            vec![lines[0], key_line],
            vec![lines[0], key_line, lines[1]],
            vec![lines[0], ("authorization", "Digest d"), key_line],
        ] {
            // Read from the store, then cached.
            for _ in 0..2 {
                let refused = ask(&one, request(&sent)).await;
                assert_eq!(refused.status(), StatusCode::BAD_REQUEST, "{sent:?}");
                assert_eq!(kind(&refused), RejectionKind::MultipleCredentials);
                let admitted = ask(&both, request(&sent)).await;
                let seen = seen(&admitted).unwrap();
                assert!(seen.context().unwrap().is_beside_others());
                assert!(seen.extensions.get::<Others>().is_some());
                let left: Vec<_> = seen.headers.values().collect();
                let expected: Vec<_> = sent
                    .iter()
                    .filter(|line| **line != key_line)
                    .map(|line| line.1)
                    .collect();
                assert_eq!(left, expected);
                assert!(left.iter().all(|line| line.is_sensitive()));
            }
        }
    }
    for joined in [
        format!("{bearer}, {jwt}"),
        format!("{jwt}, {bearer}"),
        format!("{jwt}, {key}"),
    ] {
        for layer in [&one, &both] {
            let response = ask(layer, request(&[("authorization", &joined)])).await;
            assert_eq!(kind(&response), RejectionKind::MultipleCredentials, "{joined}");
        }
    }
    // Whichever comes first, and though Basic hides it.
    let basic = format!("Basic {}", STANDARD.encode(format!("{key}:")));
    for (is_source, layer) in [(false, &one), (true, &one), (false, &both), (true, &both)] {
        let layer = match is_source {
            true => &layer.clone().source(KeySource::basic()).unwrap(),
            false => layer,
        };
        for joined in [format!("{jwt}, {basic}"), format!("{jwt}, Digest d, {basic}")] {
            let response = ask(layer, request(&[("authorization", &joined)])).await;
            assert_eq!(
                kind(&response),
                RejectionKind::MultipleCredentials,
                "{is_source} {joined}"
            );
        }
        let joined = format!("{jwt}, Digest a=1, bearer=2, basic=3, Bearer opaque");
        is_left(&ask(layer, request(&[("authorization", &joined)])).await, &[&joined]);
    }
    // A wrong key is not made right by a token beside it.
    let wrong = request(&[("x-api-key", &unknown(&key)), lines[0]]);
    assert_eq!(kind(&ask(&both, wrong).await), RejectionKind::UnknownKey);
    let alone = ask(&both, request(&[("x-api-key", &key)])).await;
    assert!(!seen(&alone).unwrap().context().unwrap().is_beside_others());
}

#[tokio::test]
async fn others_from_elsewhere_are_removed() {
    let house = House::new().await;
    let (layer, key) = (layer(&house), house.key().await);
    let left = ask(&layer, bearer(JWT)).await;
    let others = *seen(&left).unwrap().extensions.get::<Others>().unwrap();
    for mut request in [request(&[]), request(&[("x-api-key", &key)]), bearer(&key)] {
        request.extensions_mut().insert(others);
        let response = ask(&layer, request).await;
        assert!(seen(&response).unwrap().extensions.get::<Others>().is_none());
    }
}

#[tokio::test]
async fn left_values_cost_no_check_and_no_budget() {
    let layer = ApiKeyLayer::new(Down).optional().sources(beside()).unwrap();
    let (audit, _guard) = Audit::start();
    for count in 0..100_000 {
        let response = ask(&layer, bearer(&format!("{JWT}{count}"))).await;
        assert_eq!(response.status(), StatusCode::OK);
    }
    // Nothing was refused, so nothing was recorded.
    assert!(audit.of_level(tracing::Level::INFO).is_empty());
}

#[tokio::test]
async fn left_value_is_in_no_log() {
    let house = House::new().await;
    let (audit, _guard) = Audit::start();
    let canary = "CANARY-0123456789";
    let strict = house
        .layer()
        .sources(beside())
        .unwrap()
        .responder(respond_fn(|_, request| {
            Response::new(Bytes::from(format!("{request:?}")))
        }));
    let refused = ask(&strict, bearer(canary)).await;
    assert_eq!(kind(&refused), RejectionKind::MissingCredential);
    assert!(!String::from_utf8_lossy(refused.body()).contains(canary));
    let left = ask(&layer(&house), bearer(canary)).await;
    assert!(!format!("{:?}", seen(&left).unwrap().headers).contains(canary));
    for level in [
        tracing::Level::ERROR,
        tracing::Level::WARN,
        tracing::Level::INFO,
        tracing::Level::DEBUG,
        tracing::Level::TRACE,
    ] {
        let events = audit.all_of_level(level);
        assert!(events.iter().all(|event| !event.fields.contains(canary)), "{events:?}");
    }
}

#[tokio::test]
async fn route_that_needs_a_key_refuses_others() {
    let house = House::new().await;
    let scoped = RequireScope::new("orders:read".parse().unwrap());
    let router = Router::new()
        .route("/key", get(async |auth: AuthContext| auth.name().to_owned()))
        .route("/scope", get(async || "scoped").route_layer(scoped))
        .route(
            "/who",
            get(async |auth: Option<AuthContext>, others: Option<Extension<Others>>| {
                format!("{} {}", auth.is_some(), others.is_some())
            }),
        )
        .layer(layer(&house));
    for (path, status) in [("/key", 401), ("/scope", 401), ("/who", 200)] {
        let request = Request::get(path).header("authorization", format!("Bearer {JWT}"));
        let response = router
            .clone()
            .oneshot(request.body(axum::body::Body::empty()).unwrap())
            .await
            .unwrap();
        assert_eq!(response.status(), status, "{path}");
        if status == 200 {
            let body = axum::body::to_bytes(response.into_body(), 100).await.unwrap();
            assert_eq!(body, "false true");
        }
    }
}

#[test]
fn formats_that_other_tokens_could_have_are_config_errors() {
    let with = |formats: Vec<KeyFormat>| {
        let builder = Authenticator::builder(MemoryStore::new()).formats(KeyFormats::new(formats).unwrap());
        ApiKeyLayer::from(builder.build())
            .sources([KeySource::bearer().leave_others()])
            .map(drop)
    };
    let of = |prefix: &str| KeyFormat::builder(prefix);
    for formats in [
        vec![KeyFormat::raw()],
        vec![KeyFormat::bare_hex()],
        vec![KeyFormat::sanctum()],
        vec![KeyFormat::django_rest_framework()],
        vec![of("a").without_environments().build().unwrap()],
        vec![KeyFormat::new("acme").unwrap(), KeyFormat::raw()],
    ] {
        let error = with(formats).unwrap_err();
        assert_eq!(error.setting(), "key sources");
        assert!(error.to_string().contains("at least 3"), "{error}");
    }
    for formats in [
        vec![KeyFormat::new("acme").unwrap()],
        vec![KeyFormat::pk(), KeyFormat::gml(), KeyFormat::cmpz()],
        vec![of("ab").without_environments().build().unwrap()],
        vec![of("a").build().unwrap()],
    ] {
        assert!(with(formats).is_ok());
    }
}

#[test]
fn only_plain_schemes_can_leave_others() {
    let layer = || ApiKeyLayer::new(MemoryStore::new());
    for source in [
        KeySource::basic().leave_others(),
        KeySource::header("x-api-key").unwrap().leave_others(),
        KeySource::dangerous_query_parameter("api_key").unwrap().leave_others(),
    ] {
        assert_eq!(
            layer().sources([source.clone()]).unwrap_err().setting(),
            "key sources",
            "{source:?}"
        );
    }
    assert!(
        layer()
            .sources([KeySource::authorization("Token").unwrap().leave_others()])
            .is_ok()
    );
}

#[tokio::test]
async fn nothing_else_is_called_before_the_verdict() {
    let house = House::new().await;
    let echo = Echo::default();
    let key = house.key().await;
    let wrong = format!("Bearer \"{key}\"");
    let response = crate::support::ask_inner(&layer(&house), echo.clone(), request(&[("authorization", &wrong)])).await;
    assert_eq!((response.status(), echo.calls()), (StatusCode::UNAUTHORIZED, 0));
}
