//! Whether guards hold, for stores that hold rows in memory.

use std::collections::BTreeMap;

use crate::key::{KeyId, KeyStatus, Organization, OrganizationId};
use crate::store::{Guard, SharedRows, StoredKey};

impl SharedRows {
    /// Whether a guard holds, of any kind. A store that keeps organizations and keys elsewhere looks there for what they say, and
    /// passes the operator's organization and its keys for [`Guard::OperatorKeyLives`].
    pub fn holds(
        &self,
        guard: &Guard,
        organizations: &BTreeMap<OrganizationId, Organization>,
        keys: &BTreeMap<KeyId, StoredKey>,
    ) -> bool {
        match guard {
            Guard::KeyRevision(id, revision) => keys.get(id).is_some_and(|key| key.record.revision == *revision),
            Guard::OrganizationRevision(id, revision) => organizations
                .get(id)
                .is_some_and(|organization| organization.revision == *revision),
            Guard::PlanRevision(id, revision) => self.plan_revision(*id) == Some(*revision),
            Guard::UserRevision(id, user, revision) => self.user_revision(*id, user) == Some(*revision),
            Guard::RoleRevision(name, revision) => self.role_revision(name) == Some(*revision),
            Guard::RoleScopes(name, scopes) => self.scopes_of_role(name) == Some(scopes),
            Guard::KnownScopesBelow(limit) => self.knows_fewer_scopes(*limit),
            Guard::LiveKeysBelow(id, limit) => {
                let records = keys.values().map(|key| &key.record);
                let live =
                    records.filter(|record| record.organization_id == *id && record.status != KeyStatus::Revoked);
                live.take(*limit as usize).count() < *limit as usize
            }
            Guard::UserIsActive(id, user) => self.is_active(*id, user),
            Guard::OperatorKeyLives { beside, at } => self.operator_key_lives(organizations, keys, beside, *at),
            Guard::SecretEnds {
                key,
                lookup,
                expires_at,
                grace_ends_at,
            } => {
                let secret = keys.get(key).and_then(|key| key.secret(lookup));
                secret.is_some_and(|secret| (secret.expires_at, secret.grace_ends_at) == (*expires_at, *grace_ends_at))
            }
        }
    }
}
