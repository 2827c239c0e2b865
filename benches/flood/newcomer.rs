//! Good keys that are used for the first time, and so have to be hashed.

use std::net::Ipv4Addr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::client::{Client, HOME, request};
use super::phase::Schedule;

/// Until a client that was told to come back later does. It is less patient than it was asked to be.
const RETRY: Duration = Duration::from_millis(100);
const BETWEEN: Duration = Duration::from_millis(300);
/// When a client gives up, far beyond what would be well.
const LONGEST: Duration = Duration::from_secs(5);

/// Lets one key after another in while the phase counts; gives how long each took from its first try. Every other one
/// comes from an address that nothing was heard of before, and the rest from where the good clients are.
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
