//! The time that a phase takes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The time for all to connect, and for a flood to fill the queue. Nothing counts before its end.
const LEAD: Duration = Duration::from_millis(700);
pub const COUNTED: Duration = Duration::from_millis(1_800);

/// The time that counts, and whether the phase is over.
pub struct Schedule {
    from: Instant,
    to: Instant,
    is_over: AtomicBool,
}

impl Schedule {
    pub fn new() -> Self {
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

    /// Blocks until the time that counts is over, and ends the phase.
    pub fn end(&self) {
        std::thread::sleep(self.to.saturating_duration_since(Instant::now()));
        self.is_over.store(true, Ordering::Relaxed);
    }
}
