//! Rows that many keys share, for stores that hold rows in memory: the realm and its secrets, plans, roles, known scopes
//! and users.

use std::collections::BTreeMap;

use crate::fence::Change;
use crate::key::{
    KeyId, KeyRecord, KeyStatus, KnownScope, Organization, OrganizationId, Plan, PlanId, Realm, Role, Scope, ScopeSet,
    SecretPurpose, ServerSecretRecord, Subject, Timestamp, User, UserId, UserStatus, folded,
};
use crate::store::query::{Answer, Count, Query, ServerSecretRecords};
use crate::store::rows::next_revision;
use crate::store::{Candidate, StoreError, StoreErrorKind, StoredKey, Write};

/// Rows that many keys share, for stores that hold rows in memory: the realm and its secrets, plans, roles, known scopes
/// and users.
#[derive(Clone, Debug)]
pub struct SharedRows {
    realm: Realm,
    secrets: BTreeMap<SecretPlace, ServerSecretRecord>,
    plans: BTreeMap<PlanId, Plan>,
    roles: BTreeMap<String, Role>,
    scopes: BTreeMap<Scope, KnownScope>,
    users: BTreeMap<UserPlace, User>,
}

/// One of these rows, `None` if it is not there.
pub(super) enum SharedRow {
    Realm(Realm),
    Secret(SecretPlace, Option<ServerSecretRecord>),
    Plan(PlanId, Option<Plan>),
    Role(String, Option<Role>),
    Scope(Scope, Option<KnownScope>),
    User(UserPlace, Option<User>),
}

/// Purpose, id and number.
type SecretPlace = (SecretPurpose, String, u8);
type UserPlace = (OrganizationId, UserId);
/// The organizations of a store that holds rows in memory.
type Organizations = BTreeMap<OrganizationId, Organization>;
/// The keys of such a store.
type Keys = BTreeMap<KeyId, StoredKey>;

impl SharedRows {
    /// A new realm without secrets, with the plans that every new store has, and no other rows.
    pub fn new() -> Self {
        let plans = Plan::first_ones().into_iter().map(|plan| (plan.id, plan));
        Self {
            plans: plans.collect(),
            ..Self::of(Realm::new(Timestamp::now()))
        }
    }

    /// A realm that was stored, and no other rows: for a store that keeps its rows elsewhere and adds them with inserts, which
    /// keep the revision that a row has.
    pub fn of(realm: Realm) -> Self {
        Self {
            realm,
            secrets: BTreeMap::new(),
            plans: BTreeMap::new(),
            roles: BTreeMap::new(),
            scopes: BTreeMap::new(),
            users: BTreeMap::new(),
        }
    }

    /// Adds to a candidate what it has of these rows: plan, user, and the scopes of its roles.
    pub fn complete(&self, mut candidate: Candidate) -> Candidate {
        let record = &candidate.record;
        let user = record.user.clone().map(|user| (record.organization_id, user));
        candidate.user = user.and_then(|user| self.users.get(&user)).cloned();
        let roles = record.roles.iter().filter_map(|name| self.roles.get(name));
        candidate.role_scopes = roles.fold(ScopeSet::default(), |all, role| all.union(&role.scopes));
        candidate.plan = candidate.organization.plan.and_then(|id| self.plans.get(&id)).cloned();
        candidate
    }

    /// Whether an organization can be stored beside the others: slug and e-mail address are free, no other one is the operator's if
    /// this one is, and its plan is there. A store with indices passes those that have the slug or the address, and the operator's.
    ///
    /// # Errors
    /// [`AlreadyExists`](StoreErrorKind::AlreadyExists) when another organization has the slug or the address, or is the operator's,
    /// [`NotFound`](StoreErrorKind::NotFound) when there is no such plan.
    pub fn check_organization(&self, row: &Organization, others: &Organizations) -> Result<(), StoreErrorKind> {
        let email = row.email.as_deref().map(folded);
        let is_in_the_way = |other: &Organization| {
            other.id != row.id
                && (other.slug == row.slug
                    || (other.is_operator && row.is_operator)
                    || email.as_deref().is_some_and(|email| other.has_email(email)))
        };
        free(others.values().any(is_in_the_way))?;
        self.check_plan(row)
    }

