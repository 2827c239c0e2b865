//! The layer's settings about HTTPS.

use super::https::HttpsRule;
use super::layer::ApiKeyLayer;
use super::proxies::TrustedProxies;
use super::require_https::RequireHttps;
use crate::error::ConfigError;
use crate::key::Networks;
use crate::store::KeyStore;

/// # Requests over HTTPS
impl<S, R> ApiKeyLayer<S, R> {
    /// A [`RequireHttps`] to put around this layer. It shares this layer's client address, sources, responder, clock and audit,
    /// as they are set now.
    ///
    /// It believes `header` if the peer is a proxy in these networks: `x-forwarded-proto`, `forwarded` (RFC 7239, its
    /// `proto`), or another header that holds a scheme: `https`, or `wss`. A peer with an unknown address is not trusted.
    ///
    /// # Errors
    /// If it is not a header name, if the header is known to hold no scheme (such as `x-forwarded-for`), or if there are no
    /// networks.
    pub fn require_https(&self, header: &str, networks: Networks) -> Result<RequireHttps<R>, ConfigError>
    where
        S: KeyStore,
        R: Clone,
    {
        let proxies = TrustedProxies::reporting_scheme(header, networks)?;
        let https = HttpsRule::new(proxies);
        Ok(RequireHttps::new(&self.shared, https, self.responder.clone()))
    }

    /// A [`RequireHttps`] that asks no proxy: it admits what comes from this machine to this machine, as its
    /// [`allow_loopback`](RequireHttps::allow_loopback) does, and nothing else. Once proxies are
    /// [trusted](Self::trusted_proxies), nothing is: what comes from this machine may be a proxy on it, whose clients are elsewhere.
    pub fn require_loopback(&self) -> RequireHttps<R>
    where
        S: KeyStore,
        R: Clone,
    {
        let mut https = HttpsRule::loopback();
        https.allow_loopback = self.settings().address.proxies.is_none();
        RequireHttps::new(&self.shared, https, self.responder.clone())
    }

    /// Whether it refuses what did not come over HTTPS itself.
    #[cfg(feature = "manage")]
    pub(crate) fn is_https_only(&self) -> bool {
        self.settings().https.is_some()
    }

    /// What it refuses so, to be put around routes without the layer.
    #[cfg(feature = "manage")]
    pub(crate) fn own_https(&self) -> Option<RequireHttps<R>>
    where
        S: KeyStore,
        R: Clone,
    {
        let https = self.settings().https.clone()?;
        Some(RequireHttps::new(&self.shared, https, self.responder.clone()))
    }

    /// Refuses requests that did not reach the proxy in front of the service over HTTPS, with 403, as
    /// [`require_https`](Self::require_https) does for what is around the layer too. Requests without a key are refused as well.
    ///
    /// ```
    /// use tower_api_key::ApiKeyLayer;
    /// use tower_api_key::store::MemoryStore;
    ///
    /// let layer = ApiKeyLayer::new(MemoryStore::new()).only_https("x-forwarded-proto", "10.0.0.0/8".parse()?)?;
    /// assert!(layer.only_https("x-forwarded-for", "10.0.0.0/8".parse()?).is_err(), "it holds addresses");
    /// # Ok::<_, tower_api_key::ConfigError>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`require_https`](Self::require_https).
    pub fn only_https(self, header: &str, networks: Networks) -> Result<Self, ConfigError> {
        let https = HttpsRule::new(TrustedProxies::reporting_scheme(header, networks)?);
        Ok(self.edit(|settings| settings.https = Some(https)))
    }
}
