//! What was done.

use std::borrow::Cow;
use std::fmt;

/// What was done, such as `key.revoked`.
///
/// Text and not an enum, so that events of a later version can be read.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct AuditAction(Cow<'static, str>);

impl AuditAction {
    /// `organization.created`
    pub const ORGANIZATION_CREATED: Self = Self(Cow::Borrowed("organization.created"));
    /// `organization.updated`
    pub const ORGANIZATION_UPDATED: Self = Self(Cow::Borrowed("organization.updated"));
    /// `organization.activated`
    pub const ORGANIZATION_ACTIVATED: Self = Self(Cow::Borrowed("organization.activated"));
    /// `organization.deactivated`
    pub const ORGANIZATION_DEACTIVATED: Self = Self(Cow::Borrowed("organization.deactivated"));
    /// `organization.deleted`
    pub const ORGANIZATION_DELETED: Self = Self(Cow::Borrowed("organization.deleted"));
    /// `plan.created`
    pub const PLAN_CREATED: Self = Self(Cow::Borrowed("plan.created"));
    /// `plan.updated`
    pub const PLAN_UPDATED: Self = Self(Cow::Borrowed("plan.updated"));
    /// `plan.deleted`
    pub const PLAN_DELETED: Self = Self(Cow::Borrowed("plan.deleted"));
    /// `role.created`
    pub const ROLE_CREATED: Self = Self(Cow::Borrowed("role.created"));
    /// `role.updated`
    pub const ROLE_UPDATED: Self = Self(Cow::Borrowed("role.updated"));
    /// `role.deleted`
    pub const ROLE_DELETED: Self = Self(Cow::Borrowed("role.deleted"));
    /// `scope.created`: a scope was added to the catalogue
    pub const SCOPE_CREATED: Self = Self(Cow::Borrowed("scope.created"));
    /// `scope.updated`
    pub const SCOPE_UPDATED: Self = Self(Cow::Borrowed("scope.updated"));
    /// `scope.deleted`
    pub const SCOPE_DELETED: Self = Self(Cow::Borrowed("scope.deleted"));
    /// `key.issued`
    pub const KEY_ISSUED: Self = Self(Cow::Borrowed("key.issued"));
    /// `key.updated`
    pub const KEY_UPDATED: Self = Self(Cow::Borrowed("key.updated"));
    /// `key.rotated`
    pub const KEY_ROTATED: Self = Self(Cow::Borrowed("key.rotated"));
    /// `key.rotation_finished`
    pub const KEY_ROTATION_FINISHED: Self = Self(Cow::Borrowed("key.rotation_finished"));
    /// `key.rotation_taken_back`
    pub const KEY_ROTATION_TAKEN_BACK: Self = Self(Cow::Borrowed("key.rotation_taken_back"));
    /// `key.disabled`
    pub const KEY_DISABLED: Self = Self(Cow::Borrowed("key.disabled"));
    /// `key.enabled`
    pub const KEY_ENABLED: Self = Self(Cow::Borrowed("key.enabled"));
    /// `key.revoked`
    pub const KEY_REVOKED: Self = Self(Cow::Borrowed("key.revoked"));
    /// `key.deleted`
    pub const KEY_DELETED: Self = Self(Cow::Borrowed("key.deleted"));

    /// `user.created`
    pub const USER_CREATED: Self = Self(Cow::Borrowed("user.created"));
    /// `user.updated`
    pub const USER_UPDATED: Self = Self(Cow::Borrowed("user.updated"));
    /// `user.disabled`
    pub const USER_DISABLED: Self = Self(Cow::Borrowed("user.disabled"));
    /// `user.enabled`
    pub const USER_ENABLED: Self = Self(Cow::Borrowed("user.enabled"));
    /// `user.deleted`
    pub const USER_DELETED: Self = Self(Cow::Borrowed("user.deleted"));

    /// `server_secret.created`
    pub const SERVER_SECRET_CREATED: Self = Self(Cow::Borrowed("server_secret.created"));
    /// `server_secret.rotated`
    pub const SERVER_SECRET_ROTATED: Self = Self(Cow::Borrowed("server_secret.rotated"));
    /// `server_secret.sealed`
    pub const SERVER_SECRET_SEALED: Self = Self(Cow::Borrowed("server_secret.sealed"));
    /// `realm.adopted`: a copy of a database became one of its own
    pub const REALM_ADOPTED: Self = Self(Cow::Borrowed("realm.adopted"));
    /// `crc_keys.ended`
    pub const CRC_KEYS_ENDED: Self = Self(Cow::Borrowed("crc_keys.ended"));

    /// `journal.applied`: a database that was set back lost again what the revocation journal knows
    pub const JOURNAL_APPLIED: Self = Self(Cow::Borrowed("journal.applied"));

    /// `personal.forgotten`
    pub const PERSONAL_FORGOTTEN: Self = Self(Cow::Borrowed("personal.forgotten"));
    /// `audit.pruned`
    pub const AUDIT_PRUNED: Self = Self(Cow::Borrowed("audit.pruned"));
    /// `audit.export_started`: somebody began to take events away
    pub const AUDIT_EXPORT_STARTED: Self = Self(Cow::Borrowed("audit.export_started"));
    /// `audit.exported`: an export ended, whole or not
    pub const AUDIT_EXPORTED: Self = Self(Cow::Borrowed("audit.exported"));
    /// `key.used`: the first use of a secret from a network on a day
    pub const KEY_USED: Self = Self(Cow::Borrowed("key.used"));

    /// An action of the service's own, for changes that it commits itself.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Cow::Owned(text.into()))
    }

    /// The action's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AuditAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for AuditAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuditAction({:?})", self.as_str())
    }
}
