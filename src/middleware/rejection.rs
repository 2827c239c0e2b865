//! What HTTP adds to `Rejection`: the reasons that only a layer can have, and what a client is told of it.

use std::borrow::Cow;

use http::StatusCode;

use super::answer::{self, Answer, Problem};
use crate::check::{Rejection, RejectionKind};

/// What a client is told. All invalid keys are told the same.
impl Rejection {
    /// The HTTP status of the refusal; never a success.
    ///
    /// | rejection | status |
    /// |---|---|
    /// | no credential, or an invalid one | 401 |
    /// | several credentials | 400 |
    /// | scope, network or transport | 403 |
    /// | rate limits | 429 |
    /// | an outage | 503 |
    /// | a mistake of the service | 500 |
    pub fn status(&self) -> StatusCode {
        Answer::to(self).status
    }

    /// A sentence for the developer of the client, such as "The API key is not valid."
    pub fn detail(&self) -> Cow<'static, str> {
        answer::detail(self)
    }

    /// A stable name for programs: the name of the [problem type](crate::ProblemJson#problem-types), such as
    /// `unauthenticated`, `forbidden`, or `quota-exceeded` for a registered one.
    pub fn code(&self) -> &'static str {
        match Answer::to(self).problem {
            Problem::Own(name) => name,
            Problem::Registered(uri) => uri.rsplit('#').next().unwrap_or(uri),
        }
    }

    pub(super) fn missing_credential() -> Self {
        Self::new(RejectionKind::MissingCredential)
    }

    pub(super) fn multiple_credentials() -> Self {
        Self::new(RejectionKind::MultipleCredentials)
    }

    /// The request certainly came in clear.
    pub(super) fn clear_transport() -> Self {
        Self::new(RejectionKind::InsecureTransport).in_clear()
    }

    /// Nobody who is trusted says that the request came over HTTPS.
    pub(super) fn unknown_transport() -> Self {
        Self::new(RejectionKind::InsecureTransport)
    }

    pub(super) fn missing_layer() -> Self {
        Self::new(RejectionKind::MissingLayer)
    }

    /// A handler requires a scope that no key can have.
    pub(super) fn invalid_scope() -> Self {
        Self::new(RejectionKind::InvalidScope)
    }

    /// The credentials are not even encoded as their source requires.
    pub(super) fn malformed_credential() -> Self {
        Self::new(RejectionKind::MalformedKey)
    }
}
