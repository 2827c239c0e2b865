//! What there is, in numbers, and what should be looked after.

use super::error::IssueError;
use super::hygiene::{Hygiene, HygieneReport};
use super::issuer::Issuer;
use super::uses::flush_uses;
use crate::key::OrganizationId;
use crate::store::query::{KeyStatistics, KeyUses, Statistics, TheRealm};
use crate::store::{ManagedStore, StoreError, StoreErrorKind};

impl<S: ManagedStore, A: Sync> Issuer<S, A> {
    /// What [`ApiKeys::statistics`](crate::ApiKeys::statistics) gives.
    ///
    /// # Errors
    /// When the store fails; [`Forbidden`](crate::IssueErrorKind::Forbidden) for numbers of all organizations, of an issuer that
    /// acts with a key that is not the operator's.
    pub async fn statistics(&self, organization: impl Into<Option<OrganizationId>>) -> Result<Statistics, IssueError> {
        Ok(self.statistics_of(organization.into()).await?)
    }

    /// What [`ApiKeys::hygiene`](crate::ApiKeys::hygiene) gives.
    ///
    /// # Errors
    /// Those of [`statistics`](Self::statistics), and [`InvalidRequest`](crate::IssueErrorKind::InvalidRequest) for a cursor of
    /// another report.
    pub async fn hygiene(&self, request: Hygiene) -> Result<HygieneReport, IssueError> {
        Ok(self.hygiene_report(request).await?)
    }

    pub(crate) async fn statistics_of(&self, organization: Option<OrganizationId>) -> Result<Statistics, StoreError> {
        // Numbers that are a minute old are better than none.
        let _ = flush_uses(self.store.unbounded()).await;
        let mut query = KeyStatistics::at(self.clock.wall());
        query.organization = organization;
        self.get(query).await
    }

    pub(crate) async fn hygiene_report(&self, request: Hygiene) -> Result<HygieneReport, StoreError> {
        let page = self.get(request.keys()).await?;
        let uses = KeyUses::of_all(page.items.iter().map(|key| key.record.id));
        let uses = self.get(uses).await?;
        let realm = match self.get(TheRealm).await {
            Ok(realm) => Some(realm),
            Err(error) if error.kind() == StoreErrorKind::Unsupported => None,
            Err(error) => return Err(error),
        };
        Ok(request.report(page, &uses, realm.as_ref(), self.clock.wall()))
    }
}
