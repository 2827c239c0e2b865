//! The service: one request, one verdict.

use std::fmt;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use super::anonymous::Anonymous;
use super::answer::refuse;
use super::credential::Found;
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

impl<I, S, R> ApiKeyService<I, S, R> {
    pub(super) fn new(inner: I, shared: Arc<Shared<S>>, responder: R) -> Self {
        Self {
            inner,
            shared,
            responder,
        }
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

    // The context goes straight from the check into the request's extensions. It is large enough that every further move,
    // into a value of one's own for the verdict, say, shows in what a request costs.
    fn call(&mut self, mut request: Request<Q>) -> Self::Future {
        let Shared {
            authenticator,
            settings,
        } = &*self.shared;
        let (key, spot) = match settings.sources.find(request.headers(), request.uri()) {
            Found::One(key, spot) => (key, spot),
            Found::Nothing if settings.optional => return self.call_anonymously(request),
            Found::Nothing => return self.refuse_unchecked(request, RejectionKind::MissingCredential),
            Found::Several => return self.refuse_unchecked(request, RejectionKind::MultipleCredentials),
            Found::Malformed => return self.refuse_unchecked(request, RejectionKind::MalformedKey),
        };
        let client = settings.address.client(request.headers(), request.extensions());
        let attempt = Attempt::from_client(key.as_bytes(), client.address, client.is_proxy);
        match authenticator.try_check(&attempt) {
            Some(Ok(context)) => {
                drop(attempt);
                drop(key);
                settings.hide_credentials(&mut request, Some(spot));
                let fields = admit(settings, &mut request, context);
                ResponseFuture::calling(self.inner.call(request), fields)
            }
            Some(Err(rejection)) => {
                drop(attempt);
                drop(key);
                settings.hide_credentials(&mut request, Some(spot));
                self.refuse(request, rejection)
            }
            None => {
                // The same attempt goes on: it knows whether its limits were charged already.
                let attempt = attempt.into_owned();
                drop(key);
                settings.hide_credentials(&mut request, Some(spot));
                self.check(request, attempt)
            }
        }
    }
}

impl<I, S: KeyStore, R> ApiKeyService<I, S, R> {
    #[inline(never)]
    fn call_anonymously<Q, B>(&mut self, mut request: Request<Q>) -> ResponseFuture<I, R, Q, B>
    where
        I: Service<Request<Q>, Response = Response<B>>,
    {
        let settings = &self.shared.settings;
        forget_context(&mut request);
        request.extensions_mut().insert(Anonymous::new(&self.shared));
        let fields = SuccessFields::anonymous(settings.success, settings.vary.as_ref());
        ResponseFuture::calling(self.inner.call(request), fields)
    }

    /// Asks whoever has to be asked, and calls then.
    #[inline(never)]
    fn check<Q, B>(&mut self, mut request: Request<Q>, attempt: OwnedAttempt) -> ResponseFuture<I, R, Q, B>
    where
        I: Service<Request<Q>, Response = Response<B>> + Clone,
        R: Respond<B>,
    {
        forget_context(&mut request);
        let check = Box::pin(self.shared.authenticator.check(attempt));
        // The instance that was polled ready is the one to call; its clone need not be ready:
        // see "Be careful when cloning inner services" in the documentation of tower_service::Service.
        let clone = self.inner.clone();
        let ready = mem::replace(&mut self.inner, clone);
        let pending = Pending::new(ready, request, self.responder.clone(), self.shared.settings.clone());
        ResponseFuture::checking(check, pending)
    }

    /// A refusal that no check decided; those record their own.
    #[cold]
    fn refuse_unchecked<Q, B>(&mut self, mut request: Request<Q>, kind: RejectionKind) -> ResponseFuture<I, R, Q, B>
    where
        I: Service<Request<Q>, Response = Response<B>> + Clone,
        R: Respond<B>,
    {
        let rejection = Rejection::new(kind);
        let Shared {
            authenticator,
            settings,
        } = &*self.shared;
        let client = settings.address.client(request.headers(), request.extensions());
        authenticator.record_refusal(&rejection, client.address);
        settings.hide_credentials(&mut request, None);
        self.refuse(request, rejection)
    }

    #[cold]
    fn refuse<Q, B>(&mut self, mut request: Request<Q>, rejection: Rejection) -> ResponseFuture<I, R, Q, B>
    where
        I: Service<Request<Q>, Response = Response<B>> + Clone,
        R: Respond<B>,
    {
        forget_context(&mut request);
        let (parts, _body) = request.into_parts();
        let response = refuse(rejection, &parts, &self.responder, self.shared.settings.terms());
        // What was polled ready may hold a permit (`ConcurrencyLimit`) or a slot (`Buffer`) until it is
        // called, which it will not be: connections that were refused and stay open would use them all up.
        self.inner = self.inner.clone();
        ResponseFuture::refused(response)
    }
}

/// Only this layer says who a request is: a context from anywhere else goes, whatever the verdict. Of a request that is
/// admitted at once it is replaced, which spares every such request a search.
fn forget_context<Q>(request: &mut Request<Q>) {
    request.extensions_mut().remove::<AuthContext>();
}

/// Puts the context into the request, in place of any other, and remembers what its answer is to be told.
#[inline]
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
