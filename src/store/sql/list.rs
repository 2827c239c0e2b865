//! Pages of lists, and counts, as statements.
//!
//! Each statement takes how many rows to read as ?1 and how many to skip as ?2. The filter's values follow.

use uuid::Uuid;

use super::record::Value;
use super::row::{Columns, Row};
use super::statement::{Statements, after_prefix};
use crate::audit::AuditAction;
use crate::key::{Actor, KeyStatus, OrganizationStatus, Timestamp, UserStatus};
use crate::store::query::{
    AuditFilter, Count, Filter, KeyFilter, OrganizationFilter, Page, PlanFilter, RoleFilter, ScopeFilter, SortKey,
    UserFilter,
};
use crate::store::{StoreError, StoreErrorKind, StoredKey};

/// A list that SQL databases answer.
pub(in crate::store) trait SqlList: Filter {
    /// The statement for a page of this list.
    fn statement<'s>(&self, sql: &'s Statements) -> &'s str;

    /// The values from ?3 on, for rows after `start`.
    fn values(&self, start: Option<SortKey>) -> Result<Vec<Value<'_>>, StoreError>;

    /// Reads one row of the database's, which may be a part of the last row of the list.
    fn read<R: Row>(columns: &mut Columns<'_, R>, rows: &mut Vec<Self::Row>) -> Result<(), StoreError>;
}

/// A list that can be counted, with the same values.
pub(in crate::store) trait SqlCount: SqlList {
    fn count_statement<'s>(&self, sql: &'s Statements) -> &'s str;
}

/// All values of the statement for a page.
pub(in crate::store) fn page_values<'f, F: SqlList>(filter: &'f F, page: &Page) -> Result<Vec<Value<'f>>, StoreError> {
    let limit = i64::try_from(page.limit()).unwrap_or(i64::MAX);
    values(filter, limit, page.skip(), page.start(filter)?)
}

/// All values of the statement for a count.
pub(in crate::store) fn count_values<F: SqlCount>(filter: &F) -> Result<Vec<Value<'_>>, StoreError> {
    // One more than is counted exactly.
    values(filter, Count::LIMIT as i64 + 1, 0, None)
}

fn values<F: SqlList>(filter: &F, limit: i64, skip: u32, start: Option<SortKey>) -> Result<Vec<Value<'_>>, StoreError> {
    let mut values = vec![Value::Integer(limit), Value::Integer(skip.into())];
    values.extend(filter.values(start)?);
    Ok(values)
}

impl SqlList for KeyFilter {
    fn statement<'s>(&self, sql: &'s Statements) -> &'s str {
        match (self.organization.is_some(), self.name.is_some()) {
            (false, false) => &sql.keys_by_id,
            (false, true) => &sql.keys_by_name,
            (true, false) => &sql.owned_keys_by_id,
            (true, true) => &sql.owned_keys_by_name,
        }
    }

    /// Names and ids after which the list begins, the name before which it ends, and the filters.
    fn values(&self, start: Option<SortKey>) -> Result<Vec<Value<'_>>, StoreError> {
        let lookup = self.lookup.as_deref();
        let mut values = Vec::from(range(self.name.as_deref(), start)?);
        values.extend([
            self.organization.map(|id| id.as_uuid()).into(),
            self.user.as_ref().map(|user| user.as_str()).into(),
            self.status.map(KeyStatus::as_str).into(),
            lookup.into(),
            lookup.map(after_prefix).into(),
            self.label.as_deref().into(),
            self.environment.as_deref().into(),
            self.created_by_key.map(|id| id.as_uuid()).into(),
            self.ends_after.into(),
            self.ends_until.into(),
        ]);
        Ok(values)
    }

    /// One row for each secret. Those of one key follow each other.
    fn read<R: Row>(columns: &mut Columns<'_, R>, rows: &mut Vec<StoredKey>) -> Result<(), StoreError> {
        let record = columns.key()?;
        let secret = columns.is_next_set().then(|| columns.secret()).transpose()?;
        match rows.last_mut() {
            Some(last) if last.record.id == record.id => last.secrets.extend(secret),
            _ => rows.push(StoredKey::new(record, secret.into_iter().collect())),
        }
        Ok(())
    }
}

impl SqlCount for KeyFilter {
    fn count_statement<'s>(&self, sql: &'s Statements) -> &'s str {
        match (self.organization.is_some(), self.name.is_some()) {
            (false, false) => &sql.count_keys,
            (false, true) => &sql.count_keys_by_name,
            (true, false) => &sql.count_owned_keys,
            (true, true) => &sql.count_owned_keys_by_name,
        }
    }
}

impl SqlList for OrganizationFilter {
    fn statement<'s>(&self, sql: &'s Statements) -> &'s str {
        match self.name {
            None => &sql.organizations_by_id,
            Some(_) => &sql.organizations_by_name,
        }
    }

    fn values(&self, start: Option<SortKey>) -> Result<Vec<Value<'_>>, StoreError> {
        let mut values = Vec::from(range(self.name.as_deref(), start)?);
        values.push(self.status.map(OrganizationStatus::as_str).into());
        values.push(self.plan.map(|plan| plan.as_uuid()).into());
        Ok(values)
    }

    fn read<R: Row>(columns: &mut Columns<'_, R>, rows: &mut Vec<Self::Row>) -> Result<(), StoreError> {
        rows.push(columns.organization()?);
        Ok(())
    }
}

impl SqlCount for OrganizationFilter {
    fn count_statement<'s>(&self, sql: &'s Statements) -> &'s str {
        match self.name {
            None => &sql.count_organizations,
            Some(_) => &sql.count_organizations_by_name,
        }
    }
}

