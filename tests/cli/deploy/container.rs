//! `Containerfile`: its program is built as the file says, and runs in a root folder with nothing else.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::server::Server;
use crate::support::{Cli, said};

fn container() -> String {
    std::fs::read_to_string(super::file("Containerfile")).unwrap()
}

/// What follows an instruction, for each time that it is there.
fn instructions(name: &str) -> Vec<String> {
    let lines = container();
    let found = lines
        .lines()
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    found.map(str::to_owned).collect()
}

fn build_command() -> String {
    let runs = instructions("RUN");
    let found = runs.iter().find(|run| run.contains("cargo build"));
    found.unwrap().clone()
}

/// Fills a folder with what the file copies, and nothing else.
fn copy_to(folder: &Path) {
    for copy in instructions("COPY").iter().filter(|copy| !copy.starts_with("--from")) {
        let (names, to) = copy.rsplit_once(' ').unwrap();
        assert!(names == to || to == "./", "{copy}");
        for name in names.split(' ') {
            let status = Command::new("cp")
                .arg("-rp")
                .arg(super::root().join(name))
                .arg(folder)
                .status();
            assert!(status.unwrap().success(), "{name}");
        }
    }
}

#[test]
fn image_has_the_program_alone_and_a_user_without_rights() {
    let text = container();
    let (_, image) = text.rsplit_once("FROM scratch\n").unwrap();
    assert!(image.contains("USER 65532:65532\n"), "{image}");
    assert!(
        !image.contains("RUN ") && !image.contains("ARG ") && !image.contains("ENV "),
        "{image}"
    );
    let copies: Vec<&str> = image.lines().filter(|line| line.starts_with("COPY")).collect();
    assert_eq!(copies.len(), 3, "{copies:?}");
    assert!(
        copies[0].contains("target/x86_64-unknown-linux-gnu/release/api-keys"),
        "{copies:?}"
    );
}

/// That what cargo asks for is copied, and that it knows the features, the target and the lock file of the command. Building it takes
/// minutes: `API_KEYS_TESTS=full`.
#[test]
fn build_command_fits_the_files() {
    let (command, folder) = (build_command(), tempfile::tempdir().unwrap());
    copy_to(folder.path());
    assert!(
        command.starts_with("RUSTFLAGS=\"-C target-feature=+crt-static\" cargo build --release --locked "),
        "{command}"
    );
    for needed in ["Cargo.lock", "src", "docs", "examples", "benches", "tests"] {
        assert!(folder.path().join(needed).exists(), "{needed}");
    }
    let (_, options) = command.split_once("cargo build --release ").unwrap();
    let (options, program) = options.split_once(" --bin ").unwrap();
    assert_eq!(program, "api-keys");
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--quiet", "--edges", "normal", "--depth", "1", "--offline"])
        .args(options.split(' '))
        .current_dir(folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&tree.stderr);
    assert!(tree.status.success(), "{said}");
    let tree = String::from_utf8_lossy(&tree.stdout);
    assert!(
        tree.contains("clap v") && tree.contains("opentelemetry-otlp v"),
        "{tree}"
    );
}

#[test]
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn program_of_the_image_runs_in_an_empty_root() {
    if std::env::var("API_KEYS_TESTS").as_deref() != Ok("full") {
        println!("built with API_KEYS_TESTS=full alone: it takes minutes");
        return;
    }
    let program = build();
    assert_eq!(interpreter(&program), None, "it is linked dynamically");
    let cli = Cli::empty();
    for folder in ["data", "dev"] {
        std::fs::create_dir(cli.path(folder)).unwrap();
    }
    for device in ["null", "random", "urandom"] {
        std::fs::File::create(cli.path("dev").join(device)).unwrap();
    }
    std::fs::copy(&program, cli.path("api-keys")).unwrap();
    let run = |arguments: &[&str]| in_root(&cli, arguments);
    let made = said(run(&["init", "--seed", "--out", "operator.key"]), "");
    assert_eq!(made.code, 0, "{made:?}");
    let server = Server::of(run(&["serve", "--listen", "127.0.0.1:0"]));
    let key = std::fs::read_to_string(cli.path("data/operator.key")).unwrap();
    assert_eq!(server.ask("/api/v1/auth/keys", key.trim()), 200);
    assert_eq!(server.ask("/readyz", ""), 200);
    assert_eq!(server.stop().code, Some(0));
}

/// The command of the file, in a folder with what it copies. The next run finds what this one has built.
fn build() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("static");
    let folder = target.with_file_name("static-source");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    copy_to(&folder);
    let status = Command::new("sh")
        .args(["-c", &build_command()])
        .current_dir(&folder)
        .env("CARGO_TARGET_DIR", &target)
        .env_remove("RUSTFLAGS")
        .status();
    assert!(status.unwrap().success());
    target.join("x86_64-unknown-linux-gnu/release/api-keys")
}

/// A command in the folder as its root, where the devices are that every runtime of containers makes: a program that is linked
/// statically reads random bytes from them. As any user, in a namespace of its own.
fn in_root(cli: &Cli, arguments: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    command
        .args(["--map-root-user", "--mount", "sh", "-c", ENTER])
        .arg(cli.path(""))
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// The folder is the first argument.
const ENTER: &str = r#"for device in null random urandom; do mount --bind "/dev/$device" "$0/dev/$device" || exit; done
exec unshare --root="$0" --wd=/data /api-keys "$@""#;

/// The dynamic linker that a program asks for (`PT_INTERP`). A static one has none.
fn interpreter(program: &Path) -> Option<String> {
    let bytes = std::fs::read(program).unwrap();
    let number = |at: usize, length: usize| {
        let digits = bytes[at..at + length].iter().rev();
        digits.fold(0, |number: usize, byte| number << 8 | usize::from(*byte))
    };
    assert_eq!(bytes[..5], *b"\x7fELF\x02", "64 bits");
    let (headers, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    assert!(count > 0);
    let mut headers = (0..count).map(|index| headers + index * size);
    let found = headers.find(|header| number(*header, 4) == 3)?;
    let (start, length) = (number(found + 8, 8), number(found + 32, 8));
    Some(String::from_utf8_lossy(&bytes[start..start + length]).into_owned())
}

/// That the check can fail: the program of these tests asks for one.
#[test]
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn program_of_the_tests_has_an_interpreter() {
    let found = interpreter(Path::new(env!("CARGO_BIN_EXE_api-keys")));
    assert!(found.is_some_and(|path| path.contains("ld-linux")));
}
