//! The whole key, as long as it has to be held.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};

/// A whole API key: born in issuing, shown once, never stored.
///
/// There is one door to its text, [`expose_secret`](Self::expose_secret). It has no `Display`, no equality and no
/// `Clone`; `Debug` shows nothing; the text is wiped on drop.
///
/// ```
/// use tower_api_key::key::ApiKey;
///
/// let key = ApiKey::from(String::from("acme_live_not_a_real_key"));
/// assert_eq!(format!("{key:?}"), "ApiKey([redacted])");
/// assert_eq!(key.expose_secret(), "acme_live_not_a_real_key");
/// ```
pub struct ApiKey(SecretString);

impl ApiKey {
    /// The key's text, to hand it to its owner.
    ///
    /// # Security
    /// Whoever has this text has the key: do not log it, do not store it, do not put it into a URL.
    pub fn expose_secret(&self) -> &str {
        self.0.expose_secret()
    }
}

impl From<String> for ApiKey {
    fn from(text: String) -> Self {
        Self(SecretString::from(text))
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey([redacted])")
    }
}
