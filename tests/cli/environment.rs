//! What the environment says, and files that it names.

use std::path::Path;

use crate::server::Server;
use crate::support::{Cli, Said, said};

/// As by a template without the value: what holds without the variable is not what was meant.
#[test]
fn variable_that_is_empty_is_refused_by_its_name() {
    let cli = Cli::new();
    let with_empty = |name: &str, arguments: &[&str]| {
        let mut command = cli.command(arguments);
        command.env(name, "");
        said(command, "")
    };
    for (name, option) in [
        ("DATABASE_URL", "--database=sqlite:api-keys.db"),
        ("API_KEYS_CONFIG", "--config=config.toml"),
        ("API_KEYS_SERVER", "--database=sqlite:api-keys.db"),
        ("API_KEYS_ROOT_KEY_FILE", "--root-key-file=api-keys.db.root-key"),
    ] {
        std::fs::write(cli.path("config.toml"), "").unwrap();
        for command in [&["list"][..], &["doctor"], &["audit", "verify"]] {
            let said = with_empty(name, command);
            assert_eq!(said.code, 2, "{name} {command:?} {said:?}");
            assert!(said.err.contains(&format!("{name} is set and empty")), "{said:?}");
        }
        for command in [&["list", option][..], &["man"], &["completions", "bash"]] {
            assert_eq!(with_empty(name, command).code, 0, "{name} {command:?}");
        }
    }
    let said = with_empty("API_KEYS_TOKEN_FILE", &["list", "--server", "http://127.0.0.1:1/api"]);
    assert!(
        said.code == 2 && said.err.contains("API_KEYS_TOKEN_FILE is set and empty"),
        "{said:?}"
    );
}

