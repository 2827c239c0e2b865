//! A new identity and new secrets for a database that was copied.

use super::realm::{RealmSecrets, Rows};
use super::records::{Seals, unusable};
use super::rotation::next_id;
use crate::audit::AuditKey;
use crate::key::{Realm, RealmId, SecretPurpose, SecretState, ServerSecretRecord, Timestamp};
use crate::store::{ManagedStore, StoreError, StoreErrorKind, Write};

/// What makes a realm of its own out of a copy.
pub(crate) struct Adoption {
    pub(crate) writes: Vec<Write>,
    /// What the events of it are linked with.
    pub(crate) audit_key: Option<AuditKey>,
    /// The identity from before.
    pub(crate) was: RealmId,
    pub(crate) id: RealmId,
    /// Secrets that do not open, which are deleted.
    pub(crate) lost: usize,
}

impl RealmSecrets {
    /// Checksum secrets stay, retired, so that keys that were made with them stay valid; and those of the audit trail, so that what
    /// was there verifies. Both get a new one. Everything else of the servers is made anew when it is needed.
    pub(crate) async fn adoption<S: ManagedStore>(&self, store: &S, now: Timestamp) -> Result<Adoption, StoreError> {
        let root_keys = self.load_root_keys()?;
        let Some(rows) = Rows::read(store).await? else {
            return Err(unusable("it only finds keys, and has no identity"));
        };
        let old = rows.seals(root_keys.as_deref());
        let new = Seals {
            realm: RealmId::new(),
            root_keys: root_keys.as_deref(),
        };
        let mut adoption = Adoption {
            writes: vec![Write::AdoptRealm {
                was: rows.realm,
                row: Realm {
                    id: new.realm,
                    ..rows.realm
                },
            }],
            audit_key: None,
            was: rows.realm.id,
            id: new.realm,
            lost: 0,
        };
        for row in &rows.secrets {
            let is_kept = [SecretPurpose::CHECKSUM, SecretPurpose::AUDIT].contains(&row.purpose);
            match is_kept.then(|| old.open(row)) {
                Some(Ok(plain)) => {
                    let row_now = new.resealed(row, &plain)?;
                    adoption.writes.push(Write::UpdateServerSecret {
                        was: row.clone(),
                        row: row_now,
                    });
                }
                unopened => {
                    adoption.lost += usize::from(unopened.is_some());
                    adoption.writes.push(Write::DeleteServerSecret {
                        purpose: row.purpose.clone(),
                        id: row.id.clone(),
                        number: row.number,
                    });
                }
            }
        }
        // One that the other database does not have, so that neither makes events of the other one's trail.
        if root_keys.is_some() {
            let row = new.generate(SecretPurpose::AUDIT, new.realm.as_uuid().simple().to_string(), now)?;
            adoption.audit_key = Some(audit_key(&row.id, &new.open(&row)?)?);
            adoption.writes.push(Write::InsertServerSecret(row));
        }
        if !self.is_given() {
            let of_checksum: Vec<&ServerSecretRecord> = rows.of_checksum().collect();
            let (id, number) = next_id(&of_checksum).ok_or_else(|| StoreError::new(StoreErrorKind::LimitReached))?;
            let mut row = new.generate(SecretPurpose::CHECKSUM, id.to_string(), now)?;
            // The number is no part of the seal.
            row.number = number;
            adoption.writes.push(Write::InsertServerSecret(row));
        }
        Ok(adoption)
    }
}

impl Seals<'_> {
    /// The row with this secret, sealed here. It makes no more keys and events.
    fn resealed(&self, row: &ServerSecretRecord, plain: &[u8]) -> Result<ServerSecretRecord, StoreError> {
        let value = crate::key::SecretValue::new(plain.to_vec());
        let unsealed = ServerSecretRecord {
            state: SecretState::Retired,
            sealed_by: None,
            value,
            ..row.clone()
        };
        Ok(self.sealed(&unsealed)?.unwrap_or(unsealed))
    }
}

fn audit_key(id: &str, plain: &[u8]) -> Result<AuditKey, StoreError> {
    AuditKey::new(id, plain).map_err(|error| StoreError::with_source(StoreErrorKind::InvalidRecord, error))
}
