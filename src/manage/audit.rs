//! The route of the audit trail.

use axum::Json;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::acting::Acting;
use super::organization::Whose;
use super::paging::{Page, PageQuery, Params};
use super::problem::Problem;
use super::scopes::READ_AUDIT;
use super::state::ManageState;
use crate::audit::{AuditAction, AuditEntry};
use crate::key::{Actor, KeyId, OrganizationId, Timestamp, UserId, hex};
use crate::manage::wire::text::{ActorText, UserText, WhoseText};
use crate::store::query::AuditEvents;

pub(super) fn routes() -> OpenApiRouter<ManageState> {
    OpenApiRouter::new().routes(routes!(list))
}

/// Which events.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Which {
    /// The id of an organization, or `all` for operators. The caller's if it is left out.
    #[param(value_type = Option<WhoseText>)]
    organization: Option<Whose>,
    /// Events of this key.
    #[param(value_type = Option<uuid::Uuid>)]
    key: Option<KeyId>,
    /// What this one did, as `kind:id`.
    #[param(value_type = Option<ActorText>)]
    actor: Option<Actor>,
    /// Such as `key.revoked`.
    action: Option<String>,
    /// From this time on.
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
    /// Before this time.
    #[param(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
    /// How many rows at most. 50 if it is left out.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u16>,
    /// The `next` of the page before.
    after: Option<String>,
}

/// An event of the audit trail.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditEvent)]
struct Event {
    /// Its number in the chain of its organization, from 1.
    seq: u64,
    /// Null for events of no organization.
    #[schema(value_type = Option<uuid::Uuid>)]
    organization_id: Option<OrganizationId>,
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// Who did it, as `kind:id`.
    #[schema(value_type = ActorText)]
    actor: Actor,
    /// Such as `key.revoked`.
    action: String,
    #[schema(value_type = Option<uuid::Uuid>)]
    key_id: Option<KeyId>,
    #[schema(value_type = Option<UserText>)]
    user: Option<UserId>,
    /// What changed, and why.
    details: Vec<Detail>,
    /// What it says of persons, unless that was forgotten.
    personal: Vec<Detail>,
    /// Of the transaction that it was part of.
    #[schema(value_type = uuid::Uuid)]
    commit: String,
    /// Of the event and all before.
    hash: String,
}

#[derive(Serialize, ToSchema)]
struct Detail {
    name: String,
    value: String,
}

/// Lists audit events.
#[utoipa::path(
    get, path = "/audit", tag = "audit", operation_id = "list_audit_events",
    params(Which),
    description = "Lists audit events, the oldest first. Scope `api-keys.audit:read`.",
    responses((status = 200, body = Page<Event>)),
)]
async fn list(acting: Acting, which: Params<Which>) -> Result<Json<Page<Event>>, Problem> {
    acting.require(READ_AUDIT)?;
    let which = which.get()?;
    let whose = Whose::of(&acting, which.organization).await?;
    let mut rows = whose.id().map_or_else(AuditEvents::all, AuditEvents::of);
    if let Some(key) = which.key {
        rows = rows.key(key);
    }
    if let Some(actor) = which.actor {
        rows = rows.actor(actor);
    }
    if let Some(action) = which.action {
        rows = rows.action(AuditAction::new(action));
    }
    if let Some(since) = which.since {
        rows = rows.since(since);
    }
    if let Some(until) = which.until {
        rows = rows.until(until);
    }
    let page = PageQuery::new(which.limit, which.after).of(rows)?;
    Ok(Page::new(acting.issuer.read(page).await?, Event::from))
}

impl From<AuditEntry> for Event {
    fn from(entry: AuditEntry) -> Self {
        let event = entry.event;
        let personal = event.personal.iter();
        let personal = personal.map(|(name, value)| Detail::new(name.to_owned(), value.to_owned()));
        let personal = personal.collect();
        let of_system = event.organization_id.as_uuid().is_nil();
        Self {
            seq: entry.seq,
            organization_id: (!of_system).then_some(event.organization_id),
            at: event.at,
            actor: event.actor,
            action: event.action.to_string(),
            key_id: event.key_id,
            user: event.user,
            details: event
                .details
                .into_iter()
                .map(|(name, value)| Detail::new(name, value))
                .collect(),
            personal,
            commit: entry.commit.to_string(),
            hash: hex::encode(&entry.hash),
        }
    }
}

impl Detail {
    fn new(name: String, value: String) -> Self {
        Self { name, value }
    }
}
