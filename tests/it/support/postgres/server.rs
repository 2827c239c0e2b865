//! A PostgreSQL of a test's own: for outages, crashes, standbys and TLS.

use std::fs::{copy, read_to_string};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::Signal;

use super::certificates::Certificate;
use super::place::{Owner, Place, initialised};
use super::processes::{Process, as_owner, start, wait_until};
use super::{dump, program, psql, run, url};

/// Ends with the test process, however that ends. Its data is safe from a crash: `fsync` is on.
///
/// Settings of `pg_hba.conf`, which lets everyone in, can be changed in [`Server::data`], before [`Server::restart`].
pub(crate) struct Server {
    place: Place,
    arguments: Vec<String>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Unless it is down.
    process: Option<Child>,
    /// While it is paused.
    guard: Option<Child>,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// With arguments of `postgres`, such as `-c max_connections=5`.
    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Self::start_on(arguments, copy_initialised)
    }

    /// Accepts TLS, and connections without it.
    pub(crate) fn start_tls(certificate: &Certificate) -> Self {
        Self::start_on(vec!["-c".into(), "ssl=on".into()], |data| {
            copy_initialised(data);
            for (from, name) in [
                (&certificate.certificate, "server.crt"),
                (&certificate.key, "server.key"),
            ] {
                let to = data.join(name);
                copy(from, &to).unwrap();
                Owner::new().give(&to, 0o600);
            }
        })
    }

    /// A standby that follows this server.
    pub(crate) fn standby(&self) -> Self {
        Self::start_on(self.arguments.clone(), |data| {
            let mut backup = as_owner(&[], &program("pg_basebackup"));
            backup
                .args([
                    "--write-recovery-conf",
                    "--checkpoint=fast",
                    "--no-sync",
                    "--no-password",
                ])
                .args(["--dbname", &self.url(), "--pgdata"])
                .arg(data);
            run(backup, "").unwrap_or_else(|error| panic!("pg_basebackup: {error}"));
        })
    }

    /// On a free port, with a data folder that `fill` makes.
    fn start_on(arguments: Vec<String>, fill: impl Fn(&Path)) -> Self {
        for _ in 0..9 {
            let server = Self {
                place: Place::new(),
                arguments: arguments.clone(),
                state: Mutex::default(),
            };
            fill(&server.data());
            if server.launch() {
                return server;
            }
            // Another run of tests may have taken the port meanwhile.
            let log = server.log();
            assert!(log.contains("could not bind"), "PostgreSQL does not start:\n{log}");
        }
        panic!("no port is free");
    }

    pub(crate) fn url(&self) -> String {
        url(self.port())
    }

    pub(crate) fn port(&self) -> u16 {
        self.place.port
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.place.folder.join("data")
    }

    pub(crate) fn log(&self) -> String {
        self.place.log()
    }

    pub(crate) fn psql(&self, statements: &str) -> String {
        psql(&self.url(), statements)
    }

    pub(crate) fn dump(&self) -> String {
        dump(&self.url())
    }

    /// Kills all its processes at once: a crash.
    pub(crate) fn kill9(&self) {
        let mut state = self.state();
        let Some(mut process) = state.process.take() else {
            return;
        };
        let all = Process::with_children(process.id());
        for process in &all {
            process.send(Signal::KILL);
        }
        process.wait().unwrap();
        state.unguard();
        wait_until("all processes of the server have ended", || {
            !all.iter().any(|process| process.is_there())
        });
    }

    /// Ends it in order, with all connections.
    pub(crate) fn stop_fast(&self) {
        self.resume();
        self.end(Signal::INT);
    }

    /// Stops it if it runs, and starts it on the same port. It accepts connections then.
    pub(crate) fn restart(&self) {
        self.stop_fast();
        assert!(
            self.launch(),
            "PostgreSQL does not start again:\n{}",
            self.place.last_lines()
        );
    }

    /// Its processes stand still until [`Server::resume`]: connections neither get answers nor end.
    pub(crate) fn pause(&self) {
        let mut state = self.state();
        let id = state.process.as_ref().expect("a server that runs").id();
        state.guard.get_or_insert_with(|| guard(id));
        // Then there are no new children.
        Process::with_children(id)[0].send(Signal::STOP);
        let all = Process::with_children(id);
        for process in &all {
            process.send(Signal::STOP);
        }
        wait_until("all processes of the server stand still", || {
            all.iter().all(|process| process.is_stopped() || !process.is_there())
        });
    }

    pub(crate) fn resume(&self) {
        let mut state = self.state();
        if let (Some(process), true) = (&state.process, state.guard.is_some()) {
            for process in Process::with_children(process.id()).iter().rev() {
                process.send(Signal::CONT);
            }
        }
        state.unguard();
    }

    /// Of a standby: what it receives is not seen until [`Server::resume_replay`].
    pub(crate) fn pause_replay(&self) {
        self.psql("SELECT pg_wal_replay_pause()");
        wait_until("replay has paused", || {
            self.psql("SELECT pg_get_wal_replay_pause_state()") == "paused"
        });
    }

    pub(crate) fn resume_replay(&self) {
        self.psql("SELECT pg_wal_replay_resume()");
    }

    /// Of a standby: waits until it shows what was committed on `primary`.
    pub(crate) fn catch_up(&self, primary: &Self) {
        let written = primary.psql("SELECT pg_current_wal_flush_lsn()");
        let is_replayed = format!("SELECT pg_last_wal_replay_lsn() >= '{written}'");
        wait_until("the standby has caught up", || self.psql(&is_replayed) == "t");
    }

    /// Of a standby: it is a primary then.
    pub(crate) fn promote(&self) {
        assert_eq!(self.psql("SELECT pg_promote()"), "t");
    }

    /// Whether it accepts connections. If not, it has ended.
    fn launch(&self) -> bool {
        let (place, data) = (&self.place, self.data());
        let folder = place.folder.display().to_string();
        let mut arguments = vec![
            "-D".into(),
            data.display().to_string(),
            "-p".into(),
            place.port.to_string(),
        ];
        arguments.extend(["-k".into(), folder, "-c".into(), "listen_addresses=127.0.0.1".into()]);
        // In the data folder, where a killed server leaves nothing for ever.
        arguments.extend(["-c".into(), "dynamic_shared_memory_type=mmap".into()]);
        arguments.extend_from_slice(&self.arguments);
        let mut process = start(&program("postgres"), &arguments, "QUIT", place);
        let (id, mut has_ended) = (process.id().to_string(), false);
        wait_until("PostgreSQL accepts connections", || {
            has_ended = process.try_wait().unwrap().is_some();
            has_ended || is_ready(&data, &id)
        });
        if !has_ended {
            self.state().process = Some(process);
        }
        !has_ended
    }

    fn end(&self, signal: Signal) {
        let Some(mut process) = self.state().process.take() else {
            return;
        };
        let all = Process::with_children(process.id());
        all[0].send(signal);
        wait_until("the server has ended", || {
            process.try_wait().unwrap().is_some() && !all.iter().any(|process| process.is_there())
        });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.state().process.is_some() {
            self.resume();
            self.end(Signal::QUIT);
        } else {
            remove_shared_memory(&self.data());
        }
    }
}

