//! What HTTP adds to `Rejection`: the reasons that only a layer can have, and the status.

use http::StatusCode;

use super::answer::Answer;
use crate::check::{Rejection, RejectionKind};

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
    /// | a missing layer | 500 |
    pub fn status_code(&self) -> StatusCode {
        Answer::to(self).status
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

    /// The credentials are not even encoded as their source requires.
    pub(super) fn malformed_credential() -> Self {
        Self::new(RejectionKind::MalformedKey)
    }
}
