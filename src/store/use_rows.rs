//! Uses of keys and leases, for stores that hold rows in memory.

use std::collections::{BTreeMap, HashMap};

use uuid::Uuid;

use crate::audit::Forget;
use crate::key::{KeyId, KeyRecord, Lookup, Scope, Timestamp};
use crate::last_use::{NetworkUse, ScopeUse, SecretUse, UseBatch, UseOfKey, UseSource};
use crate::store::query::{Answer, KeyUses, Query, Statistics};
use crate::store::{StoreError, StoreErrorKind, StoredKey, Write};

/// Uses of keys and leases, for stores that hold rows in memory. A secret that was not used has no row.
#[derive(Clone, Debug, Default)]
pub struct UseRows {
    keys: BTreeMap<KeyId, OfKey>,
    /// The last batch of each source, and when it came.
    sources: BTreeMap<UseSource, (u64, Timestamp)>,
    /// Who has the lease of a task, and until when.
    leases: BTreeMap<String, (Uuid, Timestamp)>,
}

#[derive(Clone, Debug, Default)]
struct OfKey {
    secrets: HashMap<Lookup, SecretUse>,
    scopes: BTreeMap<Scope, Timestamp>,
    networks: BTreeMap<String, Timestamp>,
}

impl UseRows {
    /// Whether [`write`](Self::write) would make this write.
    ///
    /// # Errors
    /// Those of the [`Write`]. [`Unsupported`](StoreErrorKind::Unsupported) for a write of something else.
    pub fn check(&self, write: &Write) -> Result<(), StoreErrorKind> {
        match write {
            Write::HoldLease { task, holder, .. } => {
                let held = self.leases.get(task);
                let now = Timestamp::now();
                let latest = now.after(2 * Write::LONGEST_LEASE);
                let is_free = held.is_none_or(|(other, until)| other == holder || *until <= now || *until > latest);
                is_free.then_some(()).ok_or(StoreErrorKind::Conflict)
            }
            write if write.is_of_use() || write.is_of_audit() => Ok(()),
            _ => Err(StoreErrorKind::Unsupported),
        }
    }

    /// Adds uses, takes a lease, or forgets addresses; other writes of the audit trail change nothing here. `keys` are the store's
    /// keys.
    ///
    /// # Errors
    /// Those of [`check`](Self::check).
    pub fn write(&mut self, write: &Write, keys: &BTreeMap<KeyId, StoredKey>) -> Result<(), StoreErrorKind> {
        self.check(write)?;
        match write {
            Write::AddUses(batch) => self.add(batch, keys),
            Write::PruneUseSources { before } => self.sources.retain(|_, (_, seen_at)| *seen_at >= *before),
            Write::HoldLease { task, holder, lasts } => {
                let until = Timestamp::now().after((*lasts).min(Write::LONGEST_LEASE));
                self.leases.insert(task.clone(), (*holder, until));
            }
            Write::ForgetPersonal(forget) => self.forget(forget, keys),
            Write::ForgetOrigins { before } => {
                let is_old = |used: &SecretUse| used.last_used_at.is_none_or(|at| at < *before);
                self.forget_addresses(is_old);
            }
            _ => {}
        }
        Ok(())
    }

    /// Deletes the rows of secrets that are not there any more.
    pub fn retain(&mut self, keys: &BTreeMap<KeyId, StoredKey>) {
        let ids: Vec<KeyId> = self.keys.keys().copied().collect();
        ids.into_iter().for_each(|id| self.keep(id, keys.get(&id)));
    }

    /// The same for one key; `None` if it is gone.
    pub fn keep(&mut self, id: KeyId, key: Option<&StoredKey>) {
        let Some(key) = key else {
            self.keys.remove(&id);
            return;
        };
        if let Some(uses) = self.keys.get_mut(&id) {
            uses.secrets.retain(|lookup, _| key.secret(lookup).is_some());
        }
    }

    /// Answers a query about uses. `keys` are the store's keys.
    ///
    /// # Errors
    /// [`Unsupported`](StoreErrorKind::Unsupported) for a query about something else.
    pub fn read(&self, query: Query, keys: &BTreeMap<KeyId, StoredKey>) -> Result<Answer, StoreError> {
        match query {
            Query::KeyUses(ids) => {
                let keys = ids.iter().take(KeyUses::MOST).filter_map(|id| keys.get(id));
                Ok(Answer::KeyUses(keys.map(|key| self.of(key)).collect()))
            }
            Query::Statistics(query) => {
                let mut statistics = Statistics::default();
                for key in keys.values() {
                    query.count(&mut statistics, &key.record, &self.of(key));
                }
                Ok(Answer::Statistics(statistics))
            }
            _ => Err(StoreError::new(StoreErrorKind::Unsupported)),
        }
    }

