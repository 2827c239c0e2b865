//! The service of the layer.

use std::fmt;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use super::accessors::inner_accessors;
use super::admit::{Shared, Verdict};
use super::future::{CheckFuture, Pending, ResponseFuture};
use super::handle::Anonymous;
use super::refusal::refuse;
use super::respond::Respond;
use super::success::SuccessHeaders;
use crate::check::Rejection;
use crate::store::KeyStore;

/// The service of an [`ApiKeyLayer`](crate::ApiKeyLayer).
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

    inner_accessors!();
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
            Verdict::Admitted(headers) => {
                ResponseFuture::calling(self.inner.call(request), headers, self.responder.clone())
            }
            Verdict::Anonymous => self.call_anonymously(request),
            Verdict::Rejected(rejection) => self.refuse(request, rejection),
            Verdict::Undecided(check) => self.check(request, check),
        }
    }
}

// Not inlined: their stack frames would be part of every request's.
impl<I, S: KeyStore, R> ApiKeyService<I, S, R> {
    #[inline(never)]
    fn call_anonymously<Q, B>(&mut self, mut request: Request<Q>) -> ResponseFuture<I, R, Q, B>
    where
        I: Service<Request<Q>, Response = Response<B>>,
        R: Clone,
    {
        let handle = &self.shared.handle;
        request.extensions_mut().insert(Anonymous(handle.clone()));
        let headers = SuccessHeaders::anonymous(handle.settings.success, handle.settings.vary());
        ResponseFuture::calling(self.inner.call(request), headers, self.responder.clone())
    }

    /// Checks the key, and calls the inner service then.
    #[inline(never)]
    fn check<Q, B>(&mut self, request: Request<Q>, check: CheckFuture) -> ResponseFuture<I, R, Q, B>
    where
        I: Service<Request<Q>, Response = Response<B>> + Clone,
        R: Respond<B>,
    {
        // The instance that was polled ready is the one to call; its clone may not be ready. See "Be careful when cloning
        // inner services" in the documentation of `tower_service::Service`.
        let clone = self.inner.clone();
        let ready = mem::replace(&mut self.inner, clone);
        let pending = Pending::new(ready, request, self.responder.clone(), self.shared.handle.clone());
        ResponseFuture::checking(check, pending)
    }

    #[inline(never)]
    fn refuse<Q, B>(&mut self, request: Request<Q>, rejection: Rejection) -> ResponseFuture<I, R, Q, B>
    where
        I: Service<Request<Q>, Response = Response<B>> + Clone,
        R: Respond<B>,
    {
        let (parts, _body) = request.into_parts();
        let additions = self.shared.handle.settings.additions();
        let response = refuse(rejection, &parts, &self.responder, additions);
        // The instance that was polled ready may hold a permit (`ConcurrencyLimit`) or a slot (`Buffer`) until it is called.
        // It will not be called: drop it, so that refused connections that stay open do not use them up.
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
