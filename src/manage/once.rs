//! The header `Idempotency-Key`: a request that is repeated makes nothing twice.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use http::StatusCode;
use http::request::Parts;
use utoipa::IntoParams;

use super::problem::Problem;
use crate::key::IdempotencyKey;

/// The header, read and not judged yet: what the caller may do comes first.
pub(super) struct Once(Result<Option<IdempotencyKey>, &'static str>);

#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code, reason = "it describes what is read elsewhere")]
pub(super) struct IdempotencyHeader {
    /// What repetitions of a request have in common, such as a UUID that is made for it: visible ASCII, in quotes or without.
    #[param(
        rename = "Idempotency-Key",
        value_type = String,
        required = false,
        min_length = 1,
        max_length = 255,
        pattern = r#"^([!#-~][!-~]*|"[!-~]*[!#-~]|"[!-~]+")$"#
    )]
    idempotency_key: Option<String>,
}

impl Once {
    /// # Errors
    /// 400 when there is no such key in it.
    pub(super) fn get(self) -> Result<Option<IdempotencyKey>, Problem> {
        self.0
            .map_err(|sentence| Problem::new(StatusCode::BAD_REQUEST, "malformed-header", sentence))
    }
}

impl<S: Sync> FromRequestParts<S> for Once {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(read(parts)))
    }
}

/// As the IETF's draft has it, a string in quotes; without them, as most clients send it.
fn read(parts: &Parts) -> Result<Option<IdempotencyKey>, &'static str> {
    let mut values = parts.headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err("there must be one Idempotency-Key");
    }
    let text = value.to_str().map_err(|_| WRONG)?;
    let unquoted = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    unquoted.unwrap_or(text).parse().map(Some).map_err(|_| WRONG)
}

const WRONG: &str = "the Idempotency-Key must be 1 to 255 characters of visible ASCII";
