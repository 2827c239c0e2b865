//! Tests that need a process of their own, because what they set is set for a whole process.

use std::env;
use std::process::Command;

const ALONE: &str = "TOWER_API_KEY_TEST_IS_ALONE";

/// Whether this test has the process to itself. If not, it runs here once more in a process that has nothing else to do,
/// and has to pass there; nothing is left to do for the caller then.
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
    // A name that is no test's makes a success of no test at all.
    assert!(output.status.success() && out.contains("1 passed"), "{out}\n{err}");
    false
}
