//! The programs in `tests/ui` must not compile, with the expected errors.
//!
//! A target of its own, because trybuild builds the crate again and other tests should not wait for that.
#![allow(clippy::unwrap_used)]

use std::env;
use std::process::Command;

/// Users cannot make a context, and cannot ignore a refusal or a new key. Doctests of the crate show for every compiler that these
/// programs do not compile; this test shows the reason.
#[test]
fn what_must_not_compile() {
    // The errors are compared word by word, and their words change from version to version.
    const WORDS_OF: &str = "rustc 1.95.";
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc).arg("--version").output();
    let version = String::from_utf8(version.unwrap().stdout).unwrap();
    if !version.starts_with(WORDS_OF) {
        println!("skipped: tests/ui holds the words of {WORDS_OF}x, and this is {version}");
        return;
    }
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/*.rs");
}
