//! Without feature `otlp`.

use axum::Router;
use tower_api_key::config::OtlpEndpoint;

use crate::failure::Failure;
use crate::log::Beside;

/// There is none.
pub(super) enum Exporter {}

impl Exporter {
    pub(super) fn start(_: &OtlpEndpoint) -> Result<Self, Failure> {
        let sentence =
            "this program was built without traces: build it with feature `otlp`, or leave --otlp and `log.otlp` out";
        Err(Failure::Usage(sentence.to_owned()))
    }

    pub(super) fn layer(&self) -> Beside {
        match *self {}
    }

    pub(super) fn around(&self, _: Router) -> Router {
        match *self {}
    }

    pub(super) async fn end(self) {
        match self {}
    }
}
