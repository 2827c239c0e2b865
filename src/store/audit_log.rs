//! The audit trail, for stores that hold rows in memory.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::audit::{AuditChain, AuditEntry, AuditHead, AuditRow, Forget, RefusalCount, RefusalSample};
use crate::key::{KeyId, OrganizationId, Timestamp};
use crate::store::query::{Answer, AuditRows, Query};
use crate::store::{Commit, StoreError, StoreErrorKind, StoredKey, Write};

/// The audit trail, for stores that hold rows in memory: events, and both ends of each chain.
#[derive(Clone, Debug)]
pub struct AuditLog {
    entries: VecDeque<AuditEntry>,
    chains: BTreeMap<OrganizationId, AuditChain>,
    most: usize,
    /// Of an hour, an organization and a kind.
    refusals: BTreeMap<(Timestamp, OrganizationId, String), u64>,
    samples: VecDeque<RefusalSample>,
}

impl AuditLog {
    /// An empty trail, of which the last `most` events are kept. The oldest ones go without an event that says so: a longer trail
    /// under an audit key does not verify.
    pub fn of_last(most: usize) -> Self {
        Self {
            entries: VecDeque::new(),
            chains: BTreeMap::new(),
            most: most.max(1),
            refusals: BTreeMap::new(),
            samples: VecDeque::new(),
        }
    }

    /// Links the events of a commit, each to the chain of its organization.
    pub fn link(&mut self, commit: &Commit) -> Vec<AuditEntry> {
        let mut entries = Vec::new();
        for event in &commit.audit {
            let id = event.organization_id;
            let empty = || AuditChain::new(id, AuditHead::default(), AuditHead::default());
            let chain = self.chains.entry(id).or_insert_with(empty);
            let entry = chain.head.link(event.clone(), commit.id, commit.audit_key.as_ref());
            entries.push(entry.clone());
            self.entries.push_back(entry);
            if self.entries.len() > self.most
                && let Some(oldest) = self.entries.pop_front()
            {
                self.set_pruned(&oldest);
            }
        }
        entries
    }

    /// Whether [`write`](Self::write) would make this write.
    ///
    /// # Errors
    /// Those of the [`Write`]. [`Unsupported`](StoreErrorKind::Unsupported) for a write of something else.
    pub fn check(&self, write: &Write) -> Result<(), StoreErrorKind> {
        match write {
            Write::PruneAudit { organization, through } => self.last_to_prune(*organization, *through).map(drop),
            write if write.is_of_audit() => Ok(()),
            _ => Err(StoreErrorKind::Unsupported),
        }
    }

    /// Forgets a person, deletes the start of a chain, or writes refusals. Of samples as many are kept as of events. `keys` are
    /// the store's keys.
    ///
    /// # Errors
    /// Those of [`check`](Self::check).
    pub fn write(&mut self, write: &Write, keys: &BTreeMap<KeyId, StoredKey>) -> Result<(), StoreErrorKind> {
        match write {
            Write::ForgetPersonal(forget) => self.forget(forget, keys),
            Write::PruneAudit { organization, through } => {
                let last = self.last_to_prune(*organization, *through)?;
                let is_pruned =
                    |entry: &AuditEntry| entry.event.organization_id == *organization && entry.seq <= *through;
                self.entries.retain(|entry| !is_pruned(entry));
                self.set_pruned(&last);
            }
            Write::ForgetOrigins { before } => {
                let older = self.entries.iter_mut().filter(|entry| entry.event.at < *before);
                older.for_each(|entry| entry.event.personal.forget_origin());
            }
            Write::CountRefusals(count) => {
                let place = (count.hour, count.organization_id, count.kind.clone());
                let known = self.refusals.entry(place).or_default();
                *known = known.saturating_add(count.number);
                if self.refusals.len() > self.most {
                    self.refusals.pop_first();
                }
            }
            Write::InsertRefusal(sample) => {
                self.samples.push_back(sample.clone());
                if self.samples.len() > self.most {
                    self.samples.pop_front();
                }
            }
            Write::PruneRefusals { before } => {
                self.refusals.retain(|(hour, _, _), _| hour >= before);
                self.samples.retain(|sample| sample.at >= *before);
            }
            _ => return Err(StoreErrorKind::Unsupported),
        }
        Ok(())
    }

