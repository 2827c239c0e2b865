//! Finds the key in a request, and takes it out.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::header::{AUTHORIZATION, Entry, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Uri};
use smallvec::SmallVec;
use zeroize::Zeroizing;

use super::query;
use super::source::{BEARER, KeySource, Place, is_token};
use crate::error::ConfigError;

/// Some clients pad, some do not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// As many headers are looked at one by one. Nearly all requests have fewer.
const FEW_HEADERS: usize = 32;

/// The configured places, sorted by how they are looked at.
#[derive(Clone)]
pub(super) struct Sources {
    listed: Box<[KeySource]>,
    schemes: SmallVec<[Scheme; 1]>,
    headers: SmallVec<[HeaderName; 1]>,
    parameters: Box<[Box<str>]>,
    /// Whether [`find_at_once`](Self::find_at_once) may answer.
    is_bearer_usual: bool,
}

#[derive(Clone)]
struct Scheme {
    name: Box<str>,
    basic: bool,
}

/// What a request brings.
pub(super) enum Found<'r> {
    /// Nothing, or one empty value.
    Nothing,
    /// Values in two places, or two in one; whether they are equal makes no difference.
    Several,
    /// One value that cannot be a key, whatever the formats are.
    Malformed,
    /// One value, and where it is.
    One(Key<'r>, Spot),
}

/// Where the one credential of a request is.
#[derive(Clone, Copy)]
pub(super) enum Spot {
    /// In the one `Authorization` line.
    Authorization,
    /// Somewhere else.
    Elsewhere,
}

/// The bytes that a client presents as its key.
pub(super) enum Key<'r> {
    Sent(&'r [u8]),
    Decoded(Zeroizing<Vec<u8>>),
}

impl Key<'_> {
    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Sent(bytes) => bytes,
            Self::Decoded(bytes) => bytes,
        }
    }
}

