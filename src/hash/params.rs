//! How dear an Argon2id hash is, within bounds.

use argon2::{Algorithm, Argon2, Params, Version};

use crate::error::ConfigError;

const MOST_MEMORY_KIB: u32 = 256 * 1024;
const MOST_PASSES: u32 = 6;
const MOST_LANES: u32 = 8;
const MEMORY_PER_LANE_KIB: u32 = 8;

/// How dear an Argon2id hash is: memory, passes, lanes (RFC 9106, section 3.1).
///
/// Lanes are part of the function but not of its speed here: one thread works them off one after another, since a
/// check must not occupy more processors than the pool has workers.
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
    /// t=1, m=64 MiB, p=4: the default for new keys, about 30 ms of one processor.
    pub const DEFAULT: Self = Self {
        memory_kib: 64 * 1024,
        passes: 1,
        lanes: 4,
    };

    /// t=2, m=19 MiB, p=1: what the OWASP Password Storage Cheat Sheet names first, where memory is scarce.
    pub const OWASP: Self = Self {
        memory_kib: 19 * 1024,
        passes: 2,
        lanes: 1,
    };

    /// Parameters of one's own: memory in KiB (8 for each lane, to 262,144 = 256 MiB), passes (1 to 6), lanes (1 to 8).
    ///
    /// The upper bounds are those that stored records are held to as well: a hash that could be made but not verified
    /// would lock its owner out.
    ///
    /// # Errors
    /// When one of the three is out of its bounds.
    pub fn new(memory_kib: u32, passes: u32, lanes: u32) -> Result<Self, ConfigError> {
        match Self::within_bounds(memory_kib, passes, lanes) {
            Some(params) => Ok(params),
            None => Err(ConfigError::new(
                "Argon2 parameters",
                "memory must be 8 KiB for each lane to 262144 KiB, passes 1 to 6, lanes 1 to 8",
            )),
        }
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

    pub(super) const fn within_bounds(memory_kib: u32, passes: u32, lanes: u32) -> Option<Self> {
        let within = lanes >= 1
            && lanes <= MOST_LANES
            && passes >= 1
            && passes <= MOST_PASSES
            && memory_kib >= MEMORY_PER_LANE_KIB * lanes
            && memory_kib <= MOST_MEMORY_KIB;
        if within {
            Some(Self {
                memory_kib,
                passes,
                lanes,
            })
        } else {
            None
        }
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
