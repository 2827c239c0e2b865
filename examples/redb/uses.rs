//! Uses of keys and leases.

use std::collections::BTreeSet;

use redb::WriteTransaction;
use serde::{Deserialize, Serialize};
use tower_api_key::audit::Forget;
use tower_api_key::key::{KeyId, Lookup, OrganizationId, Timestamp};
use tower_api_key::last_use::{NetworkUse, ScopeUse, SecretUse, UseBatch, UseOfKey};
use tower_api_key::store::query::{Answer, KeyUses};
use tower_api_key::store::{StoreError, StoreErrorKind, StoredKey, Write};
use uuid::Uuid;

use crate::read;
use crate::rows::{self, Stored, millis, time};
use crate::tables::{Change, LEASES, Read, SOURCES, USES, key};

/// For writes of which [`Write::is_of_use`] says so, and for those that forget persons.
pub fn write(transaction: &WriteTransaction, write: &Write) -> Result<(), StoreError> {
    match write {
        Write::AddUses(batch) => add(transaction, batch),
        Write::PruneUseSources { before } => {
            for (source, row) in transaction.all(SOURCES)? {
                let (_, seen_at): (u64, i64) = rows::read_form(&row)?;
                if seen_at < before.as_millis() {
                    transaction.delete(SOURCES, &source)?;
                }
            }
            Ok(())
        }
        Write::HoldLease { task, holder, lasts } => {
            let now = Timestamp::now();
            if let Some(row) = transaction.get(LEASES, task.as_bytes())? {
                let (other, until): (u128, i64) = rows::read_form(&row)?;
                let latest = now.after(2 * Write::LONGEST_LEASE).as_millis();
                if other != holder.as_u128() && until > now.as_millis() && until <= latest {
                    return Err(StoreError::new(StoreErrorKind::Conflict));
                }
            }
            let lease = (
                holder.as_u128(),
                now.after((*lasts).min(Write::LONGEST_LEASE)).as_millis(),
            );
            transaction.put(LEASES, task.as_bytes(), &rows::write_form(&lease)?)
        }
        Write::ForgetPersonal(forget) => forget_person(transaction, forget),
        Write::ForgetOrigins { before } => {
            let is_old = |used: &SecretUse| used.last_used_at.is_none_or(|at| at < *before);
            rewrite(transaction, |_, uses| forget_addresses(uses, is_old))
        }
        _ => Ok(()),
    }
}

/// How these keys were used; secrets without a row were not.
pub fn read(transaction: &impl Read, ids: &[KeyId]) -> Result<Answer, StoreError> {
    let mut all = Vec::new();
    for id in ids.iter().take(KeyUses::MOST) {
        let Some(key) = read::key(transaction, *id)? else {
            continue;
        };
        let mut uses = of_key(transaction, *id)?;
        for secret in &key.secrets {
            if uses.secret(&secret.lookup).is_none() {
                uses.secrets.push(unused(&key, &secret.lookup));
            }
        }
        uses.secrets
            .sort_by(|one, other| one.lookup.as_str().cmp(other.lookup.as_str()));
        all.push(uses);
    }
    Ok(Answer::KeyUses(all))
}

/// Deletes what is of secrets that are gone.
pub fn keep(transaction: &WriteTransaction, stored: &StoredKey) -> Result<(), StoreError> {
    let mut uses = of_key(transaction, stored.record.id)?;
    uses.secrets.retain(|used| stored.secret(&used.lookup).is_some());
    put(transaction, &uses)
}

fn add(transaction: &WriteTransaction, batch: &UseBatch) -> Result<(), StoreError> {
    let source = [&batch.source.node.as_bytes()[..], &batch.source.epoch.to_be_bytes()].concat();
    let known = transaction.get(SOURCES, &source)?;
    let known: Option<(u64, i64)> = known.map(|row| rows::read_form(&row)).transpose()?;
    if known.is_some_and(|(last, _)| last >= batch.number) {
        return Ok(());
    }
    let seen = (batch.number, Timestamp::now().as_millis());
    transaction.put(SOURCES, &source, &rows::write_form(&seen)?)?;
    let of_secrets = batch.secrets.iter().map(|used| used.key_id);
    let of_scopes = batch.scopes.iter().map(|used| used.key_id);
    let of_networks = batch.networks.iter().map(|seen| seen.key_id);
    let ids: BTreeSet<KeyId> = of_secrets.chain(of_scopes).chain(of_networks).collect();
    let mut all = Vec::new();
    for id in ids {
        if let Some(key) = read::key(transaction, id)? {
            all.push((of_key(transaction, id)?, key));
        }
    }
    // In the order of their ids, so that each is found by halves.
    let place = |all: &[(UseOfKey, StoredKey)], id: KeyId| all.binary_search_by_key(&id, |(uses, _)| uses.key_id).ok();
    for used in &batch.secrets {
        let Some(index) = place(&all, used.key_id) else {
            continue;
        };
        let (uses, key) = &mut all[index];
        if key.secret(&used.lookup).is_none() {
            continue;
        }
        match uses.secrets.iter_mut().find(|known| known.lookup == used.lookup) {
            Some(known) => known.add(used),
            None => {
                let mut first = unused(key, &used.lookup);
                first.add(used);
                uses.secrets.push(first);
            }
        }
    }
    for used in &batch.scopes {
        let Some(index) = place(&all, used.key_id) else {
            continue;
        };
        let scopes = &mut all[index].0.scopes;
        match scopes.binary_search_by(|known| known.scope.cmp(&used.scope)) {
            Ok(known) => scopes[known].last_used_at = scopes[known].last_used_at.max(used.last_used_at),
            Err(at) if scopes.len() < UseOfKey::MOST_SCOPES => scopes.insert(at, used.clone()),
            Err(_) => {}
        }
    }
    for seen in &batch.networks {
        let Some(index) = place(&all, seen.key_id) else {
            continue;
        };
        let networks = &mut all[index].0.networks;
        match networks.binary_search_by(|known| known.network.cmp(&seen.network)) {
            Ok(known) => networks[known].first_seen = networks[known].first_seen.min(seen.first_seen),
            Err(at) if networks.len() < UseOfKey::MOST_NETWORKS => networks.insert(at, seen.clone()),
            Err(_) => {}
        }
    }
    all.iter().try_for_each(|(uses, _)| put(transaction, uses))
}

