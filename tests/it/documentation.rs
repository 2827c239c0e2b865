//! The pages beside the code name what is there.

use std::collections::BTreeSet;

/// The names under the headings of `Cargo.toml` that hold dependencies of the library.
fn direct_dependencies() -> BTreeSet<String> {
    let mut is_inside = false;
    let mut names = BTreeSet::new();
    for line in include_str!("../../Cargo.toml").lines() {
        if line.starts_with('[') {
            is_inside = line.ends_with("dependencies]") && !line.contains("dev-");
        } else if is_inside
            && !line.starts_with('#')
            && let Some((name, _)) = line.split_once(" = ")
        {
            names.insert(name.to_owned());
        }
    }
    names
}

#[test]
fn design_page_names_each_direct_dependency_and_no_other() {
    let page = include_str!("../../docs/design.md");
    let (_, table) = page.split_once("## Dependencies").unwrap();
    let (table, _) = table.split_once("**Why").unwrap();
    let mut named = BTreeSet::new();
    for row in table.lines().filter(|line| line.starts_with("| `")) {
        let crates = row.split('|').nth(1).unwrap();
        // The names outside of parentheses, in which the feature stands.
        let crates = crates.split('(').next().unwrap();
        named.extend(crates.split('`').skip(1).step_by(2).map(ToOwned::to_owned));
    }
    assert_eq!(named, direct_dependencies());
}

/// The folders and files that the design page sends a reader to.
#[test]
fn design_page_names_files_that_exist() {
    let page = include_str!("../../docs/design.md");
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for name in page.split('`').skip(1).step_by(2) {
        let is_path = name.contains('/') && !name.contains([' ', '<', '=']) && !name.starts_with(['/', '$']);
        let is_code = name.ends_with(".rs") || name.ends_with('/');
        if is_path && is_code && !name.starts_with("tests/") && !name.starts_with("src/") && !name.starts_with("docs/")
        {
            let inside = source.join(name).exists();
            let below_store =
                source.join("store").join(name).exists() || source.join("store/sqlite").join(name).exists();
            assert!(inside || below_store, "docs/design.md names {name}");
        }
    }
}

/// Without it, small answers wait for an acknowledgement that clients delay by 40 ms.
#[test]
fn examples_that_listen_set_tcp_nodelay() {
    let examples = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut listening = 0;
    for entry in std::fs::read_dir(examples).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            if text.contains("support::listen(") {
                assert!(text.contains("nodelay("), "{}", path.display());
                listening += 1;
            }
        }
    }
    assert!(listening >= 3, "{listening}");
}
