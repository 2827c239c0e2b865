//! The contract of stores, as a test that anyone can run.

mod bench;
mod concurrency;
mod dropped;
mod fencing;
mod finding;
mod inserting;
mod progress;
mod rows;
mod updating;

use self::bench::Bench;
use crate::store::ManageKeys;

/// Tries every rule of [`KeyStore`](crate::store::KeyStore) and [`ManageKeys`] on a store; panics with the name of
/// the first one that is broken.
///
/// `make_store` is called once for each rule. It may give the same store every time: nothing here asks for an empty one,
/// and all ids and lookups are fresh. Runs inside a Tokio runtime; one with several threads finds more.
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
pub async fn store_conformance<S: ManageKeys>(make_store: impl AsyncFn() -> S) {
    macro_rules! try_rules {
        ($($rule:literal: $try:path;)*) => {
            $($try(&Bench::new($rule, make_store().await)).await;)*
        };
    }
    try_rules! {
        "an unknown lookup is `None`": finding::unknown;
        "`find` gives the one secret that the lookup belongs to, with its record and organization": finding::one_of_two;
        "lookups are compared whole and byte by byte": finding::exact;
        "lookups have up to 128 characters": finding::long;
        "a key comes back as it was written": rows::keys;
        "an organization comes back as it was written": rows::organizations;
        "inserting an organization never overwrites": inserting::organization_twice;
        "inserting a key never overwrites": inserting::key_twice;
        "a key has an organization": inserting::without_organization;
        "an update of an organization names the revision it read": updating::organization;
        "an update of a key names the revision it read": updating::key;
        "a key never changes its owner": updating::owner;
        "an update of a key leaves exactly the given secrets": updating::secrets;
        "an update of a key takes no other key's lookup": updating::taken_lookup;
        "`replace_hash` replaces the hash it names, and nothing else": updating::hashes;
        "of several updates from one revision exactly one succeeds": concurrency::one_update_wins;
        "of several inserts of one lookup exactly one succeeds": concurrency::one_insert_wins;
        "a reader never sees half of a change": concurrency::torn_reads;
        "a read that begins after a change has returned shows it": concurrency::read_after_return;
        "a future that was never polled does nothing": dropped::never_polled;
        "every change bumps the fence before it returns": fencing::before_return;
        "the bump comes after the change can be read": fencing::after_commit;
        "a change is announced with the revision that it has": fencing::with_its_revision;
        "replacing a hash bumps nothing": fencing::not_for_hashes;
        "a change whose caller went away is announced, or never made": dropped::at_every_poll;
    }
}
