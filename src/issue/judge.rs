//! What a key that acts may change.
//!
//! Every commit of an issuer is judged here by its rows. So a call that is added later cannot forget it.

use std::collections::BTreeMap;

use super::authority::{Acting, allowed, forbidden};
use super::grantor::Lack;
use super::narrower::{is_narrower, is_within};
use crate::key::{
    Actor, KeyId, KeyRecord, KeySecret, KeyState, KeyStatus, Organization, OrganizationId, Role, ScopeSet, SecretForm,
    StateChange, User, UserStatus, earlier,
};
use crate::store::query::{Keys, OneUser, Roles};
use crate::store::{Commit, Guard, ManagedStore, StoreError, StoreErrorKind, StoreExt, StoredKey, Write};

impl Acting {
    /// What must hold for the key to make this commit.
    ///
    /// # Errors
    /// [`Forbidden`](StoreErrorKind::Forbidden) when it may not, [`NotFound`](StoreErrorKind::NotFound) when it may not even see
    /// what it changes, [`Conflict`](StoreErrorKind::Conflict) when the commit was prepared over rows that have changed since,
    /// which could hide what it changes.
    pub(super) async fn judge<S: ManagedStore>(&self, store: &S, commit: &Commit) -> Result<Vec<Guard>, StoreError> {
        let mut judge = Judge {
            acting: self,
            store,
            roles: BTreeMap::new(),
            inserted: BTreeMap::new(),
            weakened: Vec::new(),
            unchanged: Vec::new(),
        };
        for guard in &commit.guards {
            judge.guard(guard).await?;
        }
        for event in &commit.audit {
            judge.may_touch(event.organization_id)?;
        }
        for write in &commit.writes {
            judge.write(write).await?;
        }
        let mut guards = self.guards();
        guards.append(&mut judge.unchanged);
        if self.is_operator() && !commit.writes.is_empty() {
            let (beside, at) = (judge.weakened, self.at);
            guards.push(Guard::OperatorKeyLives { beside, at });
        }
        Ok(guards)
    }

    pub(super) fn check_operator(&self) -> Result<(), StoreError> {
        allowed(self.is_operator(), "this is for keys of the operator")
    }

    fn id(&self) -> KeyId {
        self.candidate().record.id
    }
}

/// One commit that is judged.
struct Judge<'a, S> {
    acting: &'a Acting,
    store: &'a S,
    /// Those that were read.
    roles: BTreeMap<String, Option<Role>>,
    /// Keys that the commit inserts.
    inserted: BTreeMap<KeyId, KeyRecord>,
    /// Keys of the operator that lose something.
    weakened: Vec<KeyId>,
    /// That what was judged is still so.
    unchanged: Vec<Guard>,
}

