//! What was made for which idempotency key, for stores that hold rows in memory.

use std::collections::{BTreeMap, HashMap};

use crate::key::{Actor, IdempotencyKey, IdempotencyRecord, OrganizationId};
use crate::store::query::{Answer, Query};
use crate::store::{StoreError, StoreErrorKind, Write};

/// What was made for which idempotency key, for stores that hold rows in memory.
#[derive(Clone, Debug, Default)]
pub struct IdempotencyRows {
    organizations: BTreeMap<OrganizationId, OfOrganization>,
}

type OfOrganization = HashMap<(Actor, IdempotencyKey), IdempotencyRecord>;

impl IdempotencyRows {
    /// Whether [`write`](Self::write) would make this write.
    ///
    /// # Errors
    /// Those of the [`Write`]. [`Unsupported`](StoreErrorKind::Unsupported) for a write of something else.
    pub fn check(&self, write: &Write) -> Result<(), StoreErrorKind> {
        match write {
            Write::InsertIdempotency(row) => {
                let stored = self.row(row.organization_id, &row.actor, &row.key);
                let is_free = stored.is_none_or(|stored| stored.is_over(row.created_at));
                is_free.then_some(()).ok_or(StoreErrorKind::AlreadyExists)
            }
            Write::PruneIdempotency { .. } | Write::ForgetPersonal(_) => Ok(()),
            _ => Err(StoreErrorKind::Unsupported),
        }
    }

    /// Makes a write of which [`Write::is_of_idempotency`] says so, or forgets what a person asked for.
    ///
    /// # Errors
    /// Those of [`check`](Self::check).
    pub fn write(&mut self, write: &Write) -> Result<(), StoreErrorKind> {
        self.check(write)?;
        match write {
            Write::InsertIdempotency(row) => {
                let rows = self.organizations.entry(row.organization_id).or_default();
                rows.insert((row.actor.clone(), row.key.clone()), row.clone());
                while rows.len() > IdempotencyRecord::MOST {
                    let first = rows.values().min_by_key(|row| row.key_id);
                    let Some(place) = first.map(|row| (row.actor.clone(), row.key.clone())) else {
                        break;
                    };
                    rows.remove(&place);
                }
            }
            Write::PruneIdempotency { before } => {
                for rows in self.organizations.values_mut() {
                    rows.retain(|_, row| !row.is_over(*before));
                }
                self.organizations.retain(|_, rows| !rows.is_empty());
            }
            Write::ForgetPersonal(forget) => {
                for (organization, rows) in &mut self.organizations {
                    rows.retain(|(caller, _), _| !forget.concerns_caller(*organization, caller));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Deletes the rows of an organization that is deleted.
    pub fn delete_of(&mut self, organization: OrganizationId) {
        self.organizations.remove(&organization);
    }

    /// Answers a query of which [`Query::is_of_idempotency`] says so.
    ///
    /// # Errors
    /// [`Unsupported`](StoreErrorKind::Unsupported) for a query about something else.
    pub fn read(&self, query: Query) -> Result<Answer, StoreError> {
        match query {
            Query::Idempotency(organization, actor, key) => {
                Ok(Answer::Idempotency(self.row(organization, &actor, &key).cloned()))
            }
            _ => Err(StoreError::new(StoreErrorKind::Unsupported)),
        }
    }

    fn row(&self, organization: OrganizationId, actor: &Actor, key: &IdempotencyKey) -> Option<&IdempotencyRecord> {
        let rows = self.organizations.get(&organization)?;
        rows.get(&(actor.clone(), key.clone()))
    }
}
