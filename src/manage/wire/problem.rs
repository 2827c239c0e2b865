//! The form of errors, for the document.

use utoipa::{IntoResponses, ToSchema};

/// An error (RFC 9457).
#[derive(ToSchema)]
#[allow(dead_code, reason = "it describes what is written elsewhere")]
pub(crate) struct ProblemDetails {
    /// Its last part tells problems apart, as in `urn:problem-type:tower-api-key:not-found`.
    r#type: String,
    title: String,
    status: u16,
    /// What is wrong, and what to do.
    detail: Option<String>,
    /// The part of the request that is wrong.
    field: Option<String>,
}

/// The answers of every route that are no success.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "it describes what is written elsewhere")]
pub(crate) enum Problems {
    /// The request is refused; nothing was changed.
    #[response(status = "4XX", content_type = "application/problem+json")]
    Refused(ProblemDetails),
    /// The store or the service failed.
    #[response(status = "5XX", content_type = "application/problem+json")]
    Failed(ProblemDetails),
}
