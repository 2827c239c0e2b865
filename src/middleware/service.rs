//! The service: one request, one verdict.

use std::fmt;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use super::admit::Unadmitted;
use super::anonymous::Anonymous;
use super::answer::refuse;
use super::future::{Pending, ResponseFuture};
use super::layer::Shared;
use super::respond::Respond;
use super::success::SuccessFields;
use crate::check::{AuthContext, OwnedAttempt, Rejection};
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

    fn call(&mut self, mut request: Request<Q>) -> Self::Future {
        match self.shared.admit(&mut request) {
            Ok(fields) => ResponseFuture::calling(self.inner.call(request), fields),
            Err(unadmitted) => self.call_unadmitted(request, unadmitted),
        }
    }
}

impl<I, S: KeyStore, R> ApiKeyService<I, S, R> {
    /// What few requests come to. Not inlined: its stack would be that of every request.
    #[inline(never)]
    fn call_unadmitted<Q, B>(&mut self, mut request: Request<Q>, unadmitted: Unadmitted) -> ResponseFuture<I, R, Q, B>
    where
        I: Service<Request<Q>, Response = Response<B>> + Clone,
        R: Respond<B>,
    {
        // Only this layer says who a request is: a context from anywhere else goes, whatever the verdict. Of a request
        // that is admitted at once it is replaced, which spares every such request a search.
        request.extensions_mut().remove::<AuthContext>();
        match unadmitted {
            Unadmitted::Anonymous => self.call_anonymously(request),
            Unadmitted::Refused(rejection) => self.refuse(request, rejection),
            Unadmitted::Undecided(attempt) => self.check(request, *attempt),
        }
    }

    fn call_anonymously<Q, B>(&mut self, mut request: Request<Q>) -> ResponseFuture<I, R, Q, B>
    where
        I: Service<Request<Q>, Response = Response<B>>,
    {
        let settings = &self.shared.settings;
        request.extensions_mut().insert(Anonymous::new(&self.shared));
        let fields = SuccessFields::anonymous(settings.success, settings.vary.as_ref());
        ResponseFuture::calling(self.inner.call(request), fields)
    }

    /// Asks whoever has to be asked, and calls then.
    fn check<Q, B>(&mut self, request: Request<Q>, attempt: OwnedAttempt) -> ResponseFuture<I, R, Q, B>
    where
        I: Service<Request<Q>, Response = Response<B>> + Clone,
        R: Respond<B>,
    {
        let check = Box::pin(self.shared.authenticator.check(attempt));
        // The instance that was polled ready is the one to call; its clone need not be ready:
        // see "Be careful when cloning inner services" in the documentation of tower_service::Service.
        let clone = self.inner.clone();
        let ready = mem::replace(&mut self.inner, clone);
        let pending = Pending::new(ready, request, self.responder.clone(), self.shared.settings.clone());
        ResponseFuture::checking(check, pending)
    }

    fn refuse<Q, B>(&mut self, request: Request<Q>, rejection: Rejection) -> ResponseFuture<I, R, Q, B>
    where
        I: Service<Request<Q>, Response = Response<B>> + Clone,
        R: Respond<B>,
    {
        let (parts, _body) = request.into_parts();
        let response = refuse(rejection, &parts, &self.responder, self.shared.settings.terms());
        // What was polled ready may hold a permit (`ConcurrencyLimit`) or a slot (`Buffer`) until it is
        // called, which it will not be: connections that were refused and stay open would use them all up.
        self.inner = self.inner.clone();
        ResponseFuture::refused(response)
    }
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
