//! Which tables are copied, with all their columns. A test compares the list with the schema.

use super::kind::Kind;
use super::kind::Kind::{Bytes, Hash, Id, List, Number, Object, OneOf, Text, Truth};

/// A table, as it is copied.
pub(in crate::store) struct Table {
    pub(in crate::store) name: &'static str,
    /// How many of the first columns identify a row.
    pub(in crate::store) key: usize,
    /// Whether a row that is there is replaced. Otherwise its triggers would raise its revision, or rows of others refer to it.
    pub(in crate::store) is_replaced: bool,
    pub(in crate::store) columns: &'static [Column],
}

pub(in crate::store) struct Column {
    pub(in crate::store) name: &'static str,
    /// With the table in front, for errors.
    pub(in crate::store) full_name: &'static str,
    pub(in crate::store) kind: Kind,
    pub(in crate::store) is_nullable: bool,
}

macro_rules! table {
    ($name:ident $key:literal $is_replaced:ident { $($column:ident: $kind:expr $(, $null:ident)?;)* }) => {
        Table {
            name: stringify!($name),
            key: $key,
            is_replaced: $is_replaced,
            columns: &[$(Column {
                name: stringify!($column),
                full_name: concat!(stringify!($name), ".", stringify!($column)),
                kind: $kind,
                is_nullable: table!(@ $($null)?),
            }),*],
        }
    };
    (@ nullable) => { true };
    (@) => { false };
}

const KEPT: bool = false;
const REPLACED: bool = true;

/// In the order in which rows refer to each other. Secrets come behind all that a decision depends on.
pub(in crate::store) const TABLES: &[Table] = &[
    table!(plans 1 KEPT {
        id: Id; name: Text; key_limits: List; limits: List; max_keys: Number, nullable; revision: Number;
    }),
    table!(organizations 1 KEPT {
        id: Id; slug: Text; name: Text; name_folded: Text; email: Text, nullable; email_folded: Text, nullable;
        plan_id: Id, nullable; status: OneOf(&["active", "inactive"]); is_operator: Truth; requires: List; limits: List;
        lifted_limits: List; key_limits: List; lifted_key_limits: List; max_keys: Number, nullable; policy: Object;
        metadata: Object; created_at: Number; revision: Number;
    }),
    table!(users 2 KEPT {
        organization_id: Id; user_id: Text; display_name: Text, nullable; email: Text, nullable; metadata: Object;
        status: OneOf(&["active", "disabled"]); reason: Text; actor: Text; changed_at: Number; revision: Number;
    }),
    table!(roles 1 KEPT { name: Text; scopes: List; description: Text; revision: Number; }),
    table!(scopes 1 REPLACED { scope: Text; description: Text; }),
    table!(server_secrets 3 REPLACED {
        purpose: Text; id: Text; n: Number; state: OneOf(&["pending", "active", "retired"]); sealed_by: Text, nullable;
        value: Bytes; created_at: Number; active_from: Number; retire_at: Number, nullable;
    }),
    table!(keys 1 KEPT {
        id: Id; organization_id: Id; user_id: Text, nullable; ends_with_user: Truth; name: Text; name_folded: Text; labels: List;
        prefix: Text; environment: Text, nullable; scopes: List; roles: List; networks: List; limits: List; lifted_limits: List;
        metadata: Object; status: OneOf(&["active", "disabled", "revoked"]); status_at: Number, nullable;
        status_reason: Text, nullable; status_actor: Text, nullable; holds: List; created_at: Number; created_by: Text;
        created_by_key: Id, nullable; canary: Truth; requires: List; expires_at: Number, nullable; revision: Number;
    }),
    table!(key_secrets 1 REPLACED {
        lookup: Text; key_id: Id; position: Number; hash: Text; hint: Text, nullable;
        form: OneOf(&["none", "crc32", "keyed", "foreign"]); created_at: Number; expires_at: Number, nullable;
        grace_ends_at: Number, nullable;
    }),
    // Behind the secrets, whose triggers insert rows of it.
    table!(key_use 1 REPLACED {
        lookup: Text; key_id: Id; organization_id: Id; last_used_at: Number; last_address: Text, nullable; requests: Number;
    }),
    table!(key_networks 2 REPLACED { key_id: Id; network: Text; first_seen: Number; }),
    table!(scope_use 2 REPLACED { key_id: Id; scope: Text; last_used_at: Number; }),
    table!(usage_sources 2 REPLACED { node: Id; epoch: Number; through: Number; seen_at: Number; }),
    table!(idempotency 3 REPLACED {
        organization_id: Id; actor: Text; key: Text; request_hash: Hash; key_id: Id; created_at: Number; expires_at: Number;
    }),
    table!(organization_state 1 REPLACED {
        organization_id: Id; audit_seq: Number; audit_hash: Hash; pruned_seq: Number; pruned_hash: Hash;
    }),
    table!(audit_events 2 REPLACED {
        organization_id: Id; seq: Number; commit_id: Id; at: Number; actor_kind: Text; actor: Text; action: Text;
        key_id: Id, nullable; user_id: Text, nullable; payload: Text; hash: Hash;
    }),
    table!(audit_personal 2 REPLACED {
        organization_id: Id; seq: Number; at: Number; origin_salt: Bytes, nullable; origin: Text, nullable; salt: Bytes, nullable;
        values: Text, nullable; actor: Text, nullable; user_id: Text, nullable; address: Text, nullable;
    }),
    table!(audit_waiting 1 REPLACED { n: Number; event: Text; }),
    table!(refusal_counts 3 REPLACED { hour: Number; organization_id: Id; kind: Text; n: Number; }),
    table!(refusals 1 REPLACED {
        id: Id; at: Number; organization_id: Id, nullable; key_id: Id, nullable; lookup: Text, nullable; kind: Text;
        address: Text, nullable;
    }),
];

