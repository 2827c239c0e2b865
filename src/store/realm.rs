//! The realm and its secrets, for stores that hold rows in memory.

use std::collections::BTreeMap;

use crate::fence::Change;
use crate::key::{Realm, SecretPurpose, ServerSecretRecord, Subject, Timestamp};
use crate::store::query::{Answer, Query, ServerSecretRecords};
use crate::store::{StoreErrorKind, Write};

/// The realm and its secrets, for stores that hold rows in memory.
#[derive(Clone, Debug)]
pub struct RealmRows {
    realm: Realm,
    secrets: BTreeMap<(SecretPurpose, String, u8), ServerSecretRecord>,
}

impl RealmRows {
    /// A new realm without secrets.
    pub fn new() -> Self {
        Self {
            realm: Realm::new(Timestamp::now()),
            secrets: BTreeMap::new(),
        }
    }

    /// Makes a write of the realm or of one of its secrets.
    ///
    /// # Errors
    /// Those of the [`Write`]. [`Unsupported`](StoreErrorKind::Unsupported) for a write of something else.
    pub fn write(&mut self, write: Write) -> Result<Change, StoreErrorKind> {
        match write {
            Write::UpdateRealm { was, row } => {
                let stored = (self.realm.id, self.realm.crc_accepted_until);
                if stored != (was.id, was.crc_accepted_until) || row.id != was.id {
                    return Err(StoreErrorKind::Conflict);
                }
                self.realm.crc_accepted_until = row.crc_accepted_until;
            }
            Write::InsertServerSecret(row) => {
                if self.secrets.contains_key(&place(&row)) {
                    return Err(StoreErrorKind::AlreadyExists);
                }
                self.secrets.insert(place(&row), row);
            }
            Write::UpdateServerSecret { was, row } => {
                let stored = self.secrets.get_mut(&place(&row)).ok_or(StoreErrorKind::NotFound)?;
                if !stored.is_same_as(&was) {
                    return Err(StoreErrorKind::Conflict);
                }
                *stored = row;
            }
            Write::DeleteServerSecret { purpose, id, number } => {
                let removed = self.secrets.remove(&(purpose, id, number));
                removed.ok_or(StoreErrorKind::NotFound)?;
            }
            _ => return Err(StoreErrorKind::Unsupported),
        }
        Ok(Change::new(Subject::Realm, 0))
    }

    /// Answers a query about the realm or its secrets.
    ///
    /// # Errors
    /// [`Unsupported`](StoreErrorKind::Unsupported) for another query.
    pub fn read(&self, query: Query) -> Result<Answer, StoreErrorKind> {
        match query {
            Query::Realm => Ok(Answer::Realm(self.realm)),
            Query::ServerSecrets(purpose) => {
                let is_asked = |row: &&ServerSecretRecord| purpose.as_ref().is_none_or(|one| row.purpose == *one);
                let rows = self.secrets.values().filter(is_asked);
                Ok(Answer::ServerSecrets(
                    rows.take(ServerSecretRecords::MOST).cloned().collect(),
                ))
            }
            _ => Err(StoreErrorKind::Unsupported),
        }
    }
}

impl Default for RealmRows {
    fn default() -> Self {
        Self::new()
    }
}

fn place(row: &ServerSecretRecord) -> (SecretPurpose, String, u8) {
    (row.purpose.clone(), row.id.clone(), row.number)
}
