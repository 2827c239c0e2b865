//! The management API over HTTP.

use std::future::IntoFuture;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::error_handling::HandleErrorLayer;
use axum::routing::get;
use clap::Args;
use http::StatusCode;
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::net::TcpListener;
use tower::ServiceBuilder;
use tower_api_key::ApiKeys;
use tower_api_key::config;
use tower_api_key::key::{Networks, OrganizationId};

use crate::args::Global;
use crate::failure::Failure;

/// Serves the management API.
#[derive(Args, Debug)]
pub(crate) struct Serve {
    /// Where to listen, instead of at the address of the configuration, or 127.0.0.1:8080. Without --https-header only this machine is
    /// answered
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// The header in which the proxy in front says that a request came over HTTPS, such as x-forwarded-proto
    #[arg(long, value_name = "HEADER", requires = "proxies")]
    https_header: Option<String>,
    /// The header in which the proxy says the client's address, such as x-forwarded-for
    #[arg(long, value_name = "HEADER", requires = "proxies")]
    address_header: Option<String>,
    /// The networks that proxies are in, such as 10.0.0.0/8
    #[arg(long, value_name = "NETWORKS")]
    proxies: Option<Networks>,
    /// How log lines are written, instead of as the configuration says, or as text
    #[arg(long, value_enum)]
    log_format: Option<LogFormat>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(super) enum LogFormat {
    Text,
    Json,
}

pub(crate) async fn run(global: &Global, serve: Serve) -> Result<(), Failure> {
    let database = super::database(global, "serve")?;
    let config = database.config();
    let format = serve.log_format.unwrap_or(match config.log().format {
        config::LogFormat::Json => LogFormat::Json,
        _ => LogFormat::Text,
    });
    log_to_stderr(format, config.log().level);
    let server = config.server();
    let metrics = PrometheusBuilder::new()
        .install_recorder()
        .map_err(|error| Failure::Usage(format!("metrics cannot be recorded: {error}")))?;
    let listen = serve.listen.unwrap_or(server.listen);
    // Before anything is served: a second server on the port says so.
    let listener = TcpListener::bind(listen)
        .await
        .map_err(|error| Failure::Usage(format!("{listen} cannot be listened on: {error}")))?;
    let keys = database.keys(global).await?;
    let manage = manage(&keys, &serve, listen)?;
    let probe = keys.clone();
    let app = Router::new()
        .nest("/api/v1/auth", manage)
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(async move || ready(&probe).await))
        .route("/metrics", get(async move || metrics.render()))
        .layer(
            ServiceBuilder::new()
                .layer(HandleErrorLayer::new(overloaded))
                .load_shed()
                .concurrency_limit(server.concurrency)
                .timeout(server.request_timeout),
        );
    let address = listener.local_addr()?;
    let signals = Signals::new()?;
    tracing::info!(%address, database = database.place(), "serving");
    let maintenance = keys.maintenance();
    let upkeep = tokio::spawn(async move { maintenance.run().await });
    let service = app.into_make_service_with_connect_info::<SocketAddr>();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = axum::serve(listener, service).with_graceful_shutdown(async move {
        signals.one().await;
        let _ = stop.send(());
    });
    // A client that never ends its request does not keep the program.
    let patience = async {
        let _ = stopped.await;
        tokio::time::sleep(LONGEST_STOP).await;
    };
    tokio::select! {
        served = serving.into_future() => served?,
        () = patience => tracing::warn!("requests are still open; stopping all the same"),
    }
    upkeep.abort();
    keys.flush().await?;
    tracing::info!("stopped");
    Ok(())
}

fn manage(keys: &ApiKeys, serve: &Serve, listen: SocketAddr) -> Result<Router, Failure> {
    let mut manage = keys.manage();
    if let Some(networks) = &serve.proxies {
        if let Some(header) = &serve.address_header {
            manage = manage.layer(|layer| layer.trusted_proxies(header, networks.clone()))?;
        }
        if let Some(header) = &serve.https_header {
            manage = manage.https_by_proxies(header, networks.clone())?;
        }
    }
    if !listen.ip().is_loopback() && serve.https_header.is_none() && !manage.is_https_only() {
        let sentence = "to be reached from other machines, it needs a proxy that terminates TLS: give --https-header and --proxies, or listen on \
                        127.0.0.1";
        return Err(Failure::Usage(sentence.to_owned()));
    }
    Ok(manage.router())
}

/// Ready once the database answers.
async fn ready(keys: &ApiKeys) -> (StatusCode, &'static str) {
    match keys.read(OrganizationId::new()).await {
        Ok(_) => (StatusCode::OK, "ready\n"),
        Err(error) => {
            let error: &(dyn std::error::Error + 'static) = &error;
            tracing::warn!(error, "not ready");
            (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n")
        }
    }
}

async fn overloaded(error: tower::BoxError) -> (StatusCode, [(&'static str, &'static str); 2], &'static str) {
    let (status, body) = match error.is::<tower::timeout::error::Elapsed>() {
        true => (
            StatusCode::SERVICE_UNAVAILABLE,
            r#"{"type":"urn:problem-type:tower-api-key:timed-out","title":"Service Unavailable","status":503,"detail":"the request took too long; whether it was done is not known"}"#,
        ),
        false => (
            StatusCode::SERVICE_UNAVAILABLE,
            r#"{"type":"urn:problem-type:tower-api-key:unavailable","title":"Service Unavailable","status":503,"detail":"too many requests at once"}"#,
        ),
    };
    (
        status,
        [("content-type", "application/problem+json"), ("retry-after", "1")],
        body,
    )
}

/// Ctrl-C, or what service managers send. Heard from when this is made, so that none is missed before it is waited for.
pub(super) struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    pub(super) fn new() -> Result<Self, Failure> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            Ok(Self {
                terminate: signal(SignalKind::terminate())?,
                interrupt: signal(SignalKind::interrupt())?,
            })
        }
        #[cfg(not(unix))]
        Ok(Self {})
    }

    pub(super) async fn one(mut self) {
        #[cfg(unix)]
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
        #[cfg(not(unix))]
        let _ = tokio::signal::ctrl_c().await;
    }
}

pub(super) fn log_to_stderr(format: LogFormat, level: tracing::Level) {
    use tracing_subscriber::EnvFilter;
    let usual = || EnvFilter::new(level.as_str().to_ascii_lowercase());
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| usual());
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
}

/// How long requests have to end when the program stops.
const LONGEST_STOP: Duration = Duration::from_secs(30);
