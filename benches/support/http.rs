//! Requests, the handler that answers them, and the time that a service takes for them.

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, HOST, USER_AGENT};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{Empty, Full};
use tower_service::Service;

pub type Body = Full<Bytes>;
pub type Asked = Request<Empty<Bytes>>;
pub type Answered = Response<Body>;

/// Requests that are made before the time is taken. Few enough to stay in the processor's cache, like a request that was just
/// read from a socket.
const BATCH: usize = 32;

/// A handler that answers at once.
#[derive(Clone)]
pub struct Handler;

impl Service<Asked> for Handler {
    type Response = Answered;
    type Error = Infallible;
    type Future = Ready<Result<Answered, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Asked) -> Self::Future {
        drop(black_box(request));
        ready(Ok(Response::new(Body::default())))
    }
}

pub fn bearer(key: &str) -> HeaderValue {
    HeaderValue::try_from(format!("Bearer {key}")).expect("a header value")
}

/// A request as a command-line client sends it.
pub fn request(credential: &HeaderValue) -> Asked {
    let mut request = Request::new(Empty::new());
    let headers = request.headers_mut();
    headers.insert(HOST, HeaderValue::from_static("api.example.com"));
    headers.insert(USER_AGENT, HeaderValue::from_static("curl/8.14.1"));
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    headers.insert(AUTHORIZATION, credential.clone());
    request
}

/// Sends one request. The service must answer without waiting.
pub fn ask<S>(service: &mut S, request: Asked) -> Answered
where
    S: Service<Asked, Response = Answered, Error = Infallible>,
{
    let mut context = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut context).is_ready());
    match pin!(service.call(request)).poll(&mut context) {
        Poll::Ready(Ok(answer)) => answer,
        Poll::Pending => panic!("the service did not answer at once"),
    }
}

/// Sends `count` requests, with each credential in turn. Returns the time without that of making the requests.
pub fn timed<S>(service: &mut S, credentials: &[HeaderValue], count: usize, expected: StatusCode) -> Duration
where
    S: Service<Asked, Response = Answered, Error = Infallible>,
{
    let mut next = 0;
    let make = || {
        let made = request(&credentials[next]);
        next = (next + 1) % credentials.len();
        made
    };
    timed_with(service, make, count, expected)
}

/// [`timed`] with requests from a function.
pub fn timed_with<S>(service: &mut S, mut make: impl FnMut() -> Asked, count: usize, expected: StatusCode) -> Duration
where
    S: Service<Asked, Response = Answered, Error = Infallible>,
{
    let mut batch = Vec::with_capacity(BATCH);
    let mut elapsed = Duration::ZERO;
    for _ in 0..count.div_ceil(BATCH) {
        batch.extend((0..BATCH).map(|_| make()));
        let began = Instant::now();
        for request in batch.drain(..) {
            let answer = black_box(ask(service, request));
            assert!(answer.status() == expected);
        }
        elapsed += began.elapsed();
    }
    elapsed * count as u32 / (count.div_ceil(BATCH) * BATCH) as u32
}
