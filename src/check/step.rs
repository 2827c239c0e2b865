//! The decision about a request, from the presented key to the context: the one place where its order is written.

use std::sync::Arc;

use super::context::AuthContext;
use super::core::Core;
use super::entry::Entry;
use super::loads::LoadResult;
use super::policy;
use super::presented::{PresentedKey, TaggedKey};
use super::realm::Presented;
use super::rejection::{RETRY_AFTER, Rejection, RejectionKind};
use crate::clock::Monotonic;
use crate::key::SecretForm;
use crate::limit::{Allowance, Decision, Take};
use crate::store::KeyStore;

/// How often the record of one request is loaded: a load may end with an answer that a change has overtaken.
const LOADS: u8 = 3;

/// The state of one request's check. It does no I/O: a caller [steps](Self::step) it, and gets what it asks for in between.
///
/// It holds neither the key nor the store, which are lent to it at each step. So a check that cannot be decided at once
/// moves on as it is: the key is parsed and tagged once, and the limits are charged at most once.
#[derive(Default)]
pub(super) struct Check {
    started: Option<Monotonic>,
    /// What is left of the key once it is parsed; nothing while it is cached, or if it is malformed.
    key: Option<TaggedKey>,
    /// The entry to go on with, proven for this very key.
    verified: Option<Arc<Entry>>,
    /// What is left of the limits of this entry, once they were charged.
    charged: Option<(Allowance, Arc<Entry>)>,
    loads: u8,
    /// Whether the secrets of the realm were read for this key.
    has_secrets: bool,
}

/// How far a check has come.
#[must_use]
pub(super) enum Step {
    Done(Result<AuthContext, Rejection>),
    /// No format accepts the text: end with [`Check::malformed`].
    Malformed,
    /// The record has to be read: go on with [`Check::loaded`]. With the entry that was found stale, of this key or of
    /// another one that claims its lookup.
    Load(Option<Arc<Entry>>),
    /// The secrets of the realm have to be read: go on with [`Check::secrets_read`].
    Secrets,
    /// The limits of this entry have to be charged by a limiter that may take its time: go on with [`Check::limited`].
    Limit(Arc<Entry>),
}

impl Check {
    /// Decides, or says what is needed for it. The order is security: see "The way of a request" in `docs/design.md`.
    pub(super) fn step<S: KeyStore>(&mut self, core: &Core<S>, presented: &PresentedKey<'_>) -> Step {
        let now = core.clock.now();
        let started = *self.started.get_or_insert(now);

        // Look up. A key that is cached was parsed before, and any other one is now.
        let (entry, is_fresh) = match self.verified.take() {
            Some(entry) => (entry, false),
            None => match core.cached(presented) {
                Some(entry) if core.is_fresh(&entry, started, now) => (entry, true),
                stale => return self.miss(core, presented, stale, now),
            },
        };

        // Policy.
        if let Err(rejection) = policy::permit(&entry, presented, now) {
            if rejection.kind() == RejectionKind::KeyExpired && !policy::is_over(&entry, &core.clock) {
                return self.miss(core, presented, Some(entry), now);
            }
            return self.reject(core, presented, rejection, now);
        }

        // Limits.
        let allowance = match &self.charged {
            Some((allowance, charged)) if charged.has_limits_of(&entry) => allowance.clone(),
            // Other limits than those that were charged: their states go by position, and would name the wrong ones.
            Some(_) => Allowance::default(),
            None if !entry.has_limits() => Allowance::default(),
            None if !core.limiter.is_immediate() => return Step::Limit(entry),
            None => match core.limiter.take(&entry.charge(now)) {
                Take::Now(Decision::Allowed(allowance)) => allowance,
                Take::Now(refusal) => return self.reject(core, presented, not_charged(refusal, &entry), now),
                // It promised to answer at once, and may have charged: asking again could charge twice.
                Take::Later(_) => {
                    let rejection = not_charged(Decision::Unavailable, &entry);
                    return self.reject(core, presented, rejection, now);
                }
            },
        };

        // Confirm. Nothing comes between this and the request.
        if core.confirm(&entry, is_fresh, started, now) {
            if self.loads == 0 {
                core.outcomes.hit();
            } else if entry.hash_kind.is_slow() {
                core.right_before.insert(entry.tag.number());
            }
            core.own_work.admitted(now);
            core.outcomes.admitted(&entry, presented, now);
            let context = AuthContext::new(entry, presented.client(), allowance);
            return Step::Done(Ok(context));
        }
        // The record has changed meanwhile. Not for a key without limits: it may have got some.
        if self.charged.is_none() && entry.has_limits() {
            self.charged = Some((allowance, entry.clone()));
        }
        self.miss(core, presented, Some(entry), now)
    }