fn forget_person(transaction: &WriteTransaction, forget: &Forget) -> Result<(), StoreError> {
    let is_in = |of: OrganizationId| forget.organization().is_none_or(|id| id == of);
    let text = forget.address_text();
    rewrite(transaction, |key, uses| {
        if text.is_some() {
            let has_it = |used: &SecretUse| used.last_address.map(|address| address.to_string()) == text;
            forget_addresses(uses, |used| is_in(used.organization_id) && has_it(used));
        }
        let record = &key.record;
        if forget.is_everyone() && is_in(record.organization_id) {
            uses.networks.clear();
            forget_addresses(uses, |_| true);
        }
        if record.user.is_some() && record.user.as_ref() == forget.user_id() && is_in(record.organization_id) {
            uses.networks.clear();
            forget_addresses(uses, |_| true);
        }
    })
}

fn forget_addresses(uses: &mut UseOfKey, is_one: impl Fn(&SecretUse) -> bool) {
    let secrets = uses.secrets.iter_mut().filter(|used| is_one(used));
    secrets.for_each(|used| used.last_address = None);
}

fn rewrite(transaction: &WriteTransaction, change: impl Fn(&StoredKey, &mut UseOfKey)) -> Result<(), StoreError> {
    for (_, row) in transaction.all(USES)? {
        let mut uses: UseOfKey = rows::read(&row)?;
        if let Some(key) = read::key(transaction, uses.key_id)? {
            change(&key, &mut uses);
            put(transaction, &uses)?;
        }
    }
    Ok(())
}

/// How a key was used; secrets that were not have no row.
pub fn of_key(transaction: &impl Read, id: KeyId) -> Result<UseOfKey, StoreError> {
    match transaction.get(USES, &key(id))? {
        Some(row) => rows::read(&row),
        None => Ok(UseOfKey::new(id)),
    }
}

fn put(transaction: &WriteTransaction, uses: &UseOfKey) -> Result<(), StoreError> {
    transaction.put(USES, &key(uses.key_id), &rows::write(uses)?)
}

fn unused(key: &StoredKey, lookup: &Lookup) -> SecretUse {
    SecretUse::new(lookup.clone(), key.record.id, key.record.organization_id)
}

#[derive(Serialize, Deserialize)]
pub struct UseForm {
    key_id: u128,
    secrets: Vec<SecretUseForm>,
    scopes: Vec<(String, i64)>,
    networks: Vec<(String, i64)>,
}

#[derive(Serialize, Deserialize)]
struct SecretUseForm {
    lookup: String,
    organization_id: u128,
    last_used_at: Option<i64>,
    last_address: Option<std::net::IpAddr>,
    requests: u64,
}

impl Stored for UseOfKey {
    type Form = UseForm;

    fn form(&self) -> UseForm {
        let secrets = self.secrets.iter().map(|used| SecretUseForm {
            lookup: used.lookup.as_str().into(),
            organization_id: used.organization_id.as_uuid().as_u128(),
            last_used_at: millis(used.last_used_at),
            last_address: used.last_address,
            requests: used.requests,
        });
        let scopes = self.scopes.iter();
        let networks = self.networks.iter();
        UseForm {
            key_id: self.key_id.as_uuid().as_u128(),
            secrets: secrets.collect(),
            scopes: scopes
                .map(|used| (used.scope.as_str().into(), used.last_used_at.as_millis()))
                .collect(),
            networks: networks
                .map(|seen| (seen.network.clone(), seen.first_seen.as_millis()))
                .collect(),
        }
    }

    fn row(form: UseForm) -> Option<Self> {
        let mut uses = Self::new(KeyId::from_u128(form.key_id));
        for row in form.secrets {
            let organization = OrganizationId::from(Uuid::from_u128(row.organization_id));
            let mut used = SecretUse::new(Lookup::new(&row.lookup).ok()?, uses.key_id, organization);
            (used.last_used_at, used.last_address) = (time(row.last_used_at), row.last_address);
            used.requests = row.requests;
            uses.secrets.push(used);
        }
        for (scope, at) in form.scopes {
            let at = Timestamp::from_millis(at);
            uses.scopes.push(ScopeUse::new(uses.key_id, scope.parse().ok()?, at));
        }
        let networks = form.networks.into_iter();
        let seen = |(network, at)| NetworkUse::new(uses.key_id, network, Timestamp::from_millis(at));
        uses.networks = networks.map(seen).collect();
        Some(uses)
    }
}
