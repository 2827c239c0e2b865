//! What tests do with files of this machine.

use std::fs::{Permissions, metadata, set_permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// A user that is neither root nor the one who runs the tests.
pub(crate) const SOMEONE: u32 = 54_321;

pub(crate) fn set_mode(path: &Path, mode: u32) {
    set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// A pipe that nobody writes into: opening it would never end.
pub(crate) fn make_pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// Whether files can be given to others. A test that needs it does nothing otherwise, and says so.
pub(crate) fn is_root() -> bool {
    let is_root = metadata("/proc/self")
        .or_else(|_| tempfile::tempfile().unwrap().metadata())
        .unwrap()
        .uid()
        == 0;
    if !is_root {
        eprintln!("NOT RUN: only root can give files to others");
    }
    is_root
}

pub(crate) fn give_to(path: &Path, user: u32) {
    chown(path, Some(user), None).unwrap();
}

/// Runs this test in a process of [`SOMEONE`], with the environment variable `name`, and asserts that it passes there. Only for root.
pub(crate) fn run_as_someone(test: &str, name: &str, value: &Path) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(name, value)
        .current_dir("/")
        .uid(SOMEONE)
        .gid(SOMEONE)
        .output();
    let output = match output {
        Ok(output) => output,
        // The build may lie in root's home.
        Err(error) => {
            eprintln!("NOT RUN: another user cannot run the tests: {error}");
            return;
        }
    };
    let said = format!(
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}
