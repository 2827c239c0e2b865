//! Stores that break one rule each. The kit has to name that rule.

use std::collections::HashMap;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};

use rstest::rstest;
use tower_api_key::Fence;
use tower_api_key::audit::Forget;
use tower_api_key::key::{
    Actor, IdempotencyRecord, KeyRecord, KeyState, KeyStatus, Lookup, Organization, Realm, ScopeSet, SecretForm,
    SecretHash, ServerSecretRecord, Subject, Timestamp,
};
use tower_api_key::last_use::{UseBatch, UseOfKey, UseSource};
use tower_api_key::store::query::KeyStatistics;
use tower_api_key::store::query::{
    Answer, DescendantsOf, EndedKeys, KeyFilter, Keys, OneIdempotency, OrganizationBySlug, Page, Query, Refusals,
    ServerSecretRecords, TheRealm, TypedQuery,
};
use tower_api_key::store::{
    Candidate, Change, Commit, Committed, Guard, KeyStore, ManagedStore, MemoryStore, StoreError, StoreExt, StoredKey,
    Write,
};
use tower_api_key::testing::store_conformance;

/// What a store does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    Nothing,
    NoFence,
    FindsTheFirstSecret,
    FindsNothingBySecondSecret,
    FindsByPrefix,
    IgnoresCase,
    CutsLookups,
    ForgetsEnvironment,
    ForgetsSecondLimit,
    ForgetsGrace,
    ForgetsForm,
    OrganizationIsOverwritten,
    SlugIsNotUnique,
    SlugIsTakenOver,
    SlugIgnoresCase,
    KeyIsOverwritten,
    LookupIsTakenOver,
    KeyWithoutOrganization,
    SecretWithoutKey,
    RevisionIsIgnored,
    OrganizationRevisionIsIgnored,
    RevisionStaysTheSame,
    OwnerChanges,
    OldSecretsStay,
    HashIsReplacedBlindly,
    HashTurnsTheRevision,
    HashBumps,
    OneWriteAfterTheOther,
    DeletionBumpsWithoutRevision,
    OrganizationIsDeletedWithItsKeys,
    RevisionGuardIsIgnored,
    LiveKeysGuardIsIgnored,
    SecretGuardIsIgnored,
    AuditIsMissing,
    AuditIsReversed,
    AuditComesFirst,
    AuditComesLater,
    AuditKeyIsIgnored,
    PersonsAreNotStored,
    PersonsAreKept,
    PersonsAreForgottenEverywhere,
    OldAddressesStay,
    ActorIsIgnored,
    NothingIsPruned,
    RefusalsAreCountedOnce,
    SamplesAreLost,
    RefusalsStay,
    LogIsEmpty,
    FilterIsIgnored,
    PageSkipsARow,
    PageRepeatsARow,
    CursorIsAnOffset,
    CursorIsTakenForAnyList,
    TwoSteps,
    TwoStepsToTheOrganization,
    InsertsAreNotBumped,
    OrganizationsAreNotBumped,
    OneOfSeveralIsBumped,
    BumpsAfterReturn,
    BumpsFirst,
    BumpsFirstInATask,
    OrganizationBumpsFirst,
    InsertBumpsFirst,
    BumpsInTheCaller,
    AnnouncesTheNextRevision,
    AnnouncesNoRevision,
    ImportsAreTheFirst,
    StartsBeforePolled,
    InsertsBeforePolled,
    RealmIsNew,
    RealmIsNotAnnounced,
    ServerSecretIsOverwritten,
    ServerSecretInTwoSteps,
    ServerSecretStateIsIgnored,
    ServerSecretSealIsIgnored,
    RealmIsUpdatedBlindly,
    RealmIsAdoptedBlindly,
    PurposeIsIgnored,
    CrcCountHasEndedOnes,
    StatisticsAreOfAll,
    UserGuardIsIgnored,
    RoleGuardIsIgnored,
    ScopeGuardIsIgnored,
    OperatorGuardIsIgnored,
    OperatorGuardComesFirst,
    PlanIsForgotten,
    UserIsForgotten,
    RolesAreForgotten,
    PlansAreNotAnnounced,
    UsersAreNotAnnounced,
    LabelIsIgnored,
    UsesAreCountedTwice,
    LastUseIsLost,
    AddressesOfUsesAreKept,
    NetworksAreUnbounded,
    UsesAreAnnounced,
    LeaseIsTakenOver,
    StateIsIgnored,
    StateTakesTheRecord,
    ChildrenAreAll,
    DescendantsStartAgain,
    PlanGuardIsIgnored,
    UserRevisionIsIgnored,
    RoleRevisionIsIgnored,
    HashIsAPrefix,
    HashIsOfTheLastKey,
    EndedAreOrderedById,
    EndedAreOfTheTimeBefore,
    EndedHaveMadeOthers,
    EndedAreRevokedToo,
    RefusalsOfUsersAreKept,
    RefusalsOfDeletedKeysAreKept,
    IdempotencyIsForgotten,
    IdempotencyIgnoresTheCaller,
    IdempotencyIsTakenOver,
    IdempotencyIsKeptForGood,
    IdempotencyAlone,
    IdempotencyStaysWithoutItsOrganization,
}

/// A right store, with something wrong around it. It announces its changes to a fence of its own.
struct Broken {
    inner: MemoryStore,
    fence: Fence,
    wrong: Wrong,
    /// How many rows come before a cursor.
    offsets: Mutex<HashMap<String, u32>>,
    /// Addresses of refusals that should be forgotten.
    addresses: Mutex<HashMap<uuid::Uuid, IpAddr>>,
    /// The row of an idempotency key that was read last.
    idempotency: Mutex<Option<IdempotencyRecord>>,
}

fn is_of_idempotency(commit: &Commit) -> bool {
    commit.writes.iter().any(Write::is_of_idempotency)
}

fn inserts_organization(commit: &Commit) -> bool {
    let mut writes = commit.writes.iter();
    writes.any(|write| matches!(write, Write::InsertOrganization(_)))
}

