//! The arguments.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::commands::{init, keys, serve, verify};

/// API keys for services: create, rotate, revoke and check them, on SQLite or PostgreSQL, or over a server
///
/// Commands work on the database that DATABASE_URL names (sqlite:api-keys.db if it is not set), or with --server on a server that runs
/// `api-keys serve`. Exit codes: 0 done, 1 refused or a problem was found, 2 wrong arguments or configuration, 3 the database or the server
/// cannot be reached.
#[derive(Debug, Parser)]
#[command(name = "api-keys", version, propagate_version = true, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Args, Clone, Debug)]
pub(crate) struct Global {
    /// The database, such as sqlite:keys.db or postgres://user@host/database. One with a password goes into DATABASE_URL or the
    /// configuration file: arguments are visible to others
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) database: Option<String>,
    /// The configuration file (TOML)
    #[arg(long, global = true, value_name = "FILE", env = "API_KEYS_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Works on the server at this URL, such as https://keys.example.com/api/v1/auth, with the key in the file that API_KEYS_TOKEN_FILE
    /// names
    #[arg(long, global = true, value_name = "URL", env = "API_KEYS_SERVER")]
    pub(crate) server: Option<String>,
    /// The file with the root key, under which secrets in the database are sealed
    #[arg(long, global = true, value_name = "FILE", env = "API_KEYS_ROOT_KEY_FILE")]
    pub(crate) root_key_file: Option<PathBuf>,
    /// Prints JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Does not ask before something is destroyed
    #[arg(long, short, global = true)]
    pub(crate) yes: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Makes a new database with a root key, the operator's organization and its first key
    Init(init::Init),
    /// Serves the management API over HTTP
    Serve(serve::Serve),
    /// Creates a key
    Create(keys::Create),
    /// Lists keys
    List(keys::List),
    /// Shows a key
    Show(keys::One),
    /// Changes a key
    Update(keys::Update),
    /// Enables a key
    Enable(keys::One),
    /// Disables a key until it is enabled again
    Disable(keys::One),
    /// Revokes a key, for good
    Revoke(keys::Revoke),
    /// Gives a key a new secret
    Rotate(keys::Rotate),
    /// Checks a key from standard input, and explains the answer
    Verify(verify::Verify),
}
