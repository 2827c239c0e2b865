//! Whole keys, in memory that is wiped.

use std::fmt;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretSlice};

/// A whole API key, shown once when it is issued and never stored.
///
/// [`expose_secret`](Self::expose_secret) is the only way to its text. There is no `Display`, no equality and no
/// `Clone`; `Debug` shows nothing; the text is wiped on drop.
///
/// ```
/// use tower_api_key::key::ApiKey;
///
/// let key = ApiKey::from(String::from("acme_live_not_a_real_key"));
/// assert_eq!(format!("{key:?}"), "ApiKey([redacted])");
/// assert_eq!(key.expose_secret(), "acme_live_not_a_real_key");
/// ```
pub struct ApiKey(OwnedKey);

/// The bytes of a key, as they were presented or made. Clones share one buffer, which is wiped when the last one is
/// dropped.
#[derive(Clone)]
pub(crate) struct OwnedKey(Arc<SecretSlice<u8>>);

impl ApiKey {
    /// The text of the key, to hand it to its owner.
    ///
    /// # Security
    /// Anyone who holds this text can use the key: do not log it, store it, or put it into a URL.
    pub fn expose_secret(&self) -> &str {
        // Every `ApiKey` is made from a `String`, so its bytes are UTF-8.
        std::str::from_utf8(self.0.as_bytes()).unwrap_or_default()
    }
}

impl OwnedKey {
    /// Copies the key into a buffer of its own.
    pub(crate) fn copy_of(key: &[u8]) -> Self {
        Self(Arc::new(SecretSlice::from(key.to_vec())))
    }

    /// How many share the buffer.
    #[cfg(test)]
    pub(crate) fn holders(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    /// # Security
    /// As for [`ApiKey::expose_secret`].
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.expose_secret()
    }
}

impl From<String> for ApiKey {
    fn from(text: String) -> Self {
        Self(OwnedKey(Arc::new(SecretSlice::from(text.into_bytes()))))
    }
}

/// Shares the buffer.
impl From<&ApiKey> for OwnedKey {
    fn from(key: &ApiKey) -> Self {
        key.0.clone()
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owned_key_shares_the_buffer_of_its_api_key() {
        let key = ApiKey::from(String::from("acme_live_\u{e9}"));
        let owned = OwnedKey::from(&key);
        assert_eq!(owned.as_bytes(), key.expose_secret().as_bytes());
        assert_eq!(owned.as_bytes().as_ptr(), key.expose_secret().as_ptr());
        assert_eq!(owned.clone().as_bytes().as_ptr(), owned.as_bytes().as_ptr());
        assert_ne!(
            OwnedKey::copy_of(owned.as_bytes()).as_bytes().as_ptr(),
            owned.as_bytes().as_ptr()
        );
    }
}
