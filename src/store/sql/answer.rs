//! Answers queries.

mod uses;

use uuid::Uuid;

use super::database::{Database, all, first, readable};
use super::dialect::Statement;
use super::{SqlCount, SqlList, Statements, Value, count_values, end_of_count_values, end_values, page_values};
use crate::key::{Lookup, OrganizationId, SecretForm, Timestamp};
use crate::store::query::{
    Answer, ChangesAfter, Count, DescendantsOf, EndedKeys, KeyFilter, Page, Paged, Query, ServerSecretRecords,
};
use crate::store::{Candidate, StoreError, StoreErrorKind};

/// Keys that ended, of which some cannot be read.
const MOST_ENDED: i64 = 100_000;

pub(in crate::store) async fn find(
    database: &impl Database,
    sql: &Statements,
    lookup: &Lookup,
) -> Result<Option<Candidate>, StoreError> {
    first(database, &sql.find, &[lookup.as_str().into()], |row| row.candidate()).await
}

pub(in crate::store) async fn answer(
    database: &impl Database,
    sql: &Statements,
    query: Query,
) -> Result<Answer, StoreError> {
    Ok(match query {
        Query::Organization(id) => {
            let values = [id.as_uuid().into()];
            Answer::Organization(first(database, &sql.organization, &values, |row| row.organization()).await?)
        }
        Query::OrganizationBySlug(slug) => {
            let found = first(database, &sql.organization_by_slug, &[Value::from(&*slug)], |row| {
                row.organization()
            })
            .await?;
            Answer::Organization(found)
        }
        Query::OrganizationByEmail(email) => {
            let values = [Value::from(&*email)];
            let found = first(database, &sql.organization_by_email, &values, |row| row.organization()).await?;
            Answer::Organization(found)
        }
        Query::Organizations(filter, page) => Answer::Organizations(list(database, sql, &filter, &page).await?),
        Query::CountOrganizations(filter) => Answer::Count(count(database, sql, &filter).await?),
        Query::Key(id) => {
            let values = [id.as_uuid().into()];
            Answer::Key(rows::<KeyFilter>(database, &sql.key, &values).await?.pop())
        }
        Query::KeyByHash(hash) => {
            let values = [hash.as_str().into()];
            Answer::Key(rows::<KeyFilter>(database, &sql.key_by_hash, &values).await?.pop())
        }
        Query::EndedKeys(ended) => {
            let statement = match ended.revoked {
                true => &sql.revoked_keys,
                false => &sql.expired_keys,
            };
            let values = [Value::Integer(MOST_ENDED), ended.until.into()];
            Answer::KeyRecords(readable(database, statement, &values, EndedKeys::MOST, |row| row.key()).await?)
        }
        Query::Keys(filter, page) => Answer::Keys(list(database, sql, &filter, &page).await?),
        Query::DescendantsOf(of) => {
            let values = [
                of.key.as_uuid().into(),
                Value::Integer(DescendantsOf::MOST as i64),
                of.after.map_or(Uuid::nil(), |last| last.as_uuid()).into(),
            ];
            Answer::KeyRecords(all(database, &sql.descendants, &values, |row| row.key()).await?)
        }
        Query::CountKeys(filter) => Answer::Count(count(database, sql, &filter).await?),
        Query::AuditEvents(filter, page) => Answer::AuditEvents(list(database, sql, &filter, &page).await?),
        Query::AuditRows(query) => {
            let values = [
                Value::Integer(query.limit() as i64),
                query.organization.as_uuid().into(),
                Value::Integer(i64::try_from(query.after).unwrap_or(i64::MAX)),
            ];
            Answer::AuditRows(all(database, &sql.audit.audit_rows, &values, |row| row.audit_row()).await?)
        }
        Query::FirstAudited(from) => {
            let values = [from.as_uuid().into()];
            let found = first(database, &sql.audit.first_audited, &values, |row| row.organization_id()).await?;
            Answer::FirstAudited(found)
        }
        Query::AuditChains(query) => {
            let values = [Value::Integer(query.limit() as i64), query.from.as_uuid().into()];
            Answer::AuditChains(all(database, &sql.audit.audit_chains, &values, |row| row.audit_chain()).await?)
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
            Answer::RefusalCounts(all(database, statement, &values, |row| row.refusal_count()).await?)
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
            Answer::Refusals(all(database, statement, &values, |row| row.refusal()).await?)
        }
        Query::Commit(id) => {
            let values = [id.as_uuid().into()];
            Answer::WasCommitted(
                first(database, &sql.audit.commit_exists, &values, |_| Ok(()))
                    .await?
                    .is_some(),
            )
        }
        Query::Changes { after } => {
            let after = i64::try_from(after).unwrap_or(i64::MAX);
            let values = [Value::Integer(after), Value::Integer(ChangesAfter::MOST as i64)];
            Answer::Changes(all(database, &sql.changes, &values, |row| row.logged_change()).await?)
        }
        Query::Realm => {
            let realm = first(database, &sql.realm, &[], |row| row.realm()).await?;
            let missing = || StoreError::with_source(StoreErrorKind::InvalidRecord, "the row of the realm is missing");
            Answer::Realm(realm.ok_or_else(missing)?)
        }
        Query::ServerSecrets(purpose) => {
            let most = Value::Integer(ServerSecretRecords::MOST as i64);
            let rows = match &purpose {
                None => all(database, &sql.server_secrets, &[most], |row| row.server_secret()).await,
                Some(purpose) => {
                    let values = [most, purpose.as_str().into()];
                    all(database, &sql.server_secrets_of, &values, |row| row.server_secret()).await
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
            let keys = first(database, statement, &values, |row| row.count("count")).await?;
            Answer::Count(Count::of(keys.unwrap_or_default()))
        }
        Query::Statistics(query) => Answer::Statistics(uses::statistics(database, sql, &query).await?),
        Query::Idempotency(organization, actor, key) => {
            let values = [
                organization.as_uuid().into(),
                actor.to_string().into(),
                key.as_str().into(),
            ];
            Answer::Idempotency(first(database, &sql.idempotency.one, &values, |row| row.idempotency()).await?)
        }
        Query::KeyUses(keys) => Answer::KeyUses(uses::of_keys(database, sql, &keys).await?),
        Query::Plan(id) => {
            let values = [id.as_uuid().into()];
            Answer::Plan(first(database, &sql.plan, &values, |row| row.plan()).await?)
        }
        Query::Plans(filter, page) => Answer::Plans(list(database, sql, &filter, &page).await?),
        Query::User(organization, user) => {
            let values = [organization.as_uuid().into(), user.as_str().into()];
            Answer::User(first(database, &sql.user, &values, |row| row.user()).await?)
        }
        Query::Users(filter, page) => Answer::Users(list(database, sql, &filter, &page).await?),
        Query::CountUsers(filter) => Answer::Count(count(database, sql, &filter).await?),
        Query::Roles(filter, page) => Answer::Roles(list(database, sql, &filter, &page).await?),
        Query::KnownScopes(filter, page) => Answer::KnownScopes(list(database, sql, &filter, &page).await?),
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

async fn list<F: SqlList>(
    database: &impl Database,
    sql: &Statements,
    filter: &F,
    page: &Page,
) -> Result<Paged<F::Row>, StoreError> {
    // Before the page is read: what comes in between may make it longer, and nothing is skipped.
    let end = match filter.end_statement(sql) {
        Some(statement) => {
            first(database, statement, &end_values(filter, page)?, |row| {
                filter.read_end(row)
            })
            .await?
        }
        None => None,
    };
    let values = page_values(filter, page, end.as_ref())?;
    let (mut rows, mut places) = (Vec::new(), Vec::new());
    all(database, filter.statement(sql), &values, |row| {
        let place = filter.place(row)?;
        F::read(row, &mut rows)?;
        places.resize(rows.len(), place);
        Ok(())
    })
    .await?;
    Ok(page.finish_placed(filter, rows, &places, end.as_ref()))
}

async fn count<F: SqlCount>(database: &impl Database, sql: &Statements, filter: &F) -> Result<Count, StoreError> {
    let end = match filter.end_of_count_statement(sql) {
        Some(statement) => {
            first(database, statement, &end_of_count_values(filter)?, |row| {
                filter.read_end(row)
            })
            .await?
        }
        None => None,
    };
    let values = count_values(filter, end.as_ref())?;
    let rows = first(database, filter.count_statement(sql), &values, |row| row.count("count")).await?;
    let rows = rows.unwrap_or_default();
    Ok(match end {
        Some(_) => Count::at_least(rows),
        None => Count::of(rows),
    })
}

async fn rows<F: SqlList>(
    database: &impl Database,
    text: &Statement,
    values: &[Value<'_>],
) -> Result<Vec<F::Row>, StoreError> {
    let mut rows = Vec::new();
    all(database, text, values, |row| F::read(row, &mut rows)).await?;
    Ok(rows)
}