/// A value as it was found, before it is decoded.
enum Raw<'r> {
    Plain(&'r [u8]),
    Basic(&'r [u8]),
    Parameter(&'r str),
}

impl Default for Sources {
    fn default() -> Self {
        let api_key = KeySource::header("x-api-key");
        Self::sorted([KeySource::bearer()].into_iter().chain(api_key).collect())
    }
}

impl Sources {
    pub(super) fn new(sources: impl IntoIterator<Item = KeySource>) -> Result<Self, ConfigError> {
        let sources: Vec<KeySource> = sources.into_iter().collect();
        if sources.is_empty() {
            return Err(ConfigError::new(
                "key sources",
                "without one no request could bring a key",
            ));
        }
        for (index, source) in sources.iter().enumerate() {
            if sources.iter().take(index).any(|earlier| earlier.overlaps(source)) {
                return Err(ConfigError::new("key sources", format!("{source} is listed twice")));
            }
        }
        Ok(Self::sorted(sources))
    }

    fn sorted(listed: Vec<KeySource>) -> Self {
        let mut sources = Self {
            schemes: SmallVec::new(),
            headers: SmallVec::new(),
            parameters: Box::default(),
            listed: Box::default(),
            is_bearer_usual: false,
        };
        let mut parameters = Vec::new();
        for source in &listed {
            match source.place().clone() {
                Place::Scheme { name, basic } => sources.schemes.push(Scheme { name, basic }),
                Place::Header(name) => sources.headers.push(name),
                Place::Parameter(name) => parameters.push(name),
            }
        }
        let has_bearer = sources
            .schemes
            .iter()
            .any(|scheme| &*scheme.name == BEARER && !scheme.basic);
        sources.is_bearer_usual = has_bearer && parameters.is_empty();
        sources.parameters = parameters.into();
        sources.listed = listed.into();
        sources
    }

    /// The sources in the order in which they were given.
    pub(super) fn listed(&self) -> &[KeySource] {
        &self.listed
    }

    /// The one credential of a request, wherever it is.
    #[inline]
    pub(super) fn find<'r>(&self, headers: &'r HeaderMap, uri: &'r Uri) -> Found<'r> {
        match self.find_at_once(headers) {
            Some(key) => Found::One(Key::Sent(key), Spot::Authorization),
            None => self.find_everywhere(headers, uri),
        }
    }

    /// The key of a request as nearly every client writes it: in one `Authorization: Bearer`, with no header of ours beside
    /// it. No request is decided otherwise for it; `None` says nothing.
    ///
    /// By going through the headers: to look one up takes a hash of its name, and as long as to pass by a dozen.
    #[inline]
    fn find_at_once<'r>(&self, headers: &'r HeaderMap) -> Option<&'r [u8]> {
        if !self.is_bearer_usual || headers.len() > FEW_HEADERS {
            return None;
        }
        let mut authorization = None;
        for (name, value) in headers {
            if *name == AUTHORIZATION {
                if authorization.replace(value).is_some() {
                    return None;
                }
            } else if self.headers.contains(name) {
                return None;
            }
        }
        let key = authorization?.as_bytes().strip_prefix(b"Bearer ")?;
        let is_bare = !matches!(key, [b' ' | b'\t', ..] | [.., b' ' | b'\t'] | []);
        is_bare.then_some(key)
    }

    /// Looks into every place. A configured place counts whatever its value is: to skip what looks wrong would let a
    /// proxy and this layer disagree about which of two values is the key.
    #[inline(never)]
    fn find_everywhere<'r>(&self, headers: &'r HeaderMap, uri: &'r Uri) -> Found<'r> {
        let mut found = None;
        let mut lines = 0;
        if !self.schemes.is_empty() {
            for line in headers.get_all(AUTHORIZATION) {
                lines += 1;
                let value = trim(line.as_bytes());
                let is_second = match self.in_authorization(value) {
                    Some(raw) => found.replace(raw).is_some(),
                    None => self.is_joined_to_ours(value),
                };
                if is_second {
                    return Found::Several;
                }
            }
        }
        let spot = if found.is_some() && lines == 1 {
            Spot::Authorization
        } else {
            Spot::Elsewhere
        };
        for name in &self.headers {
            for line in headers.get_all(name) {
                if found.replace(Raw::Plain(trim(line.as_bytes()))).is_some() {
                    return Found::Several;
                }
            }
        }
        for name in &self.parameters {
            for value in query::values(uri, name) {
                if found.replace(Raw::Parameter(value)).is_some() {
                    return Found::Several;
                }
            }
        }
        found.map_or(Found::Nothing, |raw: Raw<'r>| raw.decode(spot))
    }

    /// The value after a configured scheme; nothing when the line is of another scheme.
    #[inline]
    fn in_authorization<'r>(&self, value: &'r [u8]) -> Option<Raw<'r>> {
        let (scheme, value) = self.split_scheme(value)?;
        Some(if scheme.basic {
            Raw::Basic(value)
        } else {
            Raw::Plain(value)
        })
    }

    /// The configured scheme of an Authorization value, and what follows it.
    #[inline]
    fn split_scheme<'r>(&self, value: &'r [u8]) -> Option<(&Scheme, &'r [u8])> {
        self.schemes.iter().find_map(|scheme| {
            let (name, rest) = value.split_at_checked(scheme.name.len())?;
            // A longer name that only starts alike is another scheme.
            let ends = rest.first().is_none_or(|byte| *byte == b' ' || !is_token(*byte));
            let ours = scheme.name.as_bytes();
            // Nearly every client writes it as it is written here, and that is told faster.
            let is_it = ours == name || ours.eq_ignore_ascii_case(name);
            (ends && is_it).then(|| (scheme, skip_spaces(rest)))
        })
    }

    /// Whether credentials of ours stand behind a comma in a value of another scheme. That is what an intermediary makes of
    /// two lines (RFC 9110, section 5.3); unseen, the key would be passed on to inner services.
    #[cold]
    fn is_joined_to_ours(&self, value: &[u8]) -> bool {
        let (mut is_quoted, mut is_escaped) = (false, false);
        let mut rest = value;
        while let Some((byte, after)) = rest.split_first() {
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' if is_quoted => is_escaped = true,
                b'"' => is_quoted = !is_quoted,
                b',' if !is_quoted && self.starts_with_ours(after.trim_ascii_start()) => return true,
                _ => {}
            }
            rest = after;
        }
        false
    }

    /// Unlike [`split_scheme`](Self::split_scheme) for the start of a line: `token=…` is a parameter of the other scheme.
    fn starts_with_ours(&self, value: &[u8]) -> bool {
        self.split_scheme(value)
            .is_some_and(|(scheme, _)| matches!(value.get(scheme.name.len()), None | Some(b' ')))
    }

    /// Takes every configured credential out of a request. Authorization lines of other schemes stay.
    ///
    /// `only` is where the credential is, for a request in which one was found: then there is no need to look for others.
    #[inline]
    pub(super) fn strip<Q>(&self, request: &mut Request<Q>, only: Option<Spot>) {
        if let Some(Spot::Authorization) = only {
            request.headers_mut().remove(AUTHORIZATION);
            return;
        }
        for name in &self.headers {
            request.headers_mut().remove(name);
        }
        if !self.schemes.is_empty() {
            self.strip_authorization(request.headers_mut());
        }
        if !self.parameters.is_empty() {
            let named = |written: &str| self.parameters.iter().any(|name| query::is_named(written, name));
            query::remove(request.uri_mut(), named);
        }
    }

    fn strip_authorization(&self, headers: &mut HeaderMap) {
        let is_ours = |line: &HeaderValue| {
            let value = trim(line.as_bytes());
            self.split_scheme(value).is_some() || self.is_joined_to_ours(value)
        };
        let mut lines = headers.get_all(AUTHORIZATION).iter();
        match (lines.next(), lines.next()) {
            (None, _) => return,
            (Some(only), None) if is_ours(only) => {
                headers.remove(AUTHORIZATION);
                return;
            }
            (Some(_), None) => return,
            (Some(_), Some(_)) => {}
        }
        let others: Vec<HeaderValue> = headers
            .get_all(AUTHORIZATION)
            .iter()
            .filter(|line| !is_ours(line))
            .cloned()
            .collect();
        headers.remove(AUTHORIZATION);
        for line in others {
            headers.append(AUTHORIZATION, line);
        }
    }

    /// For credentials that stay in the request: keeps header values out of `Debug` output and of HPACK's tables.
    pub(super) fn mark_sensitive(&self, headers: &mut HeaderMap) {
        let authorization = (!self.schemes.is_empty()).then_some(&AUTHORIZATION);
        for name in self.headers.iter().chain(authorization) {
            if let Entry::Occupied(mut lines) = headers.entry(name) {
                for line in lines.iter_mut() {
                    line.set_sensitive(true);
                }
            }
        }
    }
}

