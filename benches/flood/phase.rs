//! A few seconds of good clients, attackers and newcomers together.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::attack::{Answered, Attack};
use super::good::{self, Pace};
use super::schedule::{COUNTED, Schedule};
use super::{Parties, newcomer};

pub struct Phase {
    /// Answers to good clients per second.
    pub per_second: f64,
    pub p99: Duration,
    pub answered: Answered,
    pub newcomers: Vec<Duration>,
}

/// Runs one phase. If it `has_newcomers`, they use their keys, and it ends when the last one is admitted.
pub fn run(parties: &Parties, attack: Attack, pace: Pace, has_newcomers: bool) -> Phase {
    let schedule = Arc::new(Schedule::new());
    let (latencies, answered, newcomers) = thread::scope(|scope| {
        let good = scope.spawn(|| block_on(good::run(parties.port, &parties.known, pace, schedule.clone())));
        let attackers = scope.spawn(|| block_on(parties.attackers.run(attack, schedule.clone())));
        let newcomers = match has_newcomers {
            true => block_on(newcomer::run(parties.port, &parties.new, &schedule)),
            false => Vec::new(),
        };
        schedule.end();
        let good = good.join().expect("good clients");
        (good, attackers.join().expect("attackers"), newcomers)
    });
    Phase {
        per_second: latencies.len() as f64 / COUNTED.as_secs_f64(),
        p99: percentile(latencies, 99),
        answered,
        newcomers,
    }
}

/// Runs a party on a thread of its own, so that parties do not delay each other.
pub fn block_on<F: Future>(party: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(party)
}

pub fn percentile(mut times: Vec<Duration>, percent: usize) -> Duration {
    times.sort_unstable();
    times[times.len() * percent / 100]
}
