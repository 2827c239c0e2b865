//! Conditional requests (RFC 9110, section 13): `ETag` is the revision of a row, and `If-Match` the one that the client has seen.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use http::header::{ETAG, IF_MATCH};
use http::request::Parts;
use http::{HeaderName, StatusCode};
use utoipa::IntoParams;

use super::problem::Problem;
use crate::issue::{Issuer, RowRevision};
use crate::store::DynStore;

/// What revision a change is for.
#[derive(Clone, Debug)]
pub(super) enum IfMatch {
    /// Any: there is no `If-Match`, or it is `*`.
    Any,
    /// One of these.
    Of(Vec<u64>),
}

#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code, reason = "it describes what is read elsewhere")]
pub(super) struct IfMatchHeader {
    /// The ETag that the change is for.
    #[param(rename = "If-Match")]
    if_match: Option<String>,
}

impl IfMatch {
    /// An issuer that changes this row as it was read, or not at all. A row that is not there has no revision.
    ///
    /// # Errors
    /// 412 when the row has another revision already.
    pub(super) fn issuer<R>(&self, issuer: &Issuer<DynStore>, row: Option<&R>) -> Result<Issuer<DynStore>, Problem>
    where
        for<'r> RowRevision: From<&'r R>,
    {
        let Self::Of(revisions) = self else {
            return Ok(issuer.clone());
        };
        let row = row.map(RowRevision::from);
        match row.filter(|row| revisions.contains(&row.revision())) {
            Some(row) => Ok(issuer.if_unchanged(row)),
            None => Err(failed(revisions)),
        }
    }
}

fn failed(revisions: &[u64]) -> Problem {
    let sentence = match revisions {
        // Reading the row again would not help.
        [] => {
            "If-Match has no ETag of this API, which is the row's revision in quotes. A proxy that compresses answers may have changed it, as to W/"
        }
        _ => "the row has changed since: read it again, and send the new ETag in If-Match",
    };
    Problem::new(StatusCode::PRECONDITION_FAILED, "precondition-failed", sentence)
}

/// What is not an ETag of this API is of no row.
impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let mut values = parts.headers.get_all(IF_MATCH).iter().peekable();
        if values.peek().is_none() {
            return Ok(Self::Any);
        }
        let texts = values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','));
        let mut revisions = Vec::new();
        for text in texts {
            match text.trim() {
                "*" => return Ok(Self::Any),
                text => revisions.extend(revision(text)),
            }
        }
        Ok(Self::Of(revisions))
    }
}

fn revision(tag: &str) -> Option<u64> {
    let number = tag.strip_prefix('"')?.strip_suffix('"')?;
    number.parse().ok()
}

/// The header of an answer with a row of this revision.
pub(super) fn etag(revision: u64) -> [(HeaderName, String); 1] {
    [(ETAG, format!("\"{revision}\""))]
}
