//! `AuthContext` as an axum extractor.

use std::fmt;

use axum_core::body::Body;
use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use axum_core::response::{IntoResponse, Response};
use http::StatusCode;
use http::request::Parts;

use super::answer::MISSING_LAYER;
use super::handle::Anonymous;
use super::problem::ProblemJson;
use crate::check::AuthContext;

/// The rejection of an [`AuthContext`] extractor when the request has no context.
///
/// Without an [`ApiKeyLayer`](crate::ApiKeyLayer) around the route, the service is misconfigured: 500, with a body that says
/// so. Inside an [optional](crate::ApiKeyLayer::optional) layer, the client sent no key: 401, with the headers of the
/// layer's own refusals.
///
/// The body of that 401 is [`ProblemJson`] without settings: an extractor does not know the layer's
/// [responder](crate::ApiKeyLayer::responder). For another body, extract `Option<AuthContext>` and answer `None`
/// yourself, or put a [`RequireScope`](crate::RequireScope) with that responder around the route.
pub struct MissingAuthContext(Option<Box<Response>>);

impl<S: Sync> FromRequestParts<S> for AuthContext {
    type Rejection = MissingAuthContext;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        if let Some(context) = parts.extensions.get::<Self>() {
            return Ok(context.clone());
        }
        let anonymous = parts.extensions.get::<Anonymous>();
        let response = anonymous.map(|Anonymous(layer)| layer.refuse_anonymous::<Body, _>(parts, &ProblemJson::new()));
        Err(MissingAuthContext(response.map(Box::new)))
    }
}

/// For routes inside an [optional](crate::ApiKeyLayer::optional) layer: `None` is an anonymous request.
///
/// Without a layer it is a 500, too: otherwise every request would count as anonymous, whatever key it has.
impl<S: Sync> OptionalFromRequestParts<S> for AuthContext {
    type Rejection = MissingAuthContext;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Option<Self>, Self::Rejection> {
        match parts.extensions.get::<Self>() {
            Some(context) => Ok(Some(context.clone())),
            None if parts.extensions.get::<Anonymous>().is_some() => Ok(None),
            None => Err(MissingAuthContext(None)),
        }
    }
}

impl IntoResponse for MissingAuthContext {
    fn into_response(self) -> Response {
        if let Some(response) = self.0 {
            return *response;
        }
        tracing::error!("a handler extracts an AuthContext, but there is no ApiKeyLayer around its route");
        (StatusCode::INTERNAL_SERVER_ERROR, MISSING_LAYER).into_response()
    }
}

impl fmt::Display for MissingAuthContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Some(_) => "the request has no API key",
            None => MISSING_LAYER,
        })
    }
}

impl fmt::Debug for MissingAuthContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MissingAuthContext({self})")
    }
}

impl std::error::Error for MissingAuthContext {}
