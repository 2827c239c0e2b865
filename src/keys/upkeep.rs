//! What a handle stores by itself, and maintenance.

use std::time::Duration;

use super::ApiKeys;
use crate::issue::{AuditError, Hygiene, HygieneReport, Maintenance, flush_uses};
use crate::key::{Actor, OrganizationId};
use crate::last_use::PendingUses;
use crate::store::query::Statistics;
use crate::store::{ManagedStore, StoreError};

const MINUTE: Duration = Duration::from_secs(60);

impl<S: ManagedStore + Clone> ApiKeys<S> {
    /// Stores what requests left in memory: when keys were used and how often, refusals, and first uses as audit events. A handle
    /// that was [opened](super::ApiKeysBuilder::open) does this every minute by itself: call it before the process ends. One that is killed loses
    /// at most that minute.
    ///
    /// # Errors
    /// Those of the store. What could not be stored is kept, and stored the next time: a use is never counted twice.
    pub async fn flush(&self) -> Result<(), AuditError> {
        let uses = flush_uses(self.authenticator.store()).await;
        self.audit().flush().await?;
        Ok(uses?)
    }

    /// [Flushes](Self::flush), and closes the store: for the orderly end of a process, after which the handle and all that came from it
    /// fail. It returns once the files of the store are closed: a SQLite file is whole by itself then, unless another process has it
    /// open.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let keys = tower_api_key::testing::api_keys().open().await?;
    /// let layer = keys.layer();
    /// // ... serve, until a signal comes ...
    /// # drop(layer);
    /// keys.close().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of [`flush`](Self::flush). The store is closed all the same.
    pub async fn close(&self) -> Result<(), AuditError> {
        let flushed = self.flush().await;
        self.authenticator.store().close().await;
        flushed
    }

    /// Retention, anchors and flushing, for all processes that share the store: [`run`](Maintenance::run) it in each.
    pub fn maintenance(&self) -> Maintenance<S> {
        let checks = &self.authenticator;
        let issuer = self.issuer().acting_as(Actor::service());
        let maintenance = Maintenance::over(checks.store().clone(), self.audit(), issuer, checks.clock().clone());
        match &self.maintenance {
            Some(settings) => maintenance.begun_with(settings),
            None => maintenance,
        }
    }

    /// Makes settings that each later [`maintenance`](Self::maintenance) begins with.
    #[cfg(feature = "file")]
    pub(crate) fn maintained<E>(
        mut self,
        configure: impl FnOnce(Maintenance<S>) -> Result<Maintenance<S>, E>,
    ) -> Result<Self, E> {
        let configured = configure(self.maintenance())?;
        self.maintenance = Some(std::sync::Arc::new(configured.into_settings()));
        Ok(self)
    }

    /// How many keys there are and how many were used, of one organization, or of all for `None`. Stores the uses that wait in
    /// this process before, so that they are counted.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let keys = tower_api_key::testing::api_keys().open().await?;
    /// let ensured = keys.ensure("acme", "my first key").await?;
    /// let statistics = keys.statistics(ensured.organization.id).await?;
    /// assert_eq!((statistics.active, statistics.never_used), (1, 1));
    /// assert_eq!(keys.statistics(None).await?.total, 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of the store.
    pub async fn statistics(&self, organization: impl Into<Option<OrganizationId>>) -> Result<Statistics, StoreError> {
        self.issuer().statistics_of(organization.into()).await
    }

    /// What should be looked after: keys without an end, keys and scopes that are not used, and keys with a CRC-32 that are still
    /// accepted. Page by page.
    ///
    /// # Errors
    /// Those of the store; [`InvalidCursor`](crate::store::StoreErrorKind::InvalidCursor) for a cursor of another report.
    pub async fn hygiene(&self, request: Hygiene) -> Result<HygieneReport, StoreError> {
        self.issuer().hygiene_report(request).await
    }

    /// Flushes as long as the handle or a part of it is kept.
    pub(super) fn flush_every_minute(&self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let Some(pending) = self.authenticator.store().fence().map(PendingUses::of) else {
            return;
        };
        let kept = self.authenticator.while_kept();
        runtime.spawn(async move {
            loop {
                // What comes first: the minute is over, or many keys wait.
                let _ = tokio::time::timeout(MINUTE, pending.is_nearly_full.notified()).await;
                let Some(authenticator) = kept() else { break };
                if let Err(error) = ApiKeys::of(authenticator).flush().await {
                    tracing::warn!(
                        target: "tower_api_key::audit",
                        source = std::error::Error::source(&error).map(tracing::field::display),
                        "could not store refusals and uses of keys; trying again in a minute"
                    );
                }
            }
        });
    }
}
