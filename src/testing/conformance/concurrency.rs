//! Many at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::JoinSet;

use super::bench::{Bench, hash, new_key, new_secret};
use crate::store::{KeyStore, ManageKeys, StoreErrorKind};

const WRITERS: usize = 16;
const READERS: usize = 4;
const ROUNDS: u32 = 40;

pub(super) async fn one_update_wins<S: ManageKeys>(bench: &Bench<S>) {
    let (_, key) = bench.inserted().await;
    let mut tasks = JoinSet::new();
    for writer in 0..WRITERS {
        let (store, mut mine) = (bench.store.clone(), key.clone());
        mine.record.name = format!("writer {writer}");
        mine.secrets = vec![new_secret("sha256:11")];
        tasks.spawn(async move { (store.update_key(mine.clone()).await, mine) });
    }
    let mut winner = None;
    for (answer, mut mine) in tasks.join_all().await {
        match answer {
            Ok(record) => {
                bench.holds(winner.is_none(), "two updates from one revision succeeded");
                mine.record = record;
                winner = Some(mine);
            }
            lost => bench.refused("an update that lost", lost, StoreErrorKind::Conflict),
        }
    }
    let stored = bench.stored(key.record.id).await;
    bench.same("the key", Some(stored), winner);
}

pub(super) async fn one_insert_wins<S: ManageKeys>(bench: &Bench<S>) {
    let organization = bench.organization().await;
    let shared = new_secret("sha256:00");
    let mut tasks = JoinSet::new();
    for _ in 0..WRITERS {
        let (store, mine) = (bench.store.clone(), new_key(&organization));
        let mut secret = shared.clone();
        secret.hash = hash(&format!("sha256:{}", mine.record.id));
        tasks.spawn(async move {
            (
                store.insert_key(mine.record.clone(), secret.clone()).await,
                mine,
                secret,
            )
        });
    }
    let mut winner = None;
    for (answer, mine, secret) in tasks.join_all().await {
        match answer {
            Ok(()) => {
                bench.holds(winner.is_none(), "two inserts of one lookup succeeded");
                winner = Some((mine.record, secret));
            }
            lost => {
                bench.refused("an insert that lost", lost, StoreErrorKind::AlreadyExists);
                bench.same("the key that lost", bench.key(mine.record.id).await, None);
            }
        }
    }
    let found = bench
        .find(&shared.lookup)
        .await
        .map(|candidate| (candidate.record, candidate.secret));
    bench.same("the key", found, winner);
}

/// Name, metadata and hash all carry the number of the change.
pub(super) async fn torn_reads<S: ManageKeys>(bench: &Bench<S>) {
    let (_, mut key) = bench.inserted().await;
    let done = Arc::new(AtomicBool::new(false));
    let mut readers = JoinSet::new();
    for _ in 0..READERS {
        let (store, done) = (bench.store.clone(), done.clone());
        let (id, lookup) = (key.record.id, key.secrets[0].lookup.clone());
        readers.spawn(async move {
            while !done.load(Ordering::SeqCst) {
                let found = store.find(&lookup).await.ok().flatten();
                let stored = store.key(id).await.ok().flatten();
                let (Some(found), Some(stored)) = (found, stored) else {
                    return Err("a key that is being changed was not there".to_owned());
                };
                let first = stored.secrets.first().cloned();
                for (record, secret) in [(found.record, Some(found.secret)), (stored.record, first)] {
                    let hash = secret.map(|secret| secret.hash.as_str().to_owned());
                    let number = record.revision;
                    let whole = number == 1
                        || (record.name == number.to_string()
                            && record.metadata.get("number") == Some(&record.name)
                            && hash == Some(format!("sha256:{number}")));
                    if !whole {
                        return Err(format!(
                            "parts of two changes were read together: {record:?}, hash {hash:?}"
                        ));
                    }
                }
                tokio::task::yield_now().await;
            }
            Ok(())
        });
    }
    for _ in 0..ROUNDS {
        let number = (key.record.revision + 1).to_string();
        key.secrets[0].hash = hash(&format!("sha256:{number}"));
        if let Err(error) = key.record.metadata.set("number", &number) {
            bench.broken(error.to_string());
        }
        key.record.name = number;
        key.record = bench.ok("update_key", bench.store.update_key(key.clone()).await);
    }
    done.store(true, Ordering::SeqCst);
    for reader in readers.join_all().await {
        if let Err(torn) = reader {
            bench.broken(torn);
        }
    }
}

pub(super) async fn read_after_return<S: ManageKeys>(bench: &Bench<S>) {
    let (mut organization, mut key) = bench.inserted().await;
    for _ in 0..ROUNDS {
        key.record = bench.ok("update_key", bench.store.update_key(key.clone()).await);
        let found = bench
            .find(&key.secrets[0].lookup)
            .await
            .map(|candidate| candidate.record);
        bench.same("the record", found, Some(key.record.clone()));
        let updated = bench.store.update_organization(organization).await;
        organization = bench.ok("update_organization", updated);
        let found = bench
            .find(&key.secrets[0].lookup)
            .await
            .map(|candidate| candidate.organization);
        bench.same("the organization", found, Some(organization.clone()));
    }
}
