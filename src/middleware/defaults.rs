//! What the layers of a handle begin with.

use std::sync::Arc;

use super::admit::Shared;
use super::handle::LayerHandle;
use super::layer::ApiKeyLayer;
use super::problem::ProblemJson;
use super::settings::Settings;
use crate::check::Authenticator;
use crate::store::KeyStore;

/// The settings of a layer, without its store.
pub(crate) struct LayerDefaults {
    settings: Settings,
    responder: ProblemJson,
}

impl LayerDefaults {
    /// Those of this layer.
    pub(crate) fn of<S>(layer: &ApiKeyLayer<S>) -> Self {
        Self {
            settings: layer.settings().clone(),
            responder: layer.responder.clone(),
        }
    }

    /// A new layer with them.
    pub(crate) fn layer<S: KeyStore>(&self, authenticator: Authenticator<S>) -> ApiKeyLayer<S> {
        let mut settings = self.settings.clone();
        settings.set_formats(authenticator.formats());
        let handle = Arc::new(LayerHandle::with_settings(&authenticator, settings));
        ApiKeyLayer {
            shared: Arc::new(Shared { authenticator, handle }),
            responder: self.responder.clone(),
        }
    }
}
