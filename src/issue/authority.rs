//! The key that an issuer acts with.

use super::grantor::Grantor;
use crate::clock::Clock;
use crate::key::{KeyId, Lookup, OrganizationId, Timestamp};
use crate::store::{Candidate, Guard, KeyStore, ManagedStore, StoreError, StoreErrorKind};

/// The key that an issuer acts with.
#[derive(Clone)]
pub(super) struct Authority {
    key: KeyId,
    lookup: Lookup,
    clock: Clock,
}

/// The acting key with what it has, as it was read to judge a commit.
pub(super) struct Acting {
    pub(super) grantor: Grantor,
    pub(super) at: Timestamp,
}

impl Authority {
    pub(super) fn new(key: KeyId, lookup: Lookup, clock: Clock) -> Self {
        Self { key, lookup, clock }
    }

    pub(super) fn key(&self) -> KeyId {
        self.key
    }

    /// The key as it is now.
    ///
    /// # Errors
    /// [`Forbidden`](StoreErrorKind::Forbidden) when it does not work any more.
    pub(super) async fn candidate<S: KeyStore>(&self, store: &S) -> Result<Candidate, StoreError> {
        let found = store.find(&self.lookup).await?;
        let found = found.filter(|found| found.record.id == self.key && found.works(self.clock.wall()));
        found.ok_or_else(|| forbidden("the key that acts does not work any more"))
    }

    /// The same, with all that its commits are judged by.
    pub(super) async fn acting<S: ManagedStore>(&self, store: &S) -> Result<Acting, StoreError> {
        let at = self.clock.wall();
        let grantor = Grantor::read(store, self.candidate(store).await?).await?;
        Ok(Acting { grantor, at })
    }
}

impl Acting {
    /// What must still hold when its commit is made.
    pub(super) fn guards(&self) -> Vec<Guard> {
        let secret = &self.candidate().secret;
        let mut guards = self.grantor.guards();
        // One that is ended by hand raises no revision.
        guards.push(Guard::SecretEnds {
            key: self.candidate().record.id,
            lookup: secret.lookup.clone(),
            expires_at: secret.expires_at,
            grace_ends_at: secret.grace_ends_at,
        });
        guards
    }

    pub(super) fn candidate(&self) -> &Candidate {
        self.grantor.candidate()
    }

    pub(super) fn is_operator(&self) -> bool {
        self.candidate().organization.is_operator
    }

    pub(super) fn organization(&self) -> OrganizationId {
        self.candidate().organization.id
    }
}

pub(super) fn allowed(holds: bool, otherwise: &'static str) -> Result<(), StoreError> {
    match holds {
        true => Ok(()),
        false => Err(forbidden(otherwise)),
    }
}

pub(super) fn forbidden(problem: &'static str) -> StoreError {
    StoreError::with_source(StoreErrorKind::Forbidden, problem)
}
