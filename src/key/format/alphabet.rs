//! The characters that a key's body is made of.

/// Base62 in the order that checksums use: digits, upper case, lower case.
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// RFC 4648 section 5.
const BASE64_URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const HEX: &[u8; 16] = b"0123456789abcdef";

const NO_DIGIT: u8 = u8::MAX;

/// In each byte of a word: one, and the highest bit.
const ONES: u64 = u64::from_ne_bytes([1; 8]);
const HIGHEST: u64 = ONES << 7;

/// What each byte counts as a base62 digit.
const BASE62_DIGITS: [u8; 256] = {
    let mut digits = [NO_DIGIT; 256];
    let mut value = 0;
    while value < BASE62.len() {
        digits[BASE62[value] as usize] = value as u8;
        value += 1;
    }
    digits
};

/// The characters of a key's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Alphabet {
    /// `0-9A-Za-z`: 5.95 bits a character, and a double click selects the whole key. The default.
    Base62,
    /// `A-Za-z0-9-_` (RFC 4648 section 5): 6 bits a character.
    Base64Url,
    /// `0-9a-f`: 4 bits a character. Upper case is malformed: it would be another key with another hash.
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

    /// How many whole bits of entropy this many random characters carry.
    pub(super) fn bits(self, characters: usize) -> usize {
        // log2(62) = 5.95419...; rounded down, so that no setting is thought stronger than it is.
        let per_thousand = match self {
            Self::Base62 => 5954,
            Self::Base64Url => 6000,
            Self::Hex => 4000,
        };
        characters.saturating_mul(per_thousand) / 1000
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
    #[inline]
    pub(super) fn spells(self, text: &[u8]) -> bool {
        match self {
            Self::Base62 => all(text, base62),
            Self::Base64Url => all(text, |word| {
                base62(word) | between(word, b'-', b'-') | between(word, b'_', b'_')
            }),
            Self::Hex => all(text, |word| decimal(word) | between(word, b'a', b'f')),
        }
    }
}

/// Whether all bytes pass a test of eight at once, which sets the highest bit of those that do.
///
/// By words: byte by byte takes several times as long, and wider vectors need constants from memory, which costs more than
/// it saves for texts as short as keys. The last word overlaps the one before.
#[inline(always)]
pub(super) fn all(text: &[u8], test: impl Fn(u64) -> u64) -> bool {
    let passes = |bytes: &[u8; 8]| test(u64::from_ne_bytes(*bytes)) & HIGHEST == HIGHEST;
    let Some(last) = text.last_chunk() else {
        return is_short_and(text, passes);
    };
    for word in text.as_chunks().0 {
        if !passes(word) {
            return false;
        }
    }
    passes(last)
}

#[cold]
fn is_short_and(text: &[u8], passes: impl Fn(&[u8; 8]) -> bool) -> bool {
    text.iter().all(|&byte| passes(&[byte; 8]))
}

/// Which bytes are between these two, or one of them.
///
/// Without their highest bit, the sums cannot carry into the next byte: they reach it exactly from `low` on, and beyond
/// `high`.
#[inline(always)]
pub(super) fn between(word: u64, low: u8, high: u8) -> u64 {
    let ascii = word & !HIGHEST;
    let from_low = ascii + ONES * u64::from(0x80 - low);
    let beyond_high = ascii + ONES * u64::from(0x7f - high);
    from_low & !beyond_high & !word
}

#[inline(always)]
pub(super) fn decimal(word: u64) -> u64 {
    between(word, b'0', b'9')
}

#[inline(always)]
fn base62(word: u64) -> u64 {
    // Capitals differ from small letters by this bit alone.
    decimal(word) | between(word | (ONES * 0x20), b'a', b'z')
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

/// The number that these base62 digits write. With at most ten of them it cannot overflow.
#[inline(always)]
pub(super) fn from_base62<const N: usize>(text: &[u8; N]) -> Option<u64> {
    const { assert!(N <= 10) };
    let mut number = 0;
    // Digits are below 64, and what is none has all bits: seen once, at the end, instead of at every character.
    let mut bits = 0;
    for &character in text {
        let digit = BASE62_DIGITS[usize::from(character)];
        bits |= digit;
        number = number * 62 + u64::from(digit);
    }
    (bits < 64).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alphabet_spells_exactly_its_characters() {
        for alphabet in [Alphabet::Base62, Alphabet::Base64Url, Alphabet::Hex] {
            for byte in 0..=u8::MAX {
                assert_eq!(
                    alphabet.spells(&[byte]),
                    alphabet.characters().contains(&byte),
                    "{alphabet:?} {byte:#x}"
                );
            }
        }
    }

    #[test]
    fn one_wrong_character_is_found_wherever_it_is() {
        for length in 0..70 {
            let mut text = vec![b'a'; length];
            assert!(Alphabet::Base62.spells(&text), "{length}");
            for place in 0..length {
                text[place] = b'_';
                assert!(!Alphabet::Base62.spells(&text), "{place} of {length}");
                text[place] = b'a';
            }
        }
    }

    #[test]
    fn base62_numbers_come_back() {
        for number in [0, 1, 61, 62, u64::from(u32::MAX), 62u64.pow(10) - 1] {
            assert_eq!(from_base62(&to_base62::<10>(number)), Some(number));
        }
        assert_eq!(&to_base62::<6>(62), b"000010");
        assert_eq!(from_base62(b"00-000"), None);
    }

    #[test]
    fn entropy_is_rounded_down() {
        assert_eq!(Alphabet::Base62.bits(12), 71);
        assert_eq!(Alphabet::Base62.bits(32), 190);
        assert_eq!(Alphabet::Hex.bits(64), 256);
    }
}
