//! What is served: the management API, and what operators ask.

use std::time::Duration;

use axum::Router;
use axum::error_handling::HandleErrorLayer;
use axum::routing::get;
use http::StatusCode;
use metrics_exporter_prometheus::PrometheusHandle;
use tower::ServiceBuilder;
use tower::limit::GlobalConcurrencyLimitLayer;
use tower_api_key::ApiKeys;
use tower_api_key::config::ServerConfig;
use tower_api_key::key::OrganizationId;

/// All routes. Those of operators answer as well while the API is at its limit: a service manager must not restart a server because it has
/// much to do.
pub(super) fn app(keys: &ApiKeys, manage: Router, metrics: PrometheusHandle, server: &ServerConfig) -> Router {
    let probed = keys.clone();
    let probes = Router::new()
        .route("/readyz", get(async move || ready(&probed).await))
        .route("/metrics", get(async move || metrics.render()));
    let api = Router::new().nest("/api/v1/auth", manage);
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .merge(limited(probes, MOST_PROBES, LONGEST_PROBE))
        .merge(limited(api, server.concurrency, server.request_timeout))
}

/// So many requests at once, over all routes together. More are refused at once instead of waiting.
fn limited(routes: Router, most: usize, longest: Duration) -> Router {
    routes.layer(
        ServiceBuilder::new()
            .layer(HandleErrorLayer::new(overloaded))
            .load_shed()
            // Not `concurrency_limit`, which counts each route alone.
            .layer(GlobalConcurrencyLimitLayer::new(most))
            .timeout(longest),
    )
}

/// Ready once the database answers.
async fn ready(keys: &ApiKeys) -> (StatusCode, &'static str) {
    match keys.read(OrganizationId::new()).await {
        Ok(_) => (StatusCode::OK, "ready\n"),
        Err(error) => {
            let error: &(dyn std::error::Error + 'static) = &error;
            tracing::warn!(error, "not ready");
            (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n")
        }
    }
}

async fn overloaded(error: tower::BoxError) -> (StatusCode, [(&'static str, &'static str); 2], &'static str) {
    let body = match error.is::<tower::timeout::error::Elapsed>() {
        true => {
            r#"{"type":"urn:problem-type:tower-api-key:timed-out","title":"Service Unavailable","status":503,"detail":"the request took too long; whether it was done is not known"}"#
        }
        false => {
            r#"{"type":"urn:problem-type:tower-api-key:unavailable","title":"Service Unavailable","status":503,"detail":"too many requests at once"}"#
        }
    };
    (
        StatusCode::SERVICE_UNAVAILABLE,
        [("content-type", "application/problem+json"), ("retry-after", "1")],
        body,
    )
}

/// Of requests that read the database or render metrics, at once.
const MOST_PROBES: usize = 16;
/// Who probes asks again soon.
const LONGEST_PROBE: Duration = Duration::from_secs(2);
