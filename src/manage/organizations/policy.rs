//! What an organization allows its keys.

use axum::Json as Answer;
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::OfOrganization;
use crate::issue::PolicyEffect;
use crate::key::{KeyId, Organization as Stored, OrganizationId, Policy, ScopeSet, Timestamp};
use crate::manage::acting::Acting;
use crate::manage::body::Json;
use crate::manage::paging::{Page, Params, cursor};
use crate::manage::path::InPath;
use crate::manage::precondition::{IfMatchHeader, etag};
use crate::manage::problem::Problem;
use crate::manage::scopes::{READ_KEYS, READ_ORGANIZATIONS, WRITE_ORGANIZATIONS};
use crate::manage::target::{Change, visible};
use crate::manage::wire::policy::PolicyForm;
use crate::manage::wire::text::ScopeText;

/// Shows the policy of an organization.
#[utoipa::path(
    get, path = "/organizations/{id}/policy", tag = "organizations", operation_id = "show_policy",
    params(OfOrganization),
    description = "What an organization allows its keys. Scope `api-keys.organizations:read`.",
    responses((status = 200, body = PolicyForm, headers(
        ("ETag" = String, description = "The revision of the organization, for If-Match."),
    ))),
)]
pub(in crate::manage) async fn show(acting: Acting, id: InPath<OrganizationId>) -> Result<impl IntoResponse, Problem> {
    acting.require(READ_ORGANIZATIONS)?;
    let row = visible(&acting, &id.get()?).await?;
    Ok((etag(row.revision), Answer(PolicyForm::from(&row.policy))))
}

/// Sets the policy of an organization.
#[utoipa::path(
    put, path = "/organizations/{id}/policy", tag = "organizations", operation_id = "set_policy",
    params(OfOrganization, IfMatchHeader),
    request_body = PolicyForm,
    description = "Replaces what an organization allows its keys. It holds at once, for keys that are there too: preview it first. \
                   For operators. Scope `api-keys.organizations:write`.",
    responses((status = 200, body = PolicyForm, headers(
        ("ETag" = String, description = "The new revision of the organization."),
    ))),
)]
pub(in crate::manage) async fn set(
    organization: Change<OrganizationId>,
    body: Json<PolicyForm>,
) -> Result<impl IntoResponse, Problem> {
    let organization = organization.by_operator(WRITE_ORGANIZATIONS).await?;
    let policy = Policy::from(body.get()?);
    let change = |row: &mut Stored| row.policy.clone_from(&policy);
    let changed = organization.issuer.update_organization(organization.id, change).await?;
    Ok((etag(changed.revision), Answer(PolicyForm::from(&changed.policy))))
}

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(in crate::manage) struct EffectsQuery {
    /// The `next` of the page before.
    after: Option<String>,
}

/// What a policy would do to a key.
#[derive(Serialize, ToSchema)]
pub(in crate::manage) struct Effect {
    #[schema(value_type = uuid::Uuid)]
    key_id: KeyId,
    name: String,
    /// Its new end, if it would end earlier than now.
    #[schema(value_type = Option<String>, format = DateTime)]
    ends_at: Option<Timestamp>,
    /// Whether that end is past.
    ends_at_once: bool,
    /// Scopes that it would not have any more, or not as wide.
    #[schema(value_type = Vec<ScopeText>)]
    lost_scopes: ScopeSet,
    /// Whether it would be refused because it is bound to no networks.
    lacks_networks: bool,
}

/// Previews a policy.
#[utoipa::path(
    post, path = "/organizations/{id}/policy/preview", tag = "organizations", operation_id = "preview_policy",
    params(OfOrganization, EffectsQuery),
    request_body = PolicyForm,
    description = "Lists the keys that a policy would end, end earlier, take scopes from, or refuse; nothing is changed. A page \
                   looks at 1,000 keys, so it may be empty before the end. Scopes `api-keys.organizations:read` and \
                   `api-keys.keys:read`.",
    responses((status = 200, body = Page<Effect>)),
)]
pub(in crate::manage) async fn preview(
    acting: Acting,
    id: InPath<OrganizationId>,
    query: Params<EffectsQuery>,
    body: Json<PolicyForm>,
) -> Result<Answer<Page<Effect>>, Problem> {
    acting.require(READ_ORGANIZATIONS)?;
    acting.require(READ_KEYS)?;
    let id = id.get()?;
    visible(&acting, &id).await?;
    let after = query.get()?.after.as_deref().map(cursor).transpose()?;
    let policy = Policy::from(body.get()?);
    let paged = acting.issuer.policy_preview(id, &policy, after).await?;
    Ok(Page::new(paged, Effect::from))
}

impl From<PolicyEffect> for Effect {
    fn from(effect: PolicyEffect) -> Self {
        let PolicyEffect {
            record,
            ends_at,
            ends_at_once,
            lost_scopes,
            lacks_networks,
        } = effect;
        Self {
            key_id: record.id,
            name: record.name,
            ends_at,
            ends_at_once,
            lost_scopes,
            lacks_networks,
        }
    }
}