impl Broken {
    fn new(wrong: Wrong) -> Self {
        Self {
            inner: MemoryStore::new(),
            fence: Fence::new(),
            wrong,
            offsets: Mutex::default(),
            addresses: Mutex::default(),
            idempotency: Mutex::default(),
        }
    }

    fn stored(&self, lookup: &Lookup) -> Lookup {
        let text = lookup.as_str();
        let text = match self.wrong {
            Wrong::IgnoresCase => text.to_lowercase(),
            Wrong::CutsLookups => text[..text.len().min(64)].to_owned(),
            _ => text.to_owned(),
        };
        Lookup::new(&text).unwrap()
    }

    async fn make(&self, mut commit: Commit) -> Result<Committed, StoreError> {
        let mut writes = Vec::new();
        match commit.check() {
            Err(_) if self.wrong == Wrong::IdempotencyAlone && is_of_idempotency(&commit) => {
                return Ok(Committed::default());
            }
            Err(_) if self.wrong == Wrong::SecretWithoutKey && !inserts_organization(&commit) => {
                return Ok(Committed::default());
            }
            checked => checked?,
        }
        for write in std::mem::take(&mut commit.writes) {
            writes.extend(self.spoiled(write).await?);
        }
        commit.writes = writes;
        if let ([Write::DeleteOrganization(id)], Wrong::OrganizationIsDeletedWithItsKeys) =
            (&commit.writes[..], self.wrong)
        {
            let keys = self.inner.get(Keys::of(*id)).await?;
            let keys = keys.items.iter().map(|key| Write::DeleteKey(key.record.id));
            commit.writes = keys.chain([Write::DeleteOrganization(*id)]).collect();
        }
        match self.wrong {
            Wrong::AuditIsMissing => commit.audit.clear(),
            Wrong::AuditIsReversed => commit.audit.reverse(),
            Wrong::AuditKeyIsIgnored => commit.audit_key = None,
            Wrong::PersonsAreNotStored => commit.audit.iter_mut().for_each(|event| event.personal.forget()),
            Wrong::PersonsAreKept => commit.writes.retain(|write| !matches!(write, Write::ForgetPersonal(_))),
            Wrong::PersonsAreForgottenEverywhere => {
                for write in &mut commit.writes {
                    if let Write::ForgetPersonal(forget) = write
                        && let Some(user) = forget.user_id()
                    {
                        *forget = Forget::user(user.clone());
                    }
                }
            }
            Wrong::OldAddressesStay => commit
                .writes
                .retain(|write| !matches!(write, Write::ForgetOrigins { .. })),
            Wrong::NothingIsPruned => commit.writes.retain(|write| !matches!(write, Write::PruneAudit { .. })),
            Wrong::RefusalsAreCountedOnce => {
                for write in &mut commit.writes {
                    if let Write::CountRefusals(count) = write {
                        count.number = 1;
                    }
                }
            }
            Wrong::IdempotencyIsForgotten => commit
                .writes
                .retain(|write| !matches!(write, Write::InsertIdempotency(_))),
            // What is there is over for it.
            Wrong::IdempotencyIsTakenOver => {
                for write in &mut commit.writes {
                    if let Write::InsertIdempotency(row) = write {
                        let place = OneIdempotency(row.organization_id, row.actor.clone(), row.key.clone());
                        let Some(stored) = self.inner.get(place).await? else {
                            continue;
                        };
                        let before = stored.expires_at;
                        self.inner
                            .commit(Commit::new().write(Write::PruneIdempotency { before }))
                            .await?;
                    }
                }
            }
            Wrong::IdempotencyIsKeptForGood => commit
                .writes
                .retain(|write| !matches!(write, Write::PruneIdempotency { .. })),
            Wrong::SamplesAreLost => commit.writes.retain(|write| !matches!(write, Write::InsertRefusal(_))),
            Wrong::RefusalsStay => commit
                .writes
                .retain(|write| !matches!(write, Write::PruneRefusals { .. })),
            Wrong::RevisionGuardIsIgnored => commit.guards.retain(|guard| !format!("{guard:?}").contains("Revision")),
            Wrong::LiveKeysGuardIsIgnored => commit.guards.retain(|guard| !matches!(guard, Guard::LiveKeysBelow(..))),
            Wrong::RoleGuardIsIgnored => commit.guards.retain(|guard| !matches!(guard, Guard::RoleScopes(..))),
            Wrong::ScopeGuardIsIgnored => commit
                .guards
                .retain(|guard| !matches!(guard, Guard::KnownScopesBelow(_))),
            Wrong::OperatorGuardIsIgnored => commit.guards.retain(|guard| !guard.is_of_outcome()),
            Wrong::OperatorGuardComesFirst if commit.guards.iter().any(Guard::is_of_outcome) => {
                let mut guards = Commit::new();
                guards.guards = std::mem::take(&mut commit.guards);
                self.inner.commit(guards).await?;
            }
            Wrong::SecretGuardIsIgnored => commit.guards.retain(|guard| !matches!(guard, Guard::SecretEnds { .. })),
            Wrong::PlanGuardIsIgnored => commit.guards.retain(|guard| !matches!(guard, Guard::PlanRevision(..))),
            Wrong::UserRevisionIsIgnored => commit.guards.retain(|guard| !matches!(guard, Guard::UserRevision(..))),
            Wrong::RoleRevisionIsIgnored => commit.guards.retain(|guard| !matches!(guard, Guard::RoleRevision(..))),
            Wrong::RefusalsOfUsersAreKept | Wrong::RefusalsOfDeletedKeysAreKept => self.keep_addresses(&commit).await?,
            Wrong::UserGuardIsIgnored => commit.guards.retain(|guard| !matches!(guard, Guard::UserIsActive(..))),
            _ => {}
        }
        let first = commit.writes.first();
        let bumps_first = match self.wrong {
            Wrong::BumpsFirst | Wrong::BumpsFirstInATask => matches!(first, Some(Write::UpdateKey(_))),
            Wrong::InsertBumpsFirst => matches!(first, Some(Write::InsertKey(_))),
            Wrong::OrganizationBumpsFirst => matches!(first, Some(Write::UpdateOrganization(_))),
            _ => false,
        };
        if bumps_first {
            let (inner, fence) = (self.inner.clone(), self.fence.clone());
            let wrong_way_around = async move {
                fence.announce(&of(&commit.subjects(), 0));
                a_while().await;
                inner.commit(commit).await
            };
            return match self.wrong {
                Wrong::BumpsFirstInATask => tokio::spawn(wrong_way_around).await.unwrap(),
                _ => wrong_way_around.await,
            };
        }
        let hash_of = match &commit.writes[..] {
            [Write::ReplaceHash { lookup, .. }] => self.inner.find(lookup).await?.map(|found| found.record),
            _ => None,
        };
        let (is_insert, is_delete) = (
            matches!(commit.writes.first(), Some(Write::InsertKey(_))),
            matches!(commit.writes.first(), Some(Write::DeleteKey(_))),
        );
        let is_of_user = commit.writes.iter().any(|write| {
            matches!(
                write,
                Write::InsertUser(_) | Write::UpdateUser(_) | Write::DeleteUser(..)
            )
        });
        let mut committed = self.commit_inside(commit).await?;
        if self.wrong == Wrong::UsersAreNotAnnounced && is_of_user {
            return Ok(committed);
        }
        if let Some(record) = hash_of {
            self.hash_replaced(record).await?;
        }
        self.announce(&committed.changes, is_insert, is_delete).await;
        if self.wrong == Wrong::RevisionStaysTheSame {
            committed.changes = committed.changes.iter().map(|change| moved(change, -1)).collect();
        }
        Ok(committed)
    }

