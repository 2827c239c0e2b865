//! Changes of many keys at once: off-boarding of users, labels and creators, and the descendants of a key.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tower_api_key::audit::{AuditAction, AuditEntry};
use tower_api_key::hash::HashPolicy;
use tower_api_key::key::{
    Actor, KeyId, KeyRecord, KeyStatus, Lookup, Organization, OrganizationId, Timestamp, UserStatus,
};
use tower_api_key::store::query::{Answer, AuditEvents, Keys, Query};
use tower_api_key::store::{
    Candidate, Commit, Committed, DynStore, KeyStore, ManagedStore, MemoryStore, Sharing, StoreError, StoreErrorKind,
    StoreExt, Write,
};
use tower_api_key::testing::{Barrier, Fault};
use tower_api_key::{
    ApiKeys, Authenticator, BulkChange, Descendants, Fence, IssueErrorKind, IssueRequest, IssuedKey, Issuer,
    KeySelection, RejectionKind,
};

use crate::house::{House, check, issuer, kind, poll_once, settle, text};
use crate::users::{events, issue_for, refused, stores, user_id};

pub(crate) async fn issue<S: ManagedStore>(issuer: &Issuer<S>, request: IssueRequest) -> IssuedKey {
    issuer.issue(request).await.unwrap()
}

fn request(organization: &Organization) -> IssueRequest {
    IssueRequest::new(organization.id, "key")
}

pub(crate) fn ids(keys: &[KeyRecord]) -> BTreeSet<KeyId> {
    keys.iter().map(|key| key.id).collect()
}

pub(crate) fn changed(done: &BulkChange) -> BTreeSet<KeyId> {
    ids(&done.changed)
}

pub(crate) fn of(issued: &[&IssuedKey]) -> BTreeSet<KeyId> {
    issued.iter().map(|issued| issued.record.id).collect()
}

async fn status<S: ManagedStore>(issuer: &Issuer<S>, issued: &IssuedKey) -> KeyStatus {
    issuer.key(issued.record.id).await.unwrap().unwrap().record.status
}

#[tokio::test]
async fn preview_lists_what_is_selected_and_counts() {
    for (store, _database) in stores().await {
        let issuer = issuer(&store);
        let acme = issuer.create_organization("acme").await.unwrap();
        let other = issuer.create_organization("other").await.unwrap();
        let ci = || request(&acme).labels("ci".parse().unwrap());
        let (active, disabled, revoked) = (
            issue(&issuer, ci().user(user_id("alice"))).await,
            issue(&issuer, ci()).await,
            issue(&issuer, ci()).await,
        );
        issuer.disable(disabled.record.id).await.unwrap();
        issuer.revoke(revoked.record.id, "").await.unwrap();
        let elsewhere = issue(&issuer, request(&other).labels("ci prod".parse().unwrap())).await;
        let homonym = issue_for(&issuer, &other, "alice").await.unwrap();
        let child = issue(&issuer, request(&acme).created_by_key(active.record.id)).await;
        let grandchild = issue(&issuer, request(&acme).created_by_key(child.record.id)).await;

        let label = KeySelection::label("ci");
        let root = active.record.id;
        for (selection, expected) in [
            (label.clone(), of(&[&active, &disabled, &revoked, &elsewhere])),
            (label.clone().within(acme.id), of(&[&active, &disabled, &revoked])),
            (KeySelection::user(acme.id, user_id("alice")), of(&[&active])),
            // Of the same id, and somebody else.
            (KeySelection::user(other.id, user_id("alice")), of(&[&homonym])),
            (KeySelection::user(other.id, user_id("alice")).within(acme.id), of(&[])),
            (KeySelection::created_by(root), of(&[&child])),
            (KeySelection::descendants_of(root), of(&[&child, &grandchild])),
            (KeySelection::descendants_of(root).within(other.id), of(&[])),
            (KeySelection::descendants_of(grandchild.record.id), of(&[])),
            (KeySelection::descendants_of(KeyId::new()), of(&[])),
        ] {
            let preview = issuer.preview(&selection).await.unwrap();
            assert_eq!(ids(&preview.keys), expected, "{selection:?}");
        }
        let preview = issuer.preview(&label).await.unwrap();
        let counts = (preview.active, preview.expired, preview.disabled, preview.revoked);
        assert_eq!(counts, (2, 0, 1, 1));
    }
}

