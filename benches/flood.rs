//! The cost of a flood of wrong keys for clients with good keys: `cargo bench -- flood`.
//!
//! An axum server runs in a process of its own; the clients run in this one. Good clients come from 127.0.0.1 with cached keys.
//! Attackers come from other loopback addresses. They send wrong secrets for existing lookups that are not cached, so each
//! costs a read and an Argon2id hash of 64 MiB, at ten to twenty times the rate at which the pool can hash. Half of them close
//! the connection right after sending. During the flood, new good keys are used for the first time.
//!
//! Server, hashes and clients share two processors, so good clients alone are not the baseline. The baseline has the same
//! attackers, with the same connections at the same rate, but they send malformed keys. The difference is the cost of reading,
//! queueing and hashing. Phases with and without a flood take turns.
//!
//! Good clients send at two paces. *Saturated*, they send the next request after each answer; their throughput and p99 have
//! bounds. *Steady*, they send at a fixed rate that leaves the processors mostly idle, so workers hash without rests. That p99
//! is only printed: about one request in a hundred waits some milliseconds until the scheduler takes a processor from a hash,
//! so the ratio changes from run to run.
//!
//! All of this runs without the failure budget and with it. A third run, without bounds, has attackers with more addresses than
//! the queue has places. Before that come other parts, each with a name:
//!
//! - `networks`: attackers with whole networks (a /48 or a /24 each, and a new address for every request), and a start in the
//!   middle of such a flood.
//! - `keyed`: the same, and forged keys, on a service whose checksums are keyed.
//! - `cold`: a start at which all clients come at once.
//! - `issuing`: keys that are issued while good clients use all processors.
//! - `addresses`: the above.

mod attack;
pub mod client;
mod cold;
mod good;
mod issuing;
mod keyed;
mod networks;
mod newcomer;
mod outcome;
mod phase;
mod rows;
mod run;
mod schedule;
mod server;

use std::process::ExitCode;

use tower_api_key::hash::Argon2Params;

use self::good::Pace;
use self::rows::Rows;
use self::run::{Parties, Run, STEADY};
use crate::support::process::server_arguments;
use crate::support::{Bounds, is_wanted};

const ADDRESSES: u8 = 8;
const MANY_ADDRESSES: u8 = 64;
/// Workers of the default pool.
const WORKERS: u32 = 1;

pub fn main() -> ExitCode {
    if let Some(arguments) = server_arguments() {
        crate::support::subscribe();
        server::run(&arguments);
        return ExitCode::SUCCESS;
    }
    let rows = rows::make(false);
    let mut bounds = Bounds::default();
    if is_wanted("networks") {
        println!("wrong keys from whole networks, budget off:");
        networks::run(&rows, &mut bounds);
    }
    if is_wanted("keyed") {
        println!("wrong keys where checksums are keyed:");
        keyed::run(&mut bounds);
    }
    if is_wanted("issuing") {
        println!("keys issued beside saturating clients:");
        issuing::run(&rows, &mut bounds);
    }
    if is_wanted("cold") {
        println!("all clients at once after a start:");
        cold::run(&mut bounds);
    }
    if is_wanted("addresses") {
        addresses(&rows, &mut bounds);
    }
    bounds.exit_code()
}

fn addresses(rows: &Rows, bounds: &mut Bounds) {
    for (budget, has_budget) in [("budget off", false), ("budget on", true)] {
        bounded(rows, budget, has_budget, bounds);
    }
    println!("budget off, wrong keys from {MANY_ADDRESSES} addresses, without bounds:");
    let mut run = Run::start(rows, false, MANY_ADDRESSES);
    run.take_turns(Pace::Saturating, 2).print("saturated");
    run.take_turns(STEADY, 1).print("steady");
}

fn bounded(rows: &Rows, budget: &str, has_budget: bool, bounds: &mut Bounds) {
    println!("{budget}, wrong keys from {ADDRESSES} addresses:");
    let mut run = Run::start(rows, has_budget, ADDRESSES);
    let before = run.growth();
    let saturated = run.take_turns(Pace::Saturating, 5);
    saturated.print("saturated");
    let steady = run.take_turns(STEADY, 3);
    steady.print("steady");
    println!("  memory had grown by {before:.1} MiB before the flood");
    saturated.check_throughput(budget, bounds);
    saturated.check_p99(budget, bounds);
    saturated.check_newcomers(&format!("{budget}, saturated"), bounds);
    steady.check_newcomers(&format!("{budget}, steady"), bounds);
    let bound = f64::from(WORKERS * Argon2Params::DEFAULT.memory_kib() / 1024 + 16);
    bounds.check(
        &format!("growth of peak memory in MiB, {budget}"),
        run.growth(),
        ..=bound,
    );
}
