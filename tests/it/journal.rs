//! The revocation journal: what was taken from keys stays taken when a backup is restored, whichever way.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use rusqlite::Connection;
use tower_api_key::audit::AuditAction;
use tower_api_key::hash::HashPolicy;
use tower_api_key::key::{
    Actor, KeyRecord, KeyStatus, Organization, OrganizationStatus, Plan, RateLimit, Role, User, UserStatus,
};
use tower_api_key::store::query::AuditEvents;
use tower_api_key::store::{Commit, KeyStore, SqliteStore, SqliteStoreBuilder, StoreError, StoreErrorKind, Write};
use tower_api_key::{
    ApiKeys, IssueErrorKind, IssueRequest, IssuedKey, Issuer, KeySelection, PresentedKey, RejectionKind,
};

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
    for _ in 0..100 {
        match keys.authenticator().check(key).await {
            Ok(context) => return Ok(context.scopes().to_string()),
            Err(rejection) if rejection.kind() == RejectionKind::NotConfirmed => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
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
    let lines = || fs::read_to_string(place.journal()).unwrap().lines().count();
    // What it is, and of which database.
    assert_eq!(lines(), 2);
    let rename = |record: &mut KeyRecord| record.name = "renamed".into();
    acting(&keys).update(issued.record.id, rename).await.unwrap();
    assert_eq!(lines(), 2);
    acting(&keys).disable(issued.record.id).await.unwrap();
    assert_eq!(lines(), 3);
}

#[tokio::test]
async fn store_without_a_journal_writes_none_and_restores_what_was() {
    let place = Place::new();
    let builder = SqliteStore::builder().without_journal();
    let store = builder.open(place.path()).await.unwrap();
    // As a thread of the store has it that has not ended yet.
    let _fence_of_before = store.fence().cloned().unwrap();
    let keys = ApiKeys::builder(store)
        .hash_policy(HashPolicy::sha256())
        .open()
        .await
        .unwrap();
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
    // Its last handle writes a line at its end.
    place.closed().await;
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
        fs::remove_file(place.journal()).unwrap();
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

/// In the place of the journal, so that nothing can write it.
fn block(place: &Place) {
    let _ = fs::rename(place.journal(), place.folder.path().join("journal of before"));
    fs::create_dir(place.journal()).unwrap();
}

fn unblock(place: &Place) {
    fs::remove_dir(place.journal()).unwrap();
    fs::rename(place.folder.path().join("journal of before"), place.journal()).unwrap();
}

#[tokio::test]
async fn what_could_not_be_journaled_is_with_the_next_change() {
    let place = Place::new();
    let keys = place.open().await;
    let acme = organization(&keys).await;
    let mut issued = Vec::new();
    for _ in 0..3 {
        issued.push(issue(&keys, &acme).await);
    }
    let untouched = issue(&keys, &acme).await;
    place.back_up();
    let issuer = acting(&keys);
    block(&place);
    for key in &issued {
        let id = key.record.id;
        let error = issuer.revoke(id, "leaked").await.unwrap_err();
        assert_eq!(error.kind(), IssueErrorKind::OutcomeUnknown);
        assert!(check(&keys, key).await.is_err());
        // It is revoked, and a restored backup would undo it: this is not done yet.
        let error = issuer.revoke(id, "leaked").await.unwrap_err();
        assert_eq!(error.kind(), IssueErrorKind::OutcomeUnknown);
        let selected = KeySelection::label("ci").within(acme.id);
        assert!(issuer.revoke_all(&selected, "none has it").await.is_err());
    }
    // What takes nothing is not held up.
    let _ = issue(&keys, &acme).await;
    unblock(&place);
    issuer.revoke(issued[0].record.id, "leaked").await.unwrap();
    drop((issuer, keys));
    place.restore_by_copy().await;
    let keys = place.open().await;
    for key in &issued {
        assert_eq!(check(&keys, key).await, Err(RejectionKind::KeyRevoked));
    }
    check(&keys, &untouched).await.unwrap();
}

/// A process that was killed behind its commit and before its lines.
#[tokio::test]
async fn lines_that_a_killed_process_did_not_write_are_there_after_a_start() {
    for is_purged in [false, true] {
        let place = Place::new();
        let keys = place.open().await;
        let taken = Box::pin(Taken::prepare(&keys)).await;
        place.back_up();
        let journal = fs::read(place.journal()).unwrap();
        Box::pin(taken.take(&keys)).await;
        drop(keys);
        place.closed().await;
        fs::write(place.journal(), &journal).unwrap();
        let keys = place.open().await;
        // It is done, and the line is there.
        acting(&keys).revoke(taken.revoked.record.id, "leaked").await.unwrap();
        if is_purged {
            let older_than = Duration::ZERO;
            commit(&keys, Write::PurgeChanges { older_than }).await;
        }
        drop(keys);
        place.restore_by_copy().await;
        taken.is_taken(&place.open().await).await;
    }
}

/// With SQLite's own program where it is installed.
fn by_hand(place: &Place, sql: &str) {
    let program = std::process::Command::new("sqlite3")
        .arg(place.path())
        .arg(sql)
        .output();
    match program {
        Ok(output) => assert!(output.status.success(), "{sql}: {output:?}"),
        Err(_) => Connection::open(place.path()).unwrap().execute_batch(sql).unwrap(),
    }
}

/// Everything that can be taken by hand, each from a key of its own.
fn take_by_hand(place: &Place, taken: &Taken) {
    let id = |key: &IssuedKey| format!("id = x'{}'", key.record.id.as_uuid().simple());
    let of = |key: &IssuedKey| format!("key_id = x'{}'", key.record.id.as_uuid().simple());
    let organization = taken.other.id.as_uuid().simple();
    let revoked = "status = 'revoked', status_at = 0, status_reason = '', status_actor = 'system'";
    let acme = taken.acme.id.as_uuid().simple();
    let statements = [
        format!("UPDATE api_keys_keys SET {revoked} WHERE {}", id(&taken.revoked)),
        format!(
            "UPDATE api_keys_keys SET status = 'disabled' WHERE {}",
            id(&taken.disabled)
        ),
        format!(
            "UPDATE api_keys_keys SET scopes = '[\"orders:read\"]' WHERE {}",
            id(&taken.narrowed)
        ),
        format!("UPDATE api_keys_keys SET expires_at = 1 WHERE {}", id(&taken.shortened)),
        format!(
            "UPDATE api_keys_key_secrets SET grace_ends_at = 1 WHERE {}",
            of(&taken.rotated)
        ),
        format!("DELETE FROM api_keys_key_secrets WHERE {}", of(&taken.deleted)),
        format!(
            "INSERT INTO api_keys_users (organization_id, user_id, metadata, status, reason, actor, changed_at, revision) \
             VALUES (x'{acme}', 'alice', '{{}}', 'disabled', '', 'system', 0, 1)"
        ),
        "UPDATE api_keys_roles SET scopes = '[\"invoices:read\"]' WHERE name = 'writer'".to_owned(),
        format!("UPDATE api_keys_organizations SET status = 'inactive' WHERE id = x'{organization}'"),
        format!(
            "UPDATE api_keys_keys SET status = 'disabled' WHERE {}",
            id(&taken.enabled)
        ),
        format!(
            "UPDATE api_keys_keys SET status = 'active' WHERE {}",
            id(&taken.enabled)
        ),
    ];
    statements.iter().for_each(|sql| by_hand(place, sql));
}

#[tokio::test]
async fn change_by_hand_while_nothing_runs_is_in_the_journal_after_a_start() {
    let place = Place::new();
    let keys = place.open().await;
    let taken = Box::pin(Taken::prepare(&keys)).await;
    place.back_up();
    drop(keys);
    place.closed().await;
    take_by_hand(&place, &taken);
    drop(place.open().await);
    place.restore_by_copy().await;
    taken.is_taken(&place.open().await).await;
}

#[tokio::test]
async fn change_by_hand_under_a_running_service_is_in_the_journal_soon() {
    let place = Place::new();
    let keys = place.open().await;
    let taken = Box::pin(Taken::prepare(&keys)).await;
    check(&keys, &taken.untouched).await.unwrap();
    place.back_up();
    take_by_hand(&place, &taken);
    let last = taken.enabled.record.id.to_string();
    let begun = std::time::Instant::now();
    while !fs::read_to_string(place.journal()).unwrap().contains(&last) {
        assert!(begun.elapsed() < Duration::from_secs(30), "it is not written");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    place.restore_through_sqlite();
    taken.is_taken(&keys).await;
}

/// Each is seen by the change log and ends the cached answer, and an update that was prepared before it is a conflict.
#[tokio::test]
async fn rows_that_are_replaced_by_hand_stay_replaced() {
    let columns = "organization_id, user_id, name, name_folded, prefix, environment, scopes, networks, limits, metadata, \
         created_at, created_by, revision";
    for recursive in ["", "PRAGMA recursive_triggers = ON; "] {
        let place = Place::new();
        let keys = place.open().await;
        let acme = organization(&keys).await;
        let (key, other) = (issue(&keys, &acme).await, issue(&keys, &acme).await);
        let (secret, another) = (issue(&keys, &acme).await, issue(&keys, &acme).await);
        let id = |key: &IssuedKey| key.record.id.as_uuid().simple().to_string();
        for issued in [&key, &other, &secret, &another] {
            check(&keys, issued).await.unwrap();
        }
        place.back_up();
        let sql = [
            format!(
                "INSERT OR REPLACE INTO api_keys_keys (id, status, {columns}) SELECT id, 'disabled', {columns} \
                 FROM api_keys_keys WHERE id = x'{}'",
                id(&key)
            ),
            format!(
                "INSERT OR REPLACE INTO api_keys_key_secrets (lookup, key_id, position, hash, created_at, form) \
                 SELECT lookup, key_id, position, (SELECT hash FROM api_keys_key_secrets WHERE key_id = x'{}'), created_at, \
                 form FROM api_keys_key_secrets WHERE key_id = x'{}'",
                id(&other),
                id(&secret)
            ),
            // The secret of another key gets its lookup.
            format!(
                "UPDATE OR REPLACE api_keys_key_secrets SET lookup = '{}' WHERE key_id = x'{}'",
                another.lookup,
                id(&other)
            ),
        ];
        let mut prepared = keys.read(key.record.id).await.unwrap().unwrap().record;
        sql.iter().for_each(|sql| by_hand(&place, &format!("{recursive}{sql}")));
        prepared.name = "renamed".into();
        let error = acting(&keys)
            .commit(Commit::new().write(Write::UpdateKey(prepared)))
            .await;
        assert_eq!(error.unwrap_err().kind(), StoreErrorKind::Conflict);
        for (issued, refused) in [
            (&key, RejectionKind::KeyDisabled),
            (&secret, RejectionKind::WrongSecret),
            (&other, RejectionKind::UnknownKey),
            (&another, RejectionKind::WrongSecret),
        ] {
            let begun = std::time::Instant::now();
            while check(&keys, issued).await != Err(refused) {
                assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", issued.record.id);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        drop(keys);
        place.restore_by_copy().await;
        let keys = place.open().await;
        assert_eq!(check(&keys, &key).await, Err(RejectionKind::KeyDisabled));
        // The secrets that are gone. Of one that has another hash, the backup has the old one.
        assert!(check(&keys, &other).await.is_err() && check(&keys, &another).await.is_err());
    }
}

fn limits(text: &str) -> Vec<RateLimit> {
    let limits = text.split_ascii_whitespace();
    limits.map(|limit| limit.parse().unwrap()).collect()
}

/// The limits that hold for a key, of its own and shared ones, and how many keys its organization may have.
async fn bounds(keys: &Keys, issued: &IssuedKey) -> (Vec<String>, Option<u32>) {
    let key = PresentedKey::new(issued.key.expose_secret().as_bytes());
    let context = keys.authenticator().check(key).await.unwrap();
    let mut limits: Vec<String> = context.allowance().map(|(limit, _)| format!("{limit:?}")).collect();
    limits.sort();
    let organization = issued.record.organization_id;
    (limits, acting(keys).max_keys(organization).await.unwrap())
}

#[tokio::test]
async fn restored_limits_are_no_looser_than_they_were() {
    type Tighten = fn(&mut Organization);
    let of_organization: [Tighten; 6] = [
        |row| row.limits = limits("all=10/1s more=5/60s"),
        |row| row.key_limits = limits("requests=7/60s each=3/60s"),
        |row| row.max_keys = Some(9),
        |row| row.lifted_limits = Default::default(),
        |row| row.lifted_key_limits = Default::default(),
        // Of a tighter plan.
        |row| row.plan = Some(uuid::Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001).into()),
    ];
    for tighten in of_organization {
        let place = Place::new();
        let keys = place.open().await;
        let plan = Plan::new("big");
        let mut plan = acting(&keys).create_plan(plan).await.unwrap();
        plan.limits = limits("shared=90/60s");
        let acme = organization(&keys).await;
        let prepare = |row: &mut Organization| {
            row.plan = Some(plan.id);
            row.limits = limits("all=100/1s");
            row.key_limits = limits("requests=700/60s");
            row.lifted_limits = "shared".parse().unwrap();
            row.lifted_key_limits = "burst".parse().unwrap();
            row.max_keys = Some(90);
        };
        acting(&keys).update_organization(acme.id, prepare).await.unwrap();
        let change = |row: &mut Plan| {
            row.limits = limits("shared=90/60s");
            row.key_limits = limits("burst=90/60s");
        };
        acting(&keys).update_plan(plan.id, change).await.unwrap();
        let issued = issue(&keys, &acme).await;
        place.back_up();
        acting(&keys).update_organization(acme.id, tighten).await.unwrap();
        // Of the plan too.
        acting(&keys)
            .update_plan(plan.id, |row| row.key_limits = limits("burst=8/60s"))
            .await
            .unwrap();
        // And of the key.
        let of_key = |row: &mut KeyRecord| row.limits = limits("own=2/60s requests=5/60s");
        acting(&keys).update(issued.record.id, of_key).await.unwrap();
        let before = bounds(&keys, &issued).await;
        drop(keys);
        place.restore_by_copy().await;
        let keys = place.open().await;
        let after = bounds(&keys, &issued).await;
        assert!(
            before.0.iter().all(|limit| after.0.contains(limit)),
            "{before:?} {after:?}"
        );
        assert_eq!(before.1, after.1);
        // Nothing is left to be taken again.
        drop(keys);
        place.closed().await;
        let keys = place.open().await;
        assert_eq!(bounds(&keys, &issued).await, after);
    }
}

#[tokio::test]
async fn key_that_was_disabled_by_itself_too_is_not_enabled_with_others() {
    let place = Place::new();
    let keys = place.open().await;
    let acme = organization(&keys).await;
    let request = IssueRequest::new(acme.id, "orders").labels("ci".parse().unwrap());
    let issued = acting(&keys).issue(request).await.unwrap();
    let selected = KeySelection::label("ci").within(acme.id);
    acting(&keys).disable_all(&selected, "audit").await.unwrap();
    place.back_up();
    acting(&keys).disable(issued.record.id).await.unwrap();
    drop(keys);
    place.restore_by_copy().await;
    let keys = place.open().await;
    acting(&keys).enable_all(&selected).await.unwrap();
    assert_eq!(check(&keys, &issued).await, Err(RejectionKind::KeyDisabled));
}

/// Also if the process that took it again ends before anything else is changed.
#[tokio::test]
async fn events_of_what_was_taken_again_outlast_the_process() {
    let place = Place::new();
    let keys = place.open().await;
    let acme = organization(&keys).await;
    let issued = issue(&keys, &acme).await;
    place.back_up();
    acting(&keys).revoke(issued.record.id, "leaked").await.unwrap();
    drop(keys);
    place.restore_by_copy().await;
    drop(SqliteStore::open(place.path()).await.unwrap());
    place.closed().await;
    let keys = place.open().await;
    let _next = issue(&keys, &acme).await;
    let events = keys.read(AuditEvents::of(acme.id).page(100)).await.unwrap().items;
    let again = |entry: &&tower_api_key::audit::AuditEntry| entry.event.action == AuditAction::KEY_REVOKED;
    assert_eq!(events.iter().filter(again).count(), 1);
    keys.audit().verify(&Default::default()).await.unwrap();
}

/// What a killed process left is there, and it is not what the rest of the log says.
#[tokio::test]
async fn log_that_is_purged_loses_nothing_that_the_journal_lacks() {
    let place = Place::new();
    let keys = place.open().await;
    let acme = organization(&keys).await;
    let issued = issue(&keys, &acme).await;
    place.back_up();
    by_hand(&place, "UPDATE api_keys_keys SET status = 'disabled'");
    let older_than = Duration::ZERO;
    block(&place);
    commit(&keys, Write::PurgeChanges { older_than }).await;
    unblock(&place);
    commit(&keys, Write::PurgeChanges { older_than }).await;
    drop(keys);
    place.restore_by_copy().await;
    assert_eq!(
        check(&place.open().await, &issued).await,
        Err(RejectionKind::KeyDisabled)
    );
}

/// The row opens nothing. The service must start, and what was revoked beside it must stay revoked.
#[tokio::test]
async fn damaged_row_does_not_keep_a_restored_backup_from_opening() {
    for damage in [
        "UPDATE api_keys_keys SET limits = 'x' WHERE id = ?1",
        "UPDATE api_keys_key_secrets SET hash = '' WHERE key_id = ?1",
    ] {
        let place = Place::new();
        let keys = place.open().await;
        let acme = organization(&keys).await;
        let (damaged, revoked) = (issue(&keys, &acme).await, issue(&keys, &acme).await);
        place.back_up();
        for key in [&damaged, &revoked] {
            acting(&keys).revoke(key.record.id, "leaked").await.unwrap();
        }
        drop(keys);
        place.restore_by_copy().await;
        let by_hand = Connection::open(place.path()).unwrap();
        assert_eq!(by_hand.execute(damage, [damaged.record.id.as_uuid()]), Ok(1));
        drop(by_hand);
        let keys = place.open().await;
        assert_eq!(check(&keys, &revoked).await, Err(RejectionKind::KeyRevoked), "{damage}");
        assert_eq!(
            check(&keys, &damaged).await,
            Err(RejectionKind::InvalidRecord),
            "{damage}"
        );
        // The journal still has it: once more is set back, and the row was repaired.
        drop(keys);
        place.restore_by_copy().await;
        let keys = place.open().await;
        assert_eq!(check(&keys, &damaged).await, Err(RejectionKind::KeyRevoked), "{damage}");
    }
}

/// Events of what was taken again go with the next commit, which must not fail for the chain of another organization.
#[tokio::test]
async fn damaged_chain_does_not_stop_changes_after_a_restored_backup() {
    let place = Place::new();
    let keys = place.open().await;
    let (acme, other) = (organization(&keys).await, organization(&keys).await);
    let (revoked, living) = (issue(&keys, &acme).await, issue(&keys, &other).await);
    place.back_up();
    acting(&keys).revoke(revoked.record.id, "leaked").await.unwrap();
    drop(keys);
    place.restore_by_copy().await;
    let by_hand = Connection::open(place.path()).unwrap();
    let damage = "UPDATE api_keys_organization_state SET audit_hash = 'x' WHERE organization_id = ?1";
    assert_eq!(by_hand.execute(damage, [acme.id.as_uuid()]), Ok(1));
    drop(by_hand);
    let keys = place.open().await;
    assert_eq!(check(&keys, &revoked).await, Err(RejectionKind::KeyRevoked));
    acting(&keys).revoke(living.record.id, "leaked").await.unwrap();
    assert_eq!(check(&keys, &living).await, Err(RejectionKind::KeyRevoked));
}
