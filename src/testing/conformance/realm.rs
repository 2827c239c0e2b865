//! The realm and its secrets.

use std::sync::Arc;

use super::bench::{Bench, NOW, new_key, new_secret as new_key_secret, new_text, update_key};
use crate::key::{KeyStatus, SecretForm, SecretPurpose, SecretState, SecretValue, ServerSecretRecord, Timestamp};
use crate::key::{Organization, Realm, RealmId, Subject};
use crate::store::query::{CountKeysOfForm, ServerSecretRecords, TheRealm};
use crate::store::{Commit, ManagedStore, StoreErrorKind, Write};

const INSERTS: usize = 16;

pub(super) async fn adopted<S: ManagedStore>(bench: &Bench<S>) {
    let realm = bench.get("reading the realm", TheRealm).await;
    let adopt = |was, row| Commit::new().write(Write::AdoptRealm { was, row });
    let another = || Realm {
        id: RealmId::new(),
        ..realm
    };
    let row = another();
    let what = "adopting a realm that has another identity";
    bench.fails(what, adopt(row, another()), StoreErrorKind::Conflict).await;
    bench.commit("adopting a realm", adopt(realm, row)).await;
    let stored = bench.get("reading the realm", TheRealm).await;
    bench.same("the adopted realm", stored, row);
    bench.commit("adopting a realm again", adopt(row, realm)).await;
}

pub(super) async fn identity<S: ManagedStore>(bench: &Bench<S>) {
    let mut realm = bench.get("reading the realm", TheRealm).await;
    let again = bench.get("reading the realm", TheRealm).await;
    bench.same("the realm when it is read again", again, realm);

    for until in [NOW, Timestamp::MAX, Timestamp::from_millis(0), realm.crc_accepted_until] {
        let mut changed = realm;
        changed.crc_accepted_until = until;
        bench.commit("updating the realm", update(realm, changed)).await;
        let stored = bench.get("reading the realm", TheRealm).await;
        bench.same("the updated realm", stored, changed);
        // Prepared before: it would move an end that was set in between.
        let mut later = realm;
        later.crc_accepted_until = Timestamp::from_millis(NOW.as_millis() + 7);
        if realm != changed {
            let outdated = update(realm, later);
            bench
                .fails("an outdated update of the realm", outdated, StoreErrorKind::Conflict)
                .await;
        }
        realm = changed;
    }
    let mut other = realm;
    (other.id, other.crc_accepted_until) = (RealmId::new(), NOW);
    for was in [realm, other] {
        let update = update(was, other);
        bench
            .fails("updating another realm", update, StoreErrorKind::Conflict)
            .await;
    }
    let stored = bench.get("reading the realm", TheRealm).await;
    bench.same("the realm after an update of another", stored, realm);
}

pub(super) async fn rows<S: ManagedStore>(bench: &Bench<S>) {
    let mut plain = new_secret();
    plain.id = "a".to_owned();
    let mut second = plain.clone();
    (second.number, second.value) = (7, SecretValue::new((0..=255).collect()));
    let mut full = plain.clone();
    full.id = "b".to_owned();
    full.state = SecretState::Pending;
    full.sealed_by = Some("root key".to_owned());
    full.value = SecretValue::new(vec![0; 4096]);
    full.active_from = Timestamp::MAX;
    full.retire_at = Some(Timestamp::from_millis(-1));
    let mut retired = full.clone();
    (retired.id, retired.state) = ("c".repeat(64), SecretState::Retired);
    let other = new_secret();
    for row in [&full, &second, &other, &plain, &retired] {
        bench.commit("inserting a secret of the servers", insert(row)).await;
    }
    let stored = bench.get("reading secrets", of(&plain)).await;
    let all = [plain.clone(), second, full.clone(), retired.clone()];
    bench.same("the secrets of a purpose", parts(&stored), parts(&all));
    let everything = bench.get("reading secrets", ServerSecretRecords::all()).await;
    bench.holds(
        everything.len() == ServerSecretRecords::MOST || parts(&everything).contains(&parts(&[other])[0]),
        "a secret is missing among those of all purposes",
    );
    bench.holds(
        parts(&everything).is_sorted_by(|one, other| one.0 < other.0),
        "secrets are not ordered by purpose, id and number",
    );

    let mut updated = full.clone();
    (updated.sealed_by, updated.retire_at) = (None, None);
    (updated.value, updated.active_from) = (SecretValue::new(vec![1]), NOW);
    bench
        .commit("updating a secret of the servers", change(&full, &updated))
        .await;
    bench
        .commit(
            "deleting a secret of the servers",
            Commit::new().write(delete(&retired)),
        )
        .await;
    let stored = bench.get("reading secrets", of(&plain)).await;
    bench.same(
        "the secrets after an update and a deletion",
        parts(&stored),
        parts(&[all[0].clone(), all[1].clone(), updated]),
    );
    let missing = Commit::new().write(delete(&retired));
    bench
        .fails("deleting a secret twice", missing, StoreErrorKind::NotFound)
        .await;
    let missing = change(&retired, &retired);
    bench
        .fails("updating a secret that is not there", missing, StoreErrorKind::NotFound)
        .await;

    for spoil in [
        |row: &mut ServerSecretRecord| row.value = SecretValue::new(Vec::new()),
        |row: &mut ServerSecretRecord| row.value = SecretValue::new(vec![0; 4097]),
        |row: &mut ServerSecretRecord| row.id.clear(),
        |row: &mut ServerSecretRecord| row.purpose = SecretPurpose::new(""),
    ] {
        let mut row = new_secret();
        spoil(&mut row);
        bench
            .fails("a secret out of bounds", insert(&row), StoreErrorKind::InvalidCommit)
            .await;
    }
}

