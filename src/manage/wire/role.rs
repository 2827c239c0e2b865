//! Roles, and the catalogue of scopes.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::patch::Patch;
use super::text::{RoleText, ScopeText};
use crate::key::{KnownScope as StoredScope, Role as Stored, Scope, ScopeSet};
use crate::manage::row::revised;

/// A named set of scopes. Keys that have it have them too.
#[derive(Serialize, ToSchema)]
pub(crate) struct Role {
    name: String,
    #[schema(value_type = Vec<ScopeText>)]
    scopes: ScopeSet,
    description: String,
    /// Of the row: the ETag.
    revision: u64,
}

revised! { Role }

/// A new role.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateRole {
    #[schema(value_type = RoleText)]
    name: String,
    #[schema(value_type = Vec<ScopeText>)]
    scopes: ScopeSet,
    #[serde(default)]
    #[schema(max_length = 1024)]
    description: String,
}

/// Changes of a role (RFC 7396): what is left out stays, null removes. The name stays, since keys hold it.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpdateRole {
    #[serde(default)]
    #[schema(value_type = Option<Vec<ScopeText>>)]
    scopes: Patch<ScopeSet>,
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 1024)]
    description: Patch<String>,
}

/// A scope of the catalogue.
#[derive(Serialize, ToSchema)]
pub(crate) struct KnownScope {
    #[schema(value_type = ScopeText)]
    scope: Scope,
    description: String,
}

/// A new scope of the catalogue.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateScope {
    /// `resource:action`, `resource:*` or `*`.
    #[schema(value_type = ScopeText)]
    scope: Scope,
    #[serde(default)]
    #[schema(max_length = 1024)]
    description: String,
}

/// Another description of a scope (RFC 7396).
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpdateScope {
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 1024)]
    pub(crate) description: Patch<String>,
}

impl From<Stored> for Role {
    fn from(stored: Stored) -> Self {
        let Stored {
            name,
            scopes,
            description,
            revision,
        } = stored;
        Self {
            name,
            scopes,
            description,
            revision,
        }
    }
}

impl From<StoredScope> for KnownScope {
    fn from(stored: StoredScope) -> Self {
        let StoredScope { scope, description } = stored;
        Self { scope, description }
    }
}

impl From<CreateRole> for Stored {
    fn from(request: CreateRole) -> Self {
        let CreateRole {
            name,
            scopes,
            description,
        } = request;
        Self {
            description,
            ..Self::new(name, scopes)
        }
    }
}

impl From<CreateScope> for StoredScope {
    fn from(request: CreateScope) -> Self {
        let CreateScope { scope, description } = request;
        Self::new(scope, description)
    }
}

impl UpdateRole {
    pub(crate) fn change(&self, row: &mut Stored) {
        self.scopes.change_or_default(&mut row.scopes);
        self.description.change_or_default(&mut row.description);
    }
}
