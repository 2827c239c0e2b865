//! A few seconds of good clients, attackers and newcomers together.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::attack::{Answered, Attack};
use super::good::{self, Pace};
use super::{Parties, newcomer};

/// Until everybody is connected and a flood has filled the queue; nothing counts before.
const LEAD: Duration = Duration::from_millis(300);
const COUNTED: Duration = Duration::from_millis(2_500);

/// When a phase counts, and when it is over.
pub struct Schedule {
    from: Instant,
    to: Instant,
    is_over: AtomicBool,
}

pub struct Phase {
    /// Answers to good clients per second.
    pub per_second: f64,
    pub p99: Duration,
    pub answered: Answered,
    pub newcomers: Vec<Duration>,
}

impl Schedule {
    fn new() -> Self {
        let from = Instant::now() + LEAD;
        Self {
            from,
            to: from + COUNTED,
            is_over: AtomicBool::new(false),
        }
    }

    pub fn counts(&self, time: Instant) -> bool {
        (self.from..self.to).contains(&time)
    }

    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    pub async fn begun(&self) {
        tokio::time::sleep_until(self.from.into()).await;
    }
}

/// Runs one phase. With wrong keys about, newcomers try to get in, and the flood goes on until the last of them is in.
pub fn run(parties: &Parties, attack: Attack, pace: Pace) -> Phase {
    let schedule = Arc::new(Schedule::new());
    let (latencies, answered, newcomers) = thread::scope(|scope| {
        let good = scope.spawn(|| block_on(good::run(parties.port, &parties.known, pace, schedule.clone())));
        let attackers = scope.spawn(|| block_on(parties.attackers.run(attack, schedule.clone())));
        let newcomers = match attack {
            Attack::Malformed => Vec::new(),
            Attack::Wrong => block_on(newcomer::run(parties.port, &parties.new, &schedule)),
        };
        thread::sleep(schedule.to.saturating_duration_since(Instant::now()));
        schedule.is_over.store(true, Ordering::Relaxed);
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

/// Each party has a thread, so that none is late because of another.
fn block_on<F: Future>(party: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(party)
}

fn percentile(mut times: Vec<Duration>, percent: usize) -> Duration {
    times.sort_unstable();
    times[times.len() * percent / 100]
}
