//! What is wrong with a text that is no key. Said of the text and the formats alone, and of nothing that is stored.

use regex::bytes::RegexBuilder;
use tower_api_key::key::{KeyFormat, KeyFormats};

/// What is wrong with the text. `known` are the formats with the secrets of the database, `unbound` the same without.
pub(super) fn hint(known: &KeyFormats, unbound: &KeyFormats, text: &str) -> Option<String> {
    around(known, text)
        .or_else(|| checksum(unbound, text))
        .map(str::to_owned)
        .or_else(|| length(known, text))
        .or_else(|| beginning(known, text))
}

/// Something beside a key.
fn around(formats: &KeyFormats, text: &str) -> Option<&'static str> {
    let bare = |text: &str| text.trim_matches(['"', '\'', '`', '<', '>', ',']).to_owned();
    let candidates = [
        (bare(text), "there are quotes or signs around the key: leave them out"),
        (
            bare(text.split_whitespace().next_back().unwrap_or_default()),
            "there is a scheme or another word before the key: leave it out",
        ),
        (
            text.split_whitespace().collect(),
            "there are spaces or line ends in the key: it was cut when it was copied",
        ),
        (
            text.chars().filter(char::is_ascii_graphic).collect(),
            "there are characters in the key that are not seen: copy it from where it was first written",
        ),
    ];
    let is_key = |candidate: &String| candidate != text && formats.parse(candidate.as_bytes()).is_ok();
    let found = candidates.into_iter().find(|(candidate, _)| is_key(candidate));
    found.map(|(_, hint)| hint)
}

/// The form of a key, and another checksum.
fn checksum(formats: &KeyFormats, text: &str) -> Option<&'static str> {
    if formats.parse(text.as_bytes()).is_ok() {
        return Some(
            "it looks like a key, but its checksum is not of this database: it is another database's, or a character is wrong",
        );
    }
    let has_the_form = |format: &KeyFormat| {
        let Some(pattern) = format.scanner_regex() else {
            return false;
        };
        let pattern = RegexBuilder::new(&format!("^(?:{pattern})$")).unicode(false).build();
        pattern.is_ok_and(|pattern| pattern.is_match(text.as_bytes()))
    };
    let found = formats.iter().any(has_the_form);
    found.then_some("it looks like a key, but its checksum does not fit: a character is wrong")
}

/// The beginning of a key, and not its length.
fn length(formats: &KeyFormats, text: &str) -> Option<String> {
    let begins = |(head, ..): &(String, &KeyFormat, Option<&str>)| {
        !head.is_empty() && (text.starts_with(head.as_str()) || head.starts_with(text))
    };
    let (_, format, environment) = heads(formats).find(begins)?;
    let generated = format.generate(environment).ok()?;
    let (has, needs) = (text.chars().count(), generated.key().expose_secret().len());
    let what = match has.cmp(&needs) {
        std::cmp::Ordering::Less => "it was cut",
        std::cmp::Ordering::Greater => "something is behind it",
        std::cmp::Ordering::Equal => return Some("it begins as a key, and has a character that no key has".to_owned()),
    };
    Some(format!(
        "it has {has} characters, and keys that begin so have {needs}: {what}"
    ))
}

/// The beginning of no key.
fn beginning(formats: &KeyFormats, text: &str) -> Option<String> {
    let all: Vec<String> = heads(formats).map(|(head, ..)| head).collect();
    // A key may begin with anything.
    if all.iter().any(String::is_empty) || all.iter().any(|head| text.starts_with(head.as_str())) {
        return None;
    }
    let all = all.join(", ");
    Some(format!(
        "keys begin with one of {all}, and this does not: it is another program's, or its beginning is missing"
    ))
}

/// What keys begin with, each with its format and environment.
fn heads(formats: &KeyFormats) -> impl Iterator<Item = (String, &KeyFormat, Option<&str>)> {
    formats.iter().flat_map(|format| {
        let prefix = match format.prefix() {
            "" => String::new(),
            prefix => format!("{prefix}_"),
        };
        let mut heads: Vec<(String, &KeyFormat, Option<&str>)> = format
            .environments()
            .map(|environment| (format!("{prefix}{environment}_"), format, Some(environment)))
            .collect();
        if heads.is_empty() {
            heads.push((prefix, format, None));
        }
        heads
    })
}
