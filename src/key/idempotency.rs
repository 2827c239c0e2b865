//! Idempotency keys of clients, and what is kept of the requests that came with them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::error::{ParseError, unlike};
use crate::key::{Actor, KeyId, OrganizationId, Timestamp};

const LONGEST: usize = 255;

/// The idempotency key of a request: text that a client makes up for one create, and sends again with each repetition of it.
/// [`Issuer::issue_once`](crate::Issuer::issue_once) makes one key for it.
///
/// 1 to 255 visible ASCII characters, compared byte by byte: letter case counts. Any text will do that the client uses for this
/// create alone, such as a random UUID.
///
/// ```
/// use tower_api_key::key::IdempotencyKey;
///
/// let key: IdempotencyKey = "8e03978e-40d5-43dd-bc93-6894a57f9324".parse()?;
/// assert_eq!(key.as_str().len(), 36);
/// assert!("two words".parse::<IdempotencyKey>().is_err());
/// # Ok::<_, tower_api_key::ParseError>(())
/// ```
///
/// # Security
/// The text is stored for 24 hours and is no secret. `Debug` shows its length alone: clients put anything into it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IdempotencyKey(Box<str>);

impl IdempotencyKey {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for IdempotencyKey {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let wrong = match unlike(text, |_, c| c.is_ascii_graphic()) {
            None if text.is_empty() || text.len() > LONGEST => format!("{} bytes", text.len()),
            None => return Ok(Self(text.into())),
            Some(wrong) => wrong,
        };
        let problem = format!("must have 1 to {LONGEST} visible ASCII characters, got {wrong}");
        Err(ParseError::new("idempotency key", problem))
    }
}

impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdempotencyKey({} bytes)", self.0.len())
    }
}

/// That a key was made for a request with an idempotency key: what a store keeps of the request, as a row. The request itself and
/// the secret of the key are not in it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct IdempotencyRecord {
    /// The organization of the key. It, the actor and the idempotency key identify the row.
    pub organization_id: OrganizationId,
    /// Who sent the request. With an issuer that acts with a key this is that key, whatever actor it names.
    pub actor: Actor,
    /// The idempotency key of the request.
    pub key: IdempotencyKey,
    /// A keyed digest of the request: that of a repetition is the same.
    pub request_hash: [u8; 32],
    /// The key that was made.
    pub key_id: KeyId,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on the row says nothing, and may be replaced or deleted.
    pub expires_at: Timestamp,
}

impl IdempotencyRecord {
    /// How long a row says what was made: 24 hours.
    pub const KEPT: Duration = Duration::from_secs(24 * 3600);

    /// Rows that an organization has at most. One more takes the place of the one whose key was made first, by the order of ids.
    pub const MOST: usize = 10_000;

    /// A row that is made now, and kept for [`KEPT`](Self::KEPT).
    pub fn new(
        organization_id: OrganizationId,
        actor: Actor,
        key: IdempotencyKey,
        request_hash: [u8; 32],
        key_id: KeyId,
        now: Timestamp,
    ) -> Self {
        Self {
            organization_id,
            actor,
            key,
            request_hash,
            key_id,
            created_at: now,
            expires_at: now.after(Self::KEPT),
        }
    }

    /// Whether the row says nothing any more at this time.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.expires_at <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn visible_ascii_of_1_to_255_characters_is_a_key() {
        for text in ["a", "!", "~", "\"quoted\"", "a,b;c=d", &"x".repeat(255)] {
            assert_eq!(text.parse::<IdempotencyKey>().unwrap().as_str(), text);
        }
        let error = |text: &str| text.parse::<IdempotencyKey>().unwrap_err().to_string();
        for (text, got) in [
            ("", "0 bytes"),
            (&*"x".repeat(256), "256 bytes"),
            ("a b", "a space at byte 2"),
            (" a", "a space at byte 1"),
            ("a\n", "a control character at byte 2"),
            ("a\u{7f}", "a control character at byte 2"),
            ("é", "a character outside of ASCII at byte 1"),
        ] {
            let expected = format!("invalid idempotency key: must have 1 to 255 visible ASCII characters, got {got}");
            assert_eq!(error(text), expected);
        }
    }

    #[test]
    fn debug_shows_no_text() {
        let key: IdempotencyKey = "key_live_4kTz0Q2mVbXw".parse().unwrap();
        assert_eq!(format!("{key:?}"), "IdempotencyKey(21 bytes)");
    }
}
