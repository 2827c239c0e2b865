//! Keys that were stopped after the layer had admitted their request: it hears of what other processes do a moment later than the
//! store, which judges each change.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::check::{AuthContext, Rejection, RejectionKind};
use crate::issue::EndedKey;

/// The answer of a layer with default settings, which [`answered_by_layer`] replaces.
pub(super) fn response(ended: EndedKey) -> Response {
    let mut response = Rejection::new(kind(ended)).into_response();
    response.extensions_mut().insert(ended);
    response
}

/// Gives a request whose key has ended the answer that the layer gives to the next one.
pub(super) async fn answered_by_layer(request: Request, next: Next) -> Response {
    let context = request.extensions().get::<AuthContext>().cloned();
    let response = next.run(request).await;
    match (response.extensions().get::<EndedKey>().copied(), context) {
        (Some(ended), Some(context)) => context.refuse_ended(kind(ended)).into_response(),
        _ => response,
    }
}

fn kind(ended: EndedKey) -> RejectionKind {
    match ended {
        EndedKey::Gone => RejectionKind::UnknownKey,
        EndedKey::Stopped(barrier) => RejectionKind::of_barrier(barrier),
        EndedKey::Expired => RejectionKind::KeyExpired,
        EndedKey::Unbound => RejectionKind::NetworkNotAllowed,
    }
}
