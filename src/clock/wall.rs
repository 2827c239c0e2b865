//! Wall time that goes on with the monotonic clock, and what becomes of steps of the system's clock.

use std::time::Duration;

use super::Monotonic;
use crate::key::Timestamp;

/// A deviation from the monotonic clock up to this is no step: rounding, or a time server that nudges.
const TOLERANCE: Duration = Duration::from_secs(1);
/// How long a step back to a time that the clock was never on has to hold before it counts.
const HOLD: Duration = Duration::from_secs(10);
const BETWEEN_WARNINGS: Duration = Duration::from_secs(60);
const MOST_EARLIER: usize = 4;
const MOST_SPANS: usize = 16;

/// What the clock has shown so far, as far as it matters for what it may show next.
#[derive(Default)]
pub(super) struct WallTime {
    current: Option<Run>,
    /// The timelines that steps forward have left, oldest first: a step back to one of them undoes the step.
    earlier: Vec<Timeline>,
    /// A step back that has not held for long enough yet.
    pending: Option<Timeline>,
    /// Spans that the clock has run through, each without its start, on timelines it has left.
    passed: Vec<(Timestamp, Timestamp)>,
    warned_at: Option<Monotonic>,
}

/// What the clock shows, and what has to be logged about it.
pub(super) struct Reading {
    pub(super) wall: Timestamp,
    /// By how much the clock was found set back, unless that is known.
    pub(super) set_back: Option<Duration>,
}

/// The timeline that counts, and the time at which the clock came onto it.
#[derive(Clone, Copy)]
struct Run {
    timeline: Timeline,
    since: Timestamp,
}

/// A reading, from which time is counted on by the monotonic clock.
#[derive(Clone, Copy)]
struct Timeline {
    wall: Timestamp,
    read_at: Monotonic,
}

impl WallTime {
    /// Takes a reading of both clocks into account.
    pub(super) fn read(&mut self, shown: Timestamp, now: Monotonic) -> Reading {
        let reading = Timeline {
            wall: shown,
            read_at: now,
        };
        let Some(run) = &mut self.current else {
            self.start(reading);
            return Reading::of(shown);
        };
        let expected = run.timeline.at(now);
        if near(shown, expected) {
            self.pending = None;
            // The base stays until the system's clock has caught up: otherwise rounding to milliseconds would add up.
            if shown < expected {
                return Reading::of(expected);
            }
            run.timeline = reading;
            return Reading::of(shown);
        }
        if shown > expected {
            let left = run.timeline;
            self.earlier.push(left);
            if self.earlier.len() > MOST_EARLIER {
                self.earlier.remove(0);
            }
            self.leave(expected);
            self.start(reading);
            return Reading::of(shown);
        }
        let undoes_a_step = self.earlier.iter().any(|earlier| near(shown, earlier.at(now)));
        let pending = self.pending.filter(|pending| near(shown, pending.at(now)));
        let set_back = match pending {
            Some(_) => None,
            None => self.warning(expected.since(shown), now),
        };
        let has_held = pending.is_some_and(|pending| now.since(pending.read_at) >= HOLD);
        if undoes_a_step || has_held {
            self.earlier
                .retain(|earlier| earlier.at(now) < shown && !near(shown, earlier.at(now)));
            self.leave(expected);
            self.start(reading);
            return Reading { wall: shown, set_back };
        }
        self.pending = pending.or(Some(reading));
        Reading {
            wall: expected,
            set_back,
        }
    }

    /// Whether the clock has run past this time, on whichever timeline.
    pub(super) fn has_run_past(&self, time: Timestamp) -> bool {
        self.passed.iter().any(|(from, to)| *from < time && time <= *to)
    }

    fn start(&mut self, reading: Timeline) {
        self.pending = None;
        self.current = Some(Run {
            timeline: reading,
            since: reading.wall,
        });
    }

    /// Leaves the timeline at this time. When the step was made is not known, so it is taken for having been made now.
    fn leave(&mut self, at: Timestamp) {
        let Some(run) = self.current else { return };
        self.passed.push((run.since, at));
        self.passed.sort_unstable();
        let mut merged: Vec<(Timestamp, Timestamp)> = Vec::with_capacity(self.passed.len());
        for (from, to) in self.passed.drain(..) {
            match merged.last_mut() {
                Some(last) if from <= last.1 => last.1 = last.1.max(to),
                _ => merged.push((from, to)),
            }
        }
        // Too many steps: what lies between two spans counts as passed too, which denies and never admits.
        while merged.len() > MOST_SPANS {
            let gap = |index: &usize| match (merged.get(*index), merged.get(index + 1)) {
                (Some(one), Some(next)) => next.0.since(one.1),
                _ => Duration::MAX,
            };
            let nearest = (0..merged.len()).min_by_key(gap).unwrap_or_default();
            if nearest + 1 >= merged.len() {
                break;
            }
            let (_, to) = merged.remove(nearest + 1);
            if let Some(span) = merged.get_mut(nearest) {
                span.1 = span.1.max(to);
            }
        }
        self.passed = merged;
    }

    fn warning(&mut self, step: Duration, now: Monotonic) -> Option<Duration> {
        if self.warned_at.is_some_and(|at| now.since(at) < BETWEEN_WARNINGS) {
            return None;
        }
        self.warned_at = Some(now);
        Some(step)
    }
}

impl Reading {
    fn of(wall: Timestamp) -> Self {
        Self { wall, set_back: None }
    }
}

