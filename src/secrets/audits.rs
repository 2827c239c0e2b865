//! The secret that audit chains are keyed with.

use super::realm::{ATTEMPTS, RealmSecrets, Rows, created};
use super::records::FIRST_ID;
use crate::audit::{AuditKey, AuditKeys};
use crate::clock::Clock;
use crate::key::{OrganizationId, SecretPurpose, SecretState, ServerSecretRecord};
use crate::store::query::AuditChains;
use crate::store::{Commit, ManagedStore, StoreError, StoreErrorKind, StoreExt, Write};

/// Of a secret that was made when the store had events already, whose hashes have no key. The id is sealed with the secret, so
/// nobody without the root key makes one of the other.
const LATER_ID: &str = "1";

impl RealmSecrets {
    /// The keys of audit chains: read, and made if there is none and there is a root key. None without a root key.
    pub(crate) async fn audit_keys<S: ManagedStore>(&self, store: &S, clock: &Clock) -> Result<&AuditKeys, StoreError> {
        self.audit.get_or_try_init(|| self.read_audit_keys(store, clock)).await
    }

    async fn read_audit_keys<S: ManagedStore>(&self, store: &S, clock: &Clock) -> Result<AuditKeys, StoreError> {
        let root_keys = self.load_root_keys()?;
        for _ in 0..ATTEMPTS {
            let Some(rows) = Rows::read(store).await? else {
                return Ok(AuditKeys::default());
            };
            let seals = rows.seals(root_keys.as_deref());
            let open = |row: &ServerSecretRecord| {
                let problem = |error| StoreError::with_source(StoreErrorKind::InvalidRecord, error);
                AuditKey::new(&row.id, &seals.open(row)?).map_err(problem)
            };
            let mut stored: Vec<_> = rows
                .secrets
                .iter()
                .filter(|row| row.purpose == SecretPurpose::AUDIT)
                .collect();
            if !stored.is_empty() {
                // Those that the database had before it was adopted come first, whatever the clock was.
                stored.sort_by_key(|row| (row.state != SecretState::Retired, row.active_from));
                let from_the_start = stored.iter().any(|row| row.id == FIRST_ID.to_string());
                let keys: Result<Vec<AuditKey>, StoreError> = stored.into_iter().map(open).collect();
                return Ok(AuditKeys::new(keys?, from_the_start));
            }
            if root_keys.is_none() {
                return Ok(AuditKeys::default());
            }
            let id = match has_events(store).await? {
                true => LATER_ID.to_owned(),
                false => FIRST_ID.to_string(),
            };
            let now = clock.wall();
            let row = seals.generate(SecretPurpose::AUDIT, id, now)?;
            let mut commit = Commit::new().audit(created(&row, now));
            commit.audit_key = Some(open(&row)?);
            match store.commit(commit.write(Write::InsertServerSecret(row))).await {
                Ok(_) => {}
                Err(error) if error.kind() == StoreErrorKind::AlreadyExists => {}
                Err(error) if error.kind() == StoreErrorKind::ReadOnly => return Ok(AuditKeys::default()),
                Err(error) => return Err(error),
            }
        }
        Err(StoreError::new(StoreErrorKind::Conflict))
    }
}

async fn has_events<S: ManagedStore>(store: &S) -> Result<bool, StoreError> {
    let first = AuditChains::from(OrganizationId::from(uuid::Uuid::nil()));
    match store.get(first).await {
        Ok(chains) => Ok(!chains.is_empty()),
        Err(error) if error.kind() == StoreErrorKind::Unsupported => Ok(true),
        Err(error) => Err(error),
    }
}