    /// Remembers the addresses of refusals that are to be forgotten with a user.
    async fn keep_addresses(&self, commit: &Commit) -> Result<(), StoreError> {
        let is_of_user = |write: &Write| matches!(write, Write::ForgetPersonal(whom) if whom.user_id().is_some());
        if !commit.writes.iter().any(is_of_user) {
            return Ok(());
        }
        for sample in self.inner.get(Refusals::all()).await? {
            let is_deleted = match sample.key_id {
                Some(id) => self.inner.get(id).await?.is_none(),
                None => false,
            };
            let is_kept = is_deleted || self.wrong == Wrong::RefusalsOfUsersAreKept;
            if let Some(address) = sample.address.filter(|_| is_kept) {
                self.addresses.lock().unwrap().insert(sample.id, address);
            }
        }
        Ok(())
    }

    async fn all_keys(&self) -> Result<Vec<StoredKey>, StoreError> {
        let list = Keys::all().page(1000);
        let mut page = self.inner.get(list.clone()).await?;
        let mut keys = std::mem::take(&mut page.items);
        while let Some(next) = page.next.take() {
            page = self.inner.get(list.clone().after(next)).await?;
            keys.append(&mut page.items);
        }
        Ok(keys)
    }

    async fn by_hash(&self, hash: &SecretHash) -> Result<Answer, StoreError> {
        let keys = self.all_keys().await?.into_iter();
        let has_hash = |key: &StoredKey| {
            let mut hashes = key.secrets.iter().map(|secret| secret.hash.as_str());
            match self.wrong {
                Wrong::HashIsAPrefix => hashes.any(|other| other.starts_with(hash.as_str())),
                _ => hashes.any(|other| other == hash.as_str()),
            }
        };
        let mut found = keys.filter(has_hash);
        Ok(Answer::Key(match self.wrong {
            Wrong::HashIsOfTheLastKey => found.last(),
            _ => found.next(),
        }))
    }

    async fn ended(&self, mut ended: EndedKeys) -> Result<Answer, StoreError> {
        let mut keys = self.all_keys().await?;
        match self.wrong {
            Wrong::EndedHaveMadeOthers => keys.iter_mut().for_each(|key| key.record.created_by_key = None),
            Wrong::EndedAreOfTheTimeBefore => ended.until = Timestamp::from_millis(ended.until.as_millis() - 1),
            Wrong::EndedAreRevokedToo if !ended.revoked => {
                keys.iter_mut().for_each(|key| key.record.status = KeyStatus::Active);
            }
            _ => {}
        }
        let mut records = ended.among(&keys);
        if self.wrong == Wrong::EndedAreOrderedById {
            records.sort_by_key(|record| record.id);
        }
        Ok(Answer::KeyRecords(records))
    }

