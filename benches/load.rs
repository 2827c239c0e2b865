//! The cost of the layer in a whole server: `cargo bench -- load`.
//!
//! The servers (axum, hyper and tonic; bare, behind the layer, behind hand-written middleware) run in one process, the clients
//! in this one. Loopback connections are kept, with one request at a time, as HTTP clients do; pipelining would save the
//! server half of its system calls. 1,024 keys take turns. The figure is the processor time of all threads of the server's
//! process, in bursts of equally many requests that alternate with bursts to the bare server. Every side gets the peer's
//! address, and a subscriber listens at INFO.

mod client;
mod naive;
mod server;
mod sides;

use std::process::ExitCode;

use self::client::Clients;
use self::sides::{AXUM_BY_HAND, AXUM_LAYER, AXUM_LAYER_LIMITED, AXUM_NAIVE, SIDES, Stack};
use crate::support::process::{Server, server_arguments};
use crate::support::{Bounds, median, median_ratio};

/// The handler's answer.
const BODY: &str = "[\"order-1\",\"order-2\"]";
const CONNECTIONS: usize = 32;
const KEYS: usize = 1024;
/// When a server starts, its connections are spread over the runtime's threads, and its memory is laid out. That makes a side
/// a few percent cheaper or more expensive as long as the server runs. So several servers run, one after another.
const SERVERS: usize = 6;
/// Pairs of bursts for each server.
const ROUNDS: usize = 200;
/// Hyper and tonic take part in every fourth round only, because they have no bound.
const SELDOM: usize = 4;
/// Requests of one connection in one burst. Few, because the speed of a virtual machine changes by 10 % within a tenth of a
/// second, and only noise that both bursts of a pair share cancels out.
const REQUESTS: usize = 32;
/// Requests before each burst, to bring a side back into the processor's caches.
const WARM_UP: usize = 8;

pub fn main() -> ExitCode {
    if server_arguments().is_some() {
        crate::support::subscribe();
        server::run(KEYS);
        return ExitCode::SUCCESS;
    }
    let mut bounds = Bounds::default();
    measure(&mut bounds);
    bounds.exit_code()
}

/// The processor time of every burst of a side, and of the bare server's burst next to it.
#[derive(Default, Clone)]
struct Pairs {
    with: Vec<f64>,
    without: Vec<f64>,
}

impl Pairs {
    /// Nanoseconds that this side adds to a request.
    fn added(&self) -> f64 {
        let pairs = self.with.iter().zip(&self.without);
        median(pairs.map(|(with, without)| with - without).collect()) / (CONNECTIONS * REQUESTS) as f64
    }
}

fn measure(bounds: &mut Bounds) {
    let mut pairs = SIDES.each_ref().map(|_| Pairs::default());
    for _ in 0..SERVERS {
        one_server(&mut pairs);
    }
    println!("processor time of a server for a request, in pairs of bursts with and without, {SERVERS} servers:");
    for (side, pairs) in SIDES.iter().zip(&pairs).filter(|(side, _)| !side.is_bare()) {
        let without = SIDES[side.without].name;
        println!(
            "  {:40} {:6.2} µs, {:.2} µs more than {without} ({:.3} of it)",
            side.name,
            median(pairs.with.clone()) / 1e3 / (CONNECTIONS * REQUESTS) as f64,
            pairs.added() / 1e3,
            median_ratio(&pairs.with, &pairs.without),
        );
    }
    let ratio = |side: usize, other: usize| pairs[side].added() / pairs[other].added();
    let (naive, by_hand) = (ratio(AXUM_LAYER, AXUM_NAIVE), ratio(AXUM_LAYER_LIMITED, AXUM_BY_HAND));
    bounds.check(
        "what the layer adds to axum / what naive middleware adds",
        naive,
        ..=1.0,
    );
    bounds.check(
        "what the layer with a limit adds to axum / what the same by hand adds",
        by_hand,
        ..=1.0,
    );
}

fn one_server(pairs: &mut [Pairs]) {
    let mut server = Server::start(&[]);
    let mut clients = SIDES.each_ref().map(|side| {
        let line = server.hear();
        let mut words = line.split(' ');
        let port = words.next().and_then(|port| port.parse().ok()).expect("a port");
        Clients::connect(side.protocol(), port, &words.collect::<Vec<_>>(), CONNECTIONS)
    });
    let mut burst = |side: usize| -> f64 {
        clients[side].burst(WARM_UP);
        let [before] = server.ask("time");
        clients[side].burst(REQUESTS);
        let [after] = server.ask("time");
        (after - before) as f64
    };
    for round in 0..ROUNDS {
        for (index, side) in SIDES.iter().enumerate().filter(|(_, side)| !side.is_bare()) {
            if side.server != Stack::Axum && round % SELDOM != 0 {
                continue;
            }
            // Each side of a pair is first equally often.
            if (round + round / SELDOM).is_multiple_of(2) {
                pairs[index].without.push(burst(side.without));
                pairs[index].with.push(burst(index));
            } else {
                pairs[index].with.push(burst(index));
                pairs[index].without.push(burst(side.without));
            }
        }
    }
}
