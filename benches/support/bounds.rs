//! Bounds on the measured figures.

use std::ops::{Bound, RangeBounds};
use std::process::ExitCode;

use super::arguments::has_flag;

/// Checks figures against their bounds, and counts those that are out of bounds.
#[derive(Default)]
pub struct Bounds {
    failed: usize,
}

impl Bounds {
    /// Prints the value, and whether it is within the bound: `..=1.25` or `1.8..`.
    pub fn check(&mut self, what: &str, value: f64, bounds: impl RangeBounds<f64>) {
        let bound = match (bounds.start_bound(), bounds.end_bound()) {
            (Bound::Included(least), Bound::Unbounded) => format!(">= {least}"),
            (Bound::Unbounded, Bound::Included(most)) => format!("<= {most}"),
            _ => panic!("{what}: a bound must be `..=most` or `least..`"),
        };
        let holds = bounds.contains(&value);
        let verdict = if holds { "PASS" } else { "FAIL" };
        println!("bound {what} {bound}: {value:.3} {verdict}");
        self.failed += usize::from(!holds);
    }

    /// Failure if a bound does not hold, unless `--print-only` is given.
    pub fn exit_code(&self) -> ExitCode {
        if self.failed > 0 && !has_flag("--print-only") {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        }
    }
}
