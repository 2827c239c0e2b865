//! Keys where no source is: in other headers, without their scheme, twice in one line, or left empty.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use tower_api_key::key::{KeyFormat, KeyFormats};
use tower_api_key::{ApiKeyLayer, Authenticator, KeySource, Rejection, RejectionKind, respond_fn};

use crate::support::{House, ask, bearer, request, seen, unknown};

fn basic(credentials: &str) -> String {
    format!("Basic {}", STANDARD.encode(credentials))
}

/// Everything that an inner service can read of the headers.
fn lines(response: &Response<Bytes>) -> String {
    let seen = seen(response).unwrap();
    let lines = seen.headers.iter();
    lines
        .map(|(name, value)| format!("{name}: {}\n", value.as_bytes().escape_ascii()))
        .collect()
}

fn kind(response: &Response<Bytes>) -> RejectionKind {
    assert!(seen(response).is_none(), "the inner service was called");
    response.extensions().get::<Rejection>().unwrap().kind()
}

#[tokio::test]
async fn no_line_with_the_verified_key_reaches_the_handler() {
    let house = House::new().await;
    let key = house.key().await;
    let encoded = [basic(&format!("{key}:")), basic(&format!("user:{key}"))];
    let bearer = format!("Bearer {key}");
    let two = |first: (&'static str, &str), second: (&'static str, &str)| request(&[first, second]);
    let layers = [
        house.layer(),
        house.layer().optional(),
        house
            .layer()
            .sources([KeySource::header("x-api-key").unwrap()])
            .unwrap(),
        house.layer().sources([KeySource::bearer()]).unwrap(),
        house.layer().source(KeySource::basic()).unwrap(),
    ];
    let mut served = 0;
    for first in [("authorization", bearer.as_str()), ("x-api-key", &key)] {
        for second in [
            ("authorization", key.as_str()),
            ("authorization", &bearer),
            ("authorization", &format!("Token {key}")),
            ("authorization", &format!("\"{key}\"")),
            ("authorization", &encoded[0]),
            ("authorization", &encoded[1]),
            ("authorization", &format!("{key}, {key}")),
            ("authorization", &format!("Digest a=\"b\", {key}")),
            ("proxy-authorization", &bearer),
            ("proxy-authorization", &encoded[0]),
            ("x-api-key", &key),
            ("api-key", &key),
            ("x-auth-token", &bearer),
            ("x-forwarded-authorization", &bearer),
            ("x-forwarded-for", &format!("{key}, 192.0.2.7")),
            ("cookie", &format!("a=1; key={key}; b=2")),
            ("referer", &format!("https://example.com/?api_key={key}&a=1")),
        ] {
            for layer in &layers {
                for lines_in_order in [two(first, second), two(second, first)] {
                    let response = ask(layer, lines_in_order).await;
                    if response.status() == StatusCode::OK {
                        let lines = lines(&response);
                        let hidden = [&key, &encoded[0][6..], &encoded[1][6..]];
                        assert!(
                            hidden.iter().all(|text| !lines.contains(*text)),
                            "{first:?} {second:?}: {lines}"
                        );
                        served += 1;
                    } else {
                        let kinds = [RejectionKind::MultipleCredentials, RejectionKind::MissingCredential];
                        assert!(kinds.contains(&kind(&response)), "{first:?} {second:?}");
                    }
                }
            }
        }
    }
    assert!(served > 100, "only {served} were served");
}

#[tokio::test]
async fn what_else_a_line_with_the_key_holds_stays() {
    let house = House::new().await;
    let key = house.key().await;
    let cookie = format!("a=1; key={key}; b=2");
    let request = || request(&[("x-api-key", &key), ("cookie", &cookie), ("accept", "*/*")]);
    // Read from the store, then cached.
    for _ in 0..2 {
        let response = ask(&house.layer(), request()).await;
        let headers = &seen(&response).unwrap().headers;
        assert_eq!((headers.len(), &headers["accept"]), (2, &"*/*".parse().unwrap()));
        assert_eq!(headers["cookie"], "a=1; key=; b=2");
    }
    let kept = ask(&house.layer().keep_credential(), request()).await;
    let headers = &seen(&kept).unwrap().headers;
    assert_eq!(headers["cookie"], cookie);
    assert!(headers["cookie"].is_sensitive() && headers["x-api-key"].is_sensitive());
    assert!(!headers["accept"].is_sensitive());
}

