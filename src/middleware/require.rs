//! The future of the layers that decide without waiting: refuse, or call.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Response;
use pin_project_lite::pin_project;

pin_project! {
    /// The future of a [`RequireScopeService`](crate::RequireScopeService) or a
    /// [`RequireHttpsService`](crate::RequireHttpsService).
    ///
    /// # Panics
    /// If it is polled after it completed.
    #[must_use = "futures do nothing unless polled"]
    pub struct RequireFuture<F, B> {
        #[pin]
        state: RequireState<F, Response<B>>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum RequireState<F, A> {
        Refused { response: Option<A> },
        Calling { #[pin] inner: F },
    }
}

impl<F, B> RequireFuture<F, B> {
    pub(super) fn refused(response: Response<B>) -> Self {
        Self {
            state: RequireState::Refused {
                response: Some(response),
            },
        }
    }

    pub(super) fn calling(inner: F) -> Self {
        Self {
            state: RequireState::Calling { inner },
        }
    }
}

impl<F, B, E> Future for RequireFuture<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<B>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProjection::Calling { inner } => Poll::Ready(ready!(inner.poll(cx))),
            StateProjection::Refused { response } => match response.take() {
                Some(response) => Poll::Ready(Ok(response)),
                None => panic!("`RequireFuture` polled after it completed"),
            },
        }
    }
}

impl<F, B> fmt::Debug for RequireFuture<F, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequireFuture").finish_non_exhaustive()
    }
}
