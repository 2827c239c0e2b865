//! Keeps wrong keys from taking processors away from requests.

use std::thread::available_parallelism;
use std::time::Duration;

use super::own_work::Served;
use crate::clock::Monotonic;

/// The process is busy when everything but hashing and refusing requests uses this part of all processors.
const BUSY: f64 = 0.2;
/// The part of all processors that wrong keys may use then.
const SHARE: f64 = 1.0 / 20.0;
/// Seconds of processor time that wrong keys may use in advance: a few of them at once are not delayed.
const CREDIT: f64 = 0.1;
/// The longest rest: a new client does not wait longer, however much wrong keys have used.
const LONGEST_REST: Duration = Duration::from_millis(500);
/// The time in seconds over which the load is averaged.
const AVERAGED: f64 = 0.25;

/// Makes workers rest after wrong keys while the process is busy. Right keys are never delayed: after a restart, a busy
/// service has to hash the first key of each of its clients.
///
/// A low priority alone is not enough. The scheduler puts a thread that wakes up on an idle processor, and a processor
/// that hashes is not idle, however low the priority. So requests queue for the other processors. With two processors, a
/// steady flood of wrong keys took a quarter of the throughput.
pub(super) struct WrongKeyThrottle {
    processors: f64,
    load: RequestLoad,
    /// Seconds of processor time that wrong keys used beyond their share; negative while they used less.
    debt: f64,
}

/// A moving average of the part of all processors that the process uses for anything but hashing and refusing requests. A
/// flood of wrong keys keeps the processors busy with its refusals: were they counted, the pool would hash next to nothing.
struct RequestLoad {
    average: f64,
    /// Processor time of all hashes so far.
    hashing: Duration,
    last: Option<(Reading, Duration)>,
}

/// The clocks at one point in time.
#[derive(Clone, Copy)]
pub(super) struct Reading {
    pub(super) at: Monotonic,
    /// Processor time of all threads of the process.
    pub(super) process: Duration,
    /// The requests since the last reading.
    pub(super) served: Served,
}

impl WrongKeyThrottle {
    pub(super) fn new() -> Self {
        Self::on(available_parallelism().map_or(1, usize::from))
    }

    fn on(processors: usize) -> Self {
        Self {
            processors: processors as f64,
            load: RequestLoad {
                average: 0.0,
                hashing: Duration::ZERO,
                last: None,
            },
            debt: -CREDIT,
        }
    }

    /// How long a worker has to rest after a hash that used this much processor time.
    pub(super) fn rest_after(&mut self, cpu: Duration, was_wrong: bool, now: Reading) -> Duration {
        let elapsed = self.load.update(cpu, now, self.processors);
        let share = SHARE * self.processors;
        self.debt -= share * elapsed;
        if was_wrong {
            self.debt += cpu.as_secs_f64();
        }
        // What wrong keys used while nothing else needed the processors is soon forgiven.
        self.debt = self.debt.clamp(-CREDIT, CREDIT);
        if !was_wrong || self.load.average < BUSY || self.debt <= 0.0 {
            return Duration::ZERO;
        }
        Duration::from_secs_f64(self.debt / share).min(LONGEST_REST)
    }
}

