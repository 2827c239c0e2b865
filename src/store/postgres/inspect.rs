//! What of a database is not as the migrations make it, and what its user may do.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use deadpool_postgres::ClientWrapper;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::builder::PostgresStoreBuilder;
use super::fault::not_granted;
use super::migrate;
use super::schema::Schema;
use super::session::answered;
use crate::key::Timestamp;
use crate::store::StoreError;
use crate::store::sql::migration::{Migration, ROLES, functions_of, triggers_of};

/// What [`PostgresStoreBuilder::inspect`] has found. It changes nothing.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PostgresInspection {
    /// The version of the server, such as `16.3`.
    pub server_version: String,
    /// How many milliseconds the clock of the server is ahead of that of this machine; negative if it is behind. Exact to the time of
    /// a round trip.
    pub clock_ahead: i64,
    /// The version of the schema; 0 where there is none. Then there is nothing in the fields below but the user.
    pub schema_version: u32,
    /// Triggers of this crate that are missing, or do not always run: changes are not logged.
    pub stopped_triggers: Vec<String>,
    /// Functions of this crate that are missing, or were replaced: changes may not be logged.
    pub changed_functions: Vec<String>,
    /// Which of the three roles are missing.
    pub missing_roles: Vec<String>,
    /// Who owns the tables: the role of the owner alone, unless the user of the migrations may not make roles.
    pub owners: Vec<String>,
    /// What the roles of the service and of the reader may not do, and need.
    pub missing_grants: Vec<PostgresGrant>,
    /// What they may do, and the migrations do not grant.
    pub further_grants: Vec<PostgresGrant>,
    /// Who is connected.
    pub user: UserOfPostgres,
}

/// What the user of a connection may do.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct UserOfPostgres {
    /// Its name.
    pub name: String,
    /// Whether it is a superuser, whom no role bounds.
    pub is_superuser: bool,
    /// Whether it may do what an owner of the tables may: change and delete what is in the audit trail, and drop tables.
    pub owns_tables: bool,
    /// What it may do with tables, by whatever role, and a service needs not. Empty for one that owns them.
    pub further_grants: Vec<PostgresGrant>,
}

/// A right of a role.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct PostgresGrant {
    /// Whose right.
    pub role: String,
    /// The table, without its schema.
    pub table: String,
    /// The column, if it is for that alone.
    pub column: Option<String>,
    /// Such as `DELETE`.
    pub privilege: String,
}

/// As a grant has it: `UPDATE (pruned_seq) ON organization_state`.
impl fmt::Display for PostgresGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.column {
            None => write!(f, "{} ON {}", self.privilege, self.table),
            Some(column) => write!(f, "{} ({column}) ON {}", self.privilege, self.table),
        }
    }
}

/// # Looking
impl PostgresStoreBuilder {
    /// Looks whether a database is as the migrations make it, and what the user of the URL may do in it, without changing anything:
    /// for a check before or beside services, such as `api-keys doctor`.
    ///
    /// ```no_run
    /// use tower_api_key::store::PostgresStore;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let found = PostgresStore::builder().inspect(&std::env::var("DATABASE_URL")?).await?;
    /// assert!(found.stopped_triggers.is_empty() && !found.user.is_superuser);
    /// for grant in &found.further_grants {
    ///     println!("{} may {grant}", grant.role);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub async fn inspect(mut self, url: &str) -> Result<PostgresInspection, StoreError> {
        let connections = self.connections(url)?;
        let schema = Schema::new(&self.schema)?;
        let mut client = self.connect(&connections).await?;
        let version = migrate::version(&mut client, &schema, &self.migrations).await;
        let version = version.map_err(|error| not_granted(error, schema.name()))?;
        let inspector = Inspector {
            client: &client,
            schema: &schema,
            migrations: &self.migrations,
            longest: connections.answer_timeout(),
        };
        inspector.inspect(version).await
    }
}

/// Looks at a database of this version of the schema.
struct Inspector<'c> {
    client: &'c ClientWrapper,
    schema: &'c Schema,
    migrations: &'c [Migration],
    longest: Duration,
}

