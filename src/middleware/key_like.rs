//! Texts that look like keys of this service.

use smallvec::SmallVec;
use zeroize::Zeroizing;

use super::query;
use super::syntax::{list, split_word, trim};
use crate::key::{KeyFormat, KeyFormats};

/// Recognizes keys where none should be: without their scheme, in another one, or two in one line.
#[derive(Clone)]
pub(super) struct KeyLike {
    /// What keys start with, in lower case.
    starts: SmallVec<[Box<[u8]>; 1]>,
    formats: KeyFormats,
    /// Whether keys of every format start with constant text.
    knows_all: bool,
    /// Whether keys can have characters that URIs and cookies escape.
    has_escapes: bool,
}

impl KeyLike {
    pub(super) fn new(formats: &KeyFormats) -> Self {
        let starts: Vec<Vec<String>> = formats.iter().map(starts_of).collect();
        Self {
            knows_all: starts.iter().all(|starts| !starts.is_empty()),
            starts: starts
                .into_iter()
                .flatten()
                .map(|start| start.into_bytes().into())
                .collect(),
            formats: formats.clone(),
            has_escapes: formats.iter().any(KeyFormat::has_reserved_characters),
        }
    }

    /// Whether a key of any format is known by its start.
    pub(super) fn knows_all(&self) -> bool {
        self.knows_all
    }

    /// Whether a copy of a key can be percent-encoded without anyone wanting to hide it.
    pub(super) fn has_escapes(&self) -> bool {
        self.has_escapes
    }

    /// Whether a text is a key or was meant to be one: empty, in another case, quoted, escaped, in a longer text, or behind
    /// another scheme.
    pub(super) fn is_meant(&self, text: &[u8]) -> bool {
        let text = trim(text);
        if text.is_empty() || self.starts(text) {
            return true;
        }
        let plain;
        let text = match text.iter().any(|byte| matches!(byte, b'%' | b'\\')) {
            true => {
                plain = unescape(text);
                plain.as_slice()
            }
            false => text,
        };
        text.split(|byte| !is_of_token(*byte)).any(|word| self.is_word(word))
    }

    /// Whether a word is a key, behind a scheme or not: `BearerKEY`, `token=KEY`.
    fn is_word(&self, mut word: &[u8]) -> bool {
        loop {
            if self.starts(word) {
                return true;
            }
            match after_scheme(word) {
                Some(rest) => word = rest,
                None => return false,
            }
        }
    }

    /// Whether a text of several elements has a key among them, as a proxy makes it of several header lines
    /// (RFC 9110, section 5.3).
    pub(super) fn is_among(&self, text: &[u8]) -> bool {
        list(text).nth(1).is_some() && list(text).any(|element| self.is_in(element, true))
    }

    /// Whether this value or element of an `Authorization` line holds a key. Without a prefix, keys look like anything else,
    /// so they are recognized only where nothing else is expected: `is_bare` says that the line has no scheme.
    pub(super) fn is_in(&self, element: &[u8], is_bare: bool) -> bool {
        let (scheme, word) = split_word(element);
        match word {
            [] => self.is_word(scheme) || (is_bare && self.formats.parse(scheme).is_ok()),
            word => self.is_word(word),
        }
    }

    /// Whether a protocol is a key, or has one behind a dot: browsers send what they are told behind a name.
    pub(super) fn is_part(&self, protocol: &[u8]) -> bool {
        protocol.split(|byte| *byte == b'.').any(|part| self.starts(part))
    }

    /// Whether a text starts as keys do, in any case and behind quotes or brackets.
    pub(super) fn starts(&self, text: &[u8]) -> bool {
        let text = skip_marks(text);
        self.starts.iter().any(|start| {
            text.get(..start.len())
                .is_some_and(|front| front.eq_ignore_ascii_case(start))
        })
    }
}

/// The constant texts that keys of a format start with; none if they are too short to tell keys from other texts.
fn starts_of(format: &KeyFormat) -> Vec<String> {
    let prefix = format!("{}_", format.prefix());
    match prefix.len() {
        1 => Vec::new(),
        SHORTEST_START.. => vec![prefix],
        _ => format.environments().map(|name| format!("{prefix}{name}_")).collect(),
    }
}

fn skip_marks(text: &[u8]) -> &[u8] {
    let marks = text.iter().take_while(|byte| !byte.is_ascii_alphanumeric()).count();
    text.get(marks..).unwrap_or_default()
}

/// What follows a scheme that was written in front of the key once more, or left in the variable that holds it.
fn after_scheme(word: &[u8]) -> Option<&[u8]> {
    let word = skip_marks(word);
    SCHEMES.iter().find_map(|scheme| {
        let (name, rest) = word.split_at_checked(scheme.len())?;
        name.eq_ignore_ascii_case(scheme.as_bytes()).then_some(rest)
    })
}

/// Without backslashes, and percent-decoded as often as it may have been encoded on the way.
fn unescape(text: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut plain = Zeroizing::new(text.to_vec());
    plain.retain(|byte| *byte != b'\\');
    for _ in 0..MOST_ENCODINGS {
        plain = query::decode(&plain[..]);
    }
    plain
}

/// Whether a byte may stand inside a token of any system (`token68`, RFC 9110, section 11.2). It takes one that may not to
/// begin a word: a JWT is one word, whatever its parts start with.
fn is_of_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte)
}

const SCHEMES: [&str; 6] = ["bearer", "basic", "token", "apikey", "api-key", "authorization"];
const MOST_ENCODINGS: usize = 3;
/// In characters.
const SHORTEST_START: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn of(formats: impl IntoIterator<Item = KeyFormat>) -> KeyLike {
        KeyLike::new(&KeyFormats::new(formats).unwrap())
    }

    #[test]
    fn keys_are_known_by_their_start_in_any_case() {
        let keys = of([KeyFormat::new("acme").unwrap(), KeyFormat::new("b").unwrap()]);
        for text in [
            "acme_live_x",
            "ACME_Live",
            "acme_prod_x",
            "\"acme_live_x\"",
            "<acme_",
            "b_live_x",
        ] {
            assert!(keys.starts(text.as_bytes()), "{text}");
        }
        for text in [
            "",
            "acm",
            "acme-live",
            "xacme_live_x",
            "b_prod_x",
            "eyJ.acme_live_x",
            "Bearer acme_live_x",
        ] {
            assert!(!keys.starts(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn keys_without_prefix_are_known_only_alone() {
        let (keys, key) = (of([KeyFormat::bare_hex()]), "0123456789abcdef".repeat(4));
        assert!(keys.is_in(key.as_bytes(), true));
        assert!(!keys.is_in(key.as_bytes(), false));
        assert!(!keys.is_in(format!("Token {key}").as_bytes(), true));
        assert!(keys.is_among(format!("{key}, {key}").as_bytes()));
        for text in [&key, &format!("{key},"), "a, b"] {
            assert!(!keys.is_among(text.as_bytes()), "{text}");
        }
    }
}
