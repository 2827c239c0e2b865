//! Requests to the collector.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::Connect;
use hyper_util::rt::TokioExecutor;
use opentelemetry_http::{HttpClient, HttpError};
use tokio::runtime::Handle;

use crate::failure::chain;

/// A client that follows no redirects, so that nothing goes elsewhere.
pub(super) struct Collector<C> {
    url: String,
    client: Client<C, Full<Bytes>>,
    /// The thread that exports has none.
    runtime: Handle,
    is_down: AtomicBool,
}

impl<C: Connect + Clone + Send + Sync + 'static> Collector<C> {
    /// To be called in the runtime that requests are sent by.
    pub(super) fn new(url: String, connector: C) -> Self {
        Self {
            url,
            client: Client::builder(TokioExecutor::new()).build(connector),
            runtime: Handle::current(),
            is_down: AtomicBool::new(false),
        }
    }

    /// A line when it goes down, and one when it is up again.
    fn note(&self, problem: Option<&str>) {
        let was_down = self.is_down.swap(problem.is_some(), Ordering::Relaxed);
        match problem {
            Some(error) if !was_down => {
                tracing::warn!(
                    collector = self.url,
                    error,
                    "traces are lost: the collector does not take them"
                );
            }
            None if was_down => tracing::info!(collector = self.url, "the collector takes traces again"),
            _ => {}
        }
    }
}

impl<C> fmt::Debug for Collector<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collector")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

#[async_trait::async_trait]
impl<C: Connect + Clone + Send + Sync + 'static> HttpClient for Collector<C> {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        let sending = self
            .runtime
            .spawn(async move { tokio::time::timeout(LONGEST, send(client, request)).await });
        let sent: Result<Response<Bytes>, HttpError> = match sending.await {
            Ok(Ok(sent)) => sent,
            Ok(Err(_)) => Err(format!("no answer after {} s", LONGEST.as_secs()).into()),
            // The program ends.
            Err(ended) => Err(ended.into()),
        };
        match &sent {
            Ok(response) if response.status().is_success() => self.note(None),
            Ok(response) => self.note(Some(&format!("it answers {}", response.status()))),
            Err(error) => self.note(Some(&chain(error.as_ref()))),
        }
        sent
    }
}

async fn send<C: Connect + Clone + Send + Sync + 'static>(
    client: Client<C, Full<Bytes>>,
    request: Request<Bytes>,
) -> Result<Response<Bytes>, HttpError> {
    let response = client.request(request.map(Full::new)).await?;
    let (parts, body) = response.into_parts();
    let body = Limited::new(body, LARGEST_ANSWER).collect().await?;
    Ok(Response::from_parts(parts, body.to_bytes()))
}

const LONGEST: Duration = Duration::from_secs(10);
/// In bytes. A collector says how many spans it did not take, and why.
const LARGEST_ANSWER: usize = 64 << 10;
