//! Texts after each other, none of which can pretend to be two.

use std::fmt::Write as _;

/// Adds a text as `length:text,` with the length in bytes.
pub(super) fn push(text: &mut String, value: &str) {
    // Writing into a string does not fail.
    let _ = write!(text, "{}:{value},", value.len());
}

/// What is left of such texts.
pub(super) struct Fields<'a>(pub(super) &'a str);

impl<'a> Fields<'a> {
    pub(super) fn take(&mut self) -> Option<&'a str> {
        let (length, rest) = self.0.split_once(':')?;
        let length: usize = length.parse().ok()?;
        let field = rest.get(..length)?;
        self.0 = rest.get(length..)?.strip_prefix(',')?;
        Some(field)
    }

    /// All that is left, as pairs.
    pub(super) fn pairs(mut self) -> Option<Vec<(String, String)>> {
        let mut pairs = Vec::new();
        while !self.0.is_empty() {
            pairs.push((self.take()?.to_owned(), self.take()?.to_owned()));
        }
        Some(pairs)
    }
}
