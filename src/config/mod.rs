//! Settings in a TOML file, which services and the command line read alike (feature `file`).
//!
//! [`ApiKeys::open_config`](crate::ApiKeys::open_config) opens what the file names: keys that one program issues pass in the others. [`Config`] is for
//! programs that have more to say than the file.
#![doc = include_str!("../../docs/configuration.md")]

mod checks;
mod database;
mod error;
mod file;
mod formats;
mod hashing;
mod layer;
mod open;
mod otlp;
mod secrets;
mod server;
mod setting;
mod source;
mod units;
mod upkeep;
mod value;

use std::fmt;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use self::checks::ChecksConfig;
use self::database::DatabaseConfig;
pub use self::database::{DatabaseUrl, JournalConfig};
pub use self::error::{ConfigFileError, ConfigFileErrorKind};
use self::error::{Fault, Place};
use self::hashing::HashConfig;
use self::layer::LayerConfig;
pub use self::layer::ProxiesConfig;
pub use self::otlp::OtlpEndpoint;
use self::secrets::SecretsConfig;
pub use self::server::{LogConfig, LogFormat, ServerConfig};
use self::upkeep::MaintenanceConfig;
use self::value::{Origin, Section};
use crate::key::KeyFormats;

/// A configuration file that was read, and whose keys and values are all known.
///
/// ```
/// use tower_api_key::config::Config;
/// use tower_api_key::key::Actor;
/// use tower_api_key::IssueRequest;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let config = Config::parse(
///     r#"
///     [database]
///     url = "memory:"
///
///     [[formats]]
///     prefix = "acme"
///     "#,
/// )?;
/// let keys = config.open().await?;
/// let issuer = keys.issuer().acting_as(Actor::service());
/// let acme = issuer.create_organization("acme").await?;
/// let issued = issuer.issue(IssueRequest::new(acme.id, "first")).await?;
/// assert!(issued.key.expose_secret().starts_with("acme_live_"));
///
/// let error = Config::parse("[databse]\nurl = \"memory:\"\n").unwrap_err();
/// assert!(error.to_string().starts_with("line 1, column 2: unknown section or key `databse`"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Config {
    path: Option<PathBuf>,
    database: DatabaseConfig,
    secrets: SecretsConfig,
    formats: Option<KeyFormats>,
    hash: HashConfig,
    checks: ChecksConfig,
    layer: LayerConfig,
    maintenance: MaintenanceConfig,
    server: ServerConfig,
    log: LogConfig,
}

impl Config {
    /// Reads a file. Relative paths in it begin at its folder, since the working directory of a service is an accident.
    ///
    /// # Errors
    /// When it cannot be read, has more than 1 MiB or is not UTF-8; when it is not TOML, has a key that is not known, or a value
    /// that is not accepted. On Unix also when it has a password in `database.url` and its group or others may read it (the group
    /// of a file of root may, as in Kubernetes), or when it belongs to another user than root and that of this process.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, ConfigFileError> {
        let path = path.as_ref();
        let read = || {
            let read = file::read(path)?;
            let absolute = std::path::absolute(path).ok();
            let config = Self::of(&read.text, absolute.as_deref().and_then(Path::parent))?;
            match (read.exposed, &config.database.url) {
                (Some(problem), Some(url)) if config.database.has_password() => Err(url.exposed(&problem)),
                _ => Ok(config),
            }
        };
        let config: Result<Self, Fault> = read();
        let config = config.map_err(|fault| fault.in_file(Some(path)))?;
        Ok(Self {
            path: Some(path.to_owned()),
            ..config
        })
    }

    /// Reads a text. Relative paths in it begin at the working directory.
    ///
    /// # Errors
    /// When it is not TOML, has a key that is not known, or a value that is not accepted.
    pub fn parse(text: &str) -> Result<Self, ConfigFileError> {
        Self::of(text, None).map_err(|fault| fault.in_file(None))
    }

    /// The URL of the database, if the file has one. A relative path was made an absolute one.
    pub fn database_url(&self) -> Option<&DatabaseUrl> {
        self.database.url.as_ref().map(|setting| &setting.value)
    }

    /// The file of the root key, if this file names one.
    pub fn root_key_file(&self) -> Option<&Path> {
        self.secrets.root_key_file()
    }

    /// The formats of keys, if the file has some.
    pub fn formats(&self) -> Option<&KeyFormats> {
        self.formats.as_ref()
    }

    /// The proxies in front of the service, if the file names some.
    pub fn proxies(&self) -> Option<ProxiesConfig> {
        self.layer.proxies()
    }

    /// The file of anchors of the audit trail, if the file names one.
    pub fn anchor_file(&self) -> Option<&Path> {
        self.checks
            .audit
            .anchor_file
            .as_ref()
            .map(|setting| setting.value.as_path())
    }

    /// Where the revocation journal of the database is.
    pub fn journal(&self) -> JournalConfig {
        self.database.journal()
    }

    /// How to serve, for a program that does.
    pub fn server(&self) -> &ServerConfig {
        &self.server
    }

    /// How to log, for a program that does.
    pub fn log(&self) -> &LogConfig {
        &self.log
    }

    fn of(text: &str, folder: Option<&Path>) -> Result<Self, Fault> {
        let parsed = DeTable::parse(text).map_err(|error| {
            let at = error.span().map_or(text.len(), |span| span.start);
            // Not its `Display`, which shows the line.
            let problem = format!("invalid TOML: {}", error.message());
            Fault::new(ConfigFileErrorKind::Syntax, problem).at(Place::of(text, at))
        })?;
        let mut root = Section::root(Origin { text, folder }, parsed.get_ref());
        let database = root.section("database")?;
        let secrets = root.section("secrets")?;
        let formats = root.sections("formats")?;
        let hash = root.section("hash")?;
        let (cache, limits) = (root.section("cache")?, root.section("limits")?);
        let sources = root.sections("sources")?;
        let (proxies, layer) = (root.section("proxies")?, root.section("layer")?);
        let (audit, maintenance) = (root.section("audit")?, root.section("maintenance")?);
        let (server, log) = (root.section("server")?, root.section("log")?);
        root.end()?;
        let config = Self {
            path: None,
            database: DatabaseConfig::read(database)?,
            secrets: SecretsConfig::read(secrets)?,
            formats: formats::read(formats)?,
            hash: HashConfig::read(hash)?,
            checks: ChecksConfig::read(cache, limits, audit)?,
            layer: LayerConfig::read(sources, proxies, layer)?,
            maintenance: MaintenanceConfig::read(maintenance)?,
            server: ServerConfig::read(server)?,
            log: LogConfig::read(log)?,
        };
        config.try_out()?;
        Ok(config)
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}