impl Timeline {
    /// What a clock on this timeline shows.
    fn at(&self, now: Monotonic) -> Timestamp {
        self.wall.after(now.since(self.read_at))
    }
}

fn near(one: Timestamp, other: Timestamp) -> bool {
    one.since(other).max(other.since(one)) <= TOLERANCE
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: i64 = 3_600_000;

    /// A system whose two clocks are moved by hand. Times are in milliseconds.
    struct System {
        wall_time: WallTime,
        shown: i64,
        monotonic: u64,
        warnings: usize,
    }

    impl System {
        fn new() -> Self {
            let mut system = Self {
                wall_time: WallTime::default(),
                shown: 100 * HOUR,
                monotonic: 1_000,
                warnings: 0,
            };
            system.read();
            system
        }

        fn read(&mut self) -> i64 {
            let now = Monotonic::from_nanos(self.monotonic * 1_000_000);
            let reading = self.wall_time.read(Timestamp::from_millis(self.shown), now);
            self.warnings += usize::from(reading.set_back.is_some());
            reading.wall.as_millis()
        }

        fn pass(&mut self, millis: i64) -> i64 {
            self.shown += millis;
            self.monotonic += millis as u64;
            self.read()
        }

        fn step(&mut self, millis: i64) -> i64 {
            self.shown += millis;
            self.read()
        }

        fn is_over(&mut self, time: i64) -> bool {
            time <= self.read() || self.wall_time.has_run_past(Timestamp::from_millis(time))
        }
    }

    #[test]
    fn undone_step_forward_counts_at_once() {
        for step in [2_000, HOUR, 2 * 365 * 24 * HOUR] {
            let mut system = System::new();
            let soon = system.shown + HOUR / 2;
            assert_eq!(system.step(step), 100 * HOUR + step);
            assert_eq!(system.is_over(soon), step > HOUR / 2);
            system.pass(2_000);
            assert_eq!(system.step(-step), 100 * HOUR + 2_000);
            assert!(!system.is_over(soon));
            assert_eq!(system.warnings, 1);
            // Time that has passed is over for good, even in those two seconds.
            assert!(system.is_over(100 * HOUR + step + 1_500));
            assert!(!system.is_over(100 * HOUR + step + 2_500));
        }
    }

    #[test]
    fn corrected_start_counts_after_it_has_held() {
        let mut system = System::new();
        let (soon, passed) = (system.shown - HOUR, system.shown + 1_000);
        system.pass(60_000);
        assert_eq!(system.step(-2 * HOUR), 100 * HOUR + 60_000, "not yet");
        assert_eq!(system.pass(9_999), 100 * HOUR + 69_999);
        assert!(system.is_over(soon));
        assert_eq!(system.pass(1), 98 * HOUR + 70_000);
        assert!(!system.is_over(soon));
        assert!(system.is_over(passed), "the clock has run past it");
        assert_eq!(system.warnings, 1);
        system.pass(HOUR - 70_000);
        assert!(system.is_over(soon));
    }

    #[test]
    fn short_step_back_never_counts() {
        let mut system = System::new();
        system.step(-HOUR);
        system.pass(2_000);
        assert_eq!(system.step(HOUR), 100 * HOUR + 2_000);
        // Another one does not inherit how long the first one held.
        system.pass(HOUR);
        assert_eq!(system.step(-HOUR), 101 * HOUR + 2_000);
        assert_eq!(system.pass(1_000), 101 * HOUR + 3_000);
    }

    #[test]
    fn time_that_was_run_past_stays_over() {
        let mut system = System::new();
        system.pass(3 * HOUR);
        for _ in 0..3 {
            system.step(-24 * HOUR);
            system.pass(60_000);
            for reached in [100 * HOUR + 1, 102 * HOUR, 103 * HOUR] {
                assert!(system.is_over(reached));
            }
        }
        assert!(!system.is_over(104 * HOUR));
    }

    #[test]
    fn nudges_are_followed_without_going_back() {
        let mut system = System::new();
        let mut last = system.read();
        for nudge in [-900, 300, -1, 700, -400, 1_000] {
            let wall = system.step(nudge);
            assert!(wall >= last, "{nudge}");
            last = wall;
        }
        assert_eq!(system.warnings, 0);
        assert_eq!(system.pass(10_000), system.shown.max(last + 10_000));
    }

    #[test]
    fn warnings_are_one_a_minute() {
        let mut system = System::new();
        for _ in 0..10 {
            system.step(5_000);
            system.step(-5_000);
            system.pass(1_000);
        }
        assert_eq!(system.warnings, 1);
        system.pass(60_000);
        system.step(5_000);
        system.step(-5_000);
        assert_eq!(system.warnings, 2);
    }

    proptest! {
        /// Whatever is done to the clock: what was over after it had passed is over.
        #[test]
        fn no_step_revives_what_was_run_past(
            steps in prop::collection::vec((0..20_000i64, prop_oneof![Just(0), -HOUR..HOUR, -3_000..3_000i64]), 1..40),
        ) {
            let mut system = System::new();
            let mut reached = Vec::new();
            for (time, step) in steps {
                let before = system.read();
                let after = system.pass(time);
                if time > 0 && after == before + time {
                    reached.push(after);
                }
                system.step(step);
                for time in &reached {
                    prop_assert!(system.is_over(*time), "{time}");
                }
                prop_assert!(system.wall_time.passed.len() <= MOST_SPANS);
                prop_assert!(system.wall_time.earlier.len() <= MOST_EARLIER);
            }
        }
    }
}
