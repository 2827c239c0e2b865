//! The `WWW-Authenticate` header (RFC 9110, section 11.6.1; RFC 6750, section 3), and the same in words.

use std::sync::Arc;

use http::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use smallvec::SmallVec;

use super::answer::spaced;
use super::source::{Form, KeySource, Place};
use super::syntax::quoted;
use crate::check::{Rejection, RejectionClass};
use crate::key::Scope;

/// One line per configured `Authorization` scheme.
type Lines = SmallVec<[HeaderValue; 1]>;

/// The challenges of a layer, prepared once.
#[derive(Clone)]
pub(super) struct Challenges {
    realm: Box<str>,
    schemes: SmallVec<[Box<str>; 1]>,
    missing: Lines,
    invalid_token: Lines,
    invalid_request: Lines,
    key_places: Arc<str>,
}

impl Challenges {
    pub(super) fn new(realm: &str, sources: &[KeySource]) -> Self {
        let mut schemes: SmallVec<[Box<str>; 1]> = sources
            .iter()
            .filter_map(|source| source.challenged_scheme().map(Box::from))
            .collect();
        // A 401 must have a challenge (RFC 9110, section 15.5.2). `Bearer` would be wrong: this layer does not read it.
        if schemes.is_empty() {
            schemes.push("ApiKey".into());
        }
        Self {
            missing: lines(&schemes, realm, ""),
            invalid_token: lines(&schemes, realm, ", error=\"invalid_token\""),
            invalid_request: lines(&schemes, realm, ", error=\"invalid_request\""),
            key_places: key_places(sources).into(),
            realm: realm.into(),
            schemes,
        }
    }

    /// Adds the challenge of this refusal, if there is one, unless the responder wrote its own.
    ///
    /// Challenges have no way to say that one of several scopes is enough. `scope` lists all of them.
    pub(super) fn write(&self, rejection: &Rejection, headers: &mut HeaderMap) {
        if headers.contains_key(WWW_AUTHENTICATE) {
            return;
        }
        let lines = match (rejection.kind().class(), rejection.required_scopes()) {
            (RejectionClass::MissingCredential, _) => &self.missing,
            (RejectionClass::InvalidCredential, _) => &self.invalid_token,
            (RejectionClass::MultipleCredentials, _) => &self.invalid_request,
            (RejectionClass::Forbidden, scopes @ [_, ..]) => &self.insufficient_scope(scopes),
            _ => return,
        };
        for line in lines {
            headers.append(WWW_AUTHENTICATE, line.clone());
        }
    }

    /// A sentence that says where the client can put its key.
    pub(super) fn key_places(&self) -> Arc<str> {
        self.key_places.clone()
    }

    fn insufficient_scope(&self, scopes: &[Scope]) -> Lines {
        let error = format!(", error=\"insufficient_scope\", scope=\"{}\"", spaced(scopes));
        lines(&self.schemes, &self.realm, &error)
    }
}

fn lines(schemes: &[Box<str>], realm: &str, error: &str) -> Lines {
    let line = |scheme: &str| {
        // Basic has no `error` parameter, but one for the encoding (RFC 7617, section 2.1).
        let rest = if scheme.eq_ignore_ascii_case("basic") {
            ", charset=\"UTF-8\""
        } else {
            error
        };
        let text = format!("{scheme} realm={}{rest}", quoted(realm));
        HeaderValue::try_from(text).ok()
    };
    schemes.iter().filter_map(|scheme| line(scheme)).collect()
}

