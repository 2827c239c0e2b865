//! Roles, and the catalogue of scopes of a realm.

use crate::key::{Scope, ScopeSet};

/// A named set of scopes. Keys that have the role have its scopes, and a change of it holds for all of them at once.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Role {
    /// The name, unique in a store: `[a-z0-9][a-z0-9_.:/-]{0,63}`.
    pub name: String,
    /// What the role allows.
    pub scopes: ScopeSet,
    /// What it is for.
    pub description: String,
    /// Number of the role's last change, from 1. Stores raise it by one with each change.
    pub revision: u64,
}

impl Role {
    /// A new role.
    pub fn new(name: impl Into<String>, scopes: ScopeSet) -> Self {
        Self {
            name: name.into(),
            scopes,
            description: String::new(),
            revision: 1,
        }
    }
}

/// A scope that the realm knows. Once there is one, keys and roles get only scopes that are known.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KnownScope {
    /// The scope.
    pub scope: Scope,
    /// What it allows, for people.
    pub description: String,
}

impl KnownScope {
    /// A scope of the catalogue.
    pub fn new(scope: Scope, description: impl Into<String>) -> Self {
        Self {
            scope,
            description: description.into(),
        }
    }
}
