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

/// Runs one phase. During a flood, newcomers use their keys, and the flood ends when the last one is admitted.
pub fn run(parties: &Parties, attack: Attack, pace: Pace) -> Phase {
    let schedule = Arc::new(Schedule::new());
    let (latencies, answered, newcomers) = thread::scope(|scope| {
        let good = scope.spawn(|| block_on(good::run(parties.port, &parties.known, pace, schedule.clone())));
        let attackers = scope.spawn(|| block_on(parties.attackers.run(attack, schedule.clone())));
        let newcomers = match attack {
            Attack::Malformed => Vec::new(),
            Attack::Wrong => block_on(newcomer::run(parties.port, &parties.new, &schedule)),
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
fn block_on<F: Future>(party: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(party)
}

fn percentile(mut times: Vec<Duration>, percent: usize) -> Duration {
    times.sort_unstable();
    times[times.len() * percent / 100]
}
