//! The body of a metered request.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::running::MeteredRequest;

pin_project! {
    /// The body of a request inside a [`MeterLayer`](crate::MeterLayer), as it was sent: what is read of it is counted.
    pub struct CountedBody<Q> {
        #[pin]
        body: Q,
        running: Option<Arc<MeteredRequest>>,
    }
}

impl<Q> CountedBody<Q> {
    /// Without a running request nothing is counted.
    pub(super) fn new(body: Q, running: Option<Arc<MeteredRequest>>) -> Self {
        Self { body, running }
    }

    /// The body itself. What is read of it from now on is not counted.
    pub fn into_inner(self) -> Q {
        self.body
    }
}

impl<Q: Body> Body for CountedBody<Q> {
    type Data = Q::Data;
    type Error = Q::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.project();
        let frame = ready!(this.body.poll_frame(cx));
        if let (Some(running), Some(Ok(frame))) = (this.running, &frame)
            && let Some(data) = frame.data_ref()
        {
            running.read(data.remaining() as u64);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<Q: Default> Default for CountedBody<Q> {
    fn default() -> Self {
        Self::new(Q::default(), None)
    }
}

impl<Q: fmt::Debug> fmt::Debug for CountedBody<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CountedBody")
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}
