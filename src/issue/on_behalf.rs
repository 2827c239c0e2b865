//! On whose behalf an issuer acts that is not on the host: with a key, or for a principal.

use super::authority::{Acting, Authority, forbidden};
use super::principal::{Principal, PrincipalAuthority, Standing};
use super::{principal, sight};
use crate::key::{KeyId, Lookup};
use crate::store::query::{Answer, Query};
use crate::store::{Candidate, Commit, Guard, ManagedStore, StoreError};

/// On whose behalf an issuer acts.
#[derive(Clone)]
pub(super) enum OnBehalf {
    Key(Authority),
    Principal(PrincipalAuthority),
}

/// The same, with what its commits are judged by.
pub(super) enum Judging {
    Key(Box<Acting>),
    Principal(Box<Standing>),
}

impl OnBehalf {
    /// The key that acts.
    pub(super) fn key(&self) -> Option<KeyId> {
        match self {
            Self::Key(authority) => Some(authority.key()),
            Self::Principal(_) => None,
        }
    }

    /// The principal that acts.
    pub(super) fn principal(&self) -> Option<&Principal> {
        match self {
            Self::Key(_) => None,
            Self::Principal(authority) => Some(authority.principal()),
        }
    }

    pub(super) async fn judging<S: ManagedStore>(&self, store: &S) -> Result<Judging, StoreError> {
        Ok(match self {
            Self::Key(authority) => Judging::Key(Box::new(authority.acting(store).await?)),
            Self::Principal(authority) => Judging::Principal(Box::new(authority.standing(store).await?)),
        })
    }

    pub(super) async fn find<S: ManagedStore>(
        &self,
        store: &S,
        lookup: &Lookup,
    ) -> Result<Option<Candidate>, StoreError> {
        match self {
            Self::Key(authority) => {
                let acting = authority.candidate(store).await?.organization;
                let found = store.find(lookup).await?;
                Ok(found.filter(|found| acting.is_operator || found.organization.id == acting.id))
            }
            Self::Principal(authority) => {
                let Some(found) = store.find(lookup).await? else {
                    return Ok(None);
                };
                let is_seen = principal::sees(store, authority, &found.record).await?;
                Ok(is_seen.then_some(found))
            }
        }
    }

    pub(super) async fn read<S: ManagedStore>(&self, store: &S, query: Query) -> Result<Answer, StoreError> {
        match self {
            Self::Key(authority) => {
                let acting = authority.candidate(store).await?;
                sight::read(store, &acting, query).await
            }
            Self::Principal(authority) => principal::read(store, authority, query).await,
        }
    }
}

impl Judging {
    /// # Errors
    /// [`Forbidden`](crate::store::StoreErrorKind::Forbidden) unless it is a key of the operator.
    pub(super) fn check_operator(&self) -> Result<(), StoreError> {
        match self {
            Self::Key(acting) => acting.check_operator(),
            Self::Principal(_) => Err(forbidden("this is for keys of the operator, and not for a login")),
        }
    }

    /// # Errors
    /// [`Forbidden`](crate::store::StoreErrorKind::Forbidden) for a principal that is disabled. A key that is was not read at all.
    pub(super) fn check_active(&self) -> Result<(), StoreError> {
        match self {
            Self::Key(_) => Ok(()),
            Self::Principal(standing) => standing.check_active(),
        }
    }

    /// What must hold for it to make this commit.
    ///
    /// # Errors
    /// Those of [`Acting::judge`] and [`Standing::judge`].
    pub(super) async fn judge<S: ManagedStore>(&self, store: &S, commit: &Commit) -> Result<Vec<Guard>, StoreError> {
        match self {
            Self::Key(acting) => acting.judge(store, commit).await,
            Self::Principal(standing) => standing.judge(store, commit).await,
        }
    }

    /// Whether nothing has changed that commits are judged by.
    pub(super) fn is_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Key(one), Self::Key(other)) => one.guards() == other.guards(),
            (Self::Principal(one), Self::Principal(other)) => one.is_as(other),
            _ => false,
        }
    }
}
