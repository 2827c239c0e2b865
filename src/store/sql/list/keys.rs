//! Lists of keys.

use super::super::dialect::Statement;
use super::super::row::Columns;
use super::super::statement::{Lists, Statements, after_prefix};
use super::super::value::Value;
use super::{SqlCount, SqlList, end_of, range};
use crate::key::KeyStatus;
use crate::store::query::{KeyFilter, SortKey};
use crate::store::{StoreError, StoredKey};

/// Which index leads to the keys of a list, besides those of all and of one organization.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lead {
    Id,
    Name,
    Creator,
    User,
    Label,
    Status,
}

impl KeyFilter {
    /// The one that leaves the fewest keys, usually.
    fn lead(&self) -> Lead {
        let is_owned = self.organization.is_some();
        if self.name.is_some() {
            Lead::Name
        } else if self.created_by_key.is_some() {
            Lead::Creator
        } else if is_owned && self.user.is_some() {
            Lead::User
        } else if self.label.is_some() {
            Lead::Label
        } else if is_owned && self.status.is_some() {
            Lead::Status
        } else {
            Lead::Id
        }
    }

    fn lists<'s>(&self, sql: &'s Statements) -> &'s Lists {
        match (self.lead(), self.organization.is_some()) {
            (Lead::Id, false) => &sql.keys.all,
            (Lead::Id, true) => &sql.keys.owned,
            (Lead::Name, false) => &sql.keys.named,
            (Lead::Name, true) => &sql.keys.owned_named,
            (Lead::Creator, _) => &sql.keys.of_creator,
            (Lead::User, _) => &sql.keys.of_user,
            (Lead::Label, false) => &sql.keys.labelled,
            (Lead::Label, true) => &sql.keys.owned_labelled,
            (Lead::Status, _) => &sql.keys.of_status,
        }
    }

    /// Whether it leaves out keys to which the index leads.
    fn has_more_than_lead(&self) -> bool {
        let all = Self::default();
        let organization = self.organization;
        let led = match self.lead() {
            Lead::Id => Self { organization, ..all },
            Lead::Name => Self {
                organization,
                name: self.name.clone(),
                ..all
            },
            // Of all organizations.
            Lead::Creator => Self {
                created_by_key: self.created_by_key,
                ..all
            },
            Lead::User => Self {
                organization,
                user: self.user.clone(),
                ..all
            },
            Lead::Label => Self {
                organization,
                label: self.label.clone(),
                ..all
            },
            Lead::Status => Self {
                organization,
                status: self.status,
                ..all
            },
        };
        *self != led
    }

    /// Whether an index counts them: those of a status that end after a time or until one.
    fn is_by_end(&self) -> bool {
        let by_status = Self {
            organization: self.organization,
            status: self.status,
            ends_after: self.ends_after,
            ends_until: self.ends_until,
            ..Self::default()
        };
        let has_end = self.ends_after.is_some() || self.ends_until.is_some();
        self.lead() == Lead::Status && has_end && *self == by_status
    }
}

impl SqlList for KeyFilter {
    fn statement<'s>(&self, sql: &'s Statements) -> &'s Statement {
        &self.lists(sql).page
    }

    fn end_statement<'s>(&self, sql: &'s Statements) -> Option<&'s Statement> {
        self.has_more_than_lead().then(|| &self.lists(sql).last)
    }

    fn read_end(&self, columns: &mut Columns<'_>) -> Result<SortKey, StoreError> {
        end_of(self.name.as_deref(), columns)
    }

    /// Where the list begins and ends, and the filters.
    fn values(&self, start: Option<SortKey>, end: Option<&SortKey>) -> Result<Vec<Value<'_>>, StoreError> {
        let lookup = self.lookup.as_deref();
        let (range, end) = range(self.name.as_deref(), start, end)?;
        let mut values = Vec::from(range);
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
            end,
        ]);
        Ok(values)
    }

    fn place(&self, columns: &mut Columns<'_>) -> Result<Option<SortKey>, StoreError> {
        self.name.as_ref().map(|_| columns.folded(5)).transpose()
    }

    /// One row for each secret. Those of one key follow each other.
    fn read(columns: &mut Columns<'_>, rows: &mut Vec<StoredKey>) -> Result<(), StoreError> {
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
    fn count_statement<'s>(&self, sql: &'s Statements) -> &'s Statement {
        match self.is_by_end() {
            true => &sql.keys.count_by_end,
            false => &self.lists(sql).count,
        }
    }

    fn end_of_count_statement<'s>(&self, sql: &'s Statements) -> Option<&'s Statement> {
        match self.is_by_end() {
            true => None,
            false => self.end_statement(sql),
        }
    }
}