impl Inspector<'_> {
    async fn inspect(&self, schema_version: u32) -> Result<PostgresInspection, StoreError> {
        let (server_version, clock_ahead, user) = self.user().await?;
        let mut found = PostgresInspection {
            server_version,
            clock_ahead,
            schema_version,
            stopped_triggers: Vec::new(),
            changed_functions: Vec::new(),
            missing_roles: Vec::new(),
            owners: Vec::new(),
            missing_grants: Vec::new(),
            further_grants: Vec::new(),
            user,
        };
        if schema_version == 0 {
            return Ok(found);
        }
        found.stopped_triggers = self.stopped_triggers().await?;
        // A later version may have other functions.
        if schema_version as usize <= self.migrations.len() {
            found.changed_functions = self.changed_functions().await?;
        }
        let (service, reader) = (self.role("service"), self.role("reader"));
        let there: BTreeSet<String> = self
            .names(
                ROLES_THERE,
                &[&[self.role("owner"), service.clone(), reader.clone()].as_slice()],
            )
            .await?;
        let all = [self.role("owner"), service.clone(), reader.clone()];
        found.missing_roles = all.into_iter().filter(|role| !there.contains(role)).collect();
        let tables: BTreeMap<String, String> = self.pairs(TABLES, &[&self.schema.name()]).await?;
        found.owners = tables.values().cloned().collect::<BTreeSet<_>>().into_iter().collect();
        found.user.owns_tables = self.owns_tables().await?;

        let expected: BTreeSet<PostgresGrant> = [(&service, "of_service"), (&reader, "of_reader")]
            .into_iter()
            .filter(|(role, _)| there.contains(*role))
            .flat_map(|(role, list)| granted(role, list))
            .filter(|grant| tables.contains_key(&grant.table))
            .collect();
        let given = self.grants(&[service.clone(), reader]).await?;
        found.missing_grants = expected.difference(&given).cloned().collect();
        found.further_grants = given.difference(&expected).cloned().collect();
        if !found.user.is_superuser && !found.user.owns_tables {
            let needed: BTreeSet<_> = granted(&found.user.name, "of_service").collect();
            let has = self.tables_of_user(&found.user.name).await?;
            found.user.further_grants = has.difference(&needed).cloned().collect();
        }
        Ok(found)
    }

    async fn user(&self) -> Result<(String, i64, UserOfPostgres), StoreError> {
        let before = Timestamp::now().as_millis();
        let row = answered(self.longest, self.client.query_one(USER, &[])).await?;
        let after = Timestamp::now().as_millis();
        let clock: i64 = row.try_get(1)?;
        let user = UserOfPostgres {
            name: row.try_get(2)?,
            is_superuser: row.try_get(3)?,
            owns_tables: false,
            further_grants: Vec::new(),
        };
        Ok((row.try_get(0)?, clock - (before + after) / 2, user))
    }

    async fn owns_tables(&self) -> Result<bool, StoreError> {
        let row = answered(self.longest, self.client.query_one(OWNS, &[&self.schema.name()])).await?;
        Ok(row.try_get(0)?)
    }

    async fn stopped_triggers(&self) -> Result<Vec<String>, StoreError> {
        let expected = triggers_of(self.migrations);
        let names: Vec<&str> = expected.iter().copied().collect();
        let running = self.names(TRIGGERS, &[&self.schema.name(), &names]).await?;
        let stopped = expected.into_iter().filter(|name| !running.contains(*name));
        Ok(stopped.map(str::to_owned).collect())
    }

    async fn changed_functions(&self) -> Result<Vec<String>, StoreError> {
        let expected = functions_of(self.migrations);
        let names: Vec<&str> = expected.keys().copied().collect();
        let sources = self.pairs(FUNCTIONS, &[&self.schema.name(), &names]).await?;
        let changed = expected.into_iter().filter(|(name, source)| {
            let expected = self.schema.rendered(source).replace('\r', "");
            sources.get(*name) != Some(&expected)
        });
        Ok(changed.map(|(name, _)| name.to_owned()).collect())
    }

    /// What these roles were granted.
    async fn grants(&self, roles: &[String]) -> Result<BTreeSet<PostgresGrant>, StoreError> {
        let rows = answered(self.longest, self.client.query(GRANTS, &[&self.schema.name(), &roles])).await?;
        let grant = |row: &Row| {
            Ok::<_, tokio_postgres::Error>(PostgresGrant {
                role: row.try_get(0)?,
                table: row.try_get(1)?,
                column: row.try_get(2)?,
                privilege: row.try_get(3)?,
            })
        };
        Ok(rows.iter().map(grant).collect::<Result<_, _>>()?)
    }

    /// What the current user may do with whole tables.
    async fn tables_of_user(&self, user: &str) -> Result<BTreeSet<PostgresGrant>, StoreError> {
        let rows = answered(self.longest, self.client.query(TABLES_OF_USER, &[&self.schema.name()])).await?;
        let grant = |row: &Row| {
            Ok::<_, tokio_postgres::Error>(PostgresGrant {
                role: user.to_owned(),
                table: row.try_get(0)?,
                column: None,
                privilege: row.try_get(1)?,
            })
        };
        Ok(rows.iter().map(grant).collect::<Result<_, _>>()?)
    }

    async fn names(&self, query: &str, values: &[&(dyn ToSql + Sync)]) -> Result<BTreeSet<String>, StoreError> {
        let rows = answered(self.longest, self.client.query(query, values)).await?;
        Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
    }

    async fn pairs(&self, query: &str, values: &[&(dyn ToSql + Sync)]) -> Result<BTreeMap<String, String>, StoreError> {
        let rows = answered(self.longest, self.client.query(query, values)).await?;
        let pair = |row: &Row| Ok::<_, tokio_postgres::Error>((row.try_get(0)?, row.try_get(1)?));
        Ok(rows.iter().map(pair).collect::<Result<_, _>>()?)
    }

    fn role(&self, kind: &str) -> String {
        self.schema.rendered(&format!("{{r}}{kind}"))
    }
}

