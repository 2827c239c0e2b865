//! The body of a metered response, whose end is the end of the request.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::{HeaderMap, Method, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::super::deferred::Deferred;
use super::running::{MeteredRequest, Outcome};
use crate::usage::{ErrorClass, UsageStatus};

pin_project! {
    /// The body of a response of a [`MeterService`](crate::MeterService): frames, trailers and size are those of the body inside.
    pub struct MeteredBody<B> {
        #[pin]
        body: B,
        sending: Option<Sending>,
    }
}

/// A response under way, which ends when this is dropped.
struct Sending {
    running: Option<Arc<MeteredRequest>>,
    status: UsageStatus,
    /// Whether a code of gRPC is to come, in the trailers.
    awaits_grpc_status: bool,
    bytes_out: u64,
    /// How many bytes there will be, if that is known. A server may send the last of them and not ask for more.
    length: Option<u64>,
    error: Option<ErrorClass>,
    has_ended: bool,
    /// The body is at work: if this is dropped meanwhile, or after that, it has panicked.
    is_inside: bool,
}

impl<B: Body> MeteredBody<B> {
    pub(super) fn around(response: Response<B>, running: Arc<MeteredRequest>, method: &Method) -> Response<Self> {
        let (head, body) = response.into_parts();
        let is_grpc = is_grpc(&head.headers);
        let grpc_status = is_grpc.then(|| grpc_status(&head.headers)).flatten();
        let mut sending = Sending {
            running: Some(running),
            status: grpc_status.unwrap_or(UsageStatus::http(head.status.as_u16())),
            awaits_grpc_status: is_grpc && grpc_status.is_none(),
            bytes_out: 0,
            length: None,
            error: None,
            has_ended: false,
            // Of the body it is asked how long it is.
            is_inside: true,
        };
        let exact = body.size_hint().exact();
        // Where the length is known from the header alone, a server stops there too.
        sending.length = exact.or_else(|| content_length(&head.headers));
        sending.has_ended = is_without_body(method, head.status) || body.is_end_stream();
        if head.extensions.get::<Deferred>().is_some() {
            // The layer around sends an answer of its own in its place.
            (sending.has_ended, sending.bytes_out) = (true, exact.unwrap_or(0));
        }
        sending.is_inside = false;
        let body = Self {
            body,
            sending: Some(sending),
        };
        Response::from_parts(head, body)
    }
}

impl<B> MeteredBody<B> {
    /// Of a request that is not metered.
    pub(super) fn unmetered(body: B) -> Self {
        Self { body, sending: None }
    }
}

impl<B: Body> Body for MeteredBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let mut this = self.project();
        let Some(sending) = this.sending else {
            return this.body.poll_frame(cx);
        };
        sending.is_inside = true;
        let polled = this.body.as_mut().poll_frame(cx);
        let is_last = polled.is_ready() && this.body.is_end_stream();
        sending.is_inside = false;
        let frame = ready!(polled);
        sending.note(frame.as_ref().map(|frame| frame.as_ref().map_err(drop)));
        // A server asks for no more then.
        sending.has_ended |= is_last;
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Sending {
    fn note<D: Buf>(&mut self, frame: Option<Result<&Frame<D>, ()>>) {
        match frame {
            None => self.has_ended = true,
            Some(Err(())) => (self.error, self.has_ended) = (Some(ErrorClass::Body), true),
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.bytes_out = self.bytes_out.saturating_add(data.remaining() as u64);
                }
                if let Some(trailers) = frame.trailers_ref() {
                    self.has_ended = true;
                    if self.awaits_grpc_status
                        && let Some(status) = grpc_status(trailers)
                    {
                        (self.status, self.awaits_grpc_status) = (status, false);
                    }
                }
            }
        }
    }

    fn has_ended(&self) -> bool {
        self.has_ended || self.length.is_some_and(|length| self.bytes_out >= length)
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        let Some(running) = self.running.take() else { return };
        let error = match (self.error, self.is_inside, self.has_ended()) {
            (Some(error), _, _) => Some(error),
            (None, true, _) => Some(ErrorClass::Panicked),
            (None, false, true) => None,
            (None, false, false) => Some(ErrorClass::Cancelled),
        };
        let status = match (self.awaits_grpc_status, error) {
            (false, _) => self.status,
            // As gRPC has it: a stream that was given up, and one that ended without a status.
            (true, Some(ErrorClass::Cancelled)) => UsageStatus::grpc(1),
            (true, _) => UsageStatus::grpc(2),
        };
        running.respond(Outcome {
            status,
            bytes_out: self.bytes_out,
            error,
            is_upgrade: false,
        });
    }
}

fn is_without_body(method: &Method, status: StatusCode) -> bool {
    *method == Method::HEAD || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).map(|value| value.as_bytes());
    // Not gRPC-Web, which has its trailers in the body.
    let rest = content_type.and_then(|value| value.strip_prefix(b"application/grpc"));
    matches!(rest, Some([] | [b'+' | b';', ..]))
}

fn grpc_status(headers: &HeaderMap) -> Option<UsageStatus> {
    let code = headers.get("grpc-status")?.to_str().ok()?;
    Some(UsageStatus::grpc(code.parse().ok()?))
}

/// For the answers of layers around this one.
impl<B: From<Bytes>> From<Bytes> for MeteredBody<B> {
    fn from(bytes: Bytes) -> Self {
        Self::unmetered(bytes.into())
    }
}

impl<B: Default> Default for MeteredBody<B> {
    fn default() -> Self {
        Self::unmetered(B::default())
    }
}

impl<B: fmt::Debug> fmt::Debug for MeteredBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MeteredBody")
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}
