//! `[hash]`: how new keys are hashed, and the threads that do it.

use std::time::Duration;

use super::error::Fault;
use super::setting::{Setting, apply};
use super::value::{Section, Value};
use crate::hash::{Argon2Params, HashPolicy, HashPool, HashPoolBuilder};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Argon2id,
    BcryptSha256,
    Sha256,
}

const SCHEMES: [(&str, Scheme); 3] = [
    ("argon2id", Scheme::Argon2id),
    ("bcrypt-sha256", Scheme::BcryptSha256),
    ("sha256", Scheme::Sha256),
];
#[cfg(feature = "legacy-hashes")]
const DEFAULT_BCRYPT_COST: u32 = 10;

#[derive(Clone, Debug)]
pub(super) struct HashConfig {
    /// `None` for the default.
    pub(super) policy: Option<HashPolicy>,
    pub(super) rehash_obsolete: bool,
    pool: PoolConfig,
}

#[derive(Clone, Debug)]
struct PoolConfig {
    workers: Option<Setting<usize>>,
    queue_per_worker: Option<Setting<usize>>,
    deadline: Option<Setting<Duration>>,
    niceness: Option<Setting<u8>>,
}

impl HashConfig {
    pub(super) fn read(mut section: Section<'_, '_>) -> Result<Self, Fault> {
        let policy = Policy {
            scheme: section.setting("scheme", |value| value.choice(&SCHEMES))?,
            memory_kib: section.setting("memory_kib", |value| value.number(0..=u32::MAX))?,
            passes: section.setting("passes", |value| value.number(0..=u32::MAX))?,
            lanes: section.setting("lanes", |value| value.number(0..=u32::MAX))?,
            cost: section.setting("cost", |value| value.number(0..=u32::MAX))?,
        };
        let rehash_obsolete = section.setting("rehash_obsolete", Value::is_true)?;
        let pool = PoolConfig::read(section.section("pool")?)?;
        section.end()?;
        Ok(Self {
            policy: policy.of(&section)?,
            rehash_obsolete: rehash_obsolete.is_some_and(|setting| setting.value),
            pool,
        })
    }

    /// The pool, if the file sets anything of it.
    pub(super) fn pool(&self) -> Result<Option<HashPool>, Fault> {
        let PoolConfig {
            workers,
            queue_per_worker,
            deadline,
            niceness,
        } = &self.pool;
        if workers.is_none() && queue_per_worker.is_none() && deadline.is_none() && niceness.is_none() {
            return Ok(None);
        }
        let builder = apply(workers, HashPool::builder(), HashPoolBuilder::workers)?;
        let builder = apply(queue_per_worker, builder, HashPoolBuilder::queue_per_worker)?;
        let builder = apply(deadline, builder, HashPoolBuilder::deadline)?;
        let builder = apply(niceness, builder, HashPoolBuilder::niceness)?;
        Ok(Some(builder.build()))
    }
}

impl PoolConfig {
    fn read(mut section: Section<'_, '_>) -> Result<Self, Fault> {
        let read = Self {
            workers: section.setting("workers", |value| value.number(1..=64))?,
            queue_per_worker: section.setting("queue_per_worker", |value| value.number(1..=1024))?,
            deadline: section.setting("deadline", Value::duration)?,
            niceness: section.setting("niceness", |value| value.number(0..=19))?,
        };
        section.end()?;
        Ok(read)
    }
}

/// As it stands in the file.
struct Policy {
    scheme: Option<Setting<Scheme>>,
    memory_kib: Option<Setting<u32>>,
    passes: Option<Setting<u32>>,
    lanes: Option<Setting<u32>>,
    cost: Option<Setting<u32>>,
}

impl Policy {
    fn of(self, section: &Section<'_, '_>) -> Result<Option<HashPolicy>, Fault> {
        let Self {
            scheme,
            memory_kib,
            passes,
            lanes,
            cost,
        } = self;
        let chosen = scheme.as_ref().map_or(Scheme::Argon2id, |setting| setting.value);
        let of_argon2 = [&memory_kib, &passes, &lanes];
        if let Some(other) = of_argon2
            .into_iter()
            .flatten()
            .next()
            .filter(|_| chosen != Scheme::Argon2id)
        {
            return Err(other.fault("is of scheme \"argon2id\" alone: remove it"));
        }
        if let Some(cost) = cost.as_ref().filter(|_| chosen != Scheme::BcryptSha256) {
            return Err(cost.fault("is of scheme \"bcrypt-sha256\" alone: remove it"));
        }
        match chosen {
            Scheme::Argon2id => {
                if scheme.is_none() && of_argon2.into_iter().flatten().next().is_none() {
                    return Ok(None);
                }
                let default = Argon2Params::DEFAULT;
                let number =
                    |setting: &Option<Setting<u32>>, default| setting.as_ref().map_or(default, |set| set.value);
                let params = Argon2Params::new(
                    number(&memory_kib, default.memory_kib()),
                    number(&passes, default.passes()),
                    number(&lanes, default.lanes()),
                );
                params
                    .map(|params| Some(HashPolicy::argon2id(params)))
                    .map_err(|error| {
                        let setting = match error.setting() {
                            "Argon2 lanes" => &lanes,
                            "Argon2 passes" => &passes,
                            "Argon2 memory in KiB" => &memory_kib,
                            _ => &None,
                        };
                        match setting {
                            Some(setting) => setting.refused(error),
                            None => section.refused(error),
                        }
                    })
            }
            Scheme::Sha256 => Ok(Some(HashPolicy::sha256())),
            Scheme::BcryptSha256 => bcrypt(scheme, cost),
        }
    }
}

#[cfg(feature = "legacy-hashes")]
fn bcrypt(_: Option<Setting<Scheme>>, cost: Option<Setting<u32>>) -> Result<Option<HashPolicy>, Fault> {
    let policy = match cost {
        None => HashPolicy::bcrypt_sha256(DEFAULT_BCRYPT_COST).ok(),
        Some(cost) => Some(HashPolicy::bcrypt_sha256(cost.value).map_err(|error| cost.refused(error))?),
    };
    Ok(policy)
}

#[cfg(not(feature = "legacy-hashes"))]
fn bcrypt(scheme: Option<Setting<Scheme>>, _: Option<Setting<u32>>) -> Result<Option<HashPolicy>, Fault> {
    match scheme {
        Some(scheme) => Err(scheme.fault("is \"bcrypt-sha256\", which needs feature `legacy-hashes` of tower-api-key")),
        None => Ok(None),
    }
}
