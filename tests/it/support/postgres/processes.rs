//! Processes that end with the test process, however that ends.

use std::fs::{read_dir, read_to_string};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};
use std::{io, thread};

use rustix::process::{Pid, Signal, getuid, kill_process};

use super::place::{Owner, Place};

/// A server: `program` as the servers' user, with the log of `place` as its output.
///
/// The kernel sends it `signal` when this process has ended. Other signals to this process's group, such as those of Ctrl-C,
/// do not reach it.
pub(super) fn start(program: &Path, arguments: &[String], signal: &str, place: &Place) -> Child {
    use std::os::unix::process::CommandExt as _;

    let mut command = as_owner(&["--pdeathsig", signal], Path::new("sh"));
    // If this process has ended before the kernel knew of the signal, then there is none.
    command.args(["-c", r#"[ "$PPID" = "$0" ] && exec "$@""#]);
    command.arg(std::process::id().to_string()).arg(program).args(arguments);
    let log = place.open_log();
    command
        .stderr(log.try_clone().unwrap())
        .stdout(log)
        .stdin(Stdio::null());
    command.current_dir(&place.folder).process_group(0);
    start_on_lasting_thread(command).unwrap()
}

/// A command of the servers' user.
pub(super) fn as_owner(options: &[&str], program: &Path) -> Command {
    let (owner, mut command) = (Owner::new(), Command::new("setpriv"));
    command.env_clear().env("LC_ALL", "C");
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    // Only root can become another user, and PostgreSQL refuses to run as root.
    if getuid().as_raw() != owner.user {
        let (user, group) = (owner.user.to_string(), owner.group.to_string());
        command.args(["--reuid", &user, "--regid", &group, "--clear-groups"]);
    }
    command.args(options).arg("--").arg(program);
    command
}

/// For the kernel, the parent that must not end is the thread that starts a process. Threads of tests and of runtimes end.
fn start_on_lasting_thread(command: Command) -> io::Result<Child> {
    type Order = (Command, mpsc::Sender<io::Result<Child>>);
    static ORDERS: LazyLock<Mutex<mpsc::Sender<Order>>> = LazyLock::new(|| {
        let (orders, receiver) = mpsc::channel::<Order>();
        thread::spawn(move || {
            for (mut command, answer) in receiver {
                let _ = answer.send(command.spawn());
            }
        });
        Mutex::new(orders)
    });
    let (answer, receiver) = mpsc::channel();
    let orders = ORDERS.lock().unwrap_or_else(PoisonError::into_inner);
    orders.send((command, answer)).unwrap();
    drop(orders);
    receiver.recv().unwrap()
}

/// A process, told from a later one with the same number.
#[derive(Clone, Copy, PartialEq)]
pub(super) struct Process {
    id: i32,
    started_at: u64,
}

impl Process {
    /// This process and those that it has started. PostgreSQL's are in no common group: each makes a session of its own.
    pub(super) fn with_children(id: u32) -> Vec<Self> {
        let parent = i32::try_from(id).unwrap();
        let all = read_dir("/proc").unwrap().filter_map(|entry| {
            let id = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let (process, _, parent) = read(id)?;
            Some((process, parent))
        });
        let mut found: Vec<(Self, i32)> = all.filter(|(it, of)| it.id == parent || *of == parent).collect();
        // First the one that would start others.
        found.sort_by_key(|(process, _)| process.id != parent);
        found.into_iter().map(|(process, _)| process).collect()
    }

    pub(super) fn send(self, signal: Signal) {
        // It may have ended.
        let _ = kill_process(Pid::from_raw(self.id).unwrap(), signal);
    }

    /// Whether it has not ended. Whose parent ended first may stay as a zombie.
    pub(super) fn is_there(self) -> bool {
        read(self.id).is_some_and(|(process, state, _)| process == self && !matches!(state, 'Z' | 'X'))
    }

    pub(super) fn is_stopped(self) -> bool {
        read(self.id).is_some_and(|(process, state, _)| process == self && state == 'T')
    }
}

/// Its state and its parent too.
fn read(id: i32) -> Option<(Process, char, i32)> {
    let text = read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name, in parentheses, may have anything in it.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let started_at = fields.get(19)?.parse().ok()?;
    let (state, parent) = (fields.first()?.chars().next()?, fields.get(1)?.parse().ok()?);
    Some((Process { id, started_at }, state, parent))
}

/// Asks until the answer is yes.
pub(super) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(60), "not within a minute: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
