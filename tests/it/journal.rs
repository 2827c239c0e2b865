//! The revocation journal: what was taken from keys stays taken when a backup is restored, whichever way.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use rusqlite::Connection;
use tower_api_key::audit::AuditAction;
use tower_api_key::hash::HashPolicy;
use tower_api_key::key::{Actor, KeyRecord, KeyStatus, Organization, OrganizationStatus, Role, User, UserStatus};
use tower_api_key::store::query::AuditEvents;
use tower_api_key::store::{Commit, SqliteStore, SqliteStoreBuilder, StoreError, StoreErrorKind, Write};
use tower_api_key::{ApiKeys, IssueErrorKind, IssueRequest, IssuedKey, Issuer, PresentedKey, RejectionKind};

type Keys = ApiKeys<SqliteStore>;

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("keys.sqlite")
    }

    fn backup(&self) -> PathBuf {
        self.folder.path().join("backup")
    }

    fn journal(&self) -> PathBuf {
        self.folder.path().join("keys.sqlite.revocations")
    }

    async fn open(&self) -> Keys {
        self.open_with(SqliteStore::builder()).await.unwrap()
    }

    async fn open_with(&self, builder: SqliteStoreBuilder) -> Result<Keys, StoreError> {
        let store = builder.open(self.path()).await?;
        ApiKeys::builder(store).hash_policy(HashPolicy::sha256()).open().await
    }

    fn back_up(&self) {
        let _ = fs::remove_file(self.backup());
        let by_hand = Connection::open(self.path()).unwrap();
        by_hand
            .execute("VACUUM INTO ?1", [self.backup().to_str().unwrap()])
            .unwrap();
    }

    /// When nothing has the file open any more: at its end SQLite writes its log into the file, and removes it.
    async fn closed(&self) {
        let log = self.folder.path().join("keys.sqlite-wal");
        while log.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn restore_by_copy(&self) {
        self.closed().await;
        fs::copy(self.backup(), self.path()).unwrap();
    }

    /// As `.restore` does, also while the file is open.
    fn restore_through_sqlite(&self) {
        let from = Connection::open(self.backup()).unwrap();
        let mut to = Connection::open(self.path()).unwrap();
        let copying = rusqlite::backup::Backup::new(&from, &mut to).unwrap();
        copying.run_to_completion(1000, Duration::ZERO, None).unwrap();
    }
}

fn acting(keys: &Keys) -> Issuer<SqliteStore> {
    keys.issuer().acting_as(Actor::operator("test"))
}

async fn organization(keys: &Keys) -> Organization {
    acting(keys).create_organization("acme").await.unwrap()
}

async fn issue(keys: &Keys, acme: &Organization) -> IssuedKey {
    let request = IssueRequest::new(acme.id, "orders").scopes("orders:read orders:write".parse().unwrap());
    acting(keys).issue(request).await.unwrap()
}

/// Repeated if everything was announced again and again during the check: it is answered 503 then.
async fn check(keys: &Keys, issued: &IssuedKey) -> Result<String, RejectionKind> {
    let key = PresentedKey::new(issued.key.expose_secret().as_bytes());
    for _ in 0..10 {
        match keys.authenticator().check(key).await {
            Ok(context) => return Ok(context.scopes().to_string()),
            Err(rejection) if rejection.kind() == RejectionKind::NotConfirmed => {}
            Err(rejection) => return Err(rejection.kind()),
        }
    }
    Err(RejectionKind::NotConfirmed)
}

/// Everything that can be taken, from a key of each kind.
struct Taken {
    revoked: IssuedKey,
    disabled: IssuedKey,
    narrowed: IssuedKey,
    shortened: IssuedKey,
    rotated: IssuedKey,
    deleted: IssuedKey,
    of_user: IssuedKey,
    by_role: IssuedKey,
    of_inactive: IssuedKey,
    enabled: IssuedKey,
    untouched: IssuedKey,
    acme: Organization,
    other: Organization,
}

impl Taken {
    async fn prepare(keys: &Keys) -> Self {
        let acme = organization(keys).await;
        let other = acting(keys).create_organization("other").await.unwrap();
        let of_user = IssueRequest::new(acme.id, "alice's").user("alice".parse().unwrap());
        let taken = Self {
            revoked: issue(keys, &acme).await,
            disabled: issue(keys, &acme).await,
            narrowed: issue(keys, &acme).await,
            shortened: issue(keys, &acme).await,
            rotated: issue(keys, &acme).await,
            deleted: issue(keys, &acme).await,
            of_user: acting(keys).issue(of_user).await.unwrap(),
            by_role: issue(keys, &acme).await,
            of_inactive: issue(keys, &other).await,
            enabled: issue(keys, &acme).await,
            untouched: issue(keys, &acme).await,
            acme,
            other,
        };
        let role = Role::new("writer", "invoices:read invoices:write".parse().unwrap());
        commit(keys, Write::InsertRole(role)).await;
        let by_role = |record: &mut KeyRecord| record.roles = "writer".parse().unwrap();
        acting(keys).update(taken.by_role.record.id, by_role).await.unwrap();
        taken
    }

