//! What a flood of wrong keys costs the good ones: `cargo bench --bench flood`.
//!
//! An axum server runs in a process of its own; the clients run here. Good clients, from 127.0.0.1, have keys that are
//! known. Attackers, from other loopback addresses, send wrong secrets for existing lookups that nobody has used yet, so
//! that each costs a read and an Argon2id hash of 64 MiB, at ten or twenty times the rate that those can be computed at;
//! half of them close as soon as they have sent. New good keys are used for the first time in the middle of it.
//!
//! Two processors have to do for the server, its hashes and the clients. So the good clients alone are no baseline: that
//! has the same attackers, who make the same connections at the same rate and send keys that are malformed. What is left
//! is what reading, queueing and hashing cost. Phases with and without a flood take turns. Latencies are measured twice,
//! with the good clients asking as fast as they are answered, and at a fixed rate that leaves the processors mostly free.
//!
//! All of it once without the failure budget, and once with it. `--no-gate` only prints.
#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    unreachable_pub
)]

#[path = "flood/attack.rs"]
mod attack;
#[path = "flood/client.rs"]
mod client;
#[path = "flood/good.rs"]
mod good;
#[path = "flood/newcomer.rs"]
mod newcomer;
#[path = "flood/phase.rs"]
mod phase;
#[path = "flood/rows.rs"]
mod rows;
#[path = "flood/run.rs"]
mod run;
#[path = "flood/server.rs"]
mod server;
mod support;

use std::process::ExitCode;

use self::run::{Flood, Parties, measure};
use self::support::Gates;
use self::support::process::server_arguments;

fn main() -> ExitCode {
    if !support::is_bench() {
        return ExitCode::SUCCESS;
    }
    if let Some(arguments) = server_arguments() {
        support::subscribe();
        server::run(arguments.iter().any(|argument| argument == "budget"));
        return ExitCode::SUCCESS;
    }
    let rows = rows::make();
    let mut gates = Gates::default();
    for has_budget in [false, true] {
        measure(
            &rows,
            &Flood {
                has_budget,
                addresses: 8,
            },
            &mut gates,
        );
    }
    gates.exit_code()
}
