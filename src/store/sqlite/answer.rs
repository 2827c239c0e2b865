//! Answers queries.

#[cfg(test)]
mod plans;
mod uses;

use rusqlite::Connection;
use uuid::Uuid;

use super::value::{all, first, readable};
use crate::key::{Lookup, OrganizationId, SecretForm, Timestamp};
use crate::store::query::{
    Answer, ChangesAfter, Count, DescendantsOf, EndedKeys, KeyFilter, Page, Paged, Query, ServerSecretRecords,
};
use crate::store::sql::{
    Columns, SqlCount, SqlList, Statements, Value, count_values, end_of_count_values, end_values, page_values,
};
use crate::store::{Candidate, StoreError, StoreErrorKind};

/// Keys that ended, of which some cannot be read.
const MOST_ENDED: i64 = 100_000;

pub(super) fn find(
    connection: &Connection,
    sql: &Statements,
    lookup: &Lookup,
) -> Result<Option<Candidate>, StoreError> {
    first(connection, &sql.find, &[lookup.as_str().into()], candidate)
}

/// What a key is found with.
pub(super) fn candidate(row: &mut Columns<'_, rusqlite::Row<'_>>) -> Result<Candidate, StoreError> {
    let secret = row.secret()?;
    let record = row.key()?;
    let mut candidate = Candidate::new(record, secret, row.organization()?);
    candidate.role_scopes = row.role_scopes()?;
    candidate.plan = row.optional_plan()?;
    candidate.user = row.optional_user()?;
    Ok(candidate)
}

pub(super) fn answer(connection: &Connection, sql: &Statements, query: Query) -> Result<Answer, StoreError> {
    Ok(match query {
        Query::Organization(id) => {
            let values = [id.as_uuid().into()];
            Answer::Organization(first(connection, &sql.organization, &values, |row| row.organization())?)
        }
        Query::OrganizationBySlug(slug) => {
            let found = first(connection, &sql.organization_by_slug, &[Value::from(&*slug)], |row| {
                row.organization()
            })?;
            Answer::Organization(found)
        }
        Query::OrganizationByEmail(email) => {
            let values = [Value::from(&*email)];
            let found = first(connection, &sql.organization_by_email, &values, |row| {
                row.organization()
            })?;
            Answer::Organization(found)
        }
        Query::Organizations(filter, page) => Answer::Organizations(list(connection, sql, &filter, &page)?),
        Query::CountOrganizations(filter) => Answer::Count(count(connection, sql, &filter)?),
        Query::Key(id) => {
            let values = [id.as_uuid().into()];
            Answer::Key(rows::<KeyFilter>(connection, &sql.key, &values)?.pop())
        }
        Query::KeyByHash(hash) => {
            let values = [hash.as_str().into()];
            Answer::Key(rows::<KeyFilter>(connection, &sql.key_by_hash, &values)?.pop())
        }
        Query::EndedKeys(ended) => {
            let statement = match ended.revoked {
                true => &sql.revoked_keys,
                false => &sql.expired_keys,
            };
            let values = [Value::Integer(MOST_ENDED), ended.until.into()];
            Answer::KeyRecords(readable(connection, statement, &values, EndedKeys::MOST, |row| {
                row.key()
            })?)
        }
        Query::Keys(filter, page) => Answer::Keys(list(connection, sql, &filter, &page)?),
        Query::DescendantsOf(of) => {
            let values = [
                of.key.as_uuid().into(),
                Value::Integer(DescendantsOf::MOST as i64),
                of.after.map_or(Uuid::nil(), |last| last.as_uuid()).into(),
            ];
            Answer::KeyRecords(all(connection, &sql.descendants, &values, |row| row.key())?)
        }
        Query::CountKeys(filter) => Answer::Count(count(connection, sql, &filter)?),
        Query::AuditEvents(filter, page) => Answer::AuditEvents(list(connection, sql, &filter, &page)?),
        Query::AuditRows(query) => {
            let values = [
                Value::Integer(query.limit() as i64),
                query.organization.as_uuid().into(),
                Value::Integer(i64::try_from(query.after).unwrap_or(i64::MAX)),
            ];
            Answer::AuditRows(all(connection, &sql.audit.audit_rows, &values, |row| row.audit_row())?)
        }
        Query::FirstAudited(from) => {
            let values = [from.as_uuid().into()];
            let found = first(connection, &sql.audit.first_audited, &values, |row| {
                row.organization_id()
            })?;
            Answer::FirstAudited(found)
        }
        Query::AuditChains(query) => {
            let values = [Value::Integer(query.limit() as i64), query.from.as_uuid().into()];
            Answer::AuditChains(all(connection, &sql.audit.audit_chains, &values, |row| {
                row.audit_chain()
            })?)
        }
        Query::RefusalCounts(query) => {
            let (statement, values) = match query.organization {
                None => (
                    &sql.audit.refusal_counts,
                    refusal_range(query.limit(), query.from, query.until, None),
                ),
                of => (
                    &sql.audit.refusal_counts_of,
                    refusal_range(query.limit(), query.from, query.until, of),
                ),
            };
            Answer::RefusalCounts(all(connection, statement, &values, |row| row.refusal_count())?)
        }
        Query::Refusals(query) => {
            let (statement, values) = match query.organization {
                None => (
                    &sql.audit.refusals,
                    refusal_range(query.limit(), query.from, query.until, None),
                ),
                of => (
                    &sql.audit.refusals_of,
                    refusal_range(query.limit(), query.from, query.until, of),
                ),
            };
            Answer::Refusals(all(connection, statement, &values, |row| row.refusal())?)
        }
        Query::Commit(id) => {
            let values = [id.as_uuid().into()];
            Answer::WasCommitted(first(connection, &sql.audit.commit_exists, &values, |_| Ok(()))?.is_some())
        }
        Query::Changes { after } => {
            let after = i64::try_from(after).unwrap_or(i64::MAX);
            let values = [Value::Integer(after), Value::Integer(ChangesAfter::MOST as i64)];
            Answer::Changes(all(connection, &sql.changes, &values, |row| row.logged_change())?)
        }
        Query::Realm => {
            let realm = first(connection, &sql.realm, &[], |row| row.realm())?;
            let missing = || StoreError::with_source(StoreErrorKind::InvalidRecord, "the row of the realm is missing");
            Answer::Realm(realm.ok_or_else(missing)?)
        }
        Query::ServerSecrets(purpose) => {
            let most = Value::Integer(ServerSecretRecords::MOST as i64);
            let rows = match &purpose {
                None => all(connection, &sql.server_secrets, &[most], |row| row.server_secret()),
                Some(purpose) => {
                    let values = [most, purpose.as_str().into()];
                    all(connection, &sql.server_secrets_of, &values, |row| row.server_secret())
                }
            };
            Answer::ServerSecrets(rows?)
        }
        Query::CountKeysOfForm { form, at } => {
            // One more than is counted exactly.
            let mut values = vec![Value::Integer(Count::LIMIT as i64 + 1), at.into(), Uuid::nil().into()];
            let statement = match form {
                SecretForm::Crc32 => &sql.count_crc_keys,
                _ => {
                    values.push(form.as_str().into());
                    &sql.count_keys_of_form
                }
            };
            let keys = first(connection, statement, &values, |row| row.count("count"))?;
            Answer::Count(Count::of(keys.unwrap_or_default()))
        }
        Query::Statistics(query) => Answer::Statistics(uses::statistics(connection, sql, &query)?),
        Query::KeyUses(keys) => Answer::KeyUses(uses::of_keys(connection, sql, &keys)?),
        Query::Plan(id) => {
            let values = [id.as_uuid().into()];
            Answer::Plan(first(connection, &sql.plan, &values, |row| row.plan())?)
        }
        Query::Plans(filter, page) => Answer::Plans(list(connection, sql, &filter, &page)?),
        Query::User(organization, user) => {
            let values = [organization.as_uuid().into(), user.as_str().into()];
            Answer::User(first(connection, &sql.user, &values, |row| row.user())?)
        }
        Query::Users(filter, page) => Answer::Users(list(connection, sql, &filter, &page)?),
        Query::CountUsers(filter) => Answer::Count(count(connection, sql, &filter)?),
        Query::Roles(filter, page) => Answer::Roles(list(connection, sql, &filter, &page)?),
        Query::KnownScopes(filter, page) => Answer::KnownScopes(list(connection, sql, &filter, &page)?),
    })
}

