//! Refusals as problem details (RFC 9457).

use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{Response, Uri};

use super::answer::{Answer, Problem, detail, spaced};
use super::json::{self, string};
use super::members::{AddMembers, Members, PublicRejection};
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
/// Status 500. The service lacks a layer, or requires a scope that is not valid.
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
    // `None` without settings: axum clones the responder with its service for every request.
    settings: Option<Arc<ProblemSettings>>,
}

#[derive(Clone, Debug, Default)]
struct ProblemSettings {
    base: Option<Box<str>>,
    members: Option<AddMembers>,
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
        self.settings_mut().base = Some(base.into());
        Ok(self)
    }

    /// Adds members to every body (RFC 9457, section 3.2), such as a code of your own or the id of the request.
    ///
    /// A member that the body has already is not added again, and neither are `type`, `title`, `status`, `detail`, `scope` and
    /// `violated-policies`. A later call replaces an earlier one.
    ///
    /// ```
    /// use tower_api_key::{ProblemJson, RejectionClass};
    ///
    /// let problem = ProblemJson::new().with_members(|rejection, members| {
    ///     let code = match rejection.class() {
    ///         RejectionClass::TooManyRequests => "slow_down",
    ///         _ => "access_denied",
    ///     };
    ///     members.text("code", code);
    ///     if let Some(id) = rejection.request_id() {
    ///         members.text("request_id", id);
    ///     }
    /// });
    /// # let _ = problem;
    /// ```
    ///
    /// # Security
    /// The function does not get the [kind](crate::RejectionKind) of the rejection, so that a body cannot show whether a key
    /// exists, or why it does not work.
    #[must_use]
    pub fn with_members<F>(mut self, add: F) -> Self
    where
        F: Fn(&PublicRejection<'_>, &mut Members<'_>) + Send + Sync + 'static,
    {
        self.settings_mut().members = Some(AddMembers::new(add));
        self
    }

    fn settings_mut(&mut self) -> &mut ProblemSettings {
        Arc::make_mut(self.settings.get_or_insert_default())
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
        let text = || self.text(rejection, request);
        json::response(rejection, request, "application/problem+json", body, text)
    }

    fn text(&self, rejection: &Rejection, request: &Parts) -> String {
        let answer = Answer::to(rejection);
        let settings = self.settings.as_deref();
        let base = settings.and_then(|settings| settings.base.as_deref());
        let mut json = String::from("{\"type\":");
        match answer.problem {
            Problem::Own(name) => string(&mut json, &[base.unwrap_or(BASE), name]),
            Problem::Registered(uri) => string(&mut json, &[uri]),
        }
        json.push_str(",\"title\":");
        string(&mut json, &[answer.title]);
        // Writing into a String cannot fail.
        let _ = write!(json, ",\"status\":{}", answer.status.as_u16());
        json.push_str(",\"detail\":");
        string(&mut json, &[&detail(rejection)]);
        let scopes = rejection.required_scopes();
        if !scopes.is_empty() {
            json.push_str(",\"scope\":");
            string(&mut json, &[&spaced(scopes)]);
        }
        if let Some(limited) = rejection.limits() {
            json.push_str(",\"violated-policies\":[");
            let violated = limited.violated.iter().filter_map(|index| limited.limits.get(*index));
            let mut named: Vec<&str> = Vec::new();
            for (limit, _) in violated {
                // A key and its organization may have limits of one name.
                if named.contains(&limit.name()) {
                    continue;
                }
                if !named.is_empty() {
                    json.push(',');
                }
                string(&mut json, &[limit.name()]);
                named.push(limit.name());
            }
            json.push(']');
        }
        if let Some(add) = settings.and_then(|settings| settings.members.as_ref()) {
            add.write(rejection, request, &mut json);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::RejectionKind;

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
        let request = http::Request::new(()).into_parts().0;
        let text = problem.text(&Rejection::new(RejectionKind::MultipleCredentials), &request);
        assert!(text.starts_with("{\"type\":\"https://e.example/errors/multiple-credentials\""));
    }
}