    /// Answers a query about the trail.
    ///
    /// # Errors
    /// [`InvalidCursor`](StoreErrorKind::InvalidCursor) for a cursor of another list, [`Unsupported`](StoreErrorKind::Unsupported)
    /// for a query about something else.
    pub fn read(&self, query: Query) -> Result<Answer, StoreError> {
        Ok(match query {
            Query::AuditEvents(filter, page) => Answer::AuditEvents(page.cut(&filter, &self.entries)?),
            Query::Commit(id) => Answer::WasCommitted(self.entries.iter().rev().any(|entry| entry.commit == id)),
            Query::AuditRows(query) => Answer::AuditRows(self.rows(query)),
            Query::FirstAudited(from) => {
                let ids = self.entries.iter().map(|entry| entry.event.organization_id);
                Answer::FirstAudited(ids.filter(|id| *id >= from).min())
            }
            Query::AuditChains(query) => {
                let chains = self.chains.range(query.from..).map(|(_, chain)| *chain);
                Answer::AuditChains(chains.take(query.limit()).collect())
            }
            Query::RefusalCounts(query) => {
                let counts = self.refusals.iter();
                let counts = counts
                    .map(|((hour, organization, kind), n)| RefusalCount::new(*hour, *organization, kind.clone(), *n));
                Answer::RefusalCounts(
                    counts
                        .filter(|count| query.matches(count))
                        .take(query.limit())
                        .collect(),
                )
            }
            Query::Refusals(query) => {
                let mut samples: Vec<_> = self
                    .samples
                    .iter()
                    .filter(|sample| query.matches(sample))
                    .cloned()
                    .collect();
                samples.sort_unstable_by_key(|sample| (sample.at, sample.id));
                samples.truncate(query.limit());
                Answer::Refusals(samples)
            }
            _ => return Err(StoreError::new(StoreErrorKind::Unsupported)),
        })
    }

    fn rows(&self, query: AuditRows) -> Vec<AuditRow> {
        // In the order of their numbers already.
        let is_asked =
            |entry: &&AuditEntry| entry.event.organization_id == query.organization && entry.seq > query.after;
        let entries = self.entries.iter().filter(is_asked);
        entries.take(query.limit()).map(AuditRow::from).collect()
    }

    fn forget(&mut self, forget: &Forget, keys: &BTreeMap<KeyId, StoredKey>) {
        let user = forget.user_id();
        let mut of_user = BTreeSet::new();
        if user.is_some() {
            // Keys that are deleted or another user's by now are in the trail alone.
            let events = self.entries.iter().map(|entry| &entry.event);
            let events = events.filter(|event| event.user.as_ref() == user);
            of_user.extend(events.filter_map(|event| event.key_id));
            let records = keys.values().map(|key| &key.record);
            of_user.extend(
                records
                    .filter(|record| record.user.as_ref() == user)
                    .map(|record| record.id),
            );
        }
        for entry in &mut self.entries {
            if forget.concerns(&entry.event) {
                entry.event.personal.forget();
            }
        }
        for sample in &mut self.samples {
            if forget.concerns_sample(sample, |key| of_user.contains(&key)) {
                sample.address = None;
            }
        }
    }

    fn last_to_prune(&self, organization: OrganizationId, through: u64) -> Result<AuditEntry, StoreErrorKind> {
        let pruned = self.chains.get(&organization).map(|chain| chain.pruned.seq);
        if pruned.is_some_and(|pruned| pruned >= through) {
            return Err(StoreErrorKind::Conflict);
        }
        let is_it = |entry: &&AuditEntry| entry.event.organization_id == organization && entry.seq == through;
        self.entries.iter().find(is_it).cloned().ok_or(StoreErrorKind::NotFound)
    }

    fn set_pruned(&mut self, last: &AuditEntry) {
        if let Some(chain) = self.chains.get_mut(&last.event.organization_id) {
            chain.pruned = AuditHead {
                seq: last.seq,
                hash: last.hash,
            };
        }
    }
}

/// All events are kept.
impl Default for AuditLog {
    fn default() -> Self {
        Self::of_last(usize::MAX)
    }
}
