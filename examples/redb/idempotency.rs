//! What was made for idempotency keys.

use redb::WriteTransaction;
use serde::{Deserialize, Serialize};
use tower_api_key::key::{Actor, IdempotencyKey, IdempotencyRecord, KeyId, OrganizationId, Timestamp};
use tower_api_key::store::{StoreError, StoreErrorKind, Write};
use uuid::Uuid;

use crate::rows::{self, Stored};
use crate::tables::{Change, IDEMPOTENCY, Read, organization};

/// For writes of which [`Write::is_of_idempotency`] says so, and where persons are forgotten.
pub fn write(transaction: &WriteTransaction, write: &Write) -> Result<(), StoreError> {
    match write {
        Write::InsertIdempotency(row) => {
            let stored = read(transaction, row.organization_id, &row.actor, &row.key)?;
            if stored.is_some_and(|stored| !stored.is_over(row.created_at)) {
                return Err(StoreError::new(StoreErrorKind::AlreadyExists));
            }
            let place = place(row.organization_id, &row.actor, &row.key)?;
            transaction.put(IDEMPOTENCY, &place, &rows::write(row)?)?;
            delete_oldest(transaction, row.organization_id)
        }
        Write::PruneIdempotency { before } => {
            for (place, row) in transaction.all(IDEMPOTENCY)? {
                if rows::read::<IdempotencyRecord>(&row)?.is_over(*before) {
                    transaction.delete(IDEMPOTENCY, &place)?;
                }
            }
            Ok(())
        }
        Write::ForgetPersonal(forget) => {
            for (place, row) in transaction.all(IDEMPOTENCY)? {
                let row = rows::read::<IdempotencyRecord>(&row)?;
                if forget.concerns_caller(row.organization_id, &row.actor) {
                    transaction.delete(IDEMPOTENCY, &place)?;
                }
            }
            Ok(())
        }
        _ => Err(StoreError::new(StoreErrorKind::Unsupported)),
    }
}

pub fn read(
    transaction: &impl Read,
    organization: OrganizationId,
    actor: &Actor,
    key: &IdempotencyKey,
) -> Result<Option<IdempotencyRecord>, StoreError> {
    let row = transaction.get(IDEMPOTENCY, &place(organization, actor, key)?)?;
    row.map(|row| rows::read(&row)).transpose()
}

/// With an organization that is deleted.
pub fn delete_of(transaction: &WriteTransaction, id: OrganizationId) -> Result<(), StoreError> {
    for (place, _) in transaction.starting_with(IDEMPOTENCY, &organization(id))? {
        transaction.delete(IDEMPOTENCY, &place)?;
    }
    Ok(())
}

fn delete_oldest(transaction: &WriteTransaction, id: OrganizationId) -> Result<(), StoreError> {
    let all = transaction.starting_with(IDEMPOTENCY, &organization(id))?;
    let too_many = all.len().saturating_sub(IdempotencyRecord::MOST);
    if too_many == 0 {
        return Ok(());
    }
    let mut oldest = Vec::new();
    for (place, row) in all {
        oldest.push((rows::read::<IdempotencyRecord>(&row)?.key_id, place));
    }
    oldest.sort();
    let mut oldest = oldest.into_iter().take(too_many);
    oldest.try_for_each(|(_, place)| transaction.delete(IDEMPOTENCY, &place))
}

/// The organization in front, so that its rows stand together.
fn place(id: OrganizationId, actor: &Actor, key: &IdempotencyKey) -> Result<Vec<u8>, StoreError> {
    let of_actor = rows::write_form(&(actor.to_string(), key.as_str()))?;
    Ok([&organization(id)[..], &of_actor].concat())
}

#[derive(Serialize, Deserialize)]
pub struct IdempotencyForm {
    organization_id: u128,
    actor: String,
    key: String,
    request_hash: [u8; 32],
    key_id: u128,
    created_at: i64,
    expires_at: i64,
}

impl Stored for IdempotencyRecord {
    type Form = IdempotencyForm;

    fn form(&self) -> IdempotencyForm {
        IdempotencyForm {
            organization_id: self.organization_id.as_uuid().as_u128(),
            actor: self.actor.to_string(),
            key: self.key.as_str().into(),
            request_hash: self.request_hash,
            key_id: self.key_id.as_uuid().as_u128(),
            created_at: self.created_at.as_millis(),
            expires_at: self.expires_at.as_millis(),
        }
    }

    fn row(form: IdempotencyForm) -> Option<Self> {
        let mut row = Self::new(
            OrganizationId::from(Uuid::from_u128(form.organization_id)),
            form.actor.parse().ok()?,
            form.key.parse().ok()?,
            form.request_hash,
            KeyId::from_u128(form.key_id),
            Timestamp::from_millis(form.created_at),
        );
        row.expires_at = Timestamp::from_millis(form.expires_at);
        Some(row)
    }
}