impl<S: ManagedStore> Judge<'_, S> {
    /// Whether a guard holds tells of the row that it is about.
    async fn guard(&self, guard: &Guard) -> Result<(), StoreError> {
        match guard {
            Guard::KeyRevision(key, _) | Guard::SecretEnds { key, .. } => self.key(*key).await.map(drop),
            Guard::OrganizationRevision(id, _)
            | Guard::LiveKeysBelow(id, _)
            | Guard::UserRevision(id, ..)
            | Guard::UserIsActive(id, _) => self.may_touch(*id),
            Guard::PlanRevision(id, _) => {
                let is_own = self.acting.candidate().organization.plan == Some(*id);
                allowed(is_own || self.acting.is_operator(), OTHERS)
            }
            // Of what everyone may read.
            Guard::RoleRevision(..) | Guard::RoleScopes(..) | Guard::KnownScopesBelow(_) => Ok(()),
            Guard::OperatorKeyLives { .. } => self.acting.check_operator(),
        }
    }

    async fn write(&mut self, write: &Write) -> Result<(), StoreError> {
        match write {
            Write::InsertOrganization(row) => {
                self.acting.check_operator()?;
                allowed(!row.is_operator, ON_THE_HOST)
            }
            Write::UpdateOrganization(row) => self.organization(row).await,
            Write::DeleteOrganization(id) => {
                self.acting.check_operator()?;
                allowed(*id != self.acting.organization(), OWN_BOUNDS)
            }
            Write::InsertKey(record) => self.insert_key(record).await,
            Write::UpdateKey(record) => self.update_key(record).await,
            Write::SetKeyState(change) => self.set_state(change).await,
            Write::DeleteKey(id) => {
                let key = self.key(*id).await?;
                self.weakens(&key.record);
                Ok(())
            }
            // Who gets a secret of a key is that key.
            Write::InsertSecret(id, _) => {
                let key = self.key(*id).await?;
                self.grants(&key.record).await
            }
            Write::UpdateSecret {
                key: id,
                lookup,
                expires_at,
                grace_ends_at,
            } => {
                let key = self.key(*id).await?;
                let end = earlier(*expires_at, *grace_ends_at);
                let was = key.secret(lookup).map(KeySecret::ends_at);
                match was.is_some_and(|was| is_within(end, was)) {
                    true => Ok(()),
                    false => self.grants(&key.record).await,
                }
            }
            Write::DeleteSecret { key, .. } => self.key(*key).await.map(drop),
            Write::InsertIdempotency(row) => {
                let is_own = row.actor == Actor::key(self.acting.id()) && self.inserted.contains_key(&row.key_id);
                allowed(
                    is_own,
                    "what was made for an idempotency key is noted for the key that made it",
                )
            }
            Write::InsertUser(user) => self.may_touch(user.organization_id),
            Write::UpdateUser(user) => self.update_user(user).await,
            Write::DeleteUser(organization, _) => self.may_touch(*organization),
            Write::InsertRole(role) | Write::UpdateRole(role) => {
                self.acting.check_operator()?;
                let was = self.role(&role.name).await?;
                let was = was.map(|role| role.scopes).unwrap_or_default();
                let is_granted = |scopes: &ScopeSet| was.includes(scopes) || self.has_all(scopes);
                allowed(is_granted(&role.scopes), SCOPES)
            }
            Write::UpdateRealm { .. } => {
                self.acting.check_operator()?;
                // The end of keys with a CRC-32 would be that of the key that acts, and there may be no other one.
                let ends_itself = self.acting.candidate().secret.form == SecretForm::Crc32;
                match ends_itself {
                    true => Err(StoreError::new(StoreErrorKind::LastOperatorKey)),
                    false => Ok(()),
                }
            }
            // Another hash is another secret.
            Write::ReplaceHash { .. } => allowed(false, "a hash is replaced by a check of its key only"),
            // Plans, the realm and its secrets, roles, scopes, the audit trail, and whatever comes later.
            _ => self.acting.check_operator(),
        }
    }

    async fn organization(&mut self, row: &Organization) -> Result<(), StoreError> {
        // Before it is read: whether another one is there is none of its business.
        self.may_touch(row.id)?;
        let stored = self.store.get(row.id).await?.ok_or_else(not_found)?;
        is_prepared_over(stored.revision, row.revision)?;
        allowed(row.is_operator == stored.is_operator, ON_THE_HOST)?;
        if row.id != self.acting.organization() {
            return Ok(());
        }
        // What is added later bounds it, unless it is named here.
        let mut harmless = stored;
        harmless.name.clone_from(&row.name);
        harmless.email.clone_from(&row.email);
        harmless.metadata.clone_from(&row.metadata);
        allowed(harmless == *row, OWN_BOUNDS)
    }

    async fn insert_key(&mut self, record: &KeyRecord) -> Result<(), StoreError> {
        self.may_touch(record.organization_id)?;
        let creator = Some(self.acting.id());
        allowed(record.created_by_key == creator, "a new key names the key that made it")?;
        self.grants(record).await?;
        self.bounds(None, record)?;
        self.inserted.insert(record.id, record.clone());
        Ok(())
    }

    async fn update_key(&mut self, record: &KeyRecord) -> Result<(), StoreError> {
        let stored = self.key(record.id).await?.record;
        is_prepared_over(stored.revision, record.revision)?;
        allowed(stored.organization_id == record.organization_id, OTHERS)?;
        // By these it is found when the key that made it leaks, and by these its life is counted.
        let made = |record: &KeyRecord| (record.created_at, record.created_by.clone(), record.created_by_key);
        allowed(made(&stored) == made(record), "who made a key, and when, stays")?;
        self.bounds(Some(&stored), record)?;
        self.compare(&stored, record).await.map(drop)
    }

    /// Nothing but the state of the key is written, and other changes of it may come in between. Not those of what it may do, when
    /// it is to work again.
    async fn set_state(&mut self, change: &StateChange) -> Result<(), StoreError> {
        let stored = self.key(change.key).await?.record;
        // Otherwise it would not be seen that the change widens.
        if KeyState::of(&stored) != change.was {
            return Err(StoreError::new(StoreErrorKind::Conflict));
        }
        let mut record = stored.clone();
        change.state.clone().set(&mut record);
        if self.compare(&stored, &record).await? {
            self.unchanged.push(Guard::KeyRevision(stored.id, stored.revision));
        }
        Ok(())
    }

    /// Whether the key may do more afterwards, if the acting one may change it so.
    async fn compare(&mut self, stored: &KeyRecord, record: &KeyRecord) -> Result<bool, StoreError> {
        let weakens = !is_narrower(stored, record);
        if weakens {
            self.weakens(stored);
        }
        let raises = !is_narrower(record, stored);
        if record.id == self.acting.id() {
            return allowed(!raises, "no key widens itself").map(|()| false);
        }
        // Also as it was: a stronger key is not changed by a weaker one, except to take something from it.
        if raises {
            self.grants(stored).await?;
            self.grants(record).await?;
        }
        Ok(raises)
    }

    /// What wakes keys up is judged as they would be: otherwise a weak key gives back what off-boarding took.
    async fn update_user(&mut self, user: &User) -> Result<(), StoreError> {
        self.may_touch(user.organization_id)?;
        let stored = self.store.get(OneUser(user.organization_id, user.id.clone())).await?;
        let stored = stored.ok_or_else(not_found)?;
        is_prepared_over(stored.revision, user.revision)?;
        if stored.status == UserStatus::Active || user.status != UserStatus::Active {
            return Ok(());
        }
        let of_user = Keys::of(user.organization_id).user(user.id.clone()).page(PAGE);
        let mut page = self.store.get(of_user.clone()).await?;
        let mut seen = 0;
        loop {
            for key in &page.items {
                if key.record.status != KeyStatus::Revoked {
                    self.grants(&key.record).await?;
                    // Widened in between, it would be woken as it is then.
                    self.unchanged
                        .push(Guard::KeyRevision(key.record.id, key.record.revision));
                }
            }
            seen += page.items.len();
            allowed(seen <= MOST_WOKEN, "the user has more keys than one call can judge")?;
            let Some(next) = page.next else { return Ok(()) };
            page = self.store.get(of_user.clone().after(next)).await?;
        }
    }

    /// Limits that an organization's plan and its row give each of its keys are no looser for those that it makes itself, and
    /// none lasts longer than the key that makes it.
    fn bounds(&self, before: Option<&KeyRecord>, after: &KeyRecord) -> Result<(), StoreError> {
        if after.organization_id != self.acting.organization() {
            return Ok(());
        }
        let had = |name: &str| before.is_some_and(|before| before.lifted_limits.contains(name));
        let lifts = after.lifted_limits.iter().any(|name| !had(name));
        let given = self.acting.candidate().given_key_limits();
        let loosens = after.limits.iter().any(|limit| {
            let is_new = before.is_none_or(|before| !before.limits.contains(limit));
            let bound = given.iter().find(|bound| bound.name() == limit.name());
            is_new && bound.is_some_and(|bound| !limit.is_within(bound))
        });
        allowed(!lifts && !loosens, OWN_BOUNDS)?;
        // The longest life is counted from the creation of each key. One that made its own successor would have no longest life.
        let prolongs = before.is_none_or(|before| !is_within(after.expires_at, before.expires_at));
        let ends_in_time = is_within(after.expires_at, self.acting.grantor.ends_at());
        allowed(!prolongs || ends_in_time, LONGER)
    }

    /// Whether the acting key has all that this one may do.
    async fn grants(&mut self, record: &KeyRecord) -> Result<(), StoreError> {
        // Its own it has already.
        if record.id == self.acting.id() {
            return Ok(());
        }
        if record.organization_id != self.acting.organization() {
            return self.grants_elsewhere(record).await;
        }
        if let Some(lack) = self.acting.grantor.lacks(record) {
            return Err(forbidden(match lack {
                Lack::Scope(_) => SCOPES,
                Lack::Role(_) => "the key that acts does not have all of these roles",
                Lack::Networks => "the key that acts may not be used from all of these networks",
                Lack::Environment => ENVIRONMENT,
                Lack::Limit(_) => "the key that acts has tighter limits",
            }));
        }
        allowed(
            is_within(record.expires_at, self.acting.candidate().record.expires_at),
            LONGER,
        )
    }

    /// Keys of other organizations are made by the operator, whose networks, limits and end are none of theirs.
    async fn grants_elsewhere(&mut self, record: &KeyRecord) -> Result<(), StoreError> {
        let mut all = record.scopes.clone();
        for name in record.roles.iter() {
            let role = self.role(name).await?;
            // One that is made tomorrow may allow anything.
            let role = role.ok_or_else(|| forbidden("there is no such role, so nobody has its scopes"))?;
            all = all.union(&role.scopes);
        }
        allowed(self.has_all(&all), SCOPES)?;
        allowed(self.acting.grantor.may_give_environment(record), ENVIRONMENT)
    }

    fn has_all(&self, scopes: &ScopeSet) -> bool {
        self.acting.grantor.scopes().includes(scopes)
    }

    fn weakens(&mut self, record: &KeyRecord) {
        if record.organization_id == self.acting.organization() {
            self.weakened.push(record.id);
        }
    }

    /// A key that the acting one may touch. One of another organization is not there.
    async fn key(&self, id: KeyId) -> Result<StoredKey, StoreError> {
        let key = match self.inserted.get(&id) {
            Some(record) => StoredKey::new(record.clone(), Vec::new()),
            None => self.store.get(id).await?.ok_or_else(not_found)?,
        };
        self.may_touch(key.record.organization_id).map_err(|_| not_found())?;
        Ok(key)
    }

    /// The role, as it must still be when the commit is made.
    async fn role(&mut self, name: &str) -> Result<Option<Role>, StoreError> {
        if let Some(role) = self.roles.get(name) {
            return Ok(role.clone());
        }
        let found = self.store.get(Roles::named(name).page(1)).await?.items.pop();
        let unchanged = found
            .iter()
            .map(|role| Guard::RoleScopes(role.name.clone(), role.scopes.clone()));
        self.unchanged.extend(unchanged);
        self.roles.insert(name.to_owned(), found.clone());
        Ok(found)
    }

    fn may_touch(&self, organization: OrganizationId) -> Result<(), StoreError> {
        let is_own = organization == self.acting.organization();
        allowed(is_own || self.acting.is_operator(), OTHERS)
    }
}

/// What was read of the row is what the change was prepared over. The store looks again, so nothing comes in between.
pub(super) fn is_prepared_over(stored: u64, given: u64) -> Result<(), StoreError> {
    match stored == given {
        true => Ok(()),
        false => Err(StoreError::new(StoreErrorKind::Conflict)),
    }
}

pub(super) fn not_found() -> StoreError {
    StoreError::new(StoreErrorKind::NotFound)
}

const OTHERS: &str = "the row is of another organization";
const ON_THE_HOST: &str = "the operator's organization is marked on the host only";
const OWN_BOUNDS: &str = "what bounds an organization is not changed with its own keys";
const SCOPES: &str = "the key that acts does not have all of these scopes";
const ENVIRONMENT: &str = "the key that acts is of another environment";
const LONGER: &str = "the key that acts ends before this one";
/// Keys of a user that are judged in one call.
const MOST_WOKEN: usize = 10_000;
const PAGE: u16 = 1000;
