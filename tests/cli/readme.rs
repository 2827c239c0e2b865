//! The lines of README.md run as they stand.

use std::path::Path;

use crate::examples::run;

/// From nothing to a key that a client in Python uses. `cargo run --features cli --` starts the program that is built already.
#[test]
fn command_line_and_clients_of_the_readme() {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let section = readme.split("## A command line and a management API").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    assert_eq!(section.matches("```sh\n").count(), 2);
    assert!(section.contains("```python\n# ask.py"));
    let (cli, said) = run(section, "");
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