/// Such as "Send it as `Authorization: Bearer` or in `x-api-key`."
fn key_places(sources: &[KeySource]) -> String {
    let is_header = |source: &&KeySource| !matches!(source.place(), Place::Parameter(_));
    // URLs end up in logs: the query is named only where there is no other place.
    let headers: Vec<&KeySource> = sources.iter().filter(is_header).collect();
    let named = if headers.is_empty() {
        sources.iter().collect()
    } else {
        headers
    };
    let mut sentence = String::from("Send it ");
    for (index, source) in named.iter().enumerate() {
        if index > 0 {
            sentence.push_str(if index + 1 == named.len() { " or " } else { ", " });
        }
        sentence.push_str(&match source.place() {
            Place::Scheme {
                name,
                form: Form::BasicPassword,
            } => format!("as the password in `Authorization: {name}`"),
            Place::Scheme { name, .. } => format!("as `Authorization: {name}`"),
            Place::Header(name) => format!("in `{name}`"),
            Place::Parameter(name) => format!("in the query as `{name}`"),
            Place::Protocol(marker) => format!("after `{marker}` in `Sec-WebSocket-Protocol`"),
        });
    }
    sentence.push('.');
    sentence
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::RejectionKind;

    fn written(realm: &str, sources: &[KeySource], rejection: &Rejection) -> Vec<String> {
        let mut headers = HeaderMap::new();
        Challenges::new(realm, sources).write(rejection, &mut headers);
        let lines = headers.get_all(WWW_AUTHENTICATE).iter();
        lines.map(|line| line.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn every_configured_scheme_has_a_challenge() {
        let invalid = Rejection::new(RejectionKind::UnknownKey);
        let header = KeySource::header("x-api-key").unwrap();
        assert_eq!(
            written("api", &[KeySource::bearer(), header.clone()], &invalid),
            ["Bearer realm=\"api\", error=\"invalid_token\""]
        );
        assert_eq!(
            written("api", &[header], &invalid),
            ["ApiKey realm=\"api\", error=\"invalid_token\""]
        );
        let schemes = [
            KeySource::authorization("Token").unwrap(),
            KeySource::basic().challenge(),
        ];
        assert_eq!(
            written("api", &schemes, &invalid),
            [
                "Token realm=\"api\", error=\"invalid_token\"",
                "Basic realm=\"api\", charset=\"UTF-8\""
            ]
        );
    }

    #[test]
    fn basic_is_challenged_only_if_asked_for() {
        let invalid = Rejection::new(RejectionKind::UnknownKey);
        for basic in [KeySource::basic(), KeySource::basic_password()] {
            let both = [KeySource::bearer(), basic.clone()];
            assert_eq!(
                written("api", &both, &invalid),
                ["Bearer realm=\"api\", error=\"invalid_token\""]
            );
            let alone = written("api", std::slice::from_ref(&basic), &invalid);
            assert_eq!(alone, ["ApiKey realm=\"api\", error=\"invalid_token\""]);
            let asked = written("api", &[basic.challenge()], &invalid);
            assert_eq!(asked, ["Basic realm=\"api\", charset=\"UTF-8\""]);
        }
    }

    #[test]
    fn scopes_are_listed_and_a_network_has_no_challenge() {
        let sources = [KeySource::bearer()];
        let scopes = ["orders:write".parse().unwrap(), "admin".parse().unwrap()];
        for (scopes, any, listed) in [
            (&scopes[..1], false, "orders:write"),
            (&scopes, false, "orders:write admin"),
            (&scopes, true, "orders:write admin"),
        ] {
            let lacking = Rejection::insufficient_scope(scopes.into(), any);
            let challenge = format!("Bearer realm=\"api\", error=\"insufficient_scope\", scope=\"{listed}\"");
            assert_eq!(written("api", &sources, &lacking), [challenge]);
        }
        let network = Rejection::new(RejectionKind::NetworkNotAllowed);
        assert!(written("api", &sources, &network).is_empty());
    }

    #[test]
    fn realm_cannot_break_out_of_its_quotes() {
        let missing = Rejection::new(RejectionKind::MissingCredential);
        assert_eq!(
            written("a\"\r\nb\\", &[KeySource::bearer()], &missing),
            ["Bearer realm=\"a\\\"b\\\\\""]
        );
    }

    #[test]
    fn key_places_are_the_configured_names() {
        let header = |name| KeySource::header(name).unwrap();
        let query = KeySource::dangerous_query_parameter("key").unwrap();
        let token = KeySource::authorization("Token").unwrap();
        for (sources, sentence) in [
            (
                vec![KeySource::bearer(), header("x-api-key")],
                "Send it as `Authorization: Bearer` or in `x-api-key`.",
            ),
            (vec![header("x-my-key")], "Send it in `x-my-key`."),
            (
                vec![token, KeySource::basic(), header("key"), query.clone()],
                "Send it as `Authorization: Token`, as `Authorization: Basic` or in `key`.",
            ),
            (vec![query], "Send it in the query as `key`."),
        ] {
            let places = Challenges::new("api", &sources).key_places();
            assert_eq!(&*places, sentence);
        }
    }
}
