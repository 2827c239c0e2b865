//! The key that an issuer acts with.

use super::grantor::Grantor;
use crate::clock::Clock;
use crate::key::{KeyId, Lookup, OrganizationId, Timestamp};
use crate::store::{Barrier, Candidate, Guard, KeyStore, ManagedStore, StoreError, StoreErrorKind};

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

/// Why the key that acts does not work any more, which worked when its request was admitted: perhaps another process has stopped it.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the key that acts does not work any more")]
#[cfg_attr(not(feature = "manage"), allow(dead_code, reason = "the management API asks which"))]
pub(crate) enum EndedKey {
    /// It was deleted, or its secret replaced.
    Gone,
    Stopped(Barrier),
    Expired,
    /// Keys of its organization must be bound to networks by now, and it is not.
    Unbound,
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
        let ended = match found.filter(|found| found.record.id == self.key) {
            None => EndedKey::Gone,
            Some(found) if found.works(self.clock.wall()) => return Ok(found),
            Some(found) => EndedKey::of(&found),
        };
        Err(StoreError::with_source(StoreErrorKind::Forbidden, ended))
    }

    /// The same, with all that its commits are judged by.
    pub(super) async fn acting<S: ManagedStore>(&self, store: &S) -> Result<Acting, StoreError> {
        let at = self.clock.wall();
        let grantor = Grantor::read(store, self.candidate(store).await?).await?;
        Ok(Acting { grantor, at })
    }
}

impl EndedKey {
    fn of(candidate: &Candidate) -> Self {
        match candidate.barrier() {
            Some(barrier) => Self::Stopped(barrier),
            None if candidate.lacks_networks() => Self::Unbound,
            None => Self::Expired,
        }
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
