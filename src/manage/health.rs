//! What is answered without a key: the document, and paths and methods that are not there.

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{Method, StatusCode};
use utoipa::openapi::OpenApi;

use super::problem::Problem;
use super::state::ManageState;

/// The OpenAPI document. It says nothing of any row, so that clients are made without a key.
pub(super) fn document(document: OpenApi) -> Router<ManageState> {
    // A document of these types cannot fail to be written; an empty one would be seen by its test.
    let text = Bytes::from(serde_json::to_vec(&document).unwrap_or_default());
    let headers = [
        (CONTENT_TYPE, "application/json"),
        (CACHE_CONTROL, "public, max-age=300"),
    ];
    Router::new().route("/openapi.json", get(async move || (headers, text)))
}

pub(super) async fn not_found() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not-found", "there is nothing at this path")
}

pub(super) async fn method_not_allowed(method: Method) -> Problem {
    let sentence = format!("this path does not have the method {method}");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", sentence)
}
