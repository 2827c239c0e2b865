//! The contract of stores, as a test that anyone can run.

mod auditing;
mod bench;
mod concurrency;
mod deleting;
mod dropped;
mod fencing;
mod finding;
mod guarding;
mod idempotency;
mod inserting;
mod logging;
mod operators;
mod progress;
mod querying;
mod realm;
mod refusals;
mod rows;
mod shared;
mod states;
mod trails;
mod updating;
mod users;
mod using;
mod walking;

use self::bench::Bench;
use crate::store::ManagedStore;

/// Tries every rule of [`KeyStore`](crate::store::KeyStore) and [`ManagedStore`] on a store; panics with the name of the
/// first one that is broken.
///
/// `make_store` is called once for each rule. It may return the same store every time: no rule needs an empty one, and all
/// ids and lookups are fresh. Runs inside a Tokio runtime; one with several threads finds more.
///
/// ```
/// use tower_api_key::store::MemoryStore;
/// use tower_api_key::testing::store_conformance;
///
/// # tokio::runtime::Builder::new_multi_thread().build().unwrap().block_on(async {
/// store_conformance(async || MemoryStore::new()).await;
/// # });
/// ```
///
/// # Panics
/// When the store breaks a rule.
pub async fn store_conformance<S: ManagedStore>(make_store: impl AsyncFn() -> S) {
    macro_rules! try_rules {
        ($($rule:literal: $try:path;)*) => {
            // On the heap, since it has room for the largest of all rules.
            $(Box::pin($try(&Bench::new($rule, make_store().await))).await;)*
        };
    }
    try_rules! {
        "an unknown lookup is `None`": finding::unknown;
        "`find` gives the one secret that the lookup belongs to, with its record and organization": finding::one_of_two;
        "lookups are compared whole and byte by byte": finding::exact;
        "lookups have up to 128 characters": finding::long;
        "a key comes back as it was written": rows::keys;
        "a text with a NUL character comes back as it was written, or its commit is invalid": rows::nul;
        "an organization comes back as it was written": rows::organizations;
        "inserting an organization never overwrites": inserting::organization_twice;
        "slugs are unique, and find their organization": inserting::slug_twice;
        "inserting a key never overwrites": inserting::key_twice;
        "inserting a secret never overwrites": inserting::secret_twice;
        "a key has an organization": inserting::without_owner;
        "a secret is written together with its key": inserting::secret_alone;
        "an update of an organization names the revision it read": updating::organization;
        "an update of a key names the revision it read": updating::key;
        "a change of a key's state names the state it read, and leaves the rest": states::of_keys;
        "a key made those that it created, and those that they did": states::descendants;
        "a key never changes its owner": updating::owner;
        "secrets are inserted, updated and deleted one by one": updating::secrets;
        "a commit touches no other key's secrets": updating::other_secrets;
        "replacing a hash replaces the one it names, and nothing else": updating::hashes;
        "a commit is made whole or not at all": updating::half;
        "a guard on a revision holds, or nothing is written": guarding::revisions;
        "a guard on the number of keys holds, or nothing is written": guarding::live_keys;
        "the last key of the operator stays, or nothing is written": operators::last_key;
        "a guard on the ends of a secret holds, or nothing is written": guarding::secret_ends;
        "a guard on what a role allows holds, or nothing is written": guarding::roles;
        "a guard on the number of known scopes holds, or nothing is written": guarding::known_scopes;
        "of inserts at once, no more succeed than a guard allows": guarding::at_once;
        "audit events are stored with their change, in order": auditing::with_change;
        "each organization has an audit chain of its own": auditing::chains;
        "a commit that fails is not audited": auditing::without_change;
        "a change and its audit event are seen together": auditing::at_once;
        "the audit trail outlives what it is about": auditing::of_deleted;
        "an audit chain verifies as it is stored": trails::stored;
        "persons are forgotten, and their audit events stay": trails::forgotten;
        "addresses of old audit events are forgotten, and nothing else": trails::origins;
        "a list of audit events has those that match, in order, in pages": trails::lists;
        "retention cuts an audit chain at its start": trails::pruned;
        "refusals are counted by hour, organization and kind": refusals::counts;
        "samples of refusals come back as they were written": refusals::samples;
        "refusals of a user's keys are forgotten with the user": refusals::of_user;
        "old refusals are deleted": refusals::pruned;
        "a realm has one identity, and a change of it names it": realm::identity;
        "a copy gets another identity if it has the one that was read": realm::adopted;
        "the change log has updates and deletions, and neither inserts nor hashes": logging::changes;
        "a secret of the servers comes back as it was written": realm::rows;
        "inserting a secret of the servers never overwrites": realm::twice;
        "of several first secrets of the servers exactly one is stored": realm::at_once;
        "an update of a secret of the servers names the state it read": realm::states;
        "an update of a secret of the servers undoes no other update": realm::columns;
        "living keys of a form are counted": realm::keys_of_form;
        "a plan comes back as it was written, and its name is unique": shared::plans;
        "an organization has a plan that is there": shared::plan_of_organization;
        "e-mail addresses of organizations are unique regardless of case": shared::addresses;
        "a user comes back as it was written, and is deleted only without keys": users::rows;
        "an organization is deleted only when it has no users": users::with_organization;
        "a guard on a user holds, or nothing is written": users::guarded;
        "a role comes back as it was written, and keys have its scopes": shared::roles;
        "a known scope comes back as it was written": shared::known_scopes;
        "a list of users has those that match, in order, in pages": users::lists;
        "a commit of what keys share is made whole or not at all": shared::half;
        "uses of a key are added up, and the last one only grows": using::added_up;
        "a batch of uses is counted once": using::once;
        "uses of a deleted key are gone, and a late batch does not bring them back": using::of_deleted;
        "a key has a bounded number of networks and scopes": using::bounded;
        "addresses of uses are forgotten, and nothing else": using::forgotten;
        "a use changes no key": using::quiet;
        "keys are counted by status, end and last use": using::statistics;
        "a lease has one holder": using::leases;
        "what was made for an idempotency key comes back as it was written": idempotency::rows;
        "for an idempotency key one key is made until its row is over": idempotency::twice;
        "of several inserts for one idempotency key exactly one succeeds": idempotency::at_once;
        "what was made for an idempotency key is written together with its key": idempotency::alone;
        "what was made for idempotency keys is deleted when it is over, and with the organization": idempotency::deleted;
        "what a person asked for is forgotten with the person": idempotency::forgotten;
        "a key is found by the exact text of a hash": querying::by_hash;
        "keys that ended long ago come in the order of their ends": querying::ended;
        "a list of keys has those that match, in order, in pages": querying::keys;
        "a list of organizations has those that match, in order, in pages": querying::organizations;
        "a cursor of another list is refused": querying::foreign_cursors;
        "a walk by cursor shows each row that was there throughout once": walking::by_cursor;
        "of several updates from one revision exactly one succeeds": concurrency::one_update_wins;
        "of several inserts of one lookup exactly one succeeds": concurrency::one_insert_wins;
        "a reader never sees half of a change": concurrency::torn_reads;
        "a read that begins after a change has returned shows it": concurrency::read_after_return;
        "a future that was never polled does nothing": dropped::never_polled;
        "every change is announced before its commit returns": fencing::before_return;
        "every change of a commit is announced": fencing::all_of_them;
        "the announcement comes after the change can be read": fencing::after_commit;
        "a change is announced with the revision that it has": fencing::with_its_revision;
        "a change of a key's state is announced": states::announced;
        "replacing a hash announces nothing": fencing::not_for_hashes;
        "a change of the realm or its secrets concerns every key": realm::announced;
        "a change of what keys share concerns all of them": shared::announced;
        "a deleted key is gone with its secrets": deleting::key;
        "an organization is deleted only when it has no keys": deleting::organization;
        "a change whose caller went away is announced, or never made": dropped::at_every_poll;
    }
}
