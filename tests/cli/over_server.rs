//! Commands over a server, with a key.

use std::fs;

use crate::server::Server;
use crate::support::{Cli, Said, said};

/// Runs commands over a server, with the key in this file.
struct Over<'c> {
    cli: &'c Cli,
    url: String,
    key: &'static str,
}

impl Over<'_> {
    fn run(&self, arguments: &[&str]) -> Said {
        let mut command = self.cli.command(arguments);
        command
            .args(["--server", &self.url])
            .env("API_KEYS_TOKEN_FILE", self.cli.path(self.key));
        said(command, "")
    }
}

fn over<'c>(cli: &'c Cli, server: &Server, key: &'static str) -> Over<'c> {
    let url = format!("http://{}/api/v1/auth", server.address);
    Over { cli, url, key }
}

#[test]
fn hygiene_is_the_same_over_a_server() {
    let cli = Cli::new();
    cli.key("with an end", &["--expires-in", "30d"]);
    let server = Server::start(&cli);
    let over = over(&cli, &server, "operator.key");
    let there = over.run(&["hygiene", "--org", "default", "--json"]);
    let here = cli.run(["hygiene", "--org", "default", "--json"]);
    assert_eq!((there.code, there.lines()), (1, here.lines()), "{there:?}");
    assert_eq!(there.lines()[0]["findings"][0]["kind"], "no-end");
    // Without an organization, all of them.
    let all = over.run(&["hygiene", "--json"]);
    let keys = |said: &Said| -> Vec<String> { said.lines().iter().map(|item| item["key_id"].to_string()).collect() };
    assert_eq!(keys(&all), keys(&cli.run(["hygiene", "--json"])), "{all:?}");
    let said = over.run(&["hygiene", "--unused-for", "36h"]);
    assert!(said.code == 2 && said.err.contains("whole days"), "{said:?}");
}

/// Keys of a key: `parent` makes `child`, which makes `grandchild`.
fn family(cli: &Cli, server: &Server) -> [(String, String); 3] {
    let scopes = ["--scope", "api-keys.keys:write,api-keys.keys:read"];
    let parent = cli.key("parent", &scopes);
    let mut keys = vec![parent];
    for (maker, made) in [("parent.key", "child"), ("child.key", "grandchild")] {
        let maker = over(cli, server, maker);
        let file = format!("{made}.key");
        let arguments = [
            "create",
            made,
            "--scope",
            "api-keys.keys:write,api-keys.keys:read",
            "--out",
            &file,
            "--json",
        ];
        let said = maker.run(&arguments);
        assert_eq!(said.code, 0, "{said:?}");
        let id = said.lines()[0]["record"]["id"].as_str().unwrap().to_owned();
        keys.push((id, cli.read(&file)));
    }
    keys.try_into().unwrap()
}

