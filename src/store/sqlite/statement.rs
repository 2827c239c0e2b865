//! Every statement of the store. Parameters are numbered, `?1`: SQLite counts named ones by order of appearance.

use rusqlite::{CachedStatement, Connection, OptionalExtension, params};

use super::column;
use super::row::Columns;
use crate::key::{KeyId, KeyRecord, KeySecret, Lookup, Organization, OrganizationId, SecretHash};
use crate::store::{Candidate, StoreError, StoreErrorKind, StoredKey};

macro_rules! key_columns {
    () => {
        "k.id, k.organization_id, k.user_id, k.name, k.prefix, k.environment, k.scopes, k.networks, k.limits, \
         k.metadata, k.status, k.revoked_at, k.revocation_reason, k.revocation_actor, k.created_at, k.expires_at, \
         k.revision"
    };
}

macro_rules! secret_columns {
    () => {
        "s.lookup, s.hash, s.created_at, s.expires_at"
    };
}

macro_rules! organization_columns {
    () => {
        "o.id, o.name, o.status, o.limits, o.revision"
    };
}

/// Outer joins: a secret whose key is gone must be seen as the damage it is, not as an unknown lookup.
const FIND: &str = concat!(
    "SELECT ",
    secret_columns!(),
    ", ",
    key_columns!(),
    ", ",
    organization_columns!(),
    " FROM key_secrets s LEFT JOIN keys k ON k.id = s.key_id LEFT JOIN organizations o ON o.id = k.organization_id \
     WHERE s.lookup = ?1"
);

pub(super) fn find(connection: &Connection, lookup: &Lookup) -> Result<Option<Candidate>, StoreError> {
    let mut statement = connection.prepare_cached(FIND)?;
    let mut rows = statement.query([lookup.as_str()])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    let mut columns = Columns::of(row);
    let secret = columns.secret()?;
    let record = columns.key()?;
    Ok(Some(Candidate::new(record, secret, columns.organization()?)))
}

const ORGANIZATION: &str = concat!(
    "SELECT ",
    organization_columns!(),
    " FROM organizations o WHERE o.id = ?1"
);

pub(super) fn organization(connection: &Connection, id: OrganizationId) -> Result<Option<Organization>, StoreError> {
    let mut statement = connection.prepare_cached(ORGANIZATION)?;
    let mut rows = statement.query([id.as_uuid()])?;
    rows.next()?.map(|row| Columns::of(row).organization()).transpose()
}

/// One statement, so that the record and its secrets are of one point in time.
const KEY: &str = concat!(
    "SELECT s.lookup IS NOT NULL, ",
    key_columns!(),
    ", ",
    secret_columns!(),
    " FROM keys k LEFT JOIN key_secrets s ON s.key_id = k.id WHERE k.id = ?1 ORDER BY s.position"
);

pub(super) fn key(connection: &Connection, id: KeyId) -> Result<Option<StoredKey>, StoreError> {
    let mut statement = connection.prepare_cached(KEY)?;
    let mut rows = statement.query([id.as_uuid()])?;
    let mut stored: Option<StoredKey> = None;
    while let Some(row) = rows.next()? {
        let mut columns = Columns::of(row);
        let has_secret = columns.flag()?;
        let record = columns.key()?;
        let key = stored.get_or_insert_with(|| StoredKey::new(record, Vec::new()));
        if has_secret {
            key.secrets.push(columns.secret()?);
        }
    }
    Ok(stored)
}

const INSERT_ORGANIZATION: &str =
    "INSERT INTO organizations (id, name, status, limits, revision) VALUES (?1, ?2, ?3, ?4, ?5)";

pub(super) fn insert_organization(connection: &Connection, organization: &Organization) -> Result<(), StoreError> {
    connection.prepare_cached(INSERT_ORGANIZATION)?.execute(params![
        organization.id.as_uuid(),
        organization.name,
        column::write_organization_status(organization.status),
        column::write_limits(&organization.limits),
        column::write_revision(organization.revision)?,
    ])?;
    Ok(())
}

const UPDATE_ORGANIZATION: &str =
    "UPDATE organizations SET name = ?3, status = ?4, limits = ?5, revision = ?6 WHERE id = ?1 AND revision = ?2";

pub(super) fn update_organization(
    connection: &Connection,
    mut organization: Organization,
) -> Result<Organization, StoreError> {
    let read = column::write_revision(organization.revision)?;
    organization.revision = organization.revision.saturating_add(1);
    let updated = connection.prepare_cached(UPDATE_ORGANIZATION)?.execute(params![
        organization.id.as_uuid(),
        read,
        organization.name,
        column::write_organization_status(organization.status),
        column::write_limits(&organization.limits),
        column::write_revision(organization.revision)?,
    ])?;
    if updated == 0 {
        let statement = connection.prepare_cached(ORGANIZATION_EXISTS)?;
        return Err(missed(statement, params![organization.id.as_uuid()])?);
    }
    Ok(organization)
}

const INSERT_KEY: &str = "INSERT INTO keys (id, organization_id, revision, user_id, name, prefix, environment, scopes, \
     networks, limits, metadata, status, revoked_at, revocation_reason, revocation_actor, created_at, expires_at) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)";

pub(super) fn insert_key(connection: &Connection, record: &KeyRecord, secret: &KeySecret) -> Result<(), StoreError> {
    write_key(connection, INSERT_KEY, record, column::write_revision(record.revision)?)?;
    insert_secret(connection, record.id, 0, secret)
}

