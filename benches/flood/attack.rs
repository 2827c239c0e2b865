//! Clients with wrong keys. They send at a fixed rate, whatever the answers are.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::client::{Client, request};
use super::schedule::Schedule;
use crate::support::keys::{with_forged_secret, with_wrong_secret};

/// Many times the rate at which the pool can hash.
pub const PER_SECOND: u32 = 400;

/// What attackers send.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Attack {
    /// Keys with a wrong checksum: the same connections and requests, but nothing to hash.
    Malformed,
    /// Wrong secrets for existing lookups that are not cached: each costs a read and a hash.
    Wrong,
    /// The same for keys with keyed checksums, which attackers cannot make.
    Forged,
}

/// The answers that attackers got.
#[derive(Clone, Copy, Default)]
pub struct Answered {
    pub hung_up: u64,
    pub unauthorized: u64,
    pub too_many: u64,
    pub unavailable: u64,
}

pub struct Attackers {
    pub port: u16,
    pub addresses: u8,
    /// Good keys. Attackers send them with another secret.
    pub targets: Vec<String>,
    /// Makes every wrong key different, because the server remembers a refusal for a second.
    pub salt: AtomicU64,
}

impl Attackers {
    /// Sends each request on a new connection, and closes every other one right after sending.
    pub async fn run(&self, attack: Attack, schedule: Arc<Schedule>) -> Answered {
        let mut ticks = interval(Duration::from_secs(1) / PER_SECOND);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut requests = JoinSet::new();
        let mut answered = Answered::default();
        while !schedule.is_over() {
            ticks.tick().await;
            let number = self.salt.fetch_add(1, Ordering::Relaxed);
            let from = Ipv4Addr::new(127, 0, 0, 2 + (number / 2 % u64::from(self.addresses)) as u8);
            let waits = number.is_multiple_of(2);
            requests.spawn(send(from, self.port, request(&self.key(attack, number)), waits));
            while let Some(status) = requests.try_join_next() {
                answered.count(status.expect("a request"));
            }
        }
        while let Some(status) = requests.join_next().await {
            answered.count(status.expect("a request"));
        }
        answered
    }

    fn key(&self, attack: Attack, number: u64) -> String {
        let target = &self.targets[(number % self.targets.len() as u64) as usize];
        if attack == Attack::Forged {
            return with_forged_secret(target, number);
        }
        let mut key = with_wrong_secret(target, number);
        if attack == Attack::Malformed {
            let last = key.pop();
            key.push(if last == Some('0') { '1' } else { '0' });
        }
        key
    }
}

async fn send(from: Ipv4Addr, port: u16, request: Vec<u8>, waits: bool) -> Option<u16> {
    let mut client = Client::connect(from, port).await.expect("a connection");
    if waits {
        return Some(client.ask(&request).await.expect("an answer"));
    }
    client.send(&request).await.expect("it is sent");
    None
}

impl Answered {
    fn count(&mut self, status: Option<u16>) {
        match status {
            None => self.hung_up += 1,
            Some(401) => self.unauthorized += 1,
            Some(429) => self.too_many += 1,
            Some(503) => self.unavailable += 1,
            Some(status) => panic!("a wrong key was answered {status}"),
        }
    }
}

impl std::ops::AddAssign for Answered {
    fn add_assign(&mut self, other: Self) {
        self.hung_up += other.hung_up;
        self.unauthorized += other.unauthorized;
        self.too_many += other.too_many;
        self.unavailable += other.unavailable;
    }
}
