//! The store of an issuer: with a key or for a principal, it shows what that one may see, and takes what it may change.
//!
//! Whatever an issuer reads and writes goes through here, so a call that is added later cannot forget it.

use super::on_behalf::OnBehalf;
use super::principal::Principal;
use super::unchanged::Unchanged;
use crate::clock::Clock;
use crate::fence::Fence;
use crate::key::{KeyFormats, KeyId, Lookup};
use crate::store::query::{Answer, Query};
use crate::store::{Candidate, Commit, Committed, KeyStore, ManagedStore, Sharing, StoreError, StoreErrorKind};

/// How often a commit is judged when the key that acts, or what holds for the principal, is changed each time.
const ATTEMPTS: usize = 8;

/// A store, as far as a key or a principal may read and change it; on the host, all of it.
// What is done for those is in a box, so that the futures of the host are no larger for it.
#[derive(Clone)]
pub(crate) struct AuthorizedStore<S> {
    store: S,
    /// Who acts; `None` on the host.
    authority: Option<OnBehalf>,
    /// What the next commit is for, if it is for one revision of a row.
    unchanged: Option<Unchanged>,
}

impl<S> AuthorizedStore<S> {
    pub(super) fn of_host(store: S) -> Self {
        Self {
            store,
            authority: None,
            unchanged: None,
        }
    }

    pub(super) fn acting(self, authority: OnBehalf) -> Self {
        let authority = Some(authority);
        Self { authority, ..self }
    }

    /// Its next commit is made only if a row is unchanged, and until then no other revision of it is read.
    pub(super) fn if_unchanged(self, row: Unchanged) -> Self {
        let unchanged = Some(row);
        Self { unchanged, ..self }
    }

    /// The key that acts, if it is one.
    pub(super) fn acting_key(&self) -> Option<KeyId> {
        self.authority.as_ref().and_then(OnBehalf::key)
    }

    /// The principal that it acts for.
    pub(super) fn principal(&self) -> Option<&Principal> {
        self.authority.as_ref().and_then(OnBehalf::principal)
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
    /// [`Forbidden`](StoreErrorKind::Forbidden) unless the host acts, or a key of the operator.
    pub(super) async fn check_operator(&self) -> Result<(), StoreError> {
        match &self.authority {
            None => Ok(()),
            Some(authority) => Box::pin(authority.judging(&self.store)).await?.check_operator(),
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
            let acting = authority.judging(&self.store).await?;
            acting.judge(&self.store, commit).await.map(drop)
        };
        Box::pin(judged).await
    }

    /// Before work is done for something that is granted.
    ///
    /// # Errors
    /// [`Forbidden`](StoreErrorKind::Forbidden) when it acts for a principal whose user or organization is not active.
    pub(super) async fn check_active(&self) -> Result<(), StoreError> {
        match &self.authority {
            None | Some(OnBehalf::Key(_)) => Ok(()),
            Some(authority) => Box::pin(authority.judging(&self.store)).await?.check_active(),
        }
    }

    async fn commit_now(&self, commit: Commit) -> Result<Committed, StoreError> {
        match &self.authority {
            None => self.store.commit(commit).await,
            Some(authority) => Box::pin(self.commit_with(authority, commit)).await,
        }
    }

    /// A commit that is for one revision of a row.
    async fn commit_if(&self, row: &Unchanged, mut commit: Commit) -> Result<Committed, StoreError> {
        if commit.writes.is_empty() {
            // There was nothing to do, to a row that may be another one by now.
            row.read_again(self).await?;
            return self.commit_now(commit).await;
        }
        commit.guards.push(row.guard());
        let committed = self.commit_now(commit).await;
        match &committed {
            Ok(_) => row.end(),
            // Of this row or of another one: it must not be tried again over what this one is now.
            Err(error) if error.kind() == StoreErrorKind::Conflict => row.read_again(self).await?,
            Err(_) => {}
        }
        committed
    }

    async fn commit_with(&self, authority: &OnBehalf, commit: Commit) -> Result<Committed, StoreError> {
        let mut acting = authority.judging(&self.store).await?;
        for _ in 0..ATTEMPTS {
            let mut judged = commit.clone();
            judged.guards.extend(acting.judge(&self.store, &commit).await?);
            match self.store.commit(judged).await {
                Err(error) if error.kind() == StoreErrorKind::Conflict => {
                    let now = authority.judging(&self.store).await?;
                    if now.is_as(&acting) {
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
            Some(authority) => Box::pin(authority.find(&self.store, lookup)).await,
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
        match self.unchanged.as_ref().filter(|row| row.is_pending()) {
            None => self.commit_now(commit).await,
            Some(row) => Box::pin(self.commit_if(row, commit)).await,
        }
    }

    async fn read(&self, query: Query) -> Result<Answer, StoreError> {
        let unchanged = self.unchanged.as_ref();
        let unchanged = unchanged.filter(|row| row.is_pending() && row.is_asked_by(&query));
        let answer = match &self.authority {
            None => self.store.read(query).await,
            Some(authority) => Box::pin(authority.read(&self.store, query)).await,
        }?;
        match unchanged {
            None => Ok(answer),
            Some(row) => row.check(&answer).map(|()| answer),
        }
    }
}