#[tokio::test]
async fn copy_of_the_key_in_the_query_is_cut() {
    let house = House::new().await;
    let key = house.key().await;
    let at = |uri: &str, name: &str, value: &str| Request::builder().uri(uri).header(name, value).body(()).unwrap();
    for (uri, left) in [
        (format!("/orders?api_key={key}&a=%20"), "/orders?api_key=&a=%20"),
        (format!("/orders?a&b={key}{key}"), "/orders?a&b="),
        (format!("/orders?{key}"), "/orders?"),
        (format!("/login?next=%2F%3Fkey%3D{key}"), "/login?next=%2F%3Fkey%3D"),
        (
            format!("https://example.com/orders?a={key}"),
            "https://example.com/orders?a=",
        ),
    ] {
        for (name, value) in [("x-api-key", key.clone()), ("authorization", format!("Bearer {key}"))] {
            let response = ask(&house.layer(), at(&uri, name, &value)).await;
            let seen = seen(&response).unwrap();
            assert!(seen.context().is_some());
            assert_eq!(seen.uri, left);
        }
        let kept = ask(&house.layer().keep_credential(), at(&uri, "x-api-key", &key)).await;
        assert_eq!(seen(&kept).unwrap().uri, uri.as_str());
    }
    // Where the key comes in the query, a second parameter may have it too.
    let parameter = KeySource::dangerous_query_parameter("api_key").unwrap();
    let layer = house.layer().source(parameter).unwrap();
    let twice = at(&format!("/?a={key}&api_key={key}&b=1"), "accept", "*/*");
    assert_eq!(seen(&ask(&layer, twice).await).unwrap().uri, "/?a=&b=1");
    // Another one's stays.
    let other = at(&format!("/?a={}", unknown(&key)), "x-api-key", &key);
    let response = ask(&layer, other).await;
    assert!(seen(&response).unwrap().uri.query().unwrap().len() > key.len());
}

/// Keys of some formats have characters that cookies and URIs escape.
#[tokio::test]
async fn escaped_copy_of_the_key_is_cut() {
    let house = House::new().await;
    let echo = respond_fn(|_, request: &http::request::Parts| {
        let mut response = Response::new(Bytes::from(request.uri.to_string()));
        *response.headers_mut() = request.headers.clone();
        response
    });
    for (format, key, escaped) in [
        (
            KeyFormat::sanctum(),
            "12|0123456789abcdefghijABCDEFGHIJ0123456789",
            [
                "12%7C0123456789abcdefghijABCDEFGHIJ0123456789",
                "12%7c%30123456789abcdefghijABCDEFGHIJ0123456789",
            ],
        ),
        (
            KeyFormat::raw(),
            "correct+horse/battery==",
            ["correct%2Bhorse%2Fbattery%3D%3D", "correct%2bhorse/battery=%3d"],
        ),
    ] {
        let authenticator = Authenticator::builder(house.store.clone()).formats(format).build();
        let layer = ApiKeyLayer::from(authenticator).responder(echo);
        for copy in escaped.into_iter().chain([key]) {
            let request = Request::builder()
                .uri(format!("/orders?token={copy}&a=%7C"))
                .header("x-api-key", key)
                .header("cookie", format!("a=%7C; token={copy}; b=2"))
                .header("x-original-uri", format!("/orders?token={copy}"));
            let response = ask(&layer, request.body(()).unwrap()).await;
            assert_eq!(response.body(), "/orders?token=&a=%7C", "{copy}");
            assert_eq!(response.headers()["cookie"], "a=%7C; token=; b=2", "{copy}");
            assert_eq!(response.headers()["x-original-uri"], "/orders?token=", "{copy}");
            assert!(response.headers()["cookie"].is_sensitive());
        }
    }
}

