//! What services and extractors share with the layer they belong to.

use std::sync::Arc;

use http::request::Parts;
use http::{Request, Response};

use super::others::Others;
use super::refusal::refuse;
use super::respond::Respond;
use super::settings::Settings;
use super::span;
use super::success::SuccessHeaders;
use super::websocket::Protocols;
use crate::check::{AuthContext, Authenticator, Rejection};
use crate::client::ClientOrigin;
use crate::store::KeyStore;

/// A layer's settings and its audit, without the type of its store.
///
/// Admitted requests carry it inside their context, anonymous ones as an extension of its own.
#[derive(Clone)]
pub(super) struct LayerHandle {
    pub(super) settings: Settings,
    record_refusal: Arc<RecordRefusal>,
}

type RecordRefusal = dyn Fn(&Rejection, ClientOrigin) + Send + Sync;

/// The extension of requests that an optional layer admitted without a key. It tells a route that needs a key whether the
/// client sent none, or the layer is missing.
///
/// The type is private, so that nothing else can insert it.
#[derive(Clone)]
pub(super) struct Anonymous(pub(super) Arc<LayerHandle>);

/// What contexts carry in place of the handle when their request also has a credential that is no key.
struct BesideOthers(Arc<LayerHandle>);

/// Marks a request as one that an optional layer with default settings admitted without a key, for tests of handlers.
#[cfg(feature = "testing")]
pub(crate) fn mark_as_anonymous(extensions: &mut http::Extensions) {
    static LAYER: std::sync::OnceLock<Arc<LayerHandle>> = std::sync::OnceLock::new();
    let layer = LAYER.get_or_init(|| {
        let store = crate::store::MemoryStore::new();
        let authenticator = Authenticator::builder(store).hash_policy(crate::hash::HashPolicy::sha256());
        Arc::new(LayerHandle::new(&authenticator.build()))
    });
    extensions.insert(Anonymous(layer.clone()));
}

impl LayerHandle {
    pub(super) fn new<S: KeyStore>(authenticator: &Authenticator<S>) -> Self {
        Self::with_settings(authenticator, Settings::new(authenticator.formats()))
    }

    pub(super) fn with_settings<S: KeyStore>(authenticator: &Authenticator<S>, settings: Settings) -> Self {
        Self {
            settings,
            record_refusal: Arc::new(authenticator.recorder()),
        }
    }

    /// The layer that admitted the request of this context. `None` if no layer did.
    pub(super) fn of(context: &AuthContext) -> Option<Arc<Self>> {
        let beside_others = || Some(context.attached::<BesideOthers>()?.0.clone());
        context.attached().or_else(beside_others)
    }

    /// Inserts the context of an admitted request. Returns what to write into its response.
    pub(super) fn admit<Q>(
        self: &Arc<Self>,
        mut context: AuthContext,
        request: &mut Request<Q>,
    ) -> Option<SuccessHeaders> {
        if self.settings.record_on_span {
            span::record_admitted(&context);
        }
        let mut headers = SuccessHeaders::admitted(self.settings.success, self.settings.vary(), &context);
        context.attach(self.clone());
        if self.settings.sources().annotate() {
            headers = self.admit_annotated(&mut context, request, headers);
        }
        request.extensions_mut().insert(context);
        headers
    }

    fn admit_annotated<Q>(
        self: &Arc<Self>,
        context: &mut AuthContext,
        request: &mut Request<Q>,
        headers: Option<SuccessHeaders>,
    ) -> Option<SuccessHeaders> {
        if Others::is_in(request) {
            context.attach(Arc::new(BesideOthers(self.clone())));
        }
        match request.extensions_mut().remove::<Protocols>() {
            Some(protocols) => Some(SuccessHeaders::with_protocols(headers, protocols)),
            None => headers,
        }
    }

    /// Names the key of a request that a check rejected, where that is wanted.
    pub(super) fn rejected(&self, rejection: &Rejection) {
        if self.settings.record_on_span {
            span::record_refused(rejection);
        }
    }

    /// Records a refusal that was decided without a check.
    pub(super) fn record_refusal(&self, rejection: &Rejection, client: ClientOrigin) {
        (self.record_refusal)(rejection, client);
    }

    /// Refuses an anonymous request as the layer would if it were not optional. Only the responder may be another one: the
    /// layer's makes bodies of a type that is not known here.
    pub(super) fn refuse_anonymous<B, R: Respond<B>>(&self, request: &Parts, responder: &R) -> Response<B> {
        let rejection = Rejection::missing_credential();
        let client = self.settings.address.client(&request.headers, &request.extensions);
        self.record_refusal(&rejection, client);
        refuse(rejection, request, responder, self.settings.additions())
    }
}

impl AuthContext {
    /// Whether the request also has a credential that is no key, which a source with
    /// [`together`](crate::KeySource::together) left in it.
    pub fn is_beside_others(&self) -> bool {
        self.attached::<BesideOthers>().is_some()
    }
}