    /// Goes on after a load.
    pub(super) fn loaded<S: KeyStore>(
        &mut self,
        core: &Core<S>,
        presented: &PresentedKey<'_>,
        result: LoadResult,
    ) -> Step {
        let now = core.clock.now();
        let started = *self.started.get_or_insert(now);
        // What was read before the request began is an answer only while nothing has changed. In one and the same instant
        // of the clock, the read may have been first.
        let rejection = match result {
            LoadResult::Verified(entry) => {
                if entry.read_at > started || core.is_fresh(&entry, started, now) {
                    self.verified = Some(entry);
                }
                return self.step(core, presented);
            }
            LoadResult::Rejected {
                kind,
                read_at,
                changes,
                recorded_for,
            } => {
                if read_at <= started && changes != core.fence.changes() {
                    return self.step(core, presented);
                }
                if recorded_for != presented.failure_budget_group() {
                    core.record_failure(presented.failure_budget_group(), now);
                }
                Rejection::new(kind)
            }
            LoadResult::Unavailable(kind, retry_after) => Rejection::new(kind).with_retry_after(retry_after),
        };
        self.reject(core, presented, rejection, now)
    }

    /// Goes on after the secrets of the realm were read, or could not be.
    pub(super) fn secrets_read<S: KeyStore>(
        &mut self,
        core: &Core<S>,
        presented: &PresentedKey<'_>,
        were_read: bool,
    ) -> Step {
        if !were_read {
            let rejection = Rejection::new(RejectionKind::StoreUnavailable).with_retry_after(RETRY_AFTER);
            return self.reject(core, presented, rejection, core.clock.now());
        }
        self.has_secrets = true;
        self.step(core, presented)
    }

    /// Goes on after a limiter has decided about the limits of this entry.
    pub(super) fn limited<S: KeyStore>(
        &mut self,
        core: &Core<S>,
        presented: &PresentedKey<'_>,
        entry: Arc<Entry>,
        decision: Decision,
    ) -> Step {
        let refusal = match decision {
            Decision::Allowed(allowance) => {
                self.charged = Some((allowance, entry.clone()));
                self.verified = Some(entry);
                return self.step(core, presented);
            }
            refusal => refusal,
        };
        self.reject(core, presented, not_charged(refusal, &entry), core.clock.now())
    }

    /// Ends the check of a text that is no key. Only the caller knows what else it may be.
    pub(super) fn malformed<S: KeyStore>(
        &self,
        core: &Core<S>,
        presented: &PresentedKey<'_>,
        kind: RejectionKind,
    ) -> Rejection {
        let rejection = Rejection::new(kind);
        core.refused(&rejection, presented.client(), core.clock.now());
        rejection
    }

    /// Ends a check that cannot go on, if it has charged limits: a new check of the same key would charge them again.
    pub(super) fn abandon<S: KeyStore>(&mut self, core: &Core<S>, presented: &PresentedKey<'_>) -> Option<Rejection> {
        self.charged.as_ref()?;
        match self.reject(core, presented, not_confirmed(), core.clock.now()) {
            Step::Done(Err(rejection)) => Some(rejection),
            _ => None,
        }
    }

    /// The key, once it is parsed.
    pub(super) fn key(&self) -> Option<&TaggedKey> {
        self.key.as_ref()
    }

    /// Whether this is the first load of the request.
    pub(super) fn is_first_load(&self) -> bool {
        self.loads == 1
    }

