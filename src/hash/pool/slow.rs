//! The warning about builds in which hashing is slow.

use std::sync::Once;
use std::time::Duration;

/// Several times what a hash of the default cost takes when it is optimized.
const SLOW: Duration = Duration::from_millis(250);

/// Warns once in the process if a hash used this much processor time, in builds with debug assertions. A dependent crate's
/// debug build does not optimize Argon2, and waits for keys would look like a fault of the service.
pub(super) fn warn_once(cpu: Duration) {
    static WARNED: Once = Once::new();
    if cpu > SLOW {
        WARNED.call_once(|| {
            tracing::warn!(
                milliseconds = cpu.as_millis(),
                "a hash of an API key is slow: if this build does not optimize Argon2, add `[profile.dev.package.argon2]` \
                 and below it `opt-level = 3` to the Cargo.toml of the workspace"
            );
        });
    }
}