    pub(super) fn check_plan(&self, organization: &Organization) -> Result<(), StoreErrorKind> {
        match organization.plan {
            Some(id) if !self.plans.contains_key(&id) => Err(StoreErrorKind::NotFound),
            _ => Ok(()),
        }
    }

    /// Whether the user is not disabled.
    pub fn is_active(&self, organization: OrganizationId, user: &UserId) -> bool {
        let user = self.users.get(&(organization, user.clone()));
        user.is_none_or(|user| user.status == UserStatus::Active)
    }

    /// The revision of a plan, for a guard on it.
    pub fn plan_revision(&self, id: PlanId) -> Option<u64> {
        self.plans.get(&id).map(|plan| plan.revision)
    }

    /// The revision of a user's row, for a guard on it.
    pub fn user_revision(&self, organization: OrganizationId, user: &UserId) -> Option<u64> {
        let user = self.users.get(&(organization, user.clone()));
        user.map(|user| user.revision)
    }

    /// The revision of a role, for a guard on it.
    pub fn role_revision(&self, name: &str) -> Option<u64> {
        self.roles.get(name).map(|role| role.revision)
    }

    /// What a role allows, for a guard on it; `None` if there is no such role.
    pub fn scopes_of_role(&self, name: &str) -> Option<&ScopeSet> {
        self.roles.get(name).map(|role| &role.scopes)
    }

    /// Whether fewer scopes than this are known, for a guard on their number.
    pub fn knows_fewer_scopes(&self, than: u32) -> bool {
        self.scopes.len() < than as usize
    }

    pub(super) fn operator_key_lives(
        &self,
        organizations: &Organizations,
        keys: &Keys,
        beside: &[KeyId],
        at: Timestamp,
    ) -> bool {
        let operator = organizations.values().find(|organization| organization.is_operator);
        let Some(operator) = operator else { return false };
        let administers = |key: &StoredKey, lookup| {
            let candidate = key.candidate(lookup, operator);
            candidate.is_some_and(|candidate| self.complete(candidate).administers(at))
        };
        keys.values().any(|key| {
            key.record.organization_id == operator.id
                && !beside.contains(&key.record.id)
                && key.secrets.iter().any(|secret| administers(key, &secret.lookup))
        })
    }

    /// Whether the organization has users.
    pub fn has_users(&self, organization: OrganizationId) -> bool {
        self.users.keys().any(|(owner, _)| *owner == organization)
    }

    /// Makes a write of one of these rows.
    ///
    /// Of the organizations and keys, it looks at the organization of a user that is written, at the keys of a user that is
    /// deleted, and at the organizations that have a plan that is deleted. A store that holds no others in memory passes those.
    ///
    /// # Errors
    /// Those of the [`Write`]. [`Unsupported`](StoreErrorKind::Unsupported) for a write of something else.
    pub fn write(
        &mut self,
        write: Write,
        organizations: &Organizations,
        keys: &Keys,
    ) -> Result<Change, StoreErrorKind> {
        let (change, row) = self.prepare(write, organizations, keys)?;
        self.put(row);
        Ok(change)
    }

