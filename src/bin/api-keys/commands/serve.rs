//! The management API over HTTP.

mod app;
mod traces;

use std::future::IntoFuture;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::serve::ListenerExt;
use clap::Args;
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::net::TcpListener;
use tower_api_key::ApiKeys;
use tower_api_key::config::{self, LogConfig, OtlpEndpoint, ServerConfig};
use tower_api_key::key::Networks;

use self::traces::Traces;
use crate::failure::Failure;
use crate::global::Global;
use crate::log::{self, LogFormat};
use crate::signals::Signals;
use crate::text::shown;
use crate::work::database;

/// Serves the management API.
#[derive(Args, Debug)]
pub(crate) struct Serve {
    /// Where to listen, instead of at the address of the configuration, or 127.0.0.1:8080. Without --https-header only this machine is
    /// answered
    #[arg(long, value_name = "ADDRESS", value_parser = listen_address)]
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
    /// Sends traces to the collector at this URL by OTLP over HTTP, such as http://127.0.0.1:4318. Credentials for it go into the variable
    /// OTEL_EXPORTER_OTLP_HEADERS
    #[arg(long, value_name = "URL")]
    otlp: Option<String>,
}

pub(crate) async fn run(global: &Global, serve: Serve) -> Result<(), Failure> {
    let database = database(global, "serve")?;
    let config = database.config();
    let (server, traces) = (config.server(), serve.traces(config.log())?);
    log::to_stderr(serve.log_format(config.log()), config.log().level, traces.layer());
    let metrics = PrometheusBuilder::new()
        .install_recorder()
        .map_err(|error| Failure::Usage(format!("metrics cannot be recorded: {error}")))?;
    let listen = serve.listen.unwrap_or(server.listen);
    let keys = database.keys(global).await?;
    let manage = manage(&keys, &serve, server, listen)?;
    let app = traces.around(app::app(&keys, manage, metrics, server));
    let signals = Signals::new()?;
    // Last: from here on connections are accepted, and a program that cannot serve must accept none.
    let listener = TcpListener::bind(listen)
        .await
        .map_err(|error| Failure::Usage(format!("{listen} cannot be listened on: {error}")))?;
    let address = listener.local_addr()?;
    tracing::info!(%address, database = database.place(), "serving");
    let maintenance = keys.maintenance();
    let upkeep = tokio::spawn(async move { maintenance.run().await });
    let served = until(signals, listener, app).await;
    upkeep.abort();
    // What was counted is stored, and what is traced is sent, however it ended.
    let flushed = keys.flush().await;
    traces.end().await;
    served?;
    flushed?;
    tracing::info!("stopped");
    Ok(())
}

impl Serve {
    fn log_format(&self, config: &LogConfig) -> LogFormat {
        self.log_format.unwrap_or(match config.format {
            config::LogFormat::Json => LogFormat::Json,
            _ => LogFormat::Text,
        })
    }

    fn traces(&self, config: &LogConfig) -> Result<Traces, Failure> {
        let named: Option<OtlpEndpoint> = self.otlp.as_deref().map(str::parse).transpose()?;
        Traces::to(named.as_ref().or(config.otlp.as_ref()))
    }
}

/// An address with its port.
fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let wrong = |_| {
        format!(
            "must be an address and a port, such as 127.0.0.1:8080 or [::1]:8080, got `{}`",
            shown(text)
        )
    };
    text.parse().map_err(wrong)
}

/// Serves until a signal comes, and until the requests of that time are answered.
async fn until(signals: Signals, listener: TcpListener, app: Router) -> std::io::Result<()> {
    let service = app.into_make_service_with_connect_info::<SocketAddr>();
    let listener = listener.tap_io(|stream| {
        // A connection that refuses it still answers, though late.
        let _ = stream.set_nodelay(true);
    });
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
        served = serving.into_future() => served,
        () = patience => {
            tracing::warn!("requests are still open; stopping all the same");
            Ok(())
        }
    }
}

fn manage(keys: &ApiKeys, serve: &Serve, server: &ServerConfig, listen: SocketAddr) -> Result<Router, Failure> {
    let mut manage = keys.manage().body_limit(server.body_limit);
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

/// How long requests have to end when the program stops.
const LONGEST_STOP: Duration = Duration::from_secs(30);
