//! Wrong keys for a service whose own keys have keyed checksums.

use super::ADDRESSES;
use super::attack::Attack;
use super::good::Pace;
use super::networks::{self, newcomers};
use super::outcome::Pairs;
use super::phase;
use super::rows::{self, Rows};
use super::run::Run;
use crate::support::Bounds;

const PAIRS: usize = 4;

pub fn run(bounds: &mut Bounds) {
    let rows = rows::make(true);
    forged(&rows, bounds);
    of_another_form(&rows, bounds);
}

/// Forged keys beside malformed ones, which cost nothing but their requests.
fn forged(rows: &Rows, bounds: &mut Bounds) {
    let mut run = Run::start_with(&["keyed"], rows, ADDRESSES);
    let mut pairs = Pairs::default();
    for pair in 0..PAIRS {
        let mut order = [Attack::Malformed, Attack::Forged];
        order.rotate_left(pair % 2);
        for attack in order {
            let targets = match attack {
                Attack::Forged => &rows.known,
                _ => &rows.targets,
            };
            run.parties.attackers.targets = targets.clone();
            let before = run.drained().hashes;
            let phase = phase::run(&run.parties, attack, Pace::Saturating, true);
            let hashes = run.drained().hashes - before - phase.newcomers.len() as u64;
            match attack {
                Attack::Forged => {
                    pairs.hashes += hashes;
                    pairs.flooded.push(phase);
                }
                _ => pairs.calm.push(phase),
            }
        }
    }
    let [calm, flooded] = pairs.slowest_newcomers();
    println!(
        "  forged keys: {} hashes; slowest newcomer {calm:.3} s with malformed keys, {flooded:.3} s with forged ones",
        pairs.hashes
    );
    bounds.check("hashes of forged keys", pairs.hashes as f64, ..=0.0);
    pairs.check_all("forged keys", bounds);
}

/// Keys with a CRC-32, which anyone can make: they end before any read on a new database, and have a quarter of the hashes on
/// one from before keyed checksums.
fn of_another_form(rows: &Rows, bounds: &mut Bounds) {
    for (name, arguments) in [
        ("CRC keys, new database", &["networks", "keyed"][..]),
        ("CRC keys, upgraded database", &["networks", "keyed", "upgraded"]),
    ] {
        let attack = networks::Attack {
            name,
            networks: 64,
            connections: 700,
            targets: 2_000,
            per_second: networks::PER_SECOND,
        };
        let times = newcomers(arguments, rows, &attack);
        if !arguments.contains(&"upgraded") {
            let hashes = times.hashes as f64 - networks::NEWCOMERS as f64;
            bounds.check(&format!("hashes of wrong keys, {name}"), hashes, ..=0.0);
        }
        let what = format!("seconds until the slowest newcomer is admitted, {name}");
        bounds.check(&what, times.slowest, ..=0.5);
    }
}
