//! Refusals from inside an `ApiKeyLayer`, by a handler or an inner layer: the layer answers, with its own responder.

use std::mem;
use std::sync::Arc;

use http::header::{
    ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, HeaderName,
    LAST_MODIFIED, TRANSFER_ENCODING, VARY,
};
use http::request::Parts;
use http::{Response, StatusCode};

use super::handle::LayerHandle;
use super::refusal::refuse;
use super::respond::Respond;
use super::vary;
use crate::check::Rejection;

/// An extension of a response that refuses: the layer that admitted the request shall answer in its place.
///
/// What refuses knows neither the layer's responder nor its body type. The response is complete all the same, because
/// something on the way out may drop its extensions.
#[derive(Clone)]
pub(super) struct Deferred {
    layer: Arc<LayerHandle>,
    request: Parts,
    /// Of the response as it was made.
    status: StatusCode,
    headers: HeaderMap,
}

impl Deferred {
    /// Marks the refusal of a request that this layer admitted.
    pub(super) fn mark<B>(response: &mut Response<B>, layer: Arc<LayerHandle>, request: Parts) {
        let (status, headers) = (response.status(), response.headers().clone());
        response.extensions_mut().insert(Self {
            layer,
            request,
            status,
            headers,
        });
    }

    /// The layer's own answer in place of a marked response. If something in between gave it another status, that stays.
    pub(super) fn answer<B, R: Respond<B>>(self, response: Response<B>, responder: &R) -> Response<B> {
        let rejection = match response.extensions().get::<Rejection>() {
            Some(rejection) if response.status() == self.status => rejection.clone(),
            _ => return response,
        };
        let mut answer = refuse(rejection, &self.request, responder, self.layer.settings.additions());
        let (mut replaced, _body) = response.into_parts();
        // Headers that layers in between have added stay, unless they are about the body. `Vary` has the names of all.
        for name in self.headers.keys().chain(&OF_BODIES).chain(answer.headers().keys()) {
            if *name != VARY {
                replaced.headers.remove(name);
            }
        }
        for names in answer.headers().get_all(VARY) {
            vary::merge_line(&mut replaced.headers, names.clone());
        }
        answer.headers_mut().extend(replaced.headers);
        let ours = mem::replace(answer.extensions_mut(), replaced.extensions);
        answer.extensions_mut().extend(ours);
        answer
    }
}

static OF_BODIES: [HeaderName; 8] = [
    ACCEPT_RANGES,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    CONTENT_TYPE,
    ETAG,
    LAST_MODIFIED,
    TRANSFER_ENCODING,
];
