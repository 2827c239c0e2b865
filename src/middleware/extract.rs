//! The context as an argument of axum handlers.

use std::fmt;

use axum_core::body::Body;
use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use axum_core::response::{IntoResponse, Response};
use http::StatusCode;
use http::request::Parts;

use super::anonymous::Anonymous;
use super::answer::MISSING_LAYER;
use super::problem::ProblemJson;
use crate::check::AuthContext;

/// A handler asks for an [`AuthContext`], and there is none.
///
/// Without an [`ApiKeyLayer`](crate::ApiKeyLayer) around the route that is a mistake in the service, answered with a 500
/// that says so. Inside an [optional](crate::ApiKeyLayer::optional) one the client sent no key: 401, with the headers that
/// the layer's own refusals have.
///
/// The body of that 401 is always a [`ProblemJson`] without settings, whatever the layer's
/// [responder](crate::ApiKeyLayer::responder) is: its type, and that of its bodies, are not known here. Where refusals
/// look otherwise, ask for `Option<AuthContext>` and answer `None` yourself, or put a
/// [`RequireScope`](crate::RequireScope) with that responder around the route.
pub struct MissingAuthContext(Option<Box<Response>>);

impl<S: Sync> FromRequestParts<S> for AuthContext {
    type Rejection = MissingAuthContext;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        if let Some(context) = parts.extensions.get::<Self>() {
            return Ok(context.clone());
        }
        let anonymous = parts.extensions.get::<Anonymous>();
        let response = anonymous.map(|anonymous| anonymous.refuse::<Body, _>(parts, &ProblemJson::new()));
        Err(MissingAuthContext(response.map(Box::new)))
    }
}

/// For routes inside an [optional](crate::ApiKeyLayer::optional) layer: `None` is an anonymous request.
///
/// Without a layer it is a mistake here too: everybody would be anonymous, whatever key they send.
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
        tracing::error!("a handler asks for an AuthContext outside of an ApiKeyLayer");
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