impl<'r> Raw<'r> {
    fn decode(self, spot: Spot) -> Found<'r> {
        let key = match self {
            Self::Plain(value) => Key::Sent(value),
            Self::Parameter(value) if value.contains('%') => Key::Decoded(query::decode(value)),
            Self::Parameter(value) => Key::Sent(value.as_bytes()),
            Self::Basic([]) => return Found::Nothing,
            Self::Basic(value) => match user_name(value) {
                Some(key) => Key::Decoded(key),
                None => return Found::Malformed,
            },
        };
        if key.as_bytes().is_empty() {
            return Found::Nothing;
        }
        Found::One(key, spot)
    }
}

/// The user name of a Basic credential that has no password.
fn user_name(value: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut decoded = Zeroizing::new(BASE64.decode(value).ok()?);
    let end = decoded.iter().position(|byte| *byte == b':').unwrap_or(decoded.len());
    // A password would be a second secret that nobody checks.
    if end + 1 < decoded.len() {
        return None;
    }
    decoded.truncate(end);
    Some(decoded)
}

/// After the scheme come spaces (RFC 9110, section 11.4), and only those are taken off: `Bearer<TAB>key` leaves
/// `<TAB>key`, which is no key.
fn skip_spaces(mut value: &[u8]) -> &[u8] {
    while let [b' ', rest @ ..] = value {
        value = rest;
    }
    value
}