    fn of(&self, key: &StoredKey) -> UseOfKey {
        let (id, organization) = (key.record.id, key.record.organization_id);
        let rows = self.keys.get(&id);
        let mut of_key = UseOfKey::new(id);
        for secret in &key.secrets {
            let used = rows.and_then(|rows| rows.secrets.get(&secret.lookup)).cloned();
            let unused = || SecretUse::new(secret.lookup.clone(), id, organization);
            of_key.secrets.push(used.unwrap_or_else(unused));
        }
        let by_lookup = |one: &SecretUse, other: &SecretUse| one.lookup.as_str().cmp(other.lookup.as_str());
        of_key.secrets.sort_unstable_by(by_lookup);
        if let Some(rows) = rows {
            let scopes = rows
                .scopes
                .iter()
                .map(|(scope, at)| ScopeUse::new(id, scope.clone(), *at));
            of_key.scopes = scopes.collect();
            let networks = rows.networks.iter();
            of_key.networks = networks
                .map(|(text, at)| NetworkUse::new(id, text.clone(), *at))
                .collect();
        }
        of_key
    }

    /// What is of a key or a secret that is gone is left out.
    fn add(&mut self, batch: &UseBatch, keys: &BTreeMap<KeyId, StoredKey>) {
        let (last, seen_at) = self
            .sources
            .entry(batch.source)
            .or_insert((0, Timestamp::from_millis(i64::MIN)));
        if *last >= batch.number {
            return;
        }
        (*last, *seen_at) = (batch.number, Timestamp::now());
        for used in &batch.secrets {
            let key = keys.get(&used.key_id).filter(|key| key.secret(&used.lookup).is_some());
            let Some(key) = key else { continue };
            let rows = &mut self.keys.entry(used.key_id).or_default().secrets;
            let unused = || SecretUse::new(used.lookup.clone(), used.key_id, key.record.organization_id);
            rows.entry(used.lookup.clone()).or_insert_with(unused).add(used);
        }
        for used in batch.scopes.iter().filter(|used| keys.contains_key(&used.key_id)) {
            let rows = &mut self.keys.entry(used.key_id).or_default().scopes;
            if rows.len() < UseOfKey::MOST_SCOPES || rows.contains_key(&used.scope) {
                let last = rows.entry(used.scope.clone()).or_insert(used.last_used_at);
                *last = used.last_used_at.max(*last);
            }
        }
        for seen in batch.networks.iter().filter(|seen| keys.contains_key(&seen.key_id)) {
            let rows = &mut self.keys.entry(seen.key_id).or_default().networks;
            if rows.len() < UseOfKey::MOST_NETWORKS || rows.contains_key(&seen.network) {
                let first = rows.entry(seen.network.clone()).or_insert(seen.first_seen);
                *first = seen.first_seen.min(*first);
            }
        }
    }

    fn forget(&mut self, forget: &Forget, keys: &BTreeMap<KeyId, StoredKey>) {
        let organization = forget.organization();
        if let Some(text) = forget.address_text() {
            self.forget_addresses(|used| {
                let is_in = organization.is_none_or(|id| used.organization_id == id);
                is_in && used.last_address.map(|address| address.to_string()).as_ref() == Some(&text)
            });
        }
        let is_one = |record: &KeyRecord| match forget.user_id() {
            Some(user) => record.user.as_ref() == Some(user),
            None => forget.is_everyone(),
        };
        for (id, rows) in &mut self.keys {
            let record = keys.get(id).map(|key| &key.record);
            let is_in = |of| organization.is_none_or(|id| id == of);
            if record.is_some_and(|record| is_one(record) && is_in(record.organization_id)) {
                rows.networks.clear();
                rows.secrets.values_mut().for_each(|used| used.last_address = None);
            }
        }
    }

    fn forget_addresses(&mut self, is_one: impl Fn(&SecretUse) -> bool) {
        let rows = self.keys.values_mut().flat_map(|rows| rows.secrets.values_mut());
        rows.filter(|used| is_one(used))
            .for_each(|used| used.last_address = None);
    }
}
