//! Monotonic and wall time, from the system or from a test.

use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;
#[cfg(any(test, feature = "testing"))]
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

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
    base: Arc<Mutex<Option<WallBase>>>,
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

#[derive(Clone, Copy)]
struct WallBase {
    wall: Timestamp,
    read_at: Monotonic,
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
            base: Arc::default(),
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

    /// The date and time, which never runs slower than the monotonic clock: it is the later one of the system's wall clock
    /// and an earlier answer plus the time that has passed since. Setting the system's clock back revives no expired key.
    pub fn wall(&self) -> Timestamp {
        let read_at = self.now();
        let raw = match &self.source {
            ClockSource::System => Timestamp::now(),
            #[cfg(any(test, feature = "testing"))]
            ClockSource::Manual(time) => Timestamp::from_millis(time.wall.load(Ordering::SeqCst)),
        };
        let mut base = unpoisoned(self.base.lock());
        let wall = match *base {
            Some(base) => raw.max(base.wall.after(read_at.since(base.read_at))),
            None => raw,
        };
        // The base stays until the system's clock has caught up: otherwise rounding to milliseconds would add up.
        if base.is_none_or(|_| wall == raw) {
            *base = Some(WallBase { wall, read_at });
        }
        wall
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
