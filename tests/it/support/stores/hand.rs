//! What people do with another program.

use uuid::Uuid;

/// A connection of another program. Statements have the names of tables in SQLite (`api_keys_keys`), and `?1` for the first of the
/// ids.
pub(crate) enum Hand {
    #[cfg(feature = "sqlite")]
    Sqlite(rusqlite::Connection),
    #[cfg(all(feature = "postgres", target_os = "linux"))]
    Postgres(tokio_postgres::Client, String),
    /// Without a feature of a database.
    #[allow(dead_code, reason = "so that there is one")]
    None,
}

impl Hand {
    /// How many rows the statements changed, those that triggers changed too or not.
    pub(crate) async fn run(&self, statements: &str, ids: &[Uuid]) -> u64 {
        let ran = self.try_run(statements, ids).await;
        ran.unwrap_or_else(|error| panic!("{statements}: {error}"))
    }

    pub(crate) async fn try_run(&self, statements: &str, ids: &[Uuid]) -> Result<u64, String> {
        let statements = self.text(statements, ids);
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(connection) => {
                let changed = || connection.query_row("SELECT total_changes()", [], |row| row.get::<_, i64>(0));
                let before = changed().unwrap();
                connection
                    .execute_batch(&statements)
                    .map_err(|error| error.to_string())?;
                Ok(u64::try_from(changed().unwrap() - before).unwrap())
            }
            #[cfg(all(feature = "postgres", target_os = "linux"))]
            Self::Postgres(client, _) => {
                let messages = client.simple_query(&statements).await;
                let messages = messages.map_err(|error| match error.as_db_error() {
                    Some(said) => said.to_string(),
                    None => error.to_string(),
                })?;
                let counts = messages.iter().filter_map(|message| match message {
                    tokio_postgres::SimpleQueryMessage::CommandComplete(rows) => Some(*rows),
                    _ => None,
                });
                Ok(counts.sum())
            }
            Self::None => unreachable!(),
        }
    }

    /// Rows as text: bytes and ids in hexadecimal digits, nothing for NULL.
    pub(crate) async fn rows(&self, query: &str, ids: &[Uuid]) -> Vec<Vec<String>> {
        let query = self.text(query, ids);
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(connection) => {
                let mut statement = connection.prepare(&query).unwrap();
                let columns = statement.column_count();
                let rows = statement.query_map([], |row| {
                    (0..columns).map(|index| Ok(sqlite_text(row.get_ref(index)?))).collect()
                });
                rows.unwrap().map(Result::unwrap).collect()
            }
            #[cfg(all(feature = "postgres", target_os = "linux"))]
            Self::Postgres(client, _) => {
                let messages = client.simple_query(&query).await.unwrap();
                let rows = messages.iter().filter_map(|message| match message {
                    tokio_postgres::SimpleQueryMessage::Row(row) => Some(row),
                    _ => None,
                });
                rows.map(|row| (0..row.len()).map(|index| postgres_text(row.get(index))).collect())
                    .collect()
            }
            Self::None => unreachable!(),
        }
    }

    /// The number that a query finds.
    pub(crate) async fn number(&self, query: &str) -> i64 {
        self.rows(query, &[]).await[0][0].parse().unwrap()
    }

    /// From now on this connection breaks the rules of the schema, as far as its program can.
    pub(crate) async fn breaks_rules(self) -> Self {
        match &self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => {
                let off = "PRAGMA foreign_keys = off; PRAGMA ignore_check_constraints = on";
                self.run(off, &[]).await;
            }
            #[cfg(all(feature = "postgres", target_os = "linux"))]
            Self::Postgres(..) => {
                // Foreign keys are triggers that are not run then; those of the store are.
                let off = format!("SET session_replication_role = replica; {DROP_CHECKS}");
                self.run(&off, &[]).await;
            }
            Self::None => unreachable!(),
        }
        self
    }

    fn text(&self, statements: &str, ids: &[Uuid]) -> String {
        let mut text = statements.to_owned();
        for (index, id) in ids.iter().enumerate().rev() {
            let value = match self {
                #[cfg(all(feature = "postgres", target_os = "linux"))]
                Self::Postgres(..) => format!("'{id}'"),
                _ => format!("x'{}'", id.simple()),
            };
            text = text.replace(&format!("?{}", index + 1), &value);
        }
        match self {
            #[cfg(all(feature = "postgres", target_os = "linux"))]
            Self::Postgres(_, schema) => text
                .replace("api_keys_", &format!("{schema}."))
                .replace("randomblob(16)", "gen_random_uuid()")
                .replace("zeroblob(16)", "'00000000-0000-0000-0000-000000000000'"),
            _ => text,
        }
    }
}

/// All checks of the tables in the schema that has `api_keys_keys`.
#[cfg(all(feature = "postgres", target_os = "linux"))]
const DROP_CHECKS: &str = "DO $$ DECLARE c record; BEGIN FOR c IN SELECT conrelid::regclass AS t, conname FROM pg_constraint \
    WHERE contype = 'c' AND connamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'api_keys_keys'::regclass) LOOP \
    EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', c.t, c.conname); END LOOP; END $$";

#[cfg(feature = "sqlite")]
fn sqlite_text(value: rusqlite::types::ValueRef<'_>) -> String {
    use rusqlite::types::ValueRef;
    match value {
        ValueRef::Null => String::new(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
        ValueRef::Blob(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

#[cfg(all(feature = "postgres", target_os = "linux"))]
fn postgres_text(value: Option<&str>) -> String {
    let text = value.unwrap_or_default();
    match text.parse::<Uuid>() {
        Ok(id) => id.simple().to_string(),
        Err(_) => text.strip_prefix(r"\x").unwrap_or(text).to_owned(),
    }
}
