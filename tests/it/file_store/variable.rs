//! Keys in an environment variable. Each case is a process of its own, since a test cannot set variables safely.

use std::env;
use std::process::Command;

use tower_api_key::Authenticator;
use tower_api_key::store::{FileStore, StoreErrorKind};

use super::{KEY, all_of, check, json, sha256};

const CHILD: &str = "TOWER_API_KEY_TEST_VARIABLE";

/// What [`child`] says when it reads the variable `name` while `API_KEYS` has this value.
fn read(name: &str, value: Option<&str>) -> String {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "file_store::variable::child", "--nocapture"]);
    command.env(CHILD, name).env_remove("API_KEYS");
    if let Some(value) = value {
        command.env("API_KEYS", value);
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    said
}

#[test]
fn keys_in_a_variable_are_those_of_a_file_in_json() {
    let text = json("nightly", KEY);
    // As editors and secret managers leave it.
    for text in [
        &text,
        &format!("{text}\n"),
        &format!("{text}\r\n"),
        &format!("\u{feff}{text} "),
    ] {
        let said = read("API_KEYS", Some(text));
        assert!(said.contains("admitted nightly"), "{said}");
    }
}

#[test]
fn variable_that_is_unset_empty_or_broken_is_an_error() {
    let secret = sha256(KEY);
    let truncated = &json("nightly", KEY)[..120];
    for (name, value, expected) in [
        ("API_KEYS", None, "variable `API_KEYS` is not set"),
        ("API_KEYS", Some(""), "variable `API_KEYS` is empty"),
        ("API_KEYS", Some(" \n"), "variable `API_KEYS` is empty"),
        ("API_KEYS", Some("{}"), "line 1, column 1: `keys` is missing"),
        ("API_KEYS", Some("'{}'"), "begins with a quotation mark"),
        ("API_KEYS", Some(" \"{}\"\n"), "begins with a quotation mark"),
        (
            "API_KEYS",
            Some(truncated),
            "variable `API_KEYS` cannot be used: line 1, column 120: invalid JSON",
        ),
        ("API_KEYS", Some(KEY), "line 1, column 1: invalid JSON"),
        ("", Some("{}"), "is not a name"),
        ("A=B", Some("{}"), "is not a name"),
        // The value in the name's place.
        (KEY, Some("{}"), "the variable (name not shown) is not set"),
    ] {
        let said = read(name, value);
        assert!(
            said.contains("refused invalid keys in the environment: ") && said.contains(expected),
            "{said}"
        );
        assert!(!said.contains(&secret[7..39]) && !said.contains(&KEY[5..]), "{said}");
    }
}

/// Does nothing by itself.
#[test]
#[allow(clippy::print_stdout)]
fn child() {
    let Ok(name) = env::var(CHILD) else { return };
    let store = match FileStore::from_env(&name) {
        Ok(store) => store,
        Err(error) => return println!("refused {}", all_of(&error)),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let reload = store.reload().await.unwrap_err();
        assert_eq!(reload.kind(), StoreErrorKind::Unsupported);
        let context = check(&Authenticator::new(store), KEY).await.unwrap();
        println!("admitted {}", context.name());
    });
}
