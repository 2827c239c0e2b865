//! Organizations, users and what holds for all of them.

use crate::support::Cli;

#[test]
fn organization_lives_from_create_to_delete() {
    let cli = Cli::new();
    let made = &cli.json(["org", "create", "Acme", "--email", "it@acme.example", "--max-keys", "5"])[0];
    assert_eq!((&made["slug"], &made["max_keys"]), (&"acme".into(), &5.into()));
    assert!(cli.ok(["org", "list", "--name", "Ac"]).contains("acme"));
    cli.ok([
        "org",
        "update",
        "acme",
        "--name",
        "Acme Inc",
        "--limit",
        "requests=100/1m",
    ]);
    cli.ok(["plan", "create", "basic", "--key-limit", "requests=10/1m"]);
    cli.ok(["org", "plan", "acme", "basic"]);
    cli.ok(["org", "policy", "acme", "--longest-life", "30d", "--requires-expiry"]);
    assert_eq!(cli.json(["org", "policy", "acme"])[0]["longest_life"], 30 * 86_400);
    let said = cli.run([
        "create",
        "long",
        "--org",
        "acme",
        "--expires-in",
        "90d",
        "--out",
        "a.key",
    ]);
    assert_ne!(said.code, 0, "{said:?}");
    cli.ok([
        "create",
        "short",
        "--org",
        "acme",
        "--expires-in",
        "9d",
        "--out",
        "b.key",
    ]);
    let key = cli.read("b.key");
    assert!(cli.passes(&key));
    cli.ok(["org", "deactivate", "acme", "--reason", "unpaid"]);
    assert!(!cli.passes(&key));
    cli.ok(["org", "activate", "acme"]);
    assert!(cli.passes(&key));
    assert_eq!(cli.json(["stats", "--org", "acme"])[0]["active"], 1);
    assert_eq!(cli.run(["org", "delete", "acme"]).code, 2);
    cli.ok(["org", "delete", "acme", "--yes"]);
    assert!(!cli.passes(&key));
    assert_eq!(cli.run(["org", "show", "acme"]).code, 1);
    cli.ok(["plan", "update", "basic", "--max-keys", "7"]);
    assert_eq!(cli.json(["plan", "show", "basic"])[0]["max_keys"], 7);
    cli.ok(["plan", "delete", "basic", "--yes"]);
    assert!(!cli.ok(["plan", "list"]).contains("basic"));
    let actions = cli.json(["audit", "list", "--action", "organization.deleted"]);
    assert_eq!(actions.len(), 1);
    assert!(
        cli.ok(["audit", "list", "--since", "1h", "--action", "plan.deleted"])
            .contains("plan.deleted")
    );
}

#[test]
fn part_of_a_policy_that_is_not_named_stays() {
    let cli = Cli::new();
    cli.ok(["org", "policy", "default", "--longest-life", "30d", "--requires-expiry"]);
    cli.ok(["org", "policy", "default", "--grantable", "orders:read"]);
    cli.ok([
        "org",
        "policy",
        "default",
        "--requires-networks",
        "--longest-life",
        "9d",
    ]);
    let policy = &cli.json(["org", "policy", "default"])[0];
    let expected = serde_json::json!({
        "longest_life": 9 * 86_400,
        "default_life": null,
        "requires_expiry": true,
        "requires_networks": true,
        "grantable": ["orders:read"],
    });
    assert_eq!(*policy, expected);
    cli.ok(["org", "policy", "default", "--clear", "--requires-networks"]);
    let policy = &cli.json(["org", "policy", "default"])[0];
    assert_eq!(
        (
            &policy["requires_networks"],
            &policy["requires_expiry"],
            &policy["grantable"]
        ),
        (&true.into(), &false.into(), &serde_json::Value::Null)
    );
}

/// As of a variable in a script that is not set.
#[test]
fn plan_is_taken_away_by_saying_so() {
    let cli = Cli::new();
    cli.ok(["plan", "create", "basic", "--max-keys", "7"]);
    cli.ok(["org", "plan", "default", "basic"]);
    assert_eq!(cli.run(["org", "plan", "default"]).code, 2);
    assert_eq!(cli.run(["org", "plan", "default", ""]).code, 2);
    assert_eq!(cli.run(["org", "plan", "default", "basic", "--none"]).code, 2);
    assert!(cli.json(["org", "show", "default"])[0]["plan_id"].is_string());
    cli.ok(["org", "plan", "default", "--none"]);
    assert!(cli.json(["org", "show", "default"])[0]["plan_id"].is_null());
}

