//! Stores that break one rule each. The kit has to name that rule.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Poll, Waker};

use rstest::rstest;
use tower_api_key::Fence;
use tower_api_key::key::{KeyId, KeyRecord, KeySecret, Lookup, Organization, OrganizationId, SecretHash};
use tower_api_key::store::{Candidate, KeyStore, ManageKeys, MemoryStore, StoreError, StoredKey};
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
    OrganizationIsOverwritten,
    KeyIsOverwritten,
    LookupIsTakenOver,
    KeyWithoutOrganization,
    RevisionIsIgnored,
    OrganizationRevisionIsIgnored,
    RevisionStaysTheSame,
    OwnerChanges,
    OldSecretsStay,
    HashIsReplacedBlindly,
    HashTurnsTheRevision,
    HashBumps,
    TwoSteps,
    TwoStepsToTheOrganization,
    InsertsAreNotBumped,
    OrganizationsAreNotBumped,
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
}

/// A right store, with something wrong around it. What it says of changes it says on a fence of its own.
struct Broken {
    inner: MemoryStore,
    fence: Fence,
    wrong: Wrong,
}

impl Broken {
    fn new(wrong: Wrong) -> Self {
        Self {
            inner: MemoryStore::new(),
            fence: Fence::new(),
            wrong,
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

    /// Bumps, early or late or not at all, around a commit.
    async fn commit<T>(
        &self,
        id: KeyId,
        first: u64,
        commit: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let fence = self.fence.clone();
        let revision = self.inner.key(id).await?.map_or(first, |key| key.record.revision + 1);
        let is_insert = self.inner.key(id).await?.is_none();
        if self.wrong == Wrong::BumpsFirst || self.wrong == Wrong::InsertBumpsFirst && is_insert {
            fence.key_changed(id, 0);
            a_while().await;
            return commit.await;
        }
        let value = commit.await?;
        match self.wrong {
            Wrong::BumpsAfterReturn => {
                tokio::spawn(async move {
                    a_while().await;
                    fence.key_changed(id, revision);
                });
            }
            Wrong::BumpsInTheCaller => {
                tokio::task::yield_now().await;
                fence.key_changed(id, revision);
            }
            Wrong::AnnouncesTheNextRevision => fence.key_changed(id, revision + 1),
            Wrong::AnnouncesNoRevision => fence.key_changed(id, 0),
            _ => fence.key_changed(id, revision),
        }
        Ok(value)
    }

    /// In a task of its own, as the contract asks; but the wrong way around.
    async fn commit_in_a_task(&self, key: StoredKey) -> Result<KeyRecord, StoreError> {
        let (store, fence) = (self.inner.clone(), self.fence.clone());
        let change = tokio::spawn(async move {
            fence.key_changed(key.record.id, 0);
            a_while().await;
            store.update_key(key).await
        });
        change.await.unwrap()
    }

    fn organization_committed(&self, id: OrganizationId, revision: u64) {
        if self.wrong != Wrong::OrganizationsAreNotBumped {
            self.fence.organization_changed(id, revision);
        }
    }
}

/// As long as a commit to a disk might take, in turns of the runtime.
async fn a_while() {
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
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
        let key = self.inner.key(candidate.record.id).await?.unwrap();
        if self.wrong == Wrong::FindsTheFirstSecret {
            candidate.secret = key.secrets[0].clone();
        }
        if self.wrong == Wrong::FindsNothingBySecondSecret && key.secrets[0].lookup != lookup {
            return Ok(None);
        }
        if self.wrong == Wrong::TwoSteps {
            tokio::task::yield_now().await;
            if let Some(key) = self.inner.key(candidate.record.id).await? {
                candidate.record = key.record;
            }
        }
        if self.wrong == Wrong::TwoStepsToTheOrganization {
            tokio::task::yield_now().await;
            let organization = self.inner.organization(candidate.organization.id).await?;
            candidate.organization = organization.unwrap();
        }
        Ok(Some(candidate))
    }

    fn fence(&self) -> Option<&Fence> {
        (self.wrong != Wrong::NoFence).then_some(&self.fence)
    }
}

impl ManageKeys for Broken {
    fn insert_organization(&self, organization: Organization) -> impl Future<Output = Result<(), StoreError>> + Send {
        let mut insert = Box::pin(async move {
            let (id, revision) = (organization.id, organization.revision);
            let inserted = self.inner.insert_organization(organization.clone()).await;
            if inserted.is_err() && self.wrong == Wrong::OrganizationIsOverwritten {
                self.inner.update_organization(organization).await?;
                return Ok(());
            }
            inserted?;
            self.organization_committed(id, revision);
            Ok(())
        });
        let mut early = None;
        if self.wrong == Wrong::InsertsBeforePolled
            && let Poll::Ready(inserted) = insert.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        {
            early = Some(inserted);
        }
        async move {
            match early {
                Some(inserted) => inserted,
                None => insert.await,
            }
        }
    }

    async fn organization(&self, id: OrganizationId) -> Result<Option<Organization>, StoreError> {
        self.inner.organization(id).await
    }

    async fn update_organization(&self, mut organization: Organization) -> Result<Organization, StoreError> {
        if self.wrong == Wrong::OrganizationRevisionIsIgnored
            && let Some(stored) = self.inner.organization(organization.id).await?
        {
            organization.revision = stored.revision;
        }
        if self.wrong == Wrong::OrganizationBumpsFirst {
            self.fence.organization_changed(organization.id, 0);
            a_while().await;
            return self.inner.update_organization(organization).await;
        }
        let organization = self.inner.update_organization(organization).await?;
        self.organization_committed(organization.id, organization.revision);
        Ok(organization)
    }

