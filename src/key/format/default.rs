//! The format of whoever has not chosen one.

use std::sync::Arc;

use super::KeyFormat;
use super::builder::KeyFormatBuilder;
use super::formats::KeyFormats;

/// `key_live_…` and `key_test_…`, otherwise as [`KeyFormat::new`]. A prefix of one's own makes leaked keys easier to
/// find and to tell from others'.
impl Default for KeyFormat {
    fn default() -> Self {
        KeyFormatBuilder::new("key").assemble()
    }
}

/// The default format alone.
impl Default for KeyFormats {
    fn default() -> Self {
        Self(Arc::from([KeyFormat::default()]))
    }
}
