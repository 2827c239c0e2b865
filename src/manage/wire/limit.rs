//! Rate limits, for the document. They are read and written by the types of the library.

use utoipa::ToSchema;

/// A rate limit: so many units in a window, and at most `burst` at once.
#[derive(ToSchema)]
#[schema(as = RateLimit)]
#[allow(dead_code, reason = "it describes what is written elsewhere")]
pub(crate) struct LimitForm {
    /// Unique for a key and its organization: `[a-z0-9_-]{1,64}`.
    #[schema(pattern = "^[a-z0-9_-]{1,64}$")]
    name: String,
    /// Units in the window.
    #[schema(minimum = 1, maximum = 4294967295u64)]
    limit: u64,
    /// The window in seconds, at most 31 days.
    #[schema(minimum = 1, maximum = 2678400)]
    per: u64,
    /// The limit if it is left out.
    #[schema(minimum = 1, maximum = 4294967295u64)]
    burst: Option<u64>,
    /// What one request takes. 1 if it is left out.
    #[schema(minimum = 1, maximum = 4294967295u64)]
    cost: Option<u64>,
}
