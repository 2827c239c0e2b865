//! Refusals as problem details (RFC 9457).

use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::request::Parts;
use http::{Response, Uri};

use super::answer::{Answer, Problem, spaced};
use super::grpc;
use super::respond::Respond;
use crate::check::Rejection;
use crate::error::{ConfigError, quoted};

/// Answers with `application/problem+json` (RFC 9457), and gRPC requests with a gRPC status. The default.
///
/// The body type needs `From<Bytes>`, as axum's and hyper's usual ones have. For others, see
/// [`with_body`](Self::with_body).
///
/// # Problem types
///
/// Rate limits and outages have [registered types](https://www.iana.org/assignments/http-problem-types). The others are
/// `urn:problem-type:tower-api-key:` and a name below, or the name on your own page, see [`type_base`](Self::type_base).
///
/// ## unauthenticated
/// Status 401. The request has no API key, or an invalid one. The response does not say why it is invalid.
///
/// ## multiple-credentials
/// Status 400. The request has more than one API key.
///
/// ## forbidden
/// Status 403. The API key is valid, but lacks a scope, or may not be used from this network. Member `scope` names the
/// scopes that are needed, with spaces between.
///
/// ## insecure-transport
/// Status 403. The request did not come over HTTPS, or no trusted proxy says that it did.
///
/// ## misconfigured
/// Status 500. The service lacks a layer.
///
/// # Example
///
/// ```
/// use http_body_util::{Full, combinators::BoxBody};
/// use tower_api_key::ProblemJson;
///
/// let plain = ProblemJson::new().type_base("https://errors.example.com/")?;
/// let boxed = plain.clone().with_body(|bytes| BoxBody::new(Full::new(bytes)));
/// # let _ = (plain, boxed);
/// # Ok::<_, tower_api_key::ConfigError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct ProblemJson {
    // `None` is the default base: axum clones the responder with its service for every request.
    base: Option<Arc<str>>,
}

impl ProblemJson {
    /// A responder with the problem types listed above.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the absolute URI that the names of this crate's problem types are appended to, such as
    /// `https://errors.example.com/` or `https://example.com/errors#`.
    ///
    /// # Errors
    /// If it is not an absolute `http` or `https` URI that ends in `/`, `#` or `=`.
    pub fn type_base(mut self, base: &str) -> Result<Self, ConfigError> {
        let uri = base.parse::<Uri>().ok();
        let absolute =
            uri.is_some_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some());
        if !absolute
            || !base.ends_with(['/', '#', '='])
            || !base
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && !b"\"\\<>".contains(&byte))
        {
            let problem = format!(
                "must be an absolute http or https URI that ends in `/`, `#` or `=`, got {}",
                quoted(base)
            );
            return Err(ConfigError::new("problem type base", problem));
        }
        self.base = Some(base.into());
        Ok(self)
    }

    /// Makes bodies with a function, for body types without `From<Bytes>`.
    #[must_use]
    pub fn with_body<B, F>(self, body: F) -> impl Respond<B>
    where
        F: Fn(Bytes) -> B + Clone,
    {
        move |rejection: &Rejection, request: &Parts| self.response(rejection, request, &body)
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
        let scopes = rejection.required_scopes();
        if !scopes.is_empty() {
            json.push_str(",\"scope\":");
            string(&mut json, &[&spaced(scopes)]);
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

impl<B: From<Bytes>> Respond<B> for ProblemJson {
    fn respond(&self, rejection: &Rejection, request: &Parts) -> Response<B> {
        self.response(rejection, request, B::from)
    }
}

/// The default base: absolute, as RFC 9457 advises, and without a host, because this crate has no page that explains the
/// types.
const BASE: &str = "urn:problem-type:tower-api-key:";

/// Appends a JSON string of these parts (RFC 8259, section 7).
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
        fn strings_of_any_text_are_valid_json(text: String) {
            let mut json = String::new();
            string(&mut json, &[&text]);
            proptest::prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }
    }

    #[test]
    fn base_must_be_absolute_and_end_in_a_separator() {
        for bad in [
            "",
            "/errors/",
            "errors#",
            "https://example.com",
            "ftp://example.com/",
            "https://e.com/\"/",
        ] {
            assert!(ProblemJson::new().type_base(bad).is_err(), "{bad:?}");
        }
        let problem = ProblemJson::new().type_base("https://e.example/errors/").unwrap();
        let text = problem.text(&Rejection::new(RejectionKind::MultipleCredentials));
        assert!(text.starts_with("{\"type\":\"https://e.example/errors/multiple-credentials\""));
    }
}
