//! Keys that are created with other keys: they get no more than those have.

use super::error::{IssueError, IssueErrorKind};
use super::issuer::Issuer;
use crate::error::quoted;
use crate::key::{KeyId, KeyRecord, Networks, Organization, RoleNames, ScopeSet, Timestamp, UserId};
use crate::store::{Candidate, ManagedStore, StoreExt};

const FIELD: &str = "created_by_key";

/// A key that works, with which another one is to be created.
pub(super) struct Creator {
    pub(super) id: KeyId,
    pub(super) revision: u64,
    /// Its end, whichever secret it is used with.
    pub(super) ends_at: Option<Timestamp>,
    pub(super) user: Option<UserId>,
    scopes: ScopeSet,
    roles: RoleNames,
    networks: Networks,
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
        let mut found = self.store.find(lookup).await?.ok_or_else(stopped)?;
        (found.secret.expires_at, found.secret.grace_ends_at) = (None, None);
        if found.record.id != id || found.barrier().is_some() || !is_live(found.ends_at()) {
            return Err(stopped());
        }
        Ok(Creator::of(found))
    }
}

impl Creator {
    fn of(found: Candidate) -> Self {
        let (ends_at, scopes) = (found.ends_at(), found.scopes());
        let record = found.record;
        Self {
            id: record.id,
            revision: record.revision,
            ends_at,
            user: record.user,
            scopes,
            roles: record.roles,
            networks: record.networks,
        }
    }

    /// Whether it has all that the new key is to have.
    pub(super) fn covers(&self, record: &KeyRecord, expires_at: Option<Timestamp>) -> Result<(), IssueError> {
        let lacks = |text: &&str| !text.parse().is_ok_and(|scope| self.scopes.allows(&scope));
        if let Some(scope) = record.scopes.iter().find(lacks) {
            let sentence = format!("the creator key does not have the scope {}", quoted(scope));
            return Err(IssueError::not_allowed("scopes", sentence));
        }
        // By name, not by what the role allows today: the new key would grow with the role, and the creator would not.
        if let Some(role) = record.roles.iter().find(|role| !self.roles.contains(role)) {
            let sentence = format!("the creator key does not have the role {}", quoted(role));
            return Err(IssueError::not_allowed("roles", sentence));
        }
        if !self.networks.is_empty() && (record.networks.is_empty() || !record.networks.are_within(&self.networks)) {
            let sentence = "the creator key may not be used from all of these networks";
            return Err(IssueError::not_allowed("networks", sentence));
        }
        match (expires_at, self.ends_at) {
            (Some(end), Some(latest)) if end > latest => Err(IssueError::not_allowed(
                "expiry",
                format!("the creator key ends at {latest}; asked for was {end}"),
            )),
            _ => Ok(()),
        }
    }
}
