//! Clients with cached keys.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior, interval_at};

use super::client::{Client, HOME, request};
use super::schedule::Schedule;

/// How often good clients send requests.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// The next request right after each answer: shows the service's throughput and latency under full load.
    Saturating,
    /// One request of each client in this time: shows the latency while the processors are mostly idle.
    Steady(Duration),
}

/// Sends requests over one connection for each key until the phase is over. Returns the latencies of the requests that count.
pub async fn run(port: u16, keys: &[String], pace: Pace, schedule: Arc<Schedule>) -> Vec<Duration> {
    let mut clients = JoinSet::new();
    for (number, key) in (0..).zip(keys) {
        let ticks = match pace {
            Pace::Saturating => None,
            Pace::Steady(each) => Some(ticks(each, each * number / keys.len() as u32)),
        };
        clients.spawn(ask(port, request(key), ticks, schedule.clone()));
    }
    clients.join_all().await.concat()
}

async fn ask(port: u16, request: Vec<u8>, mut ticks: Option<Interval>, schedule: Arc<Schedule>) -> Vec<Duration> {
    let mut client = Client::connect(HOME, port).await.expect("a connection");
    let mut latencies = Vec::new();
    let mut answered = Instant::now();
    while !schedule.is_over() {
        let began = match &mut ticks {
            None => Instant::now(),
            Some(ticks) => {
                let due = ticks.tick().await.into_std();
                // A request that is late because of the previous answer counts from when it was due; one that is late because
                // of the timer does not.
                if answered > due { due } else { Instant::now() }
            }
        };
        let status = client.ask(&request).await.expect("an answer");
        assert!(status == 200, "a known key was answered {status}");
        answered = Instant::now();
        if schedule.counts(began) {
            latencies.push(answered - began);
        }
    }
    latencies
}

fn ticks(each: Duration, after: Duration) -> Interval {
    let mut ticks = interval_at(tokio::time::Instant::now() + after, each);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    ticks
}
