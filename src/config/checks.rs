//! `[cache]`, `[limits]` and `[audit]`: how keys are checked, and what is noted of it.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use super::error::Fault;
use super::setting::{Setting, apply};
use super::value::{Section, Value};
use crate::audit::Audit;
use crate::check::ApiKeysBuilder;
use crate::limit::LocalLimiter;
use crate::store::KeyStore;

const USES: [(&str, Audit); 3] = [
    ("first", Audit::first_use()),
    ("every", Audit::every_use()),
    ("none", Audit::no_use()),
];

#[derive(Clone, Debug)]
pub(super) struct ChecksConfig {
    cache: CacheConfig,
    limits: LimitsConfig,
    pub(super) audit: AuditConfig,
}

#[derive(Clone, Debug)]
struct CacheConfig {
    time_to_live: Option<Setting<Duration>>,
    max_staleness: Option<Setting<Duration>>,
    bytes: Option<Setting<u64>>,
    read_timeout: Option<Setting<Duration>>,
}

#[derive(Clone, Debug)]
struct LimitsConfig {
    buckets: Option<Setting<NonZeroUsize>>,
    failure_budget: Option<Setting<bool>>,
}

#[derive(Clone, Debug)]
pub(super) struct AuditConfig {
    uses: Option<Setting<Audit>>,
    pub(super) anchor_file: Option<Setting<PathBuf>>,
}

impl ChecksConfig {
    pub(super) fn read(cache: Section<'_, '_>, limits: Section<'_, '_>, audit: Section<'_, '_>) -> Result<Self, Fault> {
        Ok(Self {
            cache: CacheConfig::read(cache)?,
            limits: LimitsConfig::read(limits)?,
            audit: AuditConfig::read(audit)?,
        })
    }

    pub(super) fn apply<S: KeyStore>(&self, builder: ApiKeysBuilder<S>) -> Result<ApiKeysBuilder<S>, Fault> {
        let Self { cache, limits, audit } = self;
        let CacheConfig {
            time_to_live,
            max_staleness,
            bytes,
            read_timeout,
        } = cache;
        let LimitsConfig {
            buckets,
            failure_budget,
        } = limits;
        let AuditConfig { uses, anchor_file: _ } = audit;
        let builder = apply(time_to_live, builder, ApiKeysBuilder::time_to_live)?;
        let builder = apply(max_staleness, builder, ApiKeysBuilder::max_staleness)?;
        let builder = apply(bytes, builder, ApiKeysBuilder::cache_bytes)?;
        let builder = apply(read_timeout, builder, ApiKeysBuilder::read_timeout)?;
        let builder = apply(buckets, builder, |builder, buckets| {
            Ok(builder.limiter(LocalLimiter::with_capacity(buckets)))
        })?;
        let builder = apply(failure_budget, builder, |builder, enabled| {
            Ok(builder.failure_budget(enabled))
        })?;
        apply(uses, builder, |builder, uses| Ok(builder.audit(uses)))
    }
}

impl CacheConfig {
    fn read(mut section: Section<'_, '_>) -> Result<Self, Fault> {
        let read = Self {
            time_to_live: section.setting("time_to_live", Value::duration)?,
            max_staleness: section.setting("max_staleness", Value::duration)?,
            bytes: section.setting("bytes", Value::size)?,
            read_timeout: section.setting("read_timeout", Value::duration)?,
        };
        section.end()?;
        Ok(read)
    }
}

impl LimitsConfig {
    fn read(mut section: Section<'_, '_>) -> Result<Self, Fault> {
        let read = Self {
            buckets: section.setting("buckets", |value| {
                let buckets = value.number(1..=MOST_BUCKETS)?;
                Ok(NonZeroUsize::new(buckets).unwrap_or(NonZeroUsize::MIN))
            })?,
            failure_budget: section.setting("failure_budget", Value::is_true)?,
        };
        section.end()?;
        Ok(read)
    }
}

impl AuditConfig {
    fn read(mut section: Section<'_, '_>) -> Result<Self, Fault> {
        let read = Self {
            uses: section.setting("uses", |value| value.choice(&USES))?,
            anchor_file: section.setting("anchor_file", Value::path)?,
        };
        section.end()?;
        Ok(read)
    }
}

/// Some 150 GB of buckets: more is a mistake.
const MOST_BUCKETS: usize = 1_000_000_000;