    /// What a write changes, and the row as it is afterwards.
    pub(super) fn prepare(
        &self,
        write: Write,
        organizations: &Organizations,
        keys: &Keys,
    ) -> Result<(Change, SharedRow), StoreErrorKind> {
        let realm = Change::new(Subject::Realm, 0);
        Ok(match write {
            Write::InsertPlan(row) => {
                free(self.plans.contains_key(&row.id) || self.is_taken(&row))?;
                (Change::new(row.id, row.revision), SharedRow::Plan(row.id, Some(row)))
            }
            Write::UpdatePlan(mut row) => {
                let stored = self.plans.get(&row.id).ok_or(StoreErrorKind::NotFound)?;
                row.revision = next_revision(stored.revision, row.revision)?;
                free(self.is_taken(&row))?;
                (Change::new(row.id, row.revision), SharedRow::Plan(row.id, Some(row)))
            }
            Write::DeletePlan(id) => {
                let stored = self.plans.get(&id).ok_or(StoreErrorKind::NotFound)?;
                unused(organizations.values().any(|row| row.plan == Some(id)))?;
                let revision = stored.revision.saturating_add(1);
                (Change::new(id, revision), SharedRow::Plan(id, None))
            }
            Write::InsertUser(row) => {
                let change = of_owner(organizations, row.organization_id)?;
                let place = (row.organization_id, row.id.clone());
                free(self.users.contains_key(&place))?;
                (change, SharedRow::User(place, Some(row)))
            }
            Write::UpdateUser(mut row) => {
                let place = (row.organization_id, row.id.clone());
                let stored = self.users.get(&place).ok_or(StoreErrorKind::NotFound)?;
                row.revision = next_revision(stored.revision, row.revision)?;
                (of_owner(organizations, place.0)?, SharedRow::User(place, Some(row)))
            }
            Write::DeleteUser(organization, user) => {
                let place = (organization, user);
                self.users.get(&place).ok_or(StoreErrorKind::NotFound)?;
                unused(keys.values().any(|key| is_live_key_of(&key.record, &place)))?;
                (of_owner(organizations, place.0)?, SharedRow::User(place, None))
            }
            Write::InsertRole(row) => {
                free(self.roles.contains_key(&row.name))?;
                (realm, SharedRow::Role(row.name.clone(), Some(row)))
            }
            Write::UpdateRole(mut row) => {
                let stored = self.roles.get(&row.name).ok_or(StoreErrorKind::NotFound)?;
                row.revision = next_revision(stored.revision, row.revision)?;
                (realm, SharedRow::Role(row.name.clone(), Some(row)))
            }
            Write::DeleteRole(name) => {
                self.roles.get(&name).ok_or(StoreErrorKind::NotFound)?;
                (realm, SharedRow::Role(name, None))
            }
            Write::InsertScope(row) => {
                free(self.scopes.contains_key(&row.scope))?;
                (realm, SharedRow::Scope(row.scope.clone(), Some(row)))
            }
            Write::DeleteScope(scope) => {
                self.scopes.get(&scope).ok_or(StoreErrorKind::NotFound)?;
                (realm, SharedRow::Scope(scope, None))
            }
            Write::UpdateRealm { was, row } => {
                let mut stored = self.realm;
                let is_same = (stored.id, stored.crc_accepted_until) == (was.id, was.crc_accepted_until);
                expect(is_same && row.id == was.id)?;
                stored.crc_accepted_until = row.crc_accepted_until;
                (realm, SharedRow::Realm(stored))
            }
            Write::AdoptRealm { was, row } => {
                let mut stored = self.realm;
                expect(stored.id == was.id)?;
                stored.id = row.id;
                (realm, SharedRow::Realm(stored))
            }
            Write::InsertServerSecret(row) => {
                free(self.secrets.contains_key(&place(&row)))?;
                (realm, SharedRow::Secret(place(&row), Some(row)))
            }
            Write::UpdateServerSecret { was, row } => {
                let stored = self.secrets.get(&place(&row)).ok_or(StoreErrorKind::NotFound)?;
                expect(stored.is_same_as(&was))?;
                (realm, SharedRow::Secret(place(&row), Some(row)))
            }
            Write::DeleteServerSecret { purpose, id, number } => {
                let place = (purpose, id, number);
                self.secrets.get(&place).ok_or(StoreErrorKind::NotFound)?;
                (realm, SharedRow::Secret(place, None))
            }
            _ => return Err(StoreErrorKind::Unsupported),
        })
    }

