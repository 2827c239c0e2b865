//! PostgreSQL for tests: the server of `scripts/services`, and servers of a test's own.
//!
//! These are processes: statements of the store and of most tests go through a driver.

mod bouncer;
mod certificates;
mod full_disk;
mod place;
mod processes;
mod remains;
mod server;
mod standby;

use std::env;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

pub(crate) use bouncer::Bouncer;
pub(crate) use certificates::{Authority, Certificate};
pub(crate) use server::Server;

/// The URL of the server that all tests share, as a superuser. A test works in a schema of its own: see [`schema_name`].
pub(crate) fn shared() -> String {
    setting("API_KEYS_TEST_POSTGRES")
}

/// A name that no other test has, of a schema, a role or a database: at most 40 characters of `a-z0-9_`.
pub(crate) fn schema_name() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let nanoseconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    format!("test_{:x}_{nanoseconds:x}_{number:x}", std::process::id())
}

/// What psql prints for these statements: a line for each row, `|` between columns. Each statement is a transaction.
pub(crate) fn psql(url: &str, statements: &str) -> String {
    try_psql(url, statements).unwrap_or_else(|error| panic!("psql: {error}"))
}

/// Like [`psql`]; of a statement that fails, what psql says about it.
pub(crate) fn try_psql(url: &str, statements: &str) -> Result<String, String> {
    let mut psql = tool("psql");
    psql.args(["--no-psqlrc", "--no-password", "--quiet", "--tuples-only", "--no-align"])
        .args(["--set", "ON_ERROR_STOP=1", "--dbname", url, "--file", "-"]);
    run(psql, statements)
}

/// Everything in a database, as statements.
pub(crate) fn dump(url: &str) -> String {
    let mut dump = tool("pg_dump");
    dump.args(["--no-password", "--dbname", url]);
    run(dump, "").unwrap_or_else(|error| panic!("pg_dump: {error}"))
}

/// The same, apart from a schema.
pub(crate) fn dump_without(url: &str, schema: &str) -> String {
    let mut dump = tool("pg_dump");
    dump.args(["--no-password", "--dbname", url, "--exclude-schema", schema]);
    let text = run(dump, "").unwrap_or_else(|error| panic!("pg_dump: {error}"));
    // Newer versions guard each dump with a random word.
    let lines = text
        .lines()
        .filter(|line| !line.starts_with("\\restrict ") && !line.starts_with("\\unrestrict "));
    lines.collect::<Vec<_>>().join("\n")
}

/// What another client program prints, such as `pg_restore`.
pub(crate) fn client(name: &str, arguments: &[&str]) -> Result<String, String> {
    let mut client = tool(name);
    client.args(arguments);
    run(client, "")
}

/// Everything in a schema, as statements.
pub(crate) fn dump_schema(url: &str, schema: &str) -> String {
    let mut dump = tool("pg_dump");
    dump.args(["--no-password", "--schema", schema, "--dbname", url]);
    run(dump, "").unwrap_or_else(|error| panic!("pg_dump: {error}"))
}

fn setting(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| {
        panic!(
            "{name} is not set: this test needs servers. Run ./scripts/test, or another command with scripts/services in \
             front: scripts/services cargo nextest run --all-features postgres"
        )
    })
}

fn program(name: &str) -> PathBuf {
    Path::new(&setting("API_KEYS_TEST_POSTGRES_BIN")).join(name)
}

/// A client. Settings of the user who runs the tests, such as `PGSSLMODE`, do not reach it.
fn tool(name: &str) -> Command {
    let mut command = Command::new(program(name));
    command.env_clear().env("LC_ALL", "C");
    command
}

/// What a program prints; what it says if it fails.
fn run(mut command: Command, input: &str) -> Result<String, String> {
    use std::io::Write as _;

    let mut process = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that fails early does not read all.
    let _ = process.stdin.take().unwrap().write_all(input.as_bytes());
    let output = process.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(text(&output.stderr)),
    }
}

fn url(port: impl Display) -> String {
    format!("postgres://postgres@127.0.0.1:{port}/postgres")
}
