//! The layers of a handle, and what they begin with.

use std::sync::Arc;

use super::ApiKeys;
use crate::error::ConfigError;
use crate::middleware::defaults::LayerDefaults;
use crate::middleware::layer::ApiKeyLayer;
use crate::store::KeyStore;

/// # Layers
impl<S: KeyStore> ApiKeys<S> {
    /// The Tower layer, with the settings that were made by [`layers`](Self::layers), or else the default ones. Each call gives a
    /// new layer over the same cache and limits.
    pub fn layer(&self) -> ApiKeyLayer<S> {
        match &self.layers {
            Some(defaults) => defaults.layer(self.authenticator.clone()),
            None => ApiKeyLayer::from(self.authenticator.clone()),
        }
    }

    /// Makes settings that each later [`layer`](Self::layer) begins with: sources, trusted proxies, the challenge's realm and all
    /// others. Clones of this handle that were made before keep their own.
    ///
    /// ```
    /// use axum::Router;
    /// use axum::routing::get;
    /// use tower_api_key::{ApiKeys, KeySource};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let keys = ApiKeys::open("memory:").await?;
    /// let keys = keys.layers(|layer| layer.sources([KeySource::header("x-acme-key")?]))?;
    /// let ensured = keys.ensure("acme", "my first key").await?;
    /// let key = ensured.key.unwrap();
    ///
    /// let app: Router = Router::new().route("/", get(|| async { "hello" })).layer(keys.layer());
    /// # use tower::ServiceExt;
    /// # let ask = |header: &str| {
    /// #     http::Request::get("/").header(header, key.expose_secret()).body(axum::body::Body::empty())
    /// # };
    /// assert_eq!(app.clone().oneshot(ask("x-acme-key")?).await?.status(), 200);
    /// assert_eq!(app.oneshot(ask("x-api-key")?).await?.status(), 401);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of `configure`.
    pub fn layers(
        self,
        configure: impl FnOnce(ApiKeyLayer<S>) -> Result<ApiKeyLayer<S>, ConfigError>,
    ) -> Result<Self, ConfigError> {
        let configured = configure(self.layer())?;
        Ok(self.begun_with(&configured))
    }

    /// With the settings of this layer for each later one.
    pub(crate) fn begun_with(mut self, layer: &ApiKeyLayer<S>) -> Self {
        self.layers = Some(Arc::new(LayerDefaults::of(layer)));
        self
    }
}
