//! The future of a metered response.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Method, Response, StatusCode};
use http_body::Body;
use pin_project_lite::pin_project;

use super::body::MeteredBody;
use super::running::{MeteredRequest, Outcome};
use crate::usage::{ErrorClass, UsageStatus};

pin_project! {
    /// The future of a [`MeterService`](crate::MeterService).
    ///
    /// # Panics
    /// If it is polled after it completed, as the inner future does.
    #[must_use = "futures do nothing unless polled"]
    pub struct MeterFuture<F> {
        #[pin]
        inner: F,
        call: Call,
    }
}

impl<F> MeterFuture<F> {
    /// Of a call that has returned this future.
    pub(super) fn new(inner: F, mut call: Call) -> Self {
        call.is_inside = false;
        Self { inner, call }
    }
}

impl<F, B, E> Future for MeterFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
{
    type Output = Result<Response<MeteredBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        this.call.is_inside = true;
        let polled = this.inner.poll(cx);
        this.call.is_inside = false;
        let answered = ready!(polled);
        Poll::Ready(match answered {
            Ok(response) => Ok(this.call.responded(response)),
            Err(error) => {
                this.call.failed(ErrorClass::Service);
                Err(error)
            }
        })
    }
}

/// A call of the inner service, which ends without a response if this is dropped.
pub(super) struct Call {
    /// `None` of a request that is not metered, and once there is a response.
    running: Option<Arc<MeteredRequest>>,
    method: Method,
    /// The inner service is at work: if this is dropped meanwhile, or after that, it has panicked.
    is_inside: bool,
}

impl Call {
    /// A call that is about to be made.
    pub(super) fn new(running: Option<Arc<MeteredRequest>>, method: Method) -> Self {
        Self {
            running,
            method,
            is_inside: true,
        }
    }

    fn responded<B: Body>(&mut self, response: Response<B>) -> Response<MeteredBody<B>> {
        let Some(running) = self.running.take() else {
            return response.map(MeteredBody::unmetered);
        };
        let status = response.status();
        let is_upgrade =
            status == StatusCode::SWITCHING_PROTOCOLS || (self.method == Method::CONNECT && status.is_success());
        if !is_upgrade {
            return MeteredBody::around(response, running, &self.method);
        }
        if !running.is_held() {
            tracing::warn!(
                "a connection was upgraded, and its handler took no `AuthContext::hold`: its usage ends here, whatever goes over it"
            );
        }
        running.respond(Outcome {
            status: UsageStatus::http(status.as_u16()),
            bytes_out: 0,
            error: None,
            is_upgrade: true,
        });
        response.map(MeteredBody::unmetered)
    }

    /// There is no response, and there will be none.
    fn failed(&mut self, error: ErrorClass) {
        if let Some(running) = self.running.take() {
            running.respond(Outcome {
                status: UsageStatus::NONE,
                bytes_out: 0,
                error: Some(error),
                is_upgrade: false,
            });
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.failed(match self.is_inside {
            true => ErrorClass::Panicked,
            false => ErrorClass::Cancelled,
        });
    }
}

impl<F> fmt::Debug for MeterFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MeterFuture").finish_non_exhaustive()
    }
}
