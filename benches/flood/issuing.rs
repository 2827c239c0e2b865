//! Keys that are issued and rotated while good clients use all processors.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::good::{self, Pace};
use super::phase::{block_on, percentile};
use super::rows::Rows;
use super::run::Run;
use super::schedule::Schedule;
use crate::support::Bounds;

const KEYS: usize = 40;

pub fn run(rows: &Rows, bounds: &mut Bounds) {
    let mut run = Run::start(rows, true, 1);
    let schedule = Arc::new(Schedule::new());
    let (port, known) = (run.parties.port, run.parties.known.clone());
    let times = thread::scope(|scope| {
        scope.spawn(|| block_on(good::run(port, &known, Pace::Saturating, schedule.clone())));
        // A key that is not issued ends the server.
        let times: Vec<[u64; 2]> = (0..KEYS).map(|_| run.server.ask("issue")).collect();
        schedule.end();
        times
    });
    for (name, index) in [("issue", 0), ("rotate", 1)] {
        let times: Vec<Duration> = times.iter().map(|times| Duration::from_nanos(times[index])).collect();
        let (median, slowest) = (percentile(times.clone(), 50), percentile(times, 99));
        println!("  {name}: {KEYS} of {KEYS} within {median:.2?} (median), {slowest:.2?} (slowest)");
        let what = format!("seconds of the slowest {name} beside saturating clients");
        bounds.check(&what, slowest.as_secs_f64(), ..=1.0);
    }
}
