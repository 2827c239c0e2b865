//! The secret that cursors of lists are made under.

use super::realm::{ATTEMPTS, RealmSecrets, Rows, created, warn_if_unsealed};
use super::records::FIRST_ID;
use crate::clock::Clock;
use crate::key::{SecretPurpose, SecretState};
use crate::store::query::CursorKey;
use crate::store::{Commit, ManagedStore, StoreError, StoreErrorKind, Write};

impl RealmSecrets {
    /// The key of cursors. Read, and made if there is none, when the first list is read; every process has the same. A store
    /// that keeps no secrets has the default one, which anyone has.
    pub(crate) async fn cursor_key<S: ManagedStore>(&self, store: &S, clock: &Clock) -> Result<CursorKey, StoreError> {
        let key = self.cursors.get_or_try_init(|| self.read_cursor_key(store, clock));
        key.await.cloned()
    }

    async fn read_cursor_key<S: ManagedStore>(&self, store: &S, clock: &Clock) -> Result<CursorKey, StoreError> {
        let root_keys = self.load_root_keys()?;
        for _ in 0..ATTEMPTS {
            let Some(rows) = Rows::read(store).await?.filter(|_| store.fence().is_some()) else {
                return Ok(CursorKey::default());
            };
            let seals = rows.seals(root_keys.as_deref());
            let live = rows.secrets.iter().filter(|row| row.purpose == SecretPurpose::CURSOR);
            let live = live.filter(|row| row.state != SecretState::Retired);
            if let Some(row) = live.max_by_key(|row| row.active_from) {
                warn_if_unsealed(&rows.secrets);
                let problem = |error| StoreError::with_source(StoreErrorKind::InvalidRecord, error);
                return CursorKey::new(&seals.open(row)?).map_err(problem);
            }
            let now = clock.wall();
            let row = seals.generate(SecretPurpose::CURSOR, FIRST_ID.to_string(), now)?;
            let mut commit = Commit::new().audit(created(&row, now));
            commit.audit_key = self.audit_keys(store, clock).await?.current().cloned();
            let commit = commit.write(Write::InsertServerSecret(row));
            match store.commit(commit).await {
                Ok(_) => {}
                Err(error) if error.kind() == StoreErrorKind::AlreadyExists => {}
                Err(error) if error.kind() == StoreErrorKind::ReadOnly => return Ok(CursorKey::default()),
                Err(error) => return Err(error),
            }
        }
        Err(StoreError::new(StoreErrorKind::Conflict))
    }
}
