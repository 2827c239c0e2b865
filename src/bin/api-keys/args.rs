//! The arguments.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::commands::{
    adopt, audit, bench, doctor, files, hygiene, incident, init, keys, maintain, migrate, move_data, rows, scan, serve,
    verify,
};
use crate::failure::Failure;
use crate::text::duration;

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

impl Arguments {
    /// What the options leave open is as the environment says.
    ///
    /// # Errors
    /// When both a database and a server are named, or a variable is empty.
    pub(crate) fn with_environment(mut self) -> Result<Self, Failure> {
        let needs_nothing = matches!(
            self.command,
            Command::Completions(_) | Command::Man(_) | Command::ScannerRules(_)
        );
        if needs_nothing {
            return Ok(self);
        }
        let global = &mut self.global;
        if global.server.is_some() && global.database.is_some() {
            return Err(Failure::Usage(
                "a command works on a database or on a server: give --database or --server".to_owned(),
            ));
        }
        // What is named with the command is meant, whatever the environment has.
        if global.server.is_none() && global.database.is_none() {
            let server = variable("API_KEYS_SERVER")?;
            global.server = server.map(|url| url.to_string_lossy().into_owned());
        }
        if global.config.is_none() {
            global.config = variable("API_KEYS_CONFIG")?.map(PathBuf::from);
        }
        if global.root_key_file.is_none() {
            global.root_key_variable = variable("API_KEYS_ROOT_KEY_FILE")?.map(PathBuf::from);
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
    /// Revokes keys, for good
    Revoke(keys::Revoke),
    /// Gives a key a new secret
    Rotate(keys::Rotate),
    /// Checks a key from standard input, and explains the answer
    Verify(verify::Verify),
    /// Other names: auth create-key, list-keys, revoke-key, rotate-key
    #[command(subcommand)]
    Auth(Auth),
    /// Organizations
    #[command(subcommand)]
    Org(rows::Org),
    /// Users of an organization
    #[command(subcommand)]
    User(rows::User),
    /// Plans
    #[command(subcommand)]
    Plan(rows::Plan),
    /// Roles
    #[command(subcommand)]
    Role(rows::Role),
    /// The catalogue of scopes
    #[command(subcommand)]
    Scope(rows::Scope),
    /// Many keys at once: of a user, with a label, or made with a key
    #[command(subcommand)]
    Bulk(rows::Bulk),
    /// Numbers of keys by status and use
    Stats(rows::Stats),
    /// Lists keys without an end, without use, and with more scopes than they use
    Hygiene(hygiene::Hygiene),
    /// What a key did, where from, and which keys were made with it
    Incident(incident::Incident),
    /// The audit trail: verify, anchor, export, list
    #[command(subcommand)]
    Audit(audit::Audit),
    /// Finds keys in files, without a database
    Scan(scan::Scan),
    /// Rules with which secret scanners find keys
    ScannerRules(scan::rules::ScannerRules),
    /// Looks for what is wrong with the database, its files and its settings
    Doctor(doctor::Doctor),
    /// The version of the database's schema
    #[command(subcommand)]
    Migrate(migrate::Migrate),
    /// Copies a database into a new one, also from SQLite to PostgreSQL and back
    Copy(move_data::Copy),
    /// Writes a backup of a SQLite database, also while it is in use
    Backup(move_data::Backup),
    /// Puts a backup in the place of a SQLite database
    Restore(move_data::Restore),
    /// Makes a copied database one of its own
    Adopt(adopt::Adopt),
    /// Does the tasks of maintenance: anchors, and deletes what is older than it is kept
    Maintain(maintain::Maintain),
    /// Measures hashes and checks on this machine
    Bench(bench::Bench),
    /// Prints what completes commands in a shell
    Completions(files::Completions),
    /// Prints the manual page of a command
    Man(files::Man),
}

/// The names that other tools have for these commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Auth {
    /// Creates a key
    CreateKey(keys::Create),
    /// Lists keys
    ListKeys(keys::List),
    /// Revokes keys, for good
    RevokeKey(keys::Revoke),
    /// Gives a key a new secret
    RotateKey(keys::Rotate),
}

impl From<Auth> for Command {
    fn from(auth: Auth) -> Self {
        match auth {
            Auth::CreateKey(create) => Self::Create(create),
            Auth::ListKeys(list) => Self::List(list),
            Auth::RevokeKey(revoke) => Self::Revoke(revoke),
            Auth::RotateKey(rotate) => Self::Rotate(rotate),
        }
    }
}
