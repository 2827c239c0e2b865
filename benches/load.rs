//! What the layer costs a whole server: `cargo bench --bench load`.
//!
//! An axum server runs in a process of its own and serves one route seven times: bare, behind the layer, and behind what
//! one writes by hand. The clients run here, over kept connections on loopback, one request under way on each, as HTTP
//! clients do; pipelining would spare the server half of its system calls. What is compared is the processor time of
//! the server's process, all of its threads, in bursts of as many requests that take turns. All of them are told the peer's
//! address by axum, and all have a subscriber at INFO. `--no-gate` only prints.
#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    unreachable_pub
)]

#[path = "load/client.rs"]
mod client;
#[path = "load/naive.rs"]
mod naive;
#[path = "load/server.rs"]
mod server;
mod support;

use std::cell::RefCell;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use self::client::Clients;
use self::server::SIDES;
use self::support::process::{Server, server_arguments};
use self::support::{Gates, median, median_ratio, rounds};

/// What the handler answers, and nothing in an answer's head ends with.
const BODY: &str = "[\"order-1\",\"order-2\"]";
const CONNECTIONS: usize = 32;
/// How the runtime deals connections out among its threads, and where memory lies, is settled when a server starts, and
/// makes a side of it some hundredths cheaper or dearer for as long as it runs. So there are several, one after another.
const SERVERS: usize = 6;
/// For each of them.
const ROUNDS: usize = 21;
/// Requests of one connection in one burst.
const REQUESTS: usize = 150;

fn main() -> ExitCode {
    if !support::is_bench() {
        return ExitCode::SUCCESS;
    }
    if server_arguments().is_some() {
        support::subscribe();
        server::run(CONNECTIONS);
        return ExitCode::SUCCESS;
    }
    let mut gates = Gates::default();
    measure(&mut gates);
    gates.exit_code()
}

fn measure(gates: &mut Gates) {
    let mut times = SIDES.map(|_| Vec::new());
    let mut per_second = SIDES.map(|_| Vec::new());
    for _ in 0..SERVERS {
        let (more_times, more_per_second) = one_server();
        for side in 0..SIDES.len() {
            times[side].extend(&more_times[side]);
            per_second[side].extend(&more_per_second[side]);
        }
    }
    println!("the server's processor time for a request, {ROUNDS} rounds with each of {SERVERS} servers:");
    for ((name, side), per_second) in SIDES.iter().zip(&times).zip(per_second) {
        println!(
            "  {name:40} {:6.2} µs, {:.3} of nothing's, {:.0} requests a second",
            median(side.clone()) / 1e3 / (CONNECTIONS * REQUESTS) as f64,
            median_ratio(side, &times[0]),
            median(per_second),
        );
    }
    for side in [2, 3] {
        let ratio = median_ratio(&times[side], &times[0]);
        gates.at_most(&format!("server's time with {} / without", SIDES[side]), ratio, 1.06);
    }
}

/// The processor time of every burst against one server, and how many requests a second were answered, by sides.
fn one_server() -> (Vec<Vec<f64>>, Vec<Vec<f64>>) {
    let mut server = Server::start(&[]);
    let clients = SIDES.map(|_| {
        let line = server.hear();
        let mut words = line.split(' ');
        let port = words.next().and_then(|port| port.parse().ok()).expect("a port");
        RefCell::new(Clients::connect(port, &words.collect::<Vec<_>>()))
    });
    let server = RefCell::new(server);
    let per_second = SIDES.map(|_| RefCell::new(Vec::new()));
    let burst = |side: usize| -> Duration {
        let mut server = server.borrow_mut();
        let [before] = server.ask("time");
        let began = Instant::now();
        let requests = clients[side].borrow_mut().burst(REQUESTS);
        let elapsed = began.elapsed();
        let [after] = server.ask("time");
        per_second[side]
            .borrow_mut()
            .push(requests as f64 / elapsed.as_secs_f64());
        Duration::from_nanos(after - before)
    };
    let times = rounds(
        ROUNDS,
        &mut [
            &mut || burst(0),
            &mut || burst(1),
            &mut || burst(2),
            &mut || burst(3),
            &mut || burst(4),
            &mut || burst(5),
            &mut || burst(6),
        ],
    );
    (times, per_second.into_iter().map(RefCell::into_inner).collect())
}
