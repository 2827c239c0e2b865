//! Reads the text of stored hashes.

use password_hash::phc::{PasswordHash, Salt};

use super::digest::{Digest, SlowDigest};
use super::error::{InvalidHash, InvalidHashKind};
use super::params::Argon2Params;
use super::recipe::Recipe;
use crate::key::{SecretHash, hex};

const ARGON2_VERSION: u32 = 19;
const ARGON2_OUTPUT: usize = 32;

/// A stored hash whose parameters are within bounds.
pub(super) enum Tagged {
    Sha256(Digest<4>),
    Sha512(Digest<8>),
    Slow(Recipe, SlowDigest),
}

impl Tagged {
    pub(super) fn parse(hash: &SecretHash) -> Result<Self, InvalidHash> {
        parse(hash.as_str())
    }
}

/// Checks that a stored hash can be used: its scheme is known, and its parameters are within bounds.
///
/// Call it on import, so that a bad hash is refused then and not at its first use.
///
/// ```
/// use tower_api_key::hash::{InvalidHashKind, validate};
/// use tower_api_key::key::SecretHash;
///
/// let hash = SecretHash::new(format!("sha256:{}", "0".repeat(64)))?;
/// assert!(validate(&hash).is_ok());
///
/// let huge = SecretHash::new("$argon2id$v=19$m=4194304,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc")?;
/// assert_eq!(validate(&huge).unwrap_err().kind(), InvalidHashKind::OutOfBounds);
/// # Ok::<_, tower_api_key::ConfigError>(())
/// ```
///
/// # Errors
/// When it cannot be used; [`InvalidHash::kind`] says why.
pub fn validate(hash: &SecretHash) -> Result<(), InvalidHash> {
    Tagged::parse(hash).map(|_| ())
}

/// [`SecretHash`] bounds the length of the text.
fn parse(text: &str) -> Result<Tagged, InvalidHash> {
    let malformed = || InvalidHash::new(InvalidHashKind::Malformed);
    if let Some(digits) = text.strip_prefix("sha256:") {
        let digest = hex::decode::<32>(digits).ok_or_else(malformed)?;
        return Ok(Tagged::Sha256(Digest::from_bytes(&digest)));
    }
    if let Some(digits) = text.strip_prefix("sha512:") {
        let digest = hex::decode::<64>(digits).ok_or_else(malformed)?;
        return Ok(Tagged::Sha512(Digest::from_bytes(&digest)));
    }
    if text.starts_with("$argon2") {
        return argon2(text);
    }
    #[cfg(feature = "legacy-hashes")]
    if let Some(bcrypt) = text.strip_prefix("bcrypt-sha256:") {
        let (recipe, digest) = super::bcrypt::parse(bcrypt, true)?;
        return Ok(Tagged::Slow(Recipe::Bcrypt(recipe), digest));
    }
    #[cfg(feature = "legacy-hashes")]
    if text.starts_with("$2") {
        let (recipe, digest) = super::bcrypt::parse(text, false)?;
        return Ok(Tagged::Slow(Recipe::Bcrypt(recipe), digest));
    }
    Err(InvalidHash::new(InvalidHashKind::UnknownScheme))
}

fn argon2(text: &str) -> Result<Tagged, InvalidHash> {
    let malformed = || InvalidHash::new(InvalidHashKind::Malformed);
    let out_of_bounds = || InvalidHash::new(InvalidHashKind::OutOfBounds);
    let hash = PasswordHash::new(text).map_err(InvalidHash::malformed)?;
    match hash.algorithm.as_str() {
        "argon2id" => {}
        // argon2d leaks the key through its memory accesses, argon2i is weak against machines with little memory
        // (RFC 9106, section 4).
        "argon2d" | "argon2i" => return Err(out_of_bounds()),
        _ => return Err(InvalidHash::new(InvalidHashKind::UnknownScheme)),
    }
    if hash.version.ok_or_else(malformed)? != ARGON2_VERSION {
        return Err(out_of_bounds());
    }
    // Read one by one: the `argon2` crate takes defaults for missing parameters, and accepts `data` and `keyid`.
    let mut values = [0; 3];
    let mut names = ["m", "t", "p"].into_iter();
    let mut stored = hash.params.iter();
    for (value, name) in values.iter_mut().zip(names.by_ref()) {
        let (ident, text) = stored.next().ok_or_else(malformed)?;
        if ident.as_str() != name {
            return Err(malformed());
        }
        *value = text.decimal().map_err(InvalidHash::malformed)?;
    }
    if stored.next().is_some() {
        return Err(malformed());
    }
    let [memory_kib, passes, lanes] = values;
    let params = Argon2Params::new(memory_kib, passes, lanes).map_err(|_| out_of_bounds())?;
    // `Salt` holds 8 to 48 bytes, the bounds of the PHC string format for Argon2.
    let salt: Salt = hash.salt.ok_or_else(malformed)?;
    let output = hash.hash.ok_or_else(malformed)?;
    if output.len() != ARGON2_OUTPUT {
        return Err(malformed());
    }
    let recipe = Recipe::Argon2id { params, salt };
    Ok(Tagged::Slow(recipe, SlowDigest::from_bytes(output.as_bytes())))
}
