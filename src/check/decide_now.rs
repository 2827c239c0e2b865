//! The same decision for a key that is known, without waiting: the way of nearly every request.
//!
//! It goes through code that other work has driven out of the processor's caches in the meantime. So all other ways are
//! functions of their own and marked cold, and little of it has to be fetched again.

use std::sync::Arc;

use super::attempt::{Attempt, Charged};
use super::context::AuthContext;
use super::core::Core;
use super::decide::{Known, charge, has_limits, judge};
use super::entry::Entry;
use super::policy;
use super::rejection::{Rejection, RejectionKind};
use super::tag::Tag;
use crate::clock::Monotonic;
use crate::key::Lookup;
use crate::limit::{Allowance, Decision, Take};
use crate::store::KeyStore;

impl<S: KeyStore> Core<S> {
    /// Decides without waiting, if it can, and records the outcome: a known key, and limits that are decided in memory.
    #[inline(never)]
    pub(super) fn decide_now(&self, attempt: &Attempt<'_>) -> Option<Result<AuthContext, Rejection>> {
        let started = self.clock.now();
        // Looked at where it is: what was written a moment ago in parts and is moved as a whole has to reach the cache first.
        let form = self.formats.parse_form(attempt.key());
        let Some(key) = &form else {
            return self.decide_unless_known(attempt, started);
        };
        let Some(lookup) = key.to_lookup() else {
            return self.decide_unless_known(attempt, started);
        };
        let tag = self.tagger.tag(key);
        // A key with this tag was parsed and verified before, to the byte: nothing about its text is left to be found out.
        let entry = match self.cache.get(&lookup) {
            Some(entry) if entry.tag.is(&tag) => entry,
            _ => return self.decide_unless_known(attempt, started),
        };
        // It may be stale until the last step. Until then no request is refused by it, nor charged.
        if let Err(rejection) = policy::admit(&entry, attempt.terms(), started) {
            return match self.is_fresh(&entry, started, started) {
                true => self.refuse_known(rejection, &lookup, attempt),
                false => self.decide_stale(&tag, &lookup, attempt, started),
            };
        }
        let allowance = if has_limits(&entry) {
            if !self.is_fresh(&entry, started, started) {
                return self.decide_stale(&tag, &lookup, attempt, started);
            }
            match self.charge_now(&entry, attempt, started) {
                Some(Ok(allowance)) => allowance,
                Some(Err(rejection)) => return self.refuse_known(rejection, &lookup, attempt),
                None => return None,
            }
        } else {
            Allowance::default()
        };
        if !self.confirm(&entry, started, started) {
            return match has_limits(&entry) {
                true => remember_charged(attempt, allowance, entry),
                false => self.decide_stale(&tag, &lookup, attempt, started),
            };
        }
        self.outcomes.hit();
        self.outcomes.admitted(&entry, &lookup, attempt.terms().client);
        Some(Ok(AuthContext::new(entry, lookup, attempt.terms(), allowance)))
    }

    /// What is not the key of an entry: here it is parsed whole before any answer.
    #[cold]
    fn decide_unless_known(&self, attempt: &Attempt<'_>, started: Monotonic) -> Option<Result<AuthContext, Rejection>> {
        let parsed = self.formats.parse(attempt.key()).ok();
        // A lookup that a format gave is one; denied rather than trusted should it not be.
        let Some((key, lookup)) = parsed.and_then(|key| key.to_lookup().map(|lookup| (key, lookup))) else {
            return self.refuse_now(Rejection::new(RejectionKind::MalformedKey), attempt);
        };
        let tag = self.tagger.tag(&key);
        let Known::Refused(kind) = self.look_up(&lookup, &tag, started, started) else {
            return None;
        };
        self.hold_against(attempt.terms().answerable(), started);
        self.refuse_known(Rejection::new(kind), &lookup, attempt)
    }

    /// The record of a stale entry has to be read, unless that was done a moment ago and the key refused: a secret may be
    /// gone by now.
    #[cold]
    fn decide_stale(
        &self,
        tag: &Tag,
        lookup: &Lookup,
        attempt: &Attempt<'_>,
        started: Monotonic,
    ) -> Option<Result<AuthContext, Rejection>> {
        let kind = self.cache.refused(tag, self.fence.changes(), started)?;
        self.hold_against(attempt.terms().answerable(), started);
        self.refuse_known(Rejection::new(kind), lookup, attempt)
    }

    #[cold]
    fn refuse_known(
        &self,
        rejection: Rejection,
        lookup: &Lookup,
        attempt: &Attempt<'_>,
    ) -> Option<Result<AuthContext, Rejection>> {
        self.outcomes.hit();
        self.refuse_now(rejection.with_lookup(lookup.as_str()), attempt)
    }

    fn refuse_now(&self, rejection: Rejection, attempt: &Attempt<'_>) -> Option<Result<AuthContext, Rejection>> {
        let client = attempt.terms().client;
        self.outcomes.refused(&rejection, client, self.clock.now());
        Some(Err(rejection))
    }

    /// Charges the limits, once for a request however often it comes by; none if a server has to be asked.
    #[inline]
    fn charge_now(
        &self,
        entry: &Entry,
        attempt: &Attempt<'_>,
        started: Monotonic,
    ) -> Option<Result<Allowance, Rejection>> {
        if let Some(charged) = attempt.charged().get() {
            return Some(Ok(charged.states_for(entry)));
        }
        if !self.limiter.is_immediate() {
            return None;
        }
        let decision = match self.limiter.take(&charge(entry, started)) {
            Take::Now(decision) => decision,
            // It has said that this never happens, and may have charged already: asking again would charge twice.
            Take::Later(_) => Decision::Unavailable,
        };
        Some(judge(decision, entry))
    }
}

/// A change came in between. The request goes on asynchronously, and must not be charged a second time.
#[cold]
fn remember_charged(
    attempt: &Attempt<'_>,
    allowance: Allowance,
    entry: Arc<Entry>,
) -> Option<Result<AuthContext, Rejection>> {
    let _ = attempt.charged().set(Box::new(Charged::new(allowance, entry)));
    None
}