#[tokio::test]
async fn expired_keys_are_counted_as_such() {
    let house = House::new().await;
    let short = house.request("short").expires_in(Duration::from_secs(10));
    drop(issue(&house.issuer, short.user(user_id("alice"))).await);
    drop(issue_for(&house.issuer, &house.organization, "alice").await.unwrap());
    let hers = KeySelection::user(house.organization.id, user_id("alice"));
    house.hand.advance(Duration::from_secs(11));
    let preview = house.issuer.preview(&hers).await.unwrap();
    assert_eq!((preview.active, preview.expired), (1, 1));
}

#[tokio::test]
async fn preview_has_the_last_use_of_each_key() {
    for (store, _database) in stores().await {
        let keys = ApiKeys::builder(store)
            .hash_policy(HashPolicy::sha256())
            .open()
            .await
            .unwrap();
        let issuer = keys.issuer().acting_as(Actor::service());
        let acme = issuer.create_organization("acme").await.unwrap();
        let used = issue_for(&issuer, &acme, "alice").await.unwrap();
        let unused = issue_for(&issuer, &acme, "alice").await.unwrap();
        check(&keys.authenticator(), text(&used)).await.unwrap();
        let hers = KeySelection::user(acme.id, user_id("alice"));
        let preview = issuer.preview(&hers).await.unwrap();
        assert!(preview.last_used_at(used.record.id).is_some());
        assert_eq!(preview.last_used_at(unused.record.id), None);
    }
}

#[tokio::test]
async fn off_boarding_is_one_commit_and_is_undone() {
    for (store, _database) in stores().await {
        let issuer = issuer(&store).acting_as(Actor::operator("root"));
        let acme = issuer.create_organization("acme").await.unwrap();
        let authenticator = Authenticator::new(store.clone());
        let (one, two, own, ended, bobs) = (
            issue_for(&issuer, &acme, "alice").await.unwrap(),
            issue_for(&issuer, &acme, "alice").await.unwrap(),
            issue_for(&issuer, &acme, "alice").await.unwrap(),
            issue_for(&issuer, &acme, "alice").await.unwrap(),
            issue_for(&issuer, &acme, "bob").await.unwrap(),
        );
        issuer.disable(own.record.id).await.unwrap();
        issuer.revoke(ended.record.id, "lost").await.unwrap();
        check(&authenticator, text(&one)).await.unwrap();
        let before = events(&store, acme.id).await.len();

        let hers = KeySelection::user(acme.id, user_id("alice"));
        let done = issuer.disable_all(&hers, "left").await.unwrap();
        assert_eq!(changed(&done), of(&[&one, &two, &own]));
        for record in &done.changed {
            assert_eq!(issuer.key(record.id).await.unwrap().unwrap().record, *record);
        }
        for issued in [&one, &two, &own] {
            let verdict = check(&authenticator, text(issued)).await;
            assert_eq!(kind(&verdict), RejectionKind::KeyDisabled);
        }
        check(&authenticator, text(&bobs)).await.unwrap();
        let said = events(&store, acme.id).await.split_off(before);
        assert_eq!(said.len(), 3);
        assert!(said.iter().all(|entry| entry.commit == said[0].commit));
        for entry in &said {
            let event = &entry.event;
            assert_eq!(event.actor, Actor::operator("root"));
            assert_eq!(event.detail_of("reason"), Some("left"));
            assert_eq!(event.detail_of("selection"), Some("user:alice"));
            let expected = match event.key_id == Some(own.record.id) {
                true => AuditAction::KEY_UPDATED,
                false => AuditAction::KEY_DISABLED,
            };
            assert_eq!(event.action, expected);
        }
        // Again, it changes nothing.
        assert!(issuer.disable_all(&hers, "left").await.unwrap().changed.is_empty());

        // Another selection of the same keys undoes nothing of it.
        let others = issuer.enable_all(&KeySelection::label("ci")).await.unwrap();
        assert!(others.changed.is_empty());
        let done = issuer.enable_all(&hers).await.unwrap();
        assert_eq!(changed(&done), of(&[&one, &two, &own]));
        check(&authenticator, text(&one)).await.unwrap();
        check(&authenticator, text(&two)).await.unwrap();
        let verdict = check(&authenticator, text(&own)).await;
        assert_eq!(kind(&verdict), RejectionKind::KeyDisabled);
        let verdict = check(&authenticator, text(&ended)).await;
        assert_eq!(kind(&verdict), RejectionKind::KeyRevoked);
        issuer.enable(own.record.id).await.unwrap();
        check(&authenticator, text(&own)).await.unwrap();
    }
}

