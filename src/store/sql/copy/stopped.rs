//! What opens nothing any more, with which the revocation journal of a copy begins: a backup of the source that is put in the place of the
//! copy would otherwise bring back what was revoked since.

use uuid::Uuid;

use super::super::command::Command;
use super::super::database::{Database, all};
use super::super::follower::Place;
use super::super::{Statements, Value};
use super::end::End;
use crate::store::journal::{Journaled, RowName};
use crate::store::{StoreError, StoreErrorKind};

/// Rows that are read, and lines that are written, at once.
const ROWS: usize = 4096;

impl<D: Database> End<D> {
    /// Writes the beginning of the journal, within the transaction that ends the copy: once that is committed the database serves,
    /// whatever becomes of this process.
    pub(in crate::store) async fn begin_journal(
        &self,
        journal: &Journaled,
        sql: &Statements,
    ) -> Result<(), StoreError> {
        let (_, realm) = self.realm().await?;
        let place = self.last_change().await?.unwrap_or(Place::START);
        journal.begin_copied(realm, place)?;
        for stopped in &self.sql.stopped {
            let mut after = (Uuid::nil(), String::new());
            loop {
                let values = [Value::Integer(ROWS as i64), after.0.into(), Value::from(&*after.1)];
                let rows = all(&self.database, &stopped.rows, &values, |row| {
                    Ok((row.uuid("id")?, row.optional_text("part")?))
                })
                .await?;
                let Some((id, part)) = rows.last() else { break };
                after = (*id, part.clone().unwrap_or_default());
                let is_last = rows.len() < ROWS;
                self.append(journal, sql, (realm, place), stopped.kind, rows).await?;
                if is_last {
                    break;
                }
            }
        }
        journal.has_all(realm, place)
    }

    async fn append(
        &self,
        journal: &Journaled,
        sql: &Statements,
        (realm, place): (Uuid, Place),
        kind: u64,
        rows: Vec<(Uuid, Option<String>)>,
    ) -> Result<(), StoreError> {
        let command = Command::new(&self.database, sql, None);
        let mut lines = Vec::new();
        for (id, part) in rows {
            let Some(row) = RowName::logged(kind, id, part.as_deref()) else {
                continue;
            };
            match command.as_it_is(&row, id).await {
                Ok(narrowed) => lines.extend(narrowed),
                // A row that cannot be read admits nobody.
                Err(error) if error.kind() == StoreErrorKind::InvalidRecord => {}
                Err(error) => return Err(error),
            }
        }
        journal.append_own(realm, place, lines)
    }
}
