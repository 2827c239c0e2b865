//! Pages of lists, and counts, as statements.
//!
//! Each statement takes how many rows to read as ?1 and how many to skip as ?2. The filter's values follow.

mod audit;
mod keys;

use uuid::Uuid;

use super::dialect::Statement;
use super::row::Columns;
use super::statement::{Lists, Statements, after_prefix};
use super::value::Value;
use crate::key::{OrganizationStatus, UserStatus};
use crate::store::query::{
    Count, Filter, OrganizationFilter, Page, PlanFilter, RoleFilter, ScopeFilter, SortKey, UserFilter,
};
use crate::store::{StoreError, StoreErrorKind};

/// A page looks at so many rows, of which its filter may leave few.
const MOST_LOOKED_AT: u32 = 10_000;
/// A count looks at so many.
const MOST_COUNTED: u32 = 100_000;
/// The first value of a filter, and the id up to which a list by id or name goes.
const FIRST: usize = 3;
const LAST_ID: usize = 16;

/// A list that SQL databases answer.
pub(in crate::store) trait SqlList: Filter {
    /// The statement for a page of this list.
    fn statement<'s>(&self, sql: &'s Statements) -> &'s Statement;

    /// The statement for the last row that a page or a count looks at; `None` where an index leads to the rows of the list and to
    /// no others.
    fn end_statement<'s>(&self, _: &'s Statements) -> Option<&'s Statement> {
        None
    }

    /// Reads where that row stands.
    fn read_end(&self, _: &mut Columns<'_>) -> Result<SortKey, StoreError> {
        Err(StoreError::new(StoreErrorKind::Unsupported))
    }

    /// The values from ?3 on, for rows after `start` and up to `end`.
    fn values(&self, start: Option<SortKey>, end: Option<&SortKey>) -> Result<Vec<Value<'_>>, StoreError>;

    /// Where a row stands in the list, if its record does not say so: the folded name of one that was renamed by hand is that of
    /// before.
    fn place(&self, _: &mut Columns<'_>) -> Result<Option<SortKey>, StoreError> {
        Ok(None)
    }

    /// Reads one row of the database's, which may be a part of the last row of the list.
    fn read(columns: &mut Columns<'_>, rows: &mut Vec<Self::Row>) -> Result<(), StoreError>;
}

/// A list that can be counted, with the same values.
pub(in crate::store) trait SqlCount: SqlList {
    fn count_statement<'s>(&self, sql: &'s Statements) -> &'s Statement;

    /// As for a page.
    fn end_of_count_statement<'s>(&self, sql: &'s Statements) -> Option<&'s Statement> {
        self.end_statement(sql)
    }
}

/// All values of the statement for a page, of rows up to `end`.
pub(in crate::store) fn page_values<'f, F: SqlList>(
    filter: &'f F,
    page: &Page,
    end: Option<&SortKey>,
) -> Result<Vec<Value<'f>>, StoreError> {
    let limit = i64::try_from(page.limit()).unwrap_or(i64::MAX);
    values(filter, limit, page.skip(), page.start(filter)?, end)
}

/// All values of the statement for the last row that a page looks at.
pub(in crate::store) fn end_values<'f, F: SqlList>(filter: &'f F, page: &Page) -> Result<Vec<Value<'f>>, StoreError> {
    values(filter, 1, MOST_LOOKED_AT - 1, page.start(filter)?, None)
}

/// All values of the statement for a count of rows up to `end`.
pub(in crate::store) fn count_values<'f, F: SqlCount>(
    filter: &'f F,
    end: Option<&SortKey>,
) -> Result<Vec<Value<'f>>, StoreError> {
    // One more than is counted exactly.
    values(filter, Count::LIMIT as i64 + 1, 0, None, end)
}

/// All values of the statement for the last row that a count looks at.
pub(in crate::store) fn end_of_count_values<F: SqlCount>(filter: &F) -> Result<Vec<Value<'_>>, StoreError> {
    values(filter, 1, MOST_COUNTED - 1, None, None)
}