#[tokio::test]
async fn key_of_two_selections_works_when_both_are_undone() {
    for (store, _database) in stores().await {
        let issuer = issuer(&store);
        let acme = issuer.create_organization("acme").await.unwrap();
        let both = request(&acme).labels("ci".parse().unwrap()).user(user_id("alice"));
        let key = issue(&issuer, both).await;
        let hers = KeySelection::user(acme.id, user_id("alice"));
        let label = KeySelection::label("ci");
        issuer.disable_all(&hers, "").await.unwrap();
        issuer.disable_all(&label, "").await.unwrap();
        issuer.enable_all(&hers).await.unwrap();
        assert_eq!(status(&issuer, &key).await, KeyStatus::Disabled);
        issuer.enable_all(&label).await.unwrap();
        assert_eq!(status(&issuer, &key).await, KeyStatus::Active);

        // Disabled by itself after an off-boarding, it stays so.
        issuer.disable_all(&hers, "").await.unwrap();
        issuer.disable(key.record.id).await.unwrap();
        issuer.enable_all(&hers).await.unwrap();
        assert_eq!(status(&issuer, &key).await, KeyStatus::Disabled);
        // Enabled by itself, it works whatever disabled it, and an old off-boarding is forgotten.
        issuer.disable_all(&label, "").await.unwrap();
        issuer.enable(key.record.id).await.unwrap();
        assert_eq!(status(&issuer, &key).await, KeyStatus::Active);
        issuer.disable(key.record.id).await.unwrap();
        issuer.enable_all(&label).await.unwrap();
        assert_eq!(status(&issuer, &key).await, KeyStatus::Disabled);
    }
}

#[tokio::test]
async fn update_leaves_what_keeps_a_key_disabled() {
    let house = House::new().await;
    let key = issue_for(&house.issuer, &house.organization, "alice").await.unwrap();
    let hers = KeySelection::user(house.organization.id, user_id("alice"));
    house.issuer.disable_all(&hers, "").await.unwrap();
    let change = |record: &mut KeyRecord| {
        record.name = "renamed".to_owned();
        record.holds = Default::default();
    };
    let updated = house.issuer.update(key.record.id, change).await.unwrap();
    assert!(updated.holds.contains("user:alice"));
    house.issuer.enable_all(&hers).await.unwrap();
    house.check(text(&key)).await.unwrap();
}

#[tokio::test]
async fn revoke_all_keeps_the_first_revocation() {
    for (store, _database) in stores().await {
        let issuer = issuer(&store).acting_as(Actor::user("bob"));
        let acme = issuer.create_organization("acme").await.unwrap();
        let first = issue_for(&issuer, &acme, "alice").await.unwrap();
        let second = issue_for(&issuer, &acme, "alice").await.unwrap();
        issuer.revoke(first.record.id, "lost").await.unwrap();
        let hers = KeySelection::user(acme.id, user_id("alice"));
        let done = issuer.revoke_all(&hers, &"é".repeat(1000)).await.unwrap();
        assert_eq!(changed(&done), of(&[&second]));
        let revocation = done.changed[0].revocation.clone().unwrap();
        assert_eq!((revocation.reason.len(), revocation.actor), (1024, Actor::user("bob")));
        let stored = issuer.key(first.record.id).await.unwrap().unwrap();
        assert_eq!(stored.record.revocation.unwrap().reason, "lost");
        // For good.
        issuer.enable_all(&hers).await.unwrap();
        assert_eq!(status(&issuer, &second).await, KeyStatus::Revoked);
    }
}

