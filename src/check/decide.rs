//! The decision about a request, from the presented key to the context, reading and hashing as needed.

use std::sync::Arc;

use super::attempt::{Charged, OwnedAttempt, Terms};
use super::context::AuthContext;
use super::core::Core;
use super::entry::Entry;
use super::flight::{AsOf, FlightKey, Landing, Place, Refuse};
use super::load::{Load, Presented};
use super::policy;
use super::rejection::{RETRY_AFTER, Rejection, RejectionKind};
use super::tag::Tag;
use crate::clock::Monotonic;
use crate::key::{ApiKey, Lookup, ParsedKey};
use crate::limit::{Allowance, Charge, Decision, Take};
use crate::store::KeyStore;

/// Rounds of a request that changes keep running past.
const ATTEMPTS: usize = 3;

/// What the cache knows of a presented key.
pub(super) enum Known {
    /// It is this one, and nothing has changed since.
    Fresh(Arc<Entry>),
    /// It is refused.
    Refused(RejectionKind),
    /// Its record must be read: `Some` when it, or another key with its lookup, was seen before.
    Unread(Option<Arc<Entry>>),
}

impl<S: KeyStore> Core<S> {
    /// Decides, reading and hashing as needed.
    pub(super) async fn decide(self: Arc<Self>, mut attempt: OwnedAttempt) -> Result<AuthContext, Rejection> {
        let started = self.clock.now();
        let mut charged = attempt.take_charged();
        let key = (self.formats.parse(attempt.key())).map_err(|_| Rejection::new(RejectionKind::MalformedKey))?;
        let lookup = key
            .to_lookup()
            .ok_or_else(|| Rejection::new(RejectionKind::MalformedKey))?;
        let tag = self.tagger.tag(&key);
        for round in 0..ATTEMPTS {
            let is_first = round == 0;
            let entry = self.verified(&key, &lookup, &tag, &attempt, started, is_first).await?;
            policy::admit(&entry, attempt.terms(), self.clock.now()).map_err(|r| r.with_lookup(key.lookup()))?;
            let allowance = match &charged {
                Some(charged) => charged.states_for(&entry),
                None if !has_limits(&entry) => Allowance::default(),
                None => self.charge(&entry, &key).await?,
            };
            if self.confirm(&entry, started, self.clock.now()) {
                self.outcomes.admitted(&entry, &lookup, attempt.terms().client);
                return Ok(AuthContext::new(entry, lookup, attempt.terms(), allowance));
            }
            // Not for a key that had no limits until now: it would be let off those it has got in the meantime.
            if charged.is_none() && has_limits(&entry) {
                charged = Some(Charged::new(allowance, entry));
            }
        }
        Err(Rejection::new(RejectionKind::NotConfirmed)
            .with_retry_after(RETRY_AFTER)
            .with_lookup(key.lookup()))
    }

    pub(super) fn look_up(&self, lookup: &Lookup, tag: &Tag, started: Monotonic, now: Monotonic) -> Known {
        let entry = match self.cache.get(lookup) {
            Some(entry) if self.is_fresh(&entry, started, now) => entry,
            // A stale entry may be of a secret that is gone since: that it was refused a moment ago counts as well.
            unread => {
                return match self.cache.refused(tag, self.fence.changes(), now) {
                    Some(kind) => Known::Refused(kind),
                    None => Known::Unread(unread),
                };
            }
        };
        if entry.tag.is(tag) {
            return Known::Fresh(entry);
        }
        // A lookup has one secret for ever: no need to hash a wrong one.
        Known::Refused(RejectionKind::WrongSecret)
    }

    /// The entry of this key, from the cache or by a load that is shared with others who wait for the same.
    async fn verified(
        self: &Arc<Self>,
        key: &ParsedKey<'_>,
        lookup: &Lookup,
        tag: &Tag,
        attempt: &OwnedAttempt,
        started: Monotonic,
        mut is_first: bool,
    ) -> Result<Arc<Entry>, Rejection> {
        for _ in 0..ATTEMPTS {
            let began = self.clock.now();
            let known = self.look_up(lookup, tag, started, began);
            // A check is counted once, however often it goes around.
            if std::mem::take(&mut is_first) {
                match &known {
                    Known::Unread(seen) => self.outcomes.read(seen.is_some()),
                    _ => self.outcomes.hit(),
                }
            }
            let known = match known {
                Known::Fresh(entry) => return Ok(entry),
                Known::Refused(kind) => return Err(self.refuse(kind, key, attempt.terms(), began)),
                Known::Unread(known) => known,
            };
            self.within_budget(known.as_deref(), attempt.terms(), began)
                .map_err(|r| r.with_lookup(key.lookup()))?;
            let landing = self.load(key, lookup, *tag, attempt, known).await;
            match landing {
                Ok(Landing::Verified(entry)) => return Ok(entry),
                Ok(Landing::VerifiedBefore(entry)) => {
                    // Else the next round knows the key to be right, and no bound keeps it from a load of its own.
                    if self.is_fresh(&entry, started, self.clock.now()) {
                        return Ok(entry);
                    }
                }
                Ok(Landing::Refused(refusal)) => {
                    // A refusal from before a change that this request came after is no answer to it. In one and the same
                    // instant of the clock, the read may have been first. Since the request began, not since this round did:
                    // of the loads that may stand in for its own two at most are older, and the third round finds a later one.
                    if refusal.read_at > started || refusal.changes == self.fence.changes() {
                        let terms = attempt.terms();
                        if refusal.held_against != terms.answerable() {
                            self.hold_against(terms.answerable(), began);
                        }
                        return Err(Rejection::new(refusal.kind).with_lookup(key.lookup()));
                    }
                }
                Ok(Landing::Failed(kind, retry_after)) => {
                    let retry_after = retry_after.unwrap_or(RETRY_AFTER);
                    return Err(Rejection::new(kind)
                        .with_retry_after(retry_after)
                        .with_lookup(key.lookup()));
                }
                Err(Refuse) => {
                    return Err(Rejection::new(RejectionKind::Busy)
                        .with_retry_after(RETRY_AFTER)
                        .with_lookup(key.lookup()));
                }
            }
        }
        Err(Rejection::new(RejectionKind::NotConfirmed)
            .with_retry_after(RETRY_AFTER)
            .with_lookup(key.lookup()))
    }

