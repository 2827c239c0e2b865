//! The future of a response.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::deferred::Deferred;
use super::handle::LayerHandle;
use super::refusal::refuse;
use super::respond::Respond;
use super::success::SuccessHeaders;
use crate::check::{AuthContext, Rejection};

/// A check that has to wait for the store, a hash or a limiter.
pub(super) type CheckFuture = Pin<Box<dyn Future<Output = Result<AuthContext, Rejection>> + Send>>;

pin_project! {
    /// The future of an [`ApiKeyService`](crate::ApiKeyService).
    ///
    /// # Panics
    /// If it is polled after it completed.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<I, R, Q, B>
    where
        I: Service<Request<Q>>,
    {
        #[pin]
        state: StateOf<I, R, Q, B>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum ResponseState<F, P, A, R> {
        Refused { response: Option<A> },
        // Boxed, so that the future stays small for requests whose key is cached.
        Checking { check: CheckFuture, pending: Option<Box<P>> },
        Calling { #[pin] inner: F, headers: Option<SuccessHeaders>, responder: R },
    }
}

type StateOf<I, R, Q, B> = ResponseState<<I as Service<Request<Q>>>::Future, Pending<I, R, Q>, Response<B>, R>;

/// What is needed once the check is done.
pub(super) struct Pending<I, R, Q> {
    inner: I,
    request: Request<Q>,
    responder: R,
    handle: Arc<LayerHandle>,
}

impl<I, R, Q> Pending<I, R, Q> {
    pub(super) fn new(inner: I, request: Request<Q>, responder: R, handle: Arc<LayerHandle>) -> Self {
        handle
            .settings
            .address
            .warn_if_unknown(request.headers(), request.extensions());
        Self {
            inner,
            request,
            responder,
            handle,
        }
    }
}

impl<I, R, Q, B> ResponseFuture<I, R, Q, B>
where
    I: Service<Request<Q>>,
{
    pub(super) fn refused(response: Response<B>) -> Self {
        Self {
            state: ResponseState::Refused {
                response: Some(response),
            },
        }
    }

    pub(super) fn checking(check: CheckFuture, pending: Pending<I, R, Q>) -> Self {
        Self {
            state: ResponseState::Checking {
                check,
                pending: Some(Box::new(pending)),
            },
        }
    }

    #[inline]
    pub(super) fn calling(inner: I::Future, headers: Option<SuccessHeaders>, responder: R) -> Self {
        Self {
            state: ResponseState::Calling {
                inner,
                headers,
                responder,
            },
        }
    }
}

impl<I, R, Q, B> Future for ResponseFuture<I, R, Q, B>
where
    I: Service<Request<Q>, Response = Response<B>>,
    R: Respond<B>,
{
    type Output = Result<Response<B>, I::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        if !matches!(*state, ResponseState::Calling { .. })
            && let Some(refused) = ready!(poll_unless_calling(state.as_mut(), cx))
        {
            return Poll::Ready(Ok(refused));
        }
        let StateProjection::Calling {
            inner,
            headers,
            responder,
        } = state.project()
        else {
            polled_again()
        };
        let mut response = ready!(inner.poll(cx))?;
        if let Some(deferred) = response.extensions_mut().remove::<Deferred>() {
            response = deferred.answer(response, responder);
        }
        if let Some(headers) = headers {
            headers.write(response.status(), response.headers_mut());
        }
        Poll::Ready(Ok(response))
    }
}

/// Drives the states before the call: a refusal, or `None` once the inner service is called.
// Not inlined: its stack frame would be part of every request's.
#[inline(never)]
fn poll_unless_calling<I, R, Q, B>(
    mut state: Pin<&mut StateOf<I, R, Q, B>>,
    cx: &mut Context<'_>,
) -> Poll<Option<Response<B>>>
where
    I: Service<Request<Q>, Response = Response<B>>,
    R: Respond<B>,
{
    match state.as_mut().project() {
        StateProjection::Refused { response } => match response.take() {
            Some(response) => Poll::Ready(Some(response)),
            None => polled_again(),
        },
        StateProjection::Checking { check, pending } => {
            let verdict = ready!(check.as_mut().poll(cx));
            let Some(pending) = pending.take() else { polled_again() };
            let Pending {
                mut inner,
                mut request,
                responder,
                handle,
            } = *pending;
            match verdict {
                Ok(context) => {
                    let headers = handle.admit(context, &mut request);
                    // The check's last step confirmed the key. Nothing may be awaited before the call, or the request would
                    // pass although a revoke has returned.
                    let inner = inner.call(request);
                    state.set(ResponseState::Calling {
                        inner,
                        headers,
                        responder,
                    });
                    Poll::Ready(None)
                }
                Err(rejection) => {
                    handle.rejected(&rejection);
                    let (parts, _body) = request.into_parts();
                    Poll::Ready(Some(refuse(rejection, &parts, &responder, handle.settings.additions())))
                }
            }
        }
        StateProjection::Calling { .. } => Poll::Ready(None),
    }
}

fn polled_again() -> ! {
    panic!("`ResponseFuture` polled after it completed")
}

impl<I, R, Q, B> fmt::Debug for ResponseFuture<I, R, Q, B>
where
    I: Service<Request<Q>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
