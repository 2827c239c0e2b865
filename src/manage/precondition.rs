//! Conditional requests (RFC 9110, section 13): `ETag` is the revision of a row, and `If-Match` the one that the client has seen.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::FromRequestParts;
use http::header::{ETAG, IF_MATCH};
use http::request::Parts;
use http::{HeaderName, StatusCode};
use utoipa::IntoParams;

use super::problem::Problem;

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
    /// # Errors
    /// 412 when the row has another revision.
    pub(super) fn check(&self, revision: u64) -> Result<(), Problem> {
        match self.admits(revision) {
            true => Ok(()),
            false => Err(self.refused()),
        }
    }

    /// The same of a row that need not be there: one that is not has no revision.
    pub(super) fn check_row(&self, revision: Option<u64>) -> Result<(), Problem> {
        match (revision, self) {
            (Some(revision), _) => self.check(revision),
            (None, Self::Any) => Ok(()),
            (None, Self::Of(_)) => Err(self.refused()),
        }
    }

    pub(super) fn admits(&self, revision: u64) -> bool {
        match self {
            Self::Any => true,
            Self::Of(revisions) => revisions.contains(&revision),
        }
    }

    /// For a change that is made over a row which may be another one by then: it is made to the one that it is for, or not at all.
    pub(super) fn exactly(&self) -> Exactly<'_> {
        Exactly {
            if_match: self,
            is_other: AtomicBool::new(false),
        }
    }

    fn refused(&self) -> Problem {
        match self {
            // Reading the row again would not help.
            Self::Of(revisions) if revisions.is_empty() => {
                let sentence = "If-Match has no ETag of this API, which is the row's revision in quotes. A proxy that compresses answers may \
                                have changed it, as to W/";
                Problem::new(StatusCode::PRECONDITION_FAILED, "precondition-failed", sentence)
            }
            _ => Self::failed(),
        }
    }

    pub(super) fn failed() -> Problem {
        let sentence = "the row has changed since: read it again, and send the new ETag in If-Match";
        Problem::new(StatusCode::PRECONDITION_FAILED, "precondition-failed", sentence)
    }
}

/// A change of a row with the revision that it is for.
pub(super) struct Exactly<'a> {
    if_match: &'a IfMatch,
    is_other: AtomicBool,
}

impl Exactly<'_> {
    /// Makes the change, if the row is the one that it is for. May be called again, for a row that was read anew.
    pub(super) fn change(&self, revision: u64, change: impl FnOnce()) {
        let is_other = !self.if_match.admits(revision);
        self.is_other.store(is_other, Ordering::Relaxed);
        if !is_other {
            change();
        }
    }

    /// # Errors
    /// 412 when the row was another one, and was left as it is.
    pub(super) fn done(self) -> Result<(), Problem> {
        match self.is_other.into_inner() {
            true => Err(self.if_match.refused()),
            false => Ok(()),
        }
    }
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
