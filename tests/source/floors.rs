//! The architecture: a module uses modules on lower floors only.
//!
//! `docs/design.md` has the floors and the reasons for them. A module that is missing in [`STEPS`] is reported too, so
//! that its place is decided when it is added. Code under `#[cfg(test)]` may use any module.

mod violations;

use std::collections::BTreeSet;
use std::fs;

use crate::code::Code;
use crate::files::SourceFile;

/// Floors from the lowest up, and groups of modules that must not use each other. A module may use those of earlier lines. A
/// floor whose modules use each other has several lines.
const STEPS: &[(u8, &[&str])] = &[
    (0, &["error", "sync"]),
    (0, &["key"]),
    (0, &["clock", "client"]),
    (0, &["fence"]),
    (
        1,
        &["hash", "limit", "audit", "compact", "telemetry", "owner", "last_use"],
    ),
    (1, &["usage"]),
    (2, &["store"]),
    (2, &["secrets"]),
    (3, &["issue", "check", "cluster"]),
    (4, &["middleware"]),
    (5, &["keys"]),
    (6, &["config"]),
    (6, &["session", "manage", "console"]),
];
/// The crate root and the test kit may use all floors. Programs are crates of their own, which see the public API alone.
const EXEMPT: &[&str] = &["lib", "testing", "bin"];
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
const SQL_STARTS: &[&str] = &[
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
];
const LEFT_OVER: &[&str] = &["todo", "unimplemented", "dbg"];
const MOST_LINES: usize = 400;

/// All violations in these files, one on each line.
fn problems(files: &[SourceFile]) -> Vec<String> {
    let read = |file: &SourceFile| (file.module(), Code::new(&file.text, &file.module()));
    let codes: Vec<(Vec<String>, Code)> = files.iter().map(read).collect();
    let test_modules: BTreeSet<&[String]> = codes
        .iter()
        .flat_map(|(_, code)| code.tests.modules.iter().map(Vec::as_slice))
        .collect();
    let mut problems = Vec::new();
    for (file, (module, code)) in files.iter().zip(&codes) {
        let mut report = |line: usize, problem: String| problems.push(format!("src/{}:{line}: {problem}", file.path));
        for (name, line) in code
            .macros
            .iter()
            .filter(|(name, _)| LEFT_OVER.contains(&name.as_str()))
        {
            report(*line, format!("`{name}!` left over"));
        }
        if (1..=module.len()).any(|length| test_modules.contains(&module[..length])) {
            continue;
        }
        size_and_name(code, module, &mut report);
        let name = module.first().map_or("lib", String::as_str);
        match step(name) {
            _ if EXEMPT.contains(&name) => {}
            Some(step) => {
                looks_up_or_sideways(code, name, step, &mut report);
                foreign_crates(code, module, STEPS[step].0, &mut report);
            }
            None => report(
                1,
                format!("`{name}` is on no floor: give it a place in tests/source/floors.rs"),
            ),
        }
        if module == &["fence", "protocol"] {
            more_than_a_model_checker_can_replace(code, &mut report);
        }
    }
    problems
}

fn looks_up_or_sideways(code: &Code, name: &str, step: usize, report: &mut impl FnMut(usize, String)) {
    for (what, line) in code.paths.iter().filter(|path| path.0[0] == "crate") {
        let (floor, shown) = (STEPS[step].0, what.join("::"));
        match what.get(1).map(|target| (target, self::step(target))) {
            Some((target, _)) if target == name => {}
            Some((_, Some(below))) if below < step => {}
            Some((_, Some(other))) => report(
                *line,
                format!(
                    "`{name}` (floor {floor}) looks up or sideways at `{shown}` (floor {})",
                    STEPS[other].0
                ),
            ),
            // The root's re-exports lead to any module from anywhere.
            Some((_, None)) => report(
                *line,
                format!("`{shown}` does not name the module: `crate::<module>::..`"),
            ),
            None => report(*line, "another name for the root hides where paths lead".to_owned()),
        }
    }
}

