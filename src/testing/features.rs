//! Features that only tests know.

use crate::key::{Features, know};

/// From now on this process knows these features as well: for tests of a restriction that is new, beside a program of the version
/// before, which does not know it and answers with 503.
///
/// ```
/// tower_api_key::testing::know_features(&"origins-2".parse()?);
/// # Ok::<_, tower_api_key::ParseError>(())
/// ```
pub fn know_features(features: &Features) {
    know(features);
}
