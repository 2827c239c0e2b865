//! A backup that is put in through SQLite while the store has the file open, as `.restore` of SQLite's own program does. What the
//! process has announced by then must not contradict for good.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::backup;
use tower_api_key::hash::HashPolicy;
use tower_api_key::key::{Actor, Organization, OrganizationStatus};
use tower_api_key::store::query::Organizations;
use tower_api_key::store::{Commit, ManagedStore, SqliteStore, StoreErrorKind, Write};
use tower_api_key::testing::ManualClock;
use tower_api_key::{ApiKeys, IssueRequest, IssuedKey, Issuer, PresentedKey, RejectionKind};

use super::{File, chain, organization};

/// Of cached answers.
const TIME_TO_LIVE: Duration = Duration::from_secs(600);

type Keys = ApiKeys<SqliteStore>;

async fn open(path: &Path, clock: &ManualClock) -> Keys {
    // With one, what was revoked stays revoked: tests/it/journal.rs.
    let store = SqliteStore::builder().without_journal().open(path).await.unwrap();
    let settings = ApiKeys::builder(store).hash_policy(HashPolicy::sha256());
    settings.clock(clock.clock()).open().await.unwrap()
}

fn acting(keys: &Keys) -> Issuer<SqliteStore> {
    keys.issuer().acting_as(Actor::operator("test"))
}

async fn issue(keys: &Keys) -> IssuedKey {
    let issuer = acting(keys);
    let acme = issuer.create_organization("acme").await.unwrap();
    issuer.issue(IssueRequest::new(acme.id, "orders")).await.unwrap()
}

async fn check(keys: &Keys, issued: &IssuedKey) -> Result<(), RejectionKind> {
    let key = PresentedKey::new(issued.key.expose_secret().as_bytes());
    let checked = keys.authenticator().check(key).await;
    checked.map(drop).map_err(|rejection| rejection.kind())
}

fn back_up(file: &File) -> PathBuf {
    let path = file.path.with_file_name("backup");
    copy(&file.by_hand(), &path);
    path
}

/// What `.restore` does.
fn restore(file: &File, from: &Path) {
    copy(&Connection::open(from).unwrap(), &file.path);
}

fn copy(from: &Connection, to: &Path) {
    let mut to = Connection::open(to).unwrap();
    let copying = backup::Backup::new(from, &mut to).unwrap();
    copying.run_to_completion(1000, Duration::ZERO, None).unwrap();
}

/// It would be a 503 until the process ends: its record has an older revision than was announced.
#[tokio::test]
async fn key_revoked_after_the_backup_works_again() {
    let (file, clock) = (File::new(), ManualClock::new());
    let keys = open(&file.path, &clock).await;
    let (one, two) = (issue(&keys).await, issue(&keys).await);
    check(&keys, &one).await.unwrap();
    let backup = back_up(&file);
    acting(&keys).revoke(one.record.id, "lost").await.unwrap();
    let inactive = |acme: &mut Organization| acme.status = OrganizationStatus::Inactive;
    acting(&keys)
        .update_organization(two.record.organization_id, inactive)
        .await
        .unwrap();
    assert_eq!(check(&keys, &one).await, Err(RejectionKind::KeyRevoked));
    assert!(check(&keys, &two).await.is_err());

    restore(&file, &backup);
    // Until then nothing looks into the file.
    clock.advance(TIME_TO_LIVE);
    assert_eq!(check(&keys, &one).await, Ok(()));
    assert_eq!(check(&keys, &two).await, Ok(()));
    // And what is done from then on is final as before.
    acting(&keys).revoke(one.record.id, "lost").await.unwrap();
    assert_eq!(check(&keys, &one).await, Err(RejectionKind::KeyRevoked));
}

