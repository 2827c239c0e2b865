//! Makes the rows of one database those of another one.
//!
//! How far a copy has come is what the target has: both tables are read in the order of their keys, and what the target lacks is
//! inserted. So a copy that was cut off goes on with what is missing, also if the source was changed meanwhile.

use uuid::Uuid;

use super::super::Value;
use super::super::database::Database;
use super::cell::{Cell, Row, unfit};
use super::end::End;
use super::pages::{PAGE, Pages};
use super::statements::{OfTable, ROWS};
use crate::store::{StoreError, StoreErrorKind};

/// Why there is no copy.
pub(in crate::store) enum Fault {
    SameDatabase,
    /// The target has rows that no unfinished copy has left, and they are not those of the source.
    TargetInUse,
    /// A copy of another realm was begun in the target.
    OtherCopy,
    /// A row of the source.
    InvalidRow(StoreError),
    Source(StoreError),
    Target(StoreError),
    /// The caller went away.
    Abandoned,
    /// A row that the target has is not, or no longer, that of the source. The error says which column.
    Changed(StoreError),
}

/// The target has all rows.
pub(in crate::store) struct Filled {
    /// The source's.
    pub(in crate::store) realm: Uuid,
    pub(in crate::store) rows: Vec<(&'static str, u64)>,
    /// Whether the transaction is to be committed that makes the target what the source is. Otherwise it was so.
    pub(in crate::store) is_open: bool,
}

/// Copies a source in which nothing changes meanwhile.
pub(in crate::store) async fn fill<S: Database, T: Database>(
    source: &End<S>,
    target: &End<T>,
    is_wanted: &dyn Fn() -> bool,
) -> Result<Filled, Fault> {
    let filling = Filling {
        source,
        target,
        is_wanted,
    };
    source.check_schema().await.map_err(Fault::Source)?;
    let (_, realm) = source.realm().await.map_err(of_source)?;
    let last = source.last_change().await.map_err(Fault::Source)?;
    if last.is_some() && last == target.last_change().await.map_err(Fault::Target)? {
        return Err(Fault::SameDatabase);
    }
    let mut may_start_over = match target.begun().await.map_err(Fault::Target)? {
        Some(begun) if begun == realm.to_string() => true,
        Some(_) => return Err(Fault::OtherCopy),
        None if filling.begin(realm).await? => false,
        None => return filling.compare(realm).await,
    };
    let rows = loop {
        match filling.tables(true).await {
            Err(Fault::Changed(_)) if may_start_over => {
                tracing::info!("the source has changed since the copy was begun, so it starts over");
                let begin = async || target.begin_copy(realm).await;
                target.transact(begin).await.map_err(Fault::Target)?;
                may_start_over = false;
            }
            Err(Fault::Changed(error)) => return Err(Fault::InvalidRow(error)),
            filled => break filled?,
        }
    };
    let (row, _) = source.realm().await.map_err(of_source)?;
    target.run(&target.sql.begin).await.map_err(Fault::Target)?;
    if let Err(error) = target.end_copy(&row).await {
        target.roll_back().await;
        return Err(Fault::Target(error));
    }
    Ok(Filled {
        realm,
        rows,
        is_open: true,
    })
}

struct Filling<'e, S, T> {
    source: &'e End<S>,
    target: &'e End<T>,
    is_wanted: &'e dyn Fn() -> bool,
}