    async fn load(
        self: &Arc<Self>,
        key: &ParsedKey<'_>,
        lookup: &Lookup,
        tag: Tag,
        attempt: &OwnedAttempt,
        known: Option<Arc<Entry>>,
    ) -> Result<Landing, Refuse> {
        let changes = self.fence.changes();
        let proven = known.as_ref().filter(|entry| entry.tag.is(&tag));
        let is_proven = proven.is_some();
        let flight = FlightKey {
            tag,
            as_of: match proven {
                Some(entry) => AsOf::Mark(self.fence.protocol().mark(entry.mark.stripes())),
                None => AsOf::Changes(changes),
            },
            has_key: true,
        };
        let load = || {
            let load = Load {
                core: self.clone(),
                lookup: lookup.clone(),
                tag,
                presented: Some(Presented {
                    key: ApiKey::from(key.text().to_owned()),
                    prefix: key.prefix().into(),
                    environment: key.environment().map(Into::into),
                    has_unguessable_lookup: key.has_unguessable_lookup(),
                }),
                known,
                client: attempt.terms().client.group(),
                held_against: attempt.terms().answerable(),
                changes,
            };
            load.run()
        };
        let place = (!is_proven).then(|| Place {
            lookup: lookup.clone(),
            client: attempt.terms().client.group(),
        });
        self.flights.join(flight, place, load).await
    }

    /// Wrong keys from one address, under pressure only. What was seen before is none of them.
    fn within_budget(&self, known: Option<&Entry>, terms: Terms<'_>, now: Monotonic) -> Result<(), Rejection> {
        let (None, Some(budget), Some(client)) = (known, &self.budget, terms.answerable()) else {
            return Ok(());
        };
        if !self.is_under_pressure() {
            return Ok(());
        }
        match budget.wait(client, self.flights.unproven_of(client), now) {
            None => Ok(()),
            Some(wait) => Err(Rejection::new(RejectionKind::TooManyFailures).with_retry_after(wait)),
        }
    }

    fn refuse(&self, kind: RejectionKind, key: &ParsedKey<'_>, terms: Terms<'_>, now: Monotonic) -> Rejection {
        self.hold_against(terms.answerable(), now);
        Rejection::new(kind).with_lookup(key.lookup())
    }

    async fn charge(&self, entry: &Entry, key: &ParsedKey<'_>) -> Result<Allowance, Rejection> {
        let taken = self.limiter.take(&charge(entry, self.clock.now()));
        let decision = match taken {
            Take::Now(decision) => decision,
            // Whoever asks a server answers in time or not at all; an answer that comes too late is none.
            Take::Later(decision) => tokio::time::timeout(self.settings.load_timeout, decision)
                .await
                .unwrap_or(Decision::Unavailable),
        };
        judge(decision, entry).map_err(|rejection| rejection.with_lookup(key.lookup()))
    }
}

pub(super) fn has_limits(entry: &Entry) -> bool {
    !entry.limits().is_empty() || !entry.organization().limits.is_empty()
}

pub(super) fn charge(entry: &Entry, now: Monotonic) -> Charge<'_> {
    let organization = entry.organization();
    Charge::new(
        entry.key_id(),
        organization.id,
        entry.limits(),
        &organization.limits,
        now,
    )
    .with_known_buckets(&entry.known_buckets)
}

#[inline]
pub(super) fn judge(decision: Decision, entry: &Entry) -> Result<Allowance, Rejection> {
    match decision {
        Decision::Allowed(allowance) => Ok(allowance),
        refusal => Err(not_charged(refusal, entry)),
    }
}

#[cold]
fn not_charged(refusal: Decision, entry: &Entry) -> Rejection {
    let rejection = match refusal {
        Decision::Limited(limited) => Rejection::limited(*limited),
        _ => Rejection::new(RejectionKind::LimiterUnavailable).with_retry_after(RETRY_AFTER),
    };
    rejection.of_key(entry.key_id(), entry.organization().id, entry.user())
}
