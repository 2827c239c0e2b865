//! Why a stored hash cannot be used.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// A stored hash that cannot be used: neither a right nor a wrong key follows from it.
///
/// The message never holds the hash.
#[derive(Clone, Debug)]
pub struct InvalidHash {
    kind: InvalidHashKind,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// What is wrong with an [`InvalidHash`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidHashKind {
    /// No such scheme, or one that needs the feature `legacy-hashes`.
    UnknownScheme,
    /// The scheme is known, but the rest is truncated, not of its form, or not of its length.
    Malformed,
    /// Well-formed, with parameters that are not accepted from a record: it would cost too much, or protect too little.
    OutOfBounds,
}

impl InvalidHash {
    pub(super) fn new(kind: InvalidHashKind) -> Self {
        Self { kind, source: None }
    }

    pub(super) fn malformed(source: impl Error + Send + Sync + 'static) -> Self {
        Self {
            kind: InvalidHashKind::Malformed,
            source: Some(Arc::new(source)),
        }
    }

    /// What is wrong with it.
    pub fn kind(&self) -> InvalidHashKind {
        self.kind
    }
}

impl fmt::Display for InvalidHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            InvalidHashKind::UnknownScheme => "the stored hash is of an unknown scheme",
            InvalidHashKind::Malformed => "the stored hash is malformed",
            InvalidHashKind::OutOfBounds => "the stored hash has parameters that are out of bounds",
        })
    }
}

impl Error for InvalidHash {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}
