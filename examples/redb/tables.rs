//! The tables: bytes to bytes, and how both kinds of transactions read them.

use redb::{ReadTransaction, ReadableTable, TableDefinition, WriteTransaction};
use tower_api_key::key::{KeyId, OrganizationId};
use tower_api_key::store::{StoreError, StoreErrorKind};

pub type Table = TableDefinition<'static, &'static [u8], &'static [u8]>;

/// Organizations, by id.
pub const ORGANIZATIONS: Table = Table::new("organizations");
/// Ids of organizations, by slug.
pub const SLUGS: Table = Table::new("slugs");
/// Ids of organizations, by e-mail address as it is compared.
pub const EMAILS: Table = Table::new("emails");
/// The id of the operator's organization, by an empty key.
pub const OPERATOR: Table = Table::new("operator");
/// Keys with their secrets, by id.
pub const KEYS: Table = Table::new("keys");
/// Which organization has which keys: nothing, by both ids.
pub const OWNED: Table = Table::new("owned");
/// Ids of keys, by lookup.
pub const LOOKUPS: Table = Table::new("lookups");
/// What many keys share: the realm, plans, users, roles, known scopes, secrets of the servers.
pub const SHARED: Table = Table::new("shared");
/// Audit events, by organization and number.
pub const EVENTS: Table = Table::new("audit_events");
/// Nothing, by commit.
pub const COMMITS: Table = Table::new("audit_commits");
/// Both ends of the audit chains, by organization.
pub const CHAINS: Table = Table::new("audit_chains");
/// Counts of refusals, by hour, organization and kind.
pub const REFUSAL_COUNTS: Table = Table::new("refusal_counts");
/// Samples of refusals, by time and id.
pub const REFUSALS: Table = Table::new("refusals");

/// How keys were used, by id.
pub const USES: Table = Table::new("uses");
/// The last batch of uses of each source, and when it came.
pub const SOURCES: Table = Table::new("use_sources");
/// Who has the lease of a task, and until when.
pub const LEASES: Table = Table::new("leases");

/// What was made for idempotency keys, by organization, actor and key.
pub const IDEMPOTENCY: Table = Table::new("idempotency");

pub const ALL: [Table; 17] = [
    ORGANIZATIONS,
    SLUGS,
    EMAILS,
    OPERATOR,
    KEYS,
    OWNED,
    LOOKUPS,
    SHARED,
    EVENTS,
    COMMITS,
    CHAINS,
    REFUSAL_COUNTS,
    REFUSALS,
    USES,
    SOURCES,
    LEASES,
    IDEMPOTENCY,
];

/// A row: its key and its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// What a transaction of either kind can read.
pub trait Read {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// The rows whose key starts with `prefix`, from the key `from` on, in the order of their keys, at most so many.
    fn range(&self, table: Table, prefix: &[u8], from: &[u8], most: usize) -> Result<Vec<Row>, StoreError>;

    fn starting_with(&self, table: Table, prefix: &[u8]) -> Result<Vec<Row>, StoreError> {
        self.range(table, prefix, prefix, usize::MAX)
    }

    fn all(&self, table: Table) -> Result<Vec<Row>, StoreError> {
        self.starting_with(table, &[])
    }
}

macro_rules! reads {
    ($($transaction:ty)*) => {$(
        impl Read for $transaction {
            fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
                let table = self.open_table(table).map_err(unavailable)?;
                let value = table.get(key).map_err(unavailable)?;
                Ok(value.map(|value| value.value().to_vec()))
            }

            fn range(&self, table: Table, prefix: &[u8], from: &[u8], most: usize) -> Result<Vec<Row>, StoreError> {
                let table = self.open_table(table).map_err(unavailable)?;
                let mut rows = Vec::new();
                for row in table.range(from..).map_err(unavailable)?.take(most) {
                    let (key, value) = row.map_err(unavailable)?;
                    if !key.value().starts_with(prefix) {
                        break;
                    }
                    rows.push((key.value().to_vec(), value.value().to_vec()));
                }
                Ok(rows)
            }
        }
    )*};
}

reads! { ReadTransaction WriteTransaction }

/// What a transaction that writes can do besides.
pub trait Change: Read {
    fn put(&self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError>;

    fn delete(&self, table: Table, key: &[u8]) -> Result<(), StoreError>;
}

impl Change for WriteTransaction {
    fn put(&self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let mut table = self.open_table(table).map_err(unavailable)?;
        table.insert(key, value).map_err(unavailable)?;
        Ok(())
    }

    fn delete(&self, table: Table, key: &[u8]) -> Result<(), StoreError> {
        let mut table = self.open_table(table).map_err(unavailable)?;
        table.remove(key).map_err(unavailable)?;
        Ok(())
    }
}

/// Nothing is known of the row, so this is no "no such row".
pub fn unavailable(error: impl Into<redb::Error>) -> StoreError {
    StoreError::with_source(StoreErrorKind::Unavailable, error.into())
}

pub fn organization(id: OrganizationId) -> [u8; 16] {
    *id.as_uuid().as_bytes()
}

pub fn key(id: KeyId) -> [u8; 16] {
    *id.as_uuid().as_bytes()
}

pub fn owned(organization_id: OrganizationId, id: KeyId) -> Vec<u8> {
    [organization(organization_id), key(id)].concat()
}
