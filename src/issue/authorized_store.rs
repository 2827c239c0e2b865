//! The store of an issuer: with a key, it shows what that key may see, and takes what it may change.
//!
//! Whatever an issuer reads and writes goes through here, so a call that is added later cannot forget it.

use super::authority::Authority;
use super::sight;
use crate::clock::Clock;
use crate::fence::Fence;
use crate::key::{KeyFormats, KeyId, Lookup};
use crate::store::query::{Answer, Query};
use crate::store::{Candidate, Commit, Committed, KeyStore, ManagedStore, Sharing, StoreError, StoreErrorKind};

/// How often a commit is judged when the key that acts is changed each time.
const ATTEMPTS: usize = 8;

/// A store, as far as a key may read and change it; on the host, all of it.
// What is done for a key is in a box, so that the futures of the host are no larger for it.
#[derive(Clone)]
pub(crate) struct AuthorizedStore<S> {
    store: S,
    /// The key that acts; `None` on the host.
    authority: Option<Authority>,
}

impl<S> AuthorizedStore<S> {
    pub(super) fn of_host(store: S) -> Self {
        Self { store, authority: None }
    }

    pub(super) fn acting(self, authority: Authority) -> Self {
        let authority = Some(authority);
        Self { authority, ..self }
    }

    /// The key that acts, unless it is on the host.
    pub(super) fn acting_key(&self) -> Option<KeyId> {
        self.authority.as_ref().map(Authority::key)
    }

    /// All of the store: for what the crate needs itself, secrets of the servers and uses that wait. Never for what a caller gets.
    pub(super) fn unbounded(&self) -> &S {
        &self.store
    }
}

impl<S: ManagedStore> AuthorizedStore<S> {
    /// Before anything is done that no commit judges.
    ///
    /// # Errors
    /// [`Forbidden`](StoreErrorKind::Forbidden) when a key acts that is not the operator's.
    pub(super) async fn check_operator(&self) -> Result<(), StoreError> {
        match &self.authority {
            None => Ok(()),
            Some(authority) => Box::pin(authority.acting(&self.store)).await?.check_operator(),
        }
    }

    /// Whether a commit might be made, as far as the acting key decides about it.
    ///
    /// # Errors
    /// Those of a commit that it may not make.
    pub(super) async fn judge(&self, commit: &Commit) -> Result<(), StoreError> {
        let Some(authority) = &self.authority else {
            return Ok(());
        };
        let judged = async {
            let acting = authority.acting(&self.store).await?;
            acting.judge(&self.store, commit).await.map(drop)
        };
        Box::pin(judged).await
    }

    async fn find_with(&self, authority: &Authority, lookup: &Lookup) -> Result<Option<Candidate>, StoreError> {
        let acting = authority.candidate(&self.store).await?.organization;
        let found = self.store.find(lookup).await?;
        Ok(found.filter(|found| acting.is_operator || found.organization.id == acting.id))
    }

    async fn read_with(&self, authority: &Authority, query: Query) -> Result<Answer, StoreError> {
        let acting = authority.candidate(&self.store).await?;
        sight::read(&self.store, &acting, query).await
    }

    async fn commit_with(&self, authority: &Authority, commit: Commit) -> Result<Committed, StoreError> {
        let mut acting = authority.acting(&self.store).await?;
        for _ in 0..ATTEMPTS {
            let mut judged = commit.clone();
            judged.guards.extend(acting.judge(&self.store, &commit).await?);
            match self.store.commit(judged).await {
                Err(error) if error.kind() == StoreErrorKind::Conflict => {
                    let now = authority.acting(&self.store).await?;
                    if now.guards() == acting.guards() {
                        return Err(error);
                    }
                    // What the commit was prepared over may be as it was.
                    acting = now;
                }
                done => return done,
            }
        }
        Err(StoreError::new(StoreErrorKind::Conflict))
    }
}

impl<S: ManagedStore> KeyStore for AuthorizedStore<S> {
    async fn find(&self, lookup: &Lookup) -> Result<Option<Candidate>, StoreError> {
        match &self.authority {
            None => self.store.find(lookup).await,
            Some(authority) => Box::pin(self.find_with(authority, lookup)).await,
        }
    }

    fn fence(&self) -> Option<&Fence> {
        self.store.fence()
    }

    fn sharing(&self) -> Sharing {
        self.store.sharing()
    }

    fn formats(&self) -> Option<KeyFormats> {
        self.store.formats()
    }

    fn follow(&self, clock: &Clock) {
        self.store.follow(clock);
    }
}

impl<S: ManagedStore> ManagedStore for AuthorizedStore<S> {
    async fn commit(&self, commit: Commit) -> Result<Committed, StoreError> {
        match &self.authority {
            None => self.store.commit(commit).await,
            Some(authority) => Box::pin(self.commit_with(authority, commit)).await,
        }
    }

    async fn read(&self, query: Query) -> Result<Answer, StoreError> {
        match &self.authority {
            None => self.store.read(query).await,
            Some(authority) => Box::pin(self.read_with(authority, query)).await,
        }
    }
}
