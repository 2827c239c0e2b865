//! Many commits and reads at once.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::JoinSet;

use super::bench::{Bench, hash, insert_key, new_key, new_secret, update_key};
use super::progress::Progress;
use super::updating::replace_hash;
use crate::key::{KeyRecord, KeySecret, Organization};
use crate::store::{Candidate, KeyStore, ManagedStore, StoreErrorKind, StoreExt, StoredKey, Write};

const WRITERS: usize = 16;
const READERS: usize = 4;
const ROUNDS: u32 = 40;

pub(super) async fn one_update_wins<S: ManagedStore>(bench: &Bench<S>) {
    let (_, key) = bench.inserted().await;
    let mut tasks = JoinSet::new();
    for writer in 0..WRITERS {
        let (store, mut mine) = (bench.store.clone(), key.clone());
        mine.record.name = format!("writer {writer}");
        mine.secrets.push(new_secret("sha256:11"));
        let secret = Write::InsertSecret(key.record.id, mine.secrets[1].clone());
        let commit = update_key(&mine.record).write(secret);
        tasks.spawn(async move { (store.commit(commit).await, mine) });
    }
    let mut winner = None;
    for (answer, mut mine) in tasks.join_all().await {
        match answer {
            Ok(_) => {
                bench.holds(winner.is_none(), "two updates from one revision succeeded");
                mine.record.revision += 1;
                winner = Some(mine);
            }
            lost => bench.refused("an update that lost", lost, StoreErrorKind::Conflict),
        }
    }
    let stored = bench.stored(key.record.id).await;
    bench.same("the key", Some(stored), winner);
}

pub(super) async fn one_insert_wins<S: ManagedStore>(bench: &Bench<S>) {
    let organization = bench.organization().await;
    let shared = new_secret("sha256:00");
    let mut tasks = JoinSet::new();
    for _ in 0..WRITERS {
        let (store, mut mine) = (bench.store.clone(), new_key(&organization));
        let mut secret = shared.clone();
        secret.hash = hash(&format!("sha256:{}", mine.record.id));
        mine.secrets = vec![secret.clone()];
        tasks.spawn(async move { (store.commit(insert_key(&mine)).await, mine, secret) });
    }
    let mut winner = None;
    for (answer, mine, secret) in tasks.join_all().await {
        match answer {
            Ok(_) => {
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

/// By readers in tasks of their own, and by reads that have a change between any two of their turns: on a busy machine, all
/// changes may be over before a task has begun to read.
pub(super) async fn torn_reads<S: ManagedStore>(bench: &Bench<S>) {
    let mut rows = bench.inserted().await;
    let (id, lookup) = (rows.1.record.id, rows.1.secrets[0].lookup.clone());
    let done = Arc::new(AtomicBool::new(false));
    let mut readers = JoinSet::new();
    for _ in 0..READERS {
        let (store, done) = (bench.store.clone(), done.clone());
        let lookup = lookup.clone();
        readers.spawn(async move {
            while !done.load(Ordering::SeqCst) {
                whole_candidate(store.find(&lookup).await.ok().flatten())?;
                whole_key(store.get(id).await.ok().flatten())?;
                tokio::task::yield_now().await;
            }
            Ok::<_, String>(())
        });
    }
    for _ in 0..ROUNDS {
        change(bench, &mut rows).await;
    }
    done.store(true, Ordering::SeqCst);
    for read in readers.join_all().await {
        read.unwrap_or_else(|torn| bench.broken(torn));
    }

    let found = between_changes(bench, &mut rows, bench.find(&lookup)).await;
    whole_candidate(found).unwrap_or_else(|torn| bench.broken(torn));
    let stored = between_changes(bench, &mut rows, bench.key(id)).await;
    whole_key(stored).unwrap_or_else(|torn| bench.broken(torn));
}

async fn between_changes<S: ManagedStore, T>(bench: &Bench<S>, rows: &mut Rows, read: impl Future<Output = T>) -> T {
    let mut read = Progress::of(read);
    for _ in 0..ROUNDS {
        if !read.turn().await {
            break;
        }
        // Two: with one, an organization that was read after it looks like one whose key's turn has not come yet.
        let changes = async {
            change(bench, rows).await;
            change(bench, rows).await;
        };
        read.beside(changes).await;
    }
    read.end().await
}

/// An organization and its key.
type Rows = (Organization, StoredKey);

/// Name, metadata and hash all carry the number of the change. The organization goes first, and is never more than one ahead.
async fn change<S: ManagedStore>(bench: &Bench<S>, (organization, key): &mut Rows) {
    bench.update_organization(organization).await;
    let number = (key.record.revision + 1).to_string();
    let (secret, new) = (&mut key.secrets[0], hash(&format!("sha256:{number}")));
    let replace = replace_hash(&secret.lookup, &secret.hash, &new);
    secret.hash = new;
    if let Err(error) = key.record.metadata.set("number", &number) {
        bench.broken(error.to_string());
    }
    key.record.name = number;
    let mut commit = update_key(&key.record);
    commit.writes.extend(replace.writes);
    bench.commit("updating a key and its hash", commit).await;
    key.record.revision += 1;
}

fn whole_candidate(found: Option<Candidate>) -> Result<(), String> {
    if let Some(Candidate {
        record, organization, ..
    }) = &found
        && !(record.revision..=record.revision + 1).contains(&organization.revision)
    {
        return Err(format!(
            "a key and an organization of two states were read together: {record:?}, {organization:?}"
        ));
    }
    whole(found.map(|found| (found.record, found.secret)))
}

fn whole_key(stored: Option<StoredKey>) -> Result<(), String> {
    whole(stored.and_then(|stored| Some((stored.record, stored.secrets.into_iter().next()?))))
}

fn whole(read: Option<(KeyRecord, KeySecret)>) -> Result<(), String> {
    let Some((record, secret)) = read else {
        return Err("a key that is being changed was not there".to_owned());
    };
    let (number, hash) = (record.revision, secret.hash.as_str());
    let is_whole = number == 1
        || (record.name == number.to_string()
            && record.metadata.get("number") == Some(&record.name)
            && hash == format!("sha256:{number}"));
    match is_whole {
        true => Ok(()),
        false => Err(format!(
            "parts of two changes were read together: {record:?}, hash {hash:?}"
        )),
    }
}

pub(super) async fn read_after_return<S: ManagedStore>(bench: &Bench<S>) {
    let (mut organization, mut key) = bench.inserted().await;
    let lookup = key.secrets[0].lookup.clone();
    for _ in 0..ROUNDS {
        bench.update(&mut key.record).await;
        let found = bench.find(&lookup).await.map(|candidate| candidate.record);
        bench.same("the record", found, Some(key.record.clone()));
        bench.same(
            "the record",
            bench.stored(key.record.id).await.record,
            key.record.clone(),
        );
        bench.update_organization(&mut organization).await;
        let found = bench.find(&lookup).await.map(|candidate| candidate.organization);
        bench.same("the organization", found, Some(organization.clone()));
    }
}
