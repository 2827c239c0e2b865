//! Deleting an organization with all that it has.

use super::fields::of_deleted;
use crate::audit::AuditAction;
use crate::issue::error::{IssueError, IssueErrorKind};
use crate::issue::issuer::Issuer;
use crate::issue::retry::{ATTEMPTS, conflict_if, retried};
use crate::issue::status::LONGEST_REASON;
use crate::key::{KeyStatus, Organization, OrganizationId, UserId, shortened};
use crate::store::query::{AuditChains, Keys, Users};
use crate::store::{Commit, Guard, ManagedStore, StoreErrorKind, StoreExt, StoredKey, Write};

/// Keys and users that one commit deletes: fewer than the 65,536 writes and events that it may have.
const MOST: usize = 60_000;

/// What deleting an organization deletes, and what stays.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OrganizationDeletion {
    /// The organization.
    pub organization: Organization,
    /// Its keys, in any status.
    pub keys: u64,
    /// Those of them that are not revoked.
    pub live_keys: u64,
    /// The secrets of its keys.
    pub secrets: u64,
    /// The labels of its keys, counted for each key that has one.
    pub labels: u64,
    /// Users that have a row.
    pub users: u64,
    /// Audit events, which stay until retention deletes them.
    pub audit_events: u64,
}

/// What of an organization a commit deletes.
struct Doomed {
    keys: Vec<StoredKey>,
    users: Vec<UserId>,
    /// Whether there is no more.
    is_all: bool,
}

impl<S: ManagedStore> Issuer<S> {
    /// What [`delete_organization`](Self::delete_organization) would delete now, for a person to confirm. Reads all keys and users
    /// of the organization, page by page.
    ///
    /// # Errors
    /// When there is no such organization, or the store fails.
    pub async fn preview_organization_deletion(&self, id: OrganizationId) -> Result<OrganizationDeletion, IssueError> {
        let mut counts = self.nothing_deleted(self.stored_organization(id).await?).await?;
        let mut keys = Keys::of(id).page(PAGE);
        loop {
            let page = self.page(keys).await?;
            page.items.iter().for_each(|key| counts.add_key(key));
            let Some(next) = page.next else { break };
            keys = Keys::of(id).page(PAGE).after(next);
        }
        let mut users = Users::of(id).page(PAGE);
        loop {
            let page = self.page(users).await?;
            counts.users += page.items.len() as u64;
            let Some(next) = page.next else { break };
            users = Users::of(id).page(PAGE).after(next);
        }
        Ok(counts)
    }

    /// Deletes an organization for good, with its keys, their secrets and labels, and its users. Its audit trail stays, with an
    /// event for each key and user and one for the organization. Slug and address are free afterwards. Returns what was deleted.
    ///
    /// All of it goes in one commit. A key or a user that is created meanwhile is deleted too, or is refused: none is left
    /// without its organization.
    ///
    /// An organization with more than 60,000 keys and users does not fit into one commit. It is deactivated first, so that all its
    /// keys stop at once, and then deleted in pieces of 60,000, the organization with the last one. If that ends in the middle, the
    /// organization is inactive and the rest of it is there: call this again.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use tower_api_key::key::Actor;
    /// let keys = tower_api_key::ApiKeys::open("memory:").await?;
    /// let acme = keys.ensure("acme", "nightly export").await?.organization;
    /// let issuer = keys.issuer().acting_as(Actor::operator("root"));
    ///
    /// let preview = issuer.preview_organization_deletion(acme.id).await?;
    /// assert_eq!((preview.keys, preview.users), (1, 0));
    /// issuer.delete_organization(acme.id, "contract ended").await?;
    /// assert_eq!(issuer.organization(acme.id).await?, None);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When there is no such organization, or the store fails; [`InUse`](IssueErrorKind::InUse) for the organization of those who
    /// run the service; [`Conflict`](IssueErrorKind::Conflict) when keys, users or the organization changed in between 8 times in a
    /// row: deactivate it and stop what creates keys.
    pub async fn delete_organization(
        &self,
        id: OrganizationId,
        reason: &str,
    ) -> Result<OrganizationDeletion, IssueError> {
        self.delete_in_pieces(id, reason, MOST).await
    }

