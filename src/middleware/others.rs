//! Requests with credentials that are no keys.

use http::Request;

/// The extension of a request with a credential that is no key and was
/// [left](crate::KeySource::leave_others) for the service to verify, such as a user's JWT.
///
/// A handler of an [optional](crate::ApiKeyLayer::optional) layer can ask for it, to tell such a request from one without
/// any credential:
///
/// ```
/// use axum::Extension;
/// use tower_api_key::{AuthContext, Others};
///
/// async fn greeting(key: Option<AuthContext>, others: Option<Extension<Others>>) -> &'static str {
///     match (key, others) {
///         (Some(_), _) => "a key",
///         (None, Some(_)) => "another token, which nobody has verified yet",
///         (None, None) => "nobody",
///     }
/// }
/// # let _ = axum::Router::<()>::new().route("/", axum::routing::get(greeting));
/// ```
///
/// # Security
/// Nothing about the credential was verified. The extension says that it is there, not that it is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Others(());

impl Others {
    /// Inserts the extension, or removes one from elsewhere.
    pub(super) fn set<Q>(has_others: bool, request: &mut Request<Q>) {
        match has_others {
            true => request.extensions_mut().insert(Self(())),
            false => request.extensions_mut().remove::<Self>(),
        };
    }

    pub(super) fn is_in<Q>(request: &Request<Q>) -> bool {
        request.extensions().get::<Self>().is_some()
    }
}
