//! Settings of the secrets of a realm.

use crate::check::ApiKeysBuilder;
use crate::error::ConfigError;
use crate::key::ServerSecret;
use crate::secrets::RootKeys;
use crate::store::KeyStore;

/// # Secrets of the servers
impl<S: KeyStore> ApiKeysBuilder<S> {
    /// The secret of keyed checksums, if it is kept elsewhere: the store then never holds it. New keys are made with the
    /// current one; keys made with a retired one are accepted too. Every process needs the same secrets.
    ///
    /// To rotate, give the new secret as a retired one everywhere, then as the current one with the old one retired. By
    /// default the handle makes a secret when it first opens the store, keeps it there, and rotates it with
    /// [`Issuer::rotate_checksum_secret`](crate::Issuer::rotate_checksum_secret).
    ///
    /// ```
    /// use tower_api_key::ApiKeys;
    /// use tower_api_key::key::ServerSecret;
    /// use tower_api_key::store::MemoryStore;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let bytes = [7; 32];
    /// let secret = ServerSecret::new('a', &bytes)?; // 32 random bytes, from a secret manager
    /// let keys = ApiKeys::builder(MemoryStore::new()).realm_secret(secret, [])?.open().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When there are more than 495 retired secrets, or more than 8 with one id.
    pub fn realm_secret(
        mut self,
        current: ServerSecret,
        retired: impl IntoIterator<Item = ServerSecret>,
    ) -> Result<Self, ConfigError> {
        self.secret_settings().give(current, retired)?;
        Ok(self)
    }

    /// The root keys that stored secrets are sealed under. Default: those of the file that `API_KEYS_ROOT_KEY_FILE` names; if
    /// it is not set, the secret of keyed checksums is stored unsealed, with a warning.
    pub fn root_keys(mut self, keys: impl Into<RootKeys>) -> Self {
        self.secret_settings().set_root_keys(keys.into());
        self
    }

    /// Accepts keys whose keyed checksum is wrong or of an unknown secret, for a store whose secret is lost.
    ///
    /// # Security
    /// The stored hash still decides about every key, but an invented one costs a read and, if its lookup exists, a hash. Issue
    /// such keys anew, then remove this.
    pub fn dangerous_unverified_checksums(mut self) -> Self {
        self.secret_settings().accept_unverified();
        self
    }
}
