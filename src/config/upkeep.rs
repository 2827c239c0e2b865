//! `[maintenance]`: how long what is kept.

use std::time::Duration;

use super::error::Fault;
use super::setting::{Setting, apply};
use super::value::{Section, Value};
use crate::issue::Maintenance;
use crate::store::ManagedStore;

/// What is never deleted.
const KEEP: &str = "keep";

#[derive(Clone, Debug)]
pub(super) struct MaintenanceConfig {
    change_log: Option<Setting<Duration>>,
    /// `None` for good, as in the next ones.
    audit_events: Option<Setting<Option<Duration>>>,
    origins: Option<Setting<Duration>>,
    refusals: Option<Setting<Duration>>,
    expired_keys: Option<Setting<Option<Duration>>>,
    revoked_keys: Option<Setting<Option<Duration>>>,
}

impl MaintenanceConfig {
    pub(super) fn read(mut section: Section<'_, '_>) -> Result<Self, Fault> {
        let read = Self {
            change_log: section.setting("change_log", Value::duration)?,
            audit_events: section.setting("audit_events", kept)?,
            origins: section.setting("origins", Value::duration)?,
            refusals: section.setting("refusals", Value::duration)?,
            expired_keys: section.setting("expired_keys", kept)?,
            revoked_keys: section.setting("revoked_keys", kept)?,
        };
        section.end()?;
        Ok(read)
    }

    pub(super) fn apply<S: ManagedStore + Clone>(&self, maintenance: Maintenance<S>) -> Result<Maintenance<S>, Fault> {
        let Self {
            change_log,
            audit_events,
            origins,
            refusals,
            expired_keys,
            revoked_keys,
        } = self;
        let maintenance = apply(change_log, maintenance, Maintenance::change_log)?;
        let maintenance = apply(audit_events, maintenance, |maintenance, kept| match kept {
            Some(kept) => maintenance.audit_events(kept),
            None => Ok(maintenance),
        })?;
        let maintenance = apply(origins, maintenance, Maintenance::origins)?;
        let maintenance = apply(refusals, maintenance, Maintenance::refusals)?;
        let maintenance = apply(expired_keys, maintenance, Maintenance::expired_keys)?;
        apply(revoked_keys, maintenance, Maintenance::revoked_keys)
    }
}

fn kept(value: &Value<'_, '_>) -> Result<Option<Duration>, Fault> {
    if value.text().is_ok_and(|text| text == KEEP) {
        return Ok(None);
    }
    value.duration().map(Some)
}
