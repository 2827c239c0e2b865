//! A walk by cursor, while rows come and go.

use std::collections::BTreeSet;

use super::bench::{Bench, insert_key, new_key};
use crate::key::KeyId;
use crate::store::query::Keys;
use crate::store::{Commit, ManagedStore, StoredKey, Write};

const STAY: usize = 60;
/// Rows that are inserted or deleted between two pages, and how often.
const MOVE: usize = 100;
const PAGES: usize = 20;

/// 1,000 rows come and go. Each row that was there throughout is seen once.
pub(super) async fn by_cursor<S: ManagedStore>(bench: &Bench<S>) {
    for by_name in [false, true] {
        walk(bench, by_name).await;
    }
}

async fn walk<S: ManagedStore>(bench: &Bench<S>, by_name: bool) {
    let organization = bench.organization().await;
    let named = |number: usize| {
        let mut key = new_key(&organization);
        key.record.name = format!("name {:03}", number * 7919 % 1000);
        key
    };
    let stay: Vec<StoredKey> = (0..STAY).map(named).collect();
    let mut guests: Vec<StoredKey> = (0..MOVE).map(|number| named(number + 1)).collect();
    bench.commit("inserting keys", insert_all(&stay)).await;
    bench.commit("inserting keys", insert_all(&guests)).await;

    let mut seen: Vec<KeyId> = Vec::new();
    let mut next = None;
    for page in 0..PAGES {
        let query = Keys::of(organization.id).page(4);
        let query = if by_name { query.name_starts_with("name") } else { query };
        let query = match next.take() {
            Some(cursor) => query.after(cursor),
            None => query,
        };
        let part = bench.get("a page of keys", query).await;
        seen.extend(part.items.iter().map(|key| key.record.id));
        // Every other time those of before go, which the last page may have ended with.
        if page % 2 == 0 {
            let gone = guests.drain(..).map(|key| Write::DeleteKey(key.record.id));
            let mut commit = Commit::new();
            commit.writes = gone.collect();
            bench.commit("deleting keys", commit).await;
        } else {
            guests = (0..MOVE).map(|number| named(page * MOVE + number)).collect();
            bench.commit("inserting keys", insert_all(&guests)).await;
        }
        let Some(cursor) = part.next else { break };
        next = Some(cursor);
    }
    // What is left, in large pages: the walk above may not have come to the end.
    while let Some(cursor) = next.take() {
        let query = Keys::of(organization.id).page(100);
        let query = if by_name { query.name_starts_with("name") } else { query };
        let part = bench.get("a page of keys", query.after(cursor)).await;
        seen.extend(part.items.iter().map(|key| key.record.id));
        next = part.next;
    }
    let distinct: BTreeSet<KeyId> = seen.iter().copied().collect();
    bench.same("the number of different rows of a walk", distinct.len(), seen.len());
    let missed = stay.iter().filter(|key| !distinct.contains(&key.record.id)).count();
    bench.same("the number of rows that a walk missed", missed, 0);
}

fn insert_all(keys: &[StoredKey]) -> Commit {
    let mut commit = Commit::new();
    commit.writes = keys.iter().flat_map(|key| insert_key(key).writes).collect();
    commit
}
