//! Argon2id cost parameters.

use std::ops::RangeInclusive;

use argon2::{Algorithm, Argon2, Params, Version};

use crate::error::ConfigError;

const PASSES: RangeInclusive<u32> = 1..=6;
const LANES: RangeInclusive<u32> = 1..=8;
const LEAST_KIB_PER_LANE: u32 = 8;
const MOST_KIB: u32 = 256 * 1024;
/// Memory that is written in all passes together: what a hash costs. About a quarter of a second.
const MOST_KIB_OF_ALL_PASSES: u32 = 512 * 1024;

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

    /// Memory in KiB (8 for each lane, to 262,144, which is 256 MiB), passes (1 to 6) and lanes (1 to 8). Memory times passes
    /// is at most 512 MiB, since other keys wait for as long as such a hash takes.
    ///
    /// Stored hashes have the same bounds: a hash beyond them could be made but never verified.
    ///
    /// # Errors
    /// When one of the three is out of its bounds, or memory times passes is.
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
        let cost = memory_kib * passes;
        if cost > MOST_KIB_OF_ALL_PASSES {
            let bounds = LEAST_KIB_PER_LANE..=MOST_KIB_OF_ALL_PASSES;
            return Err(ConfigError::out_of_range(
                "Argon2 memory in KiB times passes",
                bounds,
                cost,
            ));
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Each in its own bounds, they could cost fifty times as much as the default.
    #[test]
    fn memory_times_passes_is_bounded() {
        for (memory_kib, passes, is_valid) in [
            (256 * 1024, 2, true),
            (256 * 1024, 3, false),
            (256 * 1024, 6, false),
            (128 * 1024, 4, true),
            (128 * 1024, 5, false),
            (85 * 1024, 6, true),
            (86 * 1024, 6, false),
        ] {
            assert_eq!(
                Argon2Params::new(memory_kib, passes, 1).is_ok(),
                is_valid,
                "{memory_kib} {passes}"
            );
        }
        let error = Argon2Params::new(MOST_KIB, 6, 1).unwrap_err();
        assert_eq!(
            error.to_string(),
            "invalid Argon2 memory in KiB times passes: must be between 8 and 524288, got 1572864"
        );
    }
}
