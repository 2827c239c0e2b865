//! Welch's t-test on two sets of times.

use std::time::Duration;

/// Of all times, those up to each of these are compared: what a machine adds now and then hides a small difference.
const CROPS: [f64; 5] = [0.5, 0.75, 0.9, 0.99, 1.0];

/// Times in nanoseconds, of guesses that differ early and late.
#[derive(Default)]
pub struct Times {
    early: Vec<f64>,
    late: Vec<f64>,
}

pub struct Difference {
    /// The absolute value of the statistic.
    pub t: f64,
    /// Of the means.
    pub nanoseconds: f64,
    /// The smallest standard error of a difference.
    pub error: f64,
}

impl Times {
    pub fn add(&mut self, is_late: bool, time: Duration) {
        let times = if is_late { &mut self.late } else { &mut self.early };
        times.push(time.as_nanos() as f64);
    }

    pub fn median(&self) -> f64 {
        self.up_to(0.5)
    }

    /// That of the crop with the largest `t`.
    pub fn difference(&self) -> Difference {
        let mut largest = Difference {
            t: 0.0,
            nanoseconds: 0.0,
            error: f64::INFINITY,
        };
        for crop in CROPS {
            let most = self.up_to(crop);
            let (early, late) = (Moments::of(&self.early, most), Moments::of(&self.late, most));
            // Where hardly any time of one kind is left, the next crop tells the two apart.
            if early.count.min(late.count) < 100.0 {
                continue;
            }
            let nanoseconds = late.mean - early.mean;
            let error = (early.variance / early.count + late.variance / late.count).sqrt();
            let t = (nanoseconds / error).abs();
            if t > largest.t {
                (largest.t, largest.nanoseconds) = (t, nanoseconds);
            }
            largest.error = largest.error.min(error);
        }
        largest
    }

    /// The time that this part of all times does not exceed.
    fn up_to(&self, part: f64) -> f64 {
        let mut all = [&self.early[..], &self.late[..]].concat();
        all.sort_by(f64::total_cmp);
        let last = all.len().saturating_sub(1);
        all.get((last as f64 * part) as usize).copied().unwrap_or(f64::NAN)
    }
}

struct Moments {
    count: f64,
    mean: f64,
    variance: f64,
}

impl Moments {
    /// Of the times up to this one.
    fn of(times: &[f64], most: f64) -> Self {
        let taken = || times.iter().filter(|time| **time <= most);
        let count = taken().count() as f64;
        let mean = taken().sum::<f64>() / count;
        let squares: f64 = taken().map(|time| (time - mean).powi(2)).sum();
        Self {
            count,
            mean,
            variance: squares / (count - 1.0),
        }
    }
}
