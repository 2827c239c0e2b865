//! What every command takes: options, and what the environment says where they are left out.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::failure::Failure;
use crate::text::duration;

/// What every command takes.
#[derive(Args, Clone, Debug)]
pub(crate) struct Global {
    /// The database, such as sqlite:keys.db or postgres://user@host/database. One with a password goes into DATABASE_URL or the
    /// configuration file: arguments are visible to others
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) database: Option<String>,
    /// The configuration file (TOML); else the one that API_KEYS_CONFIG names
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Works on the server at this URL, such as https://keys.example.com/api/v1/auth, with the key in the file that API_KEYS_TOKEN_FILE
    /// names; else on that of API_KEYS_SERVER, unless --database is given
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) server: Option<String>,
    /// How long to wait for an answer of the server
    #[arg(long, global = true, value_name = "TIME", value_parser = duration, default_value = "60s")]
    pub(crate) timeout: Duration,
    /// The file with the root key, under which secrets in the database are sealed; else that of the configuration
    /// file, or the one that API_KEYS_ROOT_KEY_FILE names
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) root_key_file: Option<PathBuf>,
    /// What the environment says of it, which comes after the configuration file.
    #[arg(skip)]
    pub(crate) root_key_variable: Option<PathBuf>,
    /// Prints JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Does not ask before something is destroyed
    #[arg(long, short, global = true)]
    pub(crate) yes: bool,
}

impl Global {
    /// What the options leave open is as the environment says.
    ///
    /// # Errors
    /// When both a database and a server are named, or a variable is empty.
    pub(crate) fn with_environment(mut self) -> Result<Self, Failure> {
        if self.server.is_some() && self.database.is_some() {
            return Err(Failure::Usage(
                "a command works on a database or on a server: give --database or --server".to_owned(),
            ));
        }
        // What is named with the command is meant, whatever the environment has.
        if self.server.is_none() && self.database.is_none() {
            let server = variable("API_KEYS_SERVER")?;
            self.server = server.map(|url| url.to_string_lossy().into_owned());
        }
        if self.config.is_none() {
            self.config = variable("API_KEYS_CONFIG")?.map(PathBuf::from);
        }
        if self.root_key_file.is_none() {
            self.root_key_variable = variable("API_KEYS_ROOT_KEY_FILE")?.map(PathBuf::from);
        }
        Ok(self)
    }
}

/// A variable of the environment.
///
/// # Errors
/// When it is set and empty, as by a template without the value: who set it did not mean what holds without it.
pub(crate) fn variable(name: &str) -> Result<Option<OsString>, Failure> {
    match env::var_os(name) {
        Some(value) if value.is_empty() => Err(Failure::Usage(format!(
            "{name} is set and empty: give it a value, or unset it"
        ))),
        value => Ok(value),
    }
}
