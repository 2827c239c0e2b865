//! Keys that are created with other keys: they get no more than those have.

use super::error::{IssueError, IssueErrorKind};
use super::grantor::{Grantor, Lack};
use super::issuer::Issuer;
use crate::error::quoted;
use crate::key::{KeyId, KeyRecord, Organization, Timestamp};
use crate::store::{Guard, KeyStore, ManagedStore, StoreExt};

const FIELD: &str = "created_by_key";

/// A key that works, with which another one is to be created.
pub(super) struct Creator {
    grantor: Grantor,
    /// Its end, whichever secret it is used with.
    pub(super) ends_at: Option<Timestamp>,
}

impl<S: ManagedStore> Issuer<S> {
    /// The creator, if it is a key of this organization that works now.
    pub(super) async fn creator(&self, id: KeyId, organization: &Organization) -> Result<Creator, IssueError> {
        let missing = || {
            IssueError::about(
                IssueErrorKind::NotFound,
                FIELD,
                "the organization has no such creator key",
            )
        };
        let stopped = || IssueError::not_allowed(FIELD, "the creator key does not work any more");
        let stored = self.store.get(id).await?.ok_or_else(missing)?;
        // The same for one of another organization: whether it exists is none of this one's business.
        if stored.record.organization_id != organization.id {
            return Err(missing());
        }
        let is_live = |end: Option<Timestamp>| end.is_none_or(|end| !self.clock.is_over(end));
        let secret = stored.secrets.iter().rev().find(|secret| is_live(secret.ends_at()));
        let lookup = &secret.ok_or_else(stopped)?.lookup;
        let found = self.store.find(lookup).await?.ok_or_else(stopped)?;
        let works = found.record.id == id && found.works(self.clock.wall());
        let grantor = Grantor::read(&self.store, found).await?;
        let ends_at = grantor.ends_at();
        match works && is_live(ends_at) {
            true => Ok(Creator { grantor, ends_at }),
            false => Err(stopped()),
        }
    }
}

impl Creator {
    /// That it still has all that it was judged by.
    pub(super) fn guards(&self) -> Vec<Guard> {
        self.grantor.guards()
    }

    /// Whether it has all that the new key is to have.
    pub(super) fn covers(&self, record: &KeyRecord, expires_at: Option<Timestamp>) -> Result<(), IssueError> {
        if let Some(lack) = self.grantor.lacks(record) {
            let (field, sentence) = self.sentence(&lack);
            return Err(IssueError::not_allowed(field, sentence));
        }
        match (expires_at, self.ends_at) {
            (Some(end), Some(latest)) if end > latest => Err(IssueError::not_allowed(
                "expiry",
                format!("the creator key ends at {latest}; asked for was {end}"),
            )),
            _ => Ok(()),
        }
    }

    /// The field, and what the creator has.
    fn sentence(&self, lack: &Lack<'_>) -> (&'static str, String) {
        match lack {
            Lack::Scope(scope) => {
                let sentence = format!("the creator key does not have the scope {}", quoted(scope));
                ("scopes", sentence)
            }
            Lack::Role(role) => {
                let sentence = format!("the creator key does not have the role {}", quoted(role));
                ("roles", sentence)
            }
            Lack::Networks => {
                let sentence = "the creator key may not be used from all of these networks";
                ("networks", sentence.to_owned())
            }
            Lack::Environment => {
                let own = self.grantor.candidate().record.environment.as_deref();
                let own = own.map_or_else(|| "none".to_owned(), quoted);
                (
                    "environment",
                    format!("the environment must be that of the creator key, {own}"),
                )
            }
            Lack::Limit(name) => {
                let sentence = format!(
                    "the limit {} must be no looser than that of the creator key",
                    quoted(name)
                );
                ("limits", sentence)
            }
        }
    }
}