impl State {
    fn unguard(&mut self) {
        if let Some(mut guard) = self.guard.take() {
            guard.kill().unwrap();
            guard.wait().unwrap();
        }
    }
}

fn copy_initialised(data: &Path) {
    let status = Command::new("cp").arg("-a").arg(initialised()).arg(data).status();
    assert!(status.unwrap().success());
}

/// As pg_ctl finds it out: the first line of this file is the process, the eighth its state.
fn is_ready(data: &Path, id: &str) -> bool {
    let text = read_to_string(data.join("postmaster.pid")).unwrap_or_default();
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    lines.first() == Some(&id) && lines.get(7) == Some(&"ready")
}

/// Kills a server that stands still when this process ends, because it would not follow the kernel's signal.
fn guard(id: u32) -> Child {
    use std::os::unix::process::CommandExt as _;

    let script = r#"read -r _
        children=$(grep -l "^PPid:[[:space:]]*$1\$" /proc/[0-9]*/status 2>/dev/null | cut -d / -f 3)
        kill -KILL "$1" $children"#;
    Command::new("sh")
        .args(["-c", script, "sh", &id.to_string()])
        // Nobody writes. The end of this process is the end of the input.
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap()
}

/// What a killed server leaves until a restart, and there are 4,096 such segments at most.
fn remove_shared_memory(data: &Path) {
    let text = read_to_string(data.join("postmaster.pid")).unwrap_or_default();
    if let Some(segment) = text
        .lines()
        .nth(6)
        .and_then(|line| line.split_ascii_whitespace().nth(1))
    {
        let _ = Command::new("ipcrm").args(["--shmem-id", segment]).output();
    }
}
