//! What an issuer may change that acts with a key, and not on the host.
//!
//! Every commit of an issuer passes [`Authority::judge`], which looks at its writes. So a call that is added later cannot forget it.

use std::collections::BTreeMap;

use super::narrower::{are_within, is_narrower, is_within};
use crate::clock::Clock;
use crate::key::{
    KeyId, KeyRecord, KeySecret, KeyState, KeyStatus, Lookup, Organization, OrganizationId, Role, ScopeSet,
    StateChange, Timestamp, User, UserStatus, earlier,
};
use crate::store::query::{Keys, OneUser, Roles};
use crate::store::{Candidate, Commit, Guard, ManagedStore, StoreError, StoreErrorKind, StoreExt, StoredKey, Write};

/// The key that an issuer acts with.
#[derive(Clone)]
pub(super) struct Authority {
    key: KeyId,
    lookup: Lookup,
}

/// The acting key, as the store has it.
pub(super) struct Acting {
    candidate: Candidate,
    scopes: ScopeSet,
}

impl Authority {
    pub(super) fn new(key: KeyId, lookup: Lookup) -> Self {
        Self { key, lookup }
    }

    pub(super) fn key(&self) -> KeyId {
        self.key
    }

    /// The key as it is now.
    ///
    /// # Errors
    /// [`Forbidden`](StoreErrorKind::Forbidden) when it does not work any more.
    pub(super) async fn acting<S: ManagedStore>(&self, store: &S, clock: &Clock) -> Result<Acting, StoreError> {
        let found = store.find(&self.lookup).await?;
        let candidate = found.filter(|found| found.record.id == self.key && found.works(clock.wall()));
        let candidate = candidate.ok_or_else(|| forbidden("the key that acts does not work any more"))?;
        let scopes = candidate.scopes();
        Ok(Acting { candidate, scopes })
    }
}

impl Acting {
    /// Whether the key and its organization are still as they were then.
    pub(super) fn is_same_as(&self, then: &Self) -> bool {
        let revisions = |acting: &Self| (acting.candidate.record.revision, acting.candidate.organization.revision);
        revisions(self) == revisions(then)
    }

    /// What must hold for the key to make this commit.
    ///
    /// # Errors
    /// [`Forbidden`](StoreErrorKind::Forbidden) when it may not, [`Conflict`](StoreErrorKind::Conflict) when it was prepared over
    /// rows that have changed since, which could hide what it changes.
    pub(super) async fn judge<S: ManagedStore>(
        &self,
        store: &S,
        commit: &Commit,
        at: Timestamp,
    ) -> Result<Vec<Guard>, StoreError> {
        let mut judge = Judge {
            acting: self,
            store,
            roles: BTreeMap::new(),
            inserted: BTreeMap::new(),
            weakened: Vec::new(),
            unchanged: Vec::new(),
        };
        for write in &commit.writes {
            judge.write(write).await?;
        }
        let (record, organization) = (&self.candidate.record, &self.candidate.organization);
        let mut guards = vec![
            // Revoked in between, it could still leave a key behind that nobody looks for.
            Guard::KeyRevision(record.id, record.revision),
            Guard::OrganizationRevision(organization.id, organization.revision),
        ];
        guards.append(&mut judge.unchanged);
        // Stopped by the user it is for, it leaves none behind either.
        let user = record.user.clone();
        guards.extend(user.map(|user| Guard::UserIsActive(organization.id, user)));
        if organization.is_operator && !commit.writes.is_empty() {
            let beside = judge.weakened;
            guards.push(Guard::OperatorKeyLives { beside, at });
        }
        Ok(guards)
    }

    fn is_operator(&self) -> bool {
        self.candidate.organization.is_operator
    }

