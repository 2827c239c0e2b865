//! Writes of rows that are held in memory, for stores that do so.

use crate::fence::Change;
use crate::key::{KeyRecord, KeySecret, KeyState, Lookup, Organization, SecretHash, StateChange};
use crate::store::{Candidate, StoreErrorKind, StoredKey, Write};

/// Replaces an organization as [`Write::UpdateOrganization`] does, for stores that hold rows in memory.
///
/// # Errors
/// [`Conflict`](StoreErrorKind::Conflict) when the revision is not the stored one.
pub fn replace_organization(stored: &mut Organization, mut row: Organization) -> Result<Change, StoreErrorKind> {
    row.revision = next_revision(stored.revision, row.revision)?;
    *stored = row;
    Ok(Change::new(stored.id, stored.revision))
}

impl StoredKey {
    /// The secret with this lookup.
    pub fn secret(&self, lookup: &Lookup) -> Option<&KeySecret> {
        self.secrets.iter().find(|secret| secret.lookup == *lookup)
    }

    /// Whether one of its secrets has this hash.
    pub fn has_hash(&self, hash: &SecretHash) -> bool {
        self.secrets.iter().any(|secret| secret.hash == *hash)
    }

    /// What [`find`](crate::store::KeyStore::find) answers for this lookup, if the key has it.
    pub fn candidate(&self, lookup: &Lookup, organization: &Organization) -> Option<Candidate> {
        let secret = self.secret(lookup)?;
        Some(Candidate::new(
            self.record.clone(),
            secret.clone(),
            organization.clone(),
        ))
    }

    /// Replaces the record as [`Write::UpdateKey`] does, for stores that hold rows in memory.
    ///
    /// # Errors
    /// [`NotFound`](StoreErrorKind::NotFound) when the record is of another organization,
    /// [`Conflict`](StoreErrorKind::Conflict) when the revision is not the stored one.
    pub fn replace_record(&mut self, mut record: KeyRecord) -> Result<Change, StoreErrorKind> {
        if self.record.organization_id != record.organization_id {
            return Err(StoreErrorKind::NotFound);
        }
        record.revision = next_revision(self.record.revision, record.revision)?;
        self.record = record;
        Ok(Change::new(self.record.id, self.record.revision))
    }

    /// Sets the state as [`Write::SetKeyState`] does, for stores that hold rows in memory.
    ///
    /// # Errors
    /// [`Conflict`](StoreErrorKind::Conflict) when it is no more in the state that was read.
    pub fn set_state(&mut self, change: StateChange) -> Result<Change, StoreErrorKind> {
        if KeyState::of(&self.record) != change.was {
            return Err(StoreErrorKind::Conflict);
        }
        self.record.revision = next_revision(self.record.revision, self.record.revision)?;
        change.state.set(&mut self.record);
        Ok(Change::new(self.record.id, self.record.revision))
    }

    /// Makes a write of one of the key's secrets, for stores that hold rows in memory. That an inserted lookup is free in
    /// the whole store is checked by the store.
    ///
    /// # Errors
    /// Those of the [`Write`]. [`Unsupported`](StoreErrorKind::Unsupported) for a write of something else.
    pub fn write_secret(&mut self, write: Write) -> Result<(), StoreErrorKind> {
        match write {
            Write::InsertSecret(_, secret) => self.secrets.push(secret),
            Write::UpdateSecret {
                lookup,
                expires_at,
                grace_ends_at,
                ..
            } => {
                let secret = self.secret_mut(&lookup).ok_or(StoreErrorKind::NotFound)?;
                (secret.expires_at, secret.grace_ends_at) = (expires_at, grace_ends_at);
            }
            Write::DeleteSecret { lookup, .. } => {
                self.secret(&lookup).ok_or(StoreErrorKind::NotFound)?;
                self.secrets.retain(|secret| secret.lookup != lookup);
            }
            Write::ReplaceHash { lookup, old, new } => {
                let secret = self.secret_mut(&lookup).filter(|secret| secret.hash == old);
                secret.ok_or(StoreErrorKind::Conflict)?.hash = new;
            }
            _ => return Err(StoreErrorKind::Unsupported),
        }
        Ok(())
    }

    fn secret_mut(&mut self, lookup: &Lookup) -> Option<&mut KeySecret> {
        self.secrets.iter_mut().find(|secret| secret.lookup == *lookup)
    }
}

/// The revision after an update of a row.
pub(super) fn next_revision(stored: u64, given: u64) -> Result<u64, StoreErrorKind> {
    if stored != given {
        return Err(StoreErrorKind::Conflict);
    }
    stored.checked_add(1).ok_or(StoreErrorKind::InvalidRecord)
}
