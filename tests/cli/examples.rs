//! The examples of a page, run as a reader would: in their order, in one folder, by one shell.
//!
//! | block | what becomes of it |
//! |---|---|
//! | `sh` | It runs, and every line succeeds. One that ends with `# exit code 1` ends so |
//! | `console` | Lines after `$ ` run, and print what stands below them. `…` stands for any text, and alone for any lines |
//! | others, whose first line is a comment with the name of a file | They are that file |
//!
//! Where a page says 8080, a free port is meant.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use crate::support::{Cli, OBEYED, Said, said};

/// A command and what it should print.
struct Shown {
    command: String,
    expected: Vec<String>,
}

struct Block {
    kind: String,
    lines: Vec<String>,
}

/// Runs the examples. The set-up has parts that begin with `#= ` and a heading of the page: each runs before that section.
#[track_caller]
pub(crate) fn run(page: &str, set_up: &str) -> (Cli, Said) {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let of_port = |text: &str| text.replace("8080", &port.to_string());
    let cli = Cli::empty();
    let mut script = "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n".to_owned();
    let mut shown = Vec::new();
    for block in blocks(&of_port(page), &of_port(set_up)) {
        let name = block.lines.first().and_then(|line| file_name(line));
        match (&*block.kind, name) {
            ("sh", _) => block.lines.iter().for_each(|line| script.push_str(&checked(line))),
            ("console", _) => show(&block, &mut script, &mut shown),
            (_, Some(name)) => std::fs::write(cli.path(name), block.lines.join("\n") + "\n").unwrap(),
            _ => {}
        }
    }
    for program in ["curl", "python3", "node"] {
        let is_there = || Command::new(program).arg("--version").output().is_ok();
        assert!(
            !script.contains(&format!("{program} ")) || is_there(),
            "{program} is missing: scripts/test installs it"
        );
    }
    put_programs(&cli, port);
    let said = said(shell(&cli, &script), "");
    for (number, shown) in shown.iter().enumerate() {
        let printed = std::fs::read_to_string(cli.path(&format!("printed.{number}")));
        let printed = printed.unwrap_or_else(|_| panic!("`{}` did not run: {said:?}", shown.command));
        let printed: Vec<&str> = printed.trim().lines().map(str::trim_end).collect();
        let expected: Vec<&str> = shown.expected.iter().map(String::as_str).collect();
        assert!(
            lines_match(&expected, &printed),
            "$ {}\nthe page has:\n{}\nit prints:\n{}",
            shown.command,
            expected.join("\n"),
            printed.join("\n")
        );
    }
    assert_eq!(said.code, 0, "{said:?}");
    (cli, said)
}

/// The blocks in their order, with those of the set-up before the sections that they name.
fn blocks(page: &str, set_up: &str) -> Vec<Block> {
    let mut parts: Vec<(&str, &str)> = set_up
        .split("\n#= ")
        .skip(1)
        .map(|part| part.split_once('\n').unwrap())
        .collect();
    let mut blocks = Vec::new();
    let mut open: Option<(usize, Block)> = None;
    for line in page.lines() {
        let text = line.trim_start();
        match open.take() {
            Some((_, block)) if text == "```" => blocks.push(block),
            Some((indent, mut block)) => {
                block.lines.push(line.get(indent..).unwrap_or_default().to_owned());
                open = Some((indent, block));
            }
            None => {
                let heading = line.strip_prefix("## ").unwrap_or_default();
                if let Some(index) = parts.iter().position(|(name, _)| *name == heading) {
                    blocks.push(Block::new("sh", parts.remove(index).1.lines()));
                }
                let kind = text.strip_prefix("```");
                open = kind.map(|kind| (line.len() - text.len(), Block::new(kind, [].into_iter())));
            }
        }
    }
    assert!(parts.is_empty(), "the page has no section {:?}", parts[0].0);
    blocks
}

impl Block {
    fn new<'l>(kind: &str, lines: impl Iterator<Item = &'l str>) -> Self {
        Self {
            kind: kind.to_owned(),
            lines: lines.map(str::to_owned).collect(),
        }
    }
}

fn file_name(line: &str) -> Option<&str> {
    let name = line.strip_prefix("# ").or_else(|| line.strip_prefix("// "))?;
    (name.contains('.') && !name.contains(' ')).then_some(name)
}

