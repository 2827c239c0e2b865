//! The scopes of managing keys, which routes of the management API ask for. No wildcard covers them: a key has each by its exact name.

pub(crate) const READ_KEYS: &str = "api-keys.keys:read";
/// The key itself, and keys of its user.
pub(crate) const READ_OWN_KEYS: &str = "api-keys.keys:read-own";
pub(crate) const WRITE_KEYS: &str = "api-keys.keys:write";
pub(crate) const READ_ORGANIZATIONS: &str = "api-keys.organizations:read";
pub(crate) const WRITE_ORGANIZATIONS: &str = "api-keys.organizations:write";
pub(crate) const READ_USERS: &str = "api-keys.users:read";
pub(crate) const WRITE_USERS: &str = "api-keys.users:write";
pub(crate) const READ_PLANS: &str = "api-keys.plans:read";
pub(crate) const WRITE_PLANS: &str = "api-keys.plans:write";
pub(crate) const READ_ROLES: &str = "api-keys.roles:read";
pub(crate) const WRITE_ROLES: &str = "api-keys.roles:write";
pub(crate) const READ_SCOPES: &str = "api-keys.scopes:read";
pub(crate) const WRITE_SCOPES: &str = "api-keys.scopes:write";
pub(crate) const READ_AUDIT: &str = "api-keys.audit:read";

/// All of them.
pub(crate) const ALL: &[&str] = &[
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
