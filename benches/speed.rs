//! The cost of the crate, in ratios: `cargo bench --features sqlite`.
//!
//! The first word names a bench, the next ones its parts, if it has any: `cargo bench -- request warm cold`. Without a word all
//! benches run, each in a process of its own. With `--print-only` a bound that does not hold is no failure.
#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    unreachable_pub,
    reason = "a bench prints, and stops at the first error"
)]

mod flood;
mod hash;
mod limit;
mod load;
#[cfg(all(feature = "cli", feature = "sqlite"))]
mod manage;
mod request;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod store;
mod support;
mod timing;

use std::process::{Command, ExitCode};

use self::support::arguments::{is_bench, words};

type Bench = (&'static str, fn() -> ExitCode);

const BENCHES: &[Bench] = &[
    ("request", request::main),
    ("hash", hash::main),
    ("limit", limit::main),
    ("load", load::main),
    ("flood", flood::main),
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    ("store", store::main),
    #[cfg(all(feature = "cli", feature = "sqlite"))]
    ("manage", manage::main),
    ("timing", timing::main),
];
/// A program of its own, because its allocator counts.
const ELSEWHERE: &str = "memory";

fn main() -> ExitCode {
    if !is_bench() {
        return ExitCode::SUCCESS;
    }
    let Some(word) = words().next() else { return all() };
    match BENCHES.iter().find(|(name, _)| *name == word) {
        Some((_, main)) => main(),
        None if word == ELSEWHERE => ExitCode::SUCCESS,
        None => {
            let names: Vec<&str> = BENCHES.iter().map(|(name, _)| *name).collect();
            println!(
                "no bench `{word}`; the benches are {} and {ELSEWHERE}",
                names.join(", ")
            );
            ExitCode::FAILURE
        }
    }
}

/// Runs each bench in a process of its own, so that they do not affect each other. A failure does not stop the others.
fn all() -> ExitCode {
    let program = std::env::current_exe().expect("the path of this program");
    let mut code = ExitCode::SUCCESS;
    for (name, _) in BENCHES {
        println!("\n# {name}");
        let run = Command::new(&program).arg(name).args(std::env::args().skip(1)).status();
        if !run.expect("the bench starts").success() {
            code = ExitCode::FAILURE;
        }
    }
    code
}