    async fn delete_in_pieces(
        &self,
        id: OrganizationId,
        reason: &str,
        most: usize,
    ) -> Result<OrganizationDeletion, IssueError> {
        let reason = shortened(reason, LONGEST_REASON);
        let mut deleted = None;
        loop {
            let piece = retried!(ATTEMPTS, self.delete_piece(id, reason, most, deleted.as_ref()));
            let (counts, is_last) = piece.map_err(say_how)?;
            if is_last {
                return Ok(counts);
            }
            deleted = Some(counts);
        }
    }

    /// Deletes the next piece. What is deleted then in all, and whether it was the last piece.
    async fn delete_piece(
        &self,
        id: OrganizationId,
        reason: &str,
        most: usize,
        deleted: Option<&OrganizationDeletion>,
    ) -> Result<(OrganizationDeletion, bool), IssueError> {
        let mut organization = self.stored_organization(id).await?;
        if organization.is_operator {
            let sentence = "the organization is that of those who run the service, and is not deleted";
            return Err(IssueError::about(IssueErrorKind::InUse, "organization", sentence));
        }
        let doomed = self.doomed(id, most).await?;
        if !doomed.is_all {
            organization = self.deactivate_organization(id, reason).await?;
        }
        let mut counts = match deleted {
            Some(deleted) => deleted.clone(),
            None => self.nothing_deleted(organization.clone()).await?,
        };
        let is_last = doomed.is_all;
        let commit = self.deletion(&organization, doomed, &mut counts, reason);
        // A key was created, or deleted.
        let committed = self.commit(commit).await;
        committed.map_err(conflict_if(StoreErrorKind::NotFound))?;
        Ok((counts, is_last))
    }

    /// The first keys and, after all keys, the first users.
    async fn doomed(&self, id: OrganizationId, most: usize) -> Result<Doomed, IssueError> {
        let mut doomed = Doomed {
            keys: Vec::new(),
            users: Vec::new(),
            is_all: false,
        };
        let mut keys = Keys::of(id).page(PAGE);
        loop {
            let page = self.page(keys).await?;
            doomed.keys.extend(page.items);
            if doomed.keys.len() > most {
                doomed.keys.truncate(most);
                return Ok(doomed);
            }
            let Some(next) = page.next else { break };
            keys = Keys::of(id).page(PAGE).after(next);
        }
        let room = most.saturating_sub(doomed.keys.len());
        let mut users = Users::of(id).page(PAGE);
        loop {
            let page = self.page(users).await?;
            doomed.users.extend(page.items.into_iter().map(|user| user.id));
            if doomed.users.len() > room {
                doomed.users.truncate(room);
                return Ok(doomed);
            }
            let Some(next) = page.next else { break };
            users = Users::of(id).page(PAGE).after(next);
        }
        doomed.is_all = true;
        Ok(doomed)
    }

