//! A gRPC service with API keys in an embedded SQLite file: the standard health protocol, once as a unary call, once as a
//! stream that ends when its key is revoked.
//!
//! `cargo run --example tonic --features sqlite`, then paste the curl line it prints, and type `revoke reader` into the
//! server's terminal while it watches. The server reads its terminal: to start it with `&`, add `</dev/null`.

mod support;

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::Extensions;
use support::{Demo, Failure};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::{Server, TcpConnectInfo, TcpIncoming};
use tonic::{Request, Response, Status};
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tower_api_key::key::{Actor, Scope};
use tower_api_key::{AuthContext, GrpcStatus};

#[tokio::main]
async fn main() -> Result<(), Failure> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let listener = support::listen("127.0.0.1:50051").await?;
    let address = listener.local_addr()?;
    let demo = Arc::new(Demo::open("sqlite:tonic-example.sqlite").await?);

    // The five bytes are an empty message. Each response message has seven.
    let post = r"printf '\0\0\0\0\0' | curl -isN --http2-prior-knowledge -H 'content-type: application/grpc' -H 'te: trailers'";
    let url = format!("--data-binary @- http://{address}/grpc.health.v1.Health/Watch --output -");
    demo.announce(address, |key| format!("{post} -H 'authorization: Bearer {key}' {url}"))?;
    tokio::spawn(revoke_what_is_typed(demo.clone()));

    let keys = demo.keys.layer().client_address(client_address).responder(GrpcStatus);
    let may_write = "orders:write".parse()?;
    let health = HealthServer::new(Beat { may_write });
    let server = Server::builder().layer(keys).add_service(health);
    // Without TCP_NODELAY, small messages wait for the client's acknowledgement of the last one: 40 ms a call, in bursts.
    // `Server::tcp_nodelay` sets it for `serve` alone.
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    Ok(server.serve_with_incoming(incoming).await?)
}

/// The client's address, which tonic gets from the listener.
fn client_address(extensions: &Extensions) -> Option<IpAddr> {
    let connection = extensions.get::<TcpConnectInfo>()?;
    Some(connection.remote_addr()?.ip())
}

/// A health service that is always serving, and sends that every second to watchers. The service `orders` needs the scope
/// `orders:write`.
struct Beat {
    may_write: Scope,
}

#[tonic::async_trait]
impl Health for Beat {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let auth = context(&request)?;
        // One message of many. For a whole service, use `RequireScope`.
        if request.get_ref().service == "orders" && !auth.allows(&self.may_write) {
            return Err(Status::permission_denied("the key lacks the scope orders:write"));
        }
        tracing::info!(key = %auth.key_id(), organization = auth.organization().name, "asked");
        Ok(Response::new(serving()))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let revoked = context(&request)?.revoked();
        let (beats, stream) = mpsc::channel(1);
        tokio::spawn(async move {
            let beat = async {
                while beats.send(Ok(serving())).await.is_ok() {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            };
            // The key may be revoked after the check at the start of the stream.
            tokio::select! {
                () = beat => {}
                () = revoked => {
                    let _ = beats.send(Err(Status::unauthenticated("the key is no longer valid"))).await;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }
}

/// The context that the layer inserted. A missing layer is a mistake of this service, not of the client.
fn context<T>(request: &Request<T>) -> Result<&AuthContext, Status> {
    let auth = request.extensions().get();
    auth.ok_or_else(|| Status::internal("ApiKeyLayer is missing"))
}

fn serving() -> HealthCheckResponse {
    let status = ServingStatus::Serving as i32;
    HealthCheckResponse { status }
}

async fn revoke_what_is_typed(demo: Arc<Demo>) {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let id = line.strip_prefix("revoke ").and_then(|name| demo.ids.get(name.trim()));
        match id {
            None => tracing::warn!("type `revoke` and a key's name"),
            Some(id) => match demo
                .issuer
                .acting_as(Actor::operator("terminal"))
                .revoke(*id, "typed")
                .await
            {
                Ok(record) => tracing::info!(key = record.name, "revoked"),
                Err(error) => tracing::error!(%error, "could not revoke"),
            },
        }
    }
}
