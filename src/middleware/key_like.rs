//! Texts that look like keys of this service.

use smallvec::SmallVec;

use super::syntax::{list, split_word};
use crate::key::KeyFormats;

/// Recognizes keys where none should be: without their scheme, in another one, or two in one line.
#[derive(Clone)]
pub(super) struct KeyLike {
    /// What keys start with, in lower case.
    starts: SmallVec<[Box<[u8]>; 1]>,
    formats: KeyFormats,
}

impl KeyLike {
    pub(super) fn new(formats: &KeyFormats) -> Self {
        let starts = formats.iter().flat_map(|format| {
            let prefix = format!("{}_", format.prefix());
            match prefix.len() {
                1 => Vec::new(),
                SHORTEST_START.. => vec![prefix],
                // Too short to tell keys from other texts, so the environment has to follow.
                _ => format.environments().map(|name| format!("{prefix}{name}_")).collect(),
            }
        });
        Self {
            starts: starts
                .map(|start| start.to_ascii_lowercase().into_bytes().into())
                .collect(),
            formats: formats.clone(),
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
            [] => self.starts(scheme) || (is_bare && self.formats.parse(scheme).is_ok()),
            word => self.starts(word),
        }
    }

    /// Whether a text starts as keys do, in any case and behind quotes or brackets.
    pub(super) fn starts(&self, text: &[u8]) -> bool {
        let quotes = text.iter().take_while(|byte| !byte.is_ascii_alphanumeric()).count();
        let text = text.get(quotes..).unwrap_or_default();
        self.starts.iter().any(|start| {
            text.get(..start.len())
                .is_some_and(|front| front.eq_ignore_ascii_case(start))
        })
    }
}

/// In characters.
const SHORTEST_START: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::KeyFormat;

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
