//! Why something is done.

use serde::Deserialize;
use utoipa::ToSchema;

/// Why it is done. Kept in the audit trail: name nobody in it.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reason {
    /// Of it, the first 1,024 bytes are kept.
    #[serde(default)]
    pub(crate) reason: String,
}