    /// What this store makes of a write.
    async fn spoiled(&self, write: Write) -> Result<Vec<Write>, StoreError> {
        Ok(vec![match write {
            Write::InsertOrganization(mut organization) if self.wrong == Wrong::OrganizationIsOverwritten => {
                match self.inner.get(organization.id).await? {
                    Some(stored) => {
                        organization.revision = stored.revision;
                        Write::UpdateOrganization(organization)
                    }
                    None => Write::InsertOrganization(organization),
                }
            }
            Write::InsertOrganization(mut organization) if self.wrong == Wrong::SlugIsNotUnique => {
                let owner = self.inner.get(OrganizationBySlug(organization.slug.clone())).await?;
                if owner.is_some_and(|owner| owner.id != organization.id) {
                    organization.slug = Organization::new("").slug;
                }
                Write::InsertOrganization(organization)
            }
            Write::UpdateOrganization(organization) if self.wrong == Wrong::SlugIsTakenOver => {
                let mut writes = Vec::new();
                let owner = self.inner.get(OrganizationBySlug(organization.slug.clone())).await?;
                if let Some(mut owner) = owner.filter(|owner| owner.id != organization.id) {
                    owner.slug = Organization::new("").slug;
                    writes.push(Write::UpdateOrganization(owner));
                }
                writes.push(Write::UpdateOrganization(organization));
                return Ok(writes);
            }
            Write::UpdateOrganization(mut organization) if self.wrong == Wrong::OrganizationRevisionIsIgnored => {
                if let Some(stored) = self.inner.get(organization.id).await? {
                    organization.revision = stored.revision;
                }
                Write::UpdateOrganization(organization)
            }
            Write::InsertKey(record) => return self.spoiled_key(record).await,
            Write::UpdateKey(mut record) => {
                if let Some(stored) = self.inner.get(record.id).await? {
                    match self.wrong {
                        Wrong::RevisionIsIgnored => record.revision = stored.record.revision,
                        Wrong::OwnerChanges => record.organization_id = stored.record.organization_id,
                        _ => {}
                    }
                }
                Write::UpdateKey(record)
            }
            Write::SetKeyState(mut change) => {
                let stored = self.inner.get(change.key).await?.map(|stored| stored.record);
                if let Some(record) = &stored
                    && self.wrong == Wrong::StateIsIgnored
                {
                    change.was = KeyState::of(record);
                }
                if let Some(mut record) = stored
                    && self.wrong == Wrong::StateTakesTheRecord
                {
                    change.state.set(&mut record);
                    record.revision = change.revision;
                    return Ok(vec![Write::UpdateKey(record)]);
                }
                Write::SetKeyState(change)
            }
            Write::InsertSecret(id, mut secret) => {
                secret.lookup = self.stored(&secret.lookup);
                match self.wrong {
                    Wrong::ForgetsGrace => secret.grace_ends_at = None,
                    Wrong::ForgetsForm => secret.form = SecretForm::Foreign,
                    _ => {}
                }
                let mut writes = Vec::new();
                if self.wrong == Wrong::LookupIsTakenOver
                    && let Some(found) = self.inner.find(&secret.lookup).await?
                {
                    writes.push(Write::UpdateKey(found.record.clone()));
                    writes.push(Write::DeleteSecret {
                        key: found.record.id,
                        lookup: secret.lookup.clone(),
                    });
                }
                writes.push(Write::InsertSecret(id, secret));
                return Ok(writes);
            }
            Write::InsertServerSecret(row) => return self.spoiled_server_secret(row).await,
            Write::UpdateServerSecret { mut was, row } => {
                if self.wrong == Wrong::ServerSecretStateIsIgnored
                    && let Some(stored) = self.server_secret(&row).await?
                {
                    was.state = stored.state;
                }
                if self.wrong == Wrong::ServerSecretSealIsIgnored
                    && let Some(stored) = self.server_secret(&row).await?
                {
                    let state = was.state;
                    was = stored;
                    was.state = state;
                }
                Write::UpdateServerSecret { was, row }
            }
            Write::UpdateRealm { mut was, row } => {
                if self.wrong == Wrong::RealmIsUpdatedBlindly && was.id == self.inner.get(TheRealm).await?.id {
                    was = self.inner.get(TheRealm).await?;
                }
                Write::UpdateRealm { was, row }
            }
            Write::AdoptRealm { row, .. } if self.wrong == Wrong::RealmIsAdoptedBlindly => Write::AdoptRealm {
                was: self.inner.get(TheRealm).await?,
                row,
            },
            Write::DeleteSecret { .. } if self.wrong == Wrong::OldSecretsStay => return Ok(Vec::new()),
            Write::ReplaceHash { lookup, mut old, new } => {
                if self.wrong == Wrong::HashIsReplacedBlindly
                    && let Some(found) = self.inner.find(&lookup).await?
                {
                    old = found.secret.hash;
                }
                Write::ReplaceHash { lookup, old, new }
            }
            Write::AddUses(batch) if self.wrong == Wrong::UsesAreCountedTwice => {
                let mut again = UseBatch::clone(&batch);
                again.source = UseSource::new();
                Write::AddUses(again.into())
            }
            Write::AddUses(batch) if self.wrong == Wrong::UsesAreAnnounced => {
                let keys = batch.secrets.iter().map(|used| Change::new(used.key_id, 0));
                self.fence.announce(&keys.collect::<Vec<_>>());
                Write::AddUses(batch)
            }
            Write::HoldLease { task, lasts, .. } if self.wrong == Wrong::LeaseIsTakenOver => Write::HoldLease {
                task,
                holder: Default::default(),
                lasts,
            },
            write => write,
        }])
    }

    async fn spoiled_key(&self, mut record: KeyRecord) -> Result<Vec<Write>, StoreError> {
        match self.wrong {
            Wrong::ForgetsEnvironment => record.environment = None,
            Wrong::ForgetsSecondLimit => record.limits.truncate(1),
            Wrong::ImportsAreTheFirst => record.revision = 1,
            Wrong::KeyWithoutOrganization if self.inner.get(record.organization_id).await?.is_none() => {
                let mut organization = Organization::new("made up");
                organization.id = record.organization_id;
                return Ok(vec![Write::InsertOrganization(organization), Write::InsertKey(record)]);
            }
            Wrong::KeyIsOverwritten => {
                if let Some(stored) = self.inner.get(record.id).await? {
                    record.revision = stored.record.revision;
                    return Ok(vec![Write::UpdateKey(record)]);
                }
            }
            _ => {}
        }
        Ok(vec![Write::InsertKey(record)])
    }

    async fn spoiled_server_secret(&self, row: ServerSecretRecord) -> Result<Vec<Write>, StoreError> {
        let is_free = self.server_secret(&row).await?.is_none();
        if self.wrong == Wrong::ServerSecretInTwoSteps && is_free {
            // Until the others have found it free too, also those on another thread of a busy machine.
            for _ in 0..10_000 {
                tokio::task::yield_now().await;
            }
        }
        let overwrites = match self.wrong {
            Wrong::ServerSecretIsOverwritten => true,
            Wrong::ServerSecretInTwoSteps => is_free,
            _ => false,
        };
        Ok(match self.server_secret(&row).await? {
            Some(stored) if overwrites => {
                let was = stored;
                vec![Write::UpdateServerSecret { was, row }]
            }
            _ => vec![Write::InsertServerSecret(row)],
        })
    }

    async fn server_secret(&self, row: &ServerSecretRecord) -> Result<Option<ServerSecretRecord>, StoreError> {
        let stored = self.inner.get(ServerSecretRecords::of(row.purpose.clone())).await?;
        let is_same = |other: &ServerSecretRecord| (&other.id, other.number) == (&row.id, row.number);
        Ok(stored.into_iter().find(is_same))
    }