    /// The commit that deletes these rows, and the organization with the last ones. `counts` is what is deleted then in all.
    fn deletion(
        &self,
        organization: &Organization,
        doomed: Doomed,
        counts: &mut OrganizationDeletion,
        reason: &str,
    ) -> Commit {
        let id = organization.id;
        let mut commit = Commit::new().guard(Guard::OrganizationRevision(id, organization.revision));
        for key in &doomed.keys {
            counts.add_key(key);
            let event = self.key_event(&key.record, AuditAction::KEY_DELETED).reason(reason);
            let event = event.detail("before.status", key.record.status.as_str());
            commit = commit.write(Write::DeleteKey(key.record.id)).audit(event);
        }
        counts.users += doomed.users.len() as u64;
        // After the keys: a user that has keys is not deleted.
        for user in doomed.users {
            let event = self.event(id, AuditAction::USER_DELETED).reason(reason);
            let event = event.user(Some(user.clone()));
            commit = commit.write(Write::DeleteUser(id, user)).audit(event);
        }
        if !doomed.is_all {
            return commit;
        }
        let event = self.event(id, AuditAction::ORGANIZATION_DELETED).reason(reason);
        let event = of_deleted(event, organization);
        let numbers = [
            ("keys", counts.keys),
            ("secrets", counts.secrets),
            ("labels", counts.labels),
            ("users", counts.users),
        ];
        let event = numbers
            .into_iter()
            .fold(event, |event, (name, number)| event.detail(name, number.to_string()));
        commit.write(Write::DeleteOrganization(id)).audit(event)
    }

    async fn nothing_deleted(&self, organization: Organization) -> Result<OrganizationDeletion, IssueError> {
        let mut chains = AuditChains::from(organization.id);
        chains.most = 1;
        let chains = self.store.get(chains).await?;
        let chain = chains.first().filter(|chain| chain.organization_id == organization.id);
        Ok(OrganizationDeletion {
            keys: 0,
            live_keys: 0,
            secrets: 0,
            labels: 0,
            users: 0,
            audit_events: chain.map_or(0, |chain| chain.head.seq.saturating_sub(chain.pruned.seq)),
            organization,
        })
    }
}

fn say_how(error: IssueError) -> IssueError {
    if error.kind() != IssueErrorKind::Conflict {
        return error;
    }
    let sentence = "keys or users of the organization changed in between each time; deactivate it, stop what creates keys, and \
                    delete it then";
    IssueError::about(IssueErrorKind::Conflict, "organization", sentence)
}

impl OrganizationDeletion {
    fn add_key(&mut self, key: &StoredKey) {
        self.keys += 1;
        self.live_keys += u64::from(key.record.status != KeyStatus::Revoked);
        self.secrets += key.secrets.len() as u64;
        self.labels += key.record.labels.len() as u64;
    }
}

const PAGE: u16 = 1000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::HashPolicy;
    use crate::issue::IssueRequest;
    use crate::key::{OrganizationStatus, Timestamp, User};
    use crate::store::MemoryStore;
    use crate::store::query::AuditEvents;

    #[tokio::test]
    async fn large_organization_is_stopped_and_deleted_in_pieces() {
        let store = MemoryStore::new();
        let issuer = Issuer::new(store.clone()).unwrap().hash_policy(HashPolicy::sha256());
        let acme = issuer.create_organization("acme").await.unwrap();
        for number in 0..25 {
            let request = IssueRequest::new(acme.id, format!("key {number}"));
            let _ = issuer.issue(request).await.unwrap();
        }
        for number in 0..3 {
            let id = format!("user-{number}").parse().unwrap();
            let user = User::new(acme.id, id, Timestamp::from_millis(0));
            store
                .commit(Commit::new().write(Write::InsertUser(user)))
                .await
                .unwrap();
        }
        let deleted = issuer.delete_in_pieces(acme.id, "too large", 10).await.unwrap();
        assert_eq!((deleted.keys, deleted.users, deleted.secrets), (25, 3, 25));
        assert_eq!(deleted.organization.status, OrganizationStatus::Inactive);
        assert_eq!(issuer.organization(acme.id).await.unwrap(), None);

        let events = AuditEvents::of(acme.id);
        let count = async |action: AuditAction| {
            let page = issuer.page(events.clone().action(action).page(1000)).await.unwrap();
            page.items.len()
        };
        assert_eq!(count(AuditAction::ORGANIZATION_DEACTIVATED).await, 1);
        assert_eq!(count(AuditAction::KEY_DELETED).await, 25);
        assert_eq!(count(AuditAction::ORGANIZATION_DELETED).await, 1);
    }
}
