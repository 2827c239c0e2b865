//! Runs the program in a folder of its own.

use std::ffi::OsStr;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

/// A folder with what the program makes in it.
pub(crate) struct Cli {
    folder: tempfile::TempDir,
    /// `DATABASE_URL`.
    url: Option<String>,
}

/// What a command said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// The variables that the program obeys.
pub(crate) const OBEYED: [&str; 9] = [
    "DATABASE_URL",
    "API_KEYS_CONFIG",
    "API_KEYS_SERVER",
    "API_KEYS_ROOT_KEY_FILE",
    "API_KEYS_TOKEN_FILE",
    "RUST_LOG",
    "NO_COLOR",
    "XDG_CONFIG_HOME",
    "HOME",
];

impl Cli {
    /// An empty folder.
    pub(crate) fn empty() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            url: None,
        }
    }

    /// An empty folder, for the database of this URL.
    pub(crate) fn of(url: &str) -> Self {
        let url = Some(url.to_owned());
        Self { url, ..Self::empty() }
    }

    /// A folder with a database that has an operator and an organization `default` with a key.
    pub(crate) fn new() -> Self {
        let cli = Self::empty();
        cli.ok(["init", "--seed", "--out", "operator.key"]);
        cli
    }

    /// The URL that it was made for.
    pub(crate) fn url(&self) -> &str {
        self.url.as_deref().unwrap()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap().trim_end().to_owned()
    }

    /// A command that is not started yet, without anything from the environment of the tests that it would obey.
    pub(crate) fn command(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
        self.command_of(Command::new(env!("CARGO_BIN_EXE_api-keys")), arguments)
    }

    /// The same, of a program that starts it, perhaps.
    pub(crate) fn command_of(
        &self,
        mut command: Command,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Command {
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env("USER", "alice")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for name in OBEYED {
            command.env_remove(name);
        }
        if let Some(url) = &self.url {
            command.env("DATABASE_URL", url);
        }
        command
    }

    pub(crate) fn run(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Said {
        said(self.command(arguments), "")
    }

    pub(crate) fn with_input(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>, input: &str) -> Said {
        said(self.command(arguments), input)
    }

    /// The output of a command that is done.
    #[track_caller]
    pub(crate) fn ok(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> String {
        let said = self.run(arguments);
        assert_eq!(said.code, 0, "{said:?}");
        said.out
    }

    /// The lines of its JSON.
    #[track_caller]
    pub(crate) fn json(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Vec<Value> {
        let mut command = self.command(arguments);
        command.arg("--json");
        let said = said(command, "");
        assert_eq!(said.code, 0, "{said:?}");
        said.lines()
    }

    /// A new key of the organization `default`: its id, and itself. It is in a file of its name.
    #[track_caller]
    pub(crate) fn key(&self, name: &str, options: &[&str]) -> (String, String) {
        let file = format!("{}.key", name.replace(' ', "-"));
        let arguments = ["create", name, "--org", "default", "--out", &file];
        let made = self.json(arguments.iter().chain(options));
        (made[0]["record"]["id"].as_str().unwrap().to_owned(), self.read(&file))
    }

    /// Whether a service would accept the key.
    pub(crate) fn passes(&self, key: &str) -> bool {
        let said = self.with_input(["verify"], key);
        assert!(said.code < 2, "{said:?}");
        said.code == 0
    }
}

impl Said {
    #[track_caller]
    pub(crate) fn lines(&self) -> Vec<Value> {
        let lines = self.out.lines().map(serde_json::from_str);
        lines
            .collect::<Result<_, _>>()
            .unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

pub(crate) fn said(mut command: Command, input: &str) -> Said {
    if !input.is_empty() {
        command.stdin(Stdio::piped());
    }
    let mut child = command.spawn().unwrap();
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not read it is no failure of the test.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().unwrap();
    Said {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}
