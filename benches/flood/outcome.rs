//! The results of phases without and with a flood.

use std::time::Duration;

use super::attack::Answered;
use super::phase::Phase;
use crate::support::{Bounds, median, median_ratio};

/// Phases in pairs.
#[derive(Default)]
pub struct Pairs {
    pub calm: Vec<Phase>,
    pub flooded: Vec<Phase>,
    /// Hashes computed during the floods.
    pub hashes: u64,
}

impl Pairs {
    pub fn print(&self, name: &str) {
        let [calm, flooded] = self.each(|phase| phase.per_second).map(median);
        let [calm_p99, flooded_p99] = self.each(p99_millis).map(median);
        println!(
            "  {name}: {calm:.0} -> {flooded:.0} a second; p99 {calm_p99:.2} -> {flooded_p99:.2} ms, median \
             ratio of the pairs {:.2}",
            self.p99_ratio(),
        );
        let mut answered = Answered::default();
        self.flooded.iter().for_each(|phase| answered += phase.answered);
        let newcomers = self.newcomers();
        let worst = self.worst_newcomer();
        println!(
            "    {} hashes; attackers closed {} connections and got {} answers with 401, {} with 429, {} with 503; {} \
             newcomers were admitted within {:.2} s (median), {worst:.2} s (slowest)",
            self.hashes,
            answered.hung_up,
            answered.unauthorized,
            answered.too_many,
            answered.unavailable,
            newcomers.len(),
            median(newcomers),
        );
        let refused = answered.too_many + answered.unavailable;
        assert!(refused > 0, "every wrong key was hashed, so this was no flood");
    }

    /// The throughput of good keys in the flood, as a part of that without.
    pub fn check_throughput(&self, name: &str, bounds: &mut Bounds) {
        let [calm, flooded] = self.each(|phase| phase.per_second);
        bounds.check(
            &format!("throughput kept, {name}"),
            median_ratio(&flooded, &calm),
            0.85..,
        );
    }

    pub fn check_p99(&self, name: &str, bounds: &mut Bounds) {
        bounds.check(&format!("p99 in the flood / without, {name}"), self.p99_ratio(), ..=2.0);
    }

    pub fn check_newcomers(&self, name: &str, bounds: &mut Bounds) {
        let slowest = format!("seconds until the slowest newcomer is admitted, {name}");
        bounds.check(&slowest, self.worst_newcomer(), ..=2.0);
    }

    /// That a flood changes nothing that can be measured here.
    pub fn check_all(&self, name: &str, bounds: &mut Bounds) {
        let [calm, flooded] = self.each(|phase| phase.per_second);
        bounds.check(
            &format!("throughput kept, {name}"),
            median_ratio(&flooded, &calm),
            0.95..,
        );
        bounds.check(
            &format!("p99 in the flood / without, {name}"),
            self.p99_ratio(),
            ..=1.25,
        );
        let [calm, flooded] = self.slowest_newcomers();
        bounds.check(
            &format!("slowest newcomer in the flood / without, {name}"),
            flooded / calm,
            ..=1.5,
        );
    }

    /// In seconds, without the flood and in it.
    pub fn slowest_newcomers(&self) -> [f64; 2] {
        [&self.calm, &self.flooded].map(|phases| slowest(phases))
    }

    fn p99_ratio(&self) -> f64 {
        let [calm, flooded] = self.each(p99_millis);
        median_ratio(&flooded, &calm)
    }

    fn newcomers(&self) -> Vec<f64> {
        newcomers(&self.flooded)
    }

    fn worst_newcomer(&self) -> f64 {
        slowest(&self.flooded)
    }

    fn each(&self, value: fn(&Phase) -> f64) -> [Vec<f64>; 2] {
        [&self.calm, &self.flooded].map(|phases| phases.iter().map(value).collect())
    }
}

fn newcomers(phases: &[Phase]) -> Vec<f64> {
    let newcomers = phases.iter().flat_map(|phase| &phase.newcomers);
    newcomers.map(Duration::as_secs_f64).collect()
}

fn slowest(phases: &[Phase]) -> f64 {
    // Without newcomers the bound must not hold.
    newcomers(phases).into_iter().reduce(f64::max).unwrap_or(f64::INFINITY)
}

fn p99_millis(phase: &Phase) -> f64 {
    phase.p99.as_secs_f64() * 1e3
}
