//! One end of a copy: a connection of its own to a database.

use uuid::Uuid;

use super::super::Value;
use super::super::database::{Database, all, first};
use super::super::dialect::{Dialect, Statement};
use super::super::fault::MigrationError;
use super::super::follower::Place;
use super::super::migration::{COPY, COPY_NAME, Migration, number};
use super::super::row::invalid;
use super::cell::{Cell, Row};
use super::statements::Statements;
use crate::key::{RealmId, Timestamp};
use crate::store::StoreError;

/// One end of a copy. What it runs is no future of a caller that may go away: a transaction ends before the connection is dropped, or
/// with it.
pub(in crate::store) struct End<D> {
    pub(in crate::store) database: D,
    pub(super) sql: Statements,
    pub(super) is_postgres: bool,
    /// How many steps of the schema this program knows.
    known: usize,
}

impl<D: Database> End<D> {
    pub(in crate::store) fn new(database: D, dialect: &Dialect, migrations: &[Migration]) -> Self {
        Self {
            database,
            sql: Statements::new(dialect),
            is_postgres: dialect.is_postgres(),
            known: migrations.len(),
        }
    }

    /// Begins a transaction in which nothing changes any more: a writer waits, and fails after its timeout.
    pub(in crate::store) async fn freeze(&self) -> Result<(), StoreError> {
        self.run(&self.sql.begin).await?;
        match &self.sql.freeze {
            Some(freeze) => self.run(freeze).await,
            None => Ok(()),
        }
    }

    /// Whether nothing has changed since [`freeze`](Self::freeze): the connection, and the transaction with it, is still there.
    pub(in crate::store) async fn is_held(&self) -> Result<(), StoreError> {
        self.realm().await.map(drop)
    }

    pub(in crate::store) async fn commit(&self) -> Result<(), StoreError> {
        self.run(&self.sql.commit).await
    }

    pub(in crate::store) async fn roll_back(&self) {
        // When even this fails, the connection is lost, and the transaction with it.
        let _ = self.run(&self.sql.roll_back).await;
    }

    /// All that this does, or nothing.
    pub(super) async fn transact<T, E>(&self, work: impl AsyncFnOnce() -> Result<T, E>) -> Result<T, E>
    where
        E: From<StoreError>,
    {
        self.run(&self.sql.begin).await?;
        let mut done = work().await;
        if done.is_ok()
            && let Err(error) = self.commit().await
        {
            done = Err(error.into());
        }
        if done.is_err() {
            self.roll_back().await;
        }
        done
    }

    /// The row of the realm, and its id.
    pub(super) async fn realm(&self) -> Result<(Row, Uuid), StoreError> {
        let statements = &self.sql.realm;
        let values = [Value::Integer(1)];
        let row = first(&self.database, &statements.first, &values, |row| {
            statements.table.read(row, true)
        })
        .await?;
        match row {
            Some(row) => match row.get(1) {
                Some(Cell::Id(id)) => {
                    let id = *id;
                    Ok((row, id))
                }
                _ => Err(invalid("realm.realm_id", "must not be NULL")),
            },
            None => Err(invalid("realm.one", "the row is missing")),
        }
    }

    /// Of which realm a copy was begun here, and not finished.
    pub(super) async fn begun(&self) -> Result<Option<String>, StoreError> {
        let values = [Value::Integer(COPY)];
        first(&self.database, &self.sql.marker, &values, |row| {
            row.text("schema_migrations.checksum")
        })
        .await
    }

    /// A later version may have columns that this one does not know, and a copy would lack them.
    pub(super) async fn check_schema(&self) -> Result<(), StoreError> {
        let values = [Value::Integer(COPY)];
        let found = first(&self.database, &self.sql.steps, &values, |row| {
            row.count("schema_migrations.version")
        })
        .await?;
        let (found, known) = (found.unwrap_or(0), number(self.known));
        match found > u64::from(known) {
            true => {
                let found = u32::try_from(found).unwrap_or(u32::MAX);
                Err(MigrationError::Newer { found, known }.into())
            }
            false => Ok(()),
        }
    }

    pub(super) async fn is_new(&self) -> Result<bool, StoreError> {
        let used = first(&self.database, &self.sql.is_used, &[], |_| Ok(())).await?;
        Ok(used.is_none())
    }

    pub(super) async fn last_change(&self) -> Result<Option<Place>, StoreError> {
        first(&self.database, &self.sql.last_change, &[], |row| row.place()).await
    }

    /// Empties the database and says that a copy is under way, within a transaction. From then on no program opens it, and those that
    /// have it open find another realm.
    pub(super) async fn begin_copy(&self, realm: Uuid) -> Result<(), StoreError> {
        for wipe in &self.sql.wipe {
            self.run(wipe).await?;
        }
        let hidden = [Value::Uuid(RealmId::new().as_uuid())];
        self.database.execute(&self.sql.hide_realm, &hidden).await?;
        let marker = [
            Value::Integer(COPY),
            Value::from(COPY_NAME),
            Value::from(realm.to_string()),
            // No program has this number.
            Value::Integer(u32::MAX.into()),
            Value::from(Timestamp::now()),
        ];
        self.database.execute(&self.sql.insert_marker, &marker).await.map(drop)
    }

    /// Makes the database what the source is, within a transaction that is left open.
    pub(super) async fn end_copy(&self, realm: &Row) -> Result<(), StoreError> {
        let values: Vec<Value<'_>> = realm.iter().map(Cell::value).collect();
        self.database.execute(&self.sql.replace_realm, &values).await?;
        if let Some(renumber) = &self.sql.renumber {
            self.run(renumber).await?;
        }
        self.run(&self.sql.log_everything).await?;
        let marker = [Value::Integer(COPY)];
        self.database.execute(&self.sql.delete_marker, &marker).await.map(drop)
    }

    pub(super) async fn run(&self, statement: &Statement) -> Result<(), StoreError> {
        all(&self.database, statement, &[], |_| Ok(())).await.map(drop)
    }
}