/// What a list of the script of roles grants: pairs of a table and its privileges, or of a table and columns to read.
fn granted(role: &str, list: &str) -> impl Iterator<Item = PostgresGrant> {
    let list_text = ROLES.split(&format!("{list} CONSTANT text[] := ARRAY[")).nth(1);
    let list_text = list_text.and_then(|rest| rest.split("];\n").next()).unwrap_or_default();
    // Between quotes.
    let texts: Vec<&str> = list_text.split('\'').skip(1).step_by(2).collect();
    let is_of_columns = list == "of_reader";
    let grant = |table: &str, column: Option<&str>, privilege: &str| PostgresGrant {
        role: role.to_owned(),
        table: table.to_owned(),
        column: column.map(str::to_owned),
        privilege: privilege.to_owned(),
    };
    let mut grants = Vec::new();
    for pair in texts.chunks_exact(2) {
        let (table, what) = (pair[0], pair[1]);
        if is_of_columns {
            grants.extend(words(what).map(|column| grant(table, Some(column), "SELECT")));
            continue;
        }
        // `SELECT, INSERT, UPDATE (audit_seq, audit_hash)`: one with columns is the last.
        let (whole, columns) = match what.split_once('(') {
            None => (what, None),
            Some((whole, columns)) => (whole.trim_end(), Some(columns.trim_end_matches(')'))),
        };
        let mut privileges: Vec<&str> = words(whole).collect();
        if let Some(columns) = columns
            && let Some(privilege) = privileges.pop()
        {
            grants.extend(words(columns).map(|column| grant(table, Some(column), privilege)));
        }
        grants.extend(privileges.into_iter().map(|privilege| grant(table, None, privilege)));
    }
    grants.into_iter()
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|word| !word.is_empty())
}

const USER: &str = "SELECT pg_catalog.current_setting('server_version'), \
     CAST(extract(epoch FROM pg_catalog.clock_timestamp()) * 1000 AS bigint), current_user::text, \
     (SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname = current_user)";
const OWNS: &str = "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     WHERE n.nspname = $1 AND c.relkind = 'r' AND pg_catalog.pg_has_role(c.relowner, 'USAGE'))";
const ROLES_THERE: &str = "SELECT rolname::text FROM pg_catalog.pg_roles WHERE rolname = ANY($1)";
const TABLES: &str = "SELECT c.relname::text, r.rolname::text FROM pg_catalog.pg_class c \
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN pg_catalog.pg_roles r ON r.oid = c.relowner \
     WHERE n.nspname = $1 AND c.relkind = 'r'";
const TRIGGERS: &str = "SELECT t.tgname::text FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid \
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     WHERE n.nspname = $1 AND t.tgname = ANY($2::pg_catalog.text[]) AND t.tgenabled = 'A'";
const FUNCTIONS: &str = "SELECT p.proname::text, pg_catalog.replace(p.prosrc, pg_catalog.chr(13), '') FROM pg_catalog.pg_proc p \
     JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace \
     WHERE n.nspname = $1 AND p.proname = ANY($2::pg_catalog.text[])";
const GRANTS: &str = "SELECT r.rolname::text, c.relname::text, NULL::text, a.privilege_type::text FROM pg_catalog.pg_class c \
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) a \
     JOIN pg_catalog.pg_roles r ON r.oid = a.grantee WHERE n.nspname = $1 AND c.relkind = 'r' AND r.rolname = ANY($2) \
     UNION ALL SELECT r.rolname::text, c.relname::text, t.attname::text, a.privilege_type::text FROM pg_catalog.pg_attribute t \
     JOIN pg_catalog.pg_class c ON c.oid = t.attrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     CROSS JOIN LATERAL pg_catalog.aclexplode(t.attacl) a JOIN pg_catalog.pg_roles r ON r.oid = a.grantee \
     WHERE n.nspname = $1 AND c.relkind = 'r' AND r.rolname = ANY($2)";
const TABLES_OF_USER: &str = "SELECT c.relname::text, p.name FROM pg_catalog.pg_class c \
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     CROSS JOIN pg_catalog.unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) AS p (name) \
     WHERE n.nspname = $1 AND c.relkind = 'r' AND pg_catalog.has_table_privilege(c.oid, p.name)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_the_script_are_read() {
        let has = |list, text: &str| granted("r", list).any(|grant| grant.to_string() == text);
        for text in [
            "SELECT ON plans",
            "DELETE ON keys",
            "UPDATE (audit_hash) ON organization_state",
            "INSERT ON organization_state",
            "SELECT ON schema_migrations",
        ] {
            assert!(has("of_service", text), "{text}");
        }
        for text in ["DELETE ON audit_events", "UPDATE ON organization_state"] {
            assert!(!has("of_service", text), "{text}");
        }
        assert!(
            has("of_reader", "SELECT (created_by) ON keys")
                && has("of_reader", "SELECT (applied_at) ON schema_migrations")
        );
        assert!(!has("of_reader", "SELECT (hash) ON key_secrets"));
        assert!(granted("r", "of_service").count() > 60 && granted("r", "of_reader").count() > 100);
    }
}