    /// In one transaction, as it should be, or in several.
    async fn commit_inside(&self, mut commit: Commit) -> Result<Committed, StoreError> {
        let audit = |commit: &mut Commit| {
            let mut alone = Commit::new();
            alone.id = commit.id;
            alone.audit = std::mem::take(&mut commit.audit);
            alone
        };
        match self.wrong {
            Wrong::AuditComesFirst => {
                let alone = audit(&mut commit);
                self.inner.commit(alone).await?;
                tokio::task::yield_now().await;
                self.inner.commit(commit).await
            }
            Wrong::AuditComesLater => {
                let alone = audit(&mut commit);
                let committed = self.inner.commit(commit).await?;
                tokio::task::yield_now().await;
                self.inner.commit(alone).await?;
                Ok(committed)
            }
            // Those of secrets belong to the key before them.
            Wrong::OneWriteAfterTheOther => {
                commit.check()?;
                let mut changes = Vec::new();
                let mut writes = std::mem::take(&mut commit.writes).into_iter().peekable();
                while let Some(write) = writes.next() {
                    let mut part = Commit::new().write(write);
                    while let Some(secret) = writes.next_if(|next| Commit::new().write(next.clone()).check().is_err()) {
                        part = part.write(secret);
                    }
                    part.guards.clone_from(&commit.guards);
                    changes.extend(self.inner.commit(part).await?.changes);
                }
                self.inner.commit(commit).await?;
                Ok(Committed::new(changes))
            }
            _ => self.inner.commit(commit).await,
        }
    }

    async fn hash_replaced(&self, record: KeyRecord) -> Result<(), StoreError> {
        match self.wrong {
            Wrong::HashTurnsTheRevision => {
                drop(self.inner.commit(Commit::new().write(Write::UpdateKey(record))).await?)
            }
            Wrong::HashBumps => self.fence.announce(&[Change::new(record.id, 0)]),
            _ => {}
        }
        Ok(())
    }

    /// Announces a commit, early or late or not at all.
    async fn announce(&self, changes: &[Change], is_insert: bool, is_delete: bool) {
        let fence = self.fence.clone();
        let is_key = |change: &&Change| matches!(change.subject(), Subject::Key(_));
        let (keys, mut others): (Vec<Change>, Vec<Change>) = changes.iter().partition(is_key);
        if self.wrong == Wrong::RealmIsNotAnnounced {
            others.retain(|change| change.subject() != Subject::Realm);
        }
        if self.wrong == Wrong::PlansAreNotAnnounced {
            others.retain(|change| !matches!(change.subject(), Subject::Plan(_)));
        }
        match self.wrong {
            Wrong::OneOfSeveralIsBumped => return fence.announce(&changes[..changes.len().min(1)]),
            Wrong::OrganizationsAreNotBumped => {}
            _ => fence.announce(&others),
        }
        match self.wrong {
            Wrong::InsertsAreNotBumped if is_insert => {}
            Wrong::DeletionBumpsWithoutRevision if is_delete => {
                fence.announce(
                    &keys
                        .iter()
                        .map(|change| Change::new(change.subject(), 0))
                        .collect::<Vec<_>>(),
                );
            }
            Wrong::BumpsAfterReturn => {
                tokio::spawn(async move {
                    a_while().await;
                    fence.announce(&keys);
                });
            }
            Wrong::BumpsInTheCaller => {
                tokio::task::yield_now().await;
                fence.announce(&keys);
            }
            Wrong::AnnouncesTheNextRevision if !is_delete => {
                fence.announce(&keys.iter().map(|change| moved(change, 1)).collect::<Vec<_>>());
            }
            Wrong::AnnouncesNoRevision if !is_delete => {
                fence.announce(
                    &keys
                        .iter()
                        .map(|change| Change::new(change.subject(), 0))
                        .collect::<Vec<_>>(),
                );
            }
            _ => fence.announce(&keys),
        }
    }

    async fn answer(&self, query: Query) -> Result<Answer, StoreError> {
        match query {
            Query::Keys(filter, page) => self.keys(filter, page).await,
            Query::OrganizationBySlug(slug) if self.wrong == Wrong::SlugIgnoresCase => {
                self.inner.read(Query::OrganizationBySlug(slug.to_lowercase())).await
            }
            Query::Changes { .. } if self.wrong == Wrong::LogIsEmpty => Ok(Answer::Changes(Vec::new())),
            Query::ServerSecrets(_) if self.wrong == Wrong::PurposeIsIgnored => {
                self.inner.read(ServerSecretRecords::all().query()).await
            }
            Query::CountKeysOfForm { form, .. } if self.wrong == Wrong::CrcCountHasEndedOnes => {
                let at = Timestamp::from_millis(0);
                self.inner.read(Query::CountKeysOfForm { form, at }).await
            }
            Query::Statistics(query) if self.wrong == Wrong::StatisticsAreOfAll => self
                .inner
                .get(KeyStatistics::at(query.at))
                .await
                .map(Answer::Statistics),
            Query::Idempotency(organization, _, key) if self.wrong == Wrong::IdempotencyIgnoresTheCaller => {
                let caller = Actor::user("alice");
                self.inner.read(Query::Idempotency(organization, caller, key)).await
            }
            Query::Idempotency(organization, ..) if self.wrong == Wrong::IdempotencyStaysWithoutItsOrganization => {
                let is_gone = self.inner.get(organization).await?.is_none();
                let seen = self.idempotency.lock().unwrap().clone();
                if is_gone {
                    return Ok(Answer::Idempotency(seen));
                }
                let answer = self.inner.read(query).await?;
                if let Answer::Idempotency(row) = &answer {
                    self.idempotency.lock().unwrap().clone_from(row);
                }
                Ok(answer)
            }
            Query::Realm if self.wrong == Wrong::RealmIsNew => Ok(Answer::Realm(Realm::new(Timestamp::now()))),
            Query::KeyUses(_) => {
                let mut answer = self.inner.read(query).await?;
                if let Answer::KeyUses(uses) = &mut answer {
                    uses.iter_mut().for_each(|of| self.spoil_uses(of));
                }
                Ok(answer)
            }
            Query::KeyByHash(hash) if matches!(self.wrong, Wrong::HashIsAPrefix | Wrong::HashIsOfTheLastKey) => {
                self.by_hash(&hash).await
            }
            Query::EndedKeys(ended) => self.ended(ended).await,
            Query::Refusals(_) => {
                let mut answer = self.inner.read(query).await?;
                if let Answer::Refusals(samples) = &mut answer {
                    let kept = self.addresses.lock().unwrap();
                    for sample in samples {
                        sample.address = sample.address.or(kept.get(&sample.id).copied());
                    }
                }
                Ok(answer)
            }
            Query::DescendantsOf(of) if self.wrong == Wrong::DescendantsStartAgain => {
                self.inner.read(DescendantsOf::key(of.key).query()).await
            }
            Query::DescendantsOf(of) if self.wrong == Wrong::ChildrenAreAll => {
                let children = self.inner.get(Keys::all().created_by_key(of.key)).await?;
                Ok(Answer::KeyRecords(
                    children.items.into_iter().map(|key| key.record).collect(),
                ))
            }
            query => self.inner.read(query).await,
        }
    }

