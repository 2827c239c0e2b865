//! The future of a response.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::answer::refuse;
use super::layer::Settings;
use super::respond::Respond;
use super::service::admit;
use super::success::SuccessFields;
use crate::check::{AuthContext, Rejection};

/// A check that has to wait for somebody.
type Check = Pin<Box<dyn Future<Output = Result<AuthContext, Rejection>> + Send>>;

pin_project! {
    /// The future of an [`ApiKeyService`](super::ApiKeyService): refused, or checking and then calling, or calling.
    ///
    /// # Panics
    /// When it is polled again after it completed with a refusal.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<I, R, Q, B>
    where
        I: Service<Request<Q>>,
    {
        #[pin]
        state: State<I::Future, Pending<I, R, Q>, Response<B>>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F, P, A> {
        Refused { response: Option<A> },
        // Boxed: only requests whose key is not in memory pay for it, and the future of the others stays small.
        Checking { check: Check, pending: Option<Box<P>> },
        Calling { #[pin] inner: F, fields: SuccessFields },
    }
}

/// What waits for the verdict.
pub(super) struct Pending<I, R, Q> {
    inner: I,
    request: Request<Q>,
    responder: R,
    settings: Arc<Settings>,
}

impl<I, R, Q> Pending<I, R, Q> {
    pub(super) fn new(inner: I, request: Request<Q>, responder: R, settings: Arc<Settings>) -> Self {
        settings
            .address
            .warn_if_unknown(request.headers(), request.extensions());
        Self {
            inner,
            request,
            responder,
            settings,
        }
    }
}

impl<I, R, Q, B> ResponseFuture<I, R, Q, B>
where
    I: Service<Request<Q>>,
{
    pub(super) fn refused(response: Response<B>) -> Self {
        Self {
            state: State::Refused {
                response: Some(response),
            },
        }
    }

    pub(super) fn checking(check: Check, pending: Pending<I, R, Q>) -> Self {
        Self {
            state: State::Checking {
                check,
                pending: Some(Box::new(pending)),
            },
        }
    }

    #[inline]
    pub(super) fn calling(inner: I::Future, fields: SuccessFields) -> Self {
        Self {
            state: State::Calling { inner, fields },
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
        loop {
            match state.as_mut().project() {
                StateProjection::Refused { response } => match response.take() {
                    Some(response) => return Poll::Ready(Ok(response)),
                    None => polled_again(),
                },
                StateProjection::Checking { check, pending } => {
                    let verdict = ready!(check.as_mut().poll(cx));
                    let Some(pending) = pending.take() else { polled_again() };
                    let Pending {
                        mut inner,
                        mut request,
                        responder,
                        settings,
                    } = *pending;
                    match verdict {
                        Ok(context) => {
                            // The check's last step confirmed that the key stands; nothing may be awaited in between,
                            // or a revoke that returned meanwhile would be passed by.
                            let fields = admit(&settings, &mut request, context);
                            let inner = inner.call(request);
                            state.set(State::Calling { inner, fields });
                        }
                        Err(rejection) => {
                            let (parts, _body) = request.into_parts();
                            let response = refuse(rejection, &parts, &responder, settings.terms());
                            return Poll::Ready(Ok(response));
                        }
                    }
                }
                StateProjection::Calling { inner, fields } => {
                    // Written where it is: responses are large, and taking one out and putting it back moves it twice.
                    let mut answer = inner.poll(cx);
                    if let Poll::Ready(Ok(response)) = &mut answer {
                        fields.write(response.headers_mut());
                    }
                    return answer;
                }
            }
        }
    }
}

#[cold]
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