    async fn take(&self, keys: &Keys) {
        let issuer = acting(keys);
        issuer.revoke(self.revoked.record.id, "leaked").await.unwrap();
        issuer.disable(self.disabled.record.id).await.unwrap();
        let narrow = |record: &mut KeyRecord| record.scopes = "orders:read".parse().unwrap();
        issuer.update(self.narrowed.record.id, narrow).await.unwrap();
        let end = |record: &mut KeyRecord| record.expires_at = Some("2001-01-01T00:00:00Z".parse().unwrap());
        issuer.update(self.shortened.record.id, end).await.unwrap();
        let _new = issuer.rotate(self.rotated.record.id, Duration::ZERO).await.unwrap();
        commit(keys, Write::DeleteKey(self.deleted.record.id)).await;
        let mut user = User::new(self.acme.id, "alice".parse().unwrap(), self.acme.created_at);
        user.status = UserStatus::Disabled;
        commit(keys, Write::InsertUser(user)).await;
        let mut role = Role::new("writer", "invoices:read".parse().unwrap());
        role.revision = 1;
        commit(keys, Write::UpdateRole(role)).await;
        let deactivate = |row: &mut Organization| row.status = OrganizationStatus::Inactive;
        issuer.update_organization(self.other.id, deactivate).await.unwrap();
        issuer.disable(self.enabled.record.id).await.unwrap();
        issuer.enable(self.enabled.record.id).await.unwrap();
    }

    async fn is_taken(&self, keys: &Keys) {
        for key in [
            &self.revoked,
            &self.disabled,
            &self.shortened,
            &self.rotated,
            &self.deleted,
            &self.of_user,
            &self.of_inactive,
        ] {
            assert!(check(keys, key).await.is_err(), "{:?}", key.record.name);
        }
        assert_eq!(check(keys, &self.revoked).await, Err(RejectionKind::KeyRevoked));
        assert_eq!(check(keys, &self.disabled).await, Err(RejectionKind::KeyDisabled));
        assert_eq!(check(keys, &self.narrowed).await.unwrap(), "orders:read");
        let by_role = check(keys, &self.by_role).await.unwrap();
        assert_eq!(by_role, "invoices:read orders:read orders:write");
        // What was given back since stays given.
        check(keys, &self.enabled).await.unwrap();
        check(keys, &self.untouched).await.unwrap();
    }
}

async fn commit(keys: &Keys, write: Write) {
    acting(keys).commit(Commit::new().write(write)).await.unwrap();
}

#[tokio::test]
async fn restored_by_copy_is_refused_before_the_first_answer() {
    let place = Place::new();
    let keys = place.open().await;
    let taken = Box::pin(Taken::prepare(&keys)).await;
    place.back_up();
    Box::pin(taken.take(&keys)).await;
    let later = issue(&keys, &taken.acme).await;
    drop(keys);
    place.restore_by_copy().await;
    let keys = place.open().await;
    taken.is_taken(&keys).await;
    assert_eq!(check(&keys, &later).await, Err(RejectionKind::UnknownKey));
    drop(keys);
    // And again, now that the journal has a second history.
    place.restore_by_copy().await;
    taken.is_taken(&place.open().await).await;
    taken.is_taken(&place.open().await).await;
}

#[tokio::test]
async fn restored_under_a_running_service_is_refused_at_the_next_read() {
    let place = Place::new();
    let keys = place.open().await;
    let taken = Box::pin(Taken::prepare(&keys)).await;
    place.back_up();
    Box::pin(taken.take(&keys)).await;
    place.restore_through_sqlite();
    taken.is_taken(&keys).await;
    // What is taken from then on is journaled as before.
    acting(&keys).revoke(taken.untouched.record.id, "").await.unwrap();
    place.restore_through_sqlite();
    // The first to notice may be a commit.
    while acting(&keys).create_organization("later").await.is_err() {}
    assert_eq!(check(&keys, &taken.untouched).await, Err(RejectionKind::KeyRevoked));
    assert_eq!(check(&keys, &taken.revoked).await, Err(RejectionKind::KeyRevoked));
}

