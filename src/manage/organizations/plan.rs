//! The plan of an organization.

use super::OfOrganization;
use crate::key::{Organization as Stored, OrganizationId};
use crate::manage::body::Json;
use crate::manage::precondition::IfMatchHeader;
use crate::manage::problem::Problem;
use crate::manage::row::Row;
use crate::manage::scopes::WRITE_ORGANIZATIONS;
use crate::manage::target::Change;
use crate::manage::wire::organization::{Organization, SetPlan, two_plans};
use crate::manage::wire::patch::Patch;

/// Gives an organization a plan.
#[utoipa::path(
    put, path = "/organizations/{id}/plan", tag = "organizations", operation_id = "set_plan",
    params(OfOrganization, IfMatchHeader),
    request_body = SetPlan,
    description = "Gives an organization a plan, or takes it away. For operators. Scope `api-keys.organizations:write`.",
    responses((status = 200, body = Organization, headers(("ETag" = String, description = "The new revision.")))),
)]
pub(in crate::manage) async fn set(
    organization: Change<OrganizationId>,
    body: Json<SetPlan>,
) -> Result<Row<Organization>, Problem> {
    let organization = organization.by_operator(WRITE_ORGANIZATIONS).await?;
    let SetPlan { plan_id, plan } = body.get()?;
    let plan = match (plan_id, plan) {
        (Patch::Set(id), None) => Some(id),
        (Patch::Remove, None) => None,
        (Patch::Keep, Some(name)) => {
            let found = organization.acting.issuer.plan_named(&name).await?;
            let found = found.ok_or_else(|| Problem::invalid("plan", "there is no plan of this name"))?;
            Some(found.id)
        }
        (Patch::Keep, None) => return Err(Problem::invalid("plan_id", "give plan_id, which may be null, or plan")),
        (Patch::Set(_) | Patch::Remove, Some(_)) => return Err(two_plans()),
    };
    let change = |row: &mut Stored| row.plan = plan;
    let changed = organization.issuer.update_organization(organization.id, change).await?;
    Ok(Row(changed.into()))
}
