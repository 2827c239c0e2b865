//! The pages beside the code name what is there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

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

/// The folders and files that the design page sends a reader to, in its figures too.
#[test]
fn design_page_names_files_that_exist() {
    let page = include_str!("../../docs/design.md");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let places = ["", "src", "src/store", "src/store/sqlite"].map(|place| root.join(place));
    let names = page.split(|c: char| c.is_whitespace() || "`(),;".contains(c));
    let paths = names.filter(|name| name.contains('/') && !name.starts_with('/'));
    let mut found = 0;
    for name in paths.filter(|name| name.ends_with(".rs") || name.ends_with('/')) {
        let is_there = places.iter().any(|place| place.join(name).exists());
        assert!(is_there, "docs/design.md names {name}");
        found += 1;
    }
    assert!(found > 100, "{found}");
}

/// The pages for people, by their paths in the repository.
fn pages() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = [root.to_owned(), root.join("docs")];
    let entries = folders.iter().flat_map(|folder| std::fs::read_dir(folder).unwrap());
    let paths = entries.map(|entry| entry.unwrap().path());
    let pages = paths.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    pages
        .map(|path| (path.clone(), std::fs::read_to_string(path).unwrap()))
        .collect()
}

/// What the links of a page lead to, apart from other sites.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let inline = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let named = text
        .lines()
        .filter(|line| line.starts_with('['))
        .filter_map(|line| Some(line.split_once("]: ")?.1));
    let targets = inline.chain(named);
    targets.filter(|target| !target.starts_with("http") && !target.contains(' '))
}

/// As sites that show repositories name headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let named = headings.map(|line| {
        let name = line.trim_start_matches('#').trim().to_lowercase();
        let kept = name.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    });
    named.collect()
}

#[test]
fn links_of_pages_lead_somewhere() {
    let mut followed = 0;
    for (page, text) in pages() {
        for link in links(&text) {
            let (path, anchor) = link
                .split_once('#')
                .map_or((link, None), |(path, anchor)| (path, Some(anchor)));
            let target = match path {
                "" => page.clone(),
                path => page.parent().unwrap().join(path),
            };
            assert!(target.exists(), "{}: {link}", page.display());
            if let Some(anchor) = anchor {
                let found = anchors(&std::fs::read_to_string(&target).unwrap());
                assert!(found.contains(anchor), "{}: {link}", page.display());
            }
            followed += 1;
        }
    }
    assert!(followed > 30, "{followed}");
}

#[test]
fn readme_leads_to_each_page() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let linked: BTreeSet<PathBuf> = links(&readme).map(|link| root.join(link)).collect();
    for (page, _) in pages() {
        assert!(
            page.ends_with("README.md") || linked.contains(&page),
            "{}",
            page.display()
        );
    }
}

/// Without it, small answers wait for an acknowledgement that clients delay by 40 ms.
#[test]
fn examples_that_listen_set_tcp_nodelay() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
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