/// Without white space around it, which is no part of a field's value (RFC 9110, section 5.5).
fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use proptest::prelude::*;
    use proptest::sample::select;
    use proptest::test_runner::TestRunner;

    use super::*;

    fn sources(sources: &[KeySource]) -> Sources {
        Sources::new(sources.iter().cloned()).unwrap()
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
            Found::Nothing => "nothing".into(),
            Found::Several => "several".into(),
            Found::Malformed => "malformed".into(),
            Found::One(key, _) => format!("one {}", key.as_bytes().escape_ascii()),
        }
    }

    #[test]
    fn one_value_is_found_as_bytes_wherever_it_is() {
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
            (b"Bearer", "nothing"),
            (b"Bearer ", "nothing"),
            (b"", "nothing"),
            (b"Bearerk", "nothing"),
            (b"Digest k", "nothing"),
            (b"Basic a2V5", "one key"),
            (b"Basic a2V5Og==", "one key"),
            (b"Basic a2V5Og", "one key"),
            (b"basic a2V5OnB3", "malformed"),
            (b"Basic Ojo=", "malformed"),
            (b"Basic key_live", "malformed"),
            (b"Basic a2V5 a2V5", "malformed"),
            (b"Basic", "nothing"),
            (b"Basic Og==", "nothing"),
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
            (b"", "nothing"),
            (b"\t", "nothing"),
            (b"Bearer k", "one Bearer k"),
        ] {
            assert_eq!(found(&all, "/", &[("x-api-key", value)]), key);
        }
        for (uri, key) in [
            ("/?api_key=k", "one k"),
            ("/?a=b&api%5Fkey=%6B", "one k"),
            ("/?api_key=%20%ff", "one  \\xff"),
            ("/?api_key=", "nothing"),
            ("/?api_key", "nothing"),
            ("/?Api_Key=k", "nothing"),
        ] {
            assert_eq!(found(&all, uri, &[]), key, "{uri}");
        }
    }

    #[test]
    fn two_values_are_two_wherever_they_are_and_whatever_they_hold() {
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
    fn what_is_not_configured_is_neither_counted_nor_taken_out() {
        let header = sources(&[KeySource::header("x-api-key").unwrap()]);
        let lines: &[(&'static str, &[u8])] = &[("authorization", b"Bearer jwt"), ("x-api-key", b"k")];
        assert_eq!(found(&header, "/?api_key=k", lines), "one k");
        let mut request = request("/?api_key=k", lines);
        header.strip(&mut request, None);
        assert_eq!(request.headers()["authorization"], "Bearer jwt");
        assert!(!request.headers().contains_key("x-api-key"));
        assert_eq!(request.uri(), "/?api_key=k");
    }

    #[test]
    fn a_comma_inside_of_another_scheme_joins_nothing() {
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
    fn everything_configured_is_taken_out() {
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
        all().strip(&mut request, None);
        let kept: Vec<_> = request.headers().get_all("authorization").iter().collect();
        assert_eq!(kept, ["Digest d", "Negotiate n"]);
        assert_eq!(request.headers().len(), 3);
        assert_eq!(request.uri(), "/?a=1");
    }

    #[test]
    fn what_stays_is_marked_sensitive() {
        let lines: &[(&'static str, &[u8])] = &[("authorization", b"Bearer k"), ("x-api-key", b"k"), ("accept", b"*")];
        let mut request = request("/", lines);
        all().mark_sensitive(request.headers_mut());
        assert!(request.headers()["authorization"].is_sensitive());
        assert!(request.headers()["x-api-key"].is_sensitive());
        assert!(!request.headers()["accept"].is_sensitive());
    }

    #[test]
    fn a_place_listed_twice_is_a_mistake() {
        assert!(Sources::new([]).is_err());
        assert!(Sources::new([KeySource::bearer(), KeySource::authorization("BEARER").unwrap()]).is_err());
        assert!(Sources::new([KeySource::bearer(), KeySource::basic()]).is_ok());
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
        let others = select(vec![0, 0, 0, 3, FEW_HEADERS - 1, FEW_HEADERS, FEW_HEADERS + 1, 100]);
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
            Sources::default(),
            all(),
            Sources::new([bearer.clone()]).unwrap(),
            sources(&[header.clone(), bearer.clone()]),
            sources(&[own.clone(), bearer.clone()]),
            sources(&[basic.clone(), bearer.clone()]),
            sources(&[bearer.clone(), basic]),
            sources(&[bearer, parameter]),
            Sources::new([own]).unwrap(),
            Sources::new([header]).unwrap(),
        ]
    }

    /// All that a request is decided by: what was found, the key's bytes, and whether its place is known.
    fn decided(found: &Found<'_>) -> (u8, Vec<u8>, bool) {
        match found {
            Found::Nothing => (0, Vec::new(), false),
            Found::Several => (1, Vec::new(), false),
            Found::Malformed => (2, Vec::new(), false),
            Found::One(key, spot) => (3, key.as_bytes().to_vec(), matches!(spot, Spot::Authorization)),
        }
    }

    #[test]
    fn the_short_way_is_taken_by_what_clients_send_and_decides_like_the_long_one() {
        let mut runner = TestRunner::new(ProptestConfig::with_cases(2_000));
        let taken = Cell::new(0);
        let all = configurations();
        let decides_alike = |request: Request<()>| {
            for sources in &all {
                let (headers, uri) = (request.headers(), request.uri());
                taken.set(taken.get() + u32::from(sources.find_at_once(headers).is_some()));
                let (short, long) = (sources.find(headers, uri), sources.find_everywhere(headers, uri));
                prop_assert_eq!(decided(&short), decided(&long), "{:?} {:?}", headers, sources.listed());
            }
            Ok(())
        };
        runner.run(&requests(), decides_alike).unwrap();
        assert!(taken.get() > 200, "{} of them took it", taken.get());
    }

    proptest::proptest! {
        #[test]
        fn no_value_makes_it_panic_and_none_survives(value in proptest::collection::vec(0x20u8..=0xff, 0..40)) {
            let Ok(line) = HeaderValue::from_bytes(&value) else { return Ok(()) };
            let mut request = Request::new(());
            request.headers_mut().insert(AUTHORIZATION, line);
            let all = all();
            let counted = !matches!(all.find(request.headers(), request.uri()), Found::Nothing);
            all.strip(&mut request, None);
            if counted {
                proptest::prop_assert!(request.headers().is_empty());
            }
        }
    }
}
