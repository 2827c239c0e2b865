//! Errors as problem details (RFC 9457).

use std::error::Error as _;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use serde::Serialize;

use super::ended;
use super::fields::member;
use crate::check::Rejection;
use crate::error::{ConfigError, ParseError};
use crate::issue::{EndedKey, IssueError, IssueErrorKind};
use crate::middleware::extract::MissingAuthContext;

/// An answer that is not a success.
#[derive(Debug)]
pub(super) struct Problem(Box<Inner>);

#[derive(Debug)]
enum Inner {
    Said(Said),
    /// The layer answers it, as it answers its own refusals.
    Refused(Rejection),
    WithoutKey(MissingAuthContext),
    /// As the layer would have answered, had it known.
    Ended(EndedKey),
}

#[derive(Debug)]
struct Said {
    status: StatusCode,
    code: &'static str,
    sentence: String,
    field: Option<String>,
    retry_after: Option<Duration>,
}

/// The body. `type` ends with the code, which programs tell problems apart by.
#[derive(Serialize)]
struct Body<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, code: &'static str, sentence: impl Into<String>) -> Self {
        Self::of(Said {
            status,
            code,
            sentence: sentence.into(),
            field: None,
            retry_after: None,
        })
    }

    /// A row that is not there, or that the caller may not know of.
    pub(super) fn missing(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", format!("no such {what}"))
    }

    /// A part of the request that cannot be read, or is not valid.
    pub(super) fn invalid(field: impl Into<String>, sentence: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-request", sentence).of_field(field)
    }

    /// A query that cannot be read, at this parameter if it is known.
    pub(super) fn malformed_query(field: Option<&str>, sentence: String) -> Self {
        let problem = Self::new(StatusCode::BAD_REQUEST, "malformed-query", sentence);
        match field {
            Some(field) => problem.of_field(field),
            None => problem,
        }
    }

    fn of_field(mut self, field: impl Into<String>) -> Self {
        if let Inner::Said(said) = &mut *self.0 {
            said.field = Some(field.into());
        }
        self
    }

    /// The same, of what the library calls so.
    fn about(field: &str, sentence: String) -> Self {
        match member(field) {
            Some(member) => Self::invalid(member, sentence),
            None => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-request", sentence),
        }
    }

    /// What the caller may not do, said by a route.
    pub(super) fn forbidden(sentence: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", sentence)
    }

    pub(super) fn not_json() -> Self {
        let sentence = "the request must have `content-type: application/json`";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", sentence)
    }

    pub(super) fn not_logged_in() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", "nobody is logged in")
    }

    pub(super) fn without_key(missing: MissingAuthContext) -> Self {
        Self(Box::new(Inner::WithoutKey(missing)))
    }

    fn of(said: Said) -> Self {
        Self(Box::new(Inner::Said(said)))
    }
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        Self(Box::new(Inner::Refused(rejection)))
    }
}

impl From<ConfigError> for Problem {
    fn from(error: ConfigError) -> Self {
        Self::about(error.setting(), error.to_string())
    }
}

impl From<ParseError> for Problem {
    fn from(error: ParseError) -> Self {
        Self::about(error.what(), error.to_string())
    }
}

impl From<IssueError> for Problem {
    fn from(error: IssueError) -> Self {
        if let Some(ended) = error.ended_key() {
            return Self(Box::new(Inner::Ended(ended)));
        }
        let kind = error.kind();
        let (status, code) = status(kind);
        if status.is_server_error() {
            let error: &(dyn std::error::Error + 'static) = &error;
            tracing::warn!(error, "a request to the management API failed");
        }
        // What the store says may name a host or a file.
        let sentence = match (kind, error.source()) {
            (IssueErrorKind::Forbidden, Some(source)) => format!("{error}: {source}"),
            _ => error.to_string(),
        };
        Self::of(Said {
            status,
            code,
            sentence,
            field: error.field().and_then(member).map(str::to_owned),
            retry_after: error
                .retry_after()
                .or((status == StatusCode::SERVICE_UNAVAILABLE).then_some(SOON)),
        })
    }
}

/// Every kind is named, so that a new one is not forgotten.
fn status(kind: IssueErrorKind) -> (StatusCode, &'static str) {
    use IssueErrorKind as Kind;
    match kind {
        Kind::NotFound => (StatusCode::NOT_FOUND, "not-found"),
        Kind::InvalidRequest => (StatusCode::UNPROCESSABLE_ENTITY, "invalid-request"),
        Kind::NotAllowed => (StatusCode::UNPROCESSABLE_ENTITY, "not-allowed"),
        Kind::IdempotencyKeyReused => (StatusCode::UNPROCESSABLE_ENTITY, "idempotency-key-reused"),
        Kind::Forbidden => (StatusCode::FORBIDDEN, "forbidden"),
        Kind::RotationInProgress => (StatusCode::CONFLICT, "rotation-in-progress"),
        Kind::NoRotation => (StatusCode::CONFLICT, "no-rotation"),
        Kind::Revoked => (StatusCode::CONFLICT, "revoked"),
        Kind::Expired => (StatusCode::CONFLICT, "expired"),
        Kind::UserDisabled => (StatusCode::CONFLICT, "user-disabled"),
        Kind::RowChanged => (StatusCode::PRECONDITION_FAILED, "precondition-failed"),
        Kind::Conflict => (StatusCode::CONFLICT, "conflict"),
        Kind::SelectionChanged => (StatusCode::CONFLICT, "selection-changed"),
        Kind::InUse => (StatusCode::CONFLICT, "in-use"),
        Kind::AlreadyExists => (StatusCode::CONFLICT, "already-exists"),
        Kind::LimitReached => (StatusCode::CONFLICT, "limit-reached"),
        Kind::LastOperatorKey => (StatusCode::CONFLICT, "last-operator-key"),
        Kind::ReadOnly => (StatusCode::CONFLICT, "read-only"),
        Kind::StoreUnavailable | Kind::Busy | Kind::HashTimedOut | Kind::HashingFailed | Kind::NoRandomness => {
            (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
        }
        Kind::OutcomeUnknown => (StatusCode::SERVICE_UNAVAILABLE, "outcome-unknown"),
        Kind::InvalidRecord => (StatusCode::INTERNAL_SERVER_ERROR, "invalid-record"),
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let said = match *self.0 {
            Inner::Said(said) => said,
            Inner::Refused(rejection) => return rejection.into_response(),
            Inner::WithoutKey(missing) => return missing.into_response(),
            Inner::Ended(ended) => return ended::response(ended),
        };
        let body = Body {
            r#type: format!("{TYPE}{}", said.code),
            title: said.status.canonical_reason().unwrap_or("Error"),
            status: said.status.as_u16(),
            detail: &said.sentence,
            field: said.field.as_deref(),
        };
        let text = serde_json::to_vec(&body).unwrap_or_default();
        let headers = [(CONTENT_TYPE, "application/problem+json"), (CACHE_CONTROL, "no-store")];
        let mut response = (said.status, headers, text).into_response();
        if let Some(wait) = said.retry_after {
            let seconds = wait.as_millis().div_ceil(1000).max(1);
            if let Ok(seconds) = HeaderValue::try_from(seconds.to_string()) {
                response.headers_mut().insert(RETRY_AFTER, seconds);
            }
        }
        response
    }
}

/// What a problem type begins with, as for refusals of keys.
const TYPE: &str = "urn:problem-type:tower-api-key:";
/// When to ask again, if nothing says it better.
const SOON: Duration = Duration::from_secs(1);
