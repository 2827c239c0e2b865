//! A collector that keeps what it receives.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use http::{HeaderMap, StatusCode, Uri};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message;

pub(crate) struct Collector {
    address: SocketAddr,
    requests: Requests,
    status: Arc<AtomicU16>,
}

type Requests = Arc<Mutex<Vec<Received>>>;

/// A request to it.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) path: String,
    pub(crate) token: String,
    pub(crate) body: Bytes,
}

/// A span.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) name: String,
    pub(crate) trace: String,
    pub(crate) is_server: bool,
    pub(crate) attributes: Vec<(String, String)>,
    /// Each with its attributes, as text.
    pub(crate) events: Vec<String>,
}

impl Collector {
    pub(crate) fn start() -> Self {
        let requests = Requests::default();
        let status = Arc::new(AtomicU16::new(200));
        let app = Router::new()
            .fallback(receive)
            .with_state((requests.clone(), status.clone()));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                axum::serve(listener, app).await.unwrap();
            });
        });
        Self {
            address,
            requests,
            status,
        }
    }

    /// With this status, from now on.
    pub(crate) fn answer(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn requests(&self) -> Vec<Received> {
        self.requests.lock().unwrap().clone()
    }

    pub(crate) fn spans(&self) -> Vec<Seen> {
        let batches = self.batches().into_iter().flat_map(|batch| batch.resource_spans);
        let spans = batches
            .flat_map(|batch| batch.scope_spans)
            .flat_map(|batch| batch.spans);
        spans
            .map(|span| Seen {
                is_server: span.kind() == SpanKind::Server,
                trace: span.trace_id.iter().map(|byte| format!("{byte:02x}")).collect(),
                attributes: pairs(span.attributes),
                events: span
                    .events
                    .into_iter()
                    .map(|event| format!("{} {:?}", event.name, pairs(event.attributes)))
                    .collect(),
                name: span.name,
            })
            .collect()
    }

    /// The attributes of who sends.
    pub(crate) fn resource(&self) -> Vec<(String, String)> {
        let batches = self.batches().into_iter().flat_map(|batch| batch.resource_spans);
        let resources = batches.filter_map(|batch| batch.resource);
        pairs(resources.flat_map(|resource| resource.attributes).collect())
    }

    fn batches(&self) -> Vec<ExportTraceServiceRequest> {
        let requests = self.requests().into_iter();
        requests
            .map(|request| ExportTraceServiceRequest::decode(request.body).unwrap())
            .collect()
    }
}

impl Seen {
    /// An attribute; empty if there is none.
    pub(crate) fn text(&self, name: &str) -> &str {
        let found = self.attributes.iter().find(|(key, _)| key == name);
        found.map_or("", |(_, value)| value)
    }

    pub(crate) fn number(&self, name: &str) -> i64 {
        self.text(name).parse().unwrap_or(0)
    }
}

async fn receive(
    State((requests, status)): State<(Requests, Arc<AtomicU16>)>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let token = headers.get("x-token").map_or("", |value| value.to_str().unwrap());
    requests.lock().unwrap().push(Received {
        path: uri.path().to_owned(),
        token: token.to_owned(),
        body,
    });
    StatusCode::from_u16(status.load(Ordering::Relaxed)).unwrap()
}

fn pairs(attributes: Vec<KeyValue>) -> Vec<(String, String)> {
    let text = |value: Value| match value {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        other => format!("{other:?}"),
    };
    attributes
        .into_iter()
        .map(|pair| {
            (
                pair.key,
                pair.value.and_then(|value| value.value).map_or_else(String::new, text),
            )
        })
        .collect()
}