    async fn insert_key(&self, mut record: KeyRecord, mut secret: KeySecret) -> Result<(), StoreError> {
        secret.lookup = self.stored(&secret.lookup);
        if self.wrong == Wrong::ForgetsEnvironment {
            record.environment = None;
        }
        if self.wrong == Wrong::ForgetsSecondLimit {
            record.limits.truncate(1);
        }
        if self.wrong == Wrong::KeyWithoutOrganization {
            let mut organization = Organization::new("made up");
            organization.id = record.organization_id;
            let _ = self.inner.insert_organization(organization).await;
        }
        if self.wrong == Wrong::KeyIsOverwritten
            && let Some(mut stored) = self.inner.key(record.id).await?
        {
            stored.record.name = record.name;
            self.inner.update_key(stored).await?;
            return Ok(());
        }
        if self.wrong == Wrong::LookupIsTakenOver
            && let Some(found) = self.inner.find(&secret.lookup).await?
        {
            let mut stored = self.inner.key(found.record.id).await?.unwrap();
            stored.secrets.retain(|old| old.lookup != secret.lookup);
            self.inner.update_key(stored).await?;
        }
        if self.wrong == Wrong::ImportsAreTheFirst {
            record.revision = 1;
        }
        let (id, revision) = (record.id, record.revision);
        let insert = self.inner.insert_key(record, secret);
        if self.wrong == Wrong::InsertsAreNotBumped {
            return insert.await;
        }
        self.commit(id, revision, insert).await
    }

    async fn key(&self, id: KeyId) -> Result<Option<StoredKey>, StoreError> {
        self.inner.key(id).await
    }

    fn update_key(&self, mut key: StoredKey) -> impl Future<Output = Result<KeyRecord, StoreError>> + Send {
        let early = self.wrong == Wrong::StartsBeforePolled;
        if early {
            self.fence.key_changed(key.record.id, 0);
        }
        async move {
            let stored = self.inner.key(key.record.id).await?;
            if let Some(stored) = stored {
                match self.wrong {
                    Wrong::RevisionIsIgnored => key.record.revision = stored.record.revision,
                    Wrong::OwnerChanges => key.record.organization_id = stored.record.organization_id,
                    Wrong::OldSecretsStay if stored.secrets.len() == 2 => {
                        for old in stored.secrets {
                            if key.secrets.iter().all(|new| new.lookup != old.lookup) {
                                key.secrets.push(old);
                            }
                        }
                    }
                    _ => {}
                }
            }
            if self.wrong == Wrong::BumpsFirstInATask {
                return self.commit_in_a_task(key).await;
            }
            let mut record = self
                .commit(key.record.id, 1, self.inner.update_key(key.clone()))
                .await?;
            if self.wrong == Wrong::RevisionStaysTheSame {
                record.revision -= 1;
            }
            Ok(record)
        }
    }

    async fn replace_hash(&self, lookup: &Lookup, old: &SecretHash, new: &SecretHash) -> Result<bool, StoreError> {
        let found = self.inner.find(lookup).await?;
        if self.wrong == Wrong::HashIsReplacedBlindly
            && let Some(found) = &found
        {
            return self.inner.replace_hash(lookup, &found.secret.hash, new).await;
        }
        let replaced = self.inner.replace_hash(lookup, old, new).await?;
        if let (true, Some(found)) = (replaced, found) {
            let id = found.record.id;
            if self.wrong == Wrong::HashTurnsTheRevision {
                let key = self.inner.key(id).await?.unwrap();
                self.inner.update_key(key).await?;
            }
            if self.wrong == Wrong::HashBumps {
                self.fence.key_changed(id, 0);
            }
        }
        Ok(replaced)
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
fn a_store_with_nothing_wrong_passes() {
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
#[case(Wrong::OrganizationIsOverwritten, "inserting an organization never overwrites")]
#[case(Wrong::KeyIsOverwritten, "inserting a key never overwrites")]
#[case(Wrong::LookupIsTakenOver, "inserting a key never overwrites")]
#[case(Wrong::KeyWithoutOrganization, "a key has an organization")]
#[case(Wrong::RevisionIsIgnored, "an update of a key names the revision it read")]
#[case(
    Wrong::OrganizationRevisionIsIgnored,
    "an update of an organization names the revision it read"
)]
#[case(Wrong::RevisionStaysTheSame, "the one secret that the lookup belongs to")]
#[case(Wrong::OwnerChanges, "a key never changes its owner")]
#[case(Wrong::OldSecretsStay, "leaves exactly the given secrets")]
#[case(Wrong::HashIsReplacedBlindly, "replaces the hash it names")]
#[case(Wrong::HashTurnsTheRevision, "replaces the hash it names")]
#[case(Wrong::HashBumps, "replacing a hash bumps nothing")]
#[case(Wrong::TwoSteps, "a reader never sees half of a change")]
#[case(Wrong::TwoStepsToTheOrganization, "a reader never sees half of a change")]
#[case(Wrong::InsertsAreNotBumped, "bumps the fence before it returns\": insert_key")]
#[case(
    Wrong::OrganizationsAreNotBumped,
    "bumps the fence before it returns\": insert_organization"
)]
#[case(Wrong::BumpsAfterReturn, "bumps the fence before it returns")]
#[case(Wrong::BumpsFirst, "the bump comes after the change can be read")]
#[case(Wrong::BumpsFirstInATask, "the bump comes after the change can be read")]
#[case(Wrong::OrganizationBumpsFirst, "the bump comes after the change can be read")]
#[case(Wrong::InsertBumpsFirst, "the bump comes after the change can be read")]
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
fn a_broken_rule_is_named(#[case] wrong: Wrong, #[case] rule: &str) {
    let message = verdict(wrong).unwrap_or_else(|| panic!("{wrong:?} was not noticed"));
    assert!(message.contains(rule), "{wrong:?}: {message}");
}
