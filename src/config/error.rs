//! The error of configuration files.

use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::error::{ConfigError, in_sentences};
use crate::store::StoreError;

/// A configuration file cannot be used.
///
/// The message names the file, line and column, the key, what is accepted, and what to do. It never shows the URL of the
/// database, and of other texts that are long enough for a secret only the start. `Debug` has the causes as well, so a `main`
/// that returns the error says what to do.
///
/// ```
/// use tower_api_key::config::{Config, ConfigFileErrorKind};
///
/// let error = Config::parse("[cache]\ntime_to_live = \"1ms\"\n").unwrap_err();
/// assert_eq!(error.kind(), ConfigFileErrorKind::InvalidValue);
/// assert_eq!(
///     error.to_string(),
///     "line 2, column 16: `cache.time_to_live` must be between 100ms and 86400s, got 1ms"
/// );
/// ```
pub struct ConfigFileError(Box<Problem>);

struct Problem {
    path: Option<PathBuf>,
    fault: Fault,
}

/// The kinds of a [`ConfigFileError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigFileErrorKind {
    /// The file cannot be read: it is not there, is no file, is larger than 1 MiB, or is not UTF-8.
    Unreadable,
    /// Others than its owner can read the file or change it, and it has a password.
    Exposed,
    /// The text is not TOML.
    Syntax,
    /// No section has such a key, or there is no such section.
    UnknownKey,
    /// The value of a key is not accepted, is missing, or does not go with another key.
    InvalidValue,
    /// There is no URL of a database, neither in the file nor in `DATABASE_URL`.
    NoDatabase,
    /// The database cannot be opened. The cause is a [`StoreError`].
    Store,
}

impl ConfigFileError {
    /// What kind of error it is.
    pub fn kind(&self) -> ConfigFileErrorKind {
        self.0.fault.kind
    }

    /// The file, if it was read from one.
    pub fn path(&self) -> Option<&Path> {
        self.0.path.as_deref()
    }

    /// Line and column in the text, both from 1. The column counts characters.
    pub fn place(&self) -> Option<(usize, usize)> {
        let place = self.0.fault.place?;
        Some((place.line, place.column))
    }
}

impl fmt::Display for ConfigFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Problem { path, fault } = &*self.0;
        if let Some(path) = path {
            write!(f, "{}", path.display())?;
        }
        if let Some(Place { line, column }) = fault.place {
            let comma = if path.is_some() { ", " } else { "" };
            write!(f, "{comma}line {line}, column {column}")?;
        }
        if path.is_some() || fault.place.is_some() {
            f.write_str(": ")?;
        }
        f.write_str(&fault.text)
    }
}

impl fmt::Debug for ConfigFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        in_sentences(f, "ConfigFileError", &self.kind(), self)
    }
}

impl Error for ConfigFileError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0.fault.source {
            Some(source) => Some(&**source),
            None => None,
        }
    }
}

/// Where in a text something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    line: usize,
    column: usize,
}

/// What is wrong, before it is known in which file.
#[derive(Debug)]
pub(super) struct Fault {
    kind: ConfigFileErrorKind,
    place: Option<Place>,
    text: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl Place {
    /// From bytes.
    pub(super) fn of(text: &str, at: usize) -> Self {
        let mut at = at.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        let before = text.get(..at).unwrap_or_default();
        let start = before.rfind('\n').map_or(0, |end| end + 1);
        Self {
            line: before.matches('\n').count() + 1,
            column: before.get(start..).unwrap_or_default().chars().count() + 1,
        }
    }
}

impl Fault {
    pub(super) fn new(kind: ConfigFileErrorKind, text: impl Into<String>) -> Self {
        Self {
            kind,
            place: None,
            text: text.into(),
            source: None,
        }
    }

    pub(super) fn at(self, place: Place) -> Self {
        Self {
            place: Some(place),
            ..self
        }
    }

    /// A value that is not accepted.
    pub(super) fn invalid(place: Place, text: impl Into<String>) -> Self {
        Self::new(ConfigFileErrorKind::InvalidValue, text).at(place)
    }

    pub(super) fn caused_by(self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            source: Some(source.into()),
            ..self
        }
    }

    pub(super) fn store(text: impl Into<String>, source: StoreError) -> Self {
        Self::new(ConfigFileErrorKind::Store, text).caused_by(source)
    }

    pub(super) fn in_file(self, path: Option<&Path>) -> ConfigFileError {
        ConfigFileError(Box::new(Problem {
            path: path.map(Path::to_owned),
            fault: self,
        }))
    }
}

/// What a setting's error says, without the name that it has in code.
pub(super) fn problem(error: ConfigError) -> String {
    let mut text = error.into_parts().1.into_string();
    for (code, file) in IN_THE_FILE {
        text = text.replace(code, file);
    }
    text
}

/// Advice for code, and the same for a file.
const IN_THE_FILE: [(&str, &str); 4] = [
    (
        "for a scheme use `KeySource::authorization`",
        "write `authorization = \"Bearer\"`",
    ),
    (
        "for a key among protocols use `KeySource::websocket_protocol`",
        "write `websocket_protocol = \"api-key\"`",
    ),
    (
        "use `KeySource::basic()`",
        "write `basic = \"user-name\"` or `basic = \"password\"`",
    ),
    ("call `without_environments`", "write `environments = []`"),
];
