//! One run: a new server, and phases with and without a flood in turns.

use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::thread::sleep;
use std::time::Duration;

use super::attack::{Attack, Attackers};
use super::good::Pace;
use super::outcome::Pairs;
use super::phase;
use super::rows::Rows;
use crate::support::process::Server;

/// With 16 known keys, 4,000 requests a second.
pub const STEADY: Pace = Pace::Steady(Duration::from_millis(4));

/// A server under attack.
pub struct Run {
    pub server: Server,
    pub parties: Parties,
    idle: Health,
}

/// The clients of a run.
pub struct Parties {
    pub port: u16,
    pub known: Vec<String>,
    pub new: Mutex<Vec<String>>,
    pub attackers: Attackers,
}

/// The server's report about itself.
pub struct Health {
    resident_kib: u64,
    peak_kib: u64,
    jobs: u64,
    pub hashes: u64,
}

impl Run {
    /// Starts a server and has it cache the known keys. `addresses` is the number of attackers' addresses.
    pub fn start(rows: &Rows, has_budget: bool, addresses: u8) -> Self {
        Self::start_with(if has_budget { &["budget"] } else { &[] }, rows, addresses)
    }

    /// The same with other arguments for the server.
    pub fn start_with(arguments: &[&str], rows: &Rows, addresses: u8) -> Self {
        let mut server = Server::start(arguments);
        for line in &rows.lines {
            server.tell(line);
        }
        server.tell("");
        let port = server.hear().parse().expect("a port");
        let idle = health(&mut server);
        let parties = Parties {
            port,
            known: rows.known.clone(),
            new: Mutex::new(rows.new.clone()),
            attackers: Attackers {
                port,
                addresses,
                targets: rows.targets.clone(),
                salt: AtomicU64::new(0),
            },
        };
        phase::run(&parties, Attack::Malformed, STEADY, false);
        Self { server, parties, idle }
    }

    /// Runs `count` pairs of phases, one without a flood and one with it. The order changes from pair to pair.
    pub fn take_turns(&mut self, pace: Pace, count: usize) -> Pairs {
        let mut pairs = Pairs::default();
        for pair in 0..count {
            let mut order = [Attack::Malformed, Attack::Wrong];
            order.rotate_left(pair % 2);
            for attack in order {
                let before = self.drained().hashes;
                let phase = phase::run(&self.parties, attack, pace, attack == Attack::Wrong);
                let hashes = health(&mut self.server).hashes - before;
                match attack {
                    Attack::Malformed => {
                        assert!(hashes == 0, "malformed keys were hashed");
                        pairs.calm.push(phase);
                    }
                    Attack::Wrong | Attack::Forged => {
                        pairs.hashes += hashes;
                        pairs.flooded.push(phase);
                    }
                }
            }
        }
        pairs
    }

    /// The growth of the server's memory from its start to its peak, in MiB.
    pub fn growth(&mut self) -> f64 {
        (health(&mut self.server).peak_kib - self.idle.resident_kib) as f64 / 1024.0
    }

    /// Waits until the jobs of the previous flood are done.
    pub fn drained(&mut self) -> Health {
        loop {
            let health = health(&mut self.server);
            if health.jobs == 0 {
                return health;
            }
            sleep(Duration::from_millis(10));
        }
    }
}

fn health(server: &mut Server) -> Health {
    let [resident_kib, peak_kib, jobs, hashes] = server.ask("health");
    Health {
        resident_kib,
        peak_kib,
        jobs,
        hashes,
    }
}
