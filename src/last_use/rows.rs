//! Rows: secrets, scopes and networks of keys.

use std::fmt;
use std::net::IpAddr;

use crate::key::{KeyId, Lookup, OrganizationId, Scope, Timestamp};

/// How a secret was used.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SecretUse {
    /// The secret.
    pub lookup: Lookup,
    /// Its key.
    pub key_id: KeyId,
    /// The organization of the key.
    pub organization_id: OrganizationId,
    /// When a request with it was last admitted; `None` if none was.
    pub last_used_at: Option<Timestamp>,
    /// Where it was used from in that minute, until that is [forgotten](crate::audit::Forget) or 90 days old.
    pub last_address: Option<IpAddr>,
    /// How many requests with it were admitted.
    pub requests: u64,
}

/// A scope of a key that decided about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScopeUse {
    /// The key.
    pub key_id: KeyId,
    /// The scope that was required, not the one with a wildcard that covers it.
    pub scope: Scope,
    /// When it was last required and held.
    pub last_used_at: Timestamp,
}

/// A network that a key was used from.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NetworkUse {
    /// The key.
    pub key_id: KeyId,
    /// A /24, or a /48 of IPv6, such as `192.0.2.0/24`.
    pub network: String,
    /// When it was first used from there.
    pub first_seen: Timestamp,
}

/// All that is known of a key's use.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UseOfKey {
    /// The key.
    pub key_id: KeyId,
    /// Each of its secrets, ordered by lookup.
    pub secrets: Vec<SecretUse>,
    /// The scopes that were used, ordered by name: at most 256.
    pub scopes: Vec<ScopeUse>,
    /// The networks that it was used from, ordered by text: at most 64.
    pub networks: Vec<NetworkUse>,
}

impl SecretUse {
    /// A secret that was not used.
    pub fn new(lookup: Lookup, key_id: KeyId, organization_id: OrganizationId) -> Self {
        Self {
            lookup,
            key_id,
            organization_id,
            last_used_at: None,
            last_address: None,
            requests: 0,
        }
    }

    /// Adds another one of the same secret. The later address is kept.
    pub fn add(&mut self, other: &Self) {
        self.requests = self.requests.saturating_add(other.requests);
        if other.last_used_at >= self.last_used_at {
            self.last_used_at = other.last_used_at;
            self.last_address = other.last_address.or(self.last_address);
        }
    }
}

impl ScopeUse {
    /// A scope that was used at this time.
    pub fn new(key_id: KeyId, scope: Scope, last_used_at: Timestamp) -> Self {
        Self {
            key_id,
            scope,
            last_used_at,
        }
    }
}

impl NetworkUse {
    /// A network that a key was used from at this time.
    pub fn new(key_id: KeyId, network: impl Into<String>, first_seen: Timestamp) -> Self {
        Self {
            key_id,
            network: network.into(),
            first_seen,
        }
    }
}

impl UseOfKey {
    /// Networks that are kept of a key. Later ones are not.
    pub const MOST_NETWORKS: usize = 64;
    /// Scopes that are kept of a key. Later ones are not.
    pub const MOST_SCOPES: usize = 256;

    /// A key of whose use nothing is known.
    pub fn new(key_id: KeyId) -> Self {
        Self {
            key_id,
            secrets: Vec::new(),
            scopes: Vec::new(),
            networks: Vec::new(),
        }
    }

    /// When a request with any of its secrets was last admitted; `None` if none was.
    pub fn last_used_at(&self) -> Option<Timestamp> {
        self.secrets.iter().filter_map(|secret| secret.last_used_at).max()
    }

    /// How many requests with any of its secrets were admitted.
    pub fn requests(&self) -> u64 {
        let requests = self.secrets.iter().map(|secret| secret.requests);
        requests.fold(0, u64::saturating_add)
    }

    /// The use of this secret.
    pub fn secret(&self, lookup: &Lookup) -> Option<&SecretUse> {
        self.secrets.iter().find(|secret| secret.lookup == *lookup)
    }
}

/// Without the address.
impl fmt::Debug for SecretUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretUse")
            .field("lookup", &self.lookup)
            .field("key_id", &self.key_id)
            .field("last_used_at", &self.last_used_at)
            .field("requests", &self.requests)
            .finish_non_exhaustive()
    }
}

/// Without the network.
impl fmt::Debug for NetworkUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NetworkUse")
            .field("key_id", &self.key_id)
            .field("first_seen", &self.first_seen)
            .finish_non_exhaustive()
    }
}