impl<S: Database, T: Database> Filling<'_, S, T> {
    /// Begins a copy, if the target is new.
    async fn begin(&self, realm: Uuid) -> Result<bool, Fault> {
        let target = self.target;
        let begin = async || {
            // Nobody makes it another one's meanwhile.
            if let Some(lock) = &target.sql.lock {
                target.run(lock).await?;
            }
            if !target.is_new().await? {
                return Ok(false);
            }
            target.begin_copy(realm).await?;
            Ok::<_, StoreError>(true)
        };
        target.transact(begin).await.map_err(Fault::Target)
    }

    /// A copy that was finished may be asked for again.
    async fn compare(&self, realm: Uuid) -> Result<Filled, Fault> {
        let (source, _) = self.source.realm().await.map_err(of_source)?;
        let (target, _) = self.target.realm().await.map_err(Fault::Target)?;
        if source != target {
            return Err(Fault::TargetInUse);
        }
        match self.tables(false).await {
            Ok(rows) => Ok(Filled {
                realm,
                rows,
                is_open: false,
            }),
            Err(Fault::Changed(_)) => Err(Fault::TargetInUse),
            Err(error) => Err(error),
        }
    }

    async fn tables(&self, fills: bool) -> Result<Vec<(&'static str, u64)>, Fault> {
        let mut counts = Vec::new();
        for (from, to) in self.source.sql.tables.iter().zip(&self.target.sql.tables) {
            let rows = self.table(from, to, fills).await?;
            tracing::info!(table = from.table.name, rows, "copied");
            counts.push((from.table.name, rows));
        }
        Ok(counts)
    }

    /// How many rows the table has.
    async fn table(&self, from: &OfTable, to: &OfTable, fills: bool) -> Result<u64, Fault> {
        let table = from.table;
        let mut source = Pages::new(self.source, from, !self.target.is_postgres);
        let mut target = Pages::new(self.target, to, true);
        let mut batch = Batch::default();
        let differs = |problem| Err(Fault::Changed(unfit(table.name, problem)));
        let replaces = fills && table.is_replaced;
        let mut number = 0_u64;
        loop {
            if number.is_multiple_of(PAGE as u64) && !(self.is_wanted)() {
                return Err(Fault::Abandoned);
            }
            let row = source.next().await.map_err(of_source)?;
            // What the target has and the source has not.
            while let Some(there) = target.peek().await.map_err(Fault::Target)?
                && row
                    .as_ref()
                    .is_none_or(|row| key(there, table.key) < key(row, table.key))
            {
                if !replaces {
                    return differs("a row is gone");
                }
                batch.gone.push(there.clone());
                target.skip();
                self.flush_full(&mut batch, to).await?;
            }
            let Some(row) = row else { break };
            number += 1;
            match target.peek().await.map_err(Fault::Target)? {
                Some(there) if key(there, table.key) == key(&row, table.key) => {
                    let is_same = *there == row;
                    target.skip();
                    if is_same {
                        continue;
                    }
                    if !replaces {
                        return differs("a row is another one");
                    }
                }
                _ if !fills => return differs("a row is missing"),
                _ => {}
            }
            batch.rows.push(row);
            self.flush_full(&mut batch, to).await?;
        }
        self.flush(&mut batch, to).await?;
        Ok(number)
    }

    async fn flush_full(&self, batch: &mut Batch, to: &OfTable) -> Result<(), Fault> {
        match batch.rows.len() + batch.gone.len() < PAGE {
            true => Ok(()),
            false => self.flush(batch, to).await,
        }
    }

    async fn flush(&self, batch: &mut Batch, to: &OfTable) -> Result<(), Fault> {
        if batch.rows.is_empty() && batch.gone.is_empty() {
            return Ok(());
        }
        let database = &self.target.database;
        let written = self
            .target
            .transact(async || {
                for row in &batch.gone {
                    let values: Vec<Value<'_>> = key(row, to.table.key).iter().map(Cell::value).collect();
                    database.execute(&to.delete, &values).await?;
                }
                for rows in batch.rows.chunks(ROWS) {
                    if rows.len() == ROWS {
                        let values: Vec<Value<'_>> = rows.iter().flatten().map(Cell::value).collect();
                        database.execute(&to.insert_many, &values).await?;
                        continue;
                    }
                    for row in rows {
                        let values: Vec<Value<'_>> = row.iter().map(Cell::value).collect();
                        database.execute(&to.insert, &values).await?;
                    }
                }
                Ok::<_, StoreError>(())
            })
            .await;
        *batch = Batch::default();
        written.map_err(|error| match error.kind() {
            StoreErrorKind::NotFound => Fault::Changed(unfit(to.table.reference(), "the row that it names is missing")),
            StoreErrorKind::AlreadyExists => {
                Fault::Changed(unfit(to.table.name, "a value that must be unique is there twice"))
            }
            _ => Fault::Target(error),
        })
    }
}

/// What one transaction writes.
#[derive(Default)]
struct Batch {
    rows: Vec<Row>,
    gone: Vec<Row>,
}

fn key(row: &Row, columns: usize) -> &[Cell] {
    row.get(..columns).unwrap_or(row)
}

/// A row of the source that cannot be understood, or what else went wrong with it.
fn of_source(error: StoreError) -> Fault {
    match error.kind() {
        StoreErrorKind::InvalidRecord => Fault::InvalidRow(error),
        _ => Fault::Source(error),
    }
}