#[tokio::test]
async fn label_that_no_key_can_have_is_refused() {
    let house = House::new().await;
    for label in ["CI", "", "a b", &"x".repeat(65)] {
        let label = KeySelection::label(label);
        let invalid = IssueErrorKind::InvalidRequest;
        refused(house.issuer.preview(&label).await, invalid, Some("labels"));
        refused(house.issuer.disable_all(&label, "").await, invalid, Some("labels"));
        refused(house.issuer.enable_all(&label).await, invalid, Some("labels"));
        refused(house.issuer.revoke_all(&label, "").await, invalid, Some("labels"));
    }
    for descendants in [Descendants::None, Descendants::Disable, Descendants::Revoke] {
        let done = house
            .issuer
            .revoke_with_descendants(KeyId::new(), descendants, "")
            .await;
        assert_eq!(done.unwrap_err().kind(), IssueErrorKind::NotFound);
    }
}

/// A tree of depth 4 with two keys on each level but the first, one of them rotated. The first is the root.
async fn tree<S: ManagedStore>(issuer: &Issuer<S>, acme: &Organization) -> Vec<IssuedKey> {
    let mut keys = vec![issue(issuer, request(acme)).await];
    let mut creator = keys[0].record.id;
    for _ in 0..4 {
        for _ in 0..2 {
            keys.push(issue(issuer, request(acme).created_by_key(creator)).await);
        }
        creator = keys[keys.len() - 1].record.id;
        keys.push(issuer.rotate(creator, Duration::from_secs(3600)).await.unwrap());
    }
    keys
}

#[tokio::test]
async fn revoked_tree_of_depth_four_has_no_key_that_works() {
    for descendants in [Descendants::Revoke, Descendants::Disable] {
        for (store, _database) in stores().await {
            let issuer = issuer(&store);
            let acme = issuer.create_organization("acme").await.unwrap();
            let keys = tree(&issuer, &acme).await;
            let outsider = issue(&issuer, request(&acme)).await;
            let handles = [Authenticator::new(store.clone()), Authenticator::new(store.clone())];
            for handle in &handles {
                for key in &keys {
                    check(handle, text(key)).await.unwrap();
                }
            }
            let root = keys[0].record.id;
            let before = events(&store, acme.id).await.len();
            let done = issuer
                .revoke_with_descendants(root, descendants, "leaked")
                .await
                .unwrap();
            assert_eq!(done.changed.len(), 9);
            let said = events(&store, acme.id).await.split_off(before);
            assert!(said.len() == 9 && said.iter().all(|entry| entry.commit == said[0].commit));
            for handle in &handles {
                for (number, key) in keys.iter().enumerate() {
                    let expected = match (descendants, number) {
                        (Descendants::Disable, 1..) => RejectionKind::KeyDisabled,
                        _ => RejectionKind::KeyRevoked,
                    };
                    assert_eq!(kind(&check(handle, text(key)).await), expected);
                }
                check(handle, text(&outsider)).await.unwrap();
            }
            // None can be made any more.
            for key in &keys {
                let another = request(&acme).created_by_key(key.record.id);
                assert!(issuer.issue(another).await.is_err());
            }
            let undone = issuer.enable_all(&KeySelection::descendants_of(root)).await.unwrap();
            let expected = if descendants == Descendants::Disable { 8 } else { 0 };
            assert_eq!(undone.changed.len(), expected);
            assert_eq!(status(&issuer, &keys[0]).await, KeyStatus::Revoked);
        }
    }
}

