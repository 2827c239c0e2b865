//! Users: made, read, changed, disabled and deleted.

use super::bounds::{check_email, check_metadata, check_name};
use super::bulk::{Bulk, KeySelection, Selected};
use super::difference;
use super::error::{IssueError, IssueErrorKind};
use super::issuer::Issuer;
use super::retry::{ATTEMPTS, ATTEMPTS_TO_STOP, conflict_if, retried};
use super::status::LONGEST_REASON;
use crate::audit::{AuditAction, AuditEvent};
use crate::error::ConfigError;
use crate::key::{
    KeyRecord, KeyState, KeyStatus, Metadata, OrganizationId, User, UserId, UserStatus, shortened, without_nul,
};
use crate::store::query::{OneUser, Paged, Users};
use crate::store::{Change, Commit, ManagedStore, StoreError, StoreErrorKind, StoreExt, Write};

/// A request for the row of a user, by [`Issuer::create_user`].
///
/// A user needs no row: any [`UserId`] can be given to a key. A row gives the user a name, an e-mail address and data of the
/// service's own, which handlers get with the key, and it keeps whether the user is disabled.
///
/// ```
/// use tower_api_key::store::MemoryStore;
/// use tower_api_key::{Issuer, IssueRequest, IssueErrorKind, UserRequest};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let issuer = Issuer::new(MemoryStore::new())?;
/// let acme = issuer.create_organization("acme").await?;
/// let request = UserRequest::new(acme.id, "alice".parse()?).name("Alice Adams").email("alice@example.com");
/// let alice = issuer.create_user(request).await?;
/// issuer.issue(IssueRequest::new(acme.id, "laptop").user(alice.id.clone())).await?;
///
/// // All her keys stop, and she gets no new ones.
/// issuer.disable_user(acme.id, &alice.id, "left the company").await?;
/// let refused = issuer.issue(IssueRequest::new(acme.id, "phone").user(alice.id)).await;
/// assert_eq!(refused.unwrap_err().kind(), IssueErrorKind::UserDisabled);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct UserRequest {
    organization: OrganizationId,
    id: UserId,
    name: Option<String>,
    email: Option<String>,
    metadata: Metadata,
}

impl UserRequest {
    /// An active user of this organization, under the id that the service uses.
    pub fn new(organization: OrganizationId, id: UserId) -> Self {
        Self {
            organization,
            id,
            name: None,
            email: None,
            metadata: Metadata::default(),
        }
    }

    /// The display name, of 1 to 255 bytes.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The e-mail address, of at most 254 bytes. Several users may have one address.
    pub fn email(mut self, email: impl Into<String>) -> Self {
        self.email = Some(email.into());
        self
    }

    /// The service's own data about the user, of at most 16 KiB.
    pub fn metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = metadata;
        self
    }
}

impl<S: ManagedStore, A: Sync> Issuer<S, A> {
    /// The row of a user; `None` for a user without one, who is active.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn user(&self, organization: OrganizationId, id: &UserId) -> Result<Option<User>, IssueError> {
        Ok(self.store.get(OneUser(organization, id.clone())).await?)
    }

    /// A page of an organization's users that have a row, ordered by id.
    ///
    /// # Errors
    /// When the store fails, or the page's cursor is one of another list.
    pub async fn users(&self, users: Users) -> Result<Paged<User>, IssueError> {
        self.page(users).await
    }

    /// # Errors
    /// [`UserDisabled`](IssueErrorKind::UserDisabled) when there is a user, and it is.
    pub(super) async fn check_user(&self, organization: OrganizationId, id: Option<&UserId>) -> Result<(), IssueError> {
        let Some(id) = id else { return Ok(()) };
        match self.user(organization, id).await? {
            Some(user) if user.status != UserStatus::Active => Err(IssueError::new(IssueErrorKind::UserDisabled)),
            _ => Ok(()),
        }
    }
}

impl<S: ManagedStore> Issuer<S> {
    /// Makes the row of a user, active. Keys that the user has already are not touched.
    ///
    /// # Errors
    /// When the name, the address or the metadata is out of bounds, or the store fails;
    /// [`NotFound`](IssueErrorKind::NotFound) when there is no such organization;
    /// [`AlreadyExists`](IssueErrorKind::AlreadyExists) when the user has a row.
    pub async fn create_user(&self, request: UserRequest) -> Result<User, IssueError> {
        let mut user = User::new(request.organization, request.id, self.clock.wall());
        user.actor = self.actor.clone();
        user.name = request.name;
        user.email = request.email;
        user.metadata = request.metadata;
        check_fields(None, &user)?;
        let commit = Commit::new()
            .write(Write::InsertUser(user.clone()))
            .audit(self.user_event(AuditAction::USER_CREATED, None, &user));
        self.commit(commit).await.map_err(not_inserted)?;
        Ok(user)
    }