pub(super) async fn twice<S: ManagedStore>(bench: &Bench<S>) {
    let first = new_secret();
    let mut second = first.clone();
    second.value = SecretValue::new(vec![2; 32]);
    bench.commit("inserting a secret of the servers", insert(&first)).await;
    bench
        .fails("inserting it again", insert(&second), StoreErrorKind::AlreadyExists)
        .await;
    let stored = bench.get("reading secrets", of(&first)).await;
    bench.same("the secret", parts(&stored), parts(&[first]));
}

pub(super) async fn at_once<S: ManagedStore>(bench: &Bench<S>) {
    let start = Arc::new(tokio::sync::Barrier::new(INSERTS));
    let first = new_secret();
    let tasks: Vec<_> = (0..INSERTS)
        .map(|number| {
            let (store, start, mut row) = (bench.store.clone(), start.clone(), first.clone());
            row.value = SecretValue::new(vec![number as u8 + 1; 32]);
            tokio::spawn(async move {
                start.wait().await;
                store.commit(insert(&row)).await.map(|_| row)
            })
        })
        .collect();
    let mut stored = Vec::new();
    for task in tasks {
        match task.await {
            Ok(Ok(row)) => stored.push(row),
            Ok(Err(error)) => bench.same(
                "the error of a later insert",
                error.kind(),
                StoreErrorKind::AlreadyExists,
            ),
            Err(error) => bench.broken(format!("inserting a secret of the servers panicked: {error}")),
        }
    }
    bench.same("the number of inserts that succeeded", stored.len(), 1);
    let read = bench.get("reading secrets", of(&first)).await;
    bench.same("the secret that is read back", parts(&read), parts(&stored));
}

pub(super) async fn states<S: ManagedStore>(bench: &Bench<S>) {
    let active = new_secret();
    bench.commit("inserting a secret of the servers", insert(&active)).await;
    let mut retired = active.clone();
    retired.state = SecretState::Retired;
    bench.commit("retiring a secret", change(&active, &retired)).await;
    // Prepared before: it would make the secret active again.
    let mut sealed = active.clone();
    sealed.sealed_by = Some("root key".to_owned());
    bench
        .fails("an outdated update", change(&active, &sealed), StoreErrorKind::Conflict)
        .await;
    let stored = bench.get("reading secrets", of(&active)).await;
    bench.same("the secret", parts(&stored), parts(&[retired.clone()]));
    let mut moved = retired.clone();
    moved.number = 1;
    bench
        .fails(
            "an update that moves a secret",
            change(&retired, &moved),
            StoreErrorKind::InvalidCommit,
        )
        .await;
}

pub(super) async fn columns<S: ManagedStore>(bench: &Bench<S>) {
    let mut stored = new_secret();
    stored.sealed_by = Some("root key".to_owned());
    stored.retire_at = Some(NOW);
    bench.commit("inserting a secret of the servers", insert(&stored)).await;
    // Prepared before another one changed this column, it would set it back.
    let outdated: [fn(&mut ServerSecretRecord); 8] = [
        |row| row.sealed_by = None,
        |row| row.sealed_by = Some("former root key".to_owned()),
        |row| row.value = SecretValue::new(vec![2; 32]),
        |row| row.value = SecretValue::new(vec![1; 31]),
        |row| row.created_at = Timestamp::from_millis(NOW.as_millis() - 1),
        |row| row.active_from = Timestamp::MAX,
        |row| row.retire_at = None,
        |row| row.retire_at = Some(Timestamp::MAX),
    ];
    for change_before in outdated {
        let mut was = stored.clone();
        change_before(&mut was);
        let mut row = was.clone();
        row.state = SecretState::Retired;
        bench
            .fails("an outdated update", change(&was, &row), StoreErrorKind::Conflict)
            .await;
    }
    let read = bench.get("reading secrets", of(&stored)).await;
    bench.same("the secret", parts(&read), parts(&[stored]));
}