#[tokio::test]
async fn revoke_without_descendants_leaves_them() {
    let store = MemoryStore::new();
    let issuer = issuer(&store);
    let acme = issuer.create_organization("acme").await.unwrap();
    let root = issue(&issuer, request(&acme)).await;
    let child = issue(&issuer, request(&acme).created_by_key(root.record.id)).await;
    for changes in [1, 0] {
        let done = issuer
            .revoke_with_descendants(root.record.id, Descendants::None, "lost")
            .await;
        assert_eq!(done.unwrap().changed.len(), changes);
    }
    assert_eq!(status(&issuer, &child).await, KeyStatus::Active);
    // They can be ended afterwards.
    let done = issuer
        .revoke_with_descendants(root.record.id, Descendants::Revoke, "leaked")
        .await;
    assert_eq!(changed(&done.unwrap()), of(&[&child]));
}

/// Rows of keys without secrets, of which each one was made by the first, as fast as a store takes them.
pub(crate) async fn children(store: &DynStore, acme: &Organization, number: usize) -> KeyRecord {
    let at = Timestamp::from_millis(1_767_225_600_000);
    let root = KeyRecord::new(acme.id, "root", at);
    let child = |_| {
        let mut record = KeyRecord::new(acme.id, "child", at);
        record.created_by_key = Some(root.id);
        Write::InsertKey(record)
    };
    let mut writes = vec![Write::InsertKey(root.clone())];
    writes.extend((0..number).map(child));
    for some in writes.chunks(60_001) {
        let mut commit = Commit::new();
        commit.writes = some.to_vec();
        store.commit(commit).await.unwrap();
    }
    root
}

#[tokio::test]
async fn ten_thousand_children_end_in_one_commit() {
    for (store, _database) in stores().await {
        let issuer = issuer(&store);
        let acme = issuer.create_organization("acme").await.unwrap();
        let root = children(&store, &acme, 10_000).await;
        let before = audited(&store, acme.id).await;
        let done = issuer
            .revoke_with_descendants(root.id, Descendants::Revoke, "leaked")
            .await
            .unwrap();
        assert_eq!(done.changed.len(), 10_001);
        let left = store
            .get(Keys::of(acme.id).status(KeyStatus::Active).count())
            .await
            .unwrap();
        assert_eq!(left.number, 0);
        let after = audited(&store, acme.id).await;
        assert_eq!(after.len() - before.len(), 10_001);
        assert!(
            after[before.len()..]
                .iter()
                .all(|entry| entry.commit == after[before.len()].commit)
        );
    }
}

pub(crate) async fn audited(store: &DynStore, organization: OrganizationId) -> Vec<AuditEntry> {
    let query = AuditEvents::of(organization).page(1000);
    let mut page = store.get(query.clone()).await.unwrap();
    let mut all = page.items;
    while let Some(next) = page.next {
        page = store.get(query.clone().after(next)).await.unwrap();
        all.extend(page.items);
    }
    all
}

#[tokio::test]
async fn circle_of_creators_ends() {
    for (store, _database) in stores().await {
        let issuer = issuer(&store);
        let acme = issuer.create_organization("acme").await.unwrap();
        let root = issue(&issuer, request(&acme)).await;
        let child = issue(&issuer, request(&acme).created_by_key(root.record.id)).await;
        let grandchild = issue(&issuer, request(&acme).created_by_key(child.record.id)).await;
        // By hand: through the issuer it cannot be made.
        let mut record = issuer.key(root.record.id).await.unwrap().unwrap().record;
        record.created_by_key = Some(grandchild.record.id);
        store
            .commit(Commit::new().write(Write::UpdateKey(record)))
            .await
            .unwrap();
        let done = issuer
            .revoke_with_descendants(root.record.id, Descendants::Revoke, "")
            .await
            .unwrap();
        assert_eq!(changed(&done), of(&[&root, &child, &grandchild]));
    }
}

/// A store in which something happens before each commit that changes the status of keys, so many times.
#[derive(Clone)]
pub(crate) struct Meddled<F> {
    rows: MemoryStore,
    times: Arc<AtomicUsize>,
    meddle: F,
    pub(crate) status_commits: Arc<Mutex<Vec<usize>>>,
}

impl<F: AsyncMeddle> KeyStore for Meddled<F> {
    async fn find(&self, lookup: &Lookup) -> Result<Option<Candidate>, StoreError> {
        self.rows.find(lookup).await
    }

    fn fence(&self) -> Option<&Fence> {
        self.rows.fence()
    }