    /// Changes a user's name, address and metadata. The rest stays: for the status there are
    /// [`disable_user`](Self::disable_user) and [`enable_user`](Self::enable_user). The closure may run more than once, when
    /// others change the same row. What changes nothing is not written.
    ///
    /// # Errors
    /// When the user has no row, a part of the change is out of bounds, or the store fails;
    /// [`Conflict`](IssueErrorKind::Conflict) when another change came first 8 times.
    pub async fn update_user(
        &self,
        organization: OrganizationId,
        id: &UserId,
        change: impl Fn(&mut User) + Send + Sync,
    ) -> Result<User, IssueError> {
        retried!(ATTEMPTS, async {
            let before = self.stored_user(organization, id).await?;
            let mut changed = before.clone();
            change(&mut changed);
            let mut user = before.clone();
            (user.name, user.email, user.metadata) = (changed.name, changed.email, changed.metadata);
            if user == before {
                self.announce_user_again(organization).await?;
                return Ok(before);
            }
            check_fields(Some(&before), &user)?;
            let event = self.user_event(AuditAction::USER_UPDATED, Some(&before), &user);
            self.replace_user(user, event).await
        })
    }

    /// Stops all keys of a user, until the user is [enabled](Self::enable_user) again, and refuses new ones. A user without a
    /// row gets one. Disabling a disabled user changes nothing: the first actor and reason stay. Of the reason, the first 1,024
    /// bytes are kept.
    ///
    /// When this returns, every key of the user is stopped: also one that was issued meanwhile, since a check reads the status
    /// of the user together with the key. The keys keep a status of their own, which this does not change.
    ///
    /// # Errors
    /// When there is no such organization, or the store fails; [`Conflict`](IssueErrorKind::Conflict) when another change came
    /// first 256 times. The keys still work then.
    pub async fn disable_user(
        &self,
        organization: OrganizationId,
        id: &UserId,
        reason: &str,
    ) -> Result<User, IssueError> {
        let reason = shortened(reason, LONGEST_REASON);
        retried!(ATTEMPTS_TO_STOP, async {
            let before = self.user(organization, id).await?;
            if let Some(user) = before.as_ref().filter(|user| user.status != UserStatus::Active) {
                self.announce_user_again(organization).await?;
                return Ok(user.clone());
            }
            let mut user = before
                .clone()
                .unwrap_or_else(|| User::new(organization, id.clone(), self.clock.wall()));
            self.set_status(&mut user, UserStatus::Disabled, reason);
            let event = self.user_event(AuditAction::USER_DISABLED, before.as_ref(), &user);
            let event = event.reason(reason);
            match before {
                Some(_) => self.replace_user(user, event).await,
                None => self.insert_user(user, event).await,
            }
        })
    }

    /// Lets a disabled user's keys work again, those that were not disabled, revoked or ended by themselves. Enabling an active
    /// user changes nothing.
    ///
    /// # Errors
    /// When the user has no row, or the store fails; [`Conflict`](IssueErrorKind::Conflict) when another change came first 8
    /// times.
    pub async fn enable_user(&self, organization: OrganizationId, id: &UserId) -> Result<User, IssueError> {
        retried!(ATTEMPTS, async {
            let before = self.stored_user(organization, id).await?;
            if before.status == UserStatus::Active {
                self.announce_user_again(organization).await?;
                return Ok(before);
            }
            let mut user = before.clone();
            self.set_status(&mut user, UserStatus::Active, "");
            let event = self.user_event(AuditAction::USER_ENABLED, Some(&before), &user);
            self.replace_user(user, event).await
        })
    }