/// The row of the realm is copied last: with it the target becomes what the source is.
pub(in crate::store) const REALM: Table = table!(realm 1 REPLACED {
    one: Truth; realm_id: Id; crc_accepted_until: Number; created_at: Number;
});

/// What a database has for itself, and what triggers make of other rows.
#[cfg(test)]
pub(in crate::store) const NOT_COPIED: &[&str] = &[
    "change_counter",
    "key_changes",
    "key_labels",
    "leases",
    "schema_migrations",
];

impl Table {
    /// The column whose row another table has, for an error.
    pub(super) fn reference(&self) -> &'static str {
        match self.name {
            "organizations" => "organizations.plan_id",
            "users" => "users.organization_id",
            "keys" => "keys.organization_id",
            "key_secrets" => "key_secrets.key_id",
            _ => self.name,
        }
    }

    pub(super) fn list(&self) -> String {
        list(self.columns.iter())
    }

    pub(super) fn key_list(&self) -> String {
        list(self.columns.iter().take(self.key))
    }
}

/// In quotes: one is a word of SQL.
fn list<'c>(columns: impl Iterator<Item = &'c Column>) -> String {
    let names = columns.map(|column| format!("\"{}\"", column.name));
    names.collect::<Vec<_>>().join(", ")
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    use std::collections::BTreeMap;

    use rusqlite::Connection;

    use super::*;
    use crate::store::sql::migration::SQLITE;

    /// A column that is forgotten would be empty in every copy.
    #[test]
    fn list_has_every_column_of_sqlite() {
        let connection = Connection::open_in_memory().unwrap();
        for migration in SQLITE {
            connection.execute_batch(&migration.up.replace("{s}", "")).unwrap();
        }
        let rows = "SELECT t.name, c.name, c.type, c.\"notnull\", c.pk FROM sqlite_schema t, pragma_table_info(t.name) c \
                    WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%'";
        let mut statement = connection.prepare(rows).unwrap();
        let mut found: BTreeMap<String, Vec<(String, String, bool, i64)>> = BTreeMap::new();
        let rows = statement.query_map([], |row| {
            Ok((
                row.get::<_, String>(0)?,
                (row.get(1)?, row.get(2)?, !row.get::<_, bool>(3)?, row.get(4)?),
            ))
        });
        for row in rows.unwrap() {
            let (table, column) = row.unwrap();
            if !NOT_COPIED.contains(&&*table) {
                found.entry(table).or_default().push(column);
            }
        }
        let mut listed: BTreeMap<String, Vec<_>> = BTreeMap::new();
        for table in TABLES.iter().chain([&REALM]) {
            for (index, column) in table.columns.iter().enumerate() {
                let kind = match column.kind {
                    Id | Bytes | Hash => "BLOB",
                    Number | Truth => "INTEGER",
                    Text | List | Object | OneOf(_) => "TEXT",
                };
                let place = if index < table.key { index as i64 + 1 } else { 0 };
                let column = (column.name.to_owned(), kind.to_owned(), column.is_nullable, place);
                listed.entry(table.name.to_owned()).or_default().push(column);
            }
        }
        listed
            .values_mut()
            .chain(found.values_mut())
            .for_each(|columns| columns.sort());
        assert_eq!(listed, found);
    }
}
