//! Folding names for search, cutting texts, and characters that are not seen.

use unicode_normalization::UnicodeNormalization;

/// A name of an organization or a key, in bytes.
pub(crate) const LONGEST_NAME: usize = 255;
const LONGEST_FOLDED: usize = 255;

/// The form of a name for searching: NFKC, in lower case, with one small sigma, the first 255 bytes. Stores keep it beside the
/// name, so it must not change.
pub(crate) fn folded(name: &str) -> String {
    shortened(&whole(name), LONGEST_FOLDED).to_owned()
}

/// Whether two names are one when they are searched, down to their ends.
pub(crate) fn is_same_name(one: &str, other: &str) -> bool {
    whole(one) == whole(other)
}

/// Whether nothing of a text is cut when it is folded: two that are folded alike are then the same.
pub(crate) fn folds_whole(text: &str) -> bool {
    whole(text).len() <= LONGEST_FOLDED
}

fn whole(name: &str) -> String {
    // Normalized twice, because lower case may undo the normal form, as for U+0130.
    let lower = name.nfkc().collect::<String>().to_lowercase();
    // A final sigma has a form of its own, and the end of a searched prefix is rarely the end of a word.
    lower.nfkc().map(|c| if c == 'ς' { 'σ' } else { c }).collect()
}

/// Whether terminals and readers of lines obey it instead of showing it: control characters, those that turn the direction of text, and
/// other ends of lines.
pub(crate) fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{206f}')
}

/// The start of a text, at most this many bytes, cut between characters.
pub(crate) fn shortened(text: &str, bytes: usize) -> &str {
    let mut end = text.len().min(bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// A text without NUL characters, which not every database can hold: a key must not stay alive for the reason of its revocation.
pub(crate) fn without_nul(text: impl Into<String>) -> String {
    let text = text.into();
    match text.contains('\0') {
        true => text.replace('\0', "\u{fffd}"),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folding_ignores_case_width_and_composition() {
        for (name, form) in [
            ("Orders", "orders"),
            ("ＡＢＣ①", "abc1"),
            ("Cafe\u{301}", "café"),
            ("ﬁle", "file"),
            ("ΩΜΈΓΑ", "ωμέγα"),
            ("ΟΔΟΣ", "οδοσ"),
            ("Straße", "straße"),
            ("鍵", "鍵"),
        ] {
            assert_eq!(folded(name), form);
            assert_eq!(folded(&folded(name)), form);
        }
        assert_eq!(folded(&folded("İ")), folded("İ"));
        for (name, prefix) in [
            ("ΟΔΟΣΗΜΑΝΣΗ", "ΟΔΟΣ"),
            ("οδος", "ΟΔΟΣ"),
            ("ﬁﬁle", "FIF"),
            ("É", "e\u{301}"),
        ] {
            assert!(folded(name).starts_with(&folded(prefix)), "{name} {prefix}");
        }
        // However long a name becomes, a cursor has room for it.
        assert!(folded(&"\u{fdfa}".repeat(85)).len() <= LONGEST_FOLDED);
    }

    #[test]
    fn text_is_cut_between_characters() {
        assert_eq!(shortened("aé", 2), "a");
        assert_eq!(shortened("aé", 3), "aé");
        assert_eq!(shortened("", 3), "");
    }
}
