//! Refusing from a handler.

use crate::check::{AuthContext, Rejection};
use crate::key::Scope;

use super::handle::LayerHandle;

impl AuthContext {
    /// Refuses the request unless its key has this scope.
    ///
    /// For scopes that are known in the handler only; for a whole route, see [`RequireScope`](crate::RequireScope). The
    /// refusal is recorded like any other. In axum, return it: it becomes the answer that the layer itself would have given,
    /// by its [responder](crate::ApiKeyLayer::responder), with its realm and for its sources. Elsewhere, answer with its
    /// [`status`](Rejection::status), [`code`](Rejection::code) and [`detail`](Rejection::detail).
    ///
    /// A handler no longer has the request, so the responder gets an empty head: GET `/` without headers.
    ///
    /// ```
    /// use axum::Router;
    /// use axum::extract::Path;
    /// use axum::routing::get;
    /// use tower_api_key::store::MemoryStore;
    /// use tower_api_key::{ApiKeyLayer, AuthContext, Rejection};
    ///
    /// async fn report(Path(kind): Path<String>, auth: AuthContext) -> Result<String, Rejection> {
    ///     auth.require("reports:read")?;
    ///     if kind == "payroll" {
    ///         auth.require("payroll:read")?;
    ///     }
    ///     Ok(format!("the report on {kind}"))
    /// }
    ///
    /// let layer = ApiKeyLayer::new(MemoryStore::new());
    /// let app: Router = Router::new().route("/reports/{kind}", get(report)).route_layer(layer);
    /// # let _ = app;
    /// ```
    ///
    /// # Errors
    /// [`InsufficientScope`](crate::RejectionKind::InsufficientScope) if the key lacks the scope;
    /// [`InvalidScope`](crate::RejectionKind::InvalidScope), a 500, if the text is not a scope.
    pub fn require(&self, scope: impl AsRef<str>) -> Result<(), Rejection> {
        let rejection = match scope.as_ref().parse::<Scope>() {
            Ok(scope) if self.allows(&scope) => {
                self.scopes_used(std::slice::from_ref(&scope));
                return Ok(());
            }
            Ok(scope) => {
                self.lacks_scopes(std::slice::from_ref(&scope));
                Rejection::insufficient_scope(Box::new([scope]), false)
            }
            Err(error) => {
                tracing::error!(%error, "a handler requires a scope that is not valid");
                Rejection::invalid_scope()
            }
        };
        Err(self.refuse(rejection))
    }

    /// Refuses the request because its key has stopped working since it was admitted.
    #[cfg(feature = "manage")]
    pub(crate) fn refuse_ended(&self, kind: crate::check::RejectionKind) -> Rejection {
        self.refuse(Rejection::new(kind))
    }

    fn refuse(&self, rejection: Rejection) -> Rejection {
        let mut rejection = self.name_key(rejection);
        if let Some(layer) = LayerHandle::of(self) {
            layer.record_refusal(&rejection, self.client());
            rejection.attach(layer);
        }
        rejection
    }

    /// The rejection of a request of this key.
    pub(super) fn name_key(&self, rejection: Rejection) -> Rejection {
        rejection
            .of_key(self.key_id(), self.organization().id, self.user())
            .with_lookup(self.lookup().clone())
    }
}
