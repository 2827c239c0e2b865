//! Tests that need a process of their own, because they change something for the whole process.

use std::env;
use std::process::Command;

const ALONE: &str = "TOWER_API_KEY_TEST_IS_ALONE";

/// Whether this test is alone in its process. If not, this runs the test in a new process, asserts that it passes there, and
/// returns false: the caller returns then.
pub(crate) fn is_alone(test: &str) -> bool {
    // nextest starts a process for each test.
    let is_nextest = env::var_os("NEXTEST_EXECUTION_MODE").is_some_and(|mode| mode == "process-per-test");
    if is_nextest || env::var_os(ALONE).is_some() {
        return true;
    }
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    // With a wrong name, no test would run, and that would be a success.
    assert!(output.status.success() && out.contains("1 passed"), "{out}\n{err}");
    false
}