    fn spoil_uses(&self, of: &mut UseOfKey) {
        let used = of.secrets.iter_mut().filter(|secret| secret.requests > 0);
        match self.wrong {
            Wrong::LastUseIsLost => used.for_each(|secret| secret.last_used_at = None),
            Wrong::AddressesOfUsesAreKept => used
                .filter(|secret| secret.last_address.is_none())
                .for_each(|secret| secret.last_address = "::1".parse().ok()),
            Wrong::NetworksAreUnbounded if of.networks.len() == UseOfKey::MOST_NETWORKS => {
                of.networks.extend(of.networks.last().cloned());
            }
            _ => {}
        }
    }

    async fn keys(&self, mut filter: KeyFilter, page: Page) -> Result<Answer, StoreError> {
        match self.wrong {
            Wrong::FilterIsIgnored => filter.status = None,
            Wrong::LabelIsIgnored => filter.label = None,
            _ => {}
        }
        let size = u16::try_from(page.limit() - 1).unwrap();
        let (cursor, mut offset) = (page.cursor().map(|cursor| cursor.to_string()), page.skip());
        let mut asked = page.clone();
        if let (Some(cursor), Wrong::CursorIsAnOffset) = (&cursor, self.wrong) {
            // A cursor of another list is refused all the same.
            page.start(&filter)?;
            offset += self.offsets.lock().unwrap()[cursor];
            asked = Page::new(size).offset(offset).unwrap();
        }
        if self.wrong == Wrong::CursorIsTakenForAnyList && page.start(&filter).is_err() {
            asked = Page::new(size);
        }
        let Answer::Keys(mut keys) = self.inner.read(Query::Keys(filter, asked)).await? else {
            panic!("another answer");
        };
        if let Some(next) = &keys.next {
            let before = offset + u32::from(size);
            self.offsets.lock().unwrap().insert(next.to_string(), before);
        }
        if cursor.is_some() && !keys.items.is_empty() {
            match self.wrong {
                Wrong::PageSkipsARow => drop(keys.items.remove(0)),
                Wrong::PageRepeatsARow => keys.items.insert(0, keys.items[0].clone()),
                _ => {}
            }
        }
        Ok(Answer::Keys(keys))
    }
}

/// As long as a commit to a disk might take, in turns of the runtime.
async fn a_while() {
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
}

fn of(subjects: &[Subject], revision: u64) -> Vec<Change> {
    let changes = subjects.iter().map(|subject| Change::new(*subject, revision));
    changes.collect()
}

fn moved(change: &Change, by: i64) -> Change {
    Change::new(change.subject(), change.revision().saturating_add_signed(by))
}

impl KeyStore for Broken {
    async fn find(&self, lookup: &Lookup) -> Result<Option<Candidate>, StoreError> {
        if self.wrong == Wrong::FindsByPrefix && lookup.as_str().ends_with('%') {
            let shorter = Lookup::new(lookup.as_str().trim_end_matches('%')).unwrap();
            return self.inner.find(&shorter).await;
        }
        let lookup = self.stored(lookup);
        let Some(mut candidate) = self.inner.find(&lookup).await? else {
            return Ok(None);
        };
        let key = self.inner.get(candidate.record.id).await?.unwrap();
        if self.wrong == Wrong::FindsTheFirstSecret {
            candidate.secret = key.secrets[0].clone();
        }
        if self.wrong == Wrong::FindsNothingBySecondSecret && key.secrets[0].lookup != lookup {
            return Ok(None);
        }
        if self.wrong == Wrong::TwoSteps {
            tokio::task::yield_now().await;
            if let Some(key) = self.inner.get(candidate.record.id).await? {
                candidate.record = key.record;
            }
        }
        if self.wrong == Wrong::TwoStepsToTheOrganization {
            tokio::task::yield_now().await;
            let organization = self.inner.get(candidate.organization.id).await?;
            candidate.organization = organization.unwrap();
        }
        match self.wrong {
            Wrong::PlanIsForgotten => candidate.plan = None,
            Wrong::UserIsForgotten => candidate.user = None,
            Wrong::RolesAreForgotten => candidate.role_scopes = ScopeSet::default(),
            _ => {}
        }
        Ok(Some(candidate))
    }

    fn fence(&self) -> Option<&Fence> {
        (self.wrong != Wrong::NoFence).then_some(&self.fence)
    }
}

impl ManagedStore for Broken {
    fn commit(&self, commit: Commit) -> impl Future<Output = Result<Committed, StoreError>> + Send {
        let is_update = matches!(commit.writes.first(), Some(Write::UpdateKey(_)));
        if self.wrong == Wrong::StartsBeforePolled && is_update {
            self.fence.announce(&of(&commit.subjects(), 0));
        }
        let mut made = Box::pin(self.make(commit));
        let mut early = None;
        if self.wrong == Wrong::InsertsBeforePolled
            && let Poll::Ready(answer) = made.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        {
            early = Some(answer);
        }
        async move {
            match early {
                Some(answer) => answer,
                None => made.await,
            }
        }
    }

