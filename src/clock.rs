//! Monotonic and wall time, from the system or from a test.

mod wall;

use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;
#[cfg(any(test, feature = "testing"))]
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use self::wall::WallTime;
use crate::key::Timestamp;
use crate::sync::unpoisoned;

/// A point in time on a clock that never goes back, in nanoseconds since an arbitrary start.
///
/// On Linux this is `CLOCK_BOOTTIME`, which also counts while the machine sleeps, so that cached answers do not look
/// fresh after a suspend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Monotonic(u64);

impl Monotonic {
    /// The point `nanoseconds` after the clock's start.
    pub const fn from_nanos(nanoseconds: u64) -> Self {
        Self(nanoseconds)
    }

    /// Nanoseconds since the clock's start.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero when it is not after.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The point `duration` later; the latest point there is when that is too late.
    pub const fn after(self, duration: Duration) -> Self {
        let nanoseconds = duration.as_nanos();
        if nanoseconds > u64::MAX as u128 {
            return Self(u64::MAX);
        }
        Self(self.0.saturating_add(nanoseconds as u64))
    }
}

/// A source of time: the system's clocks, or a clock that a test moves (feature `testing`).
///
/// Clones show the same time.
///
/// # When the system's clock is set
///
/// 1. A step forward counts at once.
/// 2. A step back counts at once if it undoes a step forward, and otherwise when it has held for 10 seconds. Until then,
///    wall time goes on with the monotonic clock.
/// 3. What the clock has *run* past is over, whatever it shows later: a step back revives no key whose end was reached. An
///    end that the clock only jumped over was not reached, so the key works again once the clock is right.
/// 4. Each step back is logged once as a warning, at most one a minute.
///
/// ```
/// use tower_api_key::Clock;
///
/// let clock = Clock::system();
/// let (now, wall) = (clock.now(), clock.wall());
/// assert!(clock.now() >= now && clock.wall() >= wall);
/// ```
#[derive(Clone, Default)]
pub struct Clock {
    source: ClockSource,
    /// What wall time is counted on from.
    wall: Arc<Mutex<WallTime>>,
}

#[derive(Clone, Default)]
enum ClockSource {
    #[default]
    System,
    #[cfg(any(test, feature = "testing"))]
    Manual(Arc<ManualTime>),
}

/// Time that a test sets: nanoseconds of the monotonic clock, milliseconds of the wall clock.
#[cfg(any(test, feature = "testing"))]
pub(crate) struct ManualTime {
    pub(crate) monotonic: AtomicU64,
    pub(crate) wall: AtomicI64,
}

impl Clock {
    /// The system's clocks.
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock that shows this time.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn manual(time: Arc<ManualTime>) -> Self {
        Self {
            source: ClockSource::Manual(time),
            wall: Arc::default(),
        }
    }

    /// The monotonic time now.
    pub fn now(&self) -> Monotonic {
        match &self.source {
            ClockSource::System => system_monotonic(),
            #[cfg(any(test, feature = "testing"))]
            ClockSource::Manual(time) => Monotonic(time.monotonic.load(Ordering::SeqCst)),
        }
    }

    /// The date and time, which goes on with the monotonic clock: the system's wall clock may jump, and
    /// [not every step of it counts](Self#when-the-systems-clock-is-set).
    pub fn wall(&self) -> Timestamp {
        self.read(|_, wall, _| wall)
    }

    /// Whether this time is over: the clock shows it or a later one, or has run past it before it was set back.
    pub(crate) fn is_over(&self, time: Timestamp) -> bool {
        self.read(|known, wall, _| time <= wall || known.has_run_past(time))
    }

    /// When this time is reached if the clock is not set before; now if it is over.
    pub(crate) fn deadline(&self, time: Timestamp) -> Monotonic {
        self.read(|known, wall, now| match known.has_run_past(time) {
            true => now,
            false => now.after(time.since(wall)),
        })
    }

    /// What follows from the wall time and the monotonic time of one moment.
    fn read<T>(&self, answer: impl FnOnce(&WallTime, Timestamp, Monotonic) -> T) -> T {
        let mut known = unpoisoned(self.wall.lock());
        // Under the lock: two threads whose readings came in the wrong order would look like a step back.
        let (shown, now) = self.both();
        let reading = known.read(shown, now);
        let answer = answer(&known, reading.wall, now);
        drop(known);
        // Not under the lock: a subscriber may ask for the time.
        if let Some(step) = reading.set_back {
            tracing::warn!(
                seconds = step.as_secs_f64(),
                "the system's clock was set back: keys whose end it has run past stay expired; for others the new time counts \
                 once it has held for 10 s"
            );
        }
        answer
    }

    /// Both clocks at one moment: read again if the thread was interrupted in between, which would look like a step.
    fn both(&self) -> (Timestamp, Monotonic) {
        let mut now = self.now();
        let mut shown = self.shown();
        for _ in 0..3 {
            let after = self.now();
            if after.since(now) < Duration::from_millis(100) {
                break;
            }
            (shown, now) = (self.shown(), after);
        }
        (shown, now)
    }

    fn shown(&self) -> Timestamp {
        match &self.source {
            ClockSource::System => Timestamp::now(),
            #[cfg(any(test, feature = "testing"))]
            ClockSource::Manual(time) => Timestamp::from_millis(time.wall.load(Ordering::SeqCst)),
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = match self.source {
            ClockSource::System => "system",
            #[cfg(any(test, feature = "testing"))]
            ClockSource::Manual(_) => "manual",
        };
        write!(f, "Clock({source})")
    }
}

#[cfg(target_os = "linux")]
fn system_monotonic() -> Monotonic {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Monotonic((time.tv_sec as u64).saturating_mul(1_000_000_000) + time.tv_nsec as u64)
}

#[cfg(not(target_os = "linux"))]
fn system_monotonic() -> Monotonic {
    use std::sync::OnceLock;
    use std::time::Instant;
    static START: OnceLock<Instant> = OnceLock::new();
    let elapsed = START.get_or_init(Instant::now).elapsed();
    Monotonic(1).after(elapsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_clock_moves() {
        let clock = Clock::system();
        let first = clock.now();
        // Coarse clocks stand still for milliseconds.
        let later = (0..100_000_000).map(|_| clock.now()).find(|now| *now != first);
        assert!(later.is_some_and(|later| later > first));
    }
}