fn values<'f, F: SqlList>(
    filter: &'f F,
    limit: i64,
    skip: u32,
    start: Option<SortKey>,
    end: Option<&SortKey>,
) -> Result<Vec<Value<'f>>, StoreError> {
    let mut values = vec![Value::Integer(limit), Value::Integer(skip.into())];
    values.extend(filter.values(start, end)?);
    Ok(values)
}

impl SqlList for OrganizationFilter {
    fn statement<'s>(&self, sql: &'s Statements) -> &'s Statement {
        &lists_of(self, sql).page
    }

    fn end_statement<'s>(&self, sql: &'s Statements) -> Option<&'s Statement> {
        let filters = [self.name.is_some(), self.plan.is_some(), self.status.is_some()];
        // An index serves one of them.
        let is_narrowed = filters.into_iter().filter(|is_set| *is_set).count() > 1;
        is_narrowed.then(|| &lists_of(self, sql).last)
    }

    fn read_end(&self, columns: &mut Columns<'_>) -> Result<SortKey, StoreError> {
        end_of(self.name.as_deref(), columns)
    }

    fn values(&self, start: Option<SortKey>, end: Option<&SortKey>) -> Result<Vec<Value<'_>>, StoreError> {
        let (range, end) = range(self.name.as_deref(), start, end)?;
        let mut values = Vec::from(range);
        values.push(self.status.map(OrganizationStatus::as_str).into());
        values.push(self.plan.map(|plan| plan.as_uuid()).into());
        // Of organizations, ?8 to ?15 are not used.
        values.resize(LAST_ID - FIRST, Value::Null);
        values.push(end);
        Ok(values)
    }

    fn place(&self, columns: &mut Columns<'_>) -> Result<Option<SortKey>, StoreError> {
        self.name.as_ref().map(|_| columns.folded(4)).transpose()
    }

    fn read(columns: &mut Columns<'_>, rows: &mut Vec<Self::Row>) -> Result<(), StoreError> {
        rows.push(columns.organization()?);
        Ok(())
    }
}

impl SqlCount for OrganizationFilter {
    fn count_statement<'s>(&self, sql: &'s Statements) -> &'s Statement {
        &lists_of(self, sql).count
    }
}

/// Those of the index that leaves the fewest organizations, usually.
fn lists_of<'s>(filter: &OrganizationFilter, sql: &'s Statements) -> &'s Lists {
    let lists = &sql.organizations;
    match (&filter.name, filter.plan, filter.status) {
        (Some(_), ..) => &lists.named,
        (None, Some(_), _) => &lists.of_plan,
        (None, None, Some(_)) => &lists.of_status,
        (None, None, None) => &lists.all,
    }
}

impl SqlList for PlanFilter {
    fn statement<'s>(&self, sql: &'s Statements) -> &'s Statement {
        &sql.plans
    }

    fn values(&self, start: Option<SortKey>, _: Option<&SortKey>) -> Result<Vec<Value<'_>>, StoreError> {
        Ok(vec![after_name(start)?, self.name.as_deref().into()])
    }

    fn read(columns: &mut Columns<'_>, rows: &mut Vec<Self::Row>) -> Result<(), StoreError> {
        rows.push(columns.plan()?);
        Ok(())
    }
}

impl SqlList for RoleFilter {
    fn statement<'s>(&self, sql: &'s Statements) -> &'s Statement {
        &sql.roles
    }

    fn values(&self, start: Option<SortKey>, _: Option<&SortKey>) -> Result<Vec<Value<'_>>, StoreError> {
        Ok(vec![after_name(start)?, self.name.as_deref().into()])
    }

    fn read(columns: &mut Columns<'_>, rows: &mut Vec<Self::Row>) -> Result<(), StoreError> {
        rows.push(columns.role()?);
        Ok(())
    }
}

