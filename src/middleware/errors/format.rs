//! The error formats: members, and the names that each API has for a class of refusals.

use http::header::HeaderName;

use crate::check::{Rejection, RejectionClass};
use crate::middleware::answer::is_worth_retrying;
use crate::middleware::json::string;

#[derive(Clone, Copy, Debug)]
pub(super) enum Format {
    OpenAi,
    Anthropic,
    Stripe,
}

impl Format {
    /// The body: names of the class alone, never of the reason.
    pub(super) fn body(self, rejection: &Rejection, detail: &str) -> String {
        let mut json = String::new();
        match self {
            Self::OpenAi => {
                let (kind, code) = openai(rejection);
                json.push_str("{\"error\":{\"message\":");
                string(&mut json, &[detail]);
                json.push_str(",\"type\":");
                string(&mut json, &[kind]);
                json.push_str(",\"param\":null,\"code\":");
                match code {
                    Some(code) => string(&mut json, &[code]),
                    None => json.push_str("null"),
                }
                json.push_str("}}");
            }
            Self::Anthropic => {
                json.push_str("{\"type\":\"error\",\"error\":{\"type\":");
                string(&mut json, &[anthropic(rejection.kind().class())]);
                json.push_str(",\"message\":");
                string(&mut json, &[detail]);
                json.push_str("}}");
            }
            Self::Stripe => {
                let (kind, code) = stripe(rejection.kind().class());
                // An object: the library takes a text under `error` for an error of OAuth.
                json.push_str("{\"error\":{");
                if let Some(code) = code {
                    json.push_str("\"code\":");
                    string(&mut json, &[code]);
                    json.push(',');
                }
                json.push_str("\"message\":");
                string(&mut json, &[detail]);
                json.push_str(",\"type\":");
                string(&mut json, &[kind]);
                json.push_str("}}");
            }
        }
        json
    }

    /// The header by which the API tells its client libraries whether to retry.
    pub(super) fn retry_header(self) -> HeaderName {
        HeaderName::from_static(match self {
            Self::OpenAi | Self::Anthropic => "x-should-retry",
            Self::Stripe => "stripe-should-retry",
        })
    }
}

/// `type` and `code`.
fn openai(rejection: &Rejection) -> (&'static str, Option<&'static str>) {
    match rejection.kind().class() {
        RejectionClass::MissingCredential | RejectionClass::MultipleCredentials => (INVALID_REQUEST, None),
        RejectionClass::InvalidCredential => (INVALID_REQUEST, Some("invalid_api_key")),
        RejectionClass::Forbidden => (INVALID_REQUEST, Some("insufficient_permissions")),
        RejectionClass::TooManyRequests if is_worth_retrying(rejection) => ("requests", Some("rate_limit_exceeded")),
        RejectionClass::TooManyRequests => ("insufficient_quota", Some("insufficient_quota")),
        RejectionClass::Unavailable | RejectionClass::Misconfigured => ("server_error", None),
    }
}

/// `type`.
fn anthropic(class: RejectionClass) -> &'static str {
    match class {
        RejectionClass::MissingCredential | RejectionClass::InvalidCredential => "authentication_error",
        RejectionClass::MultipleCredentials => INVALID_REQUEST,
        RejectionClass::Forbidden => "permission_error",
        RejectionClass::TooManyRequests => "rate_limit_error",
        RejectionClass::Unavailable => "overloaded_error",
        RejectionClass::Misconfigured => "api_error",
    }
}

/// `type` and `code`. Libraries tell the refusals apart by their status.
fn stripe(class: RejectionClass) -> (&'static str, Option<&'static str>) {
    match class {
        RejectionClass::MissingCredential
        | RejectionClass::InvalidCredential
        | RejectionClass::MultipleCredentials
        | RejectionClass::Forbidden => (INVALID_REQUEST, None),
        RejectionClass::TooManyRequests => (INVALID_REQUEST, Some("rate_limit")),
        RejectionClass::Unavailable | RejectionClass::Misconfigured => ("api_error", None),
    }
}

const INVALID_REQUEST: &str = "invalid_request_error";
