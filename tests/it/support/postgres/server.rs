//! A PostgreSQL of a test's own: for outages, crashes, standbys and TLS.

use std::fs::{copy, read_to_string};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::Signal;

use super::certificates::Certificate;
use super::place::{Owner, Place, initialised};
use super::processes::{Process, start, wait_until};
use super::remains::{guard, remove_shared_memory};
use super::{dump, program, psql, url};

/// Ends with the test process, however that ends. Its data is safe from a crash: `fsync` is on.
///
/// Settings of `pg_hba.conf`, which lets everyone in, can be changed in [`Server::data`], before [`Server::restart`].
pub(crate) struct Server {
    place: Place,
    pub(super) start: Start,
    state: Mutex<State>,
}

/// How it is started, each time.
#[derive(Clone, Default)]
pub(super) struct Start {
    /// Of `postgres`.
    pub(super) arguments: Vec<String>,
    /// How long a file can become, in bytes.
    pub(super) file_limit: Option<u64>,
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
        Self::start_on(Start::with(arguments), copy_initialised)
    }

    /// Accepts TLS, and connections without it.
    pub(crate) fn start_tls(certificate: &Certificate) -> Self {
        Self::start_on(Start::with(&["-c", "ssl=on"]), |data| {
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

    /// On a free port, with a data folder that `fill` makes.
    pub(super) fn start_on(start: Start, fill: impl Fn(&Path)) -> Self {
        for _ in 0..9 {
            let server = Self {
                place: Place::new(),
                start: start.clone(),
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
        // A child that starts between the list and the signals would keep the shared memory in use for a moment.
        let all = state.stop_starting(process.id(), &self.data());
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
        let all = state.stop_starting(id, &self.data());
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

    /// Whether it accepts connections. If not, it has ended.
    fn launch(&self) -> bool {
        let (place, data, postgres) = (&self.place, self.data(), program("postgres"));
        let (folder, port) = (place.folder.display().to_string(), place.port.to_string());
        let mut arguments = words(&["-D", &data.display().to_string(), "-p", &port, "-k", &folder]);
        arguments.extend(words(&["-c", "listen_addresses=127.0.0.1"]));
        // In the data folder, where nothing is left behind by a killed server.
        arguments.extend(words(&["-c", "dynamic_shared_memory_type=mmap"]));
        arguments.extend_from_slice(&self.start.arguments);
        let mut process = match self.start.file_limit {
            None => start(&postgres, &arguments, "QUIT", place),
            Some(bytes) => {
                let before = [format!("--fsize={bytes}"), postgres.display().to_string()];
                start(Path::new("prlimit"), &[&before[..], &arguments].concat(), "QUIT", place)
            }
        };
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

impl Start {
    pub(super) fn with(arguments: &[&str]) -> Self {
        Self {
            arguments: words(arguments),
            file_limit: None,
        }
    }
}

impl State {
    /// All processes of this server, whose first one stands still: there are no new ones.
    fn stop_starting(&mut self, id: u32, data: &Path) -> Vec<Process> {
        self.guard.get_or_insert_with(|| guard(id, data));
        let first = Process::with_children(id)[0];
        first.send(Signal::STOP);
        wait_until("the server's first process stands still", || {
            first.is_stopped() || !first.is_there()
        });
        Process::with_children(id)
    }

    fn unguard(&mut self) {
        if let Some(mut guard) = self.guard.take() {
            guard.kill().unwrap();
            guard.wait().unwrap();
        }
    }
}

pub(super) fn copy_initialised(data: &Path) {
    let status = Command::new("cp").arg("-a").arg(initialised()).arg(data).status();
    assert!(status.unwrap().success());
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// As pg_ctl finds it out: the first line of this file is the process, the eighth its state.
fn is_ready(data: &Path, id: &str) -> bool {
    let text = read_to_string(data.join("postmaster.pid")).unwrap_or_default();
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    lines.first() == Some(&id) && lines.get(7) == Some(&"ready")
}