/// As services read it: what one seals, the others open.
#[test]
fn root_key_of_the_configuration_comes_before_the_variable() {
    let cli = Cli::new();
    let other = format!("{}\n", "01".repeat(32));
    std::fs::write(cli.path("other"), other).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(cli.path("other"), std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    let run = |arguments: &[&str]| {
        let mut command = cli.command(arguments);
        command.env("API_KEYS_ROOT_KEY_FILE", cli.path("other"));
        said(command, "")
    };
    assert_ne!(run(&["list"]).code, 0);
    std::fs::write(
        cli.path("config.toml"),
        "[secrets]\nroot_key_file = \"api-keys.db.root-key\"\n",
    )
    .unwrap();
    let said = run(&["list", "--config", "config.toml"]);
    assert_eq!(said.code, 0, "{said:?}");
    let said = run(&["list", "--config", "config.toml", "--root-key-file", "other"]);
    assert_ne!(said.code, 0, "{said:?}");
}

/// Others may write the working directory.
#[test]
fn configuration_is_never_that_of_the_working_directory() {
    let cli = Cli::new();
    for folder in ["api-keys", ".config/api-keys", "here/api-keys"] {
        std::fs::create_dir_all(cli.path(folder)).unwrap();
        std::fs::write(cli.path(folder).join("config.toml"), "wrong = true").unwrap();
    }
    for (name, value) in [
        ("XDG_CONFIG_HOME", ""),
        ("XDG_CONFIG_HOME", "here"),
        ("HOME", ""),
        ("HOME", "."),
    ] {
        let mut command = cli.command(["list"]);
        command
            .env("HOME", "/nonexistent")
            .env_remove("XDG_CONFIG_HOME")
            .env(name, value);
        let said = said(command, "");
        assert_eq!(said.code, 0, "{name}={value} {said:?}");
    }
    let mut command = cli.command(["list"]);
    command.env("XDG_CONFIG_HOME", cli.path("here"));
    assert_eq!(said(command, "").code, 2, "that of the user is read");
}

#[test]
fn database_that_is_named_is_meant_whatever_the_environment_has() {
    let cli = Cli::new();
    let run = |arguments: &[&str]| {
        let mut command = cli.command(arguments);
        command
            .env("API_KEYS_SERVER", "http://127.0.0.1:1/api")
            .env("API_KEYS_TOKEN_FILE", cli.path("operator.key"));
        said(command, "")
    };
    assert_eq!(run(&["list"]).code, 3);
    let named = "--database=sqlite:api-keys.db";
    for arguments in [&["list", named][..], &[named, "list"], &["backup", "backup.db", named]] {
        let said = run(arguments);
        assert_eq!(said.code, 0, "{arguments:?} {said:?}");
    }
    // Nobody has named one: the server may be meant.
    let said = run(&["backup", "other.db"]);
    assert!(said.code == 2 && said.err.contains("API_KEYS_SERVER"), "{said:?}");
    for arguments in [
        &["list", named, "--server", "http://127.0.0.1:1/api"][..],
        &["--server", "http://127.0.0.1:1/api", "list", named],
    ] {
        let said = run(arguments);
        assert!(
            said.code == 2 && said.err.contains("--database or --server"),
            "{said:?}"
        );
    }
}

#[test]
fn key_for_the_server_is_read_as_other_programs_write_it() {
    let cli = Cli::new();
    let server = Server::start(&cli);
    let key = cli.read("operator.key");
    let with = |content: &[u8]| {
        std::fs::write(cli.path("token"), content).unwrap();
        ask(&cli, &server, &cli.path("token"))
    };
    for content in [
        key.clone(),
        format!("{key}\n"),
        format!("{key}\r\n"),
        format!("\u{feff}{key}\r\n"),
        format!("\n  {key}\t\n\n"),
    ] {
        let said = with(content.as_bytes());
        assert_eq!(said.code, 0, "{content:?} {said:?}");
        assert!(cli.passes(&content), "{content:?}");
    }
    let wide: Vec<u8> = key.encode_utf16().flat_map(u16::to_le_bytes).collect();
    for content in [
        b"".to_vec(),
        b" \r\n".to_vec(),
        format!("\"{key}\"").into_bytes(),
        format!("Bearer {key}").into_bytes(),
        format!("{key}\n{key}\n").into_bytes(),
        format!("{key}\u{a0}").into_bytes(),
        format!("{key}\u{200b}").into_bytes(),
        [&[0xff, 0xfe][..], &wide].concat(),
        vec![b'a'; 100_000],
    ] {
        let said = with(&content);
        // A trailing no-break space is white space to Unicode.
        let is_white = content.ends_with("\u{a0}".as_bytes());
        assert_eq!(said.code, if is_white { 0 } else { 2 }, "{content:?} {said:?}");
        assert!(!said.err.contains(&key[20..]), "{said:?}");
    }
    assert_eq!(ask(&cli, &server, Path::new(".")).code, 2);
    assert_eq!(ask(&cli, &server, Path::new("/dev/zero")).code, 2);
    let sparse = std::fs::File::create(cli.path("sparse")).unwrap();
    sparse.set_len(1 << 40).unwrap();
    assert_eq!(ask(&cli, &server, &cli.path("sparse")).code, 2);
    let said = cli.run(["copy", "file:/dev/zero", "sqlite:copy.db"]);
    assert!(said.code == 2 && said.err.contains("64 KiB"), "{said:?}");
}

fn ask(cli: &Cli, server: &Server, token: &Path) -> Said {
    let mut command = cli.command(["stats", "--server", &server.url()]);
    command.env("API_KEYS_TOKEN_FILE", token);
    said(command, "")
}

/// What a password manager writes to, without a file.
#[test]
#[cfg(unix)]
fn key_for_the_server_may_come_out_of_a_pipe() {
    let cli = Cli::new();
    let server = Server::start(&cli);
    let program = env!("CARGO_BIN_EXE_api-keys");
    let mut command = std::process::Command::new("sh");
    let script = format!(
        "cat operator.key | API_KEYS_TOKEN_FILE=/dev/stdin '{program}' stats --server {}",
        server.url()
    );
    command
        .args(["-c", &script])
        .current_dir(cli.path(""))
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let said = said(command, "");
    assert_eq!(said.code, 0, "{said:?}");
}

#[test]
#[cfg(unix)]
fn arguments_that_are_no_text_are_refused() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let cli = Cli::new();
    for arguments in [
        [OsStr::new("show"), OsStr::from_bytes(b"\xff")],
        [OsStr::new("list"), OsStr::from_bytes(b"--name=\xff")],
        [OsStr::from_bytes(b"\xff"), OsStr::new("list")],
    ] {
        let said = cli.run(arguments);
        assert_eq!(said.code, 2, "{said:?}");
    }
    // A file may have any name.
    let arguments = ["create", "a", "--org", "default", "--out"].map(OsStr::new);
    let said = cli.run(arguments.into_iter().chain([OsStr::from_bytes(b"\xff.key")]));
    assert_eq!(said.code, 0, "{said:?}");
}

#[test]
fn wrong_arguments_are_json_for_who_reads_json() {
    let cli = Cli::new();
    for (arguments, part) in [
        (&["list", "--bogus", "--json"][..], "'--bogus'"),
        (&["--json", "create"], "<NAME>"),
        (&["--json", "rotate", "x", "--grace", "soon"], "'soon'"),
        (&["--json"], "--help"),
        (&["show", "--json", ""], "empty"),
    ] {
        let said = cli.run(arguments);
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{said:?}");
        let error: serde_json::Value = serde_json::from_str(&said.err).unwrap_or_else(|_| panic!("{said:?}"));
        assert_eq!(error["error"]["code"], 2, "{said:?}");
        assert!(error["error"]["detail"].as_str().unwrap().contains(part), "{said:?}");
    }
    let said = cli.run(["list", "--json", "--help"]);
    assert!(said.code == 0 && said.out.contains("Usage"), "{said:?}");
    let said = cli.run(["show", "--", "--json"]);
    assert!(said.code == 1 && said.err.starts_with("api-keys: "), "{said:?}");
}
