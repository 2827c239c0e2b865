//! How many bits a key in plain text may have.

use std::collections::HashSet;

/// Below this many bits a key could be found by trying.
const FEWEST_BITS: f64 = 128.0;
/// A key with fewer was not drawn at random: of 22 random base62 characters, some 19 differ.
const FEWEST_DIFFERENT: usize = 8;
/// A prefix and an environment.
const HEADS: usize = 2;
const LONGEST_HEAD: usize = 16;

/// Whether a key is long enough for its alphabet to have at least 128 bits. Of a word, nobody can tell by looking.
pub(super) fn is_strong(key: &str) -> bool {
    let body = without_heads(key);
    let different: HashSet<u8> = body.bytes().collect();
    different.len() >= FEWEST_DIFFERENT && body.len() as f64 * alphabet(body).log2() >= FEWEST_BITS
}

/// Without `acme_live_`, which is the same in every key.
fn without_heads(mut key: &str) -> &str {
    for _ in 0..HEADS {
        match key.split_once('_') {
            Some((head, rest)) if head.len() <= LONGEST_HEAD && head.bytes().all(|b| b.is_ascii_lowercase()) => {
                key = rest
            }
            _ => break,
        }
    }
    key
}

/// How many characters the smallest usual alphabet has that spells the text.
fn alphabet(text: &str) -> f64 {
    let has = |kind: fn(&u8) -> bool| text.bytes().any(|byte| kind(&byte));
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return 10.0;
    }
    if text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return 16.0;
    }
    let digits = if has(u8::is_ascii_digit) { 10.0 } else { 0.0 };
    let lower = if has(u8::is_ascii_lowercase) { 26.0 } else { 0.0 };
    let upper = if has(u8::is_ascii_uppercase) { 26.0 } else { 0.0 };
    // The two more of base64, whichever they are.
    let others = if has(u8::is_ascii_punctuation) { 2.0 } else { 0.0 };
    digits + lower + upper + others
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_and_alphabet_decide() {
        let hex = "0123456789abcdef0123456789abcdef";
        for strong in [
            hex,
            &format!("acme_live_{hex}"),
            "4kTz0Q2mVbXw9LpR7sNd3G",
            "acme_4kTz0Q2mVbXw9LpR7sNd3G",
            "AbCdEfGh_JkLmNoPqRsTuVwXyZ0123456789-_AbCdE",
            "018f6b2e9c3d4a5f8b7c6d5e4f3a2b1c9d8e7f60",
        ] {
            assert!(is_strong(strong), "{strong}");
        }
        for weak in [
            "",
            "secret",
            "change-me-please",
            &hex[..31],
            "4kTz0Q2mVbXw9LpR7sNd3",
            "acme_live_4kTz0Q2mVbXw",
            "1234567890123456789012345678901234567",
            &"a".repeat(64),
            &"ab".repeat(100),
            "my_service_key_for_production",
        ] {
            assert!(!is_strong(weak), "{weak}");
        }
    }
}
