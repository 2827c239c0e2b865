//! What a flood of wrong keys costs the good ones: `cargo bench -- flood`.
//!
//! An axum server runs in a process of its own; the clients run here. Good clients, from 127.0.0.1, have keys that are
//! known. Attackers, from other loopback addresses, send wrong secrets for existing lookups that nobody has used yet, so
//! that each costs a read and an Argon2id hash of 64 MiB, at ten or twenty times the rate that those can be computed at;
//! half of them close as soon as they have sent. New good keys are used for the first time in the middle of it.
//!
//! Two processors have to do for the server, its hashes and the clients. So the good clients alone are no baseline: that
//! has the same attackers, who make the same connections at the same rate and send keys that are malformed. What is left
//! is what reading, queueing and hashing cost. Phases with and without a flood take turns.
//!
//! Good clients ask in two ways. As fast as they are answered: what is kept of their throughput then, and their p99, are
//! gates. And at a fixed rate that leaves the processors mostly free, where workers hash without a pause: that p99 is
//! printed only, because about one request in a hundred waits for the scheduler to take a processor from a hash, some
//! milliseconds, and so the ratio jumps from run to run.
//!
//! All of it once without the failure budget, and once with it. A third run shows, without gates, attackers with more
//! addresses than the queue has places. `--no-gate` only prints.

mod attack;
mod client;
mod good;
mod newcomer;
mod outcome;
mod phase;
mod rows;
mod run;
mod server;

use std::process::ExitCode;

use tower_api_key::hash::Argon2Params;

use self::good::Pace;
use self::rows::Rows;
use self::run::{Parties, Run, STEADY};
use crate::support::Gates;
use crate::support::process::server_arguments;

const ADDRESSES: u8 = 8;
const MANY_ADDRESSES: u8 = 64;
/// Of the default pool.
const WORKERS: u32 = 1;

pub fn main() -> ExitCode {
    if let Some(arguments) = server_arguments() {
        crate::support::subscribe();
        server::run(arguments.iter().any(|argument| argument == "budget"));
        return ExitCode::SUCCESS;
    }
    let rows = rows::make();
    let mut gates = Gates::default();
    for (budget, has_budget) in [("budget off", false), ("budget on", true)] {
        gated(&rows, budget, has_budget, &mut gates);
    }
    println!("budget off, wrong keys from {MANY_ADDRESSES} addresses, no gates:");
    let mut run = Run::start(&rows, false, MANY_ADDRESSES);
    run.take_turns(Pace::Saturating, 2).print("saturated");
    run.take_turns(STEADY, 1).print("steady");
    gates.exit_code()
}

fn gated(rows: &Rows, budget: &str, has_budget: bool, gates: &mut Gates) {
    println!("{budget}, wrong keys from {ADDRESSES} addresses:");
    let mut run = Run::start(rows, has_budget, ADDRESSES);
    let before = run.growth();
    let saturated = run.take_turns(Pace::Saturating, 5);
    saturated.print("saturated");
    let steady = run.take_turns(STEADY, 3);
    steady.print("steady");
    println!("  memory had grown by {before:.1} MiB before the flood");
    saturated.check_throughput(budget, gates);
    saturated.check_p99(budget, gates);
    saturated.check_newcomers(&format!("{budget}, saturated"), gates);
    steady.check_newcomers(&format!("{budget}, steady"), gates);
    let bound = f64::from(WORKERS * Argon2Params::DEFAULT.memory_kib() / 1024 + 16);
    gates.check(
        &format!("growth of peak memory in MiB, {budget}"),
        run.growth(),
        ..=bound,
    );
}
