//! `AuthContext` as an axum extractor, and a `Rejection` as a handler's answer.

use std::fmt;

use axum_core::body::Body;
use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use axum_core::response::{IntoResponse, Response};
use http::request::Parts;
use http::{Request, StatusCode};

use super::answer::MISSING_LAYER;
use super::deferred::Deferred;
use super::handle::{Anonymous, LayerHandle};
use super::problem::ProblemJson;
use super::refusal::refuse;
use super::settings::Settings;
use crate::check::{AuthContext, Rejection};

/// The rejection of an [`AuthContext`] extractor when the request has no context.
///
/// Without an [`ApiKeyLayer`](crate::ApiKeyLayer) around the route, the service is misconfigured: 500, with a body that says
/// so. Inside an [optional](crate::ApiKeyLayer::optional) layer, the client sent no key: 401, as the layer itself would
/// answer, by its [responder](crate::ApiKeyLayer::responder).
pub struct MissingAuthContext(Option<Box<Response>>);

impl<S: Sync> FromRequestParts<S> for AuthContext {
    type Rejection = MissingAuthContext;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        if let Some(context) = parts.extensions.get::<Self>() {
            return Ok(context.clone());
        }
        let anonymous = parts.extensions.get::<Anonymous>();
        let response = anonymous.map(|Anonymous(layer)| {
            let mut response = layer.refuse_anonymous::<Body, _>(parts, &ProblemJson::new());
            Deferred::mark(&mut response, layer.clone(), parts.clone());
            Box::new(response)
        });
        Err(MissingAuthContext(response))
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

/// For handlers that refuse, with [`AuthContext::require`] or an [`Authenticator`](crate::Authenticator).
///
/// A rejection from [`require`](AuthContext::require) becomes the answer of the layer that admitted the request. Any other one
/// is answered as a layer with default settings would.
impl IntoResponse for Rejection {
    fn into_response(mut self) -> Response {
        let layer = self.detach::<LayerHandle>();
        let request = Request::new(()).into_parts().0;
        let responder = ProblemJson::new();
        let Some(layer) = layer else {
            return refuse(self, &request, &responder, Settings::default().additions());
        };
        let mut response = refuse(self, &request, &responder, layer.settings.additions());
        Deferred::mark(&mut response, layer, request);
        response
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
