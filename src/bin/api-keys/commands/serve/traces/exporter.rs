//! Spans, from the layer to the collector.

use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::connect::HttpConnector;
use opentelemetry::trace::TracerProvider;
use opentelemetry::{Key, KeyValue};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tower_api_key::config::OtlpEndpoint;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;

use super::collector::Collector;
use super::span::span;
use crate::failure::{Failure, chain};
use crate::log::{Beside, SPANS};

/// Spans wait in a queue of bounded length and are sent by a thread of its own: no request waits for them. What finds the queue full is
/// dropped.
pub(super) struct Exporter {
    provider: SdkTracerProvider,
}

impl Exporter {
    pub(super) fn start(endpoint: &OtlpEndpoint) -> Result<Self, Failure> {
        let url = endpoint.traces();
        let exporter = SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(&url);
        let exporter = match url.starts_with("https:") {
            true => {
                let connector = HttpsConnectorBuilder::new()
                    .with_native_roots()
                    .map_err(|error| Failure::Usage(format!("this machine's certificates cannot be read: {error}")))?;
                let connector = connector.https_only().enable_http1().build();
                exporter.with_http_client(Collector::new(url, connector))
            }
            // Needs no certificates of the machine, of which a container may have none.
            false => exporter.with_http_client(Collector::new(url, HttpConnector::new())),
        };
        let exporter = exporter
            .build()
            .map_err(|error| Failure::Usage(format!("traces cannot be sent: {}", chain(&error))))?;
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource())
            .build();
        Ok(Self { provider })
    }

    /// Takes spans of requests, and within them what the library says of checks and failures.
    pub(super) fn layer(&self) -> Beside {
        let targets = Targets::new()
            .with_target(SPANS, LevelFilter::INFO)
            .with_target("tower_api_key", LevelFilter::INFO)
            // Also of admitted requests.
            .with_target("tower_api_key::audit", LevelFilter::DEBUG);
        tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer("api-keys"))
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_filter(targets)
            .boxed()
    }

    pub(super) fn around(&self, app: Router) -> Router {
        app.layer(from_fn(span))
    }

    pub(super) async fn end(self) {
        // It blocks, and what it waits for is sent by tasks of this runtime.
        let ended = tokio::task::spawn_blocking(move || self.provider.shutdown_with_timeout(LONGEST_END)).await;
        if let Ok(Err(error)) = ended {
            tracing::warn!(error = chain(&error), "not all traces were sent");
        }
    }
}

/// Who sends: what OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say, else the name of the program.
fn resource() -> Resource {
    let found = Resource::builder().build();
    let name = found.get(&Key::from_static_str("service.name"));
    let is_named = name.is_some_and(|name| !name.as_str().starts_with("unknown_service"));
    let resource = Resource::builder().with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    match is_named {
        true => resource.build(),
        false => resource.with_service_name("api-keys").build(),
    }
}

/// How long the end of the program waits for the collector.
const LONGEST_END: Duration = Duration::from_secs(5);
