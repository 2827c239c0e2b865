//! Answers about uses of keys.

use rusqlite::Connection;

use super::{all, first};
use crate::key::KeyId;
use crate::last_use::UseOfKey;
use crate::store::StoreError;
use crate::store::query::{KeyStatistics, KeyUses, Statistics};
use crate::store::sql::{Statements, statistics_values};

pub(super) fn of_keys(connection: &Connection, sql: &Statements, keys: &[KeyId]) -> Result<Vec<UseOfKey>, StoreError> {
    let mut uses = Vec::new();
    for id in keys.iter().take(KeyUses::MOST) {
        let values = [id.as_uuid().into()];
        if first(connection, &sql.key_revision, &values, |_| Ok(()))?.is_none() {
            continue;
        }
        let mut of_key = UseOfKey::new(*id);
        of_key.secrets = all(connection, &sql.uses.secrets_of_key, &values, |row| row.secret_use())?;
        of_key.scopes = all(connection, &sql.uses.scopes_of_key, &values, |row| row.scope_use())?;
        of_key.networks = all(connection, &sql.uses.networks_of_key, &values, |row| row.network_use())?;
        uses.push(of_key);
    }
    Ok(uses)
}

pub(super) fn statistics(
    connection: &Connection,
    sql: &Statements,
    query: &KeyStatistics,
) -> Result<Statistics, StoreError> {
    let values = statistics_values(query);
    let found = first(connection, &sql.uses.statistics, &values, |row| row.statistics())?;
    Ok(found.unwrap_or_default())
}
