//! Requests without a key.

use crate::middleware::handle::mark_as_anonymous;

/// Makes a request one that an [optional](crate::ApiKeyLayer::optional) layer has let through without a key: for tests of handlers
/// that take an `Option<AuthContext>`.
///
/// Without it such a handler answers 500, as it does where the layer was forgotten. A handler or a
/// [`RequireScope`](crate::RequireScope) that needs a key answers 401, as behind a layer with default settings.
///
/// ```
/// # #[cfg(feature = "axum")]
/// # {
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use axum::{Router, body::Body, routing::get};
/// use tower::ServiceExt;
/// use tower_api_key::AuthContext;
/// use tower_api_key::testing::anonymous;
///
/// async fn greet(auth: Option<AuthContext>) -> String {
///     auth.map_or("hello, stranger".to_owned(), |auth| format!("hello, {}", auth.name()))
/// }
///
/// let app: Router = Router::new().route("/", get(greet));
/// let mut request = http::Request::get("/").body(Body::empty())?;
/// anonymous(request.extensions_mut());
/// let response = app.oneshot(request).await?;
/// assert_eq!(response.status(), 200);
/// # Ok(())
/// # }
/// # main().unwrap();
/// # }
/// ```
///
/// # Security
/// As with [`auth_context`](super::auth_context): enable the feature `testing` only in `[dev-dependencies]`.
pub fn anonymous(extensions: &mut http::Extensions) {
    mark_as_anonymous(extensions);
}
