//! What handlers say of the request that they answer, for its usage.

use super::context::AuthContext;
use crate::usage::{Running, UsageError, UsageErrorKind, UsageHold};

/// What is metered. Each of these fails with [`NoMeter`](UsageErrorKind::NoMeter) where there is no
/// [`MeterLayer`](crate::MeterLayer) around the handler, and with [`Ended`](UsageErrorKind::Ended) once the request is over.
impl AuthContext {
    /// Counts tokens, beside those that were counted before.
    ///
    /// ```
    /// use axum::http::StatusCode;
    /// use tower_api_key::AuthContext;
    ///
    /// async fn complete(auth: AuthContext) -> Result<&'static str, StatusCode> {
    ///     let (answer, tokens) = ("…", 1_200);
    ///     let failed = |_| StatusCode::INTERNAL_SERVER_ERROR;
    ///     auth.add_tokens(tokens).map_err(failed)?;
    ///     auth.add_micro_usd(tokens * 3).map_err(failed)?;
    ///     auth.tag("model", "large").map_err(failed)?;
    ///     Ok(answer)
    /// }
    /// # let _: axum::Router = axum::Router::new().route("/", axum::routing::post(complete));
    /// ```
    ///
    /// # Errors
    /// [`TooMuch`](UsageErrorKind::TooMuch) if it would be more than 10^12, and nothing is added.
    pub fn add_tokens(&self, tokens: u64) -> Result<(), UsageError> {
        self.metered_request()?.slot().add_tokens(tokens)
    }

    /// Adds what the request costs, in millionths of a dollar.
    ///
    /// # Errors
    /// [`TooMuch`](UsageErrorKind::TooMuch) if it would be more than a billion dollars, and nothing is added.
    pub fn add_micro_usd(&self, micro_usd: u64) -> Result<(), UsageError> {
        self.metered_request()?.slot().add_micro_usd(micro_usd)
    }

    /// Sets a [tag](crate::usage::Tags), such as the name of a model. A request has four at most.
    ///
    /// # Errors
    /// [`InvalidTag`](UsageErrorKind::InvalidTag) and [`TooManyTags`](UsageErrorKind::TooManyTags).
    pub fn tag(&self, name: &str, value: &str) -> Result<(), UsageError> {
        self.metered_request()?.slot().tag(name, value)
    }

    /// Keeps the event of this request open until the hold is dropped. A connection that is upgraded, such as a WebSocket, has no
    /// response that ends: its event ends with the hold, or at once if there is none.
    ///
    /// # Errors
    /// None but those of all of these.
    pub fn hold(&self) -> Result<UsageHold, UsageError> {
        UsageHold::of(self.metered_request()?.clone())
    }

    fn metered_request(&self) -> Result<&std::sync::Arc<dyn Running>, UsageError> {
        self.running().ok_or_else(|| UsageErrorKind::NoMeter.into())
    }
}
