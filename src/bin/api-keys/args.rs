//! The arguments.

use clap::{Parser, Subcommand};

use crate::commands::{
    adopt, audit, bench, doctor, files, hygiene, incident, init, keys, maintain, migrate, move_data, rows, scan, serve,
    verify,
};
use crate::global::Global;

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
