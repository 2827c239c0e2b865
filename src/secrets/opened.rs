//! The secrets of a realm as one handle uses them.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::realm::RealmSecrets;
use super::settings::SecretSettings;
use crate::clock::{Clock, Monotonic};
use crate::key::{KeyFormats, RealmChecksum, Timestamp};
use crate::store::{ManagedStore, StoreError, StoreErrorKind};

/// The secrets of a realm, what verifies checksums with them, and how they are read again.
pub(crate) struct OpenedSecrets<S> {
    realm: Arc<RealmSecrets>,
    /// None in a handle that only checks, and has no given secret.
    checksum: Option<Arc<RealmChecksum>>,
    /// None where the store has no secrets.
    read: Option<ReadSecrets<S>>,
}

/// Reads the secrets again. A function pointer, because only they need a store that answers queries.
type ReadSecrets<S> =
    for<'a> fn(&'a RealmSecrets, &'a S) -> Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send + 'a>>;

fn read_again<S: ManagedStore>() -> ReadSecrets<S> {
    |secrets, store| Box::pin(secrets.read_again(store))
}

impl<S: ManagedStore> OpenedSecrets<S> {
    /// Reads the secrets from the store, and makes the first one.
    pub(crate) async fn open(settings: SecretSettings, store: &S, clock: &Clock) -> Result<Self, StoreError> {
        let realm = Arc::new(RealmSecrets::new(settings));
        let checksum = realm.open(store, clock).await?.cloned();
        Ok(Self {
            realm,
            checksum,
            read: Some(read_again()),
        })
    }
}

impl<S> OpenedSecrets<S> {
    /// Secrets that are given need no store.
    pub(crate) fn without_store(settings: SecretSettings) -> Self {
        let realm = Arc::new(RealmSecrets::new(settings));
        let checksum = realm.without_store();
        Self {
            realm,
            checksum,
            read: None,
        }
    }

    /// The same secrets, for the same rows behind another type of store.
    pub(crate) fn over<T: ManagedStore>(&self) -> OpenedSecrets<T> {
        OpenedSecrets {
            realm: self.realm.clone(),
            checksum: self.checksum.clone(),
            read: Some(read_again()),
        }
    }

    pub(crate) fn realm(&self) -> &Arc<RealmSecrets> {
        &self.realm
    }

    /// The formats, with these secrets behind them.
    pub(crate) fn bind(&self, formats: KeyFormats) -> KeyFormats {
        match &self.checksum {
            Some(checksum) => formats.bound_to(checksum),
            None => formats,
        }
    }

    /// Until when keys with a CRC-32 are accepted, if the realm says so.
    pub(crate) fn crc_accepted_until(&self) -> Option<Timestamp> {
        Some(self.checksum.as_ref()?.now().crc_accepted_until())
    }

    /// Whether everything has changed since the secrets were read, or they were read longer ago than this.
    pub(crate) fn are_outdated(&self, epoch: u64, now: Monotonic, age: Duration) -> bool {
        let checksum = self.checksum.as_ref().filter(|_| self.read.is_some());
        checksum.is_some_and(|checksum| self.realm.is_outdated(checksum, epoch, now, age))
    }

    /// Whether the secrets were read just now, if no read is needed to tell.
    pub(crate) fn were_read(&self, now: Monotonic, epoch: u64) -> Option<bool> {
        match self.read {
            Some(_) => self.realm.reading().answer(now, epoch),
            None => Some(true),
        }
    }

    /// Reads the secrets again.
    pub(crate) async fn read_again(&self, store: &S, limit: Duration) -> Result<(), StoreError> {
        let Some(read) = self.read else {
            return Ok(());
        };
        match timeout(limit, read(&self.realm, store)).await {
            Ok(read) => read,
            Err(elapsed) => Err(StoreError::with_source(StoreErrorKind::Unavailable, elapsed)),
        }
    }
}
