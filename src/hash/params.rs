//! Argon2id cost parameters.

use std::ops::RangeInclusive;

use argon2::{Algorithm, Argon2, Params, Version};

use crate::error::ConfigError;

const PASSES: RangeInclusive<u32> = 1..=6;
const LANES: RangeInclusive<u32> = 1..=8;
const LEAST_KIB_PER_LANE: u32 = 8;
const MOST_KIB: u32 = 256 * 1024;

/// Argon2id cost parameters: memory, passes and lanes (RFC 9106, section 3.1).
///
/// One thread computes all lanes, so that a check never uses more processors than the pool has workers. More lanes make a
/// hash no faster here.
///
/// ```
/// use tower_api_key::hash::Argon2Params;
///
/// let params = Argon2Params::new(32 * 1024, 3, 1)?;
/// assert_eq!((params.memory_kib(), params.passes(), params.lanes()), (32_768, 3, 1));
/// assert!(Argon2Params::new(4 * 1024 * 1024, 1, 1).is_err());
/// # Ok::<_, tower_api_key::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Argon2Params {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl Argon2Params {
    /// t=1, m=64 MiB, p=4: the default for new keys. About 30 ms of one processor.
    pub const DEFAULT: Self = Self {
        memory_kib: 64 * 1024,
        passes: 1,
        lanes: 4,
    };

    /// t=2, m=19 MiB, p=1: the first choice of the OWASP Password Storage Cheat Sheet, for machines with little memory.
    pub const OWASP: Self = Self {
        memory_kib: 19 * 1024,
        passes: 2,
        lanes: 1,
    };

    /// Memory in KiB (8 for each lane, to 262,144, which is 256 MiB), passes (1 to 6) and lanes (1 to 8).
    ///
    /// Stored hashes have the same bounds: a hash beyond them could be made but never verified.
    ///
    /// # Errors
    /// When one of the three is out of its bounds.
    pub fn new(memory_kib: u32, passes: u32, lanes: u32) -> Result<Self, ConfigError> {
        if !LANES.contains(&lanes) {
            return Err(ConfigError::out_of_range("Argon2 lanes", LANES, lanes));
        }
        if !PASSES.contains(&passes) {
            return Err(ConfigError::out_of_range("Argon2 passes", PASSES, passes));
        }
        let memory = memory_for(lanes);
        if !memory.contains(&memory_kib) {
            return Err(ConfigError::out_of_range("Argon2 memory in KiB", memory, memory_kib));
        }
        Ok(Self {
            memory_kib,
            passes,
            lanes,
        })
    }

    /// Memory in KiB.
    pub const fn memory_kib(&self) -> u32 {
        self.memory_kib
    }

    /// Passes over the memory.
    pub const fn passes(&self) -> u32 {
        self.passes
    }

    /// Lanes.
    pub const fn lanes(&self) -> u32 {
        self.lanes
    }

    /// The function with these parameters and an output of 32 bytes.
    pub(super) fn function(&self) -> Result<Argon2<'static>, argon2::Error> {
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(32))?;
        Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
    }
}

impl Default for Argon2Params {
    fn default() -> Self {
        Self::DEFAULT
    }
}

fn memory_for(lanes: u32) -> RangeInclusive<u32> {
    LEAST_KIB_PER_LANE * lanes..=MOST_KIB
}
