//! Commits: each is one transaction, which is dropped as a whole when a guard or a write fails.

use std::collections::BTreeMap;
use std::sync::Arc;

use redb::WriteTransaction;
use tower_api_key::key::{KeyId, KeySecret, KeyStatus, Lookup, Organization, OrganizationId};
use tower_api_key::store::StoreErrorKind::{AlreadyExists, Conflict, NotFound, Unsupported};
use tower_api_key::store::{
    Change as Changed, Commit, Guard, SharedRows, StoreError, StoreErrorKind, StoredKey, Write, replace_organization,
};

use crate::rows::{self, SharedForm, Stored as _};
use crate::tables::{
    Change, EMAILS, KEYS, LOOKUPS, OPERATOR, ORGANIZATIONS, OWNED, Read, SHARED, SLUGS, USES, key, organization, owned,
};
use crate::{audit, idempotency, read, uses};

/// A commit under way: the transaction, and the rows that keys share as they will be.
pub struct Writer<'t> {
    pub transaction: &'t WriteTransaction,
    pub shared: Arc<SharedRows>,
}

impl Writer<'_> {
    pub fn make(&mut self, commit: &mut Commit) -> Result<Vec<Changed>, StoreError> {
        commit.check_guards(|guard| self.holds(guard))?;
        let mut changes = Vec::new();
        for write in std::mem::take(&mut commit.writes) {
            changes.extend(self.write(write)?);
        }
        commit.check_outcome(|guard| self.holds(guard))?;
        Ok(changes)
    }

    fn holds(&self, guard: &Guard) -> Result<bool, StoreError> {
        Ok(match guard {
            Guard::KeyRevision(id, revision) => self.key(*id)?.is_some_and(|key| key.record.revision == *revision),
            Guard::OrganizationRevision(id, revision) => {
                self.organization(*id)?.is_some_and(|row| row.revision == *revision)
            }
            Guard::PlanRevision(id, revision) => self.shared.plan_revision(*id) == Some(*revision),
            Guard::UserRevision(organization, user, revision) => {
                self.shared.user_revision(*organization, user) == Some(*revision)
            }
            Guard::RoleRevision(name, revision) => self.shared.role_revision(name) == Some(*revision),
            Guard::LiveKeysBelow(id, limit) => {
                let keys = read::keys_of(self.transaction, *id)?;
                let live = keys.iter().filter(|key| key.record.status != KeyStatus::Revoked);
                live.count() < *limit as usize
            }
            Guard::RoleScopes(name, scopes) => self.shared.scopes_of_role(name) == Some(scopes),
            Guard::KnownScopesBelow(limit) => self.shared.knows_fewer_scopes(*limit),
            Guard::UserIsActive(organization, user) => self.shared.is_active(*organization, user),
            Guard::SecretEnds {
                key,
                lookup,
                expires_at,
                grace_ends_at,
            } => {
                let has_ends =
                    |secret: &KeySecret| (secret.expires_at, secret.grace_ends_at) == (*expires_at, *grace_ends_at);
                self.key(*key)?
                    .is_some_and(|key| key.secret(lookup).is_some_and(has_ends))
            }
            Guard::OperatorKeyLives { .. } => {
                let operator = self.transaction.get(OPERATOR, &[])?;
                let operator = read::by_index(self.transaction, operator)?;
                let keys = operator.iter().map(|row| read::keys_of(self.transaction, row.id));
                let keys = keys.collect::<Result<Vec<_>, _>>()?.into_iter().flatten();
                let keys = keys.map(|key| (key.record.id, key)).collect();
                self.shared
                    .holds(guard, &operator.into_iter().map(by_id).collect(), &keys)
            }
            _ => return Err(StoreError::new(Unsupported)),
        })
    }

    /// What the write changes; `None` for a secret, whose key the same commit writes, and for the audit trail.
    fn write(&mut self, write: Write) -> Result<Option<Changed>, StoreError> {
        Ok(Some(match write {
            Write::InsertOrganization(row) => {
                check(self.organization(row.id)?.is_none(), AlreadyExists)?;
                self.check_organization(&row)?;
                self.put_organization(&row)?;
                Changed::new(row.id, row.revision)
            }
            Write::UpdateOrganization(row) => {
                let mut stored = self.organization(row.id)?.ok_or(StoreError::new(NotFound))?;
                self.check_organization(&row)?;
                self.remove_organization(&stored)?;
                let changed = replace_organization(&mut stored, row).map_err(StoreError::new)?;
                self.put_organization(&stored)?;
                changed
            }
            Write::DeleteOrganization(id) => {
                let stored = self.organization(id)?.ok_or(StoreError::new(NotFound))?;
                let keys = self.transaction.starting_with(OWNED, &organization(id))?;
                check(keys.is_empty() && !self.shared.has_users(id), Conflict)?;
                self.remove_organization(&stored)?;
                idempotency::delete_of(self.transaction, id)?;
                Changed::new(id, stored.revision.saturating_add(1))
            }
            Write::InsertKey(row) => {
                check(self.organization(row.organization_id)?.is_some(), NotFound)?;
                check(self.key(row.id)?.is_none(), AlreadyExists)?;
                let changed = Changed::new(row.id, row.revision);
                self.transaction.put(OWNED, &owned(row.organization_id, row.id), &[])?;
                self.put_key(&StoredKey::new(row, Vec::new()))?;
                changed
            }
            Write::UpdateKey(row) => {
                let mut stored = self.key(row.id)?.ok_or(StoreError::new(NotFound))?;
                let changed = stored.replace_record(row).map_err(StoreError::new)?;
                self.put_key(&stored)?;
                changed
            }
            Write::SetKeyState(change) => {
                let mut stored = self.key(change.key)?.ok_or(StoreError::new(NotFound))?;
                let changed = stored.set_state(change).map_err(StoreError::new)?;
                self.put_key(&stored)?;
                changed
            }
            Write::DeleteKey(id) => {
                let stored = self.key(id)?.ok_or(StoreError::new(NotFound))?;
                for secret in &stored.secrets {
                    self.transaction.delete(LOOKUPS, secret.lookup.as_str().as_bytes())?;
                }
                self.transaction
                    .delete(OWNED, &owned(stored.record.organization_id, id))?;
                self.transaction.delete(KEYS, &key(id))?;
                self.transaction.delete(USES, &key(id))?;
                Changed::new(id, stored.record.revision.saturating_add(1))
            }
            write if write.is_shared() => self.write_shared(write)?,
            write if write.is_of_idempotency() => {
                idempotency::write(self.transaction, &write)?;
                return Ok(None);
            }
            // Persons are forgotten in all three.
            write if write.is_of_audit() || write.is_of_use() => {
                uses::write(self.transaction, &write)?;
                if matches!(write, Write::ForgetPersonal(_)) {
                    idempotency::write(self.transaction, &write)?;
                }
                if write.is_of_audit() {
                    audit::write(self.transaction, write)?;
                }
                return Ok(None);
            }
            write => {
                self.write_secret(write)?;
                return Ok(None);
            }
        }))
    }

    fn write_secret(&self, write: Write) -> Result<(), StoreError> {
        let id = match &write {
            Write::InsertSecret(id, secret) => {
                check(self.owner(&secret.lookup)?.is_none(), AlreadyExists)?;
                self.transaction
                    .put(LOOKUPS, secret.lookup.as_str().as_bytes(), &key(*id))?;
                *id
            }
            Write::DeleteSecret { key: id, lookup } => {
                check(self.owner(lookup)? == Some(*id), NotFound)?;
                self.transaction.delete(LOOKUPS, lookup.as_str().as_bytes())?;
                *id
            }
            Write::ReplaceHash { lookup, .. } => self.owner(lookup)?.ok_or(StoreError::new(Conflict))?,
            // An unknown write is not made.
            write => write.key().ok_or(StoreError::new(Unsupported))?,
        };
        let mut stored = self.key(id)?.ok_or(StoreError::new(NotFound))?;
        let is_deleted = matches!(write, Write::DeleteSecret { .. });
        stored.write_secret(write).map_err(StoreError::new)?;
        if is_deleted {
            uses::keep(self.transaction, &stored)?;
        }
        self.put_key(&stored)
    }

    /// Of the other rows, [`SharedRows`] needs those that the write is about.
    fn write_shared(&mut self, write: Write) -> Result<Changed, StoreError> {
        let (mut organizations, mut keys) = (BTreeMap::new(), BTreeMap::new());
        match &write {
            Write::DeletePlan(_) => organizations.extend(read::organizations(self.transaction)?.into_iter().map(by_id)),
            Write::InsertUser(row) | Write::UpdateUser(row) => {
                organizations.extend(self.organization(row.organization_id)?.map(by_id));
            }
            Write::DeleteUser(id, _) => {
                organizations.extend(self.organization(*id)?.map(by_id));
                let of_organization = read::keys_of(self.transaction, *id)?;
                keys.extend(of_organization.into_iter().map(|key| (key.record.id, key)));
            }
            _ => {}
        }
        let (place, row) = shared_row(&write)?;
        let shared = Arc::make_mut(&mut self.shared);
        let changed = shared.write(write, &organizations, &keys).map_err(StoreError::new)?;
        match row {
            Some(row) => self.transaction.put(SHARED, &place, &rows::write_form(&row)?)?,
            None => self.transaction.delete(SHARED, &place)?,
        }
        Ok(changed)
    }

    /// The others are those that have the slug or the address.
    fn check_organization(&self, row: &Organization) -> Result<(), StoreError> {
        let slug = self.transaction.get(SLUGS, row.slug.as_bytes())?;
        let email = row.folded_email();
        let email = email
            .map(|email| self.transaction.get(EMAILS, email.as_bytes()))
            .transpose()?;
        let operator = self.transaction.get(OPERATOR, &[])?;
        let mut others = BTreeMap::new();
        for id in [slug, email.flatten(), operator] {
            others.extend(read::by_index(self.transaction, id)?.map(by_id));
        }
        self.shared.check_organization(row, &others).map_err(StoreError::new)
    }

    fn put_organization(&self, row: &Organization) -> Result<(), StoreError> {
        let id = organization(row.id);
        self.transaction.put(ORGANIZATIONS, &id, &rows::write(row)?)?;
        self.transaction.put(SLUGS, row.slug.as_bytes(), &id)?;
        if let Some(email) = row.folded_email() {
            self.transaction.put(EMAILS, email.as_bytes(), &id)?;
        }
        match row.is_operator {
            true => self.transaction.put(OPERATOR, &[], &id),
            false => Ok(()),
        }
    }

    fn remove_organization(&self, row: &Organization) -> Result<(), StoreError> {
        self.transaction.delete(ORGANIZATIONS, &organization(row.id))?;
        self.transaction.delete(SLUGS, row.slug.as_bytes())?;
        if let Some(email) = row.folded_email() {
            self.transaction.delete(EMAILS, email.as_bytes())?;
        }
        match row.is_operator {
            true => self.transaction.delete(OPERATOR, &[]),
            false => Ok(()),
        }
    }

    fn put_key(&self, row: &StoredKey) -> Result<(), StoreError> {
        self.transaction.put(KEYS, &key(row.record.id), &rows::write(row)?)
    }

    fn organization(&self, id: OrganizationId) -> Result<Option<Organization>, StoreError> {
        read::organization(self.transaction, id)
    }

    fn key(&self, id: KeyId) -> Result<Option<StoredKey>, StoreError> {
        read::key(self.transaction, id)
    }

    fn owner(&self, lookup: &Lookup) -> Result<Option<KeyId>, StoreError> {
        read::owner(self.transaction, lookup)
    }
}

