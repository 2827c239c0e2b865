//! What a handle stores by itself, and maintenance.

use std::time::Duration;

use super::ApiKeys;
use crate::issue::{AuditError, flush_uses};
use crate::last_use::PendingUses;
use crate::store::ManagedStore;

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
