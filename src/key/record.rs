//! Key records and their secrets.

use crate::key::{
    Actor, Features, Holds, KeyId, Labels, LimitNames, Lookup, Metadata, Networks, OrganizationId, RateLimit,
    RoleNames, ScopeSet, SecretHash, Timestamp, UserId,
};

/// Whether a key works, apart from its expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyStatus {
    /// The key works.
    Active,
    /// The key does not work until it is enabled again.
    Disabled,
    /// The key never works again.
    Revoked,
}

impl KeyStatus {
    /// `active`, `disabled` or `revoked`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Disabled => "disabled",
            Self::Revoked => "revoked",
        }
    }
}

/// When a key was revoked, why, and by whom.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Revocation {
    /// The time of the revocation.
    pub at: Timestamp,
    /// The reason, as free text; may be empty.
    pub reason: String,
    /// Who revoked the key.
    pub actor: Actor,
}

impl Revocation {
    /// A revocation at this time.
    pub fn new(at: Timestamp, reason: impl Into<String>, actor: Actor) -> Self {
        Self {
            at,
            reason: reason.into(),
            actor,
        }
    }
}

/// The record of a key: everything but its secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyRecord {
    /// Stable identifier.
    pub id: KeyId,
    /// The organization that owns the key; never changes.
    pub organization_id: OrganizationId,
    /// The user the key acts for.
    pub user: Option<UserId>,
    /// Whether the key is revoked when its user is deleted. While its user is disabled, it is stopped as every key of the user is.
    pub ends_with_user: bool,
    /// Display name.
    pub name: String,
    /// What lists find the key by.
    pub labels: Labels,
    /// The prefix that presented keys must have.
    pub prefix: String,
    /// The environment that presented keys must name (`live`, `test`).
    pub environment: Option<String>,
    /// What the key may do, besides what its roles allow.
    pub scopes: ScopeSet,
    /// Roles, whose scopes the key has too.
    pub roles: RoleNames,
    /// Where the key may be used from.
    pub networks: Networks,
    /// Rate limits of the key alone; [`Issuer`](crate::Issuer) accepts at most 16. They override by name those that its plan
    /// and its organization give each key.
    pub limits: Vec<RateLimit>,
    /// Limits that its plan and its organization give each key and that do not hold for this one.
    pub lifted_limits: LimitNames,
    /// The service's own data about the key.
    pub metadata: Metadata,
    /// Whether the key works.
    pub status: KeyStatus,
    /// Set when the key was revoked.
    pub revocation: Option<Revocation>,
    /// Which bulk changes keep a disabled key disabled. None for one that was disabled by itself.
    pub holds: Holds,
    /// When the key was created.
    pub created_at: Timestamp,
    /// Who created the key.
    pub created_by: Actor,
    /// The key with which it was created.
    pub created_by_key: Option<KeyId>,
    /// Whether the key opens nothing, and its use is a security event, `canary_used`. To a client it is an unknown key.
    pub is_canary: bool,
    /// What a server must know to judge the key.
    pub requires: Features,
    /// The key stops working at this time.
    pub expires_at: Option<Timestamp>,
    /// Number of the record's last change, from 1. Stores raise it by one with each change.
    pub revision: u64,
}

impl KeyRecord {
    /// A new, active record: no prefix, no scopes, usable from anywhere, no limits, no expiry, created by the service.
    pub fn new(organization_id: OrganizationId, name: impl Into<String>, created_at: Timestamp) -> Self {
        Self {
            id: KeyId::new(),
            organization_id,
            user: None,
            ends_with_user: false,
            name: name.into(),
            labels: Labels::default(),
            prefix: String::new(),
            environment: None,
            scopes: ScopeSet::default(),
            roles: RoleNames::default(),
            networks: Networks::default(),
            limits: Vec::new(),
            lifted_limits: LimitNames::default(),
            metadata: Metadata::default(),
            status: KeyStatus::Active,
            revocation: None,
            holds: Holds::default(),
            created_at,
            created_by: Actor::service(),
            created_by_key: None,
            is_canary: false,
            requires: Features::default(),
            expires_at: None,
            revision: 1,
        }
    }
}

/// How a presented key shows, before anything is hashed, that it may be one of these servers'.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SecretForm {
    /// It does not: its format has no checksum.
    None,
    /// By a CRC-32, which anyone can compute.
    Crc32,
    /// By a keyed checksum, under a secret of the realm.
    Keyed,
    /// Not known: a key of another system.
    Foreign,
}

impl SecretForm {
    /// `none`, `crc32`, `keyed` or `foreign`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Crc32 => "crc32",
            Self::Keyed => "keyed",
            Self::Foreign => "foreign",
        }
    }

    /// Whether a secret that is stored with this form can belong to a key that is presented in the other one.
    ///
    /// A keyed secret belongs to keys with a keyed checksum only: a CRC-32 in its place can come from anyone who knows the
    /// lookup, and must not cost a hash. The other forms exclude nothing. Secrets that were stored before forms were have
    /// the one that their lookup and prefix suggest, and it may be wrong.
    pub fn admits(self, presented: Self) -> bool {
        self != Self::Keyed || presented == Self::Keyed
    }
}

/// One secret of a key: what it is found by, its hash, and when it ends. A key has one secret, and two during a rotation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeySecret {
    /// What the secret is found by.
    pub lookup: Lookup,
    /// What the presented key is verified against.
    pub hash: SecretHash,
    /// The checksum of the key.
    pub form: SecretForm,
    /// The last characters of the key, for people to tell keys apart. Only where 128 bits stay secret without them.
    pub hint: Option<String>,
    /// When the secret was created.
    pub created_at: Timestamp,
    /// The secret's own end. A rotation does not change it.
    pub expires_at: Option<Timestamp>,
    /// The end of the grace period. Set when a rotation replaces the secret, so a secret with this set is superseded.
    pub grace_ends_at: Option<Timestamp>,
}

impl KeySecret {
    /// A secret without an end, of a key of another system.
    pub fn new(lookup: Lookup, hash: SecretHash, created_at: Timestamp) -> Self {
        Self {
            lookup,
            hash,
            form: SecretForm::Foreign,
            hint: None,
            created_at,
            expires_at: None,
            grace_ends_at: None,
        }
    }

    /// When the secret stops working: at its own end or at the end of its grace period, whichever comes first.
    pub fn ends_at(&self) -> Option<Timestamp> {
        earlier(self.expires_at, self.grace_ends_at)
    }
}

/// The earlier of two ends, either of which may be open.
pub(crate) fn earlier(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keyed_secret_admits_keyed_checksums_only() {
        let forms = [
            SecretForm::None,
            SecretForm::Crc32,
            SecretForm::Keyed,
            SecretForm::Foreign,
        ];
        for presented in forms {
            assert_eq!(SecretForm::Keyed.admits(presented), presented == SecretForm::Keyed);
            assert!(
                forms
                    .iter()
                    .all(|stored| *stored == SecretForm::Keyed || stored.admits(presented))
            );
        }
    }

    #[test]
    fn earlier_end_counts_and_an_open_one_does_not() {
        let at = |millis| Some(Timestamp::from_millis(millis));
        assert_eq!(earlier(None, None), None);
        assert_eq!(earlier(at(1), None), at(1));
        assert_eq!(earlier(None, at(1)), at(1));
        assert_eq!(earlier(at(2), at(1)), at(1));
        assert_eq!(earlier(at(1), at(2)), at(1));
    }
}
