//! The service: one request, one verdict.

use std::fmt;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use super::anonymous::Anonymous;
use super::answer::refuse;
use super::credential::{Found, Spot};
use super::future::{Pending, ResponseFuture};
use super::layer::{Settings, Shared};
use super::respond::Respond;
use super::success::SuccessFields;
use crate::check::{Attempt, AuthContext, OwnedAttempt, Rejection, RejectionKind};
use crate::store::KeyStore;

/// The service that an [`ApiKeyLayer`](crate::ApiKeyLayer) makes.
pub struct ApiKeyService<I, S, R> {
    inner: I,
    shared: Arc<Shared<S>>,
    responder: R,
}

/// What is known of a request without waiting.
enum Verdict {
    Admitted(AuthContext),
    Anonymous,
    Refused(Rejection),
    /// Somebody has to be asked.
    Later(OwnedAttempt),
}

impl<I, S, R> ApiKeyService<I, S, R> {
    pub(super) fn new(inner: I, shared: Arc<Shared<S>>, responder: R) -> Self {
        Self {
            inner,
            shared,
            responder,
        }
    }
}

impl<I, S: KeyStore, R> ApiKeyService<I, S, R> {
    /// The verdict, and where the one credential is that it is about.
    fn judge<Q>(&self, request: &Request<Q>) -> (Verdict, Option<Spot>) {
        let Shared {
            authenticator,
            settings,
        } = &*self.shared;
        let (key, spot) = match settings.sources.find(request.headers(), request.uri()) {
            Found::One(key, spot) => (key, spot),
            Found::Nothing if settings.optional => return (Verdict::Anonymous, None),
            Found::Nothing => return (self.refused(RejectionKind::MissingCredential, request), None),
            Found::Several => return (self.refused(RejectionKind::MultipleCredentials, request), None),
            Found::Malformed => return (self.refused(RejectionKind::MalformedKey, request), None),
        };
        let client = settings.address.client(request.headers(), request.extensions());
        let attempt = Attempt::new(key.as_bytes())
            .client_address(client.address)
            .behind_proxy(client.is_proxy);
        let verdict = match authenticator.try_check(&attempt) {
            Some(Ok(context)) => Verdict::Admitted(context),
            Some(Err(rejection)) => Verdict::Refused(rejection),
            // The same attempt goes on: it knows whether its limits were charged already.
            None => Verdict::Later(attempt.into_owned()),
        };
        (verdict, Some(spot))
    }

    /// A refusal that no check decided; those record their own.
    fn refused<Q>(&self, kind: RejectionKind, request: &Request<Q>) -> Verdict {
        let rejection = Rejection::new(kind);
        let address = &self.shared.settings.address;
        let client = address.client(request.headers(), request.extensions());
        self.shared.authenticator.record_refusal(&rejection, client.address);
        Verdict::Refused(rejection)
    }
}

impl<I, S, R, Q, B> Service<Request<Q>> for ApiKeyService<I, S, R>
where
    I: Service<Request<Q>, Response = Response<B>> + Clone,
    S: KeyStore,
    R: Respond<B>,
{
    type Response = Response<B>;
    type Error = I::Error;
    type Future = ResponseFuture<I, R, Q, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Q>) -> Self::Future {
        // Only this layer says who a request is: a context from anywhere else goes, whatever the verdict will be.
        request.extensions_mut().remove::<AuthContext>();
        let (verdict, spot) = self.judge(&request);
        let settings = &self.shared.settings;
        if !matches!(verdict, Verdict::Anonymous) {
            settings.hide_credentials(&mut request, spot);
        }
        match verdict {
            Verdict::Admitted(context) => {
                let fields = admit(settings, &mut request, context);
                ResponseFuture::calling(self.inner.call(request), fields)
            }
            Verdict::Anonymous => {
                request.extensions_mut().insert(Anonymous::new(&self.shared));
                let fields = SuccessFields::anonymous(settings.success, settings.vary.as_ref());
                ResponseFuture::calling(self.inner.call(request), fields)
            }
            Verdict::Refused(rejection) => {
                let (parts, _body) = request.into_parts();
                let response = refuse(rejection, &parts, &self.responder, settings.terms());
                // What was polled ready may hold a permit (`ConcurrencyLimit`) or a slot (`Buffer`) until it is
                // called, which it will not be: connections that were refused and stay open would use them all up.
                self.inner = self.inner.clone();
                ResponseFuture::refused(response)
            }
            Verdict::Later(attempt) => {
                let check = Box::pin(self.shared.authenticator.check(attempt));
                // The instance that was polled ready is the one to call; its clone need not be ready:
                // see "Be careful when cloning inner services" in the documentation of tower_service::Service.
                let clone = self.inner.clone();
                let ready = mem::replace(&mut self.inner, clone);
                let pending = Pending::new(ready, request, self.responder.clone(), self.shared.settings.clone());
                ResponseFuture::checking(check, pending)
            }
        }
    }
}

/// Puts the context into the request, and remembers what its answer is to be told.
pub(super) fn admit<Q>(settings: &Settings, request: &mut Request<Q>, context: AuthContext) -> SuccessFields {
    let fields = SuccessFields::admitted(settings.success, settings.vary.as_ref(), &context);
    request.extensions_mut().insert(context);
    fields
}

impl<I: Clone, S, R: Clone> Clone for ApiKeyService<I, S, R> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            shared: self.shared.clone(),
            responder: self.responder.clone(),
        }
    }
}

impl<I: fmt::Debug, S, R> fmt::Debug for ApiKeyService<I, S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKeyService")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
