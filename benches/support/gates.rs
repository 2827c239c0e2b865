//! Bounds that figures have to keep.

use std::ops::{Bound, RangeBounds};
use std::process::ExitCode;

use super::arguments::has_flag;

/// The bounds that were checked, and whether all held.
#[derive(Default)]
pub struct Gates {
    failed: usize,
}

impl Gates {
    /// Prints the value and whether it is within these bounds, which are one number: `..=1.25` or `1.8..`.
    pub fn check(&mut self, what: &str, value: f64, bounds: impl RangeBounds<f64>) {
        let bound = match (bounds.start_bound(), bounds.end_bound()) {
            (Bound::Included(least), Bound::Unbounded) => format!(">= {least}"),
            (Bound::Unbounded, Bound::Included(most)) => format!("<= {most}"),
            _ => panic!("{what}: bounds of one number"),
        };
        let holds = bounds.contains(&value);
        let verdict = if holds { "PASS" } else { "FAIL" };
        println!("gate {what} {bound}: {value:.3} {verdict}");
        self.failed += usize::from(!holds);
    }

    /// Failure when a gate failed, unless gates were switched off.
    pub fn exit_code(&self) -> ExitCode {
        if self.failed > 0 && !has_flag("--no-gate") {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        }
    }
}
