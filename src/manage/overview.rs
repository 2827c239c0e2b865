//! Routes of numbers, and of what should be looked after.

use std::time::Duration;

use axum::Json;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::acting::Acting;
use super::organization::Whose;
use super::paging::{Params, bounded, cursor};
use super::problem::Problem;
use super::scopes::READ_KEYS;
use super::state::ManageState;
use crate::issue::{Finding as Found, Hygiene, KeyFindings};
use crate::key::{KeyId, OrganizationId, Scope, Timestamp, UserId};
use crate::manage::wire::text::{ScopeText, UserText, WhoseText};
use crate::store::query;

pub(super) fn routes() -> OpenApiRouter<ManageState> {
    OpenApiRouter::new()
        .routes(routes!(hygiene))
        .routes(routes!(statistics))
}

/// Which keys to look at.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct WhichHygiene {
    /// The id of an organization, or `all` for operators. The caller's if it is left out.
    #[param(value_type = Option<WhoseText>)]
    organization: Option<Whose>,
    /// Days without a use after which a key is reported. 90 if it is left out.
    #[param(minimum = 1, maximum = 36500)]
    unused_days: Option<u16>,
    /// How many keys are looked at. 200 if it is left out.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u16>,
    /// The `next` of the page before.
    after: Option<String>,
}

/// A page of what should be looked after.
#[derive(Serialize, ToSchema)]
struct HygieneReport {
    /// Keys with findings. There may be none before the end.
    items: Vec<HygieneItem>,
    /// For the next page, in `after`. Null at the end.
    next: Option<String>,
    /// How many keys this page looked at.
    looked_at: u64,
}

/// What was found about a key.
#[derive(Serialize, ToSchema)]
struct HygieneItem {
    #[schema(value_type = uuid::Uuid)]
    key_id: KeyId,
    #[schema(value_type = uuid::Uuid)]
    organization_id: OrganizationId,
    name: String,
    #[schema(value_type = Option<UserText>)]
    user: Option<UserId>,
    #[schema(value_type = Option<String>, format = DateTime)]
    last_used_at: Option<Timestamp>,
    findings: Vec<Finding>,
}

/// Something that should be looked after.
#[derive(Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum Finding {
    /// The key has no end.
    NoEnd,
    /// It was used, but not for the given time.
    Unused,
    /// It was never used, and is older than the given time.
    NeverUsed,
    /// It is in use, and these scopes of its own did not decide about any request.
    UnusedScopes {
        #[schema(value_type = Vec<ScopeText>)]
        scopes: Vec<Scope>,
    },
    /// It has a secret with a CRC-32, which anyone can make up: rotate it.
    Crc {
        /// When such keys end.
        #[schema(value_type = String, format = DateTime)]
        until: Timestamp,
    },
}

/// Lists keys that should be looked after.
#[utoipa::path(
    get, path = "/hygiene", tag = "overview", operation_id = "hygiene",
    params(WhichHygiene),
    description = "Lists active keys without an end, keys that are not used, and scopes that are not needed. Scope \
                   `api-keys.keys:read`.",
    responses((status = 200, body = HygieneReport)),
)]
async fn hygiene(acting: Acting, which: Params<WhichHygiene>) -> Result<Json<HygieneReport>, Problem> {
    acting.require(READ_KEYS)?;
    let which = which.get()?;
    let whose = Whose::of(&acting, which.organization).await?;
    let days = bounded("unused_days", which.unused_days.unwrap_or(90), 36_500)?;
    let mut request = whose.id().map_or_else(Hygiene::of_all, Hygiene::of);
    request = request.unused_for(Duration::from_secs(u64::from(days) * 86_400));
    request = request.page(bounded("limit", which.limit.unwrap_or(200), 1000)?);
    if let Some(after) = &which.after {
        request = request.after(cursor(after)?);
    }
    let report = acting.issuer.hygiene(request).await?;
    Ok(Json(HygieneReport {
        items: report.items.into_iter().map(HygieneItem::from).collect(),
        next: report.next.map(|cursor| cursor.to_string()),
        looked_at: report.looked_at as u64,
    }))
}

/// Whose keys.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct WhoseKeys {
    /// The id of an organization, or `all` for operators. The caller's if it is left out.
    #[param(value_type = Option<WhoseText>)]
    organization: Option<Whose>,
}

/// Numbers of keys and of requests with them. A key is active, disabled, revoked or expired.
#[derive(Serialize, ToSchema)]
struct Statistics {
    total: u64,
    active: u64,
    disabled: u64,
    revoked: u64,
    expired: u64,
    /// Active, and will end within 30 days.
    expiring: u64,
    never_used: u64,
    used_in_a_day: u64,
    /// Used within 7 days.
    used_in_a_week: u64,
    /// Used within 30 days.
    used_in_a_month: u64,
    /// Admitted requests.
    requests: u64,
}

/// Counts keys.
#[utoipa::path(
    get, path = "/statistics", tag = "overview", operation_id = "statistics",
    params(WhoseKeys),
    description = "Counts keys and the requests with them. Scope `api-keys.keys:read`.",
    responses((status = 200, body = Statistics)),
)]
async fn statistics(acting: Acting, whose: Params<WhoseKeys>) -> Result<Json<Statistics>, Problem> {
    acting.require(READ_KEYS)?;
    let whose = Whose::of(&acting, whose.get()?.organization).await?;
    Ok(Json(acting.issuer.statistics(whose.id()).await?.into()))
}

impl From<KeyFindings> for HygieneItem {
    fn from(found: KeyFindings) -> Self {
        let record = found.key.record;
        Self {
            key_id: record.id,
            organization_id: record.organization_id,
            name: record.name,
            user: record.user,
            last_used_at: found.last_used_at,
            findings: found.findings.into_iter().map(Finding::from).collect(),
        }
    }
}

impl From<Found> for Finding {
    fn from(found: Found) -> Self {
        match found {
            Found::NoEnd => Self::NoEnd,
            Found::Unused => Self::Unused,
            Found::NeverUsed => Self::NeverUsed,
            Found::UnusedScopes(scopes) => Self::UnusedScopes { scopes },
            Found::Crc { until } => Self::Crc { until },
        }
    }
}

impl From<query::Statistics> for Statistics {
    fn from(numbers: query::Statistics) -> Self {
        // Every number is named, so that a new one is not forgotten.
        let query::Statistics {
            total,
            active,
            disabled,
            revoked,
            expired,
            expiring,
            never_used,
            used_in_a_day,
            used_in_a_week,
            used_in_a_month,
            requests,
        } = numbers;
        Self {
            total,
            active,
            disabled,
            revoked,
            expired,
            expiring,
            never_used,
            used_in_a_day,
            used_in_a_week,
            used_in_a_month,
            requests,
        }
    }
}
