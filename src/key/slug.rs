//! Slugs: the names of organizations in URLs, configuration and commands.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use crate::error::{ConfigError, unlike};

const LONGEST: usize = 64;
/// For a name without a letter or digit that a slug can have.
const NAMELESS: &str = "organization";

/// The slug of a name: its letters without accents and its digits, in lower case, with `-` for all else.
pub(crate) fn slug_of(name: &str) -> String {
    let mut slug = String::new();
    for c in name
        .nfkd()
        .flat_map(char::to_lowercase)
        .filter(|c| !is_combining_mark(*c))
    {
        match c {
            'a'..='z' | '0'..='9' => slug.push(c),
            'ß' => slug.push_str("ss"),
            'æ' => slug.push_str("ae"),
            'œ' => slug.push_str("oe"),
            'ø' => slug.push('o'),
            'ł' => slug.push('l'),
            'đ' => slug.push('d'),
            _ if slug.is_empty() || slug.ends_with('-') => {}
            _ => slug.push('-'),
        }
        if slug.len() >= LONGEST {
            break;
        }
    }
    match cut(&slug, LONGEST) {
        "" => NAMELESS.to_owned(),
        slug => slug.to_owned(),
    }
}

/// The slug of the second, third and so on of one name.
pub(crate) fn numbered(slug: &str, number: u32) -> String {
    let suffix = format!("-{number}");
    format!("{}{suffix}", cut(slug, LONGEST.saturating_sub(suffix.len())))
}

/// Whether a text can be a slug.
pub(crate) fn check_slug(slug: &str) -> Result<(), ConfigError> {
    let wrong = match unlike(slug, |_, c| matches!(c, 'a'..='z' | '0'..='9' | '-')) {
        None if slug.is_empty() || slug.len() > LONGEST => format!("{} bytes", slug.len()),
        None => return Ok(()),
        Some(wrong) => wrong,
    };
    let problem = format!("must have 1 to {LONGEST} bytes of `a-z`, `0-9` and `-`, got {wrong}");
    Err(ConfigError::new("slug", problem))
}

/// The start of a slug, without a `-` at its end.
fn cut(slug: &str, bytes: usize) -> &str {
    slug.get(..bytes).unwrap_or(slug).trim_end_matches('-')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn slug_has_the_letters_and_digits_of_the_name() {
        for (name, slug) in [
            ("acme", "acme"),
            ("Acme Inc.", "acme-inc"),
            ("  ACME -- & Söhne (2026)  ", "acme-sohne-2026"),
            ("Crème Brûlée", "creme-brulee"),
            ("Straße Łódź", "strasse-lodz"),
            ("ＡＢＣ①", "abc1"),
            ("鍵", "organization"),
            ("", "organization"),
            ("---", "organization"),
        ] {
            assert_eq!(slug_of(name), slug, "{name:?}");
        }
        assert_eq!(slug_of(&"x".repeat(100)).len(), 64);
        assert_eq!(slug_of(&format!("{} y", "x".repeat(63))), "x".repeat(63));
        assert_eq!(slug_of(&format!("{}ß", "x".repeat(63))), format!("{}s", "x".repeat(63)));
    }

    #[test]
    fn numbered_slug_stays_within_its_bound() {
        assert_eq!(numbered("acme", 2), "acme-2");
        assert_eq!(numbered(&"x".repeat(64), 12), format!("{}-12", "x".repeat(61)));
        assert_eq!(
            numbered(&format!("{}-{}", "x".repeat(61), "yy"), 2),
            format!("{}-2", "x".repeat(61))
        );
    }

    #[test]
    fn other_text_is_no_slug() {
        for bad in ["", "Acme", "a b", "a_b", "é", "a\n", &"x".repeat(65)] {
            let error = check_slug(bad).unwrap_err();
            assert_eq!(error.setting(), "slug");
        }
        for good in [
            "a",
            "0",
            "a-b",
            "a--b",
            "-",
            "-a",
            "a-",
            "018f6a0e5b7a7d2c8a1f0123456789ab",
            &"x".repeat(64),
        ] {
            assert_eq!(check_slug(good), Ok(()));
        }
    }

    proptest! {
        #[test]
        fn every_name_has_a_slug(name in "\\PC{0,80}", number in 2..=u32::MAX) {
            let slug = slug_of(&name);
            prop_assert_eq!(check_slug(&slug), Ok(()));
            prop_assert_eq!(slug_of(&slug), slug.clone());
            prop_assert_eq!(check_slug(&numbered(&slug, number)), Ok(()));
        }
    }
}
