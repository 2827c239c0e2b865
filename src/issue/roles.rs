//! Roles: created, changed, deleted.

use super::bounds::check_description;
use super::change::names;
use super::difference::{Field, chained, described, removed};
use super::error::IssueError;
use super::issuer::Issuer;
use super::retry::{ATTEMPTS, retried};
use crate::audit::{AuditAction, AuditEvent};
use crate::key::{OrganizationId, Role, ScopeSet, Subject, check_name};
use crate::store::query::{Paged, Roles};
use crate::store::{Change, Commit, ManagedStore, StoreError, StoreErrorKind, StoreExt, Write};

impl<S: ManagedStore> Issuer<S> {
    /// Creates a role: a named set of scopes that keys can have besides their own.
    ///
    /// Keys hold the *name* of a role. Those that have the name already, of a role that was deleted, get the scopes of the new one.
    ///
    /// ```
    /// use tower_api_key::Issuer;
    /// use tower_api_key::key::Role;
    /// use tower_api_key::store::MemoryStore;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let issuer = Issuer::new(MemoryStore::new())?;
    /// issuer.create_role(Role::new("billing", "invoices:read".parse()?)).await?;
    ///
    /// // For all keys that have the role, at once.
    /// let scopes = "invoices:read payments:read".parse()?;
    /// let role = issuer.update_role("billing", |role| role.scopes = Clone::clone(&scopes)).await?;
    /// assert_eq!(role.revision, 2);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When the name or the description is not valid, a scope is not in the [catalogue](Self::create_scope), or the store fails;
    /// [`AlreadyExists`](crate::IssueErrorKind::AlreadyExists) when there is a role of this name.
    pub async fn create_role(&self, mut role: Role) -> Result<Role, IssueError> {
        role.revision = 1;
        check_name("name", &role.name).map_err(crate::error::ConfigError::from)?;
        check_description(&role.description)?;
        self.check_known(&role.scopes, &ScopeSet::default()).await?;
        let event = self.role_event(&role.name, AuditAction::ROLE_CREATED);
        let commit = Commit::new()
            .write(Write::InsertRole(role.clone()))
            .audit(described(event, None, fields(&role)));
        match self.commit(commit).await {
            Ok(_) => Ok(role),
            Err(error) => Err(refused(error)),
        }
    }

    /// Changes what a role allows, or its description. That holds for all keys that have it, at once: when this returns, every request
    /// on this node is judged by the new scopes. Its name stays, since keys hold it. The closure may run more than once, when others
    /// change the same row.
    ///
    /// # Errors
    /// When there is no such role, a part of the change is not valid, a new scope is not in the [catalogue](Self::create_scope), or
    /// the store fails; [`Conflict`](crate::IssueErrorKind::Conflict) when another change came first 8 times.
    pub async fn update_role(&self, name: &str, change: impl Fn(&mut Role) + Send + Sync) -> Result<Role, IssueError> {
        retried!(ATTEMPTS, async {
            let before = self.role(name).await?.ok_or_else(|| IssueError::missing("role"))?;
            let mut role = before.clone();
            change(&mut role);
            (role.name, role.revision) = (before.name.clone(), before.revision);
            if role == before {
                self.announce_again(Change::new(Subject::Realm, 0)).await?;
                return Ok(before);
            }
            if role.description != before.description {
                check_description(&role.description)?;
            }
            self.check_known(&role.scopes, &before.scopes).await?;
            let event = self.role_event(name, AuditAction::ROLE_UPDATED);
            let event = event.detail("changed", changed_fields(&before, &role));
            let commit = Commit::new().write(Write::UpdateRole(role.clone())).audit(described(
                event,
                Some(fields(&before)),
                fields(&role),
            ));
            self.commit(commit).await.map_err(refused)?;
            role.revision = role.revision.saturating_add(1);
            Ok(role)
        })
    }

    /// Deletes a role. The keys that have it lose its scopes at once: when this returns, no request on this node has them any more.
    /// Their own scopes, and those of other roles, stay.
    ///
    /// Keys are not looked through for its name, and it is not refused while keys have it: that takes permissions away and gives none.
    /// They keep the name, so a new role of this name is theirs too.
    ///
    /// # Errors
    /// When there is no such role, or the store fails.
    pub async fn delete_role(&self, name: &str) -> Result<(), IssueError> {
        let role = self.role(name).await?.ok_or_else(|| IssueError::missing("role"))?;
        let event = self.role_event(name, AuditAction::ROLE_DELETED);
        let commit = Commit::new()
            .write(Write::DeleteRole(role.name.clone()))
            .audit(removed(event, fields(&role)));
        match self.commit(commit).await {
            Ok(_) => Ok(()),
            Err(error) => Err(refused(error)),
        }
    }

    fn role_event(&self, name: &str, action: AuditAction) -> AuditEvent {
        let system = OrganizationId::from(uuid::Uuid::nil());
        self.event(system, action).detail("role", name)
    }
}

impl<S: ManagedStore, A: Sync> Issuer<S, A> {
    /// The role with this name; `None` if there is no such.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn role(&self, name: &str) -> Result<Option<Role>, IssueError> {
        Ok(self.store.get(Roles::named(name).page(1)).await?.items.pop())
    }

    /// A page of roles.
    ///
    /// # Errors
    /// When the store fails, or the page's cursor is one of another list.
    pub async fn roles(&self, roles: Roles) -> Result<Paged<Role>, IssueError> {
        self.page(roles).await
    }
}

fn refused(error: StoreError) -> IssueError {
    match error.kind() {
        StoreErrorKind::AlreadyExists => IssueError::taken("name", "role"),
        StoreErrorKind::NotFound => IssueError::missing("role"),
        _ => error.into(),
    }
}

fn changed_fields(before: &Role, after: &Role) -> String {
    let Role {
        scopes,
        description,
        name: _,
        revision: _,
    } = before;
    names(&[
        ("scopes", *scopes != after.scopes),
        ("description", *description != after.description),
    ])
}

fn fields(role: &Role) -> [Field; 2] {
    let Role {
        scopes,
        description,
        name: _,
        revision: _,
    } = role;
    [
        chained("scopes", Some(scopes.to_string())),
        chained("description", Some(description.clone())),
    ]
}
