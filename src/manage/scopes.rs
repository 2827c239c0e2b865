//! The scopes of the management API. No wildcard covers them: a key has each by its exact name.

pub(super) const READ_KEYS: &str = "api-keys.keys:read";
/// The key itself, and keys of its user.
pub(super) const READ_OWN_KEYS: &str = "api-keys.keys:read-own";
pub(super) const WRITE_KEYS: &str = "api-keys.keys:write";

/// All of them.
pub(super) const ALL: &[&str] = &[READ_KEYS, READ_OWN_KEYS, WRITE_KEYS];
