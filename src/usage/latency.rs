//! Latencies in buckets, which can be added up.

use std::time::Duration;

/// The bucket of a latency: eight to each doubling, from 0.1 milliseconds to 120 seconds.
///
/// Whatever is in a bucket differs from its [middle](Self::middle) by at most 6.25 %. Shorter latencies are all in the first bucket,
/// longer ones in the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LatencyBucket(u8);

/// The shortest latency that has a bucket of its own, in microseconds.
const SHORTEST: u64 = 100;
/// Buckets to a doubling.
const PARTS: u64 = 8;
/// From 0.1 milliseconds, 21 doublings are 209 seconds; the last bucket is the one that 120 seconds are in.
const LAST: u8 = {
    let (octave, part) = place(120_000_000);
    octave * PARTS as u8 + part + 1
};

impl LatencyBucket {
    /// How many there are.
    pub const COUNT: usize = LAST as usize + 1;

    /// The bucket of this latency.
    pub const fn of(latency: Duration) -> Self {
        let micros = latency.as_micros();
        let micros = if micros > u64::MAX as u128 {
            u64::MAX
        } else {
            micros as u64
        };
        if micros < SHORTEST {
            return Self(0);
        }
        if micros >= 120_000_000 {
            return Self(LAST);
        }
        let (octave, part) = place(micros);
        Self(octave * PARTS as u8 + part + 1)
    }

    /// The number that stores keep.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// The bucket with this number, if there is one.
    pub const fn of_number(number: u8) -> Option<Self> {
        match number <= LAST {
            true => Some(Self(number)),
            false => None,
        }
    }

    /// What stands for the latencies in it.
    pub const fn middle(self) -> Duration {
        let Some(number) = (self.0 as u64).checked_sub(1) else {
            return Duration::from_micros(SHORTEST / 2);
        };
        let (octave, part) = (number / PARTS, number % PARTS);
        // Twice the middle, so that it is whole: the bucket goes from 8 + part to 9 + part eighths of its doubling.
        let twice = (SHORTEST << octave) * (2 * (PARTS + part) + 1) / PARTS;
        Duration::from_micros(twice / 2)
    }
}

/// In which doubling of the shortest one, and in which eighth of it.
const fn place(micros: u64) -> (u8, u8) {
    let octave = (micros / SHORTEST).ilog2();
    let begin = SHORTEST << octave;
    ((octave) as u8, ((micros - begin) * PARTS / begin) as u8)
}

/// The latency that this part of all was at most as long as; `None` of nothing. `part` is between 0 and 1: 0.99 for the 99th
/// percentile.
///
/// ```
/// use std::time::Duration;
/// use tower_api_key::usage::{LatencyBucket, percentile};
///
/// let of = |millis| LatencyBucket::of(Duration::from_millis(millis));
/// let counts = [(of(3), 90), (of(40), 9), (of(800), 1)];
/// let p99 = percentile(counts, 0.99).unwrap();
/// assert!((37..=43).contains(&p99.as_millis()));
/// ```
pub fn percentile(
    counts: impl IntoIterator<Item = (LatencyBucket, u64), IntoIter: Clone>,
    part: f64,
) -> Option<Duration> {
    let counts = counts.into_iter();
    let total = counts.clone().fold(0u64, |sum, (_, count)| sum.saturating_add(count));
    // As hdrhistogram counts: the first value that this part of all values are at most as large as.
    let wanted = ((total as f64) * part.clamp(0.0, 1.0)).ceil().max(1.0) as u64;
    let mut sums = [0u64; LatencyBucket::COUNT];
    for (bucket, count) in counts {
        let sum = &mut sums[usize::from(bucket.0)];
        *sum = sum.saturating_add(count);
    }
    let mut seen = 0u64;
    for (number, sum) in (0u8..).zip(sums) {
        seen = seen.saturating_add(sum);
        if sum > 0 && seen >= wanted {
            return Some(LatencyBucket(number).middle());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn buckets_follow_each_other_without_a_gap() {
        let mut before = 0;
        for micros in (0..2_000_000).chain((2_000_000..130_000_000).step_by(997)) {
            let bucket = LatencyBucket::of(Duration::from_micros(micros)).number();
            assert!(bucket == before || bucket == before + 1, "{micros}: {before} {bucket}");
            before = bucket;
        }
        assert_eq!(before, LAST);
        assert_eq!(LatencyBucket::of(Duration::MAX).number(), LAST);
        assert_eq!(LatencyBucket::of_number(LAST + 1), None);
    }

    proptest! {
        #[test]
        fn middle_is_near(micros in 100u64..120_000_000) {
            let middle = LatencyBucket::of(Duration::from_micros(micros)).middle().as_micros() as f64;
            let micros = micros as f64;
            prop_assert!((middle - micros).abs() <= micros * 0.0625 + 1.0, "{micros}: {middle}");
        }
    }

    #[test]
    fn percentile_of_nothing_is_none() {
        assert_eq!(percentile([], 0.5), None);
        assert_eq!(percentile([(LatencyBucket(4), 0)], 0.5), None);
    }
}