impl SqlList for AuditFilter {
    fn statement<'s>(&self, sql: &'s Statements) -> &'s str {
        let is_owned = self.organization.is_some();
        if self.commit.is_some() {
            &sql.audit.audit_events_of_commit
        } else if self.key.is_some() {
            &sql.audit.audit_events_of_key
        } else if is_owned && self.actor.is_some() {
            &sql.audit.audit_events_of_actor
        } else if is_owned && self.action.is_some() {
            &sql.audit.audit_events_of_action
        } else {
            match (self.is_by_time(), is_owned) {
                (true, true) => &sql.audit.audit_events_of_time,
                (true, false) => &sql.audit.audit_events_by_time,
                (false, true) => &sql.audit.audit_events_of_organization,
                (false, false) => &sql.audit.audit_events,
            }
        }
    }

    fn values(&self, start: Option<SortKey>) -> Result<Vec<Value<'_>>, StoreError> {
        let organization = self.organization.map(|id| id.as_uuid());
        let (at, from, seq) = match start {
            None => (i64::MIN, organization.unwrap_or_default(), 0),
            Some(SortKey::Entry(id, seq)) => (i64::MIN, organization.unwrap_or(id), seq),
            Some(SortKey::Time(at, id, seq)) => (at, id, seq),
            Some(_) => return Err(StoreError::new(StoreErrorKind::InvalidCursor)),
        };
        let earliest = self.from.map_or(i64::MIN, Timestamp::as_millis);
        let until = self.until.map_or(i64::MAX, |until| until.as_millis().saturating_sub(1));
        Ok(vec![
            from.into(),
            Value::Integer(i64::try_from(seq).unwrap_or(i64::MAX)),
            organization.into(),
            self.commit.map(|id| id.as_uuid()).into(),
            self.key.map(|id| id.as_uuid()).into(),
            self.actor.as_ref().map(|actor| actor.kind().as_str()).into(),
            self.actor.as_ref().map(Actor::id).into(),
            self.action.as_ref().map(AuditAction::as_str).into(),
            Value::Integer(earliest.max(at)),
            Value::Integer(until),
            Value::Integer(at),
        ])
    }

    fn read<R: Row>(columns: &mut Columns<'_, R>, rows: &mut Vec<Self::Row>) -> Result<(), StoreError> {
        rows.push(columns.audit_entry()?);
        Ok(())
    }
}

impl SqlList for PlanFilter {
    fn statement<'s>(&self, sql: &'s Statements) -> &'s str {
        &sql.plans
    }

    fn values(&self, start: Option<SortKey>) -> Result<Vec<Value<'_>>, StoreError> {
        Ok(vec![after_name(start)?, self.name.as_deref().into()])
    }

    fn read<R: Row>(columns: &mut Columns<'_, R>, rows: &mut Vec<Self::Row>) -> Result<(), StoreError> {
        rows.push(columns.plan()?);
        Ok(())
    }
}

impl SqlList for RoleFilter {
    fn statement<'s>(&self, sql: &'s Statements) -> &'s str {
        &sql.roles
    }

    fn values(&self, start: Option<SortKey>) -> Result<Vec<Value<'_>>, StoreError> {
        Ok(vec![after_name(start)?, self.name.as_deref().into()])
    }

    fn read<R: Row>(columns: &mut Columns<'_, R>, rows: &mut Vec<Self::Row>) -> Result<(), StoreError> {
        rows.push(columns.role()?);
        Ok(())
    }
}

impl SqlList for ScopeFilter {
    fn statement<'s>(&self, sql: &'s Statements) -> &'s str {
        &sql.known_scopes
    }

    fn values(&self, start: Option<SortKey>) -> Result<Vec<Value<'_>>, StoreError> {
        Ok(vec![after_name(start)?])
    }

    fn read<R: Row>(columns: &mut Columns<'_, R>, rows: &mut Vec<Self::Row>) -> Result<(), StoreError> {
        rows.push(columns.known_scope()?);
        Ok(())
    }
}

impl SqlList for UserFilter {
    fn statement<'s>(&self, sql: &'s Statements) -> &'s str {
        &sql.users
    }

    fn values(&self, start: Option<SortKey>) -> Result<Vec<Value<'_>>, StoreError> {
        Ok(vec![
            after_name(start)?,
            self.organization.as_uuid().into(),
            self.status.map(UserStatus::as_str).into(),
        ])
    }

    fn read<R: Row>(columns: &mut Columns<'_, R>, rows: &mut Vec<Self::Row>) -> Result<(), StoreError> {
        rows.push(columns.user()?);
        Ok(())
    }
}

impl SqlCount for UserFilter {
    fn count_statement<'s>(&self, sql: &'s Statements) -> &'s str {
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

/// Where a list by id or by name begins and ends: ?3 and ?4 are the name and id after which it begins, ?5 the name before
/// which it ends.
fn range<'v>(prefix: Option<&str>, start: Option<SortKey>) -> Result<[Value<'v>; 3], StoreError> {
    let (name, id) = match (prefix, start) {
        (None, None) => (Value::Null, Uuid::nil()),
        (None, Some(SortKey::Id(id))) => (Value::Null, id),
        (Some(prefix), None) => (prefix.to_owned().into(), Uuid::nil()),
        (Some(_), Some(SortKey::Name(name, id))) => (name.into(), id),
        _ => return Err(StoreError::new(StoreErrorKind::InvalidCursor)),
    };
    Ok([name, id.into(), prefix.map(after_prefix).into()])
}
