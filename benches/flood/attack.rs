//! Clients with wrong keys, who send at a fixed rate whatever they are answered.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::client::{Client, request};
use super::phase::Schedule;
use crate::support::keys::with_wrong_secret;

/// Many times what the pool can hash.
pub const PER_SECOND: u32 = 400;

/// What attackers send.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Attack {
    /// Keys with a checksum that does not fit: as many connections and requests, and nothing to hash.
    Malformed,
    /// Existing lookups that nobody was let in with yet, and wrong secrets: each costs a read and a hash.
    Wrong,
}

/// How the attackers were answered.
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
    /// Good keys that are never sent as they are.
    pub targets: Vec<String>,
    /// Makes every wrong key another one: a refusal is remembered for a second.
    pub salt: AtomicU64,
}

impl Attackers {
    /// Every request has a connection of its own; every other one is closed as soon as it is sent.
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