/// Any read is enough to notice it.
#[tokio::test]
async fn key_issued_after_the_backup_is_unknown() {
    let (file, clock) = (File::new(), ManualClock::new());
    let keys = open(&file.path, &clock).await;
    let _ = issue(&keys).await;
    let backup = back_up(&file);
    let later = issue(&keys).await;
    acting(&keys).disable(later.record.id).await.unwrap();
    acting(&keys).enable(later.record.id).await.unwrap();
    check(&keys, &later).await.unwrap();
    restore(&file, &backup);
    keys.read(Organizations::all()).await.unwrap();
    assert_eq!(check(&keys, &later).await, Err(RejectionKind::UnknownKey));
}

/// The rows of the change log have the same numbers again.
#[tokio::test]
async fn restore_is_noticed_after_as_many_other_changes() {
    let (file, clock) = (File::new(), ManualClock::new());
    let keys = open(&file.path, &clock).await;
    let (one, two) = (issue(&keys).await, issue(&keys).await);
    let backup = back_up(&file);
    acting(&keys).revoke(one.record.id, "lost").await.unwrap();
    restore(&file, &backup);
    let sql = "UPDATE api_keys_keys SET name = 'renamed' WHERE id = ?1";
    let by_hand = file.by_hand();
    for _ in 0..3 {
        by_hand.execute(sql, [two.record.id.as_uuid()]).unwrap();
    }
    clock.advance(TIME_TO_LIVE);
    assert_eq!(check(&keys, &one).await, Ok(()));
}

/// It was decided over rows that are gone.
#[tokio::test]
async fn commit_prepared_before_the_restore_is_not_made() {
    let (file, clock) = (File::new(), ManualClock::new());
    let keys = open(&file.path, &clock).await;
    let store = SqliteStore::open(&file.path).await.unwrap();
    let issued = issue(&keys).await;
    let backup = back_up(&file);
    organization(&store).await;
    acting(&keys).disable(issued.record.id).await.unwrap();
    restore(&file, &backup);
    let write = || Commit::new().write(Write::InsertOrganization(Organization::new("later")));
    let error = store.commit(write()).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    assert!(chain(&error).contains("set back"), "{}", chain(&error));
    store.commit(write()).await.unwrap();
    assert_eq!(check(&keys, &issued).await, Ok(()));
}

/// After the next start nobody would know the secret that it was made with.
#[tokio::test]
async fn key_is_not_issued_with_a_secret_that_is_gone() {
    let (file, clock) = (File::new(), ManualClock::new());
    let keys = open(&file.path, &clock).await;
    let _ = issue(&keys).await;
    let backup = back_up(&file);
    acting(&keys).rotate_checksum_secret().await.unwrap();
    clock.advance(Duration::from_secs(600));
    let id = |key: &IssuedKey| key.key.expose_secret().chars().rev().nth(10);
    assert_eq!(id(&issue(&keys).await), Some('1'));
    restore(&file, &backup);
    let issued = issue(&keys).await;
    assert_eq!(id(&issued), Some('0'));
    drop(keys);
    let keys = open(&file.path, &clock).await;
    assert_eq!(check(&keys, &issued).await, Ok(()));
}

/// Neither its keys nor its secrets are those that the process knows.
#[tokio::test]
async fn another_database_makes_the_store_unusable() {
    let (file, another, clock) = (File::new(), File::new(), ManualClock::new());
    let keys = open(&file.path, &clock).await;
    let issued = issue(&keys).await;
    let there = open(&another.path, &clock).await;
    let theirs = issue(&there).await;
    restore(&file, &back_up(&another));
    for _ in 0..2 {
        let error = keys.read(Organizations::all()).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unusable);
        assert!(chain(&error).contains("another database"), "{}", chain(&error));
        assert!(acting(&keys).revoke(issued.record.id, "lost").await.is_err());
        assert!(acting(&keys).create_organization("more").await.is_err());
    }
    drop(keys);
    // A service that starts again has the other database.
    let keys = open(&file.path, &clock).await;
    assert_eq!(check(&keys, &theirs).await, Ok(()));
}
