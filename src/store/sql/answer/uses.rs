//! Answers about uses of keys.

use super::super::database::{Database, all, first};
use super::super::{Statements, statistics_values};
use crate::key::KeyId;
use crate::last_use::UseOfKey;
use crate::store::StoreError;
use crate::store::query::{KeyStatistics, KeyUses, Statistics};

pub(super) async fn of_keys(
    database: &impl Database,
    sql: &Statements,
    keys: &[KeyId],
) -> Result<Vec<UseOfKey>, StoreError> {
    let mut uses = Vec::new();
    for id in keys.iter().take(KeyUses::MOST) {
        let values = [id.as_uuid().into()];
        if first(database, &sql.key_revision, &values, |_| Ok(())).await?.is_none() {
            continue;
        }
        let mut of_key = UseOfKey::new(*id);
        of_key.secrets = all(database, &sql.uses.secrets_of_key, &values, |row| row.secret_use()).await?;
        of_key.scopes = all(database, &sql.uses.scopes_of_key, &values, |row| row.scope_use()).await?;
        of_key.networks = all(database, &sql.uses.networks_of_key, &values, |row| row.network_use()).await?;
        uses.push(of_key);
    }
    Ok(uses)
}

pub(super) async fn statistics(
    database: &impl Database,
    sql: &Statements,
    query: &KeyStatistics,
) -> Result<Statistics, StoreError> {
    let values = statistics_values(query);
    let found = first(database, &sql.uses.statistics, &values, |row| row.statistics()).await?;
    Ok(found.unwrap_or_default())
}
