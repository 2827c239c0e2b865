//! Users.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::metadata::{MetadataPatch, merge};
use super::patch::Patch;
use super::text::{EmailText, NameText, UserText};
use crate::issue::UserRequest;
use crate::key::{Actor, Metadata, OrganizationId, Timestamp, User as Stored, UserId, UserStatus};
use crate::manage::problem::Problem;
use crate::manage::row::revised;

/// What is stored of a user, for whom keys act.
#[derive(Serialize, ToSchema)]
pub(crate) struct User {
    #[schema(value_type = uuid::Uuid)]
    organization_id: OrganizationId,
    /// The service's own id.
    #[schema(value_type = UserText)]
    id: UserId,
    name: Option<String>,
    email: Option<String>,
    #[schema(value_type = BTreeMap<String, String>)]
    metadata: Metadata,
    #[schema(value_type = Ability)]
    status: UserStatus,
    /// Why the user has this status.
    reason: String,
    /// Who gave it, as `kind:id`.
    #[schema(value_type = String)]
    actor: Actor,
    #[schema(value_type = String, format = DateTime)]
    status_at: Timestamp,
    /// Of the row: the ETag.
    revision: u64,
}

revised! { User }

/// Whether the keys of a user work.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = UserStatus)]
pub(crate) enum Ability {
    Active,
    Disabled,
}

/// A new row of a user. Keys need none.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateUser {
    /// The id that the service uses.
    #[schema(value_type = UserText)]
    id: UserId,
    #[schema(value_type = Option<NameText>)]
    name: Option<String>,
    /// `name@domain`. Several users may have one.
    #[schema(value_type = Option<EmailText>)]
    email: Option<String>,
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, String>)]
    metadata: Metadata,
}

/// Changes of a user (RFC 7396): what is left out stays, null removes.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpdateUser {
    #[serde(default)]
    #[schema(value_type = Option<NameText>)]
    name: Patch<String>,
    #[serde(default)]
    #[schema(value_type = Option<EmailText>)]
    email: Patch<String>,
    /// Merged with what is there.
    #[serde(default)]
    #[schema(value_type = Option<BTreeMap<String, Option<String>>>)]
    metadata: MetadataPatch,
}

impl From<Stored> for User {
    fn from(stored: Stored) -> Self {
        // Every field is named, so that a new one is not forgotten.
        let Stored {
            organization_id,
            id,
            name,
            email,
            metadata,
            status,
            reason,
            actor,
            status_at,
            revision,
        } = stored;
        Self {
            organization_id,
            id,
            name,
            email,
            metadata,
            status,
            reason,
            actor,
            status_at,
            revision,
        }
    }
}

impl From<Ability> for UserStatus {
    fn from(ability: Ability) -> Self {
        match ability {
            Ability::Active => Self::Active,
            Ability::Disabled => Self::Disabled,
        }
    }
}

impl CreateUser {
    pub(crate) fn request(self, organization: OrganizationId) -> UserRequest {
        let mut request = UserRequest::new(organization, self.id).metadata(self.metadata);
        if let Some(name) = self.name {
            request = request.name(name);
        }
        if let Some(email) = self.email {
            request = request.email(email);
        }
        request
    }
}

impl UpdateUser {
    /// # Errors
    /// When metadata is not valid.
    pub(crate) fn check(&self, row: &Stored) -> Result<(), Problem> {
        merge(&self.metadata, &row.metadata).map(drop)
    }

    /// Makes the changes. Metadata that is not valid stays as it is: [`UpdateUser::check`] comes first.
    pub(crate) fn change(&self, row: &mut Stored) {
        if let Ok(metadata) = merge(&self.metadata, &row.metadata) {
            row.metadata = metadata;
        }
        self.name.change(&mut row.name);
        self.email.change(&mut row.email);
    }
}
