//! Lists of audit events.

use uuid::Uuid;

use super::super::dialect::Statement;
use super::super::row::Columns;
use super::super::statement::Statements;
use super::super::value::Value;
use super::SqlList;
use crate::audit::AuditAction;
use crate::key::{Actor, Timestamp};
use crate::store::query::{AuditFilter, SortKey};
use crate::store::{StoreError, StoreErrorKind};

impl SqlList for AuditFilter {
    fn statement<'s>(&self, sql: &'s Statements) -> &'s Statement {
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

    /// A key may be of events of several organizations, and an index knows an actor by its id alone.
    fn end_statement<'s>(&self, sql: &'s Statements) -> Option<&'s Statement> {
        let is_owned = self.organization.is_some();
        let (has_actor, has_action) = (self.actor.is_some(), self.action.is_some());
        if self.commit.is_some() {
            None
        } else if self.key.is_some() {
            (is_owned || has_actor || has_action).then_some(&sql.audit.last_of_events_of_key)
        } else if is_owned {
            has_actor.then_some(&sql.audit.last_of_events_of_actor)
        } else {
            (has_actor || has_action).then_some(&sql.audit.last_of_events_by_time)
        }
    }

    fn read_end(&self, columns: &mut Columns<'_>) -> Result<SortKey, StoreError> {
        let at = columns.time("at")?.as_millis();
        Ok(SortKey::Time(
            at,
            columns.uuid("organization_id")?,
            columns.count("seq")?,
        ))
    }

    fn values(&self, start: Option<SortKey>, end: Option<&SortKey>) -> Result<Vec<Value<'_>>, StoreError> {
        let organization = self.organization.map(|id| id.as_uuid());
        let (at, from, seq) = match start {
            None => (i64::MIN, organization.unwrap_or_default(), 0),
            Some(SortKey::Entry(id, seq)) => (i64::MIN, organization.unwrap_or(id), seq),
            Some(SortKey::Time(at, id, seq)) => (at, id, seq),
            Some(_) => return Err(StoreError::new(StoreErrorKind::InvalidCursor)),
        };
        let earliest = self.from.map_or(i64::MIN, Timestamp::as_millis);
        let until = self.until.map_or(i64::MAX, |until| until.as_millis().saturating_sub(1));
        let (until, last, last_seq) = match end {
            Some(SortKey::Time(at, id, seq)) => (*at, *id, i64::try_from(*seq).unwrap_or(i64::MAX)),
            _ => (until, Uuid::max(), i64::MAX),
        };
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
            last.into(),
            Value::Integer(last_seq),
        ])
    }

    fn read(columns: &mut Columns<'_>, rows: &mut Vec<Self::Row>) -> Result<(), StoreError> {
        rows.push(columns.audit_entry()?);
        Ok(())
    }
}
