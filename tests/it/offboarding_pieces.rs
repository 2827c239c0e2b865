//! More keys than fit into one commit: stopped in pieces, and what is left when that ends in the middle.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tower_api_key::key::{KeyRecord, KeyStatus, Organization, Timestamp, User};
use tower_api_key::store::query::{Answer, Keys, Query};
use tower_api_key::store::{
    Candidate, Commit, Committed, DynStore, KeyStore, ManagedStore, MemoryStore, Sharing, StoreError, StoreErrorKind,
    StoreExt, Write,
};
use tower_api_key::{Descendants, Fence, IssueErrorKind, KeySelection};

use crate::house::issuer;
use crate::offboarding::children;
use crate::users::{refused, user_id};

/// As many keys as one commit changes.
const PIECE: usize = 60_000;

/// A store that fails, as if the process had ended, when so many commits have changed the status of keys.
#[derive(Clone)]
struct Ends {
    rows: MemoryStore,
    left: Arc<AtomicUsize>,
    pieces: Arc<Mutex<Vec<usize>>>,
}

impl Ends {
    fn after(rows: &MemoryStore, pieces: usize) -> Self {
        Self {
            rows: rows.clone(),
            left: Arc::new(AtomicUsize::new(pieces)),
            pieces: Arc::default(),
        }
    }

    fn pieces(&self) -> Vec<usize> {
        self.pieces.lock().unwrap().clone()
    }
}

impl KeyStore for Ends {
    async fn find(&self, lookup: &tower_api_key::key::Lookup) -> Result<Option<Candidate>, StoreError> {
        self.rows.find(lookup).await
    }

    fn fence(&self) -> Option<&Fence> {
        self.rows.fence()
    }

    fn sharing(&self) -> Sharing {
        self.rows.sharing()
    }
}

impl ManagedStore for Ends {
    async fn commit(&self, commit: Commit) -> Result<Committed, StoreError> {
        let changes = commit.writes.iter();
        let changes = changes.filter(|write| matches!(write, Write::SetKeyState(_))).count();
        if changes > 0 {
            let left = self.left.load(Ordering::SeqCst).checked_sub(1);
            let left = left.ok_or_else(|| StoreError::new(StoreErrorKind::Unavailable))?;
            self.left.store(left, Ordering::SeqCst);
            self.pieces.lock().unwrap().push(changes);
        }
        self.rows.commit(commit).await
    }

    async fn read(&self, query: Query) -> Result<Answer, StoreError> {
        self.rows.read(query).await
    }
}

async fn number(store: &MemoryStore, acme: &Organization, status: KeyStatus) -> usize {
    let selection = KeySelection::user(acme.id, user_id("alice"));
    let all = issuer(store).preview(&selection).await.unwrap();
    match status {
        KeyStatus::Revoked => all.revoked,
        _ => all.active,
    }
}

#[tokio::test]
async fn tree_that_is_too_large_for_a_commit_is_stopped_in_pieces() {
    let rows = MemoryStore::new();
    let acme = issuer(&rows).create_organization("acme").await.unwrap();
    // More than one answer of the store has.
    let root = children(&DynStore::new(rows.clone()), &acme, PIECE + 6_000).await;
    let tree = KeySelection::descendants_of(root.id);
    let revoke = async |store: &Ends| {
        issuer(store)
            .revoke_with_descendants(root.id, Descendants::Revoke, "leaked")
            .await
    };

    // The process ends after the first piece.
    let store = Ends::after(&rows, 1);
    refused(revoke(&store).await, IssueErrorKind::StoreUnavailable, None);
    assert_eq!(store.pieces(), [PIECE]);
    let stored = rows.get(root.id).await.unwrap().unwrap().record;
    assert_eq!(stored.status, KeyStatus::Revoked);
    let preview = issuer(&rows).preview(&tree).await.unwrap();
    assert_eq!(
        (preview.revoked, preview.active, preview.total),
        (PIECE - 1, 6_001, PIECE + 6_000)
    );
    assert_eq!(preview.keys.len(), PIECE);

    // Repeated, it goes on with the rest.
    let store = Ends::after(&rows, 9);
    let done = revoke(&store).await.unwrap();
    assert_eq!(
        (store.pieces(), done.total, done.changed.len()),
        (vec![6_001], 6_001, 6_001)
    );
    assert_eq!(issuer(&rows).preview(&tree).await.unwrap().revoked, PIECE + 6_000);
    assert_eq!(revoke(&store).await.unwrap().total, 0);
}

#[tokio::test]
async fn label_that_too_many_keys_have_is_stopped_in_pieces() {
    let rows = MemoryStore::new();
    let acme = issuer(&rows).create_organization("acme").await.unwrap();
    let root = children(&DynStore::new(rows.clone()), &acme, PIECE + 1).await;
    let direct = KeySelection::created_by(root.id);
    let store = Ends::after(&rows, 9);
    let done = issuer(&store).disable_all(&direct, "").await.unwrap();
    assert_eq!((done.total, done.changed.len()), (PIECE + 1, PIECE));
    assert_eq!(store.pieces(), [PIECE, 1]);
    assert_eq!(issuer(&rows).enable_all(&direct).await.unwrap().total, PIECE + 1);
}

/// Alice, and more of her keys than fit into one commit, all of which end with her.
async fn alice(rows: &MemoryStore, acme: &Organization) {
    let at = Timestamp::from_millis(1_767_225_600_000);
    let user = User::new(acme.id, user_id("alice"), at);
    rows.commit(Commit::new().write(Write::InsertUser(user))).await.unwrap();
    let mut commit = Commit::new();
    for _ in 0..=PIECE {
        let mut record = KeyRecord::new(acme.id, "key", at);
        (record.user, record.ends_with_user) = (Some(user_id("alice")), true);
        commit.writes.push(Write::InsertKey(record));
    }
    rows.commit(commit).await.unwrap();
}

#[tokio::test]
async fn user_with_too_many_keys_is_deleted_with_the_last_piece() {
    let rows = MemoryStore::new();
    let acme = issuer(&rows).create_organization("acme").await.unwrap();
    alice(&rows, &acme).await;
    let store = Ends::after(&rows, 1);
    let deleted = issuer(&store).delete_user(acme.id, &user_id("alice")).await;
    refused(deleted, IssueErrorKind::StoreUnavailable, None);
    let left = issuer(&rows).user(acme.id, &user_id("alice")).await.unwrap();
    assert!(left.is_some());
    assert_eq!(number(&rows, &acme, KeyStatus::Revoked).await, PIECE);

    let store = Ends::after(&rows, 9);
    issuer(&store).delete_user(acme.id, &user_id("alice")).await.unwrap();
    assert_eq!(store.pieces(), [1]);
    assert_eq!(number(&rows, &acme, KeyStatus::Revoked).await, PIECE + 1);
}

#[tokio::test]
async fn user_with_one_key_that_stays_loses_none_of_many() {
    let rows = MemoryStore::new();
    let acme = issuer(&rows).create_organization("acme").await.unwrap();
    alice(&rows, &acme).await;
    let staying = crate::users::issue_for(&issuer(&rows), &acme, "alice").await.unwrap();
    let deleted = issuer(&rows).delete_user(acme.id, &user_id("alice")).await;
    refused(deleted, IssueErrorKind::InUse, Some("user"));
    assert_eq!(number(&rows, &acme, KeyStatus::Active).await, PIECE + 2);
    let last = Keys::of(acme.id).status(KeyStatus::Active).user(user_id("alice"));
    assert!(
        rows.get(last)
            .await
            .unwrap()
            .items
            .iter()
            .all(|key| key.record.id != staying.record.id)
    );
}