#[tokio::test]
async fn restored_while_closed_through_sqlite_is_refused() {
    let place = Place::new();
    let keys = place.open().await;
    let taken = Box::pin(Taken::prepare(&keys)).await;
    place.back_up();
    Box::pin(taken.take(&keys)).await;
    drop(keys);
    place.closed().await;
    place.restore_through_sqlite();
    taken.is_taken(&place.open().await).await;
}

#[tokio::test]
async fn wrong_backup_first_and_the_right_one_then() {
    let place = Place::new();
    let keys = place.open().await;
    let acme = organization(&keys).await;
    place.back_up();
    let old = fs::read(place.backup()).unwrap();
    let issued = issue(&keys, &acme).await;
    place.back_up();
    acting(&keys).revoke(issued.record.id, "leaked").await.unwrap();
    drop(keys);
    let newer = fs::read(place.backup()).unwrap();
    for (backup, refused) in [(&old, RejectionKind::UnknownKey), (&newer, RejectionKind::KeyRevoked)] {
        fs::write(place.backup(), backup).unwrap();
        place.restore_by_copy().await;
        assert_eq!(check(&place.open().await, &issued).await, Err(refused));
    }
}

#[tokio::test]
async fn what_was_taken_again_is_in_the_audit_trail() {
    let place = Place::new();
    let keys = place.open().await;
    let acme = organization(&keys).await;
    let issued = issue(&keys, &acme).await;
    place.back_up();
    acting(&keys).revoke(issued.record.id, "leaked").await.unwrap();
    drop(keys);
    place.restore_by_copy().await;
    let keys = place.open().await;
    // With the next change that has events of its own.
    let _next = issue(&keys, &acme).await;
    let _another = issue(&keys, &acme).await;
    let events = keys.read(AuditEvents::of(acme.id).page(100)).await.unwrap().items;
    let again: Vec<_> = events
        .iter()
        .filter(|entry| entry.event.action == AuditAction::KEY_REVOKED)
        .collect();
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].event.key_id, Some(issued.record.id));
    assert_eq!(again[0].event.actor, Actor::system());
    keys.audit().verify(&Default::default()).await.unwrap();
}

#[tokio::test]
async fn change_of_a_name_is_no_line_of_the_journal() {
    let place = Place::new();
    let keys = place.open().await;
    let acme = organization(&keys).await;
    let issued = issue(&keys, &acme).await;
    assert!(!place.journal().exists());
    let rename = |record: &mut KeyRecord| record.name = "renamed".into();
    acting(&keys).update(issued.record.id, rename).await.unwrap();
    assert!(!place.journal().exists());
    acting(&keys).disable(issued.record.id).await.unwrap();
    assert_eq!(fs::read_to_string(place.journal()).unwrap().lines().count(), 3);
}

#[tokio::test]
async fn store_without_a_journal_writes_none_and_restores_what_was() {
    let place = Place::new();
    let keys = place.open_with(SqliteStore::builder().without_journal()).await.unwrap();
    let acme = organization(&keys).await;
    let issued = issue(&keys, &acme).await;
    place.back_up();
    acting(&keys).revoke(issued.record.id, "leaked").await.unwrap();
    drop(keys);
    assert!(!place.journal().exists());
    place.restore_by_copy().await;
    check(&place.open().await, &issued).await.unwrap();
}

#[tokio::test]
async fn journal_in_another_place_is_kept_there() {
    let place = Place::new();
    let elsewhere = tempfile::tempdir().unwrap();
    let path = elsewhere.path().join("journal");
    let builder = || SqliteStore::builder().journal(&path);
    let keys = place.open_with(builder()).await.unwrap();
    let acme = organization(&keys).await;
    let issued = issue(&keys, &acme).await;
    place.back_up();
    acting(&keys).revoke(issued.record.id, "leaked").await.unwrap();
    drop(keys);
    assert!(path.exists() && !place.journal().exists());
    place.restore_by_copy().await;
    let keys = place.open_with(builder()).await.unwrap();
    assert_eq!(check(&keys, &issued).await, Err(RejectionKind::KeyRevoked));
}

#[tokio::test]
async fn new_database_beside_an_old_journal_opens() {
    let place = Place::new();
    let keys = place.open().await;
    let issued = issue(&keys, &organization(&keys).await).await;
    acting(&keys).revoke(issued.record.id, "").await.unwrap();
    drop(keys);
    place.closed().await;
    fs::remove_file(place.path()).unwrap();
    let keys = place.open().await;
    let issued = issue(&keys, &organization(&keys).await).await;
    check(&keys, &issued).await.unwrap();
    acting(&keys).revoke(issued.record.id, "").await.unwrap();
    drop(keys);
    assert!(check(&place.open().await, &issued).await.is_err());
}

