//! Traces of requests, by OpenTelemetry's protocol (OTLP) to a collector. Feature `otlp`; without it there is nothing to send them with.

#[cfg(not(feature = "otlp"))]
mod absent;
#[cfg(feature = "otlp")]
mod collector;
#[cfg(feature = "otlp")]
mod exporter;
#[cfg(feature = "otlp")]
mod span;

use axum::Router;
use tower_api_key::config::OtlpEndpoint;

#[cfg(not(feature = "otlp"))]
use self::absent::Exporter;
#[cfg(feature = "otlp")]
use self::exporter::Exporter;
use crate::failure::Failure;
use crate::log::Beside;

/// Where traces go, if they go anywhere.
pub(super) struct Traces(Option<Exporter>);

impl Traces {
    /// Nothing is connected yet: a collector that does not answer never keeps the server from working.
    ///
    /// # Errors
    /// When settings in the environment are wrong; without the feature, when there is a collector.
    pub(super) fn to(endpoint: Option<&OtlpEndpoint>) -> Result<Self, Failure> {
        endpoint.map(Exporter::start).transpose().map(Self)
    }

    /// What takes spans, to be installed beside the log.
    pub(super) fn layer(&self) -> Option<Beside> {
        self.0.as_ref().map(Exporter::layer)
    }

    /// The routes, with a span for each request.
    pub(super) fn around(&self, app: Router) -> Router {
        match &self.0 {
            Some(exporter) => exporter.around(app),
            None => app,
        }
    }

    /// Sends what waits, for a few seconds at most.
    pub(super) async fn end(self) {
        if let Some(exporter) = self.0 {
            exporter.end().await;
        }
    }
}