    fn sharing(&self) -> Sharing {
        self.rows.sharing()
    }
}

/// What happens: a commit of someone else's.
pub(crate) trait AsyncMeddle: Clone + Send + Sync + 'static {
    fn commit(&self, rows: &MemoryStore) -> impl Future<Output = ()> + Send;
}

impl<F: AsyncMeddle> ManagedStore for Meddled<F> {
    async fn commit(&self, commit: Commit) -> Result<Committed, StoreError> {
        let changes = commit
            .writes
            .iter()
            .filter(|write| matches!(write, Write::SetKeyState(_)))
            .count();
        if changes > 0 {
            let left = self
                .times
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
            if left.is_ok() {
                self.meddle.commit(&self.rows).await;
            }
            self.status_commits.lock().unwrap().push(changes);
        }
        self.rows.commit(commit).await
    }

    async fn read(&self, query: Query) -> Result<Answer, StoreError> {
        self.rows.read(query).await
    }
}

pub(crate) fn meddled<F: AsyncMeddle>(rows: &MemoryStore, times: usize, meddle: F) -> Meddled<F> {
    Meddled {
        rows: rows.clone(),
        times: Arc::new(AtomicUsize::new(times)),
        meddle,
        status_commits: Arc::default(),
    }
}

/// Another key of the same user comes in between.
#[derive(Clone)]
pub(crate) struct Issues(pub(crate) KeyRecord);

