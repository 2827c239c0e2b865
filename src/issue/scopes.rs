//! The catalogue of scopes: what keys and roles can be given.

use super::bounds::check_description;
use super::error::{IssueError, IssueErrorKind};
use super::issuer::Issuer;
use super::retry::{ATTEMPTS, conflict_if, retried};
use crate::audit::{AuditAction, AuditEvent};
use crate::error::{ConfigError, quoted};
use crate::key::{KnownScope, OrganizationId, Scope, ScopeSet, Subject, management};
use crate::store::query::{KnownScopes, Paged};
use crate::store::{Change, Commit, Guard, ManagedStore, StoreErrorKind, Write};

/// Scopes of the catalogue. It is read whole whenever a key or a role is given new scopes.
const MOST: u32 = 1000;

impl<S: ManagedStore> Issuer<S> {
    /// Adds a scope to the catalogue, of at most 1,000.
    ///
    /// As long as the catalogue is empty, keys and roles may have any scope. Once it has one, they get only scopes that it knows: those
    /// that are in it, those that a wildcard in it covers, and wildcards that cover one of it. With `orders:read` in it, `orders:*` and
    /// `*` are known. What keys and roles have already stays theirs.
    ///
    /// Scopes that begin with `api-keys.` are for managing keys, and a misspelt one would do nothing. So those of the management API are
    /// always known, and others, such as those of your own routes, only if they are in the catalogue, also while nothing else is.
    ///
    /// ```
    /// use tower_api_key::key::{KnownScope, Role};
    /// use tower_api_key::store::MemoryStore;
    /// use tower_api_key::{IssueErrorKind, Issuer};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let issuer = Issuer::new(MemoryStore::new())?;
    /// issuer.create_scope(KnownScope::new("orders:read".parse()?, "Read orders")).await?;
    /// issuer.create_role(Role::new("reader", "orders:read".parse()?)).await?;
    ///
    /// let misspelt = issuer.create_role(Role::new("writer", "order:write".parse()?)).await.unwrap_err();
    /// assert_eq!((misspelt.kind(), misspelt.field()), (IssueErrorKind::InvalidRequest, Some("scopes")));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When the description is not valid, or the store fails; [`AlreadyExists`](IssueErrorKind::AlreadyExists) when the scope is in it,
    /// [`LimitReached`](IssueErrorKind::LimitReached) when it has 1,000 scopes.
    pub async fn create_scope(&self, scope: KnownScope) -> Result<KnownScope, IssueError> {
        check_description(&scope.description)?;
        let event = self.scope_event(&scope.scope, AuditAction::SCOPE_CREATED);
        let commit = Commit::new()
            .guard(Guard::KnownScopesBelow(MOST))
            .write(Write::InsertScope(scope.clone()))
            .audit(event.detail("after.description", &*scope.description));
        match self.commit(commit).await {
            Ok(_) => Ok(scope),
            Err(error) if error.kind() == StoreErrorKind::AlreadyExists => {
                let sentence = "the scope is in the catalogue already";
                Err(IssueError::about(IssueErrorKind::AlreadyExists, "scope", sentence))
            }
            Err(error) if error.kind() == StoreErrorKind::LimitReached => {
                let sentence = format!("the catalogue has at most {MOST} scopes");
                Err(IssueError::about(IssueErrorKind::LimitReached, "scope", sentence))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Changes the description of a scope of the catalogue.
    ///
    /// # Errors
    /// When the description is not valid, the scope is not in the catalogue, or the store fails;
    /// [`Conflict`](IssueErrorKind::Conflict) when another change came first 8 times.
    pub async fn update_scope(&self, scope: &Scope, description: &str) -> Result<KnownScope, IssueError> {
        check_description(description)?;
        retried!(ATTEMPTS, async {
            let before = self.known_scope(scope).await?;
            let after = KnownScope::new(scope.clone(), description);
            if after == before {
                self.announce_again(Change::new(Subject::Realm, 0)).await?;
                return Ok(before);
            }
            let event = self.scope_event(scope, AuditAction::SCOPE_UPDATED);
            let event = event.detail("before.description", before.description);
            let commit = Commit::new()
                .write(Write::DeleteScope(scope.clone()))
                .write(Write::InsertScope(after.clone()))
                .audit(event.detail("after.description", description));
            let committed = self.commit(commit).await;
            committed.map_err(conflict_if(StoreErrorKind::NotFound))?;
            Ok(after)
        })
    }

    /// Takes a scope out of the catalogue: no key and no role gets it any more. Those that have it keep it, so that no client stops for
    /// a change of the catalogue; take it out of roles by [`update_role`](Self::update_role), and from all keys of an organization by
    /// [`Policy::grantable`](crate::key::Policy::grantable). Without its last scope the catalogue is empty, and allows every scope.
    ///
    /// # Errors
    /// When the scope is not in the catalogue, or the store fails.
    pub async fn delete_scope(&self, scope: &Scope) -> Result<(), IssueError> {
        let before = self.known_scope(scope).await?;
        let event = self.scope_event(scope, AuditAction::SCOPE_DELETED);
        let commit = Commit::new()
            .write(Write::DeleteScope(scope.clone()))
            .audit(event.detail("before.description", before.description));
        match self.commit(commit).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == StoreErrorKind::NotFound => Err(IssueError::missing("scope")),
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) async fn known_scope(&self, scope: &Scope) -> Result<KnownScope, IssueError> {
        let mut catalogue = self.catalogue().await?.into_iter();
        let found = catalogue.find(|known| known.scope == *scope);
        found.ok_or_else(|| IssueError::missing("scope"))
    }

    fn scope_event(&self, scope: &Scope, action: AuditAction) -> AuditEvent {
        let system = OrganizationId::from(uuid::Uuid::nil());
        self.event(system, action).detail("scope", scope.as_str())
    }
}

impl<S: ManagedStore, A: Sync> Issuer<S, A> {
    /// A page of the catalogue of scopes.
    ///
    /// # Errors
    /// When the store fails, or the page's cursor is one of another list.
    pub async fn known_scopes(&self, scopes: KnownScopes) -> Result<Paged<KnownScope>, IssueError> {
        self.page(scopes).await
    }

    /// Whether the catalogue and the management API know all of these scopes, apart from those that were there `before`.
    pub(super) async fn check_known(&self, scopes: &ScopeSet, before: &ScopeSet) -> Result<(), IssueError> {
        let new = scopes.iter().filter(|scope| before.iter().all(|other| other != *scope));
        let new: Vec<Scope> = new
            .map(str::parse)
            .collect::<Result<_, _>>()
            .map_err(ConfigError::from)?;
        if new.is_empty() {
            return Ok(());
        }
        let catalogue = self.catalogue().await?;
        for scope in new {
            let is_known = |known: &KnownScope| known.scope.covers(&scope) || scope.covers(&known.scope);
            let is_allowed = match scope.is_of_management() {
                true => management::ALL.contains(&scope.as_str()),
                false => catalogue.is_empty(),
            };
            if !is_allowed && !catalogue.iter().any(is_known) {
                return Err(ConfigError::new("scopes", unknown(&scope)).into());
            }
        }
        Ok(())
    }

    async fn catalogue(&self) -> Result<Vec<KnownScope>, IssueError> {
        let mut page = self.page(KnownScopes::all().page(1000)).await?;
        let mut scopes = std::mem::take(&mut page.items);
        while let Some(next) = page.next.take() {
            page = self.page(KnownScopes::all().page(1000).after(next)).await?;
            scopes.append(&mut page.items);
        }
        Ok(scopes)
    }
}

/// What is wrong with a scope that is not known.
fn unknown(scope: &Scope) -> String {
    if !scope.is_of_management() {
        return format!("must be in the catalogue of scopes, got {}", quoted(scope.as_str()));
    }
    // Shown whole: with this beginning it is no secret that was put in the wrong place.
    format!(
        "must be in the catalogue of scopes, or one of the management API ({}), got `{scope}`",
        management::ALL.join(", ")
    )
}
