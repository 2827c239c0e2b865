//! The audit trail and refusals.

mod forms;

use std::collections::BTreeSet;

use redb::WriteTransaction;
use tower_api_key::audit::{AuditChain, AuditEntry, AuditHead, AuditRow, Forget, RefusalCount, RefusalSample};
use tower_api_key::key::{KeyId, OrganizationId, Timestamp};
use tower_api_key::store::query::{Answer, AuditFilter, Page, Query};
use tower_api_key::store::{Commit, StoreError, StoreErrorKind, StoredKey, Write};

use crate::rows;
use crate::tables::{CHAINS, COMMITS, Change, EVENTS, KEYS, REFUSAL_COUNTS, REFUSALS, Read, organization};

/// Links the events of a commit, each to the chain of its organization.
pub fn link(transaction: &WriteTransaction, commit: &Commit) -> Result<Vec<AuditEntry>, StoreError> {
    let mut entries = Vec::new();
    for event in &commit.audit {
        let id = event.organization_id;
        let mut chain = chain(transaction, id)?;
        let entry = chain.head.link(event.clone(), commit.id, commit.audit_key.as_ref());
        let row = rows::write(&AuditRow::from(&entry))?;
        transaction.put(EVENTS, &place(id, entry.seq), &row)?;
        transaction.put(CHAINS, &organization(id), &rows::write(&chain)?)?;
        entries.push(entry);
    }
    if !entries.is_empty() {
        transaction.put(COMMITS, commit.id.as_uuid().as_bytes(), &[])?;
    }
    Ok(entries)
}

/// For writes of which [`Write::is_of_audit`] says so.
pub fn write(transaction: &WriteTransaction, write: Write) -> Result<(), StoreError> {
    match write {
        Write::ForgetPersonal(forget) => forget_person(transaction, &forget),
        Write::ForgetOrigins { before } => rewrite(transaction, |entry| {
            let is_older = entry.event.at < before;
            if is_older {
                entry.event.personal.forget_origin();
            }
            is_older
        }),
        Write::PruneAudit {
            organization: id,
            through,
        } => prune(transaction, id, through),
        Write::CountRefusals(mut count) => {
            let place = [
                &time(count.hour)[..],
                &organization(count.organization_id),
                count.kind.as_bytes(),
            ]
            .concat();
            if let Some(known) = transaction.get(REFUSAL_COUNTS, &place)? {
                count.number = count.number.saturating_add(rows::read::<RefusalCount>(&known)?.number);
            }
            transaction.put(REFUSAL_COUNTS, &place, &rows::write(&count)?)
        }
        Write::InsertRefusal(sample) => {
            let place = [&time(sample.at)[..], sample.id.as_bytes()].concat();
            transaction.put(REFUSALS, &place, &rows::write(&sample)?)
        }
        Write::PruneRefusals { before } => {
            for table in [REFUSAL_COUNTS, REFUSALS] {
                let older = |(key, _): &(Vec<u8>, Vec<u8>)| key[..8] < time(before)[..];
                for (key, _) in transaction.all(table)?.into_iter().take_while(older) {
                    transaction.delete(table, &key)?;
                }
            }
            Ok(())
        }
        _ => Err(StoreError::new(StoreErrorKind::Unsupported)),
    }
}

/// For queries of which [`Query::is_of_audit`] says so.
pub fn read(transaction: &impl Read, query: Query) -> Result<Answer, StoreError> {
    Ok(match query {
        Query::AuditEvents(filter, page) => list(transaction, &filter, &page)?,
        Query::Commit(id) => Answer::WasCommitted(transaction.get(COMMITS, id.as_uuid().as_bytes())?.is_some()),
        Query::AuditRows(query) => {
            let from = place(query.organization, query.after.saturating_add(1));
            let found = transaction.range(EVENTS, &organization(query.organization), &from, query.limit())?;
            let rows = found.iter().map(|(_, row)| rows::read(row));
            Answer::AuditRows(rows.collect::<Result<_, _>>()?)
        }
        Query::FirstAudited(from) => {
            let first = transaction.range(EVENTS, &[], &organization(from), 1)?;
            let row = first.first().map(|(_, row)| rows::read::<AuditRow>(row)).transpose()?;
            Answer::FirstAudited(row.map(|row| row.organization_id))
        }
        Query::AuditChains(query) => {
            let found = transaction.range(CHAINS, &[], &organization(query.from), query.limit())?;
            let chains = found.iter().map(|(_, row)| rows::read(row));
            Answer::AuditChains(chains.collect::<Result<_, _>>()?)
        }
        Query::RefusalCounts(query) => {
            let all = decoded::<RefusalCount>(transaction.all(REFUSAL_COUNTS)?)?;
            let asked = all.into_iter().filter(|count| query.matches(count));
            Answer::RefusalCounts(asked.take(query.limit()).collect())
        }
        Query::Refusals(query) => {
            let all = decoded::<RefusalSample>(transaction.all(REFUSALS)?)?;
            let asked = all.into_iter().filter(|sample| query.matches(sample));
            Answer::Refusals(asked.take(query.limit()).collect())
        }
        _ => return Err(StoreError::new(StoreErrorKind::Unsupported)),
    })
}

