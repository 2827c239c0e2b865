//! What someone has to look at: a store that fails, a record that cannot be used. Bounded, since whoever sends many keys
//! makes many lines of it.

use std::error::Error;

use super::sampler::Sampler;
use crate::clock::Monotonic;
use crate::hash::PoolError;
use crate::key::Lookup;
use crate::store::{Candidate, StoreError};

/// Events of target `tower_api_key::audit` about loads that failed through no fault of the client. Each kind has a bound of
/// its own: a store that fails all the time does not keep a broken record from being told.
#[derive(Default)]
pub(super) struct Complaints {
    store: Sampler,
    rehash: Sampler,
    mixed_up: Sampler,
    hash: Sampler,
    pool: Sampler,
    panic: Sampler,
}

impl Complaints {
    pub(super) fn store_failed(&self, lookup: &Lookup, error: &StoreError, now: Monotonic) {
        of_store(&self.store, "the key store failed", lookup, error, now);
    }

    /// A key was hashed by today's policy, and the store did not take it. The old hash stays, and the key works.
    pub(super) fn hash_not_stored(&self, lookup: &Lookup, error: &StoreError, now: Monotonic) {
        of_store(&self.rehash, "a new hash could not be stored", lookup, error, now);
    }

    pub(super) fn records_mixed_up(&self, lookup: &Lookup, candidate: &Candidate, now: Monotonic) {
        if let Some(left_out) = self.mixed_up.may_write(now) {
            tracing::error!(
                target: "tower_api_key::audit",
                %lookup,
                key = %candidate.record.id,
                left_out,
                "the store answered with a record of another key or organization"
            );
        }
    }

    pub(super) fn hash_unusable(&self, lookup: &Lookup, candidate: &Candidate, now: Monotonic) {
        if let Some(left_out) = self.hash.may_write(now) {
            tracing::error!(
                target: "tower_api_key::audit",
                %lookup,
                key = %candidate.record.id,
                organization = %candidate.organization.id,
                left_out,
                "the stored hash of a key cannot be used"
            );
        }
    }

    /// Not for a pool that is merely busy: who sends many keys can make it so.
    pub(super) fn pool_broken(&self, lookup: &Lookup, error: &PoolError, now: Monotonic) {
        if let Some(left_out) = self.pool.may_write(now) {
            tracing::error!(
                target: "tower_api_key::audit",
                %lookup,
                kind = ?error.kind(),
                source = error.source().map(tracing::field::display),
                left_out,
                "the hash pool is broken"
            );
        }
    }

    /// What it said is the panic hook's to tell: it might hold anything.
    pub(super) fn load_panicked(&self, lookup: &Lookup, now: Monotonic) {
        if let Some(left_out) = self.panic.may_write(now) {
            tracing::error!(
                target: "tower_api_key::audit",
                %lookup,
                left_out,
                "the key store panicked, or what else a load calls"
            );
        }
    }
}

fn of_store(sampler: &Sampler, what: &str, lookup: &Lookup, error: &StoreError, now: Monotonic) {
    if let Some(left_out) = sampler.may_write(now) {
        tracing::warn!(
            target: "tower_api_key::audit",
            %lookup,
            kind = ?error.kind(),
            source = error.source().map(tracing::field::display),
            left_out,
            "{what}"
        );
    }
}
