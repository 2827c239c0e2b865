//! Refusals as problem details.

use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::request::Parts;
use http::{Response, Uri};

use super::answer::{Answer, Problem};
use super::grpc;
use super::respond::Respond;
use crate::check::Rejection;
use crate::error::ConfigError;

/// Absolute, as RFC 9457 advises, and of no host: a client that looks it up must not reach a page that is not the service's.
const BASE: &str = "urn:problem-type:tower-api-key:";

/// Refusals as `application/problem+json` (RFC 9457), and for gRPC requests as a gRPC status. The default.
///
/// The body needs `From<Bytes>`, as axum's and hyper's usual bodies have; for others there is
/// [`with_body`](Self::with_body).
///
/// # Problem types
///
/// Limits and outages have [registered types](https://www.iana.org/assignments/http-problem-types); the others are
/// `urn:problem-type:tower-api-key:` and a name below, unless [`with_type_base`](Self::with_type_base) puts the names on
/// a page of one's own.
///
/// ## unauthenticated
/// Status 401. There is no API key, or it does not work. Why it does not work is not told.
///
/// ## multiple-credentials
/// Status 400. There are API keys in two places, or two in one.
///
/// ## forbidden
/// Status 403. The API key works but lacks a scope, which member `scope` names, or may not be used from this network.
///
/// ## insecure-transport
/// Status 403. The request did not come over HTTPS.
///
/// ## misconfigured
/// Status 500. A layer is missing in the service.
///
/// # Example
///
/// ```
/// use http_body_util::Full;
/// use tower_api_key::ProblemJson;
///
/// let plain = ProblemJson::new().with_type_base("https://errors.example.com/")?;
/// let boxed = ProblemJson::new().with_body(|bytes| http_body_util::combinators::BoxBody::new(Full::new(bytes)));
/// # let _ = (plain, boxed);
/// # Ok::<_, tower_api_key::ConfigError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct ProblemJson<F = FromBytes> {
    // None is the default base: a responder is cloned with its service, for some servers once a request.
    base: Option<Arc<str>>,
    body: F,
}

/// Bodies through `From<Bytes>`.
#[derive(Clone, Copy, Debug, Default)]
pub struct FromBytes;

/// Bodies through a function.
#[derive(Clone, Copy, Debug)]
pub struct WithBody<F>(F);

impl ProblemJson {
    /// Problem details with the types explained above.
    pub fn new() -> Self {
        Self::default()
    }
}

impl<F> ProblemJson<F> {
    /// Puts the names of this crate's problem types below another absolute URI, such as `https://errors.example.com/`
    /// or `https://example.com/errors#`.
    ///
    /// # Errors
    /// When it is not an absolute `http` or `https` URI that ends in `/`, `#` or `=`: a name is put right after it.
    pub fn with_type_base(mut self, base: &str) -> Result<Self, ConfigError> {
        let uri = base.parse::<Uri>().ok();
        let absolute =
            uri.is_some_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some());
        if !absolute
            || !base.ends_with(['/', '#', '='])
            || !base
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && !b"\"\\<>".contains(&byte))
        {
            let problem = format!("{base:?} is not an absolute URI that ends in `/`, `#` or `=`");
            return Err(ConfigError::new("problem type base", problem));
        }
        self.base = Some(base.into());
        Ok(self)
    }

    /// Makes bodies with a function, for body types without `From<Bytes>`.
    #[must_use]
    pub fn with_body<G, B>(self, body: G) -> ProblemJson<WithBody<G>>
    where
        G: Fn(Bytes) -> B + Clone,
    {
        ProblemJson {
            base: self.base,
            body: WithBody(body),
        }
    }

    fn response<B>(&self, rejection: &Rejection, request: &Parts, body: impl Fn(Bytes) -> B) -> Response<B> {
        if let Some(content_type) = grpc::requested(request) {
            let mut response = Response::new(body(Bytes::new()));
            grpc::write(rejection, content_type, response.headers_mut());
            return response;
        }
        let text = self.text(rejection);
        let mut response = Response::new(body(Bytes::from(text)));
        *response.status_mut() = Answer::to(rejection).status;
        let json = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(CONTENT_TYPE, json);
        response
    }

    fn text(&self, rejection: &Rejection) -> String {
        let answer = Answer::to(rejection);
        let mut json = String::from("{\"type\":");
        match answer.problem {
            Problem::Own(name) => string(&mut json, &[self.base.as_deref().unwrap_or(BASE), name]),
            Problem::Registered(uri) => string(&mut json, &[uri]),
        }
        json.push_str(",\"title\":");
        string(&mut json, &[answer.title]);
        // Writing into a String cannot fail.
        let _ = write!(json, ",\"status\":{}", answer.status.as_u16());
        json.push_str(",\"detail\":");
        string(&mut json, &[answer.detail]);
        if let Some(scope) = rejection.missing_scope() {
            json.push_str(",\"scope\":");
            string(&mut json, &[scope.as_str()]);
        }
        if let Some(limited) = rejection.limits() {
            json.push_str(",\"violated-policies\":[");
            let violated = limited.violated.iter().filter_map(|index| limited.limits.get(*index));
            for (index, (limit, _)) in violated.enumerate() {
                if index > 0 {
                    json.push(',');
                }
                string(&mut json, &[limit.name()]);
            }
            json.push(']');
        }
        json.push('}');
        json
    }
}

impl<B: From<Bytes>> Respond<B> for ProblemJson<FromBytes> {
    fn respond(&self, rejection: &Rejection, request: &Parts) -> Response<B> {
        self.response(rejection, request, B::from)
    }
}

impl<B, F: Fn(Bytes) -> B + Clone> Respond<B> for ProblemJson<WithBody<F>> {
    fn respond(&self, rejection: &Rejection, request: &Parts) -> Response<B> {
        self.response(rejection, request, &self.body.0)
    }
}

/// A JSON string of these parts (RFC 8259, section 7).
fn string(json: &mut String, parts: &[&str]) {
    json.push('"');
    for c in parts.iter().flat_map(|part| part.chars()) {
        match c {
            '"' | '\\' => {
                json.push('\\');
                json.push(c);
            }
            '\0'..='\u{1f}' => {
                let _ = write!(json, "\\u{:04x}", u32::from(c));
            }
            _ => json.push(c),
        }
    }
    json.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::RejectionKind;

    proptest::proptest! {
        #[test]
        fn strings_are_json_whatever_they_hold(text: String) {
            let mut json = String::new();
            string(&mut json, &[&text]);
            proptest::prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }
    }

    #[test]
    fn the_base_is_absolute_and_ends_where_a_name_can_follow() {
        for bad in [
            "",
            "/errors/",
            "errors#",
            "https://example.com",
            "ftp://example.com/",
            "https://e.com/\"/",
        ] {
            assert!(ProblemJson::new().with_type_base(bad).is_err(), "{bad:?}");
        }
        let problem = ProblemJson::new().with_type_base("https://e.example/errors/").unwrap();
        let text = problem.text(&Rejection::new(RejectionKind::MultipleCredentials));
        assert!(text.starts_with("{\"type\":\"https://e.example/errors/multiple-credentials\""));
    }
}
