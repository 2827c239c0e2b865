//! One run: phases in turns against one server, and what came of them.

use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::thread::sleep;
use std::time::Duration;

use tower_api_key::hash::Argon2Params;

use super::attack::{Answered, Attack, Attackers, PER_SECOND};
use super::good::Pace;
use super::phase::{self, Phase};
use super::rows::Rows;
use super::support::process::Server;
use super::support::{Gates, median, median_ratio};

const SATURATED_PAIRS: usize = 5;
const STEADY_PAIRS: usize = 3;
const STEADY: Pace = Pace::Steady(Duration::from_millis(4));
/// Of the default pool.
const WORKERS: u32 = 1;

pub struct Flood {
    pub has_budget: bool,
    /// How many addresses the attackers have.
    pub addresses: u8,
}

/// Who takes part.
pub struct Parties {
    pub port: u16,
    pub known: Vec<String>,
    pub new: Mutex<Vec<String>>,
    pub attackers: Attackers,
}

/// What the server tells of itself.
struct Health {
    resident_kib: u64,
    peak_kib: u64,
    jobs: u64,
    hashes: u64,
}

/// Phases without and with a flood, in pairs.
struct Pairs {
    calm: Vec<Phase>,
    flooded: Vec<Phase>,
    hashes: u64,
}

pub fn measure(rows: &Rows, flood: &Flood, gates: &mut Gates) {
    let budget = if flood.has_budget { "budget on" } else { "budget off" };
    let mut server = Server::start(&[if flood.has_budget { "budget" } else { "no-budget" }]);
    for line in &rows.lines {
        server.tell(line);
    }
    server.tell("");
    let port = server.hear().parse().expect("a port");
    let parties = Parties {
        port,
        known: rows.known.clone(),
        new: Mutex::new(rows.new.clone()),
        attackers: Attackers {
            port,
            addresses: flood.addresses,
            targets: rows.targets.clone(),
            salt: AtomicU64::new(0),
        },
    };
    let idle = health(&mut server);
    // The known keys become so.
    phase::run(&parties, Attack::Malformed, STEADY);
    let warm = health(&mut server);
    println!(
        "{PER_SECOND} wrong keys a second from {} addresses, {budget}:",
        flood.addresses
    );
    for (name, pace, pairs) in [
        ("saturated", Pace::Saturating, SATURATED_PAIRS),
        ("steady", STEADY, STEADY_PAIRS),
    ] {
        let pairs = take_turns(&mut server, &parties, pace, pairs);
        pairs.report(name, budget, gates, pace == Pace::Saturating);
    }
    let peak = health(&mut server).peak_kib;
    let growth = |peak: u64| (peak - idle.resident_kib) as f64 / 1024.0;
    let bound = f64::from(WORKERS * Argon2Params::DEFAULT.memory_kib()) / 1024.0 + 16.0;
    println!(
        "  memory: {} MiB idle, grown by {:.1} MiB after the first keys",
        idle.resident_kib / 1024,
        growth(warm.peak_kib)
    );
    gates.at_most(&format!("growth of peak memory in MiB, {budget}"), growth(peak), bound);
}

fn take_turns(server: &mut Server, parties: &Parties, pace: Pace, count: usize) -> Pairs {
    let mut pairs = Pairs {
        calm: Vec::new(),
        flooded: Vec::new(),
        hashes: 0,
    };
    for pair in 0..count {
        let mut order = [Attack::Malformed, Attack::Wrong];
        order.rotate_left(pair % 2);
        for attack in order {
            let before = drained(server);
            let phase = phase::run(parties, attack, pace);
            let hashes = health(server).hashes - before.hashes;
            match attack {
                Attack::Malformed => {
                    assert!(hashes == 0, "malformed keys were hashed");
                    pairs.calm.push(phase);
                }
                Attack::Wrong => {
                    pairs.hashes += hashes;
                    pairs.flooded.push(phase);
                }
            }
        }
    }
    pairs
}

/// Waits until nothing is left of the flood before.
fn drained(server: &mut Server) -> Health {
    loop {
        let health = health(server);
        if health.jobs == 0 {
            return health;
        }
        sleep(Duration::from_millis(10));
    }
}

fn health(server: &mut Server) -> Health {
    let [resident_kib, peak_kib, jobs, hashes] = server.ask("how are you?");
    Health {
        resident_kib,
        peak_kib,
        jobs,
        hashes,
    }
}

impl Pairs {
    fn report(&self, name: &str, budget: &str, gates: &mut Gates, tells_throughput: bool) {
        let of = |phases: &[Phase], value: fn(&Phase) -> f64| -> Vec<f64> { phases.iter().map(value).collect() };
        let rates = [of(&self.calm, |p| p.per_second), of(&self.flooded, |p| p.per_second)];
        let p99s = [of(&self.calm, p99_millis), of(&self.flooded, p99_millis)];
        let mut answered = Answered::default();
        self.flooded.iter().for_each(|phase| answered += phase.answered);
        let refused = answered.too_many + answered.unavailable;
        assert!(refused > 0, "this was no flood: every wrong key was hashed");
        let mut newcomers: Vec<f64> = self
            .flooded
            .iter()
            .flat_map(|p| &p.newcomers)
            .map(Duration::as_secs_f64)
            .collect();
        newcomers.sort_by(f64::total_cmp);
        println!(
            "  {name}: {:.0} -> {:.0} a second, p99 {:.2} -> {:.2} ms; {} hashes; attackers: {} hung up, {} times 401, {} times \
             429, {} times 503; {} newcomers, half of them in within {:.2} s",
            median(rates[0].clone()),
            median(rates[1].clone()),
            median(p99s[0].clone()),
            median(p99s[1].clone()),
            self.hashes,
            answered.hung_up,
            answered.unauthorized,
            answered.too_many,
            answered.unavailable,
            newcomers.len(),
            median(newcomers.clone()),
        );
        if tells_throughput {
            let kept = median_ratio(&rates[1], &rates[0]);
            gates.at_least(&format!("throughput kept, {name}, {budget}"), kept, 0.85);
        }
        let p99 = median_ratio(&p99s[1], &p99s[0]);
        gates.at_most(&format!("p99 in the flood / without, {name}, {budget}"), p99, 2.0);
        let worst = newcomers.last().copied().unwrap_or(f64::NAN);
        gates.at_most(
            &format!("seconds until the slowest newcomer is in, {name}, {budget}"),
            worst,
            2.0,
        );
    }
}

fn p99_millis(phase: &Phase) -> f64 {
    phase.p99.as_secs_f64() * 1e3
}