    /// Deletes the row of a user, and revokes those of its keys that [end with their user](crate::IssueRequest::ends_with_user), in
    /// one transaction. While the user has other keys that are not revoked, nothing is done: a user without a row is active, and
    /// the keys of a disabled one would work again.
    ///
    /// # Errors
    /// When the user has no row, or the store fails; [`InUse`](IssueErrorKind::InUse) while the user has keys that are neither
    /// revoked nor end with it; [`Conflict`](IssueErrorKind::Conflict) when other changes came first 256 times.
    pub async fn delete_user(&self, organization: OrganizationId, id: &UserId) -> Result<(), IssueError> {
        let keys = KeySelection::user(organization, id.clone());
        let bulk = Bulk::to_stop(&keys, "its user was deleted");
        let revocation = self.revocation(bulk.reason);
        let change = |record: &KeyRecord, state: KeyState| match record.ends_with_user {
            true => state.revoked(&revocation),
            false => state,
        };
        retried!(ATTEMPTS_TO_STOP, async {
            let user = self.stored_user(organization, id).await?;
            let mut selected = Selected::of(&keys)?;
            loop {
                let mut piece = self.piece(&bulk, &mut selected, &change).await?;
                if piece.is_last {
                    let event = self.event(organization, AuditAction::USER_DELETED);
                    let event = difference::of_user(event.user(Some(id.clone())), Some(&user), None);
                    let delete = Write::DeleteUser(organization, id.clone());
                    piece.commit = piece.commit.write(delete).audit(event);
                } else {
                    // Nothing of a user is revoked that stays.
                    self.check_unused(&keys).await?;
                }
                let committed = self.commit(piece.commit).await;
                if committed
                    .as_ref()
                    .is_err_and(|error| error.kind() == StoreErrorKind::Conflict)
                {
                    self.check_unused(&keys).await?;
                }
                committed?;
                if piece.is_last {
                    return Ok(());
                }
            }
        })
    }

    /// # Errors
    /// [`InUse`](IssueErrorKind::InUse) when one of these keys lives on without its user.
    async fn check_unused(&self, keys: &KeySelection) -> Result<(), IssueError> {
        let mut selected = Selected::of(keys)?;
        while let Some(record) = selected.next(self).await? {
            if record.status != KeyStatus::Revoked && !record.ends_with_user {
                let sentence = "the user has keys that are neither revoked nor end with it; nothing was changed";
                return Err(IssueError::about(IssueErrorKind::InUse, "user", sentence));
            }
        }
        Ok(())
    }

    async fn stored_user(&self, organization: OrganizationId, id: &UserId) -> Result<User, IssueError> {
        let user = self.user(organization, id).await?;
        user.ok_or_else(|| IssueError::about(IssueErrorKind::NotFound, "user", "no such user: the id has no row"))
    }

    fn set_status(&self, user: &mut User, status: UserStatus, reason: &str) {
        user.status = status;
        user.reason = without_nul(reason);
        user.actor = self.actor.clone();
        user.status_at = self.clock.wall();
    }

    /// Inserts the row. That another one came first is a conflict.
    async fn insert_user(&self, user: User, event: AuditEvent) -> Result<User, IssueError> {
        let commit = Commit::new().write(Write::InsertUser(user.clone())).audit(event);
        match self.commit(commit).await {
            Ok(_) => Ok(user),
            Err(error) if error.kind() == StoreErrorKind::AlreadyExists => {
                Err(IssueError::new(IssueErrorKind::Conflict))
            }
            Err(error) => Err(not_inserted(error)),
        }
    }

    /// Replaces the row. Deleted meanwhile is a conflict too.
    async fn replace_user(&self, mut user: User, event: AuditEvent) -> Result<User, IssueError> {
        let commit = Commit::new().write(Write::UpdateUser(user.clone())).audit(event);
        let committed = self.commit(commit).await;
        committed.map_err(conflict_if(StoreErrorKind::NotFound))?;
        user.revision = user.revision.saturating_add(1);
        Ok(user)
    }

    fn user_event(&self, action: AuditAction, before: Option<&User>, after: &User) -> AuditEvent {
        let event = self.event(after.organization_id, action);
        difference::of_user(event.user(Some(after.id.clone())), before, Some(after))
    }

    /// As [`announce_again`](Self::announce_again): a change of a user is one of its organization.
    async fn announce_user_again(&self, organization: OrganizationId) -> Result<(), IssueError> {
        if let Some(row) = self.store.get(organization).await? {
            self.announce_again(Change::new(organization, row.revision)).await?;
        }
        Ok(())
    }
}

/// What a store says of a row that it does not insert: it is there already, or its organization is not.
fn not_inserted(error: StoreError) -> IssueError {
    match error.kind() {
        StoreErrorKind::NotFound => IssueError::missing("organization"),
        StoreErrorKind::AlreadyExists => {
            IssueError::about(IssueErrorKind::AlreadyExists, "user", "the user has a row already")
        }
        _ => error.into(),
    }
}

/// Only what is new: a row that would be refused here must not be impossible to change.
fn check_fields(before: Option<&User>, user: &User) -> Result<(), ConfigError> {
    if let Some(name) = &user.name
        && before.and_then(|before| before.name.as_ref()) != Some(name)
    {
        check_name(name)?;
    }
    if let Some(email) = &user.email
        && before.and_then(|before| before.email.as_ref()) != Some(email)
    {
        check_email(email)?;
    }
    if before.is_none_or(|before| before.metadata != user.metadata) {
        check_metadata(&user.metadata)?;
    }
    Ok(())
}
