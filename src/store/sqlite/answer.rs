//! Answers queries.

use rusqlite::Connection;
use uuid::Uuid;

use super::value::{all, first};
use crate::audit::AuditEntry;
use crate::key::{KeyId, KeyRecord, KeySecret, KeyStatus, Lookup, Organization, OrganizationStatus};
use crate::store::query::{
    Answer, AuditFilter, ChangesAfter, Count, KeyFilter, OrganizationFilter, Page, Paged, Query, SortKey,
};
use crate::store::sql::{Columns, Statements, Value, after_prefix};
use crate::store::{Candidate, StoreError, StoreErrorKind, StoredKey};

pub(super) fn find(
    connection: &Connection,
    sql: &Statements,
    lookup: &Lookup,
) -> Result<Option<Candidate>, StoreError> {
    first(connection, &sql.find, &[lookup.as_str().into()], |row| {
        let secret = row.secret()?;
        let record = row.key()?;
        Ok(Candidate::new(record, secret, row.organization()?))
    })
}

pub(super) fn answer(connection: &Connection, sql: &Statements, query: Query) -> Result<Answer, StoreError> {
    Ok(match query {
        Query::Organization(id) => {
            let values = [id.as_uuid().into()];
            Answer::Organization(first(connection, &sql.organization, &values, |row| row.organization())?)
        }
        Query::Organizations(filter, page) => Answer::Organizations(organizations(connection, sql, &filter, &page)?),
        Query::CountOrganizations(filter) => {
            let by_name = filter.name.is_some();
            let text = if by_name {
                &sql.count_organizations_by_name
            } else {
                &sql.count_organizations
            };
            let [status, id, name, end, ..] = organization_values(&filter, None)?;
            Answer::Count(count(connection, text, &[status, id, name, end, COUNTED])?)
        }
        Query::Key(id) => Answer::Key(key(connection, sql, id)?),
        Query::Keys(filter, page) => Answer::Keys(keys(connection, sql, &filter, &page)?),
        Query::CountKeys(filter) => {
            let text = match (filter.organization.is_some(), filter.name.is_some()) {
                (false, false) => &sql.count_keys,
                (false, true) => &sql.count_keys_by_name,
                (true, false) => &sql.count_owned_keys,
                (true, true) => &sql.count_owned_keys_by_name,
            };
            let mut values = Vec::from(key_values(&filter, None)?);
            values.push(COUNTED);
            Answer::Count(count(connection, text, &values)?)
        }
        Query::AuditEvents(filter, page) => Answer::AuditEvents(audit_events(connection, sql, &filter, &page)?),
        Query::Commit(id) => {
            let values = [id.as_uuid().into()];
            Answer::WasCommitted(first(connection, &sql.commit_exists, &values, |_| Ok(()))?.is_some())
        }
        Query::Changes { after } => {
            let after = i64::try_from(after).unwrap_or(i64::MAX);
            let values = [Value::Integer(after), integer(ChangesAfter::MOST)];
            Answer::Changes(all(connection, &sql.changes, &values, |row| row.logged_change())?)
        }
    })
}

/// One more than is counted exactly.
const COUNTED: Value<'static> = Value::Integer(Count::LIMIT as i64 + 1);

fn key(connection: &Connection, sql: &Statements, id: KeyId) -> Result<Option<StoredKey>, StoreError> {
    let rows = all(connection, &sql.key, &[id.as_uuid().into()], key_and_secret)?;
    Ok(joined(rows).pop())
}

fn keys(
    connection: &Connection,
    sql: &Statements,
    filter: &KeyFilter,
    page: &Page,
) -> Result<Paged<StoredKey>, StoreError> {
    let text = match (filter.organization.is_some(), filter.name.is_some()) {
        (false, false) => &sql.keys_by_id,
        (false, true) => &sql.keys_by_name,
        (true, false) => &sql.owned_keys_by_id,
        (true, true) => &sql.owned_keys_by_name,
    };
    let mut values = Vec::from(key_values(filter, page.start(filter)?)?);
    values.extend([integer(page.limit()), Value::Integer(page.skip().into())]);
    let rows = all(connection, text, &values, key_and_secret)?;
    Ok(page.finish(filter, joined(rows)))
}

/// The values ?1 to ?8 of statements on keys.
fn key_values<'f>(filter: &'f KeyFilter, start: Option<SortKey>) -> Result<[Value<'f>; 8], StoreError> {
    let (name, id, end) = range(filter.name.as_deref(), start)?;
    Ok([
        filter.user.as_ref().map(|user| user.as_str()).into(),
        filter.status.map(KeyStatus::as_str).into(),
        filter.lookup.as_deref().into(),
        filter.lookup.as_deref().map(after_prefix).into(),
        filter.organization.map(|id| id.as_uuid()).into(),
        id,
        name,
        end,
    ])
}