impl RequestLoad {
    /// Counts a hash, and returns the seconds since the last update.
    fn update(&mut self, hash: Duration, now: Reading, processors: f64) -> f64 {
        self.hashing += hash;
        let Some((last, hashing)) = self.last else {
            self.last = Some((now, self.hashing));
            return 0.0;
        };
        let elapsed = now.at.since(last.at).as_secs_f64();
        // Two readings at the same time say nothing.
        if elapsed > 0.0 {
            self.last = Some((now, self.hashing));
            let process = now.process.saturating_sub(last.process).as_secs_f64();
            // Negative if another worker's hash began before the last update, where it counted as load.
            let others = now.served.own(process - (self.hashing - hashing).as_secs_f64());
            let weight = (elapsed / AVERAGED).min(1.0);
            self.average += (others / (elapsed * processors) - self.average) * weight;
        }
        elapsed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: Duration = Duration::from_millis(30);

    /// Hashes for a minute beside requests that use this many processors, with no pauses but the rests. Returns how many
    /// processors hashing used in the second half.
    fn hashed(processors: usize, workers: usize, requests: f64, was_wrong: bool) -> f64 {
        hashed_beside(processors, workers, requests, was_wrong, Served::default())
    }

    /// With so many requests between two hashes.
    fn hashed_beside(processors: usize, workers: usize, requests: f64, was_wrong: bool, served: Served) -> f64 {
        let mut throttle = WrongKeyThrottle::on(processors);
        let mut ends = vec![HASH; workers];
        let mut process = Duration::ZERO;
        let mut hashed = Duration::ZERO;
        let mut last = Duration::ZERO;
        loop {
            let (worker, now) = (0..workers)
                .map(|worker| (worker, ends[worker]))
                .min_by_key(|w| w.1)
                .unwrap();
            if now > Duration::from_secs(60) {
                return hashed.as_secs_f64() / 30.0;
            }
            process += HASH + (now - last).mul_f64(requests);
            last = now;
            let reading = Reading {
                at: Monotonic::from_nanos(0).after(now),
                process,
                served,
            };
            ends[worker] = now + throttle.rest_after(HASH, was_wrong, reading) + HASH;
            if now > Duration::from_secs(30) {
                hashed += HASH;
            }
        }
    }

    #[test]
    fn busy_process_delays_wrong_keys_to_their_share_only() {
        for (processors, workers) in [(2, 1), (4, 2), (8, 4), (16, 4)] {
            let part = hashed(processors, workers, processors as f64 * 0.6, true);
            let share = SHARE * processors as f64;
            assert!(
                (share * 0.9..share * 1.1).contains(&part),
                "{processors} {workers}: {part}"
            );
            let part = hashed(processors, workers, processors as f64 * 0.6, false);
            assert!(
                part > workers as f64 * 0.99,
                "{processors} {workers}: {part} of right keys"
            );
        }
    }

    /// Keys that are refused, at the rate at which two processors can refuse them.
    #[test]
    fn flood_that_keeps_the_processors_busy_delays_nothing() {
        let flood = Served {
            admitted: 0,
            refused: 300,
        };
        let part = hashed_beside(2, 1, 1.9, true, flood);
        assert!(part > 0.99, "{part}");
        // Beside admitted requests it does.
        let admitted = 300;
        let part = hashed_beside(2, 1, 1.9, true, Served { admitted, ..flood });
        assert!(part < 0.11, "{part}");
    }

    #[test]
    fn idle_processors_delay_nothing() {
        for (processors, workers, requests) in [(2, 1, 0.0), (2, 1, 0.3), (24, 1, 20.0), (64, 3, 48.0)] {
            let part = hashed(processors, workers, requests, true);
            assert!(part > workers as f64 * 0.99, "{processors} {workers}: {part}");
        }
    }

    #[test]
    fn few_wrong_keys_at_once_are_not_delayed() {
        let mut throttle = WrongKeyThrottle::on(2);
        let mut rests = (0..20).map(|number| {
            let at = Monotonic::from_nanos(0).after(HASH * number);
            throttle.rest_after(
                HASH,
                true,
                Reading {
                    at,
                    process: HASH * number * 2,
                    served: Served::default(),
                },
            )
        });
        assert!(rests.by_ref().take(4).all(|rest| rest.is_zero()));
        let mut rests = rests.skip_while(Duration::is_zero).peekable();
        assert!(rests.peek().is_some());
        assert!(rests.all(|rest| !rest.is_zero() && rest <= LONGEST_REST));
    }

    #[test]
    fn clock_at_a_standstill_delays_nothing() {
        let mut throttle = WrongKeyThrottle::on(1);
        let reading = |process| Reading {
            at: Monotonic::from_nanos(7),
            process,
            served: Served::default(),
        };
        for number in 0..100 {
            assert_eq!(
                throttle.rest_after(HASH, true, reading(HASH * number * 9)),
                Duration::ZERO
            );
        }
    }
}
