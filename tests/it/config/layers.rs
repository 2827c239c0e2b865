//! Layers of a handle begin with its settings, those of a file or others.

use http::{Request, StatusCode};
use tower_api_key::config::Config;
use tower_api_key::key::RateLimit;
use tower_api_key::store::MemoryStore;
use tower_api_key::{ApiKeys, ClientAddress, ConfigError, KeySource, ProblemJson};

use super::{issue, keys};
use crate::support::{ask, field, json, request, seen};

fn from(peer: &str, lines: &[(&str, &str)]) -> Request<()> {
    let mut request = request(lines);
    request.extensions_mut().insert(ClientAddress(peer.parse().unwrap()));
    request
}

#[tokio::test]
async fn each_source_is_read() {
    use base64::Engine as _;

    let basic = |text: String| format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(text));
    for (source, name, before) in [
        ("authorization = \"ApiKey\"", "authorization", "ApiKey "),
        ("header = \"x-acme\"", "x-acme", ""),
        ("basic = \"user-name\"", "authorization", "user"),
        ("basic = \"password\"", "authorization", "password"),
    ] {
        let keys = keys(&format!("[[sources]]\n{source}\n")).await;
        let key = issue(&keys, |request| request).await.key.expose_secret().to_owned();
        let value = match before {
            "user" => basic(format!("{key}:")),
            "password" => basic(format!("x:{key}")),
            before => format!("{before}{key}"),
        };
        let right = ask(&keys.layer(), request(&[(name, &value)])).await;
        assert_eq!(right.status(), StatusCode::OK, "{source}");
        let wrong = ask(&keys.layer(), request(&[("x-api-key", &key)])).await;
        assert_eq!(wrong.status(), StatusCode::UNAUTHORIZED, "{source}");
    }
    let keys =
        keys("[[sources]]\ndangerous_query_parameter = \"k\"\n[[sources]]\nwebsocket_protocol = \"acme-key\"\n").await;
    let key = issue(&keys, |request| request).await.key.expose_secret().to_owned();
    let in_query = Request::builder().uri(format!("/?k={key}")).body(()).unwrap();
    assert_eq!(ask(&keys.layer(), in_query).await.status(), StatusCode::OK);
    let shake = request(&[
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-protocol", &format!("chat, acme-key, {key}")),
    ]);
    assert_eq!(ask(&keys.layer(), shake).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn others_are_left_and_basic_is_challenged_as_the_file_says() {
    for (option, status) in [
        ("", StatusCode::UNAUTHORIZED),
        ("leave_others = true\n", StatusCode::BAD_REQUEST),
        ("together = true\n", StatusCode::OK),
    ] {
        let text = format!("[[sources]]\nauthorization = \"Bearer\"\n{option}[[sources]]\nheader = \"x-api-key\"\n");
        let keys = keys(&text).await;
        let key = issue(&keys, |request| request).await.key.expose_secret().to_owned();
        let both = request(&[("authorization", "Bearer eyJhbGciOi.eyJz.sig"), ("x-api-key", &key)]);
        let response = ask(&keys.layer(), both).await;
        let is_refused = response.status() != StatusCode::OK;
        assert_eq!(is_refused, status != StatusCode::OK, "{option} {}", response.status());
    }
    for (option, is_asked) in [("", false), ("challenge = true\n", true)] {
        let keys = keys(&format!("[[sources]]\nbasic = \"password\"\n{option}")).await;
        let response = ask(&keys.layer(), request(&[])).await;
        let challenge = field(&response, "www-authenticate").unwrap_or_default();
        assert_eq!(challenge.contains("Basic"), is_asked, "{challenge}");
    }
}

#[tokio::test]
async fn headers_and_realm_are_those_of_the_file() {
    let plain = keys("").await;
    let text = "[layer]\nchallenge_realm = \"acme\"\nrate_limit_headers = \
                \"near-exhaustion\"\nenvironment = \"test\"\nexpiry_header = false\n";
    let set = keys(text).await;
    let challenge = ask(&set.layer(), request(&[])).await;
    assert!(
        field(&challenge, "www-authenticate")
            .unwrap()
            .contains("realm=\"acme\"")
    );
    for (keys, is_set) in [(&plain, false), (&set, true)] {
        let soon = tower_api_key::key::Timestamp::now().after(std::time::Duration::from_secs(3600));
        let limit = RateLimit::per_hour("requests", 100).unwrap();
        let issued = issue(keys, |request| {
            request.environment("test").limit(limit).expires_at(soon)
        })
        .await;
        let key = issued.key.expose_secret().to_owned();
        let response = ask(&keys.layer(), request(&[("x-api-key", &key)])).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(field(&response, "ratelimit").is_none(), is_set);
        assert_eq!(field(&response, "api-key-expires").is_none(), is_set);
        let organization = issued.record.organization_id;
        let issuer = keys.issuer().acting_as(tower_api_key::key::Actor::service());
        let live = issuer
            .issue(tower_api_key::IssueRequest::new(organization, "live"))
            .await
            .unwrap();
        let response = ask(&keys.layer(), request(&[("x-api-key", live.key.expose_secret())])).await;
        assert_eq!(response.status() == StatusCode::UNAUTHORIZED, is_set);
    }
}

#[tokio::test]
async fn legacy_headers_are_written_if_the_file_says_so() {
    for (option, is_written) in [("", false), ("[layer]\nlegacy_rate_limit_headers = true\n", true)] {
        let keys = keys(option).await;
        let limit = RateLimit::per_hour("requests", 100).unwrap();
        let issued = issue(&keys, |request| request.limit(limit)).await;
        let response = ask(&keys.layer(), request(&[("x-api-key", issued.key.expose_secret())])).await;
        assert_eq!(field(&response, "x-ratelimit-limit").is_some(), is_written);
    }
}

#[tokio::test]
async fn key_is_recorded_on_the_span_if_the_file_says_so() {
    for (option, is_recorded) in [("", false), ("[layer]\nrecord_on_span = true\n", true)] {
        let keys = keys(option).await;
        let issued = issue(&keys, |request| request).await;
        let log = crate::support::log::Log::default();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(log.clone())
            .with_ansi(false)
            .finish();
        let _guard = tracing::subscriber::set_default(subscriber);
        let span = tracing::info_span!("request", api_key.id = tracing::field::Empty);
        let layer = keys.layer();
        let ask = tracing::Instrument::instrument(
            ask(&layer, request(&[("x-api-key", issued.key.expose_secret())])),
            span.clone(),
        );
        assert_eq!(ask.await.status(), StatusCode::OK);
        span.in_scope(|| tracing::info!("after"));
        let id = issued.record.id.to_string();
        let line = log
            .text()
            .lines()
            .find(|line| line.contains("after"))
            .unwrap()
            .to_owned();
        assert_eq!(line.contains(&id), is_recorded, "{line}");
    }
}

#[tokio::test]
async fn only_what_came_over_https_is_admitted_if_the_file_says_so() {
    let keys =
        keys("[proxies]\nscheme_header = \"x-forwarded-proto\"\nnetworks = [\"10.0.0.0/8\", \"fd00::/8\"]\n").await;
    let key = issue(&keys, |request| request).await.key.expose_secret().to_owned();
    let layer = keys.layer();
    for (peer, scheme, status) in [
        ("10.0.0.1", Some("https"), StatusCode::OK),
        ("fd00::1", Some("https"), StatusCode::OK),
        ("10.0.0.1", Some("http"), StatusCode::FORBIDDEN),
        ("10.0.0.1", None, StatusCode::FORBIDDEN),
        ("192.0.2.1", Some("https"), StatusCode::FORBIDDEN),
        ("127.0.0.1", None, StatusCode::FORBIDDEN),
    ] {
        let mut lines = vec![("x-api-key", &*key)];
        lines.extend(scheme.map(|scheme| ("x-forwarded-proto", scheme)));
        let response = ask(&layer, from(peer, &lines)).await;
        assert_eq!(response.status(), status, "{peer} {scheme:?}");
        assert_eq!(seen(&response).is_some(), status == StatusCode::OK);
    }
    // Nor without a key, where keys are optional.
    let response = ask(&layer.optional(), from("10.0.0.1", &[("x-forwarded-proto", "http")])).await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    assert_eq!(
        json(&response)["type"],
        "urn:problem-type:tower-api-key:insecure-transport"
    );
}

#[tokio::test]
async fn layers_of_a_handle_begin_with_its_settings() {
    let keys = ApiKeys::builder(MemoryStore::new()).open().await.unwrap();
    let before = keys.clone();
    let keys = keys
        .layers(|layer| layer.sources([KeySource::header("x-acme")?])?.challenge_realm("acme"))
        .unwrap();
    let keys = keys
        .layers(|layer| Ok(layer.responder(ProblemJson::new().type_base("https://acme.example/problems/")?)))
        .unwrap();
    let key = issue(&keys, |request| request).await.key.expose_secret().to_owned();
    for layer in [&keys.layer(), &keys.clone().layer()] {
        assert_eq!(ask(layer, request(&[("x-acme", &key)])).await.status(), StatusCode::OK);
        let refused = ask(layer, request(&[])).await;
        assert!(
            json(&refused)["type"]
                .as_str()
                .unwrap()
                .starts_with("https://acme.example/")
        );
    }
    let erased = keys.erased().layer();
    assert_eq!(
        ask(&erased, request(&[("x-acme", &key)])).await.status(),
        StatusCode::OK
    );
    assert!(format!("{erased:?}").contains("acme"));
    assert_eq!(
        ask(&before.layer(), request(&[("x-api-key", &key)])).await.status(),
        StatusCode::OK
    );
    let error: ConfigError = keys.layers(|layer| layer.sources([])).unwrap_err();
    assert_eq!(error.setting(), "key sources");
}

/// What the layer can leave depends on the formats of the handle.
#[tokio::test]
async fn settings_that_do_not_go_with_other_formats_are_refused() {
    let config = Config::parse("[layer]\nenvironment = \"live\"\n").unwrap();
    let builder = config.builder(MemoryStore::new()).unwrap();
    let format = tower_api_key::key::KeyFormat::cmpz();
    let error = config
        .apply_to(builder.formats(format).open().await.unwrap())
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("line 2, column 15: `layer.environment` must be one of"),
        "{error}"
    );
}
