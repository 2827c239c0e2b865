use http::header::HeaderValue;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

fn sources(sources: &[KeySource]) -> Sources {
    Sources::new(sources.iter().cloned(), &KeyFormats::default()).unwrap()
}

fn all() -> Sources {
    sources(&[
        KeySource::bearer(),
        KeySource::authorization("ApiKey").unwrap(),
        KeySource::basic(),
        KeySource::header("x-api-key").unwrap(),
        KeySource::dangerous_query_parameter("api_key").unwrap(),
    ])
}

fn request(uri: &str, lines: &[(&'static str, &[u8])]) -> Request<()> {
    let mut request = Request::builder().uri(uri).body(()).unwrap();
    for (name, value) in lines {
        request
            .headers_mut()
            .append(*name, HeaderValue::from_bytes(value).unwrap());
    }
    request
}

fn found(sources: &Sources, uri: &str, lines: &[(&'static str, &[u8])]) -> String {
    let request = request(uri, lines);
    match sources.find(request.headers(), request.uri()) {
        Err(NoKey::Absent(_)) => "nothing".into(),
        Err(NoKey::Unusable) => "unusable".into(),
        Err(NoKey::Several) => "several".into(),
        Err(NoKey::Malformed) => "malformed".into(),
        Ok((key, _)) => format!("one {}", key.as_bytes().escape_ascii()),
    }
}

#[test]
fn one_value_is_found_as_bytes_in_every_source() {
    let all = all();
    for (value, key) in [
        (&b"Bearer k"[..], "one k"),
        (b"bEaReR k", "one k"),
        (b"APIKEY k", "one k"),
        (b"  Bearer   k\t ", "one k"),
        (b"Bearer a b", "one a b"),
        (b"Bearer a,b", "one a,b"),
        (b"Bearer\tk", "one \\tk"),
        (b"Bearer \tk", "one \\tk"),
        (b"Bearer,k", "one ,k"),
        (b"Bearer=k", "one =k"),
        (b"Bearer \xff\x80", "one \\xff\\x80"),
        (b"Bearer", "unusable"),
        (b"Bearer ", "unusable"),
        (b"", "unusable"),
        (b"Bearerk", "nothing"),
        (b"Digest k", "nothing"),
        (b"Basic a2V5", "one key"),
        (b"Basic a2V5Og==", "one key"),
        (b"Basic a2V5Og", "one key"),
        (b"basic a2V5OnB3", "malformed"),
        (b"Basic Ojo=", "malformed"),
        (b"Basic key_live", "malformed"),
        (b"Basic a2V5 a2V5", "malformed"),
        (b"Basic", "unusable"),
        (b"Basic Og==", "unusable"),
    ] {
        assert_eq!(
            found(&all, "/", &[("authorization", value)]),
            key,
            "{}",
            value.escape_ascii()
        );
    }
    for (value, key) in [
        (&b"k"[..], "one k"),
        (b" k\t", "one k"),
        (b"", "unusable"),
        (b"\t", "unusable"),
        (b"Bearer k", "one Bearer k"),
    ] {
        assert_eq!(found(&all, "/", &[("x-api-key", value)]), key);
    }
    for (uri, key) in [
        ("/?api_key=k", "one k"),
        ("/?a=b&api%5Fkey=%6B", "one k"),
        ("/?api_key=%20%ff", "one  \\xff"),
        ("/?api_key=", "unusable"),
        ("/?api_key", "unusable"),
        ("/?Api_Key=k", "nothing"),
    ] {
        assert_eq!(found(&all, uri, &[]), key, "{uri}");
    }
}

#[test]
fn two_values_are_several_whatever_they_hold() {
    let all = all();
    let bearer = ("authorization", b"Bearer k".as_slice());
    let header = ("x-api-key", b"k".as_slice());
    for (uri, lines) in [
        ("/", &[bearer, header][..]),
        ("/", &[bearer, bearer]),
        ("/", &[header, header]),
        ("/", &[bearer, ("authorization", b"Basic \xff")]),
        ("/", &[bearer, ("x-api-key", b"")]),
        ("/", &[("authorization", b"Digest d, Bearer k")]),
        ("/", &[("authorization", b"Digest d=\"a\\\",\" ,  bearer k")]),
        ("/", &[("authorization", b"Negotiate n,ApiKey")]),
        ("/?api_key=k", &[header]),
        ("/?api_key=k", &[bearer]),
        ("/?api_key=k&api%5fkey=k", &[]),
    ] {
        assert_eq!(found(&all, uri, lines), "several", "{uri} {lines:?}");
    }
}

#[test]
fn other_sources_are_neither_counted_nor_removed() {
    let header = sources(&[KeySource::header("x-api-key").unwrap()]);
    let lines: &[(&'static str, &[u8])] = &[("authorization", b"Bearer jwt"), ("x-api-key", b"k")];
    assert_eq!(found(&header, "/?api_key=k", lines), "one k");
    let mut request = request("/?api_key=k", lines);
    header.strip(&mut request, &Spot::Anywhere(Box::default()));
    assert_eq!(request.headers()["authorization"], "Bearer jwt");
    assert!(!request.headers().contains_key("x-api-key"));
    assert_eq!(request.uri(), "/?api_key=k");
}

#[test]
fn comma_in_another_scheme_joins_nothing() {
    for value in [
        "Digest realm=\"a, Bearer k\", nonce=n",
        "OAuth a=1, apikey=\"2\"",
        "Digest bearer, bearers k",
    ] {
        let lines = &[("authorization", value.as_bytes())];
        assert_eq!(found(&all(), "/", lines), "nothing", "{value}");
    }
}

#[test]
fn strip_removes_every_configured_credential() {
    let lines: &[(&'static str, &[u8])] = &[
        ("authorization", b"Digest d, Bearer zero"),
        ("authorization", b"Digest d"),
        ("authorization", b"BEARER one"),
        ("authorization", b"apikey \xff"),
        ("authorization", b"Negotiate n"),
        ("x-api-key", b"two"),
        ("x-api-key", b"three"),
        ("accept", b"*/*"),
    ];
    let mut request = request("/?a=1&api_key=four", lines);
    all().strip(&mut request, &Spot::Anywhere(Box::default()));
    let kept: Vec<_> = request.headers().get_all("authorization").iter().collect();
    assert_eq!(kept, ["Digest d", "Negotiate n"]);
    assert_eq!(request.headers().len(), 3);
    assert_eq!(request.uri(), "/?a=1");
}

#[test]
fn kept_credentials_are_marked_sensitive() {
    let lines: &[(&'static str, &[u8])] = &[("authorization", b"Bearer k"), ("x-api-key", b"k"), ("accept", b"*")];
    let mut request = request("/", lines);
    all().mark(request.headers_mut());
    assert!(request.headers()["authorization"].is_sensitive());
    assert!(request.headers()["x-api-key"].is_sensitive());
    assert!(!request.headers()["accept"].is_sensitive());
}

#[test]
fn no_source_or_one_listed_twice_is_a_config_error() {
    let new = |sources: &[KeySource]| Sources::new(sources.iter().cloned(), &KeyFormats::default());
    assert!(new(&[]).is_err());
    assert!(new(&[KeySource::bearer(), KeySource::authorization("BEARER").unwrap()]).is_err());
    assert!(new(&[KeySource::bearer(), KeySource::basic()]).is_ok());
}

/// Header lines and a query as clients might send them, most of them nearly right.
fn requests() -> impl Strategy<Value = Request<()>> {
    let scheme = prop_oneof![
        Just("Bearer"),
        select(vec![
            "bearer", "BEARER", "ApiKey", "apikey", "Basic", "Digest", "Bearerk", "Bearer,", ""
        ]),
    ];
    let between = prop_oneof![Just(" "), select(vec!["  ", "\t", " \t", "\t ", ",", ""])];
    let odd_keys: [&[u8]; 12] = [
        b"a b",
        b"a,b",
        b"a2V5",
        b"",
        b" ",
        b"\t",
        b"k ",
        b"k\t",
        b" k",
        b"\xff",
        b"x, Bearer k",
        b"\", Bearer k",
    ];
    let key = prop_oneof![Just(&b"key"[..]), select(odd_keys.to_vec())];
    let before = prop_oneof![3 => Just(""), 1 => select(vec![" ", "\t"])];
    let line = (before, scheme, between, key).prop_map(|(before, scheme, between, key)| {
        [before.as_bytes(), scheme.as_bytes(), between.as_bytes(), key].concat()
    });
    let name = prop_oneof![3 => Just("authorization"), 1 => Just("x-api-key"), 1 => Just("x-other")];
    let uri = select(vec!["/", "/", "/?a=b", "/?api_key=k", "/?api_key="]);
    let others = select(vec![0, 0, 0, 3, 100]);
    (proptest::collection::vec((name, line), 0..4), uri, others).prop_map(|(lines, uri, others)| {
        let lines = lines.iter().map(|(name, line)| (*name, line.as_slice()));
        let others = std::iter::repeat_n(("x-another", b"Bearer key".as_slice()), others);
        request(uri, &others.chain(lines).collect::<Vec<_>>())
    })
}

fn configurations() -> Vec<Sources> {
    let [bearer, basic] = [KeySource::bearer(), KeySource::basic()];
    let own = KeySource::authorization("ApiKey").unwrap();
    let header = KeySource::header("x-api-key").unwrap();
    let parameter = KeySource::dangerous_query_parameter("api_key").unwrap();
    vec![
        Sources::defaults(&KeyFormats::default()),
        all(),
        Sources::new([bearer.clone()], &KeyFormats::default()).unwrap(),
        sources(&[header.clone(), bearer.clone()]),
        sources(&[own.clone(), bearer.clone()]),
        sources(&[basic.clone(), bearer.clone()]),
        sources(&[bearer.clone(), basic]),
        sources(&[bearer, parameter]),
        Sources::new([own], &KeyFormats::default()).unwrap(),
        Sources::new([header], &KeyFormats::default()).unwrap(),
    ]
}

proptest::proptest! {
    #[test]
    fn nothing_is_found_after_strip_and_the_rest_stays(request in requests()) {
        for sources in configurations() {
            let mut stripped = request.clone();
            sources.strip(&mut stripped, &Spot::Anywhere(Box::default()));
            let found = sources.find(stripped.headers(), stripped.uri());
            prop_assert!(matches!(found, Err(NoKey::Absent(_))), "{request:?} {:?}", sources.listed());
            if let Ok((_, spot)) = sources.find(request.headers(), request.uri()) {
                let mut stripped_there = request.clone();
                sources.strip(&mut stripped_there, &spot);
                let mut expected = stripped.headers().clone();
                // Where the key is known, its copies go too.
                if let Some(key) = spot.beside().and_then(|beside| beside.copied.as_ref()) {
                    copies::cut(&mut expected, key, sources.keys.has_escapes());
                }
                prop_assert_eq!(stripped_there.headers(), &expected, "{:?} {:?}", request, sources.listed());
                prop_assert_eq!(stripped_there.uri(), stripped.uri());
                let query = |request: &Request<()>| request.uri().query().map_or(0, |query| query.split('&').count());
                // Empty lines go too, and count as nothing.
                let filled = |request: &Request<()>| {
                    let blank = |line: &HeaderValue| line.as_bytes().iter().all(|byte| b" \t,".contains(byte));
                    request.headers().iter().filter(|(name, line)| *name != AUTHORIZATION || !blank(line)).count()
                };
                let removed = filled(&request) - filled(&stripped) + query(&request) - query(&stripped);
                prop_assert_eq!(removed, 1, "{:?} {:?}", request, sources.listed());
            }
        }
    }

    #[test]
    fn any_value_that_counts_is_stripped_without_a_panic(value in proptest::collection::vec(0x20u8..=0xff, 0..40)) {
        let Ok(line) = HeaderValue::from_bytes(&value) else { return Ok(()) };
        let mut request = Request::new(());
        request.headers_mut().insert(AUTHORIZATION, line);
        let all = all();
        let counted = !matches!(all.find(request.headers(), request.uri()), Err(NoKey::Absent(_)));
        all.strip(&mut request, &Spot::Anywhere(Box::default()));
        if counted {
            prop_assert!(request.headers().is_empty());
        }
    }
}
