//! Wrong keys from whole networks, each with a new address for every request, and good keys that are used for the first time.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::client::{Client, HOME, request_from};
use super::rows::Rows;
use crate::support::Bounds;
use crate::support::keys::with_wrong_secret;
use crate::support::process::Server;

/// The time until a client gives up, far beyond all bounds.
const LONGEST: Duration = Duration::from_secs(120);
pub const NEWCOMERS: usize = 6;
/// By then, a flood has filled the queue again.
const BETWEEN: Duration = Duration::from_millis(300);
/// Many times the rate at which the pool can hash, and far from what the server can refuse: this is about the queue.
pub const PER_SECOND: Option<u32> = Some(1_000);
const GOOD: usize = 40;

/// An attack: this many networks (each a /48, or every other one a /24). They send over kept connections, each of which has one
/// request at a time.
pub struct Attack {
    pub name: &'static str,
    pub networks: u64,
    pub connections: usize,
    /// Lookups that wrong keys are sent for.
    pub targets: usize,
    /// Requests a second. None for as many as there are answers, which keeps all processors busy.
    pub per_second: Option<u32>,
}

pub fn run(rows: &Rows, bounds: &mut Bounds) {
    let one = Attack {
        name: "one /48, one lookup, 20 connections",
        networks: 1,
        connections: 20,
        targets: 1,
        per_second: PER_SECOND,
    };
    let slowest = newcomers(&["networks"], rows, &one).slowest;
    bounds.check(
        &format!("seconds until the slowest newcomer is admitted, {}", one.name),
        slowest,
        ..=5.0,
    );
    for (networks, name, per_second) in [
        (8, "8 networks", PER_SECOND),
        (8, "8 networks as fast as they can", None),
        (64, "64 networks", PER_SECOND),
        (500, "500 networks", PER_SECOND),
    ] {
        let attack = Attack {
            name,
            networks,
            connections: 700,
            targets: 2_000,
            per_second,
        };
        let times = newcomers(&["networks"], rows, &attack);
        let bound = 1.5 * networks as f64 * times.hash;
        println!(
            "    1.5 x {networks} x a hash of {:.1} ms is {bound:.2} s",
            times.hash * 1e3
        );
        // A hash or two run already, whatever the number of networks is.
        let ratio = times.slowest / (bound + 2.0 * times.hash);
        bounds.check(
            &format!("slowest newcomer / (1.5 x networks x a hash), {name}"),
            ratio,
            ..=1.0,
        );
        // Otherwise workers would rest while newcomers wait. Not where hashes get few of the processors anyway.
        if per_second.is_some() {
            let what = format!("a hash in the flood / when idle, {name}");
            bounds.check(&what, times.hash_ratio, ..=2.0);
        }
    }
    let slowest = restart(rows);
    bounds.check(
        &format!("seconds until {GOOD} of {GOOD} good keys are admitted, restart in a flood"),
        slowest,
        ..=10.0,
    );
}

pub struct Times {
    pub slowest: f64,
    /// What a hash took during the flood.
    pub hash: f64,
    /// That, as a multiple of what it takes on an idle machine.
    pub hash_ratio: f64,
    /// Hashes during the flood.
    pub hashes: u64,
}

/// Newcomers one after the other while the attack goes on, the first from its beginning, each from a network of its own.
pub fn newcomers(arguments: &[&str], rows: &Rows, attack: &Attack) -> Times {
    let (mut server, port) = start(arguments, rows);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let over = Arc::new(AtomicBool::new(false));
    let [_, _, _, before] = server.ask("health");
    let began = Instant::now();
    let (times, requests, took, hashes) = runtime.block_on(async {
        let attackers = attackers(port, rows, attack, over.clone());
        sleep(Duration::from_millis(50)).await;
        let mut times = Vec::new();
        for (number, key) in rows.new.iter().take(NEWCOMERS).enumerate() {
            times.push(admitted(port, key.clone(), IpAddr::from([198, 18, number as u8, 1])).await);
            sleep(BETWEEN).await;
        }
        // What waits now is worked off without a flood.
        let [_, _, _, after] = server.ask("health");
        let flood = (began.elapsed(), after - before);
        over.store(true, Ordering::Relaxed);
        (times, attackers.await, flood.0, flood.1)
    });
    let [idle] = server.ask("hash");
    let idle = idle as f64 / 1e9;
    // By its share of the processors: clients and server have two.
    let hash = idle.max(took.as_secs_f64() / hashes as f64);
    println!(
        "  {}: newcomers were admitted within {times:.2?}; {requests} wrong keys, {hashes} hashes in {took:.1?}, {:.1} ms each when \
         idle",
        attack.name,
        idle * 1e3,
    );
    let slowest = times.iter().max().map_or(f64::INFINITY, Duration::as_secs_f64);
    Times {
        slowest,
        hash,
        hash_ratio: hash / idle,
        hashes,
    }
}