#[test]
fn incident_over_a_server_ends_a_key_and_what_it_made() {
    let cli = Cli::new();
    let server = Server::start(&cli);
    let [(parent, parents), (child, childs), (grandchild, grandchilds)] = family(&cli, &server);
    let (_, kept) = cli.key("another", &[]);
    let operator = over(&cli, &server, "operator.key");
    let report = |said: Said| {
        assert_eq!(said.code, 0, "{said:?}");
        said.lines()[0].clone()
    };
    let there = report(operator.run(&["incident", &parent, "--json"]));
    let here = cli.json(["incident", &parent])[0].clone();
    assert_eq!(there["key"], here["key"]);
    let ids = |report: &serde_json::Value| -> Vec<String> {
        let made = report["made_with_it"].as_array().unwrap().iter();
        made.map(|key| key["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(&there), ids(&here));
    assert_eq!(ids(&there), [child.clone(), grandchild]);
    for (events, action) in [("events_by_it", "key.issued"), ("events_of_it", "key.issued")] {
        let mut events = there[events].as_array().unwrap().iter();
        assert!(events.any(|event| event["action"] == action), "{there:#}");
    }
    assert_eq!(
        (&there["is_whole"], &there["uses"]["networks"]),
        (&true.into(), &serde_json::Value::Null)
    );

    assert_eq!(
        operator.run(&["incident", &parent, "--revoke"]).code,
        2,
        "nobody to ask"
    );
    assert!(cli.passes(&parents));
    let done = report(operator.run(&["incident", &parent, "--revoke", "--yes", "--json"]));
    assert_eq!(done["revoked_now"].as_array().unwrap().len(), 3, "{done:#}");
    assert_eq!(done["key"]["status"], "revoked");
    for key in [parents, childs, grandchilds] {
        assert!(!cli.passes(&key));
    }
    assert!(cli.passes(&kept));
}

#[test]
fn incident_since_a_time_leaves_what_was_made_before() {
    let cli = Cli::new();
    let server = Server::start(&cli);
    let [(parent, parents), (_, childs), _] = family(&cli, &server);
    let operator = over(&cli, &server, "operator.key");
    let said = operator.run(&["incident", &parent, "--since", "0s", "--revoke", "--yes", "--json"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(said.lines()[0]["revoked_now"], serde_json::json!([parent]));
    assert!(!cli.passes(&parents) && cli.passes(&childs));
}

#[test]
fn verify_over_a_server_says_why_not() {
    let cli = Cli::new();
    let server = Server::start(&cli);
    let said = over(&cli, &server, "operator.key").run(&["verify"]);
    assert_eq!(said.code, 2, "{said:?}");
    assert!(
        said.err.contains("a server says of no text whether it is a key"),
        "{said:?}"
    );
}

#[test]
fn key_of_a_server_with_a_typing_error_is_refused() {
    let cli = Cli::new();
    let server = Server::start(&cli);
    fs::write(cli.path("wrong.key"), "key_live_nothing").unwrap();
    let said = over(&cli, &server, "wrong.key").run(&["list"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(
        said.err.starts_with("api-keys: ") && said.err.lines().count() == 1,
        "{said:?}"
    );
}

/// Whose a leaked key is, its finder does not know.
#[test]
fn operator_sees_all_organizations_over_a_server() {
    let cli = Cli::new();
    let (id, key) = cli.key("nightly", &[]);
    let lookup = cli.json(["show", &id])[0]["secrets"][0]["lookup"].clone();
    let lookup = lookup.as_str().unwrap();
    let server = Server::start(&cli);
    let operator = over(&cli, &server, "operator.key");
    for arguments in [
        &["list", "--name", "nightly", "--json"][..],
        &["list", "--org", "all", "--json"],
        &["stats", "--json"],
        &["show", lookup, "--json"],
    ] {
        let (there, here) = (operator.run(arguments), cli.run(arguments));
        assert!(there.code == 0 && !there.lines().is_empty(), "{arguments:?} {there:?}");
        // Its own key is in use.
        let without_uses = |lines: Vec<serde_json::Value>| -> Vec<String> {
            lines
                .iter()
                .map(|line| line["id"].to_string() + &line["total"].to_string())
                .collect()
        };
        assert_eq!(without_uses(there.lines()), without_uses(here.lines()), "{arguments:?}");
    }
    let said = operator.run(&["create", "another", "--out", "another.key"]);
    assert!(said.code == 2 && said.err.contains("say whose key it is"), "{said:?}");
    let said = operator.run(&["incident", lookup, "--json"]);
    assert_eq!(said.code, 0, "{said:?}");
    let said = operator.run(&["revoke", lookup, "--yes"]);
    assert!(said.code == 0 && !cli.passes(&key), "{said:?}");
}

#[test]
fn key_of_one_organization_sees_its_own_over_a_server() {
    let cli = Cli::new();
    cli.key("admin", &["--scope", "api-keys.keys:read,api-keys.keys:write"]);
    let server = Server::start(&cli);
    let admin = over(&cli, &server, "admin.key");
    let listed = admin.run(&["list", "--json"]);
    let own = cli.json(["list", "--org", "default"]);
    assert_eq!(listed.lines().len(), own.len(), "{listed:?}");
    assert_eq!(admin.run(&["list", "--org", "all"]).code, 1);
    let said = admin.run(&["create", "another", "--out", "another.key"]);
    assert_eq!(said.code, 0, "{said:?}");
}

#[test]
fn path_that_was_left_out_is_said() {
    let cli = Cli::new();
    let server = Server::start(&cli);
    let mut over = over(&cli, &server, "operator.key");
    over.url = format!("http://{}", server.address);
    let said = over.run(&["list"]);
    assert!(said.code == 3 && said.err.contains("with the path"), "{said:?}");
}
