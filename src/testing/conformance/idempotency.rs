//! What was made for an idempotency key is stored once, with its key, for its time.

use super::bench::{Bench, NOW, insert_key, new_key, new_text, one};
use crate::audit::Forget;
use crate::key::{Actor, IdempotencyRecord, KeyId, Timestamp};
use crate::store::query::OneIdempotency;
use crate::store::{Commit, ManagedStore, StoreErrorKind, StoredKey, Write};

/// A row comes back as it was written, in its organization and for its caller alone.
pub(super) async fn rows<S: ManagedStore>(bench: &Bench<S>) {
    let (acme, other) = (bench.organization().await, bench.organization().await);
    let text = new_text();
    let mut all = Vec::new();
    // Texts are compared byte by byte.
    for (organization, actor, text) in [
        (&acme, Actor::user("alice"), text.clone()),
        (&other, Actor::user("alice"), text.clone()),
        (&acme, Actor::user("Alice"), text.clone()),
        (&acme, Actor::key(KeyId::new()), text.clone()),
        (&acme, Actor::service(), text.clone()),
        (&acme, Actor::user("alice"), text.to_uppercase()),
        (&acme, Actor::user("alice"), format!("{text}'\"\\%_")),
        (&acme, Actor::user("alice"), format!("{text}{}", "~".repeat(223))),
    ] {
        let key = new_key(organization);
        let mut row = row(bench, &key, &text);
        row.actor = actor;
        row.request_hash = [255 - all.len() as u8; 32];
        bench
            .commit("inserting a key with an idempotency key", insert(&key, &row))
            .await;
        all.push(row);
    }
    for row in all {
        bench.same(
            "what was made for an idempotency key",
            read(bench, &row).await,
            Some(row),
        );
    }
    let mut unknown = row(bench, &new_key(&acme), &text);
    unknown.actor = Actor::user("bob");
    bench.same(
        "what was made for an idempotency key of another caller",
        read(bench, &unknown).await,
        None,
    );
}

/// Until the row is over the key is not made again, and nothing of the commit is.
pub(super) async fn twice<S: ManagedStore>(bench: &Bench<S>) {
    let acme = bench.organization().await;
    let text = new_text();
    let first = row(bench, &new_key(&acme), &text);
    let of = |key: &StoredKey, at: Timestamp| {
        let mut row = row(bench, key, &text);
        (row.created_at, row.expires_at) = (at, at.after(IdempotencyRecord::KEPT));
        row
    };
    let mut key = new_key(&acme);
    key.record.id = first.key_id;
    bench
        .commit("inserting a key with an idempotency key", insert(&key, &first))
        .await;
    let last = Timestamp::from_millis(first.expires_at.as_millis() - 1);
    for at in [NOW, last] {
        let again = new_key(&acme);
        let commit = insert(&again, &of(&again, at));
        let what = "inserting a second key with an idempotency key";
        bench.fails(what, commit, StoreErrorKind::AlreadyExists).await;
        bench.same("the second key", bench.key(again.record.id).await, None);
        bench.same(
            "what was made for the idempotency key",
            read(bench, &first).await,
            Some(first.clone()),
        );
    }
    let later = new_key(&acme);
    let after = of(&later, first.expires_at);
    let what = "inserting a key with an idempotency key whose row is over";
    bench.commit(what, insert(&later, &after)).await;
    bench.same(
        "what was made for the idempotency key",
        read(bench, &first).await,
        Some(after),
    );
    bench.holds(
        bench.key(first.key_id).await.is_some(),
        "the key whose row was over is gone",
    );
}

/// Of several at once one succeeds.
pub(super) async fn at_once<S: ManagedStore>(bench: &Bench<S>) {
    let acme = bench.organization().await;
    let text = new_text();
    let mut tasks = Vec::new();
    for _ in 0..8 {
        let key = new_key(&acme);
        let (store, commit) = (bench.store.clone(), insert(&key, &row(bench, &key, &text)));
        tasks.push(tokio::spawn(async move {
            store.commit(commit).await.map(|_| key.record.id)
        }));
    }
    let mut made = Vec::new();
    for task in tasks {
        match task.await {
            Ok(Ok(id)) => made.push(id),
            Ok(Err(error)) => bench.same(
                "the error of those that came later",
                error.kind(),
                StoreErrorKind::AlreadyExists,
            ),
            Err(error) => bench.broken(format!("a commit panicked: {error}")),
        }
    }
    bench.same("how many keys were made", made.len(), 1);
    let stored = read(bench, &row(bench, &new_key(&acme), &text)).await;
    bench.same(
        "the key that was made",
        stored.map(|row| row.key_id),
        made.first().copied(),
    );
}