fn key_and_secret(row: &mut Columns<'_, rusqlite::Row<'_>>) -> Result<(KeyRecord, Option<KeySecret>), StoreError> {
    let record = row.key()?;
    let secret = row.is_next_set().then(|| row.secret()).transpose()?;
    Ok((record, secret))
}

/// Rows of one key follow each other.
fn joined(rows: Vec<(KeyRecord, Option<KeySecret>)>) -> Vec<StoredKey> {
    let mut keys: Vec<StoredKey> = Vec::new();
    for (record, secret) in rows {
        match keys.last_mut() {
            Some(last) if last.record.id == record.id => last.secrets.extend(secret),
            _ => keys.push(StoredKey::new(record, secret.into_iter().collect())),
        }
    }
    keys
}

fn organizations(
    connection: &Connection,
    sql: &Statements,
    filter: &OrganizationFilter,
    page: &Page,
) -> Result<Paged<Organization>, StoreError> {
    let by_name = filter.name.is_some();
    let text = if by_name {
        &sql.organizations_by_name
    } else {
        &sql.organizations_by_id
    };
    let mut values = Vec::from(organization_values(filter, page.start(filter)?)?);
    values.extend([integer(page.limit()), Value::Integer(page.skip().into())]);
    let rows = all(connection, text, &values, |row| row.organization())?;
    Ok(page.finish(filter, rows))
}

/// The values ?1 to ?4 of statements on organizations.
fn organization_values(filter: &OrganizationFilter, start: Option<SortKey>) -> Result<[Value<'_>; 4], StoreError> {
    let (name, id, end) = range(filter.name.as_deref(), start)?;
    Ok([filter.status.map(OrganizationStatus::as_str).into(), id, name, end])
}

/// Where a list begins and ends: the name and id after which it begins, and the name before which it ends.
fn range<'v>(prefix: Option<&str>, start: Option<SortKey>) -> Result<(Value<'v>, Value<'v>, Value<'v>), StoreError> {
    let end = prefix.map(after_prefix).into();
    Ok(match (prefix, start) {
        (None, None) => (Value::Null, Uuid::nil().into(), end),
        (None, Some(SortKey::Id(id))) => (Value::Null, id.into(), end),
        (Some(prefix), None) => (prefix.to_owned().into(), Uuid::nil().into(), end),
        (Some(_), Some(SortKey::Name(name, id))) => (name.into(), id.into(), end),
        _ => return Err(StoreError::new(StoreErrorKind::InvalidCursor)),
    })
}

fn audit_events(
    connection: &Connection,
    sql: &Statements,
    filter: &AuditFilter,
    page: &Page,
) -> Result<Paged<AuditEntry>, StoreError> {
    let organization = filter.organization.map(|id| id.as_uuid());
    let (from, seq) = match page.start(filter)? {
        None => (organization.unwrap_or_default(), 0),
        Some(SortKey::Entry(id, seq)) => (organization.unwrap_or(id), seq),
        Some(_) => return Err(StoreError::new(StoreErrorKind::InvalidCursor)),
    };
    let text = match (organization, filter.commit) {
        (_, Some(_)) => &sql.audit_events_of_commit,
        (Some(_), None) => &sql.audit_events_of_organization,
        (None, None) => &sql.audit_events,
    };
    let values = [
        filter.key.map(|id| id.as_uuid()).into(),
        from.into(),
        Value::Integer(i64::try_from(seq).unwrap_or(i64::MAX)),
        filter.commit.map(|id| id.as_uuid()).into(),
        integer(page.limit()),
        Value::Integer(page.skip().into()),
        organization.into(),
    ];
    let rows = all(connection, text, &values, |row| row.audit_entry())?;
    Ok(page.finish(filter, rows))
}

fn count(connection: &Connection, text: &str, values: &[Value<'_>]) -> Result<Count, StoreError> {
    let rows = first(connection, text, values, |row| row.count("count"))?;
    Ok(Count::of(rows.unwrap_or_default()))
}

fn integer(number: usize) -> Value<'static> {
    Value::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sql::migration::SQLITE;
    use crate::store::sqlite::{SCHEMA, migrate};

    #[test]
    fn no_statement_reads_a_whole_table() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate::upgrade(&mut connection, SQLITE).unwrap();
        connection.pragma_update(None, "foreign_keys", true).unwrap();
        for sql in Statements::new(SCHEMA).all() {
            let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let mut plan = statement.raw_query();
            let mut details = String::new();
            while let Some(step) = plan.next().unwrap() {
                details += &step.get::<_, String>("detail").unwrap();
                details.push('\n');
            }
            // Of a page that was cut out before, all is read.
            let scans = details.lines().filter(|detail| detail.starts_with("SCAN"));
            let cut = |detail: &str| {
                ["k", "counted"].iter().any(|name| {
                    detail == format!("SCAN {name}")
                        && (details.contains(&format!("CO-ROUTINE {name}"))
                            || details.contains(&format!("MATERIALIZE {name}")))
                })
            };
            assert!(scans.clone().all(cut), "{sql}\n{details}");
        }
    }
}