/// The place of the row that a write is about, and the row as it is afterwards: updates raise the revision by one.
pub fn shared_row(write: &Write) -> Result<(Vec<u8>, Option<SharedForm>), StoreError> {
    macro_rules! updated {
        ($row:expr) => {{
            let mut row = $row.clone();
            row.revision = row.revision.saturating_add(1);
            row
        }};
    }
    let (place, row) = match write {
        Write::UpdateRealm { row, .. } | Write::AdoptRealm { row, .. } => {
            (place(&["realm"]), Some(SharedForm::Realm(row.form())))
        }
        Write::InsertServerSecret(row) | Write::UpdateServerSecret { row, .. } => (
            place(&["secret", row.purpose.as_str(), &row.id, &row.number.to_string()]),
            Some(SharedForm::Secret(row.form())),
        ),
        Write::DeleteServerSecret { purpose, id, number } => {
            (place(&["secret", purpose.as_str(), id, &number.to_string()]), None)
        }
        Write::InsertPlan(row) => (
            place(&["plan", &row.id.to_string()]),
            Some(SharedForm::Plan(row.clone())),
        ),
        Write::UpdatePlan(row) => (
            place(&["plan", &row.id.to_string()]),
            Some(SharedForm::Plan(updated!(row))),
        ),
        Write::DeletePlan(id) => (place(&["plan", &id.to_string()]), None),
        Write::InsertUser(row) => {
            let place = place(&["user", &row.organization_id.to_string(), row.id.as_str()]);
            (place, Some(SharedForm::User(row.form())))
        }
        Write::UpdateUser(row) => {
            let place = place(&["user", &row.organization_id.to_string(), row.id.as_str()]);
            (place, Some(SharedForm::User(updated!(row).form())))
        }
        Write::DeleteUser(organization, user) => (place(&["user", &organization.to_string(), user.as_str()]), None),
        Write::InsertRole(row) => (place(&["role", &row.name]), Some(SharedForm::Role(row.clone()))),
        Write::UpdateRole(row) => (place(&["role", &row.name]), Some(SharedForm::Role(updated!(row)))),
        Write::DeleteRole(name) => (place(&["role", name]), None),
        Write::InsertScope(row) => (
            place(&["scope", row.scope.as_str()]),
            Some(SharedForm::Scope(row.clone())),
        ),
        Write::DeleteScope(scope) => (place(&["scope", scope.as_str()]), None),
        // A row that is not stored must not be in memory either.
        _ => return Err(StoreError::new(Unsupported)),
    };
    Ok((place?, row))
}

/// As JSON, so that no two places are equal, whatever the texts have in them.
fn place(parts: &[&str]) -> Result<Vec<u8>, StoreError> {
    rows::write_form(&parts)
}

fn by_id(row: Organization) -> (OrganizationId, Organization) {
    (row.id, row)
}

fn check(holds: bool, otherwise: StoreErrorKind) -> Result<(), StoreError> {
    holds.then_some(()).ok_or(StoreError::new(otherwise))
}
