//! Log lines of commands that run until they are stopped.

use std::io::IsTerminal;

use tracing_subscriber::filter::{EnvFilter, FilterExt, LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt};

/// How lines are written.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// What takes spans and events beside the log, with a filter of its own.
pub(crate) type Beside = Box<dyn Layer<Registry> + Send + Sync>;

/// The target of spans that are for traces alone.
pub(crate) const SPANS: &str = "api_keys::request";

/// Writes what RUST_LOG selects to standard error; without that variable, what is at least so important.
pub(crate) fn to_stderr(format: LogFormat, level: tracing::Level, beside: Option<Beside>) {
    let usual = || EnvFilter::new(level.as_str().to_ascii_lowercase());
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| usual());
    let is_line = filter_fn(|line| line.target() != SPANS && line.name() != FAILED_EXPORT);
    // Without the hint, the library takes it that every level is wanted.
    let filter = filter.and(is_line.with_max_level_hint(LevelFilter::TRACE));
    let lines = fmt::layer()
        .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
        .with_writer(std::io::stderr);
    let lines = match format {
        LogFormat::Text => lines.with_filter(filter).boxed(),
        LogFormat::Json => lines.json().with_filter(filter).boxed(),
    };
    let mut layers: Vec<Beside> = vec![lines];
    layers.extend(beside);
    tracing_subscriber::registry().with(layers).init();
}

/// A line of the exporter every few seconds while a collector is down. Ours has the cause, and comes once.
const FAILED_EXPORT: &str = "BatchSpanProcessor.ExportError";
