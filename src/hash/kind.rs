//! What a stored hash costs to verify, and how much of a key it proves.

use super::error::{InvalidHash, InvalidHashKind};
use super::tagged;
use crate::key::{KeyFormat, SecretHash};

/// What a stored hash costs to verify, and how much of a key it proves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum HashKind {
    /// The caller verifies it.
    Fast,
    /// It takes a place in a pool.
    Slow,
    /// Slow, and ignores what comes after the first 72 bytes of a key: bcrypt.
    Cut,
}

/// bcrypt reads so many bytes: keys of this length or longer that begin with the same ones have the same hash.
const CUT: usize = 72;

impl HashKind {
    pub(crate) fn of(hash: &SecretHash) -> Self {
        match hash.scheme() {
            "sha256" | "sha512" => Self::Fast,
            _ if hash.as_str().starts_with("$2") => Self::Cut,
            _ => Self::Slow,
        }
    }

    pub(crate) fn is_slow(self) -> bool {
        self != Self::Fast
    }

    /// Whether such a hash fits another key of this length too, with the same beginning and another end. Then the key that was
    /// verified may not be the right one.
    pub(crate) fn is_cut_before(self, length: usize) -> bool {
        self == Self::Cut && length >= CUT
    }
}

/// [`validate`](super::validate), and checks that the hash covers whole keys of this format.
///
/// Plain bcrypt (`$2b$`) ignores what comes after the first 72 bytes of a key, so it cannot tell longer keys apart that
/// begin alike. Import such keys only if the rest of them is no secret.
///
/// ```
/// # #[cfg(feature = "legacy-hashes")] {
/// use tower_api_key::hash::{InvalidHashKind, validate_for};
/// use tower_api_key::key::{KeyFormat, SecretHash};
///
/// let hash = SecretHash::new("$2b$04$abcdefghijklmnopqrstuu5Lo0g67CiD3M4RpN1BmBb4Crp5w7dbK").unwrap();
/// let long = KeyFormat::builder("acme").body_length(80).build().unwrap();
/// assert!(validate_for(&hash, &KeyFormat::default()).is_ok());
/// assert_eq!(validate_for(&hash, &long).unwrap_err().kind(), InvalidHashKind::CutsKeys);
/// # }
/// ```
///
/// # Errors
/// When the hash cannot be used, or ignores the end of keys of this format; [`InvalidHash::kind`] says why.
pub fn validate_for(hash: &SecretHash, format: &KeyFormat) -> Result<(), InvalidHash> {
    tagged::validate(hash)?;
    match HashKind::of(hash).is_cut_before(format.longest_key()) {
        true => Err(InvalidHash::new(InvalidHashKind::CutsKeys)),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_bcrypt_cuts_keys_and_only_long_ones() {
        let kind = |text: &str| HashKind::of(&SecretHash::new(text).unwrap());
        let bcrypt = "$2b$04$abcdefghijklmnopqrstuu5Lo0g67CiD3M4RpN1BmBb4Crp5w7dbK";
        assert_eq!(kind(bcrypt), HashKind::Cut);
        assert_eq!(kind(&format!("bcrypt-sha256:{bcrypt}")), HashKind::Slow);
        assert_eq!(kind(&format!("sha256:{:0>64}", "")), HashKind::Fast);
        assert!(HashKind::Cut.is_cut_before(CUT) && !HashKind::Cut.is_cut_before(CUT - 1));
        assert!(!HashKind::Slow.is_cut_before(CUT) && !HashKind::Fast.is_cut_before(CUT));
    }
}
