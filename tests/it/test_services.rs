//! What `scripts/services` starts, and the servers of a test's own.

use std::env;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::postgres::{Authority, Bouncer, Server, psql, schema_name, shared, try_psql};

const HOLDER: &str = "TEST_SERVICES_HOLDER";

fn wait_until(mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn schemas_of_two_tests_are_apart() {
    let (one, other) = (schema_name(), schema_name());
    assert_ne!(one, other);
    for (schema, value) in [(&one, 1), (&other, 2)] {
        psql(
            &shared(),
            &format!("CREATE SCHEMA {schema}; CREATE TABLE {schema}.t AS SELECT {value} AS value"),
        );
    }
    assert_eq!(psql(&shared(), &format!("SELECT value FROM {one}.t")), "1");
    assert!(one.len() <= 40, "{one}");
}

#[test]
fn failed_statement_is_named() {
    let error = try_psql(&shared(), "SELECT 1; SELECT nothing").unwrap_err();
    assert!(error.contains("column \"nothing\" does not exist"), "{error}");
}

#[test]
fn test_without_servers_fails_and_says_how() {
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", "test_services::server_is_new_enough"])
        .env_remove("API_KEYS_TEST_POSTGRES")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        !output.status.success() && said.contains("scripts/services cargo nextest run"),
        "{said}"
    );
}

#[test]
fn server_is_new_enough() {
    let version: u32 = psql(&shared(), "SHOW server_version_num").parse().unwrap();
    assert!(version >= 15_00_00, "{version}");
}

#[test]
fn killed_server_keeps_what_was_committed() {
    let server = Server::start_with(&["-c", "max_connections=7"]);
    assert_eq!(server.psql("SHOW fsync; SHOW max_connections"), "on\n7");
    server.psql("CREATE TABLE t AS SELECT 1 AS value");
    server.kill9();
    assert!(try_psql(&server.url(), "SELECT 1").is_err());
    server.restart();
    assert_eq!(server.psql("SELECT value FROM t"), "1");
    assert!(
        server.log().contains("database system was not properly shut down"),
        "{}",
        server.log()
    );

    server.psql("INSERT INTO t VALUES (2)");
    server.stop_fast();
    assert!(try_psql(&server.url(), "SELECT 1").is_err());
    server.restart();
    assert_eq!(server.log().matches("was not properly shut down").count(), 1);
    let dump = server.dump();
    assert!(
        dump.contains("CREATE TABLE public.t") && dump.contains("\n1\n2\n"),
        "{dump}"
    );
}

#[test]
fn full_disk_stops_growth_until_vacuum() {
    let server = Server::start_on_full_disk();
    server.psql("CREATE TABLE t (value text); INSERT INTO t VALUES ('one')");
    let rows = |count: u32| format!("INSERT INTO t SELECT repeat('x', 1000) FROM generate_series(1, {count})");
    let error = try_psql(&server.url(), &rows(2000)).unwrap_err();
    assert!(
        error.contains("could not extend file") && error.contains("free disk space"),
        "{error}"
    );
    try_psql(&server.url(), &rows(1)).unwrap_err();
    assert_eq!(server.psql("SELECT value FROM t"), "one");
    server.psql("VACUUM t");
    server.psql(&rows(1));
    // It recovers with the same limit.
    server.kill9();
    server.restart();
    assert_eq!(server.psql("SELECT count(*) FROM t"), "2");
    try_psql(&server.url(), &rows(2000)).unwrap_err();
}

#[test]
fn paused_server_answers_when_resumed() {
    let server = Server::start();
    server.pause();
    let url = server.url();
    let question = std::thread::spawn(move || psql(&url, "SELECT 1"));
    // Nothing shows that there will be no answer; but the server cannot have sent one.
    std::thread::sleep(Duration::from_millis(50));
    assert!(!question.is_finished());
    server.resume();
    assert_eq!(question.join().unwrap(), "1");
    // Paused, it can be killed.
    server.pause();
    server.kill9();
    server.restart();
    assert_eq!(server.psql("SELECT 1"), "1");
}

#[test]
fn standby_follows_and_is_promoted() {
    let primary = Server::start();
    primary.psql("CREATE TABLE t AS SELECT 1 AS value");
    let standby = primary.standby();
    standby.catch_up(&primary);
    assert_eq!(standby.psql("SELECT value FROM t; SELECT pg_is_in_recovery()"), "1\nt");
    let error = try_psql(&standby.url(), "INSERT INTO t VALUES (2)").unwrap_err();
    assert!(error.contains("read-only"), "{error}");

    standby.pause_replay();
    primary.psql("INSERT INTO t VALUES (2)");
    assert_eq!(standby.psql("SELECT count(*) FROM t"), "1");
    standby.resume_replay();
    standby.catch_up(&primary);
    assert_eq!(standby.psql("SELECT count(*) FROM t"), "2");

    primary.kill9();
    let text = std::fs::read_to_string(primary.data().join("postmaster.pid")).unwrap();
    let segment = segment_of(&text);
    drop(primary);
    assert!(!has_shared_memory(segment));
    standby.promote();
    standby.psql("INSERT INTO t VALUES (3)");
    assert_eq!(
        standby.psql("SELECT count(*) FROM t; SELECT pg_is_in_recovery()"),
        "3\nf"
    );
}

