//! Why a command failed.

use std::error::Error;
use std::io;

use tower_api_key::config::{ConfigFileError, ConfigFileErrorKind};
use tower_api_key::store::{CopyError, StoreError, StoreErrorKind};
use tower_api_key::{AuditError, AuditErrorKind, ConfigError, IssueError, IssueErrorKind, ParseError};

use crate::advice::in_the_program;

/// Why a command failed, in a sentence that says what to do.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Exit code 1: what was asked for was refused, or found a problem.
    Refused(String),
    /// The same, because what would go is in use.
    InUse(String),
    /// Exit code 2: the arguments, the environment or the configuration are wrong.
    Usage(String),
    /// Exit code 3: the database or the server cannot be reached, or failed.
    Unavailable(String),
    /// Nobody reads the output any more.
    ClosedPipe,
}

impl Failure {
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::ClosedPipe => 0,
            Self::Refused(_) | Self::InUse(_) => 1,
            Self::Usage(_) => 2,
            Self::Unavailable(_) => 3,
        }
    }

    pub(crate) fn sentence(&self) -> &str {
        match self {
            Self::Refused(sentence) | Self::InUse(sentence) | Self::Usage(sentence) | Self::Unavailable(sentence) => {
                sentence
            }
            Self::ClosedPipe => "",
        }
    }

    /// A file that could not be read or written.
    pub(crate) fn file(path: &std::path::Path, error: &io::Error) -> Self {
        Self::Usage(format!("{}: {error}", path.display()))
    }
}

/// An error with its causes, as one line, in the words of this program.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Some errors repeat their cause.
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    in_the_program(text)
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::ClosedPipe,
            _ => Self::Unavailable(error.to_string()),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let sentence = chain(&error);
        match error.kind() {
            StoreErrorKind::Unavailable | StoreErrorKind::Overloaded | StoreErrorKind::OutcomeUnknown => {
                Self::Unavailable(sentence)
            }
            StoreErrorKind::Unusable | StoreErrorKind::ReadOnly => Self::Usage(sentence),
            _ => Self::Refused(sentence),
        }
    }
}

impl From<IssueError> for Failure {
    fn from(error: IssueError) -> Self {
        let sentence = chain(&error);
        match error.kind() {
            IssueErrorKind::StoreUnavailable | IssueErrorKind::OutcomeUnknown => Self::Unavailable(sentence),
            _ => Self::Refused(sentence),
        }
    }
}

impl From<AuditError> for Failure {
    fn from(error: AuditError) -> Self {
        if is_closed_pipe(&error) {
            return Self::ClosedPipe;
        }
        match error.kind() {
            AuditErrorKind::Store => Self::Unavailable(chain(&error)),
            AuditErrorKind::File | AuditErrorKind::InvalidAnchors => Self::Usage(chain(&error)),
            _ => Self::Refused(chain(&error)),
        }
    }
}

impl From<CopyError> for Failure {
    fn from(error: CopyError) -> Self {
        Self::Refused(chain(&error))
    }
}

/// The error of the store among the causes.
fn store_error<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e StoreError> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// Whether who reads the output has ended.
fn is_closed_pipe(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let is_closed = error.downcast_ref::<io::Error>().map(io::Error::kind) == Some(io::ErrorKind::BrokenPipe);
        if is_closed {
            return true;
        }
        next = error.source();
    }
    false
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Usage(chain(&error))
    }
}

impl From<ConfigFileError> for Failure {
    fn from(error: ConfigFileError) -> Self {
        let sentence = chain(&error);
        match error.kind() {
            // The cause says whether it may pass.
            ConfigFileErrorKind::Store => match store_error(&error).map(StoreError::kind) {
                Some(StoreErrorKind::Unusable | StoreErrorKind::ReadOnly) => Self::Usage(sentence),
                _ => Self::Unavailable(sentence),
            },
            _ => Self::Usage(sentence),
        }
    }
}

impl From<ParseError> for Failure {
    fn from(error: ParseError) -> Self {
        Self::Usage(chain(&error))
    }
}