    /// Puts a row, or takes it away; the row as it was before.
    pub(super) fn put(&mut self, row: SharedRow) -> SharedRow {
        match row {
            SharedRow::Realm(row) => SharedRow::Realm(std::mem::replace(&mut self.realm, row)),
            SharedRow::Secret(place, row) => SharedRow::Secret(place.clone(), put(&mut self.secrets, place, row)),
            SharedRow::Plan(id, row) => SharedRow::Plan(id, put(&mut self.plans, id, row)),
            SharedRow::Role(name, row) => SharedRow::Role(name.clone(), put(&mut self.roles, name, row)),
            SharedRow::Scope(scope, row) => SharedRow::Scope(scope.clone(), put(&mut self.scopes, scope, row)),
            SharedRow::User(place, row) => SharedRow::User(place.clone(), put(&mut self.users, place, row)),
        }
    }

    /// Whether another plan has the name.
    fn is_taken(&self, row: &Plan) -> bool {
        self.plans
            .values()
            .any(|plan| plan.id != row.id && plan.name == row.name)
    }

    /// Answers a query about one of these rows.
    ///
    /// # Errors
    /// [`Unsupported`](StoreErrorKind::Unsupported) for another query,
    /// [`InvalidCursor`](StoreErrorKind::InvalidCursor) for a page after a cursor of another list.
    pub fn read(&self, query: Query) -> Result<Answer, StoreError> {
        Ok(match query {
            Query::Realm => Answer::Realm(self.realm),
            Query::ServerSecrets(purpose) => {
                let is_asked = |row: &&ServerSecretRecord| purpose.as_ref().is_none_or(|one| row.purpose == *one);
                let rows = self.secrets.values().filter(is_asked);
                Answer::ServerSecrets(rows.take(ServerSecretRecords::MOST).cloned().collect())
            }
            Query::Plan(id) => Answer::Plan(self.plans.get(&id).cloned()),
            Query::Plans(filter, page) => Answer::Plans(page.cut(&filter, self.plans.values())?),
            Query::User(organization, user) => Answer::User(self.users.get(&(organization, user)).cloned()),
            Query::Users(filter, page) => Answer::Users(page.cut(&filter, self.users.values())?),
            Query::CountUsers(filter) => Answer::Count(Count::of_rows(&filter, self.users.values())),
            Query::Roles(filter, page) => Answer::Roles(page.cut(&filter, self.roles.values())?),
            Query::KnownScopes(filter, page) => Answer::KnownScopes(page.cut(&filter, self.scopes.values())?),
            _ => return Err(StoreError::new(StoreErrorKind::Unsupported)),
        })
    }
}

impl Default for SharedRows {
    fn default() -> Self {
        Self::new()
    }
}

fn place(row: &ServerSecretRecord) -> SecretPlace {
    (row.purpose.clone(), row.id.clone(), row.number)
}

fn put<K: Ord, V>(rows: &mut BTreeMap<K, V>, key: K, row: Option<V>) -> Option<V> {
    match row {
        Some(row) => rows.insert(key, row),
        None => rows.remove(&key),
    }
}

/// A change of a user is one of its organization, whose revision stays.
fn of_owner(organizations: &Organizations, id: OrganizationId) -> Result<Change, StoreErrorKind> {
    let owner = organizations.get(&id).ok_or(StoreErrorKind::NotFound)?;
    Ok(Change::new(id, owner.revision))
}

fn is_live_key_of(record: &KeyRecord, (organization, user): &UserPlace) -> bool {
    record.organization_id == *organization && record.user.as_ref() == Some(user) && record.status != KeyStatus::Revoked
}

fn free(is_taken: bool) -> Result<(), StoreErrorKind> {
    if is_taken {
        Err(StoreErrorKind::AlreadyExists)
    } else {
        Ok(())
    }
}

fn unused(is_used: bool) -> Result<(), StoreErrorKind> {
    expect(!is_used)
}

fn expect(holds: bool) -> Result<(), StoreErrorKind> {
    if holds { Ok(()) } else { Err(StoreErrorKind::Conflict) }
}