#[tokio::test]
async fn key_without_its_scheme_is_never_anonymous() {
    let house = House::new().await;
    let (key, optional) = (house.key().await, house.layer().optional());
    for value in [
        key.clone(),
        key.to_uppercase(),
        format!("\"{key}\""),
        format!(" {key} "),
        format!("Token {key}"),
        format!("Token  {key}"),
        format!("\"Bearer\" {key}"),
        basic(&format!("{key}:")),
        basic(&format!("user:{key}")),
        unknown(&key),
    ] {
        let response = ask(&optional, request(&[("authorization", &value)])).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{value}");
        // As if there were none: the answer may say where keys belong.
        assert_eq!(kind(&response), RejectionKind::MissingCredential);
        assert_eq!(response.headers()["www-authenticate"], "Bearer realm=\"api\"");
    }
    for value in [
        "Digest a=\"b\"",
        "Negotiate abc",
        "Token x",
        "rubbish",
        &basic("user:password"),
    ] {
        let response = ask(&optional, request(&[("authorization", value)])).await;
        assert_eq!(response.status(), StatusCode::OK, "{value}");
    }
    let acme = house.layer().prefix("acme").unwrap().optional();
    let response = ask(&acme, request(&[("authorization", "acme_live_x")])).await;
    assert_eq!(kind(&response), RejectionKind::MissingCredential);
    // Where `Authorization` is no source, it belongs to others.
    let header = optional.sources([KeySource::header("x-api-key").unwrap()]).unwrap();
    assert_eq!(ask(&header, bearer(&unknown(&key))).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn bare_key_without_prefix_is_never_anonymous() {
    let house = House::new().await;
    let formats = KeyFormats::new([KeyFormat::bare_hex()]).unwrap();
    let authenticator = Authenticator::builder(house.store.clone()).formats(formats).build();
    let layer = ApiKeyLayer::from(authenticator).optional();
    let key = "0123456789abcdef".repeat(4);
    let with = |value: &str| request(&[("authorization", value)]);
    assert_eq!(kind(&ask(&layer, with(&key)).await), RejectionKind::MissingCredential);
    let twice = format!("{key}, {key}");
    for value in [&twice, &format!("Bearer {twice}")] {
        assert_eq!(
            kind(&ask(&layer, with(value)).await),
            RejectionKind::MultipleCredentials
        );
    }
    // It could be the credentials of any scheme.
    assert_eq!(
        ask(&layer, with(&format!("Token {key}"))).await.status(),
        StatusCode::OK
    );
}

#[tokio::test]
async fn every_credential_header_is_sensitive_before_it_is_seen() {
    let house = House::new().await;
    let key = house.key().await;
    let others = [
        ("authorization", basic("user:password")),
        ("authorization", "Token x".to_owned()),
        ("authorization", format!("Token {key}")),
        ("authorization", basic(&key)),
        ("authorization", "rubbish".to_owned()),
        ("proxy-authorization", format!("Bearer {key}")),
        ("x-api-key", key.clone()),
        ("x-my-key", "rubbish".to_owned()),
    ];
    let usual = ["authorization", "proxy-authorization", "x-api-key"];
    let own = || {
        house
            .layer()
            .sources([KeySource::bearer(), KeySource::header("x-my-key").unwrap()])
            .unwrap()
    };
    for (layer, reads_own) in [
        (house.layer(), false),
        (house.layer().keep_credential(), false),
        (own(), true),
        (own().keep_credential(), true),
    ] {
        // The request as a responder has it, with its key or without one.
        let refusing = layer.clone().responder(respond_fn(|_, request| {
            let mut response = Response::new(Bytes::new());
            *response.headers_mut() = request.headers.clone();
            response
        }));
        for (name, value) in &others {
            for valid in [
                None,
                Some(format!("Bearer {key}")),
                Some(format!("Bearer {}", unknown(&key))),
            ] {
                let mut sent = vec![(*name, value.as_str()), ("accept", "*/*")];
                sent.extend(valid.iter().map(|value| ("authorization", value.as_str())));
                for layer in [refusing.clone(), refusing.clone().optional()] {
                    let response = ask(&layer, request(&sent)).await;
                    let headers = seen(&response).map_or(response.headers(), |seen| &seen.headers);
                    for (name, line) in headers {
                        let holds_some = usual.contains(&name.as_str()) || (reads_own && name == "x-my-key");
                        assert!(!holds_some || line.is_sensitive(), "{sent:?}: {name}");
                        assert!(name != "accept" || !line.is_sensitive());
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn joined_lines_are_refused_as_the_lines_they_were() {
    let house = House::new().await;
    let (key, other) = (house.key().await, house.key().await);
    for layer in [
        house.layer(),
        house.layer().optional(),
        house.layer().source(KeySource::basic()).unwrap(),
    ] {
        for (name, value) in [
            ("authorization", format!("Bearer {key}, Bearer {key}")),
            ("authorization", format!("Bearer {key},Bearer {key}")),
            ("authorization", format!("Bearer {key}, Bearer {other}")),
            ("authorization", format!("Bearer {key}, bearer x")),
            ("authorization", "Bearer x, Bearer y".to_owned()),
            ("authorization", format!("Bearer {key}, Basic x")),
            ("authorization", format!("Basic x, Bearer {key}")),
            ("authorization", format!("Bearer {key}, Digest a=\"b, c\"")),
            ("authorization", format!("Digest a=\"b, c\", Bearer {key}")),
            ("authorization", format!("Token \", Bearer {key}")),
            ("authorization", format!("Bearer {key}, {key}")),
            ("authorization", format!("{key}, Bearer {key}")),
            ("authorization", format!("{key}, {key}")),
            ("authorization", format!("Token {key}, Token {key}")),
            ("authorization", format!("{}, Bearer {key}", basic(&key))),
            ("authorization", format!("Bearer {key}, {}", basic(&key))),
            ("authorization", format!("Bearer x, {}", unknown(&key))),
            ("x-api-key", format!("{key}, {key}")),
            ("x-api-key", format!("{key},{other}")),
            ("x-api-key", format!("x, {key}")),
            ("x-api-key", format!("{key}, x")),
            ("x-api-key", format!("Bearer {key}, {key}")),
        ] {
            let response = ask(&layer, request(&[(name, &value)])).await;
            assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{name}: {value}");
            assert_eq!(kind(&response), RejectionKind::MultipleCredentials);
            let challenge = response.headers()["www-authenticate"].to_str().unwrap();
            assert!(challenge.ends_with("error=\"invalid_request\""), "{challenge}");
        }
        // One value, and no key.
        for (name, value) in [
            ("authorization", "Bearer a,b"),
            ("authorization", &format!("Bearer {key},")),
            ("x-api-key", &format!(", {key}")),
            ("x-api-key", "a, b"),
            ("x-api-key", ","),
        ] {
            let response = ask(&layer, request(&[(name, value)])).await;
            assert_eq!(kind(&response), RejectionKind::MalformedKey, "{name}: {value}");
        }
    }
}

#[tokio::test]
async fn raw_key_may_have_commas() {
    let house = House::new().await;
    let formats = KeyFormats::new([KeyFormat::raw()]).unwrap();
    let layer = ApiKeyLayer::from(Authenticator::builder(house.store.clone()).formats(formats).build());
    let one = ask(&layer, request(&[("x-api-key", "correct,horse,battery,staple")])).await;
    assert_eq!(kind(&one), RejectionKind::UnknownKey);
    let two = "correct-horse-battery, staple-correct-horse";
    assert_eq!(
        kind(&ask(&layer, request(&[("x-api-key", two)])).await),
        RejectionKind::MultipleCredentials
    );
}

#[tokio::test]
async fn empty_credential_is_not_anonymous() {
    let house = House::new().await;
    let parameter = KeySource::dangerous_query_parameter("api_key").unwrap();
    let layer = house
        .layer()
        .source(parameter)
        .unwrap()
        .source(KeySource::basic())
        .unwrap();
    let at = |uri: &str| Request::builder().uri(uri).body(()).unwrap();
    let requests = || {
        let lines = [
            ("x-api-key", ""),
            ("x-api-key", " "),
            ("authorization", "Bearer"),
            ("authorization", "bearer "),
            ("authorization", "Basic"),
            ("authorization", "Basic Og=="),
            ("authorization", ""),
            ("authorization", " "),
        ];
        let lines = lines.map(|line| request(&[line])).into_iter();
        lines.chain([at("/orders?api_key="), at("/orders?api_key")])
    };
    for layer in [layer.clone(), layer.clone().optional()] {
        for request in requests() {
            let sent = format!("{request:?}");
            let response = ask(&layer, request).await;
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{sent}");
            assert_eq!(kind(&response), RejectionKind::MissingCredential);
            // No error code: there was no key to be wrong.
            assert_eq!(response.headers()["www-authenticate"], "Bearer realm=\"api\"");
        }
    }
    let optional = layer.optional();
    for request in [request(&[]), request(&[("x-other", "")]), at("/?other=")] {
        assert_eq!(ask(&optional, request).await.status(), StatusCode::OK);
    }
    // An empty `Authorization` is no second credential.
    let key = house.key().await;
    let response = ask(&optional, request(&[("authorization", ""), ("x-api-key", &key)])).await;
    assert!(seen(&response).unwrap().context().is_some());
}

/// As code writes it that forgets the space, and as Rails writes tokens.
#[tokio::test]
async fn key_joined_to_its_scheme_is_not_handed_on_as_anonymous() {
    let house = House::new().await;
    let key = house.key().await;
    for value in [
        format!("Bearer{key}"),
        format!("bearer_{key}"),
        format!("Token{key}"),
        format!("Token token={key}"),
        format!("Token token=\"{key}\", nonce=\"abc\""),
        format!("ApiKey Bearer {key}"),
        format!("Api-Key:{key}"),
    ] {
        let response = ask(&house.layer().optional(), request(&[("authorization", &value)])).await;
        assert_eq!(response.status().as_u16() / 100, 4, "{value}");
        assert!(seen(&response).is_none());
    }
    // What begins with the name of a scheme is not a key yet.
    for value in ["Bearerkey", "Tokens abc", "Token token=abc", "Basicauth acme"] {
        let response = ask(&house.layer().optional(), request(&[("authorization", value)])).await;
        assert_eq!(response.status(), StatusCode::OK, "{value}");
    }
}

/// As `optional` and SECURITY.md say: nothing is looked for where no source is.
#[tokio::test]
async fn key_where_no_source_is_counts_as_absent_and_stays() {
    let house = House::new().await;
    let key = house.key().await;
    for (name, value) in [("api-key", key.clone()), ("x-auth-token", format!("Bearer {key}"))] {
        let sent = || request(&[(name, &value)]);
        let refused = ask(&house.layer(), sent()).await;
        assert_eq!(kind(&refused), RejectionKind::MissingCredential);
        let served = ask(&house.layer().optional(), sent()).await;
        assert_eq!(served.status(), StatusCode::OK);
        assert!(seen(&served).unwrap().context().is_none() && lines(&served).contains(&key));
    }
    let elsewhere = format!("/orders/{key}?api_key={key}");
    let sent = |lines: &[(&str, &str)]| {
        let mut request = request(lines);
        *request.uri_mut() = elsewhere.parse().unwrap();
        request
    };
    let anonymous = ask(&house.layer().optional(), sent(&[])).await;
    assert!(seen(&anonymous).unwrap().context().is_none());
    assert_eq!(seen(&anonymous).unwrap().uri.to_string(), elsewhere);
    // Beside the key that is read, the query loses its copy, and the path does not.
    let admitted = ask(&house.layer(), sent(&[("x-api-key", &key)])).await;
    assert_eq!(
        seen(&admitted).unwrap().uri.to_string(),
        format!("/orders/{key}?api_key=")
    );
    // `Authorization` is looked into.
    for value in [key.clone(), format!("Token {key}"), basic(&format!("{key}:"))] {
        let refused = ask(&house.layer().optional(), request(&[("authorization", &value)])).await;
        assert_eq!(kind(&refused), RejectionKind::MissingCredential, "{value}");
    }
}