fn refusal_range(
    most: usize,
    from: Timestamp,
    until: Timestamp,
    organization: Option<OrganizationId>,
) -> [Value<'static>; 4] {
    let organization = organization.map(|id| id.as_uuid());
    [
        Value::Integer(most as i64),
        from.into(),
        until.into(),
        organization.into(),
    ]
}

fn list<F: SqlList>(
    connection: &Connection,
    sql: &Statements,
    filter: &F,
    page: &Page,
) -> Result<Paged<F::Row>, StoreError> {
    // Before the page is read: what comes in between may make it longer, and nothing is skipped.
    let end = match filter.end_statement(sql) {
        Some(statement) => first(connection, statement, &end_values(filter, page)?, |row| {
            filter.read_end(row)
        })?,
        None => None,
    };
    let values = page_values(filter, page, end.as_ref())?;
    let (mut rows, mut places) = (Vec::new(), Vec::new());
    all(connection, filter.statement(sql), &values, |row| {
        let place = filter.place(row)?;
        F::read(row, &mut rows)?;
        places.resize(rows.len(), place);
        Ok(())
    })?;
    Ok(page.finish_placed(filter, rows, &places, end.as_ref()))
}

fn count<F: SqlCount>(connection: &Connection, sql: &Statements, filter: &F) -> Result<Count, StoreError> {
    let end = match filter.end_of_count_statement(sql) {
        Some(statement) => first(connection, statement, &end_of_count_values(filter)?, |row| {
            filter.read_end(row)
        })?,
        None => None,
    };
    let values = count_values(filter, end.as_ref())?;
    let rows = first(connection, filter.count_statement(sql), &values, |row| {
        row.count("count")
    })?;
    let rows = rows.unwrap_or_default();
    Ok(match end {
        Some(_) => Count::at_least(rows),
        None => Count::of(rows),
    })
}

fn rows<F: SqlList>(connection: &Connection, text: &str, values: &[Value<'_>]) -> Result<Vec<F::Row>, StoreError> {
    let mut rows = Vec::new();
    all(connection, text, values, |row| F::read(row, &mut rows))?;
    Ok(rows)
}
