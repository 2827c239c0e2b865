//! Records as the values of their columns.

use uuid::Uuid;

use super::column;
use super::fault::InvalidColumn;
use super::statement::{AUDIT_EVENT, KEY, KNOWN_SCOPE, ORGANIZATION, PLAN, ROLE, SECRET, SERVER_SECRET, USER, count};
use super::value::Value;
use crate::audit::{AuditEntry, PersonalPart, PersonalRow, RefusalCount, RefusalSample};
use crate::key::{
    ActorKind, IdempotencyRecord, KeyRecord, KeySecret, KnownScope, Organization, Plan, Realm, Role,
    ServerSecretRecord, StateChange, User, folded,
};

/// In the order of [`ORGANIZATION`].
pub(in crate::store) fn organization_values(
    row: &Organization,
) -> Result<[Value<'_>; count(ORGANIZATION)], InvalidColumn> {
    Ok([
        row.id.as_uuid().into(),
        revision_value(row.revision)?,
        Value::from(&*row.slug),
        Value::from(&*row.name),
        folded(&row.name).into(),
        row.status.as_str().into(),
        column::write_limits(&row.limits).into(),
        row.email.as_deref().into(),
        row.email.as_deref().map(folded).into(),
        row.plan.map(|plan| plan.as_uuid()).into(),
        row.is_operator.into(),
        column::write_names(row.requires.iter()).into(),
        column::write_names(row.lifted_limits.iter()).into(),
        column::write_limits(&row.key_limits).into(),
        column::write_names(row.lifted_key_limits.iter()).into(),
        row.max_keys.into(),
        column::write_policy(&row.policy)?.into(),
        column::write_metadata(&row.metadata).into(),
        row.created_at.into(),
    ])
}

/// In the order of [`PLAN`].
pub(in crate::store) fn plan_values(row: &Plan) -> Result<[Value<'_>; count(PLAN)], InvalidColumn> {
    Ok([
        row.id.as_uuid().into(),
        revision_value(row.revision)?,
        Value::from(&*row.name),
        column::write_limits(&row.key_limits).into(),
        column::write_limits(&row.limits).into(),
        row.max_keys.into(),
    ])
}

/// In the order of [`USER`].
pub(in crate::store) fn user_values(row: &User) -> Result<[Value<'_>; count(USER)], InvalidColumn> {
    Ok([
        row.organization_id.as_uuid().into(),
        row.id.as_str().into(),
        revision_value(row.revision)?,
        row.name.as_deref().into(),
        row.email.as_deref().into(),
        column::write_metadata(&row.metadata).into(),
        row.status.as_str().into(),
        Value::from(&*row.reason),
        row.actor.to_string().into(),
        row.status_at.into(),
    ])
}

/// In the order of [`ROLE`].
pub(in crate::store) fn role_values(row: &Role) -> Result<[Value<'_>; count(ROLE)], InvalidColumn> {
    Ok([
        Value::from(&*row.name),
        revision_value(row.revision)?,
        column::write_scopes(&row.scopes).into(),
        Value::from(&*row.description),
    ])
}

/// In the order of [`KNOWN_SCOPE`].
pub(in crate::store) fn known_scope_values(row: &KnownScope) -> [Value<'_>; count(KNOWN_SCOPE)] {
    [row.scope.as_str().into(), Value::from(&*row.description)]
}

/// In the order of [`KEY`].
pub(in crate::store) fn key_values(record: &KeyRecord) -> Result<[Value<'_>; count(KEY)], InvalidColumn> {
    let revocation = record.revocation.as_ref();
    Ok([
        record.id.as_uuid().into(),
        record.organization_id.as_uuid().into(),
        revision_value(record.revision)?,
        record.user.as_ref().map(|user| user.as_str()).into(),
        Value::from(&*record.name),
        folded(&record.name).into(),
        Value::from(&*record.prefix),
        record.environment.as_deref().into(),
        column::write_scopes(&record.scopes).into(),
        column::write_networks(&record.networks).into(),
        column::write_limits(&record.limits).into(),
        column::write_metadata(&record.metadata).into(),
        record.status.as_str().into(),
        revocation.map(|revocation| revocation.at).into(),
        revocation.map(|revocation| &*revocation.reason).into(),
        revocation.map_or(Value::Null, |revocation| revocation.actor.to_string().into()),
        record.created_at.into(),
        record.created_by.to_string().into(),
        record.expires_at.into(),
        record.ends_with_user.into(),
        column::write_names(record.labels.iter()).into(),
        column::write_names(record.roles.iter()).into(),
        column::write_names(record.lifted_limits.iter()).into(),
        record.created_by_key.map(|id| id.as_uuid()).into(),
        record.is_canary.into(),
        column::write_names(record.requires.iter()).into(),
        column::write_names(record.holds.iter()).into(),
    ])
}