/// A row is written with the key that it is about.
pub(super) async fn alone<S: ManagedStore>(bench: &Bench<S>) {
    let (acme, key) = bench.inserted().await;
    let text = new_text();
    let note = row(bench, &key, &text);
    let invalid = StoreErrorKind::InvalidCommit;
    let what = "an idempotency key without the insert of its key";
    bench
        .fails(what, one(Write::InsertIdempotency(note.clone())), invalid)
        .await;
    let other = new_key(&acme);
    let what = "an idempotency key with the insert of another key";
    bench.fails(what, insert(&other, &note), invalid).await;
    let mut elsewhere = row(bench, &other, &text);
    elsewhere.organization_id = bench.organization().await.id;
    let what = "an idempotency key of another organization than its key";
    bench.fails(what, insert(&other, &elsewhere), invalid).await;
    let note = row(bench, &other, &text);
    let twice = insert(&other, &note).write(Write::InsertIdempotency(note.clone()));
    bench
        .fails("an idempotency key twice in a commit", twice, invalid)
        .await;
    bench.same("what was made", read(bench, &note).await, None);
}

/// Rows that are over are deleted, and those of an organization with it. A key that is deleted leaves its row.
pub(super) async fn deleted<S: ManagedStore>(bench: &Bench<S>) {
    let acme = bench.organization().await;
    let mut rows = Vec::new();
    for number in 0..2 {
        let key = new_key(&acme);
        let mut row = row(bench, &key, &new_text());
        row.expires_at = Timestamp::from_millis(1_000 + number);
        bench
            .commit("inserting a key with an idempotency key", insert(&key, &row))
            .await;
        rows.push(row);
    }
    let before = Timestamp::from_millis(1_000);
    bench
        .commit("deleting rows that are over", one(Write::PruneIdempotency { before }))
        .await;
    let (over, other) = (&rows[0], &rows[1]);
    bench.same("a row that was over", read(bench, over).await, None);
    bench.same("a row that was not over", read(bench, other).await, Some(other.clone()));
    for row in &rows {
        bench.commit("deleting a key", one(Write::DeleteKey(row.key_id))).await;
    }
    bench.same(
        "the row of a deleted key",
        read(bench, other).await,
        Some(other.clone()),
    );
    bench
        .commit("deleting an organization", one(Write::DeleteOrganization(acme.id)))
        .await;
    bench.same("a row of a deleted organization", read(bench, other).await, None);
}

/// What a person asked for is forgotten with the person, and what others asked for is not.
pub(super) async fn forgotten<S: ManagedStore>(bench: &Bench<S>) {
    let (acme, other) = (bench.organization().await, bench.organization().await);
    let name = new_text();
    let mut rows = Vec::new();
    for (organization, actor) in [
        (&acme, Actor::user(&*name)),
        (&acme, Actor::user("alice")),
        (&acme, Actor::operator(&*name)),
        (&other, Actor::user(&*name)),
    ] {
        let key = new_key(organization);
        let mut row = row(bench, &key, &new_text());
        row.actor = actor;
        bench
            .commit("inserting a key with an idempotency key", insert(&key, &row))
            .await;
        rows.push(row);
    }
    let by_user = Forget::user(bench.parsed(&name));
    for (forget, left) in [
        (by_user.clone().of(acme.id), vec![1, 2, 3]),
        (by_user, vec![1, 2]),
        (Forget::everyone().of(other.id), vec![1, 2]),
        (Forget::everyone().of(acme.id), vec![]),
    ] {
        bench
            .commit("forgetting a person", one(Write::ForgetPersonal(forget)))
            .await;
        for (number, row) in rows.iter().enumerate() {
            bench.same(
                "whether an idempotency key is kept",
                read(bench, row).await.is_some(),
                left.contains(&number),
            );
        }
    }
}

async fn read<S: ManagedStore>(bench: &Bench<S>, row: &IdempotencyRecord) -> Option<IdempotencyRecord> {
    let query = OneIdempotency(row.organization_id, row.actor.clone(), row.key.clone());
    bench.get("reading an idempotency key", query).await
}

fn row<S: ManagedStore>(bench: &Bench<S>, key: &StoredKey, text: &str) -> IdempotencyRecord {
    let (id, organization) = (key.record.id, key.record.organization_id);
    IdempotencyRecord::new(organization, Actor::user("alice"), bench.parsed(text), [7; 32], id, NOW)
}

fn insert(key: &StoredKey, row: &IdempotencyRecord) -> Commit {
    insert_key(key).write(Write::InsertIdempotency(row.clone()))
}
