//! No two files of a folder use each other, directly or through others: each can be read and changed without the other.

use std::collections::{BTreeMap, BTreeSet};

use crate::code::Code;
use crate::files::SourceFile;

type Module = Vec<String>;

/// The circles among these files, each as the modules that lead to each other. A module and those inside it are one idea, so
/// what they use of each other does not count.
fn circles(files: &[SourceFile]) -> BTreeSet<Vec<String>> {
    let read = |file: &SourceFile| (file.module(), Code::new(&file.text, &file.module()));
    let codes: BTreeMap<Module, Code> = files.iter().map(read).collect();
    let tests: BTreeSet<&Module> = codes.values().flat_map(|code| &code.tests.modules).collect();
    let is_test = |module: &Module| (1..=module.len()).any(|length| tests.contains(&module[..length].to_vec()));
    let mut uses: BTreeMap<&Module, BTreeSet<Module>> = BTreeMap::new();
    for (module, code) in codes
        .iter()
        .filter(|(module, _)| !module.is_empty() && !is_test(module))
    {
        let paths = code.paths.iter().filter(|(path, _)| path[0] == "crate");
        let targets = paths.filter_map(|(path, _)| target(&codes, &path[1..]));
        let others = targets.filter(|other| !module.starts_with(other) && !other.starts_with(module));
        uses.insert(module, others.collect());
    }
    let all_used_by = |module: &Module| {
        let (mut found, mut next) = (BTreeSet::new(), vec![module]);
        while let Some(module) = next.pop() {
            for used in uses.get(module).into_iter().flatten() {
                if found.insert(used) {
                    next.push(used);
                }
            }
        }
        found
    };
    let reached: BTreeMap<&Module, BTreeSet<&Module>> =
        uses.keys().map(|module| (*module, all_used_by(module))).collect();
    let circle = |module: &&Module| {
        let leads_back = |other: &&&Module| reached.get(**other).is_some_and(|reached| reached.contains(*module));
        reached[*module]
            .iter()
            .filter(leads_back)
            .map(|other| other.join("::"))
            .collect()
    };
    reached
        .keys()
        .map(circle)
        .filter(|circle: &Vec<String>| !circle.is_empty())
        .collect()
}

/// The file that a path of this crate leads to, also through the re-exports on its way.
fn target(codes: &BTreeMap<Module, Code>, path: &[String]) -> Option<Module> {
    let length = (1..=path.len())
        .rev()
        .find(|length| codes.contains_key(&path[..*length]))?;
    let (module, rest) = path.split_at(length);
    let exports =
        |other: &[String]| other.len() > length + 1 && other[1..].starts_with(module) && other.last() == rest.first();
    let paths = codes[module].paths.iter().map(|(path, _)| path);
    let inside = rest
        .first()
        .and_then(|_| paths.into_iter().find(|path| path.len() > length + 2 && exports(path)));
    match inside {
        Some(path) => target(codes, &path[1..]),
        None => Some(module.to_vec()),
    }
}

fn of(files: &[(&str, &str)]) -> BTreeSet<Vec<String>> {
    let files: Vec<SourceFile> = files.iter().map(|(path, text)| SourceFile::new(path, text)).collect();
    circles(&files)
}

#[test]
fn no_two_files_use_each_other() {
    let found = circles(&SourceFile::all());
    assert!(found.is_empty(), "circles: {found:#?}");
}

#[test]
fn sees_circles_directly_and_through_others() {
    let two = [
        ("a/one.rs", "use super::two::Two;"),
        ("a/two.rs", "fn f(_: crate::a::one::One) {}"),
    ];
    assert_eq!(of(&two), [vec!["a::one".to_owned(), "a::two".to_owned()]].into());
    let three = [
        ("a/mod.rs", "mod one; mod two; mod three; pub use self::three::Three;"),
        ("a/one.rs", "use super::two::Two;"),
        ("a/two.rs", "use super::Three;"),
        ("a/three.rs", "use super::one::One;"),
    ];
    assert_eq!(of(&three).len(), 1);
    assert_eq!(of(&three[..3]), BTreeSet::new());
}

#[test]
fn module_and_its_parts_are_no_circle() {
    let parts = [
        ("a.rs", "mod part; use self::part::Part;"),
        ("a/part.rs", "use super::A; #[cfg(test)] use crate::b::B;"),
        ("b.rs", "use crate::a::A;"),
    ];
    assert_eq!(of(&parts), BTreeSet::new());
}