/// id, revision, status and holds of the row that was read; the state that it gets
pub(in crate::store) fn key_state_values(change: &StateChange) -> Result<[Value<'_>; 9], InvalidColumn> {
    let revocation = change.state.revocation.as_ref();
    Ok([
        change.key.as_uuid().into(),
        revision_value(change.revision)?,
        change.was.status.as_str().into(),
        column::write_names(change.was.holds.iter()).into(),
        change.state.status.as_str().into(),
        revocation.map(|revocation| revocation.at).into(),
        revocation.map(|revocation| &*revocation.reason).into(),
        revocation.map_or(Value::Null, |revocation| revocation.actor.to_string().into()),
        column::write_names(change.state.holds.iter()).into(),
    ])
}

/// In the order of [`SECRET`].
pub(in crate::store) fn secret_values(key: Uuid, secret: &KeySecret) -> [Value<'_>; count(SECRET)] {
    [
        Value::from(secret.lookup.as_str()),
        key.into(),
        secret.hash.as_str().into(),
        secret.form.as_str().into(),
        secret.created_at.into(),
        secret.expires_at.into(),
        secret.grace_ends_at.into(),
        secret.hint.as_deref().into(),
    ]
}

/// realm_id and crc_accepted_until of a new row, and of the one that it replaces
pub(in crate::store) fn realm_values(row: &Realm, was: &Realm) -> [Value<'static>; 4] {
    [
        row.id.as_uuid().into(),
        row.crc_accepted_until.into(),
        was.id.as_uuid().into(),
        was.crc_accepted_until.into(),
    ]
}

/// In the order of [`SERVER_SECRET`].
pub(in crate::store) fn server_secret_values(row: &ServerSecretRecord) -> [Value<'_>; count(SERVER_SECRET)] {
    [
        row.purpose.as_str().into(),
        Value::from(&*row.id),
        Value::Integer(row.number.into()),
        row.state.as_str().into(),
        row.sealed_by.as_deref().into(),
        Value::Bytes(row.value.expose_secret()),
        row.created_at.into(),
        row.active_from.into(),
        row.retire_at.into(),
    ]
}

/// In the order of [`AUDIT_EVENT`].
pub(in crate::store) fn audit_values(entry: &AuditEntry) -> Result<[Value<'_>; count(AUDIT_EVENT)], InvalidColumn> {
    let event = &entry.event;
    Ok([
        event.organization_id.as_uuid().into(),
        revision_value(entry.seq)?,
        entry.commit.as_uuid().into(),
        event.at.into(),
        event.actor.kind().as_str().into(),
        event.actor.id().into(),
        event.action.as_str().into(),
        event.key_id.map_or(Value::Null, |id| id.as_uuid().into()),
        event.user.as_ref().map(|user| user.as_str()).into(),
        entry.payload().into(),
        Value::Bytes(&entry.hash),
    ])
}

/// organization_id, seq, at, origin_salt, origin, salt, values, actor, user_id, address
pub(in crate::store) fn personal_values<'v>(
    entry: &'v AuditEntry,
    personal: &'v PersonalRow,
) -> Result<[Value<'v>; 10], InvalidColumn> {
    let event = &entry.event;
    let user_who_acts = (event.actor.kind() == ActorKind::User).then(|| event.actor.id());
    let salt = |part: &'v Option<PersonalPart>| match part {
        Some(part) => Value::Bytes(&part.salt),
        None => Value::Null,
    };
    let values = |part: &'v Option<PersonalPart>| Value::from(part.as_ref().map(|part| &*part.values));
    Ok([
        event.organization_id.as_uuid().into(),
        revision_value(entry.seq)?,
        event.at.into(),
        salt(&personal.origin),
        values(&personal.origin),
        salt(&personal.others),
        values(&personal.others),
        user_who_acts.into(),
        event.user.as_ref().map(|user| user.as_str()).into(),
        event.personal.get("address").into(),
    ])
}

/// hour, organization_id, kind, n
pub(in crate::store) fn refusal_count_values(count: &RefusalCount) -> Result<[Value<'_>; 4], InvalidColumn> {
    Ok([
        count.hour.into(),
        count.organization_id.as_uuid().into(),
        Value::from(&*count.kind),
        revision_value(count.number)?,
    ])
}

/// id, at, organization_id, key_id, lookup, kind, address
pub(in crate::store) fn refusal_values(sample: &RefusalSample) -> [Value<'_>; 7] {
    [
        sample.id.into(),
        sample.at.into(),
        sample.organization_id.map(|id| id.as_uuid()).into(),
        sample.key_id.map(|id| id.as_uuid()).into(),
        sample.lookup.as_deref().into(),
        Value::from(&*sample.kind),
        sample.address.map(|address| address.to_string()).into(),
    ]
}

pub(in crate::store) fn idempotency_values(row: &IdempotencyRecord) -> [Value<'_>; 7] {
    [
        row.organization_id.as_uuid().into(),
        row.actor.to_string().into(),
        row.key.as_str().into(),
        Value::Bytes(&row.request_hash),
        row.key_id.as_uuid().into(),
        row.created_at.into(),
        row.expires_at.into(),
    ]
}

/// A revision or another count.
pub(in crate::store) fn revision_value(revision: u64) -> Result<Value<'static>, InvalidColumn> {
    column::write_revision(revision).map(Value::Integer)
}
