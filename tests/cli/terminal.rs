//! The program at a terminal.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use crate::support::Cli;

/// A command at a terminal of its own, whose Ctrl-C it hears.
struct Terminal {
    keyboard: File,
    screen: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
    child: Child,
}

/// How it ended, and what the screen shows.
#[derive(Debug)]
struct Shown {
    code: Option<i32>,
    signal: Option<i32>,
    screen: String,
}

const WIDE: u16 = 200;

impl Terminal {
    fn start(cli: &Cli, arguments: &[&str]) -> Self {
        Self::start_with(cli, arguments, WIDE, &[])
    }

    fn start_with(cli: &Cli, arguments: &[&str], width: u16, variables: &[(&str, &str)]) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let controller = openpt(flags).unwrap();
        grantpt(&controller).unwrap();
        unlockpt(&controller).unwrap();
        let size = Winsize {
            ws_row: 40,
            ws_col: width,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&controller, size).unwrap();
        let end = |fd: &OwnedFd| Stdio::from(fd.try_clone().unwrap());
        let terminal = ioctl_tiocgptpeer(&controller, flags).unwrap();
        let mut setsid = Command::new("setsid");
        setsid.args(["--ctty", env!("CARGO_BIN_EXE_api-keys")]);
        let mut command = cli.command_of(setsid, arguments);
        command.env("TERM", "xterm-256color").envs(variables.iter().copied());
        command
            .stdin(end(&terminal))
            .stdout(end(&terminal))
            .stderr(end(&terminal));
        let child = command.spawn().unwrap();
        // The last other end is the command's: reading ends with it.
        drop((command, terminal));
        let screen: Arc<Mutex<Vec<u8>>> = Arc::default();
        let (mut output, shown) = (File::from(controller.try_clone().unwrap()), screen.clone());
        let reader = std::thread::spawn(move || {
            let mut piece = [0; 4096];
            // The end of a terminal is an error.
            while let Ok(read @ 1..) = output.read(&mut piece) {
                shown.lock().unwrap().extend_from_slice(&piece[..read]);
            }
        });
        Self {
            keyboard: File::from(controller),
            screen,
            reader,
            child,
        }
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().unwrap()).replace("\r\n", "\n")
    }

    /// Types once this is on the screen.
    fn answer(&mut self, question: &str, text: &str) {
        self.wait(question, |terminal| terminal.shown().contains(question));
        self.keyboard.write_all(text.as_bytes()).unwrap();
    }

    #[track_caller]
    fn wait(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let began = Instant::now();
        while !is_so(self) {
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "{what:?}: {:?}",
                self.shown()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn end(mut self) -> Shown {
        let status = self.child.wait().unwrap();
        self.reader.join().unwrap();
        let screen = String::from_utf8_lossy(&self.screen.lock().unwrap()).replace("\r\n", "\n");
        Shown {
            code: status.code(),
            signal: status.signal(),
            screen,
        }
    }
}

/// The keys on a screen.
fn keys(screen: &str) -> Vec<&str> {
    let words = screen.split_whitespace();
    words
        .filter(|word| word.starts_with("key_") && word.len() > 50)
        .collect()
}

#[test]
fn new_keys_are_shown_at_a_terminal_once() {
    let cli = Cli::empty();
    let made = Terminal::start(&cli, &["init", "--seed"]).end();
    assert_eq!(made.code, Some(0), "{made:?}");
    let found = keys(&made.screen);
    assert_eq!(found.len(), 2, "{made:?}");
    assert!(made.screen.contains("it is not shown again"), "{made:?}");
    assert!(found.iter().all(|key| cli.passes(key)));
    let again = Terminal::start(&cli, &["init", "--seed"]).end();
    assert_eq!((again.code, keys(&again.screen).len()), (Some(0), 0), "{again:?}");

    let made = Terminal::start(&cli, &["create", "nightly", "--org", "default"]).end();
    let key = keys(&made.screen)[0];
    assert!(made.code == Some(0) && cli.passes(key), "{made:?}");
    let id = cli.json(["list", "--name", "nightly"])[0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let rotated = Terminal::start(&cli, &["rotate", &id]).end();
    assert!(cli.passes(keys(&rotated.screen)[0]), "{rotated:?}");
    let listed = Terminal::start(&cli, &["list"]).end();
    assert_eq!(keys(&listed.screen), [""; 0]);
    // A program reads JSON, wherever it goes.
    let refused = Terminal::start(&cli, &["create", "other", "--org", "default", "--json"]).end();
    assert_eq!((refused.code, keys(&refused.screen).len()), (Some(2), 0), "{refused:?}");
    assert_eq!(cli.json(["list", "--name", "other"]).len(), 0);
}

/// What destroys, and needs a yes.
fn destructions(id: &str) -> Vec<Vec<&str>> {
    vec![
        vec!["revoke", id],
        vec!["incident", id, "--revoke"],
        vec!["org", "delete", "default"],
        vec!["bulk", "revoke", "--label", "batch", "--org", "all"],
        vec!["adopt"],
        vec!["migrate", "down", "--to", "0"],
        vec!["restore", "backup.db"],
    ]
}

#[test]
fn question_is_asked_and_anything_but_yes_changes_nothing() {
    let cli = Cli::new();
    let (id, key) = cli.key("nightly", &["--label", "batch"]);
    cli.ok(["backup", "backup.db"]);
    let before = cli.ok(["list", "--json"]);
    for arguments in destructions(&id) {
        for no in ["n\n", "\n", "what?\n"] {
            let mut terminal = Terminal::start(&cli, &arguments);
            terminal.answer("? [y/N] ", no);
            let shown = terminal.end();
            assert_eq!(shown.code, Some(1), "{arguments:?} {no:?} {shown:?}");
            assert!(shown.screen.contains("nothing was changed"), "{shown:?}");
            assert_eq!(cli.ok(["list", "--json"]), before, "{arguments:?}");
        }
    }
    let mut terminal = Terminal::start(&cli, &["revoke", &id]);
    terminal.answer("Revoke \"nightly\"", "y\n");
    let shown = terminal.end();
    assert_eq!(shown.code, Some(0), "{shown:?}");
    assert!(!cli.passes(&key));
}

#[test]
fn interrupt_at_the_question_leaves_all_as_it_was() {
    let cli = Cli::new();
    let (id, key) = cli.key("nightly", &["--label", "batch"]);
    cli.ok(["backup", "backup.db"]);
    let before = cli.ok(["list", "--json"]);
    for arguments in destructions(&id) {
        let mut terminal = Terminal::start(&cli, &arguments);
        terminal.answer("? [y/N] ", "\u{3}");
        let shown = terminal.end();
        // SIGINT.
        assert_eq!(shown.signal, Some(2), "{arguments:?} {shown:?}");
        assert_eq!(cli.ok(["list", "--json"]), before, "{arguments:?}");
    }
    assert!(cli.passes(&key));
    cli.ok(["audit", "verify"]);
}

#[test]
fn typed_key_is_not_shown() {
    let cli = Cli::new();
    let key = cli.read("operator.key");
    let mut terminal = Terminal::start(&cli, &["verify"]);
    terminal.wait("what is typed is shown", |terminal| {
        let modes = tcgetattr(&terminal.keyboard).unwrap().local_modes;
        !modes.contains(LocalModes::ECHO)
    });
    terminal.answer("Key: ", &format!("{key}\n"));
    let shown = terminal.end();
    assert!(
        shown.code == Some(0) && shown.screen.contains("The key is valid."),
        "{shown:?}"
    );
    assert!(!shown.screen.contains(&key[30..]), "{shown:?}");
}

#[test]
fn colours_are_of_help_alone_and_can_be_switched_off() {
    let cli = Cli::new();
    let is_coloured = |arguments: &[&str], variables: &[(&str, &str)]| {
        let shown = Terminal::start_with(&cli, arguments, WIDE, variables).end();
        shown.screen.contains('\u{1b}')
    };
    assert!(is_coloured(&["--help"], &[]));
    assert!(!is_coloured(&["--help"], &[("NO_COLOR", "1")]));
    assert!(!cli.ok(["--help"]).contains('\u{1b}'));
    for arguments in [
        &["list"][..],
        &["doctor"],
        &["hygiene"],
        &["show", "nothing"],
        &["audit", "list"],
    ] {
        assert!(!is_coloured(arguments, &[]), "{arguments:?}");
    }
}

#[test]
fn ids_stay_whole_in_a_narrow_terminal() {
    let cli = Cli::new();
    let (id, _) = cli.key("nightly export of all orders", &["--scope", "orders:read"]);
    for width in [40, 60, 80, 100, 120, WIDE] {
        for arguments in [&["list", "--org", "default"][..], &["hygiene", "--org", "default"]] {
            let shown = Terminal::start_with(&cli, arguments, width, &[]).end();
            let lines: Vec<&str> = shown.screen.lines().collect();
            assert!(
                lines.iter().any(|line| line.split_whitespace().any(|word| word == id)),
                "{width} {shown:?}"
            );
            let longest = lines.iter().map(|line| line.chars().count()).max().unwrap();
            // An id and its name take 47.
            assert!(longest <= usize::from(width.max(60)), "{width} {longest} {shown:?}");
        }
    }
    let wide = Terminal::start(&cli, &["list", "--org", "default"]).end().screen;
    assert_eq!(wide.lines().count(), 3, "a heading and two keys: {wide}");
}