/// A server that starts in the middle of a flood: all its good clients come at once.
fn restart(rows: &Rows) -> f64 {
    let (_server, port) = start(&["networks"], rows);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let attack = Attack {
        name: "restart",
        networks: 64,
        connections: 200,
        targets: 2_000,
        per_second: PER_SECOND,
    };
    let over = Arc::new(AtomicBool::new(false));
    let times = runtime.block_on(async {
        let attackers = attackers(port, rows, &attack, over.clone());
        let mut good = JoinSet::new();
        for (number, key) in rows.new.iter().take(GOOD).enumerate() {
            good.spawn(admitted(port, key.clone(), IpAddr::from([198, 18, number as u8, 1])));
        }
        let times = good.join_all().await;
        over.store(true, Ordering::Relaxed);
        attackers.await;
        times
    });
    let slowest = times.iter().max().map_or(f64::INFINITY, Duration::as_secs_f64);
    println!(
        "  restart in a flood of 64 networks: {} good keys were admitted within {slowest:.2} s",
        times.len()
    );
    slowest
}

fn start(arguments: &[&str], rows: &Rows) -> (Server, u16) {
    let mut server = Server::start(arguments);
    for line in &rows.lines {
        server.tell(line);
    }
    server.tell("");
    let port = server.hear().parse().expect("a port");
    (server, port)
}

/// Runs the attack until it is over. Returns how many requests it made.
fn attackers(port: u16, rows: &Rows, attack: &Attack, over: Arc<AtomicBool>) -> impl Future<Output = u64> + use<> {
    let sent = Arc::new(AtomicU64::new(0));
    let targets: Arc<[String]> = rows.targets.iter().take(attack.targets).cloned().collect();
    let networks = attack.networks;
    let each = attack
        .per_second
        .map(|rate| Duration::from_secs(1) * attack.connections as u32 / rate);
    let mut connections = JoinSet::new();
    for _ in 0..attack.connections {
        let (sent, targets, over) = (sent.clone(), targets.clone(), over.clone());
        connections.spawn(async move {
            let mut client = Client::connect(HOME, port).await.expect("a connection");
            let mut ticks = each.map(interval);
            if let Some(ticks) = &mut ticks {
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            }
            while !over.load(Ordering::Relaxed) {
                if let Some(ticks) = &mut ticks {
                    ticks.tick().await;
                }
                let number = sent.fetch_add(1, Ordering::Relaxed);
                let target = &targets[(number % targets.len() as u64) as usize];
                let request = request_from(&with_wrong_secret(target, number), address(number, networks));
                let status = client.ask(&request).await.expect("an answer");
                assert!(matches!(status, 401 | 429 | 503), "a wrong key was answered {status}");
            }
        });
    }
    async move {
        connections.join_all().await;
        sent.load(Ordering::Relaxed)
    }
}

/// A new address in one of the networks: every other one is a /24, which has 256.
fn address(number: u64, networks: u64) -> IpAddr {
    let (network, host) = (number % networks, number / networks);
    match network % 2 {
        0 => {
            let network = 0x2001_0db8_0000_u128 + u128::from(network);
            Ipv6Addr::from_bits(network << 80 | u128::from(host % 0x1_0000) << 64 | 1).into()
        }
        _ => Ipv4Addr::from_bits(0x0a00_0000 + (network << 8) as u32 + (host % 256) as u32).into(),
    }
}

/// The time until this key is admitted. A client that is sent away comes back after a tenth of a second.
async fn admitted(port: u16, key: String, from: IpAddr) -> Duration {
    let began = Instant::now();
    let request = request_from(&key, from);
    let mut client = Client::connect(HOME, port).await.expect("a connection");
    while began.elapsed() < LONGEST {
        let status = client.ask(&request).await.expect("an answer");
        if status == 200 {
            return began.elapsed();
        }
        assert!(status == 503, "a good key was answered {status}");
        sleep(Duration::from_millis(100)).await;
    }
    LONGEST
}
