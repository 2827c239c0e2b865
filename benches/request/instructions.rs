//! The instructions of one request of a cached key. Other work on the machine does not change these figures.
//!
//! valgrind counts them in runs of this program that only handle requests. To leave out the set-up, each side runs twice, with
//! few and with many requests, and the difference counts. valgrind has no SHA instructions, so all sides hash in software.

use std::process::Command;

use crate::support::{Bounds, not_measured};

const FEW: u64 = 1_000;
const MANY: u64 = 11_000;

pub fn measure(bounds: &mut Bounds) {
    if Command::new("valgrind").arg("--version").output().is_err() {
        return not_measured(
            "instructions of layer / baseline <= 1.0",
            "valgrind is missing; scripts/callgrind installs it",
        );
    }
    for kind in ["plain", "limited"] {
        let [bare, baseline, layer] = ["bare", "baseline", "layer"].map(|side| of_a_request(side, kind));
        println!("instructions a request, {kind} key: bare {bare:.0}, baseline {baseline:.0}, layer {layer:.0}");
        bounds.check(
            &format!("instructions of layer / baseline, {kind} key"),
            layer / baseline,
            ..=1.0,
        );
    }
}

fn of_a_request(side: &str, kind: &str) -> f64 {
    let [few, many] = [FEW, MANY].map(|count| of_a_run(side, kind, count));
    (many - few) as f64 / (MANY - FEW) as f64
}

fn of_a_run(side: &str, kind: &str, count: u64) -> u64 {
    let run = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe().expect("the path of this program"))
        .args(["request", "--callgrind", side, kind, &count.to_string()])
        .output()
        .expect("valgrind runs");
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{said}");
    let counted = said.lines().find_map(|line| line.split_once("Collected : "));
    let (_, counted) =
        counted.unwrap_or_else(|| panic!("valgrind did not say how many instructions it counted: {said}"));
    counted.trim().parse().expect("a number")
}
