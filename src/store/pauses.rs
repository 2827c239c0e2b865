//! Pauses between retries.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_secs(1);

/// Pauses, each twice as long as the one before, from 10 ms up to a second.
pub(super) struct Pauses(Duration);

impl Pauses {
    pub(super) fn new() -> Self {
        Self(FIRST)
    }

    pub(super) fn take(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(LONGEST);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_second() {
        let mut pauses = Pauses::new();
        let taken: Vec<u128> = (0..9).map(|_| pauses.take().as_millis()).collect();
        assert_eq!(taken, [10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
    }
}
