//! The rows, and how they are read.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use crate::fence::Change;
use crate::key::{KeyId, Lookup, Organization, OrganizationId, Timestamp};
use crate::store::query::{Answer, ChangesAfter, Count, LoggedChange, Query};
use crate::store::{AuditLog, Candidate, IdempotencyRows, SharedRows, StoreError, StoredKey, UseRows};

/// Audit events, and rows of the change log.
const MOST_KEPT: usize = 65_536;

/// All rows, under one lock, so that a reader never sees half a change.
pub(super) struct Tables {
    pub(super) organizations: BTreeMap<OrganizationId, Organization>,
    /// Which organization has a slug.
    pub(super) slugs: HashMap<String, OrganizationId>,
    /// Which organization has an e-mail address, folded.
    pub(super) emails: HashMap<String, OrganizationId>,
    pub(super) keys: BTreeMap<KeyId, StoredKey>,
    /// Which key has a lookup.
    pub(super) lookups: HashMap<Lookup, KeyId>,
    pub(super) shared: SharedRows,
    pub(super) audit: AuditLog,
    pub(super) uses: UseRows,
    pub(super) idempotency: IdempotencyRows,
    log: VecDeque<LoggedChange>,
    logged: u64,
}

impl Default for Tables {
    fn default() -> Self {
        Self {
            organizations: BTreeMap::new(),
            slugs: HashMap::new(),
            keys: BTreeMap::new(),
            lookups: HashMap::new(),
            emails: HashMap::new(),
            shared: SharedRows::default(),
            audit: AuditLog::of_last(MOST_KEPT),
            uses: UseRows::default(),
            idempotency: IdempotencyRows::default(),
            log: VecDeque::new(),
            logged: 0,
        }
    }
}

impl Tables {
    pub(super) fn find(&self, lookup: &Lookup) -> Option<Candidate> {
        let key = self.keys.get(self.lookups.get(lookup)?)?;
        let candidate = key.candidate(lookup, self.organizations.get(&key.record.organization_id)?)?;
        Some(self.shared.complete(candidate))
    }

    pub(super) fn read(&self, query: Query) -> Result<Answer, StoreError> {
        Ok(match query {
            Query::Organization(id) => Answer::Organization(self.organizations.get(&id).cloned()),
            Query::OrganizationBySlug(slug) => {
                let found = self.slugs.get(&slug).and_then(|id| self.organizations.get(id));
                Answer::Organization(found.cloned())
            }
            Query::OrganizationByEmail(email) => {
                let found = self.emails.get(&email).and_then(|id| self.organizations.get(id));
                Answer::Organization(found.cloned())
            }
            Query::Organizations(filter, page) => {
                Answer::Organizations(page.cut(&filter, self.organizations.values())?)
            }
            Query::CountOrganizations(filter) => Answer::Count(Count::of_rows(&filter, self.organizations.values())),
            Query::Key(id) => Answer::Key(self.keys.get(&id).cloned()),
            Query::KeyByHash(hash) => Answer::Key(self.keys.values().find(|key| key.has_hash(&hash)).cloned()),
            Query::EndedKeys(ended) => Answer::KeyRecords(ended.among(self.keys.values())),
            Query::Keys(filter, page) => Answer::Keys(page.cut(&filter, self.keys.values())?),
            Query::DescendantsOf(of) => Answer::KeyRecords(of.among(self.keys.values())),
            Query::CountKeys(filter) => Answer::Count(Count::of_rows(&filter, self.keys.values())),
            Query::AuditEvents(..)
            | Query::Commit(_)
            | Query::AuditRows(_)
            | Query::AuditChains(_)
            | Query::FirstAudited(_)
            | Query::RefusalCounts(_)
            | Query::Refusals(_) => self.audit.read(query)?,
            Query::Changes { after } => {
                let rows = self.log.iter().filter(|row| row.seq > after);
                Answer::Changes(rows.take(ChangesAfter::MOST).copied().collect())
            }
            Query::CountKeysOfForm { form, at } => Answer::Count(Count::of_form(self.keys.values(), form, at)),
            query if query.is_of_use() => self.uses.read(query, &self.keys)?,
            query if query.is_of_idempotency() => self.idempotency.read(query)?,
            query => self.shared.read(query)?,
        })
    }

    /// Deletes the rows of the change log that are older than this, except the last.
    pub(super) fn purge_log(&mut self, older_than: Duration) {
        let now = Timestamp::now();
        // Up to the last old one: one whose clock was ahead by years is no younger than those after it.
        let old = self.log.iter().rposition(|row| now.since(row.at) > older_than);
        let most = self.log.len().saturating_sub(1);
        self.log.drain(..old.map_or(0, |old| old + 1).min(most));
    }

    pub(super) fn log(&mut self, change: Change) {
        self.logged += 1;
        let at = Timestamp::now();
        push(
            &mut self.log,
            LoggedChange::new(self.logged, rand::random(), change, at),
        );
    }
}

fn push<T>(rows: &mut VecDeque<T>, row: T) {
    if rows.len() == MOST_KEPT {
        rows.pop_front();
    }
    rows.push_back(row);
}