    async fn read(&self, query: Query) -> Result<Answer, StoreError> {
        let query = match query {
            Query::AuditEvents(mut filter, page) if self.wrong == Wrong::ActorIsIgnored => {
                filter.actor = None;
                Query::AuditEvents(filter, page)
            }
            query => query,
        };
        self.answer(query).await
    }
}

/// Runs the kit on such a store; what it says, if it says something.
fn verdict(wrong: Wrong) -> Option<String> {
    let mut builder = match wrong {
        // Which of two threads is first is left to the machine; on one thread, each task has its turns.
        Wrong::BumpsFirstInATask => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = builder.worker_threads(2).enable_all().build().unwrap();
    let run = || runtime.block_on(store_conformance(async || Broken::new(wrong)));
    let panic = catch_unwind(AssertUnwindSafe(run)).err()?;
    Some(panic.downcast_ref::<String>().expect("a message").clone())
}

#[test]
fn store_with_nothing_wrong_passes() {
    assert_eq!(verdict(Wrong::Nothing), None);
}

#[rstest]
#[case(Wrong::NoFence, "a store that writes has no fence")]
#[case(Wrong::FindsTheFirstSecret, "the one secret that the lookup belongs to")]
#[case(Wrong::FindsNothingBySecondSecret, "the one secret that the lookup belongs to")]
#[case(Wrong::FindsByPrefix, "byte by byte")]
#[case(Wrong::IgnoresCase, "byte by byte")]
#[case(Wrong::CutsLookups, "up to 128 characters")]
#[case(Wrong::ForgetsEnvironment, "a key comes back as it was written")]
#[case(Wrong::ForgetsSecondLimit, "a key comes back as it was written")]
#[case(Wrong::ForgetsGrace, "a key comes back as it was written")]
#[case(Wrong::ForgetsForm, "a key comes back as it was written")]
#[case(Wrong::RevisionStaysTheSame, "a key comes back as it was written")]
#[case(Wrong::OrganizationIsOverwritten, "inserting an organization never overwrites")]
#[case(Wrong::SlugIsNotUnique, "slugs are unique")]
#[case(Wrong::SlugIsTakenOver, "slugs are unique")]
#[case(Wrong::SlugIgnoresCase, "slugs are unique")]
#[case(Wrong::KeyIsOverwritten, "inserting a key never overwrites")]
#[case(Wrong::LookupIsTakenOver, "inserting a key never overwrites")]
#[case(Wrong::KeyWithoutOrganization, "a key has an organization")]
#[case(Wrong::SecretWithoutKey, "a secret is written together with its key")]
#[case(Wrong::RevisionIsIgnored, "an update of a key names the revision it read")]
#[case(
    Wrong::OrganizationRevisionIsIgnored,
    "an update of an organization names the revision it read"
)]
#[case(Wrong::OwnerChanges, "a key never changes its owner")]
#[case(Wrong::OldSecretsStay, "secrets are inserted, updated and deleted one by one")]
#[case(Wrong::HashIsReplacedBlindly, "replacing a hash replaces the one it names")]
#[case(Wrong::HashTurnsTheRevision, "replacing a hash replaces the one it names")]
#[case(Wrong::OneWriteAfterTheOther, "a commit is made whole or not at all")]
#[case(Wrong::DeletionBumpsWithoutRevision, "a deleted key is gone with its secrets")]
#[case(
    Wrong::OrganizationIsDeletedWithItsKeys,
    "an organization is deleted only when it has no keys"
)]
#[case(Wrong::RevisionGuardIsIgnored, "a guard on a revision holds")]
#[case(Wrong::SecretGuardIsIgnored, "a guard on the ends of a secret holds")]
#[case(Wrong::LiveKeysGuardIsIgnored, "a guard on the number of keys holds")]
#[case(Wrong::AuditIsMissing, "audit events are stored with their change")]
#[case(Wrong::AuditIsReversed, "audit events are stored with their change")]
#[case(Wrong::AuditComesFirst, "a guard on a revision holds, or nothing is written")]
#[case(Wrong::AuditComesLater, "a change and its audit event are seen together")]
#[case(Wrong::AuditKeyIsIgnored, "an audit chain verifies as it is stored")]
#[case(Wrong::PersonsAreNotStored, "an audit chain verifies as it is stored")]
#[case(Wrong::PersonsAreKept, "persons are forgotten, and their audit events stay")]
#[case(
    Wrong::PersonsAreForgottenEverywhere,
    "persons are forgotten, and their audit events stay"
)]
#[case(Wrong::OldAddressesStay, "addresses of old audit events are forgotten")]
#[case(Wrong::ActorIsIgnored, "a list of audit events has those that match")]
#[case(Wrong::NothingIsPruned, "retention cuts an audit chain at its start")]
#[case(Wrong::RefusalsAreCountedOnce, "refusals are counted by hour, organization and kind")]
#[case(Wrong::SamplesAreLost, "samples of refusals come back as they were written")]
#[case(Wrong::RefusalsStay, "old refusals are deleted")]
#[case(Wrong::LogIsEmpty, "the change log has updates and deletions")]
#[case(Wrong::RealmIsNew, "a realm has one identity")]
#[case(Wrong::PurposeIsIgnored, "a secret of the servers comes back as it was written")]
#[case(Wrong::ServerSecretIsOverwritten, "a secret of the servers never overwrites")]
#[case(Wrong::ServerSecretInTwoSteps, "of several first secrets of the servers exactly one")]
#[case(Wrong::ServerSecretStateIsIgnored, "names the state it read")]
#[case(Wrong::ServerSecretSealIsIgnored, "undoes no other update")]
#[case(Wrong::RealmIsUpdatedBlindly, "a realm has one identity")]
#[case(Wrong::RealmIsAdoptedBlindly, "a copy gets another identity")]
#[case(Wrong::RealmIsNotAnnounced, "its secrets concerns every key")]
#[case(Wrong::CrcCountHasEndedOnes, "living keys of a form are counted")]
#[case(Wrong::StatisticsAreOfAll, "keys are counted by status")]
#[case(Wrong::UserGuardIsIgnored, "a guard on a user holds")]
#[case(Wrong::RoleGuardIsIgnored, "a guard on what a role allows holds")]
#[case(Wrong::ScopeGuardIsIgnored, "a guard on the number of known scopes holds")]
#[case(Wrong::OperatorGuardIsIgnored, "the last key of the operator stays")]
#[case(Wrong::OperatorGuardComesFirst, "the last key of the operator stays")]
#[case(Wrong::PlanIsForgotten, "an organization has a plan that is there")]
#[case(Wrong::UserIsForgotten, "a user comes back as it was written")]
#[case(Wrong::RolesAreForgotten, "keys have its scopes")]
#[case(Wrong::PlansAreNotAnnounced, "what keys share concerns all of them")]
#[case(Wrong::UsersAreNotAnnounced, "what keys share concerns all of them")]
#[case(Wrong::UsesAreCountedTwice, "a batch of uses is counted once")]
#[case(Wrong::LastUseIsLost, "uses of a key are added up")]
#[case(Wrong::AddressesOfUsesAreKept, "addresses of uses are forgotten")]
#[case(Wrong::NetworksAreUnbounded, "a bounded number of networks")]
#[case(Wrong::UsesAreAnnounced, "a use changes no key")]
#[case(Wrong::LeaseIsTakenOver, "a lease has one holder")]
#[case(Wrong::StateIsIgnored, "a change of a key's state names the state it read")]
#[case(Wrong::StateTakesTheRecord, "a change of a key's state names the state it read")]
#[case(Wrong::ChildrenAreAll, "a key made those that it created")]
#[case(Wrong::DescendantsStartAgain, "a key made those that it created")]
#[case(Wrong::PlanGuardIsIgnored, "a guard on a revision holds")]
#[case(Wrong::UserRevisionIsIgnored, "a guard on a revision holds")]
#[case(Wrong::RoleRevisionIsIgnored, "a guard on a revision holds")]
#[case(Wrong::HashIsAPrefix, "a key is found by the exact text of a hash")]
#[case(Wrong::HashIsOfTheLastKey, "a key is found by the exact text of a hash")]
#[case(
    Wrong::EndedAreOrderedById,
    "keys that ended long ago come in the order of their ends"
)]
#[case(
    Wrong::EndedAreOfTheTimeBefore,
    "keys that ended long ago come in the order of their ends"
)]
#[case(
    Wrong::EndedHaveMadeOthers,
    "keys that ended long ago come in the order of their ends"
)]
#[case(
    Wrong::EndedAreRevokedToo,
    "keys that ended long ago come in the order of their ends"
)]
#[case(
    Wrong::RefusalsOfUsersAreKept,
    "refusals of a user's keys are forgotten with the user"
)]
#[case(
    Wrong::RefusalsOfDeletedKeysAreKept,
    "refusals of a user's keys are forgotten with the user"
)]
#[case(
    Wrong::IdempotencyIsForgotten,
    "what was made for an idempotency key comes back as it was written"
)]
#[case(
    Wrong::IdempotencyIgnoresTheCaller,
    "what was made for an idempotency key comes back as it was written"
)]
#[case(
    Wrong::IdempotencyIsTakenOver,
    "for an idempotency key one key is made until its row is over"
)]
#[case(
    Wrong::IdempotencyIsKeptForGood,
    "what was made for idempotency keys is deleted when it is over"
)]
#[case(
    Wrong::IdempotencyAlone,
    "what was made for an idempotency key is written together with its key"
)]
#[case(
    Wrong::IdempotencyStaysWithoutItsOrganization,
    "what was made for idempotency keys is deleted when it is over"
)]
#[case(Wrong::LabelIsIgnored, "a list of keys has those that match")]
#[case(Wrong::FilterIsIgnored, "a list of keys has those that match")]
#[case(Wrong::PageSkipsARow, "a list of keys has those that match")]
#[case(Wrong::PageRepeatsARow, "a list of keys has those that match")]
#[case(Wrong::CursorIsTakenForAnyList, "a cursor of another list is refused")]
#[case(
    Wrong::CursorIsAnOffset,
    "a walk by cursor shows each row that was there throughout once"
)]
#[case(Wrong::HashBumps, "replacing a hash announces nothing")]
#[case(Wrong::TwoSteps, "a reader never sees half of a change")]
#[case(Wrong::TwoStepsToTheOrganization, "a reader never sees half of a change")]
#[case(Wrong::InsertsAreNotBumped, "announced before its commit returns\": insert_key")]
#[case(
    Wrong::OrganizationsAreNotBumped,
    "announced before its commit returns\": insert_organization"
)]
#[case(Wrong::BumpsAfterReturn, "announced before its commit returns")]
#[case(Wrong::OneOfSeveralIsBumped, "every change of a commit is announced")]
#[case(Wrong::BumpsFirst, "the announcement comes after the change can be read")]
#[case(Wrong::BumpsFirstInATask, "the announcement comes after the change can be read")]
#[case(Wrong::OrganizationBumpsFirst, "the announcement comes after the change can be read")]
#[case(Wrong::InsertBumpsFirst, "the announcement comes after the change can be read")]
#[case(
    Wrong::AnnouncesTheNextRevision,
    "announced with the revision that it has\": a higher one"
)]
#[case(Wrong::AnnouncesNoRevision, "announced with the revision that it has\": a lower one")]
#[case(Wrong::ImportsAreTheFirst, "announced with the revision that it has")]
#[case(
    Wrong::BumpsInTheCaller,
    "a change whose caller went away is announced, or never made"
)]
#[case(Wrong::StartsBeforePolled, "a future that was never polled does nothing")]
#[case(Wrong::InsertsBeforePolled, "a future that was never polled does nothing")]
fn broken_rule_is_named(#[case] wrong: Wrong, #[case] rule: &str) {
    let message = verdict(wrong).unwrap_or_else(|| panic!("{wrong:?} was not noticed"));
    assert!(message.contains(rule), "{wrong:?}: {message}");
}
