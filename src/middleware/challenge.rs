//! The `WWW-Authenticate` field: how a client could do better (RFC 9110, section 11.6.1; RFC 6750, section 3).

use http::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use smallvec::SmallVec;

use super::source::{KeySource, Place};
use crate::check::{Rejection, RejectionClass};
use crate::key::Scope;

/// One line per configured Authorization scheme.
type Lines = SmallVec<[HeaderValue; 1]>;

/// The challenges of a layer, written once.
#[derive(Clone)]
pub(super) struct Challenges {
    realm: Box<str>,
    schemes: SmallVec<[Box<str>; 1]>,
    missing: Lines,
    invalid_token: Lines,
    invalid_request: Lines,
}

impl Challenges {
    pub(super) fn new(realm: &str, sources: &[KeySource]) -> Self {
        let mut schemes: SmallVec<[Box<str>; 1]> = sources
            .iter()
            .filter_map(|source| match source.place() {
                Place::Scheme { name, .. } => Some(name.clone()),
                Place::Header(_) | Place::Parameter(_) => None,
            })
            .collect();
        // A 401 must carry a challenge (RFC 9110, section 15.5.2). `Bearer` would send clients to a place where
        // nobody looks.
        if schemes.is_empty() {
            schemes.push("ApiKey".into());
        }
        Self {
            missing: lines(&schemes, realm, ""),
            invalid_token: lines(&schemes, realm, ", error=\"invalid_token\""),
            invalid_request: lines(&schemes, realm, ", error=\"invalid_request\""),
            realm: realm.into(),
            schemes,
        }
    }

    /// Adds the challenge of this refusal, if it has one and the responder wrote none.
    pub(super) fn write(&self, rejection: &Rejection, headers: &mut HeaderMap) {
        if headers.contains_key(WWW_AUTHENTICATE) {
            return;
        }
        let lines = match (rejection.kind().class(), rejection.missing_scope()) {
            (RejectionClass::MissingCredential, _) => &self.missing,
            (RejectionClass::InvalidCredential, _) => &self.invalid_token,
            (RejectionClass::MultipleCredentials, _) => &self.invalid_request,
            (RejectionClass::Forbidden, Some(scope)) => &self.insufficient_scope(scope),
            _ => return,
        };
        for line in lines {
            headers.append(WWW_AUTHENTICATE, line.clone());
        }
    }

    fn insufficient_scope(&self, scope: &Scope) -> Lines {
        let error = format!(", error=\"insufficient_scope\", scope=\"{scope}\"");
        lines(&self.schemes, &self.realm, &error)
    }
}

fn lines(schemes: &[Box<str>], realm: &str, error: &str) -> Lines {
    let line = |scheme: &str| {
        // Basic has no error parameter, and its own one for the encoding (RFC 7617, section 2.1).
        let rest = if scheme.eq_ignore_ascii_case("basic") {
            ", charset=\"UTF-8\""
        } else {
            error
        };
        let text = format!("{scheme} realm=\"{}\"{rest}", quoted(realm));
        HeaderValue::try_from(text).ok()
    };
    schemes.iter().filter_map(|scheme| line(scheme)).collect()
}

/// Quoted-string text (RFC 9110, section 5.6.4). The realm is checked where it is configured; this is the second lock.
fn quoted(realm: &str) -> String {
    realm
        .chars()
        .filter(|c| !c.is_control())
        .flat_map(|c| matches!(c, '"' | '\\').then_some('\\').into_iter().chain([c]))
        .collect()
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
    fn every_configured_scheme_is_challenged() {
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
        let schemes = [KeySource::authorization("Token").unwrap(), KeySource::basic()];
        assert_eq!(
            written("api", &schemes, &invalid),
            [
                "Token realm=\"api\", error=\"invalid_token\"",
                "Basic realm=\"api\", charset=\"UTF-8\""
            ]
        );
    }

    #[test]
    fn a_scope_is_named_and_a_network_is_not_challenged() {
        let sources = [KeySource::bearer()];
        let scope = Rejection::insufficient_scope("orders:write".parse().unwrap());
        assert_eq!(
            written("api", &sources, &scope),
            ["Bearer realm=\"api\", error=\"insufficient_scope\", scope=\"orders:write\""]
        );
        let network = Rejection::new(RejectionKind::NetworkNotAllowed);
        assert!(written("api", &sources, &network).is_empty());
    }

    #[test]
    fn a_realm_cannot_break_out_of_its_quotes() {
        let missing = Rejection::new(RejectionKind::MissingCredential);
        assert_eq!(
            written("a\"\r\nb\\", &[KeySource::bearer()], &missing),
            ["Bearer realm=\"a\\\"b\\\\\""]
        );
    }
}
