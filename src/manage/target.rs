//! The row that a request is about.

use std::future::Future;

use axum::extract::FromRequestParts;
use http::request::Parts;

use super::acting::Acting;
use super::path::{Findable, InPath, RoleName};
use super::precondition::IfMatch;
use super::problem::Problem;
use super::state::ManageState;
use crate::issue::{IssueError, Issuer, RowRevision};
use crate::key::{KeyId, Organization, OrganizationId, Plan, PlanId, Role, User, UserId};
use crate::store::{DynStore, StoredKey};

/// What tells one row from the others.
pub(super) trait Target: Send + Sync {
    type Row: Send + Sync;
    /// What there is none of, if it is not there.
    const WHAT: &str;

    fn find(&self, issuer: &Issuer<DynStore>) -> impl Future<Output = Result<Option<Self::Row>, IssueError>> + Send;
}

/// A change of the row in the path: who asks, and for which revision of it. Nothing was looked at yet.
pub(super) struct Change<I> {
    acting: Acting,
    id: InPath<I>,
    if_match: IfMatch,
}

/// A row that may be changed, and what changes it.
pub(super) struct Writable<I: Target> {
    pub(super) acting: Acting,
    pub(super) id: I,
    /// As it was read.
    pub(super) row: I::Row,
    /// Makes one change, which is for the revision that the request names.
    pub(super) issuer: Issuer<DynStore>,
}

impl<I: Target + Findable> Change<I>
where
    for<'r> RowRevision: From<&'r I::Row>,
{
    /// The row, for callers with this scope.
    ///
    /// # Errors
    /// 403 without the scope; then those of [`writable`].
    pub(super) async fn with(self, scope: &str) -> Result<Writable<I>, Problem> {
        self.acting.require(scope)?;
        writable(self.acting, self.id.get()?, self.if_match).await
    }

    /// The same, for operators alone.
    pub(super) async fn by_operator(self, scope: &str) -> Result<Writable<I>, Problem> {
        self.acting.require_as_operator(scope)?;
        writable(self.acting, self.id.get()?, self.if_match).await
    }
}

impl<I: Findable + Send> FromRequestParts<ManageState> for Change<I> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ManageState) -> Result<Self, Problem> {
        let acting = Acting::from_request_parts(parts, state).await?;
        let Ok(id) = InPath::from_request_parts(parts, state).await;
        let Ok(if_match) = IfMatch::from_request_parts(parts, state).await;
        Ok(Self { acting, id, if_match })
    }
}

/// The row, if the caller may know of it.
///
/// # Errors
/// 404, the same for a foreign row and for one that is not there.
pub(super) async fn visible<I: Target>(acting: &Acting, id: &I) -> Result<I::Row, Problem> {
    let found = id.find(&acting.issuer).await?;
    found.ok_or_else(|| Problem::missing(I::WHAT))
}

/// The row, to be changed. Whose it is comes before what revision it has.
///
/// # Errors
/// 404 as for [`visible`]; 412 when it has another revision than the request is for.
pub(super) async fn writable<I: Target>(acting: Acting, id: I, if_match: IfMatch) -> Result<Writable<I>, Problem>
where
    for<'r> RowRevision: From<&'r I::Row>,
{
    let row = visible(&acting, &id).await?;
    let issuer = if_match.issuer(&acting.issuer, Some(&row))?;
    Ok(Writable {
        acting,
        id,
        row,
        issuer,
    })
}

/// A user of an organization.
pub(super) type UserOf = (OrganizationId, UserId);

impl Target for KeyId {
    type Row = StoredKey;
    const WHAT: &str = <Self as Findable>::WHAT;

    async fn find(&self, issuer: &Issuer<DynStore>) -> Result<Option<StoredKey>, IssueError> {
        issuer.key(*self).await
    }
}

impl Target for OrganizationId {
    type Row = Organization;
    const WHAT: &str = <Self as Findable>::WHAT;

    async fn find(&self, issuer: &Issuer<DynStore>) -> Result<Option<Organization>, IssueError> {
        issuer.organization(*self).await
    }
}

impl Target for PlanId {
    type Row = Plan;
    const WHAT: &str = <Self as Findable>::WHAT;

    async fn find(&self, issuer: &Issuer<DynStore>) -> Result<Option<Plan>, IssueError> {
        issuer.plan(*self).await
    }
}

impl Target for RoleName {
    type Row = Role;
    const WHAT: &str = <Self as Findable>::WHAT;

    async fn find(&self, issuer: &Issuer<DynStore>) -> Result<Option<Role>, IssueError> {
        issuer.role(&self.0).await
    }
}

impl Target for UserOf {
    type Row = User;
    const WHAT: &str = <UserId as Findable>::WHAT;

    async fn find(&self, issuer: &Issuer<DynStore>) -> Result<Option<User>, IssueError> {
        issuer.user(self.0, &self.1).await
    }
}