/// Reads all events of the organization, or of all: a store with a long trail needs a table for each order of lists.
fn list(transaction: &impl Read, filter: &AuditFilter, page: &Page) -> Result<Answer, StoreError> {
    let found = match filter.organization {
        Some(id) => transaction.starting_with(EVENTS, &organization(id))?,
        None => transaction.all(EVENTS)?,
    };
    let entries = found.iter().map(|(_, row)| entry(row));
    let entries = entries.collect::<Result<Vec<_>, _>>()?;
    Ok(Answer::AuditEvents(page.cut(filter, &entries)?))
}

fn forget_person(transaction: &WriteTransaction, forget: &Forget) -> Result<(), StoreError> {
    rewrite(transaction, |entry| {
        let is_concerned = forget.concerns(&entry.event);
        if is_concerned {
            entry.event.personal.forget();
        }
        is_concerned
    })?;
    let of_user = keys_of(transaction, forget)?;
    for (place, row) in transaction.all(REFUSALS)? {
        let mut sample: RefusalSample = rows::read(&row)?;
        if forget.concerns_sample(&sample, |key| of_user.contains(&key)) {
            sample.address = None;
            transaction.put(REFUSALS, &place, &rows::write(&sample)?)?;
        }
    }
    Ok(())
}

/// The keys of the user, if it is one; those that are deleted by now are in the trail alone.
fn keys_of(transaction: &WriteTransaction, forget: &Forget) -> Result<BTreeSet<KeyId>, StoreError> {
    let mut keys = BTreeSet::new();
    let Some(user) = forget.user_id() else { return Ok(keys) };
    for (_, row) in transaction.all(EVENTS)? {
        let event = entry(&row)?.event;
        keys.extend(event.key_id.filter(|_| event.user.as_ref() == Some(user)));
    }
    for (_, row) in transaction.all(KEYS)? {
        let record = rows::read::<StoredKey>(&row)?.record;
        keys.extend((record.user.as_ref() == Some(user)).then_some(record.id));
    }
    Ok(keys)
}

/// Stores the events that `change` has changed.
fn rewrite(transaction: &WriteTransaction, change: impl Fn(&mut AuditEntry) -> bool) -> Result<(), StoreError> {
    for (place, row) in transaction.all(EVENTS)? {
        let mut entry = entry(&row)?;
        if change(&mut entry) {
            transaction.put(EVENTS, &place, &rows::write(&AuditRow::from(&entry))?)?;
        }
    }
    Ok(())
}

fn prune(transaction: &WriteTransaction, id: OrganizationId, through: u64) -> Result<(), StoreError> {
    let mut chain = chain(transaction, id)?;
    if chain.pruned.seq >= through {
        return Err(StoreError::new(StoreErrorKind::Conflict));
    }
    let last = transaction.get(EVENTS, &place(id, through))?;
    let last = entry(&last.ok_or_else(|| StoreError::new(StoreErrorKind::NotFound))?)?;
    for seq in chain.pruned.seq + 1..=through {
        let row = transaction.get(EVENTS, &place(id, seq))?;
        if let Some(row) = row {
            transaction.delete(COMMITS, entry(&row)?.commit.as_uuid().as_bytes())?;
        }
        transaction.delete(EVENTS, &place(id, seq))?;
    }
    chain.pruned = AuditHead {
        seq: last.seq,
        hash: last.hash,
    };
    transaction.put(CHAINS, &organization(id), &rows::write(&chain)?)
}

fn chain(transaction: &impl Read, id: OrganizationId) -> Result<AuditChain, StoreError> {
    match transaction.get(CHAINS, &organization(id))? {
        Some(row) => rows::read(&row),
        None => Ok(AuditChain::new(id, AuditHead::default(), AuditHead::default())),
    }
}

fn entry(row: &[u8]) -> Result<AuditEntry, StoreError> {
    let unreadable = || StoreError::with_source(StoreErrorKind::InvalidRecord, "an audit event cannot be read");
    AuditEntry::from_stored(&rows::read(row)?).ok_or_else(unreadable)
}

fn decoded<T: rows::Stored>(found: Vec<(Vec<u8>, Vec<u8>)>) -> Result<Vec<T>, StoreError> {
    found.iter().map(|(_, row)| rows::read(row)).collect()
}

fn place(id: OrganizationId, seq: u64) -> Vec<u8> {
    [&organization(id)[..], &seq.to_be_bytes()].concat()
}

/// Ordered like the times: the sign comes first.
fn time(at: Timestamp) -> [u8; 8] {
    (at.as_millis() ^ i64::MIN).to_be_bytes()
}
