//! The change log, for stores that have one.

use std::collections::BTreeSet;
use std::time::Duration;

use super::bench::{Bench, insert_key, insert_organization, new_key, new_secret, update_key, update_organization};
use super::rows::must;
use super::updating::replace_hash;
use crate::fence::Change;
use crate::key::{KnownScope, Organization, Plan, Role, Subject, User};
use crate::store::query::{ChangesAfter, LoggedChange, TheRealm};
use crate::store::{Commit, ManagedStore, StoreErrorKind, StoreExt, Write};

pub(super) async fn changes<S: ManagedStore>(bench: &Bench<S>) {
    match bench.store.get(ChangesAfter(0)).await {
        Err(error) if error.kind() == StoreErrorKind::Unsupported => return,
        answer => drop(bench.ok("reading the change log", answer)),
    }
    let mut organization = Organization::new("Acme");
    let mut key = new_key(&organization);
    let (id, secret) = (key.record.id, key.secrets[0].clone());
    let mut last = newest(bench).await;

    logs(bench, &mut last, insert_organization(&organization), None).await;
    logs(bench, &mut last, insert_key(&key), None).await;
    let hash = super::bench::hash("sha256:99");
    logs(
        bench,
        &mut last,
        replace_hash(&secret.lookup, &secret.hash, &hash),
        None,
    )
    .await;

    key.record.name.push('!');
    logs(bench, &mut last, update_key(&key.record), Some(Change::new(id, 2))).await;
    key.record.revision = 2;
    let rotate = update_key(&key.record)
        .write(Write::UpdateSecret {
            key: id,
            lookup: secret.lookup.clone(),
            expires_at: None,
            grace_ends_at: Some(super::bench::NOW),
        })
        .write(Write::InsertSecret(id, new_secret("sha256:11")));
    logs(bench, &mut last, rotate, Some(Change::new(id, 3))).await;
    let change = Change::new(organization.id, 2);
    logs(bench, &mut last, update_organization(&organization), Some(change)).await;
    organization.revision = 2;

    let mut outdated = key.record.clone();
    outdated.revision = 1;
    bench
        .fails("an outdated update", update_key(&outdated), StoreErrorKind::Conflict)
        .await;
    let rows = bench.get("reading the change log", ChangesAfter(last)).await;
    bench.holds(
        concerning(&rows, id.into()).is_empty(),
        "an update that failed was logged",
    );

    let delete = Commit::new().write(Write::DeleteKey(id));
    logs(bench, &mut last, delete, Some(Change::new(id, 4))).await;
    // A user is a part of its organization, whose revision stays.
    let user = User::new(organization.id, must(bench, "alice".parse()), super::bench::NOW);
    let of_user = Some(Change::new(organization.id, 2));
    for write in [
        Write::InsertUser(user.clone()),
        Write::UpdateUser(user.clone()),
        Write::DeleteUser(organization.id, user.id),
    ] {
        logs(bench, &mut last, Commit::new().write(write), of_user).await;
    }
    let delete = Commit::new().write(Write::DeleteOrganization(organization.id));
    logs(bench, &mut last, delete, Some(Change::new(organization.id, 3))).await;

    let plan = Plan::new(super::bench::new_text());
    let insert = Commit::new().write(Write::InsertPlan(plan.clone()));
    logs(bench, &mut last, insert, None).await;
    let update = Commit::new().write(Write::UpdatePlan(plan.clone()));
    logs(bench, &mut last, update, Some(Change::new(plan.id, 2))).await;
    let delete = Commit::new().write(Write::DeletePlan(plan.id));
    logs(bench, &mut last, delete, Some(Change::new(plan.id, 3))).await;

    let role = Role::new(super::bench::new_text(), must(bench, "orders:read".parse()));
    let scope = KnownScope::new(must(bench, format!("{}:read", super::bench::new_text()).parse()), "");
    for write in [
        Write::InsertRole(role.clone()),
        Write::UpdateRole(role.clone()),
        Write::DeleteRole(role.name),
        Write::InsertScope(scope.clone()),
        Write::DeleteScope(scope.scope),
    ] {
        let change = Some(Change::new(Subject::Realm, 0));
        logs(bench, &mut last, Commit::new().write(write), change).await;
    }

    let secret = super::realm::new_secret();
    let realm = Some(Change::new(Subject::Realm, 0));
    let insert = Write::InsertServerSecret(secret.clone());
    let update = Write::UpdateServerSecret {
        was: secret.clone(),
        row: secret.clone(),
    };
    let delete = super::realm::delete(&secret);
    let stored = bench.get("reading the realm", TheRealm).await;
    for write in [insert, update, delete, super::realm::same(stored)] {
        logs(bench, &mut last, Commit::new().write(write), realm).await;
    }

    let rows = bench.get("reading the change log", ChangesAfter(0)).await;
    let is_sorted = rows.is_sorted_by(|one, other| one.seq < other.seq);
    bench.holds(is_sorted, "the change log is not ordered by number");
    let tags: BTreeSet<u128> = rows.iter().map(|row| row.tag).collect();
    bench.same("the number of different tags", tags.len(), rows.len());
    purging(bench).await;
}

/// No row goes before its time, and numbers go on whatever goes.
async fn purging<S: ManagedStore>(bench: &Bench<S>) {
    for (older_than, is_old) in [(ChangesAfter::KEPT, false), (Duration::ZERO, true)] {
        let rows = bench.get("reading the change log", ChangesAfter(0)).await;
        let last = newest(bench).await;
        let purge = Commit::new().write(Write::PurgeChanges { older_than });
        match bench.store.commit(purge).await {
            Err(error) if error.kind() == StoreErrorKind::Unsupported => return,
            purged => drop(bench.ok("purging the change log", purged)),
        }
        let left = bench.get("reading the change log", ChangesAfter(0)).await;
        bench.holds(is_old || left == rows, "a purge deleted rows before their time");
        let (_, key) = bench.inserted().await;
        bench.commit("updating a key", update_key(&key.record)).await;
        bench.holds(newest(bench).await > last, "after a purge, numbers were given again");
    }
}

/// Makes a commit, and looks for what it logged of its subjects: this change last, or nothing.
async fn logs<S: ManagedStore>(bench: &Bench<S>, last: &mut u64, commit: Commit, change: Option<Change>) {
    let subjects: Vec<Subject> = commit.subjects();
    let committed = bench.commit("a commit", commit).await;
    let rows = bench.get("reading the change log", ChangesAfter(*last)).await;
    let logged: Vec<&LoggedChange> = subjects
        .iter()
        .flat_map(|subject| concerning(&rows, *subject))
        .collect();
    bench.same(
        "the last row that a commit logged",
        logged.last().map(|row| row.change),
        change,
    );
    if let Some(change) = change {
        let revision = committed.revision_of(change.subject());
        bench.same("the revision that a commit returned", revision, Some(change.revision()));
    }
    *last = rows.last().map_or(*last, |row| row.seq);
}

fn concerning(rows: &[LoggedChange], subject: Subject) -> Vec<&LoggedChange> {
    rows.iter().filter(|row| row.change.subject() == subject).collect()
}

async fn newest<S: ManagedStore>(bench: &Bench<S>) -> u64 {
    let mut last = 0;
    loop {
        let rows = bench.get("reading the change log", ChangesAfter(last)).await;
        match rows.last() {
            Some(row) => last = row.seq,
            None => return last,
        }
    }
}