async fn journaled(place: &Place) -> IssuedKey {
    let keys = place.open().await;
    let issued = issue(&keys, &organization(&keys).await).await;
    acting(&keys).disable(issued.record.id).await.unwrap();
    acting(&keys).enable(issued.record.id).await.unwrap();
    issued
}

#[tokio::test]
async fn damaged_journal_is_an_error_that_says_what_to_do() {
    let place = Place::new();
    let _issued = journaled(&place).await;
    let whole = fs::read_to_string(place.journal()).unwrap();
    fs::write(place.journal(), whole.replacen("disabled", "disable", 1)).unwrap();
    let error = place.open_with(SqliteStore::builder()).await.map(drop).unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unusable);
    let said = said(&error);
    assert!(
        said.contains("damaged in line 3") && said.contains("move the file away"),
        "{said}"
    );
    // Cut off at its end, it tells of what was not acknowledged.
    fs::write(place.journal(), &whole[..whole.len() - 3]).unwrap();
    place.open().await;
}

fn said(error: &StoreError) -> String {
    let mut said = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        said.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    said
}

#[cfg(unix)]
mod files {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;

    use super::*;
    use crate::support::files::set_mode;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn journal_is_for_its_owner_alone_and_no_link_is_followed() {
        let place = Place::new();
        let issued = journaled(&place).await;
        assert_eq!(mode(&place.journal()), 0o600);
        set_mode(&place.journal(), 0o666);
        let error = place.open_with(SqliteStore::builder()).await.map(drop).unwrap_err();
        assert!(said(&error).contains("mode 666"), "{}", said(&error));

        let victim = place.folder.path().join("victim");
        fs::write(&victim, "of others").unwrap();
        fs::remove_file(place.journal()).unwrap();
        let keys = place.open().await;
        symlink(&victim, place.journal()).unwrap();
        let error = acting(&keys).revoke(issued.record.id, "").await.unwrap_err();
        // It is revoked, and the caller learns that a backup would undo it.
        assert_eq!(error.kind(), IssueErrorKind::OutcomeUnknown);
        assert_eq!(check(&keys, &issued).await, Err(RejectionKind::KeyRevoked));
        assert_eq!(fs::read_to_string(&victim).unwrap(), "of others");
        let record = keys.read(issued.record.id).await.unwrap().unwrap().record;
        assert_eq!(record.status, KeyStatus::Revoked);
        drop(keys);
        let error = place.open_with(SqliteStore::builder()).await.map(drop).unwrap_err();
        assert!(said(&error).contains("no link"), "{}", said(&error));
    }

    #[tokio::test]
    #[ignore = "run in another process by other tests"]
    async fn make_files() {
        if std::env::var_os(FOLDER).is_none() {
            return;
        }
        let folder = PathBuf::from(std::env::var_os(FOLDER).unwrap());
        let store = SqliteStore::open(folder.join("keys.sqlite")).await.unwrap();
        let keys = ApiKeys::builder(store)
            .hash_policy(HashPolicy::sha256())
            .open()
            .await
            .unwrap();
        let issued = issue(&keys, &organization(&keys).await).await;
        acting(&keys).revoke(issued.record.id, "").await.unwrap();
        // With its logs, as they are while a service runs.
        let names: Vec<_> = fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        assert_eq!(names.len(), 5, "{names:?}");
        for path in names {
            assert_eq!(mode(&path), 0o600, "{}", path.display());
        }
    }

    const FOLDER: &str = "JOURNAL_TEST_FOLDER";

    #[test]
    fn files_are_their_owners_alone_whatever_the_umask() {
        let folder = tempfile::tempdir().unwrap();
        let output = std::process::Command::new("sh")
            .args([
                "-c",
                "umask 000; exec \"$0\" --ignored --exact journal::files::make_files --nocapture",
            ])
            .arg(std::env::current_exe().unwrap())
            .env(FOLDER, folder.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
    }
}

#[tokio::test]
async fn what_could_not_be_journaled_is_with_the_next_change() {
    let place = Place::new();
    let keys = place.open().await;
    let acme = organization(&keys).await;
    let issued = issue(&keys, &acme).await;
    place.back_up();
    let issuer = keys.issuer().acting_as(Actor::service());
    // As a full disk.
    let _ = fs::remove_file(place.journal());
    fs::create_dir(place.journal()).unwrap();
    assert!(issuer.revoke(issued.record.id, "leaked").await.is_err());
    fs::remove_dir(place.journal()).unwrap();
    // It is revoked already, so this changes nothing.
    issuer.revoke(issued.record.id, "leaked").await.unwrap();
    let _ = issue(&keys, &acme).await;
    drop((issuer, keys));
    place.restore_by_copy().await;
    let keys = place.open().await;
    assert!(check(&keys, &issued).await.is_err());
}
