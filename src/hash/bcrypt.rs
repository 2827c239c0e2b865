//! bcrypt, of other systems and of our own (feature `legacy-hashes`).

use std::ops::RangeInclusive;

use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::digest::SlowDigest;
use super::error::{InvalidHash, InvalidHashKind};

pub(super) const COSTS: RangeInclusive<u32> = 4..=14;

const LENGTH: usize = 60;
const SALT_CHARACTERS: usize = 22;
const DIGEST_BYTES: usize = 23;
/// In bytes, the final NUL included. bcrypt reads no more.
const LONGEST_INPUT: usize = 72;

/// The last character of the salt has unused bits. Some libraries leave them set, and all verify such hashes.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::BCRYPT,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);

#[derive(Clone)]
pub(super) struct BcryptRecipe {
    pub(super) cost: u32,
    pub(super) salt: [u8; 16],
    /// Over the base64 of the key's SHA-256, which fits into what bcrypt reads.
    pub(super) prehashed: bool,
}

impl BcryptRecipe {
    pub(super) fn run(&self, key: &[u8]) -> SlowDigest {
        let input = if self.prehashed {
            let prehash = Zeroizing::new(STANDARD.encode(Sha256::digest(key)));
            terminated(prehash.as_bytes())
        } else {
            terminated(key)
        };
        let output = bcrypt::bcrypt(self.cost, self.salt, &input);
        SlowDigest::from_bytes(&output[..DIGEST_BYTES])
    }

    pub(super) fn tagged(&self, digest: &SlowDigest) -> String {
        let tag = if self.prehashed { "bcrypt-sha256:" } else { "" };
        let salt = BASE64.encode(self.salt);
        let digest = BASE64.encode(&digest.to_bytes()[..DIGEST_BYTES]);
        format!("{tag}$2b${:02}${salt}{digest}", self.cost)
    }
}

/// Reads `$2a$`, `$2b$` or `$2y$`, which are the same for keys. `$2x$` is refused: it marks hashes of a faulty version in
/// which different passwords collide.
pub(super) fn parse(text: &str, prehashed: bool) -> Result<(BcryptRecipe, SlowDigest), InvalidHash> {
    let malformed = || InvalidHash::new(InvalidHashKind::Malformed);
    if text.len() != LENGTH || !text.is_ascii() {
        return Err(malformed());
    }
    let rest = ["$2a$", "$2b$", "$2y$"]
        .iter()
        .find_map(|version| text.strip_prefix(version))
        .ok_or_else(malformed)?;
    let (cost, rest) = rest.split_once('$').ok_or_else(malformed)?;
    if cost.len() != 2 || !cost.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(malformed());
    }
    let cost: u32 = cost.parse().map_err(InvalidHash::malformed)?;
    if !COSTS.contains(&cost) {
        return Err(InvalidHash::new(InvalidHashKind::OutOfBounds));
    }
    let (salt, digest) = rest.split_at_checked(SALT_CHARACTERS).ok_or_else(malformed)?;
    let salt = BASE64.decode(salt).map_err(InvalidHash::malformed)?;
    let salt = <[u8; 16]>::try_from(salt).map_err(|_| malformed())?;
    let digest = BASE64.decode(digest).map_err(InvalidHash::malformed)?;
    if digest.len() != DIGEST_BYTES {
        return Err(malformed());
    }
    let recipe = BcryptRecipe { cost, salt, prehashed };
    Ok((recipe, SlowDigest::from_bytes(&digest)))
}

/// The input as C libraries read it: with its NUL, and cut after 72 bytes.
fn terminated(key: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut input = Zeroizing::new(Vec::with_capacity(LONGEST_INPUT));
    input.extend(key.iter().take(LONGEST_INPUT));
    if input.len() < LONGEST_INPUT {
        input.push(0);
    }
    input
}
