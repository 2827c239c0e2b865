//! How much of the machine hashing may take away from requests.

use std::thread::available_parallelism;
use std::time::Duration;

use crate::clock::Monotonic;

/// Of all processors: from here on the rest of this process is busy.
const BUSY: f64 = 0.2;
/// Of all processors: what hashes of wrong keys take then.
const SHARE: f64 = 1.0 / 20.0;
/// Seconds of processor time that may be taken in advance: a wrong key now and then holds nothing up.
const ADVANCE: f64 = 0.1;
/// Seconds over which it is averaged how busy the process is.
const AVERAGED: f64 = 0.25;
/// However much is owed, a newcomer need not wait longer.
const LONGEST: Duration = Duration::from_millis(500);

/// Holds back workers that hash wrong keys without a pause while requests keep the processors busy. Right keys are hashed
/// as fast as ever: after a start a busy service has to get through all of its clients' first uses.
///
/// A low priority alone does not do that. The scheduler puts a thread that wakes up on a processor that is idle, and one
/// that hashes is not, however low its priority: requests crowd together on the others, and there they wait for each
/// other and not for the hash. With two processors a steady flood of wrong keys took a quarter of the throughput.
pub(super) struct Restraint {
    processors: f64,
    /// The part of all processors that the process uses for anything but hashing.
    busy: f64,
    /// Seconds of processor time that wrong keys took beyond their share; negative as long as they took less.
    owed: f64,
    /// What all hashes together have used of the processors.
    hashing: Duration,
    last: Option<(Reading, Duration)>,
}

/// The clocks at one time.
#[derive(Clone, Copy)]
pub(super) struct Reading {
    pub(super) at: Monotonic,
    /// What all threads of the process have used of the processors.
    pub(super) process: Duration,
}

impl Restraint {
    pub(super) fn new() -> Self {
        Self::on(available_parallelism().map_or(1, usize::from))
    }

    fn on(processors: usize) -> Self {
        Self {
            processors: processors as f64,
            busy: 0.0,
            owed: -ADVANCE,
            hashing: Duration::ZERO,
            last: None,
        }
    }

    /// How long a worker has to rest after a hash that used so much processor time.
    pub(super) fn rest_after(&mut self, hash: Duration, was_wrong: bool, now: Reading) -> Duration {
        self.hashing += hash;
        let share = SHARE * self.processors;
        self.owed -= share * self.look(now);
        if was_wrong {
            self.owed += hash.as_secs_f64();
        }
        // What wrong keys took while nobody else needed it is not owed for ever.
        self.owed = self.owed.clamp(-ADVANCE, ADVANCE);
        if !was_wrong || self.busy < BUSY || self.owed <= 0.0 {
            return Duration::ZERO;
        }
        Duration::from_secs_f64(self.owed / share).min(LONGEST)
    }

    /// Looks how busy the process is, and gives the seconds since the last look. Between two readings of the same time
    /// nothing can be told.
    fn look(&mut self, now: Reading) -> f64 {
        let Some((last, hashing)) = self.last else {
            self.last = Some((now, self.hashing));
            return 0.0;
        };
        let elapsed = now.at.since(last.at).as_secs_f64();
        if elapsed > 0.0 {
            self.last = Some((now, self.hashing));
            let process = now.process.saturating_sub(last.process).as_secs_f64();
            // Less than nothing when another worker's hash began before the last look: that counted as the others' then.
            let others = process - (self.hashing - hashing).as_secs_f64();
            self.busy += (others / (elapsed * self.processors) - self.busy) * (elapsed / AVERAGED).min(1.0);
        }
        elapsed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: Duration = Duration::from_millis(30);

    /// Hashes without a pause but those it is told to make, beside requests that use as many processors, for a minute.
    /// Gives the part of one processor that it hashed, in the last half.
    fn hashed(processors: usize, workers: usize, requests: f64, was_wrong: bool) -> f64 {
        let mut restraint = Restraint::on(processors);
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
            };
            ends[worker] = now + restraint.rest_after(HASH, was_wrong, reading) + HASH;
            if now > Duration::from_secs(30) {
                hashed += HASH;
            }
        }
    }

    #[test]
    fn beside_busy_requests_wrong_keys_keep_to_their_share_and_right_ones_are_not_held_back() {
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

    #[test]
    fn with_processors_to_spare_it_is_not_held_back() {
        for (processors, workers, requests) in [(2, 1, 0.0), (2, 1, 0.3), (24, 1, 20.0), (64, 3, 48.0)] {
            let part = hashed(processors, workers, requests, true);
            assert!(part > workers as f64 * 0.99, "{processors} {workers}: {part}");
        }
    }

    #[test]
    fn some_wrong_keys_at_once_are_not_held_up() {
        let mut restraint = Restraint::on(2);
        let mut rests = (0..20).map(|number| {
            let at = Monotonic::from_nanos(0).after(HASH * number);
            restraint.rest_after(
                HASH,
                true,
                Reading {
                    at,
                    process: HASH * number * 2,
                },
            )
        });
        assert!(rests.by_ref().take(4).all(|rest| rest.is_zero()));
        let mut rests = rests.skip_while(Duration::is_zero).peekable();
        assert!(rests.peek().is_some());
        assert!(rests.all(|rest| !rest.is_zero() && rest <= LONGEST));
    }

    #[test]
    fn a_clock_that_stands_still_holds_nothing_up() {
        let mut restraint = Restraint::on(1);
        let reading = |process| Reading {
            at: Monotonic::from_nanos(7),
            process,
        };
        for number in 0..100 {
            assert_eq!(
                restraint.rest_after(HASH, true, reading(HASH * number * 9)),
                Duration::ZERO
            );
        }
    }
}
