//! Good keys that are used for the first time, so that they have to be hashed.

use std::net::Ipv4Addr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::client::{Client, HOME, request};
use super::schedule::Schedule;

/// The time until a client with a 503 tries again. Shorter than the answer's `Retry-After`.
const RETRY: Duration = Duration::from_millis(100);
const BETWEEN: Duration = Duration::from_millis(300);
/// The time until a client gives up, far beyond the bound.
const LONGEST: Duration = Duration::from_secs(5);

/// Uses one new key after another while the phase counts. Returns the time that each took from its first request to a 200. Half
/// of them come from new addresses, the others from the address of the good clients.
pub async fn run(port: u16, keys: &Mutex<Vec<String>>, schedule: &Schedule) -> Vec<Duration> {
    let mut times = Vec::new();
    schedule.begun().await;
    while schedule.counts(Instant::now()) {
        let (key, left) = {
            let mut keys = keys.lock().expect("no panic");
            (keys.pop().expect("a key is left"), keys.len())
        };
        let from = match left % 2 {
            0 => HOME,
            _ => Ipv4Addr::new(127, 0, 1 + (left / 250) as u8, 1 + (left % 250) as u8),
        };
        times.push(get_in(from, port, &key).await);
        sleep(BETWEEN).await;
    }
    times
}

async fn get_in(from: Ipv4Addr, port: u16, key: &str) -> Duration {
    let began = Instant::now();
    let request = request(key);
    let mut client = Client::connect(from, port).await.expect("a connection");
    loop {
        let status = client.ask(&request).await.expect("an answer");
        if status == 200 || began.elapsed() > LONGEST {
            return began.elapsed();
        }
        assert!(status == 503, "a good key was answered {status}");
        sleep(RETRY).await;
    }
}
