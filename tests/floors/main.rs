//! The architecture, as a test: every module leans only on floors below its own.
//!
//! The floors and the reasons for them are in `docs/design.md`. A module that is missing in [`STEPS`] is reported too:
//! whoever adds one decides where it stands. Code under `#[cfg(test)]` may look anywhere.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A file that cannot be read has to end this test.

mod paths;
mod source;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::paths::{heads, local_paths};
use crate::source::{Source, Word};

/// The house from the ground up: floor, and modules that do not see each other. A module may name those of earlier
/// steps. The ground floor has several steps, because its parts are built of each other.
const STEPS: &[(u8, &[&str])] = &[
    (0, &["error", "sha256", "sync"]),
    (0, &["key"]),
    (0, &["clock", "client"]),
    (0, &["fence"]),
    (1, &["hash", "limit", "audit", "usage"]),
    (2, &["store"]),
    (3, &["issue", "check", "cluster"]),
    (4, &["middleware"]),
    (5, &["session", "manage"]),
];
/// The map and the test kit show what all floors have.
const EXEMPT: &[&str] = &["lib", "testing"];
/// From this floor up, a request is an HTTP request.
const HTTP_FROM: u8 = 4;
const HTTP: &[&str] = &[
    "http",
    "http_body",
    "http_body_util",
    "hyper",
    "hyper_util",
    "tonic",
    "tower_http",
];
const SQL: &[&str] = &[
    "rusqlite",
    "libsqlite3_sys",
    "sqlx",
    "tokio_postgres",
    "postgres",
    "deadpool_postgres",
];
const MOST_LINES: usize = 400;

/// One file of `src/`; its path is relative to that folder, with `/` between.
struct File {
    path: String,
    text: String,
}

/// Everything that is wrong with these files, a line each.
fn problems(files: &[File]) -> Vec<String> {
    let sources: Vec<Source> = files.iter().map(|file| Source::new(&file.text)).collect();
    let test_modules: BTreeSet<Vec<String>> = files
        .iter()
        .zip(&sources)
        .flat_map(|(file, source)| source.test_modules.iter().map(|name| join(module(&file.path), name)))
        .collect();
    let mut problems = Vec::new();
    for (file, source) in files.iter().zip(&sources) {
        let mut report = |line: usize, problem: String| problems.push(format!("src/{}:{line}: {problem}", file.path));
        left_over_marks(source, &mut report);
        let module = module(&file.path);
        if (1..=module.len()).any(|length| test_modules.contains(&module[..length])) {
            continue;
        }
        size_and_name(source, &module, &mut report);
        let name = module.first().map_or("lib", String::as_str);
        if !EXEMPT.contains(&name) {
            match step(name) {
                Some(step) => {
                    looks_up_or_sideways(source, &module, step, &mut report);
                    foreign_crates(source, &module, STEPS[step].0, &mut report);
                }
                None => report(
                    1,
                    format!("`{name}` is on no floor: give it a place in tests/floors/main.rs"),
                ),
            }
        }
        if module == ["fence", "protocol"] {
            more_than_a_model_checker_can_replace(source, &module, &mut report);
        }
    }
    problems
}

fn looks_up_or_sideways(source: &Source, module: &[String], step: usize, report: &mut impl FnMut(usize, String)) {
    for path in local_paths(&source.words, module) {
        let shown = format!("crate::{}", path.names.join("::"));
        match path.names.first() {
            Some(target) if *target == module[0] => {}
            Some(target) => match self::step(target) {
                Some(below) if below < step => {}
                Some(other) => report(
                    path.line,
                    format!(
                        "`{}` (floor {}) looks up or sideways at `{shown}` (floor {})",
                        module[0], STEPS[step].0, STEPS[other].0
                    ),
                ),
                // Through the root's re-exports anything can be reached, from anywhere.
                None => report(path.line, format!("`{shown}` does not say by its module whom it means")),
            },
            None => report(path.line, "another name for the root hides where paths lead".to_owned()),
        }
    }
}

fn foreign_crates(source: &Source, module: &[String], floor: u8, report: &mut impl FnMut(usize, String)) {
    let is_extractor = module.len() > 1 && module[0] == "middleware" && module[1].starts_with("extract");
    let is_store = module[0] == "store";
    for (name, line) in heads(&source.words) {
        if floor < HTTP_FROM && HTTP.contains(&name) {
            report(
                line,
                format!("`{name}` below the middleware: a check must be callable for any protocol"),
            );
        }
        if name == "axum" && floor <= HTTP_FROM {
            report(
                line,
                "`axum`: only axum-core is a dependency of the library, in middleware/extract".to_owned(),
            );
        }
        if name == "axum_core" && floor <= HTTP_FROM && !is_extractor {
            report(line, "`axum_core` outside middleware/extract".to_owned());
        }
        if SQL.contains(&name) && !is_store {
            report(line, format!("`{name}` outside store/"));
        }
    }
    for literal in source.literals.iter().filter(|literal| !is_store && is_sql(literal)) {
        report(literal.line, "SQL outside store/".to_owned());
    }
}

