//! The error of stored hashes that cannot be used.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// A stored hash that cannot be used, so that no key is right or wrong by it.
///
/// The message never shows the hash.
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
    /// The scheme is known, but the rest is truncated, or has another form or length.
    Malformed,
    /// The parameters are out of bounds: the hash would cost too much, or protect too little.
    OutOfBounds,
    /// The scheme is known, but not the one that was asked for. From [`verify_sha256`](super::verify_sha256) only.
    UnexpectedScheme,
    /// The hash ignores the end of keys that are as long as those of the format. From [`validate_for`](super::validate_for)
    /// only.
    CutsKeys,
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

    /// What is wrong.
    pub fn kind(&self) -> InvalidHashKind {
        self.kind
    }
}

impl fmt::Display for InvalidHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            InvalidHashKind::UnknownScheme => "stored hash has an unknown scheme",
            InvalidHashKind::Malformed => "stored hash is malformed",
            InvalidHashKind::OutOfBounds => "stored hash has parameters that are out of bounds",
            InvalidHashKind::UnexpectedScheme => "stored hash has another scheme than SHA-256",
            InvalidHashKind::CutsKeys => {
                "stored hash covers the first 72 bytes of a key, and keys of the format are longer"
            }
        })
    }
}

impl Error for InvalidHash {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}
