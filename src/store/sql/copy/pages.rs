//! The rows of a table, page by page, in the order of their keys.

use super::super::Value;
use super::super::database::{Database, all};
use super::cell::{Cell, Row};
use super::end::End;
use super::statements::OfTable;
use crate::store::StoreError;

/// Rows that are read at once.
pub(super) const PAGE: usize = 1000;

pub(super) struct Pages<'e, D> {
    end: &'e End<D>,
    statements: &'e OfTable,
    may_have_nul: bool,
    page: std::vec::IntoIter<Row>,
    /// The key of the last row that was read.
    last: Option<Vec<Cell>>,
    is_last_page: bool,
}

impl<'e, D: Database> Pages<'e, D> {
    pub(super) fn new(end: &'e End<D>, statements: &'e OfTable, may_have_nul: bool) -> Self {
        Self {
            end,
            statements,
            may_have_nul,
            page: Vec::new().into_iter(),
            last: None,
            is_last_page: false,
        }
    }

    /// The next row, which stays the next one.
    pub(super) async fn peek(&mut self) -> Result<Option<&Row>, StoreError> {
        if self.page.as_slice().is_empty() && !self.is_last_page {
            self.read().await?;
        }
        Ok(self.page.as_slice().first())
    }

    pub(super) async fn next(&mut self) -> Result<Option<Row>, StoreError> {
        self.peek().await?;
        Ok(self.page.next())
    }

    /// Leaves out the row that is the next one.
    pub(super) fn skip(&mut self) {
        self.page.next();
    }

    async fn read(&mut self) -> Result<(), StoreError> {
        let limit = Value::Integer(PAGE as i64);
        let (statement, values) = match &self.last {
            None => (&self.statements.first, vec![limit]),
            Some(last) => (
                &self.statements.after,
                [limit].into_iter().chain(last.iter().map(Cell::value)).collect(),
            ),
        };
        let table = self.statements.table;
        let rows = all(&self.end.database, statement, &values, |row| {
            table.read(row, self.may_have_nul)
        })
        .await?;
        self.is_last_page = rows.len() < PAGE;
        if let Some(last) = rows.last() {
            self.last = Some(last.iter().take(table.key).cloned().collect());
        }
        self.page = rows.into_iter();
        Ok(())
    }
}