    fn organization(&self) -> OrganizationId {
        self.candidate.organization.id
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
    async fn write(&mut self, write: &Write) -> Result<(), StoreError> {
        match write {
            Write::InsertOrganization(row) => {
                self.is_of_operator()?;
                allowed(
                    !row.is_operator,
                    "the operator's organization is marked on the host only",
                )
            }
            Write::UpdateOrganization(row) => self.organization(row).await,
            Write::DeleteOrganization(id) => {
                self.is_of_operator()?;
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
            Write::InsertUser(user) => self.may_touch(user.organization_id),
            Write::UpdateUser(user) => self.update_user(user).await,
            Write::DeleteUser(organization, _) => self.may_touch(*organization),
            Write::InsertRole(role) | Write::UpdateRole(role) => {
                self.is_of_operator()?;
                let was = self.role(&role.name).await?;
                let was = was.map(|role| role.scopes).unwrap_or_default();
                let is_granted = |scopes: &ScopeSet| was.includes(scopes) || self.acting.scopes.includes(scopes);
                allowed(is_granted(&role.scopes), MORE)
            }
            // Plans, the realm and its secrets, roles, scopes, the audit trail, and whatever comes later.
            _ => self.is_of_operator(),
        }
    }

    async fn organization(&mut self, row: &Organization) -> Result<(), StoreError> {
        let stored = self.store.get(row.id).await?.ok_or_else(not_found)?;
        is_prepared_over(stored.revision, row.revision)?;
        allowed(
            row.is_operator == stored.is_operator,
            "the operator's organization is marked on the host only",
        )?;
        if row.id != self.acting.organization() {
            return self.is_of_operator();
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
        let creator = Some(self.acting.candidate.record.id);
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
        if record.id == self.acting.candidate.record.id {
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
                }
            }
            seen += page.items.len();
            allowed(seen <= MOST_WOKEN, "the user has more keys than one call can judge")?;
            let Some(next) = page.next else { return Ok(()) };
            page = self.store.get(of_user.clone().after(next)).await?;
        }
    }

    /// Limits that an organization's plan and its row give each of its keys are no looser for those that it makes itself.
    fn bounds(&self, before: Option<&KeyRecord>, after: &KeyRecord) -> Result<(), StoreError> {
        if self.acting.is_operator() && after.organization_id != self.acting.organization() {
            return Ok(());
        }
        let had = |name: &str| before.is_some_and(|before| before.lifted_limits.contains(name));
        let lifts = after.lifted_limits.iter().any(|name| !had(name));
        let given = self.acting.candidate.given_key_limits();
        let loosens = after.limits.iter().any(|limit| {
            let is_new = before.is_none_or(|before| !before.limits.contains(limit));
            let bound = given.iter().find(|bound| bound.name() == limit.name());
            is_new && bound.is_some_and(|bound| !limit.is_within(bound))
        });
        allowed(!lifts && !loosens, OWN_BOUNDS)
    }

    /// Whether the acting key has all that this one may do.
    async fn grants(&mut self, record: &KeyRecord) -> Result<(), StoreError> {
        let mut all = record.scopes.clone();
        for name in record.roles.iter() {
            let role = self.role(name).await?;
            // One that is made tomorrow may allow anything.
            let role = role.ok_or_else(|| forbidden("there is no such role, so nobody has its scopes"))?;
            all = all.union(&role.scopes);
        }
        allowed(self.acting.scopes.includes(&all), MORE)?;
        // Keys of other organizations are made by the operator, whose own bounds are none of theirs.
        if record.organization_id != self.acting.organization() {
            return Ok(());
        }
        let own = &self.acting.candidate.record;
        allowed(are_within(&record.networks, &own.networks), FROM_ELSEWHERE)?;
        allowed(is_within(record.expires_at, own.expires_at), LONGER)?;
        let is_of_test = record.environment.as_deref() == Some("test");
        allowed(is_of_test || record.environment == own.environment, OTHER_ENVIRONMENT)
    }

    fn weakens(&mut self, record: &KeyRecord) {
        if record.organization_id == self.acting.organization() {
            self.weakened.push(record.id);
        }
    }

    /// A key that the acting one may touch.
    async fn key(&self, id: KeyId) -> Result<StoredKey, StoreError> {
        let key = match self.inserted.get(&id) {
            Some(record) => StoredKey::new(record.clone(), Vec::new()),
            None => self.store.get(id).await?.ok_or_else(not_found)?,
        };
        self.may_touch(key.record.organization_id)?;
        Ok(key)
    }

    async fn role(&mut self, name: &str) -> Result<Option<Role>, StoreError> {
        if let Some(role) = self.roles.get(name) {
            return Ok(role.clone());
        }
        let found = self
            .store
            .get(Roles::named(name).page(1))
            .await?
            .items
            .into_iter()
            .next();
        self.roles.insert(name.to_owned(), found.clone());
        Ok(found)
    }

    fn may_touch(&self, organization: OrganizationId) -> Result<(), StoreError> {
        allowed(
            organization == self.acting.organization() || self.acting.is_operator(),
            OTHERS,
        )
    }

    fn is_of_operator(&self) -> Result<(), StoreError> {
        allowed(self.acting.is_operator(), "this is for keys of the operator")
    }
}

fn allowed(holds: bool, otherwise: &'static str) -> Result<(), StoreError> {
    match holds {
        true => Ok(()),
        false => Err(forbidden(otherwise)),
    }
}

/// What was read of the row is what the change was prepared over. The store looks again, so nothing comes in between.
fn is_prepared_over(stored: u64, given: u64) -> Result<(), StoreError> {
    match stored == given {
        true => Ok(()),
        false => Err(StoreError::new(StoreErrorKind::Conflict)),
    }
}

fn forbidden(problem: &'static str) -> StoreError {
    StoreError::with_source(StoreErrorKind::Forbidden, problem)
}

fn not_found() -> StoreError {
    StoreError::new(StoreErrorKind::NotFound)
}

const OTHERS: &str = "the row is of another organization";
const OWN_BOUNDS: &str = "what bounds an organization is not changed with its own keys";
const FROM_ELSEWHERE: &str = "the key that acts may not be used from all of these networks";
const LONGER: &str = "the key that acts ends before this one";
const OTHER_ENVIRONMENT: &str = "the key that acts is of another environment";
/// Keys of a user that are judged in one call.
const MOST_WOKEN: usize = 10_000;
const PAGE: u16 = 1000;
const MORE: &str = "the key that acts does not have all of these scopes";
