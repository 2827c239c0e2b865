//! The page `docs/command-line.md`: its examples run as they stand, and it has every command.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::{Cli, said};

fn page() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/command-line.md")).unwrap()
}

/// All in one folder and in their order. A line that ends with `# exit code 1` ends so; all others with 0.
#[test]
fn examples_of_the_page_run() {
    let page = page();
    let cli = Cli::empty();
    let program = Path::new(env!("CARGO_BIN_EXE_api-keys")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let (mut is_example, mut run) = (false, 0);
    for line in page.lines() {
        match line {
            "```sh" => is_example = true,
            "```" => is_example = false,
            command if is_example && !command.is_empty() => {
                let code = match command.rsplit_once("# exit code ") {
                    Some((_, code)) => code.parse().unwrap(),
                    None => 0,
                };
                let mut shell = Command::new("bash");
                shell
                    .args(["-o", "pipefail", "-c", command])
                    .env("PATH", &path)
                    .env_remove("DATABASE_URL")
                    .current_dir(cli.path(""))
                    .stdin(Stdio::null())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped());
                let said = said(shell, "");
                assert_eq!(said.code, code, "{command}: {said:?}");
                run += 1;
            }
            _ => {}
        }
    }
    assert!(run > 40, "{run}");
}

#[test]
fn page_has_every_command() {
    let cli = Cli::empty();
    let page = page();
    let help = cli.ok(["--help"]);
    let commands = help
        .split("Commands:")
        .nth(1)
        .unwrap()
        .split("Options:")
        .next()
        .unwrap();
    let mut names = Vec::new();
    for line in commands.lines() {
        let is_name = line.starts_with("  ") && !line.starts_with("   ");
        if let Some(name) = line.split_whitespace().next().filter(|_| is_name) {
            names.push(name);
        }
    }
    assert!(names.len() > 25, "{names:?}");
    for name in names.into_iter().filter(|name| *name != "help") {
        assert!(page.contains(&format!("api-keys {name}")), "{name}");
    }
}
