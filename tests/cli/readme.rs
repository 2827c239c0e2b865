//! The lines of README.md run as they stand.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::{Cli, said};

/// As one shell has them. `cargo run --features cli --` starts the program that is built already, and the port is a free one.
#[test]
fn command_line_and_curl_of_the_readme() {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let section = readme.split("## A command line and a management API").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let blocks: Vec<&str> = section
        .split("```sh\n")
        .skip(1)
        .map(|block| block.split("\n```").next().unwrap())
        .collect();
    assert_eq!(blocks.len(), 2);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let script = blocks.join("\n").replace("8080", &port.to_string());

    let cli = Cli::empty();
    let shim = cli.path("cargo");
    let program = env!("CARGO_BIN_EXE_api-keys");
    let listen = format!("[server]\nlisten = \"127.0.0.1:{port}\"\n");
    std::fs::write(cli.path("port.toml"), listen).unwrap();
    let text = format!(
        "#!/bin/sh\n[ \"$1 $2 $3 $4\" = 'run --features cli --' ] || exit 99\nshift 4\nexec {program} \"$@\"\n"
    );
    std::fs::write(&shim, text).unwrap();
    std::fs::set_permissions(&shim, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", cli.path("").display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("bash");
    shell
        .args(["-e", "-c", &format!("trap 'kill $(jobs -p)' EXIT\n{script}")])
        .current_dir(cli.path(""))
        .env("PATH", path)
        .env("API_KEYS_CONFIG", cli.path("port.toml"))
        .env_remove("DATABASE_URL")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let said = said(shell, "");
    assert_eq!(said.code, 0, "{said:?}");
    for expected in [
        "The key is valid.",
        "\"name\":\"nightly\"",
        "\"status\":\"revoked\"",
        "urn:problem-type:tower-api-key:unauthenticated",
    ] {
        assert!(said.out.contains(expected), "{expected}: {said:?}");
    }
    let key = std::fs::read_to_string(cli.path("backup.key")).unwrap();
    assert!(!said.out.contains(key.trim()) && !said.err.contains(key.trim()));
}