const UPDATE_KEY: &str = "UPDATE keys SET revision = ?3 + 1, user_id = ?4, name = ?5, prefix = ?6, environment = ?7, \
     scopes = ?8, networks = ?9, limits = ?10, metadata = ?11, status = ?12, revoked_at = ?13, \
     revocation_reason = ?14, revocation_actor = ?15, created_at = ?16, expires_at = ?17 \
     WHERE id = ?1 AND organization_id = ?2 AND revision = ?3";

pub(super) fn update_key(connection: &Connection, key: StoredKey) -> Result<KeyRecord, StoreError> {
    let StoredKey { mut record, secrets } = key;
    let read = column::write_revision(record.revision)?;
    record.revision = record.revision.saturating_add(1);
    column::write_revision(record.revision)?;
    if write_key(connection, UPDATE_KEY, &record, read)? == 0 {
        let statement = connection.prepare_cached(OWNED_KEY_EXISTS)?;
        let owned = params![record.id.as_uuid(), record.organization_id.as_uuid()];
        return Err(missed(statement, owned)?);
    }
    connection
        .prepare_cached(DELETE_SECRETS)?
        .execute([record.id.as_uuid()])?;
    for (position, secret) in secrets.iter().enumerate() {
        insert_secret(connection, record.id, position, secret)?;
    }
    Ok(record)
}

fn write_key(connection: &Connection, sql: &str, record: &KeyRecord, revision: i64) -> Result<usize, StoreError> {
    let revocation = record.revocation.as_ref();
    let written = connection.prepare_cached(sql)?.execute(params![
        record.id.as_uuid(),
        record.organization_id.as_uuid(),
        revision,
        record.user.as_ref().map(|user| user.as_str()),
        record.name,
        record.prefix,
        record.environment,
        column::write_scopes(&record.scopes),
        column::write_networks(&record.networks),
        column::write_limits(&record.limits),
        column::write_metadata(&record.metadata),
        column::write_key_status(record.status),
        revocation.map(|revocation| revocation.at.as_millis()),
        revocation.map(|revocation| revocation.reason.as_str()),
        revocation.map(|revocation| revocation.actor.as_str()),
        record.created_at.as_millis(),
        record.expires_at.map(|time| time.as_millis()),
    ])?;
    Ok(written)
}

const DELETE_SECRETS: &str = "DELETE FROM key_secrets WHERE key_id = ?1";
const INSERT_SECRET: &str = "INSERT INTO key_secrets (lookup, key_id, position, hash, created_at, expires_at) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6)";

fn insert_secret(connection: &Connection, key: KeyId, position: usize, secret: &KeySecret) -> Result<(), StoreError> {
    connection.prepare_cached(INSERT_SECRET)?.execute(params![
        secret.lookup.as_str(),
        key.as_uuid(),
        i64::try_from(position).unwrap_or(i64::MAX),
        secret.hash.as_str(),
        secret.created_at.as_millis(),
        secret.expires_at.map(|time| time.as_millis()),
    ])?;
    Ok(())
}

const REPLACE_HASH: &str = "UPDATE key_secrets SET hash = ?3 WHERE lookup = ?1 AND hash = ?2";

pub(super) fn replace_hash(
    connection: &Connection,
    lookup: &Lookup,
    old: &SecretHash,
    new: &SecretHash,
) -> Result<bool, StoreError> {
    let values = [lookup.as_str(), old.as_str(), new.as_str()];
    Ok(connection.prepare_cached(REPLACE_HASH)?.execute(values)? == 1)
}

const KEY_REVISION: &str = "SELECT revision FROM keys WHERE id = ?1";
const ORGANIZATION_REVISION: &str = "SELECT revision FROM organizations WHERE id = ?1";

pub(super) fn key_revision(connection: &Connection, id: KeyId) -> Result<Option<i64>, StoreError> {
    Ok(connection
        .query_row(KEY_REVISION, [id.as_uuid()], |row| row.get(0))
        .optional()?)
}

pub(super) fn organization_revision(connection: &Connection, id: OrganizationId) -> Result<Option<i64>, StoreError> {
    let revision = connection.query_row(ORGANIZATION_REVISION, [id.as_uuid()], |row| row.get(0));
    Ok(revision.optional()?)
}

const ORGANIZATION_EXISTS: &str = "SELECT 1 FROM organizations WHERE id = ?1";
const OWNED_KEY_EXISTS: &str = "SELECT 1 FROM keys WHERE id = ?1 AND organization_id = ?2";

/// Why an update met no row: the row is there with another revision, or it is not there.
fn missed(mut exists: CachedStatement<'_>, values: &[&dyn rusqlite::ToSql]) -> Result<StoreError, StoreError> {
    Ok(StoreError::new(match exists.exists(values)? {
        true => StoreErrorKind::Conflict,
        false => StoreErrorKind::NotFound,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::migrations;

    #[test]
    fn no_statement_reads_a_whole_table() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrations::upgrade(&mut connection, migrations::SQLITE).unwrap();
        connection.pragma_update(None, "foreign_keys", true).unwrap();
        for sql in [
            FIND,
            ORGANIZATION,
            KEY,
            INSERT_ORGANIZATION,
            UPDATE_ORGANIZATION,
            INSERT_KEY,
            UPDATE_KEY,
            INSERT_SECRET,
            DELETE_SECRETS,
            REPLACE_HASH,
            KEY_REVISION,
            ORGANIZATION_REVISION,
            ORGANIZATION_EXISTS,
            OWNED_KEY_EXISTS,
        ] {
            let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let mut plan = statement.raw_query();
            while let Some(step) = plan.next().unwrap() {
                let detail: String = step.get("detail").unwrap();
                assert!(!detail.contains("SCAN"), "{sql}\n{detail}");
            }
        }
    }
}
