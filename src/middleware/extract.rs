//! The context as an argument of axum handlers.

use std::convert::Infallible;
use std::fmt;

use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use axum_core::response::{IntoResponse, Response};
use http::StatusCode;
use http::request::Parts;

use super::answer::MISSING_LAYER;
use crate::check::AuthContext;

/// A handler asks for an [`AuthContext`], and no [`ApiKeyLayer`](crate::ApiKeyLayer) put one into the request.
///
/// A mistake in the service, not of the client: answered with a 500 that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MissingApiKeyLayer;

impl<S: Sync> FromRequestParts<S> for AuthContext {
    type Rejection = MissingApiKeyLayer;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        parts.extensions.get::<Self>().cloned().ok_or(MissingApiKeyLayer)
    }
}

/// For routes inside an [optional](crate::ApiKeyLayer::optional) layer: `None` is an anonymous request.
impl<S: Sync> OptionalFromRequestParts<S> for AuthContext {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Option<Self>, Self::Rejection> {
        Ok(parts.extensions.get::<Self>().cloned())
    }
}

impl IntoResponse for MissingApiKeyLayer {
    fn into_response(self) -> Response {
        tracing::error!("a handler asks for an AuthContext outside of an ApiKeyLayer");
        (StatusCode::INTERNAL_SERVER_ERROR, MISSING_LAYER).into_response()
    }
}

impl fmt::Display for MissingApiKeyLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MISSING_LAYER)
    }
}

impl std::error::Error for MissingApiKeyLayer {}
