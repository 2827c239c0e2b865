//! How long what is kept.

use std::time::Duration;

use crate::error::ConfigError;
use crate::store::query::ChangesAfter;

const DAY: Duration = Duration::from_secs(24 * 3600);
const SHORTEST: Duration = Duration::from_secs(3600);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Retention {
    pub(super) change_log: Duration,
    /// `None`: for good.
    pub(super) audit_events: Option<Duration>,
    pub(super) origins: Duration,
    pub(super) refusals: Duration,
    pub(super) use_sources: Duration,
    pub(super) expired_keys: Option<Duration>,
    pub(super) revoked_keys: Option<Duration>,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            change_log: ChangesAfter::KEPT,
            audit_events: None,
            origins: 90 * DAY,
            refusals: 90 * DAY,
            use_sources: 30 * DAY,
            expired_keys: Some(90 * DAY),
            revoked_keys: None,
        }
    }
}

pub(super) fn checked(setting: &'static str, kept: Duration) -> Result<Duration, ConfigError> {
    if kept >= SHORTEST {
        return Ok(kept);
    }
    let problem = format!("must be at least an hour, got {} seconds", kept.as_secs());
    Err(ConfigError::new(setting, problem))
}