/// Told by how it starts, so that a message that holds the word "select" is not SQL.
fn is_sql(literal: &Word) -> bool {
    let text = literal
        .text
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .to_lowercase()
        + " ";
    let starts = |starts: &[&str]| starts.iter().any(|start| text.starts_with(start));
    starts(&[
        "insert into ",
        "insert or ",
        "delete from ",
        "create table ",
        "create index ",
        "create unique index ",
        "create trigger ",
        "create view ",
        "alter table ",
        "drop table ",
        "pragma ",
        "begin immediate ",
    ]) || starts(&["select "]) && text.contains(" from ")
        || starts(&["update "]) && text.contains(" set ")
}

fn more_than_a_model_checker_can_replace(source: &Source, module: &[String], report: &mut impl FnMut(usize, String)) {
    for path in local_paths(&source.words, module) {
        if path.names.first().is_none_or(|name| name != "sync") && !path.names.starts_with(module) {
            report(
                path.line,
                format!("`crate::{}`: only `crate::sync` is named here", path.names.join("::")),
            );
        }
    }
    for pair in source.words.windows(3) {
        if matches!(pair[0].text.as_str(), "std" | "core") && pair[1].text == "::" && pair[2].text == "sync" {
            report(
                pair[0].line,
                "atomics and locks come from `crate::sync` here, or a model does not see them".to_owned(),
            );
        }
    }
    for (name, line) in heads(&source.words).filter(|(name, _)| matches!(*name, "tokio" | "loom" | "parking_lot")) {
        report(line, format!("`{name}`: only `crate::sync` is named here"));
    }
}

fn size_and_name(source: &Source, module: &[String], report: &mut impl FnMut(usize, String)) {
    if source.lines > MOST_LINES {
        report(
            1,
            format!(
                "{} lines without tests: split it by idea, at most {MOST_LINES}",
                source.lines
            ),
        );
    }
    let declared = source
        .words
        .windows(2)
        .find(|pair| pair[0].text == "mod" && pair[1].text == "http");
    if let Some(pair) = declared {
        report(pair[0].line, "a module called `http` is taken for the crate".to_owned());
    } else if module.iter().any(|name| name == "http") {
        report(1, "a module called `http` is taken for the crate".to_owned());
    }
}

fn left_over_marks(source: &Source, report: &mut impl FnMut(usize, String)) {
    for pair in source.all_words.windows(2) {
        if matches!(pair[0].text.as_str(), "todo" | "unimplemented" | "dbg") && pair[1].text == "!" {
            report(pair[0].line, format!("`{}!` left over", pair[0].text));
        }
    }
}

fn step(module: &str) -> Option<usize> {
    STEPS.iter().position(|(_, modules)| modules.contains(&module))
}

/// `store/sqlite/read.rs` is the module `store::sqlite::read`; `store/mod.rs` is `store`; `lib.rs` is the root.
fn module(path: &str) -> Vec<String> {
    let mut names: Vec<String> = path.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if names.last().is_some_and(|name| name == "mod") || names == ["lib"] {
        names.pop();
    }
    names
}

fn join(mut module: Vec<String>, name: &str) -> Vec<String> {
    module.push(name.to_owned());
    module
}

fn files_under(folder: &Path, prefix: &str, files: &mut Vec<File>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            files_under(&entry.path(), &format!("{path}/"), files);
        } else if path.ends_with(".rs") {
            let text = fs::read_to_string(entry.path()).unwrap();
            files.push(File { path, text });
        }
    }
}

