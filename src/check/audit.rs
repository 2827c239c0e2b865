//! What is logged and counted of checks: how they ended, and what needs someone's attention.

use std::error::Error;
use std::future::Future;
use std::sync::Arc;

use tracing::Level;
use tracing::level_filters::LevelFilter;

use super::entry::Entry;
use super::presented::PresentedKey;
use super::rejection::Rejection;
use crate::audit::{AttemptLog, KeyUse};
use crate::client::ClientOrigin;
use crate::clock::{Clock, Monotonic};
use crate::error::quoted;
use crate::hash::PoolError;
use crate::key::{KeyRecord, Lookup};
use crate::last_use::PendingUses;
use crate::store::{Candidate, StoreError};
#[cfg(feature = "metrics")]
use crate::telemetry::Counters;
use crate::telemetry::Sampler;

/// Records how checks end, as events of target `tower_api_key::audit`: admitted requests at DEBUG, rejections at INFO and
/// sampled. Both are counted exactly (feature `metrics`).
#[derive(Default)]
pub(super) struct Outcomes {
    rejections: Sampler,
    /// Of verified keys: revoked, over their limit. Requests without a right key, of which anyone can send any number, must
    /// not crowd their lines out.
    rejections_of_keys: Sampler,
    /// What is stored of them; none where nothing is.
    attempts: Option<AttemptLog>,
    /// Where uses of keys wait to be stored; none where nothing is.
    uses: Option<Arc<PendingUses>>,
    #[cfg(feature = "metrics")]
    counters: Counters,
}

impl Outcomes {
    pub(super) fn stored_by(attempts: Option<AttemptLog>, uses: Option<Arc<PendingUses>>) -> Self {
        Self {
            attempts,
            uses,
            ..Self::default()
        }
    }

    pub(super) fn attempts(&self) -> Option<&AttemptLog> {
        self.attempts.as_ref()
    }

    /// Takes the parts of the context and not the context, which is made in its place after this.
    pub(super) fn admitted(&self, entry: &Arc<Entry>, presented: &PresentedKey<'_>, now: Monotonic) {
        let client = presented.client();
        #[cfg(feature = "metrics")]
        self.counters.admitted();
        if let Some(uses) = &self.uses {
            if entry.uses.add(now) {
                uses.register(entry.key_id(), entry.clone(), client.address());
            }
            if let Some(scope) = presented.scope() {
                entry.scopes_used(std::slice::from_ref(scope));
            }
        }
        if let Some(attempts) = &self.attempts {
            let network = client.network();
            if attempts.is_new(&entry.last_use, network) {
                note_use(attempts, self.uses.as_deref(), entry, client);
            }
        }
        // `debug!` asks as well, but by a longer way.
        if may_be_wanted(Level::DEBUG) {
            write_admitted(entry, client);
        }
    }

    pub(super) fn refused(&self, rejection: &Rejection, client: ClientOrigin, now: Monotonic) {
        #[cfg(feature = "metrics")]
        self.counters.refused(rejection.kind().as_str());
        if let Some(attempts) = &self.attempts {
            let key = rejection.key_id().zip(rejection.organization_id());
            attempts.refused(rejection.kind().as_str(), key, rejection.lookup(), client.address());
        }
        if !may_be_wanted(Level::INFO) {
            return;
        }
        let sampler = match rejection.key_id() {
            Some(_) => &self.rejections_of_keys,
            None => &self.rejections,
        };
        let Some(left_out) = sampler.may_write(now) else {
            return;
        };
        tracing::info!(
            target: "tower_api_key::audit",
            outcome = "refused",
            reason = rejection.kind().as_str(),
            security = rejection.kind().security_event(),
            key = rejection.key_id().map(tracing::field::display),
            organization = rejection.organization_id().map(tracing::field::display),
            user = rejection.user(),
            lookup = rejection.lookup().map(tracing::field::display),
            client = client.address().map(tracing::field::display),
            left_out,
        );
    }

    /// A check was decided by the cache.
    pub(super) fn hit(&self) {
        #[cfg(feature = "metrics")]
        self.counters.hit();
    }

    /// A check has to read the record, of a key that is cached or not.
    pub(super) fn read(&self, _is_cached: bool) {
        #[cfg(feature = "metrics")]
        match _is_cached {
            true => self.counters.stale(),
            false => self.counters.miss(),
        }
    }

    /// Waits for a hash.
    pub(super) async fn hash<T>(&self, _clock: &Clock, hash: impl Future<Output = T>) -> T {
        #[cfg(feature = "metrics")]
        return self.counters.hash(_clock, hash).await;
        #[cfg(not(feature = "metrics"))]
        hash.await
    }

    #[cfg(feature = "metrics")]
    pub(super) fn counters(&self) -> &Counters {
        &self.counters
    }
}

