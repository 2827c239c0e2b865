//! Whether time tells how much of a guess is right: `cargo bench -- timing`. With `API_KEYS_TESTS=full` it takes more samples.
//!
//! As in dudect (Reparaz, Balasch and Verbauwhede, 2017): guesses that differ from the secret at their start, and guesses that
//! differ at their end, are timed in random order, and Welch's t-test says whether the two come from one distribution. A
//! comparison that ends at the first difference is timed too, and must be found: a test that finds nothing in it proves nothing.

mod subjects;
mod welch;

use std::process::ExitCode;

use self::subjects::Subject;
use self::welch::Times;
use crate::support::Bounds;

/// dudect's threshold for "certainly not constant".
const LARGEST_T: f64 = 10.0;

pub fn main() -> ExitCode {
    let mut bounds = Bounds::default();
    let is_full = std::env::var("API_KEYS_TESTS").is_ok_and(|size| size == "full");
    for subject in subjects::all() {
        let samples = if is_full { subject.samples * 10 } else { subject.samples };
        check(subject, samples, &mut bounds);
    }
    bounds.exit_code()
}

fn check(mut subject: Subject, samples: usize, bounds: &mut Bounds) {
    let mut times = Times::default();
    // The first ones fill caches and start threads.
    for number in 0..samples + samples / 10 {
        // In random order: otherwise whatever the machine does in a rhythm could fall on one side.
        let is_late = rand::random();
        let time = (subject.run)(is_late);
        if number >= samples / 10 {
            times.add(is_late, time);
        }
    }
    let difference = times.difference();
    println!(
        "{}: {samples} samples of {:.1} ns, early and late differ by {:.2} ns; {:.2} ns would be found",
        subject.name,
        times.median() / f64::from(subject.calls),
        difference.nanoseconds / f64::from(subject.calls),
        difference.error * LARGEST_T / f64::from(subject.calls),
    );
    let name = format!("timing {} |t|", subject.name);
    match subject.must_be_found {
        Some(true) => bounds.check(&name, difference.t, LARGEST_T..),
        Some(false) => bounds.check(&name, difference.t, ..=LARGEST_T),
        None => println!("{name} {:.3}, without a bound", difference.t),
    }
}
