//! Audit events are stored with their change, or not at all.

use super::bench::{Bench, event, insert_key, new_key, update_key};
use super::progress::Progress;
use crate::audit::{AuditEntry, AuditHead, CommitId};
use crate::key::{KeyId, Organization, OrganizationId};
use crate::store::query::AuditEvents;
use crate::store::{Commit, ManagedStore, StoreErrorKind, Write};

pub(super) async fn with_change<S: ManagedStore>(bench: &Bench<S>) {
    let (organization, mut key) = bench.inserted().await;
    let mut head = AuditHead::default();
    let mut expected = Vec::new();
    for step in 0..3 {
        let events = (0..=step).map(|number| {
            let event = event(organization.id).key(key.record.id);
            event
                .detail("step", step.to_string())
                .detail("number", number.to_string())
        });
        let mut commit = update_key(&key.record);
        commit.audit = events.collect();
        expected.extend(
            commit
                .audit
                .iter()
                .map(|event| head.link(event.clone(), commit.id, None)),
        );
        let id = commit.id;
        bench.commit("updating a key", commit).await;
        key.record.revision += 1;
        bench.same(
            "the audit events",
            chain(bench, organization.id).await,
            expected.clone(),
        );
        bench.same(
            "whether it was committed",
            bench.get("reading a commit", id).await,
            true,
        );
        let of_commit = bench.get("reading audit events", AuditEvents::of_commit(id)).await;
        let should = expected[expected.len() - step - 1..].to_vec();
        bench.same("the audit events of a commit", of_commit.items, should);
    }
    let of_key = bench
        .get(
            "reading audit events",
            AuditEvents::of(organization.id).key(KeyId::new()),
        )
        .await;
    bench.holds(
        of_key.items.is_empty(),
        "the audit events of a key are those of another",
    );
    let never = bench.get("reading a commit", CommitId::new()).await;
    bench.same("whether a commit that nobody made was committed", never, false);
}

/// Each organization has its own chain, and so has the system.
pub(super) async fn chains<S: ManagedStore>(bench: &Bench<S>) {
    let [one, two] = [bench.organization().await, bench.organization().await];
    let mut commit = Commit::new();
    commit.audit = vec![event(one.id), event(two.id), event(one.id)];
    let id = commit.id;
    bench.commit("audit events alone", commit).await;
    for (organization, numbers) in [(&one, vec![1, 2]), (&two, vec![1])] {
        let mut head = AuditHead::default();
        let linked: Vec<AuditEntry> = numbers
            .iter()
            .map(|_| head.link(event(organization.id), id, None))
            .collect();
        let stored = chain(bench, organization.id).await;
        bench.same("the chain of an organization", stored, linked);
    }
}

/// A failed commit is not audited, and the chain goes on as if it had never been.
pub(super) async fn without_change<S: ManagedStore>(bench: &Bench<S>) {
    let (organization, key) = bench.inserted().await;
    let mut outdated = key.record.clone();
    outdated.revision += 1;
    let mut taken = new_key(&organization);
    taken.secrets.clone_from(&key.secrets);
    for (commit, kind) in [
        (update_key(&outdated), StoreErrorKind::Conflict),
        (insert_key(&taken), StoreErrorKind::AlreadyExists),
        (
            insert_key(&new_key(&Organization::new("nowhere"))),
            StoreErrorKind::NotFound,
        ),
    ] {
        let commit = commit.audit(event(organization.id));
        let id = commit.id;
        bench.fails("a commit that fails", commit, kind).await;
        let events = chain(bench, organization.id).await;
        bench.holds(events.is_empty(), "a commit that failed was audited");
        bench.same(
            "whether it was committed",
            bench.get("reading a commit", id).await,
            false,
        );
    }
    let commit = update_key(&key.record).audit(event(organization.id));
    let linked = AuditHead::default().link(event(organization.id), commit.id, None);
    bench.commit("updating a key", commit).await;
    bench.same(
        "the first audit event",
        chain(bench, organization.id).await,
        vec![linked],
    );
}

/// A reader sees both or neither, at every point of a commit.
pub(super) async fn at_once<S: ManagedStore>(bench: &Bench<S>) {
    for _ in 0..8 {
        let (organization, key) = bench.inserted().await;
        let commit = update_key(&key.record).audit(event(organization.id));
        let mut commit = Progress::of(bench.store.commit(commit));
        // What is read second is the newer: it must have what the first one saw the other half of.
        let both = async || {
            let audited = !chain(bench, organization.id).await.is_empty();
            let changed = bench.stored(key.record.id).await.record.revision == 2;
            bench.holds(changed || !audited, "an audit event was there before its change");
            let changed = bench.stored(key.record.id).await.record.revision == 2;
            let audited = !chain(bench, organization.id).await.is_empty();
            bench.holds(audited || !changed, "a change was there before its audit event");
        };
        while commit.turn().await {
            commit.beside(both()).await;
            tokio::task::yield_now().await;
        }
        bench.ok("updating a key", commit.end().await);
        both().await;
    }
}

/// What is deleted stays in the audit trail.
pub(super) async fn of_deleted<S: ManagedStore>(bench: &Bench<S>) {
    let (organization, key) = bench.inserted().await;
    let commit = Commit::new()
        .write(Write::DeleteKey(key.record.id))
        .write(Write::DeleteOrganization(organization.id))
        .audit(event(organization.id).key(key.record.id));
    bench.commit("deleting an organization with its keys", commit).await;
    let events = chain(bench, organization.id).await;
    bench.same("the number of audit events of a deleted organization", events.len(), 1);
}

async fn chain<S: ManagedStore>(bench: &Bench<S>, organization: OrganizationId) -> Vec<AuditEntry> {
    let page = bench
        .get("reading audit events", AuditEvents::of(organization).page(100))
        .await;
    page.items
}
