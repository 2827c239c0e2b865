//! The programs in `tests/ui` must not compile, and the compiler says why.
//!
//! A target of its own: trybuild builds the crate once more, and nothing else has to wait for that.
#![allow(clippy::unwrap_used)]

use std::env;
use std::process::Command;

/// The compiler is the guard: a context cannot be made, and a refusal or a new key cannot be overlooked. That these do not
/// compile is a doctest of the crate, for every compiler; here it is why.
#[test]
fn what_must_not_compile() {
    // What it says is compared word by word, and its words change from version to version.
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
