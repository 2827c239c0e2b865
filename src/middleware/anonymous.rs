//! Requests that an optional layer let through without a key.

use std::sync::Arc;

use http::Response;
use http::request::Parts;

use super::answer::refuse;
use super::layer::{Settings, Shared};
use super::respond::Respond;
use crate::check::{Rejection, RejectionKind};
use crate::client::Origin;
use crate::store::KeyStore;

/// The mark of an anonymous request, in its extensions. Without it, a route that needs a key after all could not tell a
/// client without one from a service without a layer, and would answer both with a 500.
///
/// The type is private, so nobody else can set it.
#[derive(Clone)]
pub(super) struct Anonymous(Arc<dyn Doorkeeper>);

/// What the layer that let the request through knows, whatever its store is.
trait Doorkeeper: Send + Sync {
    fn settings(&self) -> &Settings;
    fn record_refusal(&self, rejection: &Rejection, client: Origin);
}

impl<S: KeyStore> Doorkeeper for Shared<S> {
    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn record_refusal(&self, rejection: &Rejection, client: Origin) {
        self.authenticator.record_refusal(rejection, client);
    }
}

impl Anonymous {
    pub(super) fn new<S: KeyStore>(layer: &Arc<Shared<S>>) -> Self {
        Self(layer.clone())
    }

    /// The answer that the layer would have given had it not been optional, but for how it looks: its responder makes
    /// bodies of a type that is not known here.
    pub(super) fn refuse<B, R: Respond<B>>(&self, request: &Parts, responder: &R) -> Response<B> {
        let rejection = Rejection::new(RejectionKind::MissingCredential);
        let settings = self.0.settings();
        let client = settings.address.client(&request.headers, &request.extensions);
        self.0.record_refusal(&rejection, client);
        refuse(rejection, request, responder, settings.terms())
    }
}
