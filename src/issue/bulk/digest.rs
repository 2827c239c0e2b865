//! Which keys a preview named, in 32 bytes.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use crate::error::ParseError;
use crate::key::{KeyId, hex};

/// Which keys a [preview](crate::Issuer::preview) named, whatever their status was: a hash of the selection and their ids.
///
/// [`KeySelection::exactly`](crate::KeySelection::exactly) changes these keys, or none: what a person has looked at, and nothing that
/// came in between. Its text is 64 hexadecimal digits.
///
/// ```
/// use tower_api_key::store::MemoryStore;
/// use tower_api_key::{IssueErrorKind, IssueRequest, Issuer, KeySelection, SelectionDigest};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let issuer = Issuer::new(MemoryStore::new())?;
/// let acme = issuer.create_organization("acme").await?;
/// let request = || IssueRequest::new(acme.id, "build").labels("ci".parse().unwrap());
/// issuer.issue(request()).await?;
/// let ci = KeySelection::label("ci").within(acme.id);
/// let seen = issuer.preview(&ci).await?.digest().ok_or("too many keys")?;
/// let text = seen.to_string();
///
/// // Another one is made before the first one is revoked.
/// issuer.issue(request()).await?;
/// let error = issuer.revoke_all(&ci.clone().exactly(text.parse()?), "leaked").await.unwrap_err();
/// assert_eq!(error.kind(), IssueErrorKind::SelectionChanged);
///
/// let seen: SelectionDigest = issuer.preview(&ci).await?.digest().ok_or("too many keys")?;
/// assert_eq!(issuer.revoke_all(&ci.exactly(seen), "leaked").await?.total, 2);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SelectionDigest([u8; 32]);

impl SelectionDigest {
    /// Of these keys, in any order.
    pub(super) fn of(selection: &str, keys: impl IntoIterator<Item = KeyId>) -> Self {
        // Which key acts makes no difference: it comes last.
        let mut ids: Vec<KeyId> = keys.into_iter().collect();
        ids.sort_unstable();
        let mut hash = Sha256::new();
        hash.update(b"api-keys selection 1\0");
        hash.update((selection.len() as u64).to_be_bytes());
        hash.update(selection);
        for id in ids {
            hash.update(id.as_uuid().as_bytes());
        }
        Self(hash.finalize().into())
    }
}

impl FromStr for SelectionDigest {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let bytes = hex::decode(text);
        bytes
            .map(Self)
            .ok_or_else(|| ParseError::new("digest", "must be 64 hexadecimal digits, as a preview gives them"))
    }
}

impl fmt::Display for SelectionDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Debug for SelectionDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SelectionDigest({self})")
    }
}
