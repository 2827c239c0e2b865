//! What audit events say of an organization.

use crate::audit::AuditEvent;
use crate::issue::change::names;
use crate::issue::difference::{Field, chained, described, limits, metadata, personal, removed};
use crate::key::{Organization, Policy};

/// The event, with the fields that an organization has now and those it had before, as far as they differ.
pub(super) fn of_organization(event: AuditEvent, before: Option<&Organization>, after: &Organization) -> AuditEvent {
    described(event, before.map(fields), fields(after))
}

/// The event, with what an organization had that is deleted.
pub(super) fn of_deleted(event: AuditEvent, before: &Organization) -> AuditEvent {
    removed(event, fields(before))
}

/// Keeps what nobody may change.
pub(super) fn keep_identity(row: &mut Organization, before: &Organization) {
    let Organization {
        id,
        created_at,
        revision,
        // These may change, the last two on the host alone: `authority` judges that.
        slug: _,
        name: _,
        status: _,
        email: _,
        plan: _,
        limits: _,
        lifted_limits: _,
        key_limits: _,
        lifted_key_limits: _,
        max_keys: _,
        policy: _,
        metadata: _,
        is_operator: _,
        requires: _,
    } = before;
    (row.id, row.created_at, row.revision) = (*id, *created_at, *revision);
}

/// The names of the fields that differ.
pub(super) fn changed_fields(before: &Organization, after: &Organization) -> String {
    let Organization {
        slug,
        name,
        status,
        email,
        plan,
        limits,
        lifted_limits,
        key_limits,
        lifted_key_limits,
        max_keys,
        policy,
        metadata,
        is_operator,
        requires,
        // They stay.
        id: _,
        created_at: _,
        revision: _,
    } = before;
    names(&[
        ("slug", *slug != after.slug),
        ("name", *name != after.name),
        ("status", *status != after.status),
        ("email", *email != after.email),
        ("plan", *plan != after.plan),
        ("limits", *limits != after.limits),
        ("lifted_limits", *lifted_limits != after.lifted_limits),
        ("key_limits", *key_limits != after.key_limits),
        ("lifted_key_limits", *lifted_key_limits != after.lifted_key_limits),
        ("max_keys", *max_keys != after.max_keys),
        ("policy", *policy != after.policy),
        ("metadata", *metadata != after.metadata),
        ("is_operator", *is_operator != after.is_operator),
        ("requires", *requires != after.requires),
    ])
}

fn fields(organization: &Organization) -> [Field; 14] {
    let Organization {
        slug,
        name,
        status,
        email,
        plan,
        limits: shared_limits,
        lifted_limits,
        key_limits,
        lifted_key_limits,
        max_keys,
        policy,
        metadata: data,
        is_operator,
        requires,
        // The event has the id, and the others stay.
        id: _,
        created_at: _,
        revision: _,
    } = organization;
    [
        personal("slug", slug),
        personal("name", name),
        chained("status", Some(status.as_str().to_owned())),
        personal("email", email.as_deref().unwrap_or_default()),
        chained("plan", plan.map(|id| id.to_string())),
        chained("limits", Some(limits(shared_limits))),
        chained("lifted_limits", Some(lifted_limits.to_string())),
        chained("key_limits", Some(limits(key_limits))),
        chained("lifted_key_limits", Some(lifted_key_limits.to_string())),
        chained("max_keys", max_keys.map(|number| number.to_string())),
        chained("policy", Some(policy_text(policy))),
        personal("metadata", &metadata(data)),
        chained("is_operator", is_operator.then(|| "true".to_owned())),
        chained("requires", Some(requires.to_string())),
    ]
}

/// What a policy demands. Empty for one that allows everything.
fn policy_text(policy: &Policy) -> String {
    let Policy {
        longest_life,
        default_life,
        requires_expiry,
        grantable,
        requires_networks,
    } = policy;
    let life =
        |name: &str, life: &Option<std::time::Duration>| life.map(|life| format!("{name}={}ms", life.as_millis()));
    let demands = [
        life("longest_life", longest_life),
        life("default_life", default_life),
        requires_expiry.then(|| "requires_expiry".to_owned()),
        grantable.as_ref().map(|scopes| format!("grantable={scopes}")),
        requires_networks.then(|| "requires_networks".to_owned()),
    ];
    demands.into_iter().flatten().collect::<Vec<_>>().join("; ")
}