#[test]
fn bouncer_switches_to_another_server() {
    let (one, other) = (Server::start(), Server::start());
    let bouncer = Bouncer::start(&one);
    one.psql("CREATE ROLE reader LOGIN");
    assert_eq!(
        psql(&bouncer.url(), "SELECT inet_server_port()"),
        one.port().to_string()
    );
    let as_reader = bouncer.url().replace("postgres@", "reader@");
    assert_eq!(psql(&as_reader, "SELECT current_user"), "reader");

    let url = bouncer.url();
    let session = std::thread::spawn(move || try_psql(&url, "SELECT pg_sleep(300)"));
    wait_until(|| one.psql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") == "1");
    bouncer.switch_to(&other);
    assert!(session.join().unwrap().is_err());
    assert_eq!(
        psql(&bouncer.url(), "SELECT inet_server_port()"),
        other.port().to_string()
    );
    assert!(
        bouncer.admin("SHOW CONFIG").contains("pool_mode|session"),
        "{}",
        bouncer.log()
    );
}

#[test]
fn tls_server_proves_its_name() {
    let (authority, unknown) = (Authority::new(), Authority::new());
    let server = Server::start_tls(&authority.certificate("localhost"));
    let url = |authority: &Authority, host: &str| {
        format!(
            "postgres://postgres@{host}:{}/postgres?hostaddr=127.0.0.1&sslmode=verify-full&sslrootcert={}",
            server.port(),
            authority.path().display()
        )
    };
    let version = "SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    assert!(psql(&url(&authority, "localhost"), version).starts_with("TLSv1."));
    let error = try_psql(&url(&authority, "elsewhere"), version).unwrap_err();
    assert!(error.contains("does not match host name \"elsewhere\""), "{error}");
    let error = try_psql(&url(&unknown, "localhost"), version).unwrap_err();
    assert!(error.contains("certificate verify failed"), "{error}");
}

/// Has a server, paused or not, until it is killed.
#[test]
#[ignore = "run in another process by another test"]
fn holder() {
    let Ok(how) = env::var(HOLDER) else { return };
    // As in a test with a runtime, the thread that starts the server ends.
    let server = std::thread::spawn(Server::start).join().unwrap();
    let bouncer = Bouncer::start(&server);
    assert_eq!(psql(&bouncer.url(), "SELECT 1"), "1");
    if how == "paused" {
        server.pause();
    }
    println!("\nhas {}", server.data().display());
    std::thread::sleep(Duration::from_secs(300));
}

fn processes_of(folder: &Path) -> Vec<PathBuf> {
    let has = |process: &PathBuf| std::fs::read_link(process.join("cwd")).is_ok_and(|it| it.starts_with(folder));
    let all = std::fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    all.filter(has).collect()
}

#[rstest::rstest]
#[case("runs")]
#[case("paused")]
fn server_ends_when_its_test_is_killed(#[case] how: &str) {
    let mut holder = Command::new(env::current_exe().unwrap())
        .args(["--ignored", "--exact", "test_services::holder", "--nocapture"])
        .env(HOLDER, how)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(holder.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok);
    let data = lines
        .filter_map(|line| line.strip_prefix("has ").map(PathBuf::from))
        .next()
        .unwrap();
    // A postmaster, its background processes and a session.
    assert!(processes_of(&data).len() > 3);
    let text = std::fs::read_to_string(data.join("postmaster.pid")).unwrap();
    let segment = segment_of(&text);
    assert!(has_shared_memory(segment));
    holder.kill().unwrap();
    holder.wait().unwrap();
    wait_until(|| processes_of(&data).is_empty() && !has_shared_memory(segment));
    std::fs::remove_dir_all(data.parent().unwrap()).unwrap();
}

fn segment_of(process_file: &str) -> &str {
    let line = process_file.lines().nth(6).unwrap();
    line.split_whitespace().nth(1).unwrap()
}

/// Segments are the system's, and would pile up.
fn has_shared_memory(segment: &str) -> bool {
    let all = std::fs::read_to_string("/proc/sysvipc/shm").unwrap();
    all.lines().any(|line| line.split_whitespace().nth(1) == Some(segment))
}

/// A process and, when it was asked for, what it prints.
fn services(script: &str) -> Command {
    let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/services"));
    command.args(["bash", "-c", script]).stdout(Stdio::piped());
    command
}

#[test]
fn services_pass_the_exit_code_and_leave_nothing() {
    let output = services("printf '%s\n' \"$API_KEYS_TEST_POSTGRES_DATA\"; exit 7")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(7));
    let data = PathBuf::from(String::from_utf8(output.stdout).unwrap().trim());
    assert_ne!(data, PathBuf::from(env::var_os("API_KEYS_TEST_POSTGRES_DATA").unwrap()));
    let folder = data.ancestors().nth(2).unwrap();
    wait_until(|| !folder.exists());
}

#[test]
fn services_end_when_their_command_is_killed() {
    let mut command = services("printf '%s\n' \"$API_KEYS_TEST_POSTGRES_DATA\"; exec sleep 300")
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(command.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let folder = Path::new(line.trim()).ancestors().nth(2).unwrap();
    assert!(processes_of(folder).len() > 3);
    command.kill().unwrap();
    command.wait().unwrap();
    wait_until(|| processes_of(folder).is_empty() && !folder.exists());
}
