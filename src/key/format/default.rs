//! The default format.

use std::sync::Arc;

use super::KeyFormat;
use super::builder::KeyFormatBuilder;
use super::formats::KeyFormats;

/// `key_live_…` and `key_test_…`, otherwise as [`KeyFormat::new`]. With a prefix of your own, leaked keys are easier to find
/// and to attribute.
impl Default for KeyFormat {
    fn default() -> Self {
        KeyFormatBuilder::new("key").assemble()
    }
}

/// The default format alone.
impl Default for KeyFormats {
    fn default() -> Self {
        Self::of(Arc::from([KeyFormat::default()]))
    }
}
