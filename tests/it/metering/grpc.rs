//! tonic and plain hyper: the same events, over sockets.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, BufMut, Bytes};
use futures_util::{Stream, StreamExt, stream};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::body::Body as TonicBody;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::MetadataValue;
use tonic::server::{Grpc, NamedService, StreamingService};
use tonic::transport::{Channel, Server};
use tonic::{Code, Status, Streaming};
use tower::{Layer, Service, service_fn};
use tower_api_key::usage::{ErrorClass, UsageStatus};
use tower_api_key::{GrpcStatus, MeterLayer};

use super::Metering;

/// Messages that are their bytes.
#[derive(Clone, Copy, Default)]
struct Plain;

impl Codec for Plain {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put(item);
        Ok(())
    }
}

impl Decoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// Sends each message back. `fail` ends the stream with an error, `wait` never ends it.
#[derive(Clone)]
struct Echo;

type Messages = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;
type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl StreamingService<Bytes> for Echo {
    type Response = Bytes;
    type ResponseStream = Messages;
    type Future = Boxed<Result<tonic::Response<Messages>, Status>>;

    fn call(&mut self, request: tonic::Request<Streaming<Bytes>>) -> Self::Future {
        Box::pin(async move {
            let echoed = request.into_inner().flat_map(|message| -> Messages {
                match message {
                    Ok(text) if text == "fail" => Box::pin(stream::iter([Err(Status::unavailable("as it should"))])),
                    Ok(text) if text == "wait" => Box::pin(stream::pending()),
                    message => Box::pin(stream::iter([message])),
                }
            });
            Ok(tonic::Response::new(Box::pin(echoed) as Messages))
        })
    }
}

impl<B> Service<Request<B>> for Echo
where
    B: http_body::Body + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send,
    B::Data: Send,
{
    type Response = Response<TonicBody>;
    type Error = Infallible;
    type Future = Boxed<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let denied = request.uri().path().ends_with("Denied");
        Box::pin(async move {
            if denied {
                return Ok(Status::permission_denied("not this one").into_http());
            }
            Ok(Grpc::new(Plain).streaming(Echo, request).await)
        })
    }
}

