//! What a principal may make and change: keys of its user, as far as it could make them.
//!
//! Every commit of its issuer is judged here by its rows. So a call that is added later cannot forget it.

use std::collections::BTreeMap;

use super::standing::Standing;
use super::steps::{Step, step, step_of_state};
use crate::issue::authority::{allowed, forbidden};
use crate::issue::judge::{is_prepared_over, not_found};
use crate::issue::narrower::{is_narrower, is_within};
use crate::key::{KeyId, KeyRecord, KeySecret, KeyState, StateChange, Subject, earlier};
use crate::store::{
    Commit, Guard, ManagedStore, StoreError, StoreErrorKind, StoreExt, StoredKey, Write, given_key_limits,
};

impl Standing {
    /// What must hold for the principal to make this commit.
    ///
    /// # Errors
    /// [`Forbidden`](StoreErrorKind::Forbidden) when it may not, [`NotFound`](StoreErrorKind::NotFound) for keys that it does not own,
    /// [`Conflict`](StoreErrorKind::Conflict) when the commit was prepared over rows that have changed since.
    pub(in crate::issue) async fn judge<S: ManagedStore>(
        &self,
        store: &S,
        commit: &Commit,
    ) -> Result<Vec<Guard>, StoreError> {
        let mut judge = Judge {
            standing: self,
            store,
            keys: BTreeMap::new(),
            weakened: Vec::new(),
            guards: Vec::new(),
            gives: false,
        };
        for guard in &commit.guards {
            judge.guard(guard).await?;
        }
        for write in &commit.writes {
            judge.write(write).await?;
        }
        // All that it does is to keys, and each event is about one that the commit changes.
        let subjects = commit.subjects();
        for event in &commit.audit {
            let is_own = event.organization_id == self.organization.id;
            let is_changed = |key| subjects.contains(&Subject::Key(key));
            allowed(is_own && event.key_id.is_some_and(is_changed), OTHERS)?;
        }
        if judge.gives {
            judge.guards.extend(self.guards());
        }
        if !judge.weakened.is_empty() {
            let (beside, at) = (judge.weakened, self.at);
            judge.guards.push(Guard::OperatorKeyLives { beside, at });
        }
        Ok(judge.guards)
    }

    /// Whether the principal could make this key.
    fn makes(&self, record: &KeyRecord) -> Result<(), StoreError> {
        allowed(self.principal.owns(record), OTHERS)?;
        allowed(self.principal.has_all(&record.scopes), SCOPES)?;
        allowed(record.roles.is_empty(), "a login gives no roles")?;
        allowed(!record.is_canary, "a login makes no canaries")?;
        allowed(
            record.requires.is_empty(),
            "a login does not say what servers must know",
        )?;
        let given = given_key_limits(&self.organization, self.plan.as_ref());
        let is_looser = record.limits.iter().any(|limit| {
            let bound = given.iter().find(|bound| bound.name() == limit.name());
            bound.is_some_and(|bound| !limit.is_within(bound))
        });
        allowed(record.lifted_limits.is_empty() && !is_looser, LIMITS)
    }
}

/// One commit that is judged.
struct Judge<'a, S> {
    standing: &'a Standing,
    store: &'a S,
    /// Those that were read, and those that the commit inserts.
    keys: BTreeMap<KeyId, StoredKey>,
    /// Keys that may be the operator's and lose something.
    weakened: Vec<KeyId>,
    /// That what was judged is still so.
    guards: Vec<Guard>,
    /// Whether a key is made or woken, or somebody gets a secret.
    gives: bool,
}