/// A line of a script, which ends with the code that its comment says.
fn checked(line: &str) -> String {
    match line.rsplit_once("# exit code ") {
        Some((command, code)) => format!("code=0; {command}|| code=$?; [ \"$code\" = {code} ]\n"),
        None => format!("{line}\n"),
    }
}

fn show(block: &Block, script: &mut String, shown: &mut Vec<Shown>) {
    for line in &block.lines {
        match (line.strip_prefix("$ "), shown.last_mut()) {
            (Some(command), _) => {
                script.push_str(&format!("{{ {command}\n}} > printed.{} 2>&1 || true\n", shown.len()));
                shown.push(Shown {
                    command: command.to_owned(),
                    expected: Vec::new(),
                });
            }
            (None, Some(last)) => last.expected.push(line.clone()),
            (None, None) => panic!("no command prints {line:?}"),
        }
    }
}

/// The program as it is called on the pages, serving on the free port unless it is given another one.
fn put_programs(cli: &Cli, port: u16) {
    let program = env!("CARGO_BIN_EXE_api-keys");
    let serving = format!("*--listen*) ;; serve*) set -- \"$@\" --listen 127.0.0.1:{port} ;;");
    let run = format!("case \"$*\" in {serving} esac\nexec {program} \"$@\"\n");
    let cargo = format!("[ \"$1 $2 $3 $4\" = 'run --features cli --' ] || exit 99\nshift 4\n{run}");
    std::fs::create_dir(cli.path(PROGRAMS)).unwrap();
    for (name, text) in [("api-keys", run), ("cargo", cargo)] {
        let path = cli.path(PROGRAMS).join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{text}")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// A shell without anything from the environment of the tests that programs would obey.
fn shell(cli: &Cli, script: &str) -> Command {
    let path = std::env::var("PATH").unwrap();
    let mut shell = Command::new("bash");
    let of_clients = ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "NODE_OPTIONS"];
    for name in OBEYED.into_iter().chain(of_clients) {
        shell.env_remove(name);
    }
    shell
        .args(["-e", "-o", "pipefail", "-c", script])
        .current_dir(cli.path(""))
        .env("PATH", format!("{}:{path}", cli.path(PROGRAMS).display()))
        .env("XDG_CONFIG_HOME", cli.path(PROGRAMS))
        .env("TESTS", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    shell
}

fn lines_match(expected: &[&str], printed: &[&str]) -> bool {
    match (expected.split_first(), printed.split_first()) {
        (None, _) => printed.is_empty(),
        (Some((&"…", rest)), _) => (0..=printed.len()).any(|skipped| lines_match(rest, &printed[skipped..])),
        (Some(_), None) => false,
        (Some((line, expected)), Some((text, printed))) => line_matches(line, text) && lines_match(expected, printed),
    }
}

fn line_matches(expected: &str, text: &str) -> bool {
    let Some((start, rest)) = expected.split_once('…') else {
        return expected == text;
    };
    let Some(mut text) = text.strip_prefix(start) else {
        return false;
    };
    let mut parts: Vec<&str> = rest.split('…').collect();
    let end = parts.pop().unwrap_or_default();
    for part in parts {
        match text.split_once(part) {
            Some((_, after)) => text = after,
            None => return false,
        }
    }
    text.ends_with(end)
}

const PROGRAMS: &str = ".programs";

#[test]
fn what_differs_from_a_page_is_found() {
    let page = |expected: &str| format!("```console\n$ printf 'one\\ntwo 2\\nthree\\n'\n{expected}\n```\n");
    for right in [
        "one\ntwo 2\nthree",
        "one\n…",
        "…",
        "…\ntwo …\n…",
        "one\ntwo 2\nthree\n…",
        "o…e\nt…o…\nth…",
    ] {
        run(&page(right), "");
    }
    for wrong in [
        "one",
        "two 2\n…",
        "one\ntwo\nthree",
        "one\ntwo …x\nthree",
        "one\n…\nfour",
        "one\ntwo 2\nthree\nfour",
    ] {
        assert!(std::panic::catch_unwind(|| run(&page(wrong), "")).is_err(), "{wrong:?}");
    }
    for wrong in [
        "```sh\nfalse\n```\n",
        "```sh\ntrue # exit code 1\n```\n",
        "```sh\nfalse | true\n```\n",
    ] {
        assert!(std::panic::catch_unwind(|| run(wrong, "")).is_err(), "{wrong:?}");
    }
}
