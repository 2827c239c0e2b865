//! Why keys of a file or a variable cannot be used.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

use crate::store::{StoreError, StoreErrorKind};

/// Why a text cannot be used, and where in it. It says what is accepted and never what was found: that may be a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    /// Line and column, from 1.
    place: Option<(usize, usize)>,
    text: Cow<'static, str>,
}

/// The same, before lines are counted.
#[derive(Debug)]
pub(super) struct Fault {
    /// In bytes from the start of the text.
    pub(super) at: usize,
    pub(super) text: Cow<'static, str>,
}

impl Fault {
    pub(super) fn new(at: usize, text: impl Into<Cow<'static, str>>) -> Self {
        Self { at, text: text.into() }
    }

    pub(super) fn within(self, whole: &str) -> Problem {
        let mut at = self.at.min(whole.len());
        while !whole.is_char_boundary(at) {
            at -= 1;
        }
        let before = whole.get(..at).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |end| end + 1);
        let line = before.matches('\n').count() + 1;
        let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
        Problem {
            place: Some((line, column)),
            text: self.text,
        }
    }
}

impl Problem {
    pub(super) fn new(text: impl Into<Cow<'static, str>>) -> Self {
        Self {
            place: None,
            text: text.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((line, column)) = self.place {
            write!(f, "line {line}, column {column}: ")?;
        }
        f.write_str(&self.text)
    }
}

/// A problem with the path of its file.
#[derive(thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub(super) struct AtFile {
    pub(super) path: PathBuf,
    pub(super) problem: Problem,
}

// As it is displayed: `main` shows errors by `Debug`, to the author of the file.
impl fmt::Debug for AtFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<AtFile> for StoreError {
    fn from(error: AtFile) -> Self {
        Self::with_source(StoreErrorKind::Unusable, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn place_counts_lines_and_characters_from_one() {
        let text = "a\nüb\r\nc";
        for (at, place) in [
            (0, "line 1, column 1: x"),
            (1, "line 1, column 2: x"),
            (2, "line 2, column 1: x"),
            (3, "line 2, column 1: x"),
            (4, "line 2, column 2: x"),
            (7, "line 3, column 1: x"),
            (99, "line 3, column 2: x"),
        ] {
            assert_eq!(Fault::new(at, "x").within(text).to_string(), place, "{at}");
        }
    }
}
