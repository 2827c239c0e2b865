//! `[server]` and `[log]`: for the program that serves.

use std::net::SocketAddr;
use std::time::Duration;

use super::error::{Fault, problem};
use super::otlp::OtlpEndpoint;
use super::value::{Section, Value};
use crate::error::quoted;

const REQUEST_TIMEOUTS: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(600);
const MOST_CONCURRENT: usize = 65_536;
const BODIES: std::ops::RangeInclusive<u64> = 1 << 10..=64 << 20;
const FORMATS: [(&str, LogFormat); 2] = [("text", LogFormat::Text), ("json", LogFormat::Json)];
const LEVELS: [(&str, tracing::Level); 5] = [
    ("error", tracing::Level::ERROR),
    ("warn", tracing::Level::WARN),
    ("info", tracing::Level::INFO),
    ("debug", tracing::Level::DEBUG),
    ("trace", tracing::Level::TRACE),
];

/// How the program `api-keys serve` serves.
///
/// ```
/// use std::time::Duration;
/// use tower_api_key::config::Config;
///
/// let config = Config::parse("[server]\nlisten = \"[::]:9090\"\nbody_limit = \"1MiB\"\n")?;
/// assert_eq!(config.server().listen.port(), 9090);
/// assert_eq!(config.server().body_limit, 1 << 20);
/// assert_eq!(config.server().request_timeout, Duration::from_secs(10));
/// # Ok::<_, tower_api_key::config::ConfigFileError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerConfig {
    /// Address and port. Default: `127.0.0.1:8080`.
    pub listen: SocketAddr,
    /// How long a request may take: 100 ms to 10 minutes. Default: 10 s.
    pub request_timeout: Duration,
    /// Requests at once: 1 to 65,536. Default: 512.
    pub concurrency: usize,
    /// The largest body of a request, in bytes: 1 KiB to 64 MiB. Default: 64 KiB.
    pub body_limit: usize,
}

/// How the program logs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogConfig {
    /// Default: text.
    pub format: LogFormat,
    /// The least important level that is logged. Default: `INFO`.
    pub level: tracing::Level,
    /// Where traces of requests are sent. Default: nowhere.
    pub otlp: Option<OtlpEndpoint>,
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// An object for each event.
    Json,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            request_timeout: Duration::from_secs(10),
            concurrency: 512,
            body_limit: 64 << 10,
        }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            level: tracing::Level::INFO,
            otlp: None,
        }
    }
}

impl ServerConfig {
    pub(super) fn read(mut section: Section<'_, '_>) -> Result<Self, Fault> {
        let listen = section.setting("listen", |value| {
            let text = value.text()?;
            text.parse().map_err(|_| {
                let problem = "must be an IP address and a port, such as \"127.0.0.1:8080\" or \"[::]:8080\"";
                value.fault(format!("{problem}, got {}", quoted(text)))
            })
        })?;
        let request_timeout = section.setting("request_timeout", |value| {
            let time = value.duration()?;
            match REQUEST_TIMEOUTS.contains(&time) {
                true => Ok(time),
                false => {
                    let (least, most) = REQUEST_TIMEOUTS.into_inner();
                    Err(value.fault(format!("must be between {least:?} and {most:?}, got {time:?}")))
                }
            }
        })?;
        let concurrency = section.setting("concurrency", |value| value.number(1..=MOST_CONCURRENT))?;
        let body_limit = section.setting("body_limit", |value| {
            let bytes = value.size()?;
            let limit = usize::try_from(bytes).ok().filter(|_| BODIES.contains(&bytes));
            limit.ok_or_else(|| {
                let (least, most) = BODIES.into_inner();
                value.fault(format!(
                    "must be between {least} (1 KiB) and {most} (64 MiB), got {bytes}"
                ))
            })
        })?;
        section.end()?;
        let default = Self::default();
        Ok(Self {
            listen: listen.map_or(default.listen, |setting| setting.value),
            request_timeout: request_timeout.map_or(default.request_timeout, |setting| setting.value),
            concurrency: concurrency.map_or(default.concurrency, |setting| setting.value),
            body_limit: body_limit.map_or(default.body_limit, |setting| setting.value),
        })
    }
}

impl LogConfig {
    pub(super) fn read(mut section: Section<'_, '_>) -> Result<Self, Fault> {
        let format = section.setting("format", |value: &Value<'_, '_>| value.choice(&FORMATS))?;
        let level = section.setting("level", |value| value.choice(&LEVELS))?;
        let otlp = section.setting("otlp", |value| {
            let endpoint = value.text()?.parse::<OtlpEndpoint>();
            endpoint.map_err(|error| value.fault(problem(error.into())))
        })?;
        section.end()?;
        let default = Self::default();
        Ok(Self {
            format: format.map_or(default.format, |setting| setting.value),
            level: level.map_or(default.level, |setting| setting.value),
            otlp: otlp.map(|setting| setting.value),
        })
    }
}