impl SqlList for ScopeFilter {
    fn statement<'s>(&self, sql: &'s Statements) -> &'s Statement {
        &sql.known_scopes
    }

    fn values(&self, start: Option<SortKey>, _: Option<&SortKey>) -> Result<Vec<Value<'_>>, StoreError> {
        Ok(vec![after_name(start)?])
    }

    fn read(columns: &mut Columns<'_>, rows: &mut Vec<Self::Row>) -> Result<(), StoreError> {
        rows.push(columns.known_scope()?);
        Ok(())
    }
}

impl SqlList for UserFilter {
    fn statement<'s>(&self, sql: &'s Statements) -> &'s Statement {
        &sql.users
    }

    fn end_statement<'s>(&self, sql: &'s Statements) -> Option<&'s Statement> {
        self.status.is_some().then_some(&sql.last_of_users)
    }

    fn read_end(&self, columns: &mut Columns<'_>) -> Result<SortKey, StoreError> {
        Ok(SortKey::Name(columns.text("user_id")?, self.organization.as_uuid()))
    }

    fn values(&self, start: Option<SortKey>, end: Option<&SortKey>) -> Result<Vec<Value<'_>>, StoreError> {
        let end = match end {
            Some(SortKey::Name(name, _)) => name.clone(),
            _ => after_prefix(""),
        };
        Ok(vec![
            after_name(start)?,
            self.organization.as_uuid().into(),
            self.status.map(UserStatus::as_str).into(),
            end.into(),
        ])
    }

    fn read(columns: &mut Columns<'_>, rows: &mut Vec<Self::Row>) -> Result<(), StoreError> {
        rows.push(columns.user()?);
        Ok(())
    }
}

impl SqlCount for UserFilter {
    fn count_statement<'s>(&self, sql: &'s Statements) -> &'s Statement {
        &sql.count_users
    }
}

/// Where a list of unique names begins, as ?3. No name is empty.
fn after_name<'v>(start: Option<SortKey>) -> Result<Value<'v>, StoreError> {
    match start {
        None => Ok(Value::from("")),
        Some(SortKey::Name(name, _)) => Ok(name.into()),
        Some(_) => Err(StoreError::new(StoreErrorKind::InvalidCursor)),
    }
}

/// Where a list by id or by name begins and ends: ?3 and ?4 are the name and id after which it begins, ?5 the name of its last
/// row. Apart from them the id of its last row.
fn range<'v>(
    prefix: Option<&str>,
    start: Option<SortKey>,
    end: Option<&SortKey>,
) -> Result<([Value<'v>; 3], Value<'v>), StoreError> {
    let (last_name, last) = match (prefix, end) {
        (None, Some(SortKey::Id(id))) => (Value::Null, *id),
        (None, _) => (Value::Null, Uuid::max()),
        (Some(_), Some(SortKey::Name(name, id))) => (name.clone().into(), *id),
        // No row has this id, so the names end before.
        (Some(prefix), _) => (after_prefix(prefix).into(), Uuid::nil()),
    };
    let (name, id) = match (prefix, start) {
        (None, None) => (Value::Null, Uuid::nil()),
        (None, Some(SortKey::Id(id))) => (Value::Null, id),
        (Some(prefix), None) => (prefix.to_owned().into(), Uuid::nil()),
        (Some(_), Some(SortKey::Name(name, id))) => (name.into(), id),
        _ => return Err(StoreError::new(StoreErrorKind::InvalidCursor)),
    };
    Ok(([name, id.into(), last_name], last.into()))
}

impl Columns<'_> {
    /// Where a row stands whose first column is its id, and this one its folded name. The columns are read again.
    fn folded(&mut self, column: usize) -> Result<SortKey, StoreError> {
        let id = self.uuid("id")?;
        self.skip(column - 1);
        let name = self.text("name_folded")?;
        self.rewind();
        Ok(SortKey::Name(name, id))
    }
}

/// Where the last row of such a list stands.
fn end_of(prefix: Option<&str>, columns: &mut Columns<'_>) -> Result<SortKey, StoreError> {
    Ok(match prefix {
        None => SortKey::Id(columns.uuid("id")?),
        Some(_) => SortKey::Name(columns.text("name_folded")?, columns.uuid("id")?),
    })
}
