//! What the layer costs a whole server: `cargo bench -- load`.
//!
//! An axum server runs in a process of its own and serves one route seven times: bare, behind the layer, and behind what
//! one writes by hand. The clients run here, over kept connections on loopback, one request under way on each, as HTTP
//! clients do; pipelining would spare the server half of its system calls. What is compared is the processor time of
//! the server's process, all of its threads, in bursts of as many requests that take turns. All of them are told the peer's
//! address by axum, and all have a subscriber at INFO. `--no-gate` only prints.

mod client;
mod naive;
mod server;

use std::process::ExitCode;
use std::time::Instant;

use self::client::Clients;
use self::server::SIDES;
use crate::support::process::{Server, server_arguments};
use crate::support::{Gates, median, median_ratio};

/// What the handler answers, and nothing in an answer's head ends with.
const BODY: &str = "[\"order-1\",\"order-2\"]";
const CONNECTIONS: usize = 32;
/// How the runtime deals connections out among its threads, and where memory lies, is settled when a server starts, and
/// makes a side of it some hundredths cheaper or dearer for as long as it runs. So there are several, one after another.
const SERVERS: usize = 6;
/// For each of them: bursts of each side, each next to one of nothing.
const ROUNDS: usize = 200;
/// Requests of one connection in one burst. Few: what else goes on around a virtual machine makes the same work a tenth
/// cheaper or dearer from one tenth of a second to the next, and only what is shared by both bursts of a pair cancels.
const REQUESTS: usize = 32;
/// Those before them, which bring a side back into the processor's caches.
const FIRST: usize = 8;

pub fn main() -> ExitCode {
    if server_arguments().is_some() {
        crate::support::subscribe();
        server::run(CONNECTIONS);
        return ExitCode::SUCCESS;
    }
    let mut gates = Gates::default();
    measure(&mut gates);
    gates.exit_code()
}

/// The processor time of every burst of a side, and of the one of nothing next to it.
#[derive(Default, Clone)]
struct Pairs {
    side: Vec<f64>,
    nothing: Vec<f64>,
}

fn measure(gates: &mut Gates) {
    let mut pairs = SIDES.map(|_| Pairs::default());
    let mut per_second = SIDES.map(|_| Vec::new());
    for _ in 0..SERVERS {
        one_server(&mut pairs, &mut per_second);
    }
    pairs[0] = Pairs {
        side: pairs[1].nothing.clone(),
        nothing: pairs[1].nothing.clone(),
    };
    println!("the server's processor time for a request, {ROUNDS} pairs of bursts with each of {SERVERS} servers:");
    for ((name, pairs), per_second) in SIDES.iter().zip(&pairs).zip(per_second) {
        println!(
            "  {name:40} {:6.2} µs, {:.3} of nothing's, {:.0} requests a second",
            median(pairs.side.clone()) / 1e3 / (CONNECTIONS * REQUESTS) as f64,
            median_ratio(&pairs.side, &pairs.nothing),
            median(per_second),
        );
    }
    for side in [2, 3] {
        let ratio = median_ratio(&pairs[side].side, &pairs[side].nothing);
        gates.check(&format!("server's time with {} / without", SIDES[side]), ratio, ..=1.06);
    }
}

fn one_server(pairs: &mut [Pairs], per_second: &mut [Vec<f64>]) {
    let mut server = Server::start(&[]);
    let mut clients = SIDES.map(|_| {
        let line = server.hear();
        let mut words = line.split(' ');
        let port = words.next().and_then(|port| port.parse().ok()).expect("a port");
        Clients::connect(port, &words.collect::<Vec<_>>())
    });
    let mut burst = |side: usize| -> f64 {
        clients[side].burst(FIRST);
        let [before] = server.ask("time");
        let began = Instant::now();
        let requests = clients[side].burst(REQUESTS);
        per_second[side].push(requests as f64 / began.elapsed().as_secs_f64());
        let [after] = server.ask("time");
        (after - before) as f64
    };
    for round in 0..ROUNDS {
        for (side, pairs) in pairs.iter_mut().enumerate().skip(1) {
            // Each comes first as often as the other.
            if round % 2 == 0 {
                pairs.nothing.push(burst(0));
                pairs.side.push(burst(side));
            } else {
                pairs.side.push(burst(side));
                pairs.nothing.push(burst(0));
            }
        }
    }
}
