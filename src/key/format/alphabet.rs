//! The characters of keys, and numbers written in them.

/// In the order of GitHub's checksums: digits, upper case, lower case.
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// RFC 4648 section 5.
const BASE64_URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const HEX: &[u8; 16] = b"0123456789abcdef";

/// What each byte counts as a base62 digit.
const BASE62_DIGITS: [Option<u8>; 256] = {
    let mut digits = [None; 256];
    let mut value = 0;
    while value < BASE62.len() {
        digits[BASE62[value] as usize] = Some(value as u8);
        value += 1;
    }
    digits
};

/// The characters of a key's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Alphabet {
    /// `0-9A-Za-z`: 5.95 bits a character. A double click selects the whole key. The default.
    Base62,
    /// `A-Za-z0-9-_` (RFC 4648 section 5): 6 bits a character.
    Base64Url,
    /// `0-9a-f`: 4 bits a character. Upper case is malformed, because it would have another hash.
    Hex,
}

impl Alphabet {
    /// In the order of their values.
    pub(super) fn characters(self) -> &'static [u8] {
        match self {
            Self::Base62 => BASE62,
            Self::Base64Url => BASE64_URL,
            Self::Hex => HEX,
        }
    }

    /// The whole bits of entropy in this many random characters.
    pub(super) fn bits(self, characters: usize) -> usize {
        // log2(62) = 5.95419…, rounded down.
        let per_thousand = match self {
            Self::Base62 => 5954,
            Self::Base64Url => 6000,
            Self::Hex => 4000,
        };
        characters.saturating_mul(per_thousand) / 1000
    }

    /// The fewest characters with this many bits.
    pub(super) fn characters_for(self, bits: usize) -> usize {
        (0..=bits)
            .find(|&characters| self.bits(characters) >= bits)
            .unwrap_or(bits)
    }

    /// The character class in a regular expression.
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Base62 => "[0-9A-Za-z]",
            Self::Base64Url => "[0-9A-Za-z_-]",
            Self::Hex => "[0-9a-f]",
        }
    }

    /// Whether the text has no other characters.
    pub(super) fn spells(self, text: &[u8]) -> bool {
        match self {
            Self::Base62 => all(text, |byte| byte.is_ascii_alphanumeric()),
            Self::Base64Url => all(text, |byte| {
                byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
            }),
            Self::Hex => all(text, |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')),
        }
    }
}

/// Without an early end, so that the compiler tests many bytes at once: every check reads its key by this.
fn all(text: &[u8], test: impl Fn(u8) -> bool) -> bool {
    text.iter().fold(true, |all, &byte| all & test(byte))
}

/// The last `N` base62 digits of a number, left-padded with `0`.
pub(super) fn to_base62<const N: usize>(mut number: u64) -> [u8; N] {
    let mut text = [b'0'; N];
    for character in text.iter_mut().rev() {
        *character = BASE62[(number % 62) as usize];
        number /= 62;
    }
    text
}

/// The number that these base62 digits write. Ten of them cannot overflow.
pub(super) fn from_base62<const N: usize>(text: &[u8; N]) -> Option<u64> {
    const { assert!(N <= 10) };
    text.iter().try_fold(0, |number, &character| {
        BASE62_DIGITS[usize::from(character)].map(|digit| number * 62 + u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alphabet_spells_exactly_its_characters() {
        for alphabet in [Alphabet::Base62, Alphabet::Base64Url, Alphabet::Hex] {
            for byte in 0..=u8::MAX {
                let is_one = alphabet.characters().contains(&byte);
                for text in [&[byte][..], &[b'0', byte, b'1'], &[b'0', b'1', byte]] {
                    assert_eq!(alphabet.spells(text), is_one, "{alphabet:?} {text:?}");
                }
            }
        }
    }

    #[test]
    fn base62_numbers_come_back() {
        for number in [0, 1, 61, 62, u64::from(u32::MAX), 62u64.pow(10) - 1] {
            assert_eq!(from_base62(&to_base62::<10>(number)), Some(number));
        }
        assert_eq!(&to_base62::<6>(62), b"000010");
        for text in [b"00-000", b"-00000", b"00000\xff"] {
            assert_eq!(from_base62(text), None);
        }
    }

    #[test]
    fn entropy_is_rounded_down() {
        assert_eq!(Alphabet::Base62.bits(12), 71);
        assert_eq!(Alphabet::Base62.bits(32), 190);
        assert_eq!(Alphabet::Hex.bits(64), 256);
        assert_eq!(Alphabet::Base62.characters_for(32), 6);
        assert_eq!(Alphabet::Hex.characters_for(32), 8);
    }
}
