//! `api-keys.service`.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::server::Server;
use crate::support::Cli;

fn unit() -> String {
    std::fs::read_to_string(super::file("api-keys.service")).unwrap()
}

/// The values of a setting.
fn values<'u>(unit: &'u str, name: &str) -> Vec<&'u str> {
    let settings = unit.lines().filter_map(|line| line.split_once('='));
    settings
        .filter(|(key, _)| *key == name)
        .map(|(_, value)| value)
        .collect()
}

#[test]
fn unit_has_what_the_service_needs() {
    let unit = unit();
    for (name, value) in [
        ("User", "api-keys"),
        ("Restart", "on-failure"),
        ("RestartPreventExitStatus", "2"),
        ("StateDirectory", "api-keys"),
        ("UMask", "0077"),
        ("NoNewPrivileges", "yes"),
        ("ProtectSystem", "strict"),
        ("ProtectHome", "yes"),
        ("CapabilityBoundingSet", ""),
    ] {
        assert_eq!(values(&unit, name), [value], "{name}");
    }
    let credentials = values(&unit, "LoadCredential");
    assert!(
        credentials.contains(&"root.key:/etc/api-keys/root.key"),
        "{credentials:?}"
    );
    // 30 s for open requests and 5 s for traces: a test of the server has these.
    let stop: u64 = values(&unit, "TimeoutStopSec")[0].parse().unwrap();
    assert!(stop >= 45, "{stop}");
}

/// As a service manager does, with the folders that `%d` and `%S` stand for.
#[test]
fn command_of_the_unit_serves() {
    let (cli, unit) = (Cli::new(), unit());
    let folder = |name: &str| {
        std::fs::create_dir_all(cli.path(name)).unwrap();
        cli.path(name).display().to_string()
    };
    let (credentials, state) = (folder("credentials"), folder("state"));
    let filled = |text: &str| text.replace("%d", &credentials).replace("%S", &state);
    std::fs::create_dir(cli.path("state/api-keys")).unwrap();
    let database = values(&unit, "Environment")[0].split_once('=').unwrap();
    let url = filled(database.1);
    let root_key = format!("{credentials}/root.key");
    cli.ok([
        "init",
        "--database",
        &url,
        "--root-key-file",
        &root_key,
        "--out",
        "unit.key",
    ]);
    std::fs::write(
        cli.path("credentials/config.toml"),
        "[server]\nlisten = \"127.0.0.1:0\"\n",
    )
    .unwrap();
    // Of a credential.
    for name in ["config.toml", "root.key"] {
        let mode = std::fs::Permissions::from_mode(0o400);
        std::fs::set_permissions(cli.path("credentials").join(name), mode).unwrap();
    }
    let command = filled(values(&unit, "ExecStart")[0]);
    let mut arguments = command.split(' ');
    assert_eq!(arguments.next(), Some("/usr/local/bin/api-keys"));
    let mut command = cli.command(arguments);
    command
        .env(database.0, &url)
        .current_dir(filled(values(&unit, "WorkingDirectory")[0]));
    let server = Server::of(command);
    assert_eq!(server.ask("/readyz", ""), 200);
    assert_eq!(server.ask("/api/v1/auth/keys", &cli.read("unit.key")), 200);
    let ended = server.stop();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(!ended.log.contains("unsealed"), "{ended:?}");
}

/// Where systemd is: it refuses a unit with a setting that it does not know.
#[test]
fn systemd_accepts_the_unit() {
    let cli = Cli::empty();
    let program = env!("CARGO_BIN_EXE_api-keys");
    let unit = unit().replace("/usr/local/bin/api-keys", program);
    std::fs::write(cli.path("api-keys.service"), unit).unwrap();
    let verify = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .arg(cli.path("api-keys.service"))
        .output();
    let Ok(verified) = verify else {
        println!("systemd-analyze is not on this machine: the unit was not verified");
        return;
    };
    let said = String::from_utf8_lossy(&verified.stderr);
    assert!(verified.status.success(), "{said}");
    assert!(!said.contains("api-keys.service"), "{said}");
}