fn foreign_crates(code: &Code, module: &[String], floor: u8, report: &mut impl FnMut(usize, String)) {
    let is_extractor = module.len() > 1 && module[0] == "middleware" && module[1].starts_with("extract");
    let is_store = module[0] == "store";
    for (what, line) in &code.paths {
        let name = what[0].as_str();
        if floor < HTTP_FROM && HTTP.contains(&name) {
            report(
                *line,
                format!("`{name}` below the middleware: a check must be callable for any protocol"),
            );
        }
        if name == "axum" && floor <= HTTP_FROM {
            let only = "`axum`: only axum-core is a dependency of the library, in middleware/extract";
            report(*line, only.to_owned());
        }
        if name == "axum_core" && floor <= HTTP_FROM && !is_extractor {
            report(*line, "`axum_core` outside middleware/extract".to_owned());
        }
        if SQL.contains(&name) && !is_store {
            report(*line, format!("`{name}` outside store/"));
        }
    }
    for (_, line) in code.literals.iter().filter(|(text, _)| !is_store && is_sql(text)) {
        report(*line, "SQL outside store/".to_owned());
    }
}

/// Judged by its start, so that a message with the word "select" is not SQL.
fn is_sql(text: &str) -> bool {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase() + " ";
    SQL_STARTS.iter().any(|start| text.starts_with(start))
        || text.starts_with("select ") && text.contains(" from ")
        || text.starts_with("update ") && text.contains(" set ")
}

fn more_than_a_model_checker_can_replace(code: &Code, report: &mut impl FnMut(usize, String)) {
    for (what, line) in &code.paths {
        let names: Vec<&str> = what.iter().map(String::as_str).collect();
        match names[..] {
            ["crate", "sync", ..] | ["crate", "fence", "protocol", ..] => {}
            ["crate" | "tokio" | "loom" | "parking_lot", ..] => {
                report(
                    *line,
                    format!("`{}`: only `crate::sync` is named here", names.join("::")),
                );
            }
            ["std" | "core", "sync", ..] => {
                let hidden = "atomics and locks come from `crate::sync` here, or a model does not see them";
                report(*line, hidden.to_owned());
            }
            _ => {}
        }
    }
}

fn size_and_name(code: &Code, module: &[String], report: &mut impl FnMut(usize, String)) {
    if code.lines > MOST_LINES {
        let lines = code.lines;
        report(
            1,
            format!("{lines} lines without tests: split it by idea, at most {MOST_LINES}"),
        );
    }
    let declared = code.modules.iter().find(|(name, _)| name == "http");
    let own = module.iter().any(|name| name == "http").then_some(1);
    if let Some(line) = declared.map(|(_, line)| *line).or(own) {
        report(line, "a module called `http` is taken for the crate".to_owned());
    }
}

fn step(module: &str) -> Option<usize> {
    STEPS.iter().position(|(_, modules)| modules.contains(&module))
}

#[test]
fn every_module_leans_on_lower_floors_only() {
    let files = SourceFile::all();
    let problems = problems(&files);
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// The table of `docs/design.md` has every module, on its floor.
#[test]
fn design_page_shows_the_same_floors() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/design.md")).unwrap();
    let rows = page.lines().filter_map(|line| {
        let mut cells = line.split('|').skip(1).map(str::trim);
        Some((cells.next()?.parse().ok()?, cells.next()?))
    });
    let names = rows.flat_map(|(floor, names): (u8, &str)| names.split(", ").map(move |name| (name, floor)));
    let shown: BTreeSet<(String, u8)> = names.map(|(name, floor)| (name.replace('`', ""), floor)).collect();
    for (name, floor) in &shown {
        assert_eq!(
            step(name).map(|step| STEPS[step].0),
            Some(*floor),
            "`{name}` in docs/design.md"
        );
    }
    for name in SourceFile::all()
        .iter()
        .filter_map(|file| file.module().into_iter().next())
    {
        let is_shown = shown.iter().any(|(shown, _)| *shown == name);
        assert!(
            is_shown || EXEMPT.contains(&name.as_str()),
            "docs/design.md has no floor for `{name}`"
        );
    }
}