impl<S: ManagedStore> Judge<'_, S> {
    /// Whether a guard holds tells of the row that it is about.
    async fn guard(&mut self, guard: &Guard) -> Result<(), StoreError> {
        let (own, user) = (self.standing.organization.id, self.standing.principal.user());
        match guard {
            Guard::KeyRevision(key, _) | Guard::SecretEnds { key, .. } => self.key(*key).await.map(drop),
            Guard::OrganizationRevision(id, _) | Guard::LiveKeysBelow(id, _) => allowed(*id == own, OTHERS),
            Guard::UserRevision(id, of, _) | Guard::UserIsActive(id, of) => allowed(*id == own && of == user, OTHERS),
            Guard::PlanRevision(id, _) => allowed(self.standing.organization.plan == Some(*id), OTHERS),
            Guard::RoleRevision(..)
            | Guard::RoleScopes(..)
            | Guard::KnownScopesBelow(_)
            | Guard::OperatorKeyLives { .. } => Err(forbidden(OTHERS)),
        }
    }

    async fn write(&mut self, write: &Write) -> Result<(), StoreError> {
        match write {
            Write::InsertKey(record) => {
                let is_without = record.created_by_key.is_none();
                allowed(is_without, "a key that is made with a login has no creator key")?;
                self.gives(record)?;
                self.keys.insert(record.id, StoredKey::new(record.clone(), Vec::new()));
                Ok(())
            }
            Write::UpdateKey(record) => {
                let stored = self.key(record.id).await?.record;
                is_prepared_over(stored.revision, record.revision)?;
                self.change(step(&stored, record), &stored, record)?;
                let states = (KeyState::of(&stored), KeyState::of(record));
                self.change(step_of_state(&states.0, &states.1), &stored, record)
            }
            Write::SetKeyState(change) => self.set_state(change).await,
            // Who gets a secret of a key is that key.
            Write::InsertSecret(id, _) => {
                let key = self.key(*id).await?;
                self.gives(&key.record)
            }
            Write::UpdateSecret {
                key: id,
                lookup,
                expires_at,
                grace_ends_at,
            } => {
                let key = self.key(*id).await?;
                let end = earlier(*expires_at, *grace_ends_at);
                let Some(was) = key.secret(lookup) else {
                    return Err(not_found());
                };
                // Ended by hand in between, which raises no revision, it would last again.
                self.guards.push(Guard::SecretEnds {
                    key: *id,
                    lookup: lookup.clone(),
                    expires_at: was.expires_at,
                    grace_ends_at: was.grace_ends_at,
                });
                match is_within(end, KeySecret::ends_at(was)) {
                    true => Ok(()),
                    false => self.gives(&key.record),
                }
            }
            Write::DeleteSecret { key, .. } => self.key(*key).await.map(drop),
            Write::InsertIdempotency(row) => {
                let is_own = row.actor == self.standing.principal.actor() && self.keys.contains_key(&row.key_id);
                allowed(
                    is_own,
                    "what was made for an idempotency key is noted for the login that made it",
                )
            }
            // Organizations, users, plans, roles, scopes, the realm and its secrets, the audit trail, and whatever comes later. Keys
            // are not deleted: what became of them is for the service to keep.
            _ => Err(forbidden(OTHERS)),
        }
    }

    async fn set_state(&mut self, change: &StateChange) -> Result<(), StoreError> {
        let stored = self.key(change.key).await?.record;
        // Otherwise it would not be seen what the change does.
        if KeyState::of(&stored) != change.was {
            return Err(StoreError::new(StoreErrorKind::Conflict));
        }
        let mut record = stored.clone();
        change.state.clone().set(&mut record);
        self.change(step_of_state(&change.was, &change.state), &stored, &record)
    }

    fn change(&mut self, step: Step, stored: &KeyRecord, record: &KeyRecord) -> Result<(), StoreError> {
        let may_administer = stored.scopes.has_management() || !stored.roles.is_empty();
        if self.standing.organization.is_operator && may_administer && !is_narrower(stored, record) {
            self.weakened.push(stored.id);
        }
        match step {
            Step::Takes => Ok(()),
            Step::Gives => {
                self.gives(stored)?;
                self.gives(record)
            }
            Step::Forbidden => Err(forbidden(
                "a login renames keys of its user, narrows their scopes, networks and ends, and wakes what nobody else stopped",
            )),
        }
    }

    fn gives(&mut self, record: &KeyRecord) -> Result<(), StoreError> {
        self.standing.check_active()?;
        self.standing.makes(record)?;
        self.gives = true;
        Ok(())
    }

    /// A key of the principal's user, which must still be that when the commit is made. Others are not there.
    async fn key(&mut self, id: KeyId) -> Result<StoredKey, StoreError> {
        if let Some(key) = self.keys.get(&id) {
            return Ok(key.clone());
        }
        let key = self.store.get(id).await?.ok_or_else(not_found)?;
        if !self.standing.principal.owns(&key.record) {
            return Err(self.not_own(&key.record));
        }
        self.guards.push(Guard::KeyRevision(id, key.record.revision));
        self.keys.insert(id, key.clone());
        Ok(key)
    }

    /// What it sees, it may know that it may not change.
    fn not_own(&self, record: &KeyRecord) -> StoreError {
        match self.standing.sees(record) {
            true => forbidden(OTHERS),
            false => not_found(),
        }
    }
}

const OTHERS: &str = "a login changes keys of its own user, and nothing else";
const SCOPES: &str = "the login does not grant all of these scopes";
const LIMITS: &str =
    "a login lifts no limits, and gives none that are looser than those of the plan and the organization";