#[test]
fn every_module_leans_on_lower_floors_only() {
    let mut files = Vec::new();
    files_under(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "", &mut files);
    for module in ["lib.rs", "key/mod.rs", "fence/protocol.rs", "middleware/mod.rs"] {
        assert!(
            files.iter().any(|file| file.path == module),
            "src/{module} was not read"
        );
    }
    let problems = problems(&files);
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// The scanner itself: made-up files, and what must be said of them.
mod scanner {
    use super::*;

    fn of(path: &str, text: &str) -> Vec<String> {
        let file = File {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        problems(&[file])
    }

    #[track_caller]
    fn reports(path: &str, text: &str, words: &str) {
        let problems = of(path, text);
        assert!(
            problems.len() == 1 && problems[0].contains(words),
            "{path}: {text}\nexpected one problem with {words:?}, got {problems:#?}"
        );
    }

    #[track_caller]
    fn accepts(path: &str, text: &str) {
        assert_eq!(of(path, text), Vec::<String>::new(), "{path}: {text}");
    }

    #[test]
    fn sees_a_module_that_looks_up() {
        reports(
            "limit/mod.rs",
            "use crate::store::KeyStore;",
            "src/limit/mod.rs:1: `limit` (floor 1)",
        );
        reports(
            "key/record.rs",
            "\n\nfn f() -> crate::hash::Pool {}",
            "src/key/record.rs:3:",
        );
        reports(
            "hash/pool.rs",
            "use crate::{key::SecretHash, check::{Authenticator as A}};",
            "crate::check::Authenticator",
        );
        reports(
            "store/mod.rs",
            "use crate::{\n    error::ConfigError,\n    check::Authenticator,\n};",
            "rs:3:",
        );
        reports("clock.rs", "use crate::fence::Fence;", "looks up");
    }

    #[test]
    fn sees_a_module_that_looks_sideways() {
        reports("check/mod.rs", "use crate::issue::Issuer;", "sideways");
        reports("issue/mod.rs", "type T = crate::check::Authenticator;", "sideways");
        reports("limit/local.rs", "use crate::audit::{self};", "`crate::audit`");
    }

    #[test]
    fn follows_super_and_self_to_where_they_lead() {
        reports(
            "limit/local.rs",
            "use super::super::store::KeyStore;",
            "crate::store::KeyStore",
        );
        reports(
            "limit/local.rs",
            "use self::super::super::store::KeyStore;",
            "crate::store::KeyStore",
        );
        reports("limit/mod.rs", "use super::store::{self};", "crate::store");
        reports(
            "limit/local.rs",
            "use super::{Charge, super::store::KeyStore};",
            "crate::store::KeyStore",
        );
        accepts(
            "limit/local.rs",
            "use super::{Charge, Take}; use self::charge::Charge; use super::store::X;",
        );
    }

    #[test]
    fn sees_ways_around_module_names() {
        reports(
            "limit/mod.rs",
            "use crate::Authenticator;",
            "does not say by its module",
        );
        reports("limit/mod.rs", "use crate::*;", "does not say by its module");
        reports("limit/mod.rs", "use super::*;", "does not say by its module");
        reports("limit/mod.rs", "use crate as house;", "another name for the root");
        reports(
            "limit/mod.rs",
            "use crate::{self as house};",
            "another name for the root",
        );
        reports(
            "limit/mod.rs",
            "macro_rules! m { () => { $crate::store::find() } }",
            "crate::store",
        );
    }

    #[test]
    fn accepts_what_leans_downwards() {
        accepts(
            "check/mod.rs",
            "use crate::{store::KeyStore, limit::{Charge, Take}, sync::AtomicU64};",
        );
        accepts(
            "middleware/service.rs",
            "use crate::check::Authenticator; pub(crate) fn f(self: &Self) {}",
        );
        accepts("fence/mod.rs", "use crate::key::KeyId; use self::protocol::Protocol;");
        accepts("lib.rs", "pub use self::clock::Clock; pub use crate::store::KeyStore;");
        accepts("testing.rs", "pub use crate::check::AuthContext;");
    }

    #[test]
    fn sees_a_module_without_a_floor() {
        reports("helpers/mod.rs", "", "on no floor");
    }

    #[test]
    fn comments_literals_and_tests_are_not_code() {
        accepts(
            "key/a.rs",
            "//! See crate::check::Authenticator.\n/* crate::check /* nested */ crate::store */",
        );
        accepts(
            "key/a.rs",
            r##"const A: &str = "crate::check \" x"; const B: &str = r#"crate::check " x"#;"##,
        );
        accepts(
            "key/a.rs",
            "const A: char = '\"'; const B: char = '\\''; fn f<'a>(x: &'a str) {} // \" '",
        );
        accepts(
            "key/a.rs",
            "#[cfg(test)]\nmod tests {\n    use crate::store::MemoryStore;\n}\n",
        );
        accepts(
            "key/a.rs",
            "#[cfg(test)]\n#[allow(dead_code)]\nuse crate::store::{MemoryStore};\n",
        );
    }

    #[test]
    fn code_beside_comments_literals_and_tests_is_seen() {
        reports("key/a.rs", "/* x */ use crate::store::S; /* y */", "crate::store");
        reports(
            "key/a.rs",
            "const A: &[u8] = br#\"x\"#; use crate::store::S;",
            "crate::store",
        );
        reports(
            "key/a.rs",
            "const A: char = '\"'; use crate::store::S; const B: char = '\"';",
            "crate::store",
        );
        reports(
            "key/a.rs",
            "fn f<'a>(x: &'a str) { let y: &'a crate::store::S; }",
            "crate::store",
        );
        reports(
            "key/a.rs",
            "#[cfg(test)]\nuse crate::hash::Pool;\n\nuse crate::store::S;",
            "a.rs:4:",
        );
        reports(
            "key/a.rs",
            "#[cfg(test)]\nmod tests { fn f() {} }\n\nfn f() { crate::store::g() }",
            "a.rs:4:",
        );
        reports("key/a.rs", "#[cfg(not(test))]\nuse crate::store::S;", "a.rs:2:");
    }

    #[test]
    fn a_module_declared_for_tests_is_test_code_and_its_namesake_elsewhere_is_not() {
        let file = |path: &str, text: &str| File {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        let files = [
            file("key/mod.rs", "#[cfg(test)]\nmod samples;\nmod format;"),
            file("key/samples.rs", "use crate::store::MemoryStore;"),
            file("key/format/samples.rs", "use crate::hash::Pool;"),
        ];
        let problems = problems(&files);
        assert_eq!(problems.len(), 1, "{problems:#?}");
        assert!(problems[0].starts_with("src/key/format/samples.rs:1:"), "{problems:#?}");
    }

    #[test]
    fn sees_http_below_the_middleware_and_axum_outside_the_extractor() {
        reports("check/mod.rs", "use http::HeaderMap;", "`http` below");
        reports("check/mod.rs", "use http;", "`http` below");
        reports("check/mod.rs", "use ::http::HeaderMap;", "`http` below");
        reports("limit/mod.rs", "fn f(request: &http::Request<()>) {}", "`http` below");
        reports(
            "middleware/extract.rs",
            "use axum::extract::FromRequestParts;",
            "`axum`",
        );
        reports(
            "middleware/layer.rs",
            "use axum_core::response::Response;",
            "outside middleware/extract",
        );
        accepts(
            "middleware/extract.rs",
            "use axum_core::extract::FromRequestParts; use http::request::Parts;",
        );
        accepts(
            "middleware/extract/option.rs",
            "use axum_core::extract::OptionalFromRequestParts;",
        );
        accepts(
            "check/mod.rs",
            "struct A { http: bool } fn f(a: A) { let http = a.http; g::http::h() }",
        );
    }

    #[test]
    fn sees_sql_outside_the_stores() {
        reports("issue/mod.rs", "use rusqlite::Connection;", "outside store/");
        reports(
            "check/mod.rs",
            "const Q: &str = \"SELECT id\n  FROM keys\";",
            "SQL outside",
        );
        reports(
            "usage/mod.rs",
            "const Q: &str = r\"update keys set name = ?1\";",
            "SQL outside",
        );
        accepts(
            "store/sqlite/read.rs",
            "use rusqlite::Connection; const Q: &str = \"SELECT 1 FROM keys\";",
        );
        accepts("check/mod.rs", "const M: &str = \"select a format, or set one\";");
        accepts(
            "check/mod.rs",
            "#[cfg(test)]\nmod tests { const Q: &str = \"DELETE FROM keys\"; }",
        );
    }

    #[test]
    fn sees_a_module_called_http() {
        reports("middleware/http.rs", "", "a module called `http`");
        reports("middleware/http/mod.rs", "", "a module called `http`");
        reports("middleware/mod.rs", "mod http { }", "a module called `http`");
    }

    #[test]
    fn sees_a_file_that_is_too_long_apart_from_its_tests() {
        let longest = "const A: u8 = 1;\n".repeat(MOST_LINES);
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "fn f() {}\n".repeat(500));
        accepts("key/a.rs", &longest);
        accepts("key/a.rs", &(longest.clone() + &tests));
        reports("key/a.rs", &(longest + "const B: u8 = 1;\n" + &tests), "401 lines");
    }

    #[test]
    fn sees_left_over_marks_even_in_tests() {
        reports("key/a.rs", "fn f() { todo!() }", "`todo!`");
        reports("lib.rs", "fn f() { unimplemented!(\"x\") }", "`unimplemented!`");
        reports("key/a.rs", "#[cfg(test)]\nmod tests { fn f() { dbg!(1); } }", "`dbg!`");
        accepts("key/a.rs", "fn todo() { let dbg = 1; }");
    }

    #[test]
    fn sees_what_a_model_checker_could_not_replace_in_the_protocol() {
        accepts(
            "fence/protocol.rs",
            "use crate::sync::{AtomicU64, Mutex}; use std::collections::HashMap;",
        );
        reports("fence/protocol.rs", "use crate::key::KeyId;", "only `crate::sync`");
        reports("fence/protocol.rs", "use super::Fence;", "only `crate::sync`");
        reports(
            "fence/protocol.rs",
            "use std::sync::atomic::AtomicU64;",
            "or a model does not see them",
        );
        reports("fence/protocol.rs", "use tokio::sync::Notify;", "`tokio`");
        accepts(
            "fence/mod.rs",
            "use crate::key::KeyId; use tokio::sync::Notify; use std::sync::Arc;",
        );
    }
}
