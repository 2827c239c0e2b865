//! The scopes of the management API. No wildcard covers them: a key has each by its exact name.

pub(super) const READ_KEYS: &str = "api-keys.keys:read";
/// The key itself, and keys of its user.
pub(super) const READ_OWN_KEYS: &str = "api-keys.keys:read-own";
pub(super) const WRITE_KEYS: &str = "api-keys.keys:write";
pub(super) const READ_ORGANIZATIONS: &str = "api-keys.organizations:read";
pub(super) const WRITE_ORGANIZATIONS: &str = "api-keys.organizations:write";
pub(super) const READ_USERS: &str = "api-keys.users:read";
pub(super) const WRITE_USERS: &str = "api-keys.users:write";
pub(super) const READ_PLANS: &str = "api-keys.plans:read";
pub(super) const WRITE_PLANS: &str = "api-keys.plans:write";
pub(super) const READ_ROLES: &str = "api-keys.roles:read";
pub(super) const WRITE_ROLES: &str = "api-keys.roles:write";
pub(super) const READ_SCOPES: &str = "api-keys.scopes:read";
pub(super) const WRITE_SCOPES: &str = "api-keys.scopes:write";
pub(super) const READ_AUDIT: &str = "api-keys.audit:read";

/// All of them.
pub(super) const ALL: &[&str] = &[
    READ_KEYS,
    READ_OWN_KEYS,
    WRITE_KEYS,
    READ_ORGANIZATIONS,
    WRITE_ORGANIZATIONS,
    READ_USERS,
    WRITE_USERS,
    READ_PLANS,
    WRITE_PLANS,
    READ_ROLES,
    WRITE_ROLES,
    READ_SCOPES,
    WRITE_SCOPES,
    READ_AUDIT,
];