/// With tracing off, an event may still be for the `log` crate.
fn may_be_wanted(level: Level) -> bool {
    let most = LevelFilter::current();
    most >= level || most == LevelFilter::OFF
}

#[cold]
fn note_use(attempts: &AttemptLog, uses: Option<&PendingUses>, entry: &Entry, client: ClientOrigin) {
    if let (Some(uses), Some(address)) = (uses, client.address()) {
        uses.seen_from(entry.key_id(), client.network(), address, entry.handle().clock.wall());
    }
    attempts.used(client.network(), |at| KeyUse {
        at,
        organization_id: entry.organization().id,
        key_id: entry.key_id(),
        user: entry.user().and_then(|user| user.parse().ok()),
        lookup: entry.lookup.clone(),
        address: client.address(),
    });
}

// Apart and cold, so that its code is not in the way of every request.
#[cold]
fn write_admitted(entry: &Entry, client: ClientOrigin) {
    tracing::debug!(
        target: "tower_api_key::audit",
        outcome = "admitted",
        key = %entry.key_id(),
        organization = %entry.organization().id,
        user = entry.user(),
        lookup = %entry.lookup,
        client = client.address().map(tracing::field::display),
    );
}

/// Reports loads that fail through no fault of the client. Sampled, because a client that sends many keys makes many of
/// them, and each kind apart: a store that keeps failing does not hide a broken record.
#[derive(Default)]
pub(super) struct Alerts {
    store: Sampler,
    rehash: Sampler,
    secrets: Sampler,
    wrong_record: Sampler,
    head: Sampler,
    no_head: Sampler,
    hash: Sampler,
    pool: Sampler,
    panic: Sampler,
}

impl Alerts {
    pub(super) fn store_failed(&self, lookup: &Lookup, error: &StoreError, now: Monotonic) {
        of_store(&self.store, "the key store failed", lookup, error, now);
    }

    /// The store did not take a new hash of a key. The old one stays, and the key stays valid.
    pub(super) fn hash_not_stored(&self, lookup: &Lookup, error: &StoreError, now: Monotonic) {
        of_store(
            &self.rehash,
            "could not store the new hash of a key",
            lookup,
            error,
            now,
        );
    }

    /// Keys of a secret that is not known here are answered with 503.
    pub(super) fn secrets_not_read(&self, error: &StoreError, now: Monotonic) {
        if let Some(left_out) = self.secrets.may_write(now) {
            tracing::warn!(
                target: "tower_api_key::audit",
                kind = ?error.kind(),
                source = error.source().map(tracing::field::display),
                left_out,
                "could not read the secrets of the servers"
            );
        }
    }

    pub(super) fn wrong_record(&self, lookup: &Lookup, candidate: &Candidate, now: Monotonic) {
        if let Some(left_out) = self.wrong_record.may_write(now) {
            tracing::error!(
                target: "tower_api_key::audit",
                %lookup,
                key = %candidate.record.id,
                left_out,
                "the key store returned the record of another key or organization, or not the plan that the organization has"
            );
        }
    }

    /// The record has another prefix or environment than the presented key, both of which are of an accepted format.
    pub(super) fn head_differs(
        &self,
        lookup: &Lookup,
        record: &KeyRecord,
        (prefix, environment): (&str, Option<&str>),
        now: Monotonic,
    ) {
        if let Some(left_out) = self.head.may_write(now) {
            tracing::warn!(
                target: "tower_api_key::audit",
                %lookup,
                key = %record.id,
                presented_prefix = prefix,
                presented_environment = environment.unwrap_or_default(),
                stored_prefix = %quoted(&record.prefix),
                stored_environment = %quoted(record.environment.as_deref().unwrap_or_default()),
                left_out,
                "a key was presented under another prefix or environment than its record has: a forged key, or a record that \
                 was imported wrongly"
            );
        }
    }

    /// The record has no prefix or environment, which every key of the accepted formats has.
    pub(super) fn head_missing(&self, lookup: &Lookup, candidate: &Candidate, column: &'static str, now: Monotonic) {
        if let Some(left_out) = self.no_head.may_write(now) {
            tracing::error!(
                target: "tower_api_key::audit",
                %lookup,
                key = %candidate.record.id,
                organization = %candidate.organization.id,
                column,
                left_out,
                "the record of a key has an empty prefix or environment, which no accepted key format has"
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
                "the stored hash of a key cannot be used: its scheme is not known here, or its parameters are out of bounds \
                 (SHA-256 is written as `sha256:` and 64 hex digits)"
            );
        }
    }

    /// Not for a pool that is merely busy: clients that send many keys can make it so.
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

    /// Without the panic's message, which could hold anything: that is for the panic hook.
    pub(super) fn load_panicked(&self, lookup: &Lookup, now: Monotonic) {
        if let Some(left_out) = self.panic.may_write(now) {
            tracing::error!(target: "tower_api_key::audit", %lookup, left_out, "panicked while loading a key");
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
