//! The regular expression for secret scanners.

use super::alphabet::Alphabet;
use super::layout::{Body, Layout};

/// Without look-around, so that RE2, Go, Hyperscan, Python and Rust accept it. `None` if any text could be a key.
pub(super) fn scanner_regex(layout: &Layout) -> Option<String> {
    let mut regex = String::new();
    match &layout.body {
        Body::Any => return None,
        Body::Numbered => regex.push_str(r"\b[1-9][0-9]{0,19}\|[0-9A-Za-z]{40,48}\b"),
        Body::Fixed(body) => {
            // A base64url body may start with `-`, where no word starts.
            if !layout.prefix.is_empty() || body.alphabet != Alphabet::Base64Url {
                regex.push_str(r"\b");
            }
            push_heads(&mut regex, layout);
            if layout.timestamp {
                regex.push_str("[1-9][0-9]{0,11}_");
            }
            if let Some(separator) = body.separator {
                regex.push_str(&format!("{}{{{}}}", body.alphabet.class(), body.lookup));
                regex.push_str(&escaped(separator));
                push_end(&mut regex, body.alphabet, body.secret, layout.checksum.lengths());
            } else {
                let length = body.lookup + body.secret;
                push_end(&mut regex, body.alphabet, length, layout.checksum.lengths());
            }
        }
    }
    Some(regex)
}

fn push_heads(regex: &mut String, layout: &Layout) {
    if layout.prefix.is_empty() {
        return;
    }
    regex.push_str(&layout.prefix);
    regex.push('_');
    let names: Vec<&str> = layout
        .heads
        .iter()
        .filter_map(|head| head.environment.as_deref())
        .collect();
    if !names.is_empty() {
        regex.push_str(&format!("(?:{})_", names.join("|")));
    }
}

/// The last characters and the end of the key.
fn push_end(regex: &mut String, alphabet: Alphabet, length: usize, checksums: &[usize]) {
    let class = alphabet.class();
    let shortest = checksums.iter().copied().min().unwrap_or_default();
    // A longer checksum is a shorter one and more characters.
    let more: String = checksums
        .iter()
        .filter(|checksum| **checksum > shortest)
        .map(|checksum| format!("(?:{}{{{}}})?", Alphabet::Base62.class(), checksum - shortest))
        .collect();
    match (alphabet, shortest) {
        (Alphabet::Base62, _) => regex.push_str(&format!(r"{class}{{{}}}{more}\b", length + shortest)),
        (Alphabet::Hex, 0) => regex.push_str(&format!(r"{class}{{{length}}}\b")),
        // No word ends after a `-`.
        (Alphabet::Base64Url, 0) => {
            regex.push_str(&format!(r"{class}{{{}}}(?:[0-9A-Za-z_]\b|-\B)", length - 1));
        }
        (Alphabet::Hex | Alphabet::Base64Url, _) => {
            let digits = Alphabet::Base62.class();
            regex.push_str(&format!(r"{class}{{{length}}}{digits}{{{shortest}}}{more}\b"));
        }
    }
}

fn escaped(separator: u8) -> String {
    match separator {
        b'.' | b'|' => format!(r"\{}", char::from(separator)),
        _ => char::from(separator).to_string(),
    }
}