impl AsyncMeddle for Issues {
    async fn commit(&self, rows: &MemoryStore) {
        let mut record = self.0.clone();
        record.id = KeyId::new();
        record.revision = 1;
        rows.commit(Commit::new().write(Write::InsertKey(record)))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn keys_made_in_between_are_caught() {
    let rows = MemoryStore::new();
    let acme = issuer(&rows).create_organization("acme").await.unwrap();
    let key = issue_for(&issuer(&rows), &acme, "alice").await.unwrap();
    let store = meddled(&rows, 3, Issues(key.record.clone()));
    let hers = KeySelection::user(acme.id, user_id("alice"));
    let done = issuer(&store).revoke_all(&hers, "").await.unwrap();
    assert_eq!(done.changed.len(), 4);
    assert_eq!(issuer(&rows).preview(&hers).await.unwrap().revoked, 4);
    assert_eq!(*store.status_commits.lock().unwrap(), [1; 4]);
}

/// The holder renames the key.
#[derive(Clone)]
struct Renames(KeyId);

impl AsyncMeddle for Renames {
    async fn commit(&self, rows: &MemoryStore) {
        let mut record = rows.get(self.0).await.unwrap().unwrap().record;
        record.name += ".";
        rows.commit(Commit::new().write(Write::UpdateKey(record)))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn holder_who_renames_keys_all_the_time_stops_nothing() {
    let rows = MemoryStore::new();
    let acme = issuer(&rows).create_organization("acme").await.unwrap();
    let key = issue_for(&issuer(&rows), &acme, "alice").await.unwrap();
    let store = meddled(&rows, usize::MAX, Renames(key.record.id));
    let hers = KeySelection::user(acme.id, user_id("alice"));
    issuer(&store).disable_all(&hers, "").await.unwrap();
    issuer(&store).revoke_all(&hers, "").await.unwrap();
    let stored = rows.get(key.record.id).await.unwrap().unwrap().record;
    assert_eq!((stored.status, &*stored.name), (KeyStatus::Revoked, "key.."));
    assert_eq!(*store.status_commits.lock().unwrap(), [1; 2]);
}

/// Somebody enables and disables the key.
#[derive(Clone)]
pub(crate) struct Toggles(pub(crate) KeyId);

impl AsyncMeddle for Toggles {
    async fn commit(&self, rows: &MemoryStore) {
        let issuer = issuer(rows);
        match issuer.key(self.0).await.unwrap().unwrap().record.status {
            KeyStatus::Active => issuer.disable(self.0).await.unwrap(),
            _ => issuer.enable(self.0).await.unwrap(),
        };
    }
}

#[tokio::test]
async fn change_that_always_comes_too_late_is_a_conflict() {
    let rows = MemoryStore::new();
    let acme = issuer(&rows).create_organization("acme").await.unwrap();
    let key = issue_for(&issuer(&rows), &acme, "alice").await.unwrap();
    let hers = KeySelection::user(acme.id, user_id("alice"));
    let store = meddled(&rows, 256, Toggles(key.record.id));
    refused(
        issuer(&store).revoke_all(&hers, "").await,
        IssueErrorKind::Conflict,
        None,
    );
    assert_eq!(store.status_commits.lock().unwrap().len(), 256);
    let store = meddled(&rows, 255, Toggles(key.record.id));
    issuer(&store).revoke_all(&hers, "").await.unwrap();
    assert_eq!(status(&issuer(&rows), &key).await, KeyStatus::Revoked);
}

#[tokio::test]
async fn failing_store_changes_no_key() {
    let house = House::new().await;
    let (one, two) = (
        issue_for(&house.issuer, &house.organization, "alice").await.unwrap(),
        issue_for(&house.issuer, &house.organization, "alice").await.unwrap(),
    );
    let hers = KeySelection::user(house.organization.id, user_id("alice"));
    let mut failures = 0;
    for before in 0.. {
        for _ in 0..before {
            house.faults().next_manage(Fault::None);
        }
        house.faults().next_manage(Fault::Error(StoreErrorKind::Unavailable));
        let done = house.issuer.revoke_all(&hers, "").await;
        house.faults().heal();
        let statuses = [status(&house.issuer, &one).await, status(&house.issuer, &two).await];
        match done {
            Err(error) => assert_eq!(error.kind(), IssueErrorKind::StoreUnavailable),
            Ok(_) => {
                assert_eq!(statuses, [KeyStatus::Revoked; 2]);
                break;
            }
        }
        failures += 1;
        // All or none.
        assert_eq!(statuses[0], statuses[1]);
    }
    assert!(failures >= 2);
}

#[tokio::test]
async fn caller_that_goes_away_leaves_all_or_none_changed() {
    let mut undone = 0;
    for polls in 0.. {
        let house = House::new().await;
        let keys = [
            issue_for(&house.issuer, &house.organization, "alice").await.unwrap(),
            issue_for(&house.issuer, &house.organization, "alice").await.unwrap(),
        ];
        for key in &keys {
            house.check(text(key)).await.unwrap();
        }
        let barriers = [Barrier::new(), Barrier::new(), Barrier::new()];
        for barrier in &barriers {
            house.faults().next_manage(Fault::Before(barrier.clone()));
            house.faults().next_manage(Fault::None);
        }
        let hers = KeySelection::user(house.organization.id, user_id("alice"));
        let is_done = {
            let change = house.issuer.revoke_all(&hers, "");
            let mut change = std::pin::pin!(change);
            let mut is_done = false;
            for barrier in barriers.iter().take(polls) {
                is_done |= poll_once(change.as_mut()).await.is_some();
                barrier.open();
                settle().await;
            }
            is_done || (polls > 3 && poll_once(change.as_mut()).await.is_some())
        };
        house.faults().heal();
        let verdicts = [house.check(text(&keys[0])).await, house.check(text(&keys[1])).await];
        assert_eq!(verdicts[0].is_ok(), verdicts[1].is_ok());
        undone += usize::from(verdicts[0].is_ok());
        if is_done || polls > 4 {
            assert!(verdicts[0].is_err());
            break;
        }
    }
    assert!(undone > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn bulk_changes_at_once_end_with_the_last_word() {
    for (store, _database) in stores().await {
        let issuer = issuer(&store);
        let acme = issuer.create_organization("acme").await.unwrap();
        let mut keys = Vec::new();
        for _ in 0..10 {
            let both = request(&acme).labels("ci".parse().unwrap()).user(user_id("alice"));
            keys.push(issue(&issuer, both).await);
        }
        let hers = KeySelection::user(acme.id, user_id("alice"));
        let label = KeySelection::label("ci").within(acme.id);
        let tasks = (0..24).map(|number| {
            let (issuer, hers, label) = (issuer.clone(), hers.clone(), label.clone());
            let one = keys[number % 10].record.id;
            tokio::spawn(async move {
                match number % 6 {
                    0 => issuer.disable_all(&hers, "").await.map(drop),
                    1 => issuer.enable_all(&hers).await.map(drop),
                    2 => issuer.disable_all(&label, "").await.map(drop),
                    3 => issuer.enable_all(&label).await.map(drop),
                    4 => issuer.disable(one).await.map(drop),
                    _ => issuer.enable(one).await.map(drop),
                }
            })
        });
        let tasks: Vec<_> = tasks.collect();
        for task in tasks {
            if let Err(error) = task.await.unwrap() {
                assert_eq!(error.kind(), IssueErrorKind::Conflict);
            }
        }
        issuer.disable_all(&hers, "").await.unwrap();
        let preview = issuer.preview(&hers).await.unwrap();
        assert_eq!((preview.keys.len(), preview.disabled), (10, 10));
        let done = issuer.revoke_all(&label, "").await.unwrap();
        assert_eq!(done.changed.len(), 10);
    }
}

#[tokio::test]
async fn keys_that_end_with_their_user_are_revoked_with_it() {
    for (store, _database) in stores().await {
        let issuer = issuer(&store);
        let acme = issuer.create_organization("acme").await.unwrap();
        let authenticator = Authenticator::new(store.clone());
        let alice = user_id("alice");
        let ending = issue(&issuer, request(&acme).user(alice.clone()).ends_with_user()).await;
        let staying = issue_for(&issuer, &acme, "alice").await.unwrap();
        let others = issue(&issuer, request(&acme).user(user_id("bob")).ends_with_user()).await;
        // While she is disabled it is stopped, and no more.
        issuer.disable_user(acme.id, &alice, "on leave").await.unwrap();
        let verdict = check(&authenticator, text(&ending)).await;
        assert_eq!(kind(&verdict), RejectionKind::UserDisabled);
        issuer.enable_user(acme.id, &alice).await.unwrap();
        check(&authenticator, text(&ending)).await.unwrap();

        // Another key would live on: nothing is done.
        refused(
            issuer.delete_user(acme.id, &alice).await,
            IssueErrorKind::InUse,
            Some("user"),
        );
        check(&authenticator, text(&ending)).await.unwrap();
        issuer.revoke(staying.record.id, "").await.unwrap();
        issuer.delete_user(acme.id, &alice).await.unwrap();
        let verdict = check(&authenticator, text(&ending)).await;
        assert_eq!(kind(&verdict), RejectionKind::KeyRevoked);
        check(&authenticator, text(&others)).await.unwrap();
        assert_eq!(issuer.user(acme.id, &alice).await.unwrap(), None);
        let said = events(&store, acme.id).await;
        let last: Vec<_> = said
            .iter()
            .rev()
            .take(2)
            .map(|entry| entry.event.action.as_str())
            .collect();
        assert_eq!(last, ["user.deleted", "key.revoked"]);
        assert_eq!(said[said.len() - 1].commit, said[said.len() - 2].commit);
    }
}

/// A key that ends with its user comes in between.
#[tokio::test]
async fn key_made_while_its_user_is_deleted_ends_too() {
    let rows = MemoryStore::new();
    let acme = issuer(&rows).create_organization("acme").await.unwrap();
    let alice = user_id("alice");
    let key = issue(&issuer(&rows), request(&acme).user(alice.clone()).ends_with_user()).await;
    issuer(&rows).disable_user(acme.id, &alice, "").await.unwrap();
    let row = issuer(&rows).user(acme.id, &alice).await.unwrap().unwrap();
    assert_eq!(row.status, UserStatus::Disabled);
    let store = meddled(&rows, 1, Issues(key.record));
    issuer(&store).delete_user(acme.id, &alice).await.unwrap();
    let hers = KeySelection::user(acme.id, alice);
    assert_eq!(issuer(&rows).preview(&hers).await.unwrap().revoked, 2);
    assert_eq!(*store.status_commits.lock().unwrap(), [1, 2]);
}