#[test]
fn users_and_their_keys_are_stopped_together() {
    let cli = Cli::new();
    cli.ok(["user", "create", "42", "--org", "default", "--name", "Alice"]);
    let (_, one) = cli.key("one", &["--user", "42"]);
    let (_, two) = cli.key("two", &["--user", "42", "--label", "batch"]);
    cli.ok(["user", "disable", "42", "--org", "default"]);
    assert!(!cli.passes(&one));
    cli.ok(["user", "enable", "42", "--org", "default"]);
    assert!(cli.passes(&one));
    cli.ok([
        "user",
        "update",
        "42",
        "--org",
        "default",
        "--email",
        "alice@example.com",
    ]);
    assert!(
        cli.ok(["user", "list", "--org", "default"])
            .contains("alice@example.com")
    );

    assert_eq!(cli.run(["bulk", "disable", "--user", "42", "--org", "default"]).code, 2);
    assert!(cli.passes(&one));
    let done = &cli.json(["bulk", "disable", "--user", "42", "--org", "default", "--yes"])[0];
    assert_eq!(done["changed"], 2);
    assert!(!cli.passes(&one) && !cli.passes(&two));
    cli.ok(["bulk", "enable", "--user", "42", "--org", "default", "--yes"]);
    cli.ok(["bulk", "revoke", "--label", "batch", "--org", "all", "--yes"]);
    assert!(cli.passes(&one) && !cli.passes(&two));
    let said = cli.run(["bulk", "revoke", "--label", "nobody", "--org", "all", "--yes"]);
    assert_eq!(said.code, 1, "{said:?}");
    let delete = ["user", "delete", "42", "--org", "default", "--yes"];
    assert_eq!(cli.run(delete).code, 1, "a key of the user works");
    cli.ok(["bulk", "revoke", "--user", "42", "--org", "default", "--yes"]);
    cli.ok(delete);
    assert!(!cli.passes(&one));
}

#[test]
fn roles_and_scopes_bound_keys() {
    let cli = Cli::new();
    cli.ok(["scope", "create", "orders:read", "--description", "Reads orders"]);
    cli.ok(["scope", "update", "orders:read", "--description", "Reads all orders"]);
    assert!(cli.ok(["scope", "list"]).contains("Reads all orders"));
    let said = cli.run([
        "create",
        "a",
        "--org",
        "default",
        "--scope",
        "invoices:read",
        "--out",
        "a.key",
    ]);
    assert_ne!(said.code, 0, "{said:?}");
    cli.ok(["role", "create", "reader", "--scope", "orders:read"]);
    let (_, key) = cli.key("reads", &["--role", "reader"]);
    let reads = || cli.with_input(["verify", "--scope", "orders:read"], &key).code;
    assert_eq!(reads(), 0);
    assert!(cli.ok(["role", "list"]).contains("reader"));
    assert_eq!(cli.json(["role", "show", "reader"])[0]["scopes"][0], "orders:read");
    cli.ok(["role", "update", "reader", "--description", "Reads"]);
    cli.ok(["scope", "delete", "orders:read", "--yes"]);
}

/// A pipe gets rows alone.
#[test]
fn empty_list_says_so_on_standard_error_alone() {
    let cli = Cli::empty();
    cli.ok(["init", "--out", "operator.key"]);
    for plan in ["free", "pro", "enterprise"] {
        cli.ok(["plan", "delete", plan, "--yes"]);
    }
    for (arguments, line) in [
        (&["list", "--name", "nothing"][..], "No keys.\n"),
        (&["org", "list", "--name", "nothing"], "No organizations.\n"),
        (&["user", "list", "--org", "operator"], "No users.\n"),
        (&["plan", "list"], "No plans.\n"),
        (&["role", "list"], "No roles.\n"),
        (&["scope", "list"], "No scopes.\n"),
        (&["audit", "list", "--action", "key.revoked"], "No events.\n"),
    ] {
        let said = cli.run(arguments);
        assert_eq!((said.code, &*said.out, &*said.err), (0, "", line), "{arguments:?}");
        let said = cli.run(arguments.iter().chain(&["--json"]));
        assert_eq!((said.code, &*said.out, &*said.err), (0, "", ""), "{arguments:?}");
    }
    let said = cli.run(["list", "--limit", "0"]);
    assert_eq!((said.code, &*said.err), (0, ""), "not asked for: {said:?}");
}
