//! What has to be done again and again, by one process of all.
//!
//! For operators, the page `docs/maintenance.md` of the repository says which tasks there are and how to start them.

mod lease;
mod retention;
mod run;
mod tasks;

use std::fmt;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use self::retention::Retention;
pub use self::tasks::{MaintenanceReport, Task, TaskOutcome};
use super::issuer::Issuer;
use super::trail::{AuditAnchors, AuditTrail};
use crate::clock::Clock;
use crate::error::ConfigError;
use crate::store::ManagedStore;

/// The tasks that a store needs now and then: retention, anchors of the audit trail, and flushing what waits in memory. From
/// [`ApiKeys::maintenance`](crate::ApiKeys::maintenance).
///
/// Each process may run it. Each task is done by one of them in its period, under a lease in the store, and a task that is cut
/// off is done by another one: all of them may be repeated.
///
/// | task | period | what it does | setting |
/// |---|---|---|---|
/// | `flush` | each minute, in every process | [`ApiKeys::flush`](crate::ApiKeys::flush) | |
/// | `change_log` | 1 hour | deletes rows of the change log | [`change_log`](Self::change_log): 7 days |
/// | `audit_anchor` | 10 minutes | [`AuditTrail::anchor`](crate::AuditTrail::anchor) | [`anchor_file`](Self::anchor_file) |
/// | `audit_events` | 1 day | [`AuditTrail::prune`](crate::AuditTrail::prune) | [`audit_events`](Self::audit_events): kept |
/// | `origins` | 1 day | deletes addresses and user agents | [`origins`](Self::origins): 90 days |
/// | `refusals` | 1 day | deletes counts and samples of refusals | [`refusals`](Self::refusals): 90 days |
/// | `use_sources` | 1 day | forgets batches of processes that ended | 30 days |
/// | `idempotency` | 1 hour | forgets what was made for [idempotency keys](crate::Issuer::issue_once) | 24 hours |
/// | `expired_keys` | 1 day | [`Issuer::delete_expired`](crate::Issuer::delete_expired) | [`expired_keys`](Self::expired_keys): 90 days |
/// | `revoked_keys` | 1 day | [`Issuer::delete_revoked`](crate::Issuer::delete_revoked) | [`revoked_keys`](Self::revoked_keys): kept |
///
/// ```
/// use std::time::Duration;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let keys = tower_api_key::ApiKeys::open("memory:").await?;
/// let maintenance = keys.maintenance().origins(Duration::from_secs(30 * 86_400))?;
/// let report = maintenance.run_once().await;
/// assert!(report.failed().next().is_none());
/// let running = tokio::spawn(async move { maintenance.run().await });
/// # running.abort();
/// # Ok(())
/// # }
/// ```
pub struct Maintenance<S> {
    store: S,
    audit: AuditTrail<S>,
    issuer: Issuer<S>,
    clock: Clock,
    settings: MaintenanceSettings,
    /// Without a file, what this process has anchored.
    anchors: Mutex<AuditAnchors>,
}

/// What can be set of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct MaintenanceSettings {
    retention: Retention,
    anchor_file: Option<PathBuf>,
}

impl<S: ManagedStore + Clone> Maintenance<S> {
    pub(crate) fn over(store: S, audit: AuditTrail<S>, issuer: Issuer<S>, clock: Clock) -> Self {
        Self {
            store,
            audit,
            issuer,
            clock,
            settings: MaintenanceSettings::default(),
            anchors: Mutex::default(),
        }
    }

    pub(crate) fn begun_with(mut self, settings: &MaintenanceSettings) -> Self {
        self.settings = settings.clone();
        self
    }

    #[cfg(feature = "file")]
    pub(crate) fn into_settings(self) -> MaintenanceSettings {
        self.settings
    }

    /// How long rows of the change log are kept. Default: 7 days. A process that slept for longer reads all its keys again.
    ///
    /// # Errors
    /// When it is less than an hour.
    pub fn change_log(mut self, kept: Duration) -> Result<Self, ConfigError> {
        self.settings.retention.change_log = retention::checked("retention of the change log", kept)?;
        Ok(self)
    }

    /// How long audit events are kept. Default: for good. The rest of each chain still verifies.
    ///
    /// # Errors
    /// When it is less than an hour.
    pub fn audit_events(mut self, kept: Duration) -> Result<Self, ConfigError> {
        self.settings.retention.audit_events = Some(retention::checked("retention of audit events", kept)?);
        Ok(self)
    }

    /// How long addresses and user agents are kept, of audit events and of the last use of keys. Default: 90 days.
    ///
    /// # Errors
    /// When it is less than an hour.
    pub fn origins(mut self, kept: Duration) -> Result<Self, ConfigError> {
        self.settings.retention.origins = retention::checked("retention of addresses", kept)?;
        Ok(self)
    }

    /// How long counts and samples of refusals are kept. Default: 90 days.
    ///
    /// # Errors
    /// When it is less than an hour.
    pub fn refusals(mut self, kept: Duration) -> Result<Self, ConfigError> {
        self.settings.retention.refusals = retention::checked("retention of refusals", kept)?;
        Ok(self)
    }

    /// How long keys are kept that expired; `None` keeps them for good. Default: 90 days. Their audit events stay.
    ///
    /// # Errors
    /// When it is less than an hour.
    pub fn expired_keys(mut self, kept: impl Into<Option<Duration>>) -> Result<Self, ConfigError> {
        let kept = kept.into();
        self.settings.retention.expired_keys = kept
            .map(|kept| retention::checked("retention of expired keys", kept))
            .transpose()?;
        Ok(self)
    }

    /// How long keys are kept that were revoked. Default, and `None`: for good. Their audit events stay.
    ///
    /// # Errors
    /// When it is less than an hour.
    pub fn revoked_keys(mut self, kept: impl Into<Option<Duration>>) -> Result<Self, ConfigError> {
        let kept = kept.into();
        self.settings.retention.revoked_keys = kept
            .map(|kept| retention::checked("retention of revoked keys", kept))
            .transpose()?;
        Ok(self)
    }

    /// Keeps the anchors of the audit trail in this file, as [`AuditTrail::anchor_file`](crate::AuditTrail::anchor_file) does.
    /// Default: in the memory of the process.
    #[must_use]
    pub fn anchor_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.anchor_file = Some(path.into());
        self
    }
}

impl<S> fmt::Debug for Maintenance<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Maintenance")
            .field("retention", &self.settings.retention)
            .finish_non_exhaustive()
    }
}