impl NamedService for Echo {
    const NAME: &'static str = "echo.Echo";
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// The path of a call is its template.
#[derive(Clone)]
struct Called(String);

fn metered(metering: &Metering) -> MeterLayer {
    MeterLayer::new(&metering.meter).route(|extensions| Some(&extensions.get::<Called>()?.0))
}

/// A call with these messages, and what comes back of it; `take` says how much the client waits for.
async fn call(
    channel: &Channel,
    key: &str,
    method: &str,
    messages: &[&'static str],
    take: usize,
) -> Result<usize, Code> {
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.unwrap();
    let sent: Vec<Bytes> = messages
        .iter()
        .map(|text| Bytes::from_static(text.as_bytes()))
        .collect();
    let mut request = tonic::Request::new(stream::iter(sent));
    request
        .metadata_mut()
        .insert("x-api-key", MetadataValue::try_from(key).unwrap());
    let path = format!("/echo.Echo/{method}").parse().unwrap();
    let answered = client
        .streaming(request, path, Plain)
        .await
        .map_err(|status| status.code())?;
    let mut stream = answered.into_inner();
    let mut seen = 0;
    while seen < take {
        match stream.message().await {
            Ok(Some(_)) => seen += 1,
            Ok(None) => break,
            Err(status) => return Err(status.code()),
        }
    }
    Ok(seen)
}

#[tokio::test]
async fn streams_of_grpc_end_with_their_code() {
    let metering = Metering::new().await;
    let (listener, address) = listen().await;
    let names_call = tower::util::MapRequestLayer::new(|mut request: Request<TonicBody>| {
        let called = Called(request.uri().path().to_owned());
        request.extensions_mut().insert(called);
        request
    });
    let server = Server::builder()
        .layer(names_call)
        .layer(metering.keys().responder(GrpcStatus))
        .layer(metered(&metering))
        .add_service(Echo);
    let server = tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    let channel = Channel::from_shared(format!("http://{address}"))
        .unwrap()
        .connect()
        .await
        .unwrap();

    let key = metering.key.clone();
    assert_eq!(call(&channel, &key, "Stream", &["one", "three"], 9).await, Ok(2));
    assert_eq!(
        call(&channel, &key, "Stream", &["one", "fail"], 9).await,
        Err(Code::Unavailable)
    );
    assert_eq!(
        call(&channel, &key, "Denied", &[], 9).await,
        Err(Code::PermissionDenied)
    );
    // The client resets the stream.
    assert_eq!(call(&channel, &key, "Stream", &["one", "wait"], 1).await, Ok(1));
    // No key: not metered.
    assert_eq!(
        call(&channel, "rubbish", "Stream", &["one"], 9).await,
        Err(Code::Unauthenticated)
    );
    crate::house::until(|| metering.meter.counts().accepted == 4).await;
    drop(channel);
    server.abort();

    let events = metering.events().await;
    let seen: Vec<_> = events
        .iter()
        .map(|event| (&*event.route, event.status.as_grpc(), event.error))
        .collect();
    assert_eq!(
        seen,
        [
            ("/echo.Echo/Stream", Some(0), None),
            ("/echo.Echo/Stream", Some(14), Some(ErrorClass::Server)),
            ("/echo.Echo/Denied", Some(7), Some(ErrorClass::Client)),
            ("/echo.Echo/Stream", Some(1), Some(ErrorClass::Cancelled)),
        ]
    );
    // Each message has five bytes before it.
    assert_eq!((events[0].bytes_in, events[0].bytes_out), (18, 18));
    assert_eq!((events[1].bytes_in, events[1].bytes_out), (17, 8));
}

/// A plain service of hyper, generic over the body of its requests.
#[tokio::test]
async fn hyper_has_the_same_events() {
    let metering = Metering::new().await;
    let (listener, address) = listen().await;
    async fn answer<B: http_body::Body>(request: Request<B>) -> Result<Response<Full<Bytes>>, Infallible> {
        let status = match request.uri().path() {
            "/lost" => StatusCode::NOT_FOUND,
            _ => StatusCode::OK,
        };
        let length = request.into_body().collect().await.map(|body| body.to_bytes().len());
        let text = format!("{:?}", length.map_err(drop));
        let mut response = Response::new(Full::from(text));
        *response.status_mut() = status;
        Ok(response)
    }
    let service = metering.keys().layer(metered(&metering).layer(service_fn(answer)));
    let server = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = TowerToHyperService::new(service.clone());
            let connection = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            tokio::spawn(async move {
                // A client that goes away is no failure.
                let _ = connection.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    let key = metering.key.as_bytes();
    for (path, status) in [("/", 200), ("/lost", 404)] {
        let answer = crate::wire::request(address, "GET", path, &[("x-api-key", key)]).await;
        assert_eq!(answer.status, status);
    }
    crate::house::until(|| metering.meter.counts().accepted == 2).await;
    server.abort();
    let events = metering.events().await;
    let seen: Vec<_> = events
        .iter()
        .map(|event| (event.status, event.error, event.bytes_out))
        .collect();
    assert_eq!(
        seen,
        [
            (UsageStatus::http(200), None, 5),
            (UsageStatus::http(404), Some(ErrorClass::Client), 5)
        ]
    );
}

/// A server asks for no more than the header says, or once the body says that it has ended.
#[tokio::test]
async fn response_that_was_sent_whole_is_not_cancelled() {
    use axum::Router;
    use axum::body::Body;
    use axum::routing::get;

    let metering = Metering::new().await;
    let (listener, address) = listen().await;
    let piece = || stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"01234"))]);
    let measured = move || async move { ([("content-length", "5")], Body::from_stream(piece())) };
    let routes = Router::new()
        .route("/measured", get(measured))
        .route("/chunked", get(move || async move { Body::from_stream(piece()) }))
        .route("/text", get(|| async { "01234" }))
        .route("/nothing", get(|| async { StatusCode::NO_CONTENT }));
    let app = metering.around(routes);
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    let key = metering.key.as_bytes();
    let paths = ["/measured", "/chunked", "/text", "/nothing"];
    for (number, path) in (1u64..).zip(paths) {
        let answer = crate::wire::request(address, "GET", path, &[("x-api-key", key)]).await;
        assert!(matches!(answer.status, 200 | 204), "{path}");
        crate::house::until(|| metering.meter.counts().accepted == number).await;
    }
    let answer = crate::wire::request(address, "HEAD", "/text", &[("x-api-key", key)]).await;
    assert_eq!(answer.status, 200);
    crate::house::until(|| metering.meter.counts().accepted == 5).await;
    server.abort();
    let events = metering.events().await;
    let seen: Vec<_> = events
        .iter()
        .map(|event| (&*event.route, event.bytes_out, event.error))
        .collect();
    assert_eq!(
        seen,
        [
            ("/measured", 5, None),
            ("/chunked", 5, None),
            ("/text", 5, None),
            ("/nothing", 0, None),
            ("/text", 0, None),
        ]
    );
}
