//! What is wrong, by `doctor`.

use serde_json::Value;

use crate::support::{Cli, Said};

/// Whether the finding is there: about what, how it is judged, and a part of its sentence.
#[track_caller]
pub(crate) fn finds(said: &Said, about: &str, ok: Option<bool>, text: &str) {
    let answer = &said.lines()[0];
    let ok = ok.map_or(Value::Null, Value::Bool);
    let mut checks = answer["checks"].as_array().unwrap().iter();
    let is_there = |check: &Value| {
        check["about"] == about && check["ok"] == ok && check["sentence"].as_str().unwrap().contains(text)
    };
    assert!(checks.any(is_there), "{about} {ok} {text}: {answer:#}");
    let wrong = answer["checks"]
        .as_array()
        .unwrap()
        .iter()
        .any(|check| check["ok"] == false);
    assert_eq!((said.code == 1, answer["ok"] == false), (wrong, wrong), "{said:?}");
}

fn wrong(cli: &Cli, arguments: &[&str], about: &str, text: &str) {
    let said = cli.run(["doctor", "--json"].iter().chain(arguments));
    finds(&said, about, Some(false), text);
}

#[test]
fn doctor_says_what_is_wrong() {
    use std::os::unix::fs::PermissionsExt;
    let cli = Cli::new();
    cli.ok(["audit", "anchor", "anchors"]);
    let healthy = &cli.json(["doctor", "--anchor", "anchors"])[0];
    assert_eq!(healthy["ok"], true);
    for file in ["api-keys.db", "api-keys.db.revocations", "api-keys.db.root-key"] {
        let path = cli.path(file);
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        let said = cli.run(["doctor"]);
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        assert_eq!(said.code, 1, "{file} {said:?}");
        assert!(said.out.contains("has mode 644"), "{file} {said:?}");
    }
    std::fs::rename(cli.path("api-keys.db.root-key"), cli.path("elsewhere")).unwrap();
    let said = cli.run(["doctor", "--json"]);
    assert_eq!(said.code, 1, "{said:?}");
    let wrong = |about: &str| {
        let answer = &said.lines()[0];
        let mut checks = answer["checks"].as_array().unwrap().iter();
        checks.any(|check| check["about"] == about && check["ok"] == false)
    };
    assert!(wrong("root key") && wrong("opening"), "{said:?}");
    // A new one would open nothing.
    assert!(
        said.out.contains("if it was moved") && !said.out.contains("openssl"),
        "{said:?}"
    );
    let said = cli.run(["doctor", "--database", "sqlite:missing.db"]);
    assert!(
        said.code == 1 && said.out.contains("there is no database at"),
        "{said:?}"
    );
}

#[test]
fn settings_of_the_configuration_are_judged() {
    use std::os::unix::fs::PermissionsExt;
    let cli = Cli::new();
    let with = |text: &str| {
        std::fs::write(cli.path("config.toml"), text).unwrap();
        std::fs::set_permissions(cli.path("config.toml"), PermissionsExt::from_mode(0o644)).unwrap();
        cli.run(["doctor", "--json", "--config", "config.toml"])
    };
    let url = "[database]\nurl = \"sqlite:api-keys.db\"\n";
    let good =
        "[proxies]\nheader = \"x-forwarded-for\"\nscheme_header = \"x-forwarded-proto\"\nnetworks = [\"10.0.0.0/8\"]\n";
    let said = with(&format!("{url}{good}"));
    assert_eq!(said.code, 0, "{said:?}");
    finds(&said, "proxies", Some(true), "believed of 10.0.0.0/8 alone");
    finds(&said, "configuration", Some(true), "written by its owner alone");
    let everyone = good.replace("10.0.0.0/8", "0.0.0.0/0");
    finds(
        &with(&format!("{url}{everyone}")),
        "proxies",
        Some(false),
        "everyone is a trusted proxy",
    );
    let open = "[server]\nlisten = \"0.0.0.0:8080\"\n";
    finds(
        &with(&format!("{url}{open}")),
        "HTTPS",
        Some(false),
        "proxies.scheme_header",
    );
    let crc = "[[formats]]\nprefix = \"key\"\n[[formats]]\nprefix = \"old\"\nchecksum = \"crc32\"\n";
    finds(
        &with(&format!("{url}{crc}")),
        "formats",
        None,
        "the format of old_ has no keyed checksum",
    );
    let off = format!("{url}journal = false\n");
    finds(&with(&off), "revocation journal", None, "this machine keeps none");
    // A header that is named without those who write it is no configuration.
    let said = with("[proxies]\nheader = \"x-forwarded-for\"\n");
    assert_eq!(said.code, 2, "{said:?}");
    std::fs::write(cli.path("config.toml"), url).unwrap();
    std::fs::set_permissions(cli.path("config.toml"), PermissionsExt::from_mode(0o666)).unwrap();
    wrong(&cli, &["--config", "config.toml"], "configuration", "has mode 666");
}

#[test]
fn anchors_and_clocks_are_judged() {
    let cli = Cli::new();
    wrong(&cli, &["--anchor", "missing"], "anchors", "there is no such file");
    cli.ok(["audit", "anchor", "anchors"]);
    let said = cli.run(["doctor", "--json", "--anchor", "anchors"]);
    finds(&said, "anchors", Some(true), "they have the end of the trail");
    finds(&said, "clock", Some(true), "no row is from the future");
    cli.key("nightly", &[]);
    let at_once = ["--anchor", "anchors", "--anchor-age", "0s"];
    wrong(&cli, &at_once, "anchors", "the trail has gone on since");
    let said = cli.run(["doctor", "--json", "--anchor", "anchors"]);
    finds(&said, "anchors", Some(true), "young enough");

    let database = rusqlite::Connection::open(cli.path("api-keys.db")).unwrap();
    database
        .execute(
            "UPDATE api_keys_audit_events SET at = at + 3600000 WHERE action = 'key.issued'",
            [],
        )
        .unwrap();
    drop(database);
    wrong(&cli, &[], "clock", "follow a time server");
}
