//! Files that are written, and what others see of the program.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use tower_api_key::key::{Checksum, KeyFormat};

use crate::support::{Cli, said};

/// Runs a command with a mask that makes files open to everyone.
fn with_open_mask(cli: &Cli, arguments: &str) -> i32 {
    let program = env!("CARGO_BIN_EXE_api-keys");
    let mut command = Command::new("sh");
    command.args(["-c", &format!("umask 000; exec '{program}' {arguments}")]);
    command
        .current_dir(cli.path(""))
        .env_remove("DATABASE_URL")
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    said(command, "").code
}

/// Commands that write a file each, and the file.
const WRITERS: &[(&str, &str)] = &[
    ("create a --org default --out made.key", "made.key"),
    ("audit anchor anchors", "anchors"),
    ("audit export --out events.jsonl", "events.jsonl"),
    ("backup backup.db", "backup.db"),
];

#[test]
fn files_are_their_owners_alone_whatever_the_mask() {
    let cli = Cli::empty();
    assert_eq!(with_open_mask(&cli, "init --seed --out operator.key"), 0);
    for (arguments, file) in WRITERS {
        assert_eq!(with_open_mask(&cli, arguments), 0, "{arguments}");
        assert!(cli.path(file).exists());
    }
    assert_eq!(
        with_open_mask(
            &cli,
            "--database sqlite:restored.db --root-key-file api-keys.db.root-key restore backup.db"
        ),
        0
    );
    assert_eq!(with_open_mask(&cli, "copy sqlite:api-keys.db sqlite:copied.db"), 0);
    for entry in cli.path("").read_dir().unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode & 0o077, 0, "{:?} {mode:o}", entry.file_name());
    }
}

#[test]
fn links_and_files_that_are_there_are_not_written_over() {
    let cli = Cli::new();
    std::fs::write(cli.path("precious"), "precious").unwrap();
    for (arguments, file) in WRITERS {
        symlink(cli.path("precious"), cli.path(file)).unwrap();
        assert_ne!(with_open_mask(&cli, arguments), 0, "{arguments}");
        std::fs::remove_file(cli.path(file)).unwrap();
        symlink(cli.path("new"), cli.path(file)).unwrap();
        assert_ne!(with_open_mask(&cli, arguments), 0, "{arguments}");
        assert!(!cli.path("new").exists(), "{arguments}");
        std::fs::remove_file(cli.path(file)).unwrap();
    }
    assert_eq!(cli.read("precious"), "precious");
    for (arguments, _) in WRITERS.iter().filter(|(_, file)| *file != "anchors") {
        assert_eq!(with_open_mask(&cli, arguments), 0);
        assert_ne!(with_open_mask(&cli, arguments), 0, "{arguments} a second time");
    }
}

#[test]
fn key_among_the_arguments_is_refused_and_not_repeated() {
    let cli = Cli::new();
    let key = cli.read("operator.key");
    for arguments in [
        vec!["verify".to_owned(), key.clone()],
        vec!["revoke".to_owned(), format!("\"{key}\""), "--yes".to_owned()],
        vec!["list".to_owned(), format!("--name={key}")],
        vec![
            "org".to_owned(),
            "deactivate".to_owned(),
            "default".to_owned(),
            format!("--reason=it was ({key})."),
        ],
    ] {
        let said = cli.run(&arguments);
        assert_eq!(said.code, 2, "{said:?}");
        assert!(
            said.err.contains("rotate it") && !said.err.contains(&key[20..]),
            "{said:?}"
        );
    }
}

#[test]
fn key_of_a_configured_format_among_the_arguments_is_refused() {
    let cli = Cli::new();
    let text = "[[formats]]\nprefix = \"acme\"\nseparator = \".\"\nchecksum = \"crc32\"\n[[formats]]\npreset = \"hk\"\n\
                [[formats]]\npreset = \"django_rest_framework\"\n[[formats]]\npreset = \"bare_hex\"\n[[formats]]\npreset = \"raw\"\n";
    std::fs::write(cli.path("formats.toml"), text).unwrap();
    let acme = KeyFormat::builder("acme").separator('.').checksum(Checksum::Crc32);
    let acme = acme.build().unwrap().generate(Some("test")).unwrap();
    for key in [
        acme.key().expose_secret(),
        "hk_test_AbCdEfGh_JkLmNoPqRsTuVwXyZ0123456789-_AbCdE",
        "kYtGbYr2.0123456789ABCDEFGHIJKLMNOPQRSTUV",
    ] {
        let reason = format!("it was ({key}).");
        for arguments in [
            &["list", "--config", "formats.toml", "--name", key][..],
            &["--config=formats.toml", "revoke", "0", "--reason", &reason, "--yes"],
            &["no-command", "--config", "formats.toml", key],
        ] {
            let said = cli.run(arguments);
            assert_eq!(said.code, 2, "{said:?}");
            assert!(
                said.err.contains("rotate it") && !said.err.contains(&key[20..]),
                "{said:?}"
            );
        }
        let mut command = cli.command(["list", "--name", key]);
        command.env("API_KEYS_CONFIG", cli.path("formats.toml"));
        assert!(said(command, "").err.contains("rotate it"), "{key}");
        // It is no key where its format is none.
        cli.ok(["list", "--name", key]);
    }
    // By a hash a key may be named.
    let hash = "0123456789abcdef".repeat(4);
    let said = cli.run(["show", &hash, "--config", "formats.toml"]);
    assert!(
        said.code == 1 && said.err.contains("no key has this id or lookup"),
        "{said:?}"
    );
}

/// While a command runs, everyone on the machine sees its arguments.
#[test]
#[cfg(target_os = "linux")]
fn arguments_have_no_secrets() {
    let cli = Cli::new();
    let mut command = cli.command(["serve", "--listen", "127.0.0.1:0"]);
    command.env("DATABASE_URL", format!("sqlite:{}", cli.path("api-keys.db").display()));
    let mut child = command.spawn().unwrap();
    let seen = loop {
        // Empty until the program is there.
        let seen = std::fs::read_to_string(format!("/proc/{}/cmdline", child.id())).unwrap();
        if !seen.is_empty() {
            break seen;
        }
        assert!(child.try_wait().unwrap().is_none(), "it has ended");
    };
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(
        seen.split('\0').skip(1).collect::<Vec<_>>(),
        ["serve", "--listen", "127.0.0.1:0", ""]
    );
    let said = cli.run(["list", "--database", "postgres://alice:secret@localhost/keys"]);
    assert!(said.code == 2 && !said.err.contains("secret"), "{said:?}");
}