pub(super) async fn announced<S: ManagedStore>(bench: &Bench<S>) {
    let (_, key) = bench.inserted().await;
    let secret = new_secret();
    let realm = bench.get("reading the realm", TheRealm).await;
    for (what, commit) in [
        ("inserting a secret of the servers", insert(&secret)),
        ("updating a secret of the servers", change(&secret, &secret)),
        ("deleting a secret of the servers", Commit::new().write(delete(&secret))),
        ("updating the realm", update(realm, realm)),
    ] {
        let watch = bench.watch_key(key.record.id);
        let committed = bench.commit(what, commit).await;
        bench.holds(
            watch.was_bumped(),
            format!("{what} was not announced when the commit returned"),
        );
        bench.same(
            "the revision of the realm",
            committed.revision_of(Subject::Realm),
            Some(0),
        );
    }
}

pub(super) async fn keys_of_form<S: ManagedStore>(bench: &Bench<S>) {
    let organization = bench.organization().await;
    let later = Timestamp::from_millis(NOW.as_millis() + 1);
    for form in [SecretForm::Crc32, SecretForm::Keyed] {
        keys_of_this_form(bench, &organization, form, later).await;
    }
}

async fn keys_of_this_form<S: ManagedStore>(
    bench: &Bench<S>,
    organization: &Organization,
    form: SecretForm,
    later: Timestamp,
) {
    let what = format!("counting keys of the form {}", form.as_str());
    let count = async || bench.get(&what, CountKeysOfForm { form, at: NOW }).await;
    let before = count().await;
    let secret = |end: Option<Timestamp>, grace: Option<Timestamp>| {
        let mut secret = new_key_secret("sha256:00");
        secret.form = form;
        (secret.expires_at, secret.grace_ends_at) = (end, grace);
        secret
    };
    let mut living = Vec::new();
    let mut expected = before.number;
    for (counts, status, key_end, secrets) in [
        (true, KeyStatus::Active, None, vec![secret(None, None)]),
        (
            true,
            KeyStatus::Disabled,
            Some(later),
            vec![secret(Some(later), Some(later))],
        ),
        (
            true,
            KeyStatus::Active,
            None,
            vec![secret(None, None), secret(None, None)],
        ),
        (
            true,
            KeyStatus::Active,
            None,
            vec![secret(Some(NOW), None), secret(None, None)],
        ),
        (false, KeyStatus::Revoked, None, vec![secret(None, None)]),
        (false, KeyStatus::Active, Some(NOW), vec![secret(None, None)]),
        (false, KeyStatus::Active, None, vec![secret(Some(NOW), None)]),
        (false, KeyStatus::Active, None, vec![secret(None, Some(NOW))]),
        (false, KeyStatus::Active, None, vec![new_key_secret("sha256:00")]),
    ] {
        let mut key = new_key(organization);
        (key.record.status, key.record.expires_at, key.secrets) = (status, key_end, secrets);
        bench.insert(&key).await;
        if counts {
            living.push(key.record);
            expected += 1;
        }
        let counted = count().await;
        if counted.is_exact {
            bench.same("the number of keys of a form", counted.number, expected);
        }
    }
    // The store may be used by the next rule too.
    for mut record in living {
        record.status = KeyStatus::Revoked;
        bench.commit("revoking a key", update_key(&record)).await;
    }
    bench.same("the number of keys after they were revoked", count().await, before);
}

/// Of a purpose of its own.
pub(super) fn new_secret() -> ServerSecretRecord {
    let purpose = SecretPurpose::new(format!("webhook:{}", new_text()));
    ServerSecretRecord::new(purpose, "a", SecretValue::new(vec![1; 32]), NOW)
}

pub(super) fn delete(row: &ServerSecretRecord) -> Write {
    Write::DeleteServerSecret {
        purpose: row.purpose.clone(),
        id: row.id.clone(),
        number: row.number,
    }
}

fn insert(row: &ServerSecretRecord) -> Commit {
    Commit::new().write(Write::InsertServerSecret(row.clone()))
}

fn change(from: &ServerSecretRecord, to: &ServerSecretRecord) -> Commit {
    Commit::new().write(Write::UpdateServerSecret {
        was: from.clone(),
        row: to.clone(),
    })
}

fn update(was: Realm, row: Realm) -> Commit {
    Commit::new().write(Write::UpdateRealm { was, row })
}

/// An update that changes nothing.
pub(super) fn same(realm: Realm) -> Write {
    Write::UpdateRealm { was: realm, row: realm }
}

fn of(row: &ServerSecretRecord) -> ServerSecretRecords {
    ServerSecretRecords::of(row.purpose.clone())
}

type Place = (String, String, u8);
type Parts = (Place, &'static str, Option<String>, Vec<u8>, [Option<Timestamp>; 3]);

/// Values have no equality; those of the kit are no secrets.
fn parts(rows: &[ServerSecretRecord]) -> Vec<Parts> {
    let parts = rows.iter().map(|row| {
        let place = (row.purpose.to_string(), row.id.clone(), row.number);
        let times = [Some(row.created_at), Some(row.active_from), row.retire_at];
        let value = row.value.expose_secret().to_vec();
        (place, row.state.as_str(), row.sealed_by.clone(), value, times)
    });
    parts.collect()
}
