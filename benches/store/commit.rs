//! Commits, against the same rows written by hand.

use std::time::{Duration, Instant};

use rusqlite::Connection;
use tower_api_key::audit::AuditAction;
use tower_api_key::key::{KeyRecord, Organization};
use tower_api_key::store::{Commit, ManagedStore, SqliteStore, Write};

use super::by_hand::{self, Rows};
use super::rows::{self, File};
use crate::support::{Bounds, median, median_ratio};

/// Keys of a batch, each with its event.
const BATCH: usize = 1_000;
const SINGLE_ROUNDS: usize = 401;
const BATCH_ROUNDS: usize = 21;
/// Of commits at once.
const AT_ONCE: usize = 64;

/// A file that the store writes, and one that is written by hand.
struct Sides {
    store: SqliteStore,
    read: Connection,
    hand: Connection,
    acme: Organization,
    number: usize,
    _files: [File; 2],
}

pub async fn run(bounds: &mut Bounds) {
    let mut sides = Sides::new().await;
    for (what, keys, rounds) in [("single", 1, SINGLE_ROUNDS), ("batch", BATCH, BATCH_ROUNDS)] {
        let (mut store, mut hand) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
        for round in 0..=rounds {
            let (mut records, times) = sides.issue(keys).await;
            let again = sides.update(&mut records).await;
            // The first round warms up.
            for (index, (by_store, by_hand)) in [times, again].into_iter().enumerate() {
                if round > 0 {
                    store[index].push(by_store.as_nanos() as f64);
                    hand[index].push(by_hand.as_nanos() as f64);
                }
            }
        }
        for (index, action) in ["issue", "update"].into_iter().enumerate() {
            let per_key = |times: &[f64]| median(times.to_vec()) / keys as f64 / 1e3;
            println!(
                "{action} {what}: {:.1} us a key, by hand {:.1} us",
                per_key(&store[index]),
                per_key(&hand[index])
            );
            let speed = median_ratio(&hand[index], &store[index]);
            bounds.check(&format!("commit {action} {what} hand/store"), speed, 0.5..);
        }
    }
    sides.at_once().await;
}

impl Sides {
    async fn new() -> Self {
        let files = [File::new(), File::new()];
        drop(files[1].open().await);
        let store = files[0].open().await;
        let acme = rows::organization(&store).await;
        let (read, hand) = (by_hand::connect(&files[0].path), by_hand::connect(&files[1].path));
        by_hand::write(&hand, &[Rows::insert(&read, "api_keys_organizations", "TRUE")]);
        Self {
            store,
            read,
            hand,
            acme,
            number: 0,
            _files: files,
        }
    }

    /// New keys, each with a secret and an event; how long it took by the store and by hand.
    async fn issue(&mut self, keys: usize) -> (Vec<KeyRecord>, (Duration, Duration)) {
        let before = self.events();
        let new: Vec<_> = (0..keys)
            .map(|_| {
                self.number += 1;
                rows::key(&self.acme, self.number)
            })
            .collect();
        let commit = rows::insert(&new, true);
        let by_store = self.commit(commit).await;
        let records: Vec<KeyRecord> = new.into_iter().map(|(record, _)| record).collect();
        let tables = [
            Rows::insert(&self.read, "api_keys_keys", &in_ids("id", &records)),
            Rows::insert(&self.read, "api_keys_key_secrets", &in_ids("key_id", &records)),
            Rows::insert(&self.read, "api_keys_audit_events", &format!("seq > {before}")),
            Rows::upsert(&self.read, "api_keys_organization_state", "TRUE", "organization_id"),
        ];
        assert_eq!([tables[0].len(), tables[1].len(), tables[2].len()], [keys; 3]);
        let by_hand = by_hand::write(&self.hand, &tables);
        (records, (by_store, by_hand))
    }

    /// The same keys renamed: triggers write the change log, on both sides.
    async fn update(&mut self, records: &mut [KeyRecord]) -> (Duration, Duration) {
        let before = self.events();
        let mut commit = Commit::new();
        for record in &mut *records {
            record.name += " again";
            commit = commit
                .audit(rows::event(record, AuditAction::KEY_UPDATED))
                .write(Write::UpdateKey(record.clone()));
        }
        let by_store = self.commit(commit).await;
        let tables = [
            Rows::update(&self.read, "api_keys_keys", &in_ids("id", records)),
            Rows::insert(&self.read, "api_keys_audit_events", &format!("seq > {before}")),
            Rows::upsert(&self.read, "api_keys_organization_state", "TRUE", "organization_id"),
        ];
        assert_eq!([tables[0].len(), tables[1].len()], [records.len(); 2]);
        let by_hand = by_hand::write(&self.hand, &tables);
        (by_store, by_hand)
    }

    async fn commit(&self, commit: Commit) -> Duration {
        let began = Instant::now();
        self.store.commit(commit).await.expect("a commit");
        began.elapsed()
    }

    /// The number of the last event.
    fn events(&self) -> i64 {
        let last = "SELECT coalesce(max(seq), 0) FROM api_keys_audit_events";
        self.read.query_row(last, [], |row| row.get(0)).expect("a number")
    }

    /// Commits of one key each, many at once: the writer takes them together.
    async fn at_once(&mut self) {
        let mut times = Vec::new();
        for _ in 0..BATCH_ROUNDS {
            let commits: Vec<Commit> = (0..AT_ONCE)
                .map(|number| rows::insert(&[rows::key(&self.acme, number)], true))
                .collect();
            let began = Instant::now();
            let tasks: Vec<_> = commits
                .into_iter()
                .map(|commit| {
                    let store = self.store.clone();
                    tokio::spawn(async move { store.commit(commit).await.expect("a commit") })
                })
                .collect();
            for task in tasks {
                task.await.expect("a task");
            }
            times.push(began.elapsed().as_nanos() as f64);
        }
        let one = median(times) / AT_ONCE as f64 / 1e3;
        println!("issue, {AT_ONCE} commits at once: {one:.1} us a key");
    }
}

fn in_ids(column: &str, records: &[KeyRecord]) -> String {
    let ids: Vec<String> = records
        .iter()
        .map(|record| format!("x'{}'", record.id.as_uuid().simple()))
        .collect();
    format!("{column} IN ({})", ids.join(", "))
}