    /// Goes on without a fresh entry of this very key: parses it, and asks for a load unless it is wrong.
    #[cold]
    fn miss<S: KeyStore>(
        &mut self,
        core: &Core<S>,
        presented: &PresentedKey<'_>,
        mut stale: Option<Arc<Entry>>,
        now: Monotonic,
    ) -> Step {
        // A key with a CRC-32 again each time: meanwhile such keys may have ended.
        if self.key.as_ref().is_none_or(|key| key.form == SecretForm::Crc32) {
            match core.parse(presented, self.has_secrets) {
                Presented::Key(key) => self.key = Some(key),
                Presented::Malformed => self.key = None,
                Presented::NeedsSecrets => {
                    return match core.were_secrets_read(now) {
                        Some(were_read) => self.secrets_read(core, presented, were_read),
                        None => Step::Secrets,
                    };
                }
            }
        }
        let Some(key) = &self.key else {
            core.malformed(presented);
            return Step::Malformed;
        };
        // Rejected a moment ago. That holds for a stale entry as well, whose secret may be gone by now.
        if let Some(kind) = core.cache.rejected(&key.tag, core.fence.changes(), now) {
            return self.reject_wrong(core, presented, kind, now);
        }
        if stale.is_none() {
            stale = core.cache.get(key.lookup.as_bytes());
            if let (Some(entry), Some(started)) = (&stale, self.started)
                && core.is_fresh(entry, started, now)
            {
                // Not found before it was parsed: another format has the lengths of this key.
                if entry.tag.is(&key.tag) {
                    self.verified = stale;
                    return self.step(core, presented);
                }
                // A lookup has one secret for its whole life, so a wrong one is rejected without hashing it, unless the hash
                // could be of several.
                if !entry.hash_kind.is_cut_before(presented.bytes().len()) {
                    return self.reject_wrong(core, presented, RejectionKind::WrongSecret, now);
                }
            }
        }
        if self.loads == LOADS {
            return self.reject(core, presented, not_confirmed(), now);
        }
        self.loads += 1;
        Step::Load(stale)
    }

    /// An unknown key or a wrong secret, known without a load.
    fn reject_wrong<S: KeyStore>(
        &self,
        core: &Core<S>,
        presented: &PresentedKey<'_>,
        kind: RejectionKind,
        now: Monotonic,
    ) -> Step {
        core.record_failure(presented.failure_budget_group(), now);
        self.reject(core, presented, Rejection::new(kind), now)
    }

    #[cold]
    fn reject<S: KeyStore>(
        &self,
        core: &Core<S>,
        presented: &PresentedKey<'_>,
        rejection: Rejection,
        now: Monotonic,
    ) -> Step {
        let rejection = match &self.key {
            Some(key) => rejection.with_lookup(key.lookup.clone()),
            None => rejection,
        };
        if self.loads == 0 {
            core.outcomes.hit();
        }
        core.refused(&rejection, presented.client(), now);
        Step::Done(Err(rejection))
    }
}

fn not_confirmed() -> Rejection {
    Rejection::new(RejectionKind::NotConfirmed).with_retry_after(RETRY_AFTER)
}

fn not_charged(refusal: Decision, entry: &Entry) -> Rejection {
    let rejection = match refusal {
        Decision::Limited(limited) => Rejection::limited(*limited),
        _ => Rejection::new(RejectionKind::LimiterUnavailable).with_retry_after(RETRY_AFTER),
    };
    entry.rejection(rejection)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Authenticator;
    use crate::client::ClientOrigin;
    use crate::hash::HashPool;
    use crate::store::MemoryStore;

    /// Otherwise a flood of forged keys would look like a busy service, for which the pool has to rest.
    #[test]
    fn malformed_keys_and_missing_ones_are_no_work_of_the_process() {
        let pool = HashPool::builder().build();
        let authenticator = Authenticator::builder(MemoryStore::new()).pool(pool).build();
        let core = &authenticator.core;
        core.own_work.count_from(core.clock.now());
        assert!(authenticator.try_check(PresentedKey::new(b"key_live_forged")).is_some());
        authenticator.recorder()(&Rejection::new(RejectionKind::MissingCredential), ClientOrigin::UNKNOWN);
        assert_eq!(core.own_work.take().refused, 2);
    }
}
