//! A full disk, a file that another process locks, a file that is replaced, a journal that cannot be written: every command under each
//! of them. Each ends with a typed error, nothing is half done, and all of them work afterwards.

use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::types::Value;
use tower_api_key::audit::Forget;
use tower_api_key::hash::HashPolicy;
use tower_api_key::key::{Actor, KeyId, KnownScope, OrganizationId, OrganizationStatus, Plan, PlanId, Role, UserId};
use tower_api_key::store::query::KeyUses;
use tower_api_key::store::{Commit, SqliteStore, SqliteStoreBuilder, Write};
use tower_api_key::{
    ApiKeys, Descendants, IfUsed, IssueErrorKind, IssueRequest, IssuedKey, Issuer, KeySelection, PresentedKey,
    UserRequest,
};

type Keys = ApiKeys<SqliteStore>;
type Made = Result<(), String>;
type Command<'c> = (&'static str, Pin<Box<dyn Future<Output = Made> + 'c>>);

/// What a store may answer when its file does not do what it should.
const UNAVAILABLE: &str = "Unavailable";
const UNUSABLE: &str = "Unusable";
const UNKNOWN: &str = "OutcomeUnknown";

/// A store with something of every kind.
struct Place {
    folder: PathBuf,
    kept: Option<tempfile::TempDir>,
    keys: Keys,
    acme: OrganizationId,
    other: OrganizationId,
    inactive: OrganizationId,
    disabled: KeyId,
    held: IssuedKey,
    plan: PlanId,
    used: IssuedKey,
    of_alice: IssuedKey,
    rotated: [KeyId; 2],
    creator: KeyId,
}

fn builder() -> SqliteStoreBuilder {
    SqliteStore::builder().busy_timeout(Duration::from_millis(20))
}

async fn open(path: PathBuf, builder: SqliteStoreBuilder) -> Keys {
    let store = builder.open(path).await.unwrap();
    let keys = ApiKeys::builder(store).hash_policy(HashPolicy::sha256());
    keys.open().await.unwrap()
}

fn alice() -> UserId {
    "alice".parse().unwrap()
}

fn issuer(keys: &Keys) -> Issuer<SqliteStore> {
    keys.issuer().acting_as(Actor::operator("root"))
}

impl Place {
    async fn new(builder: SqliteStoreBuilder) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_owned();
        let mut place = Self::new_in(&path, builder).await;
        place.kept = Some(folder);
        place
    }

    async fn new_in(folder: &Path, builder: SqliteStoreBuilder) -> Self {
        let folder = folder.to_owned();
        let keys = open(folder.join("keys.sqlite"), builder).await;
        let issuer = issuer(&keys);
        let acme = issuer.create_organization("acme").await.unwrap().id;
        let other = issuer.create_organization("other").await.unwrap().id;
        let inactive = issuer.create_organization("inactive").await.unwrap().id;
        let plan = issuer.create_plan(Plan::new("team")).await.unwrap().id;
        issuer
            .create_role(Role::new("reader", "orders:read orders:count".parse().unwrap()))
            .await
            .unwrap();
        issuer.create_user(UserRequest::new(acme, alice())).await.unwrap();
        let request = || IssueRequest::new(acme, "key").labels("ci".parse().unwrap());
        let used = issuer.issue(request()).await.unwrap();
        let of_alice = issuer.issue(request().user(alice())).await.unwrap();
        let mut rotated = Vec::new();
        for _ in 0..2 {
            let id = issuer.issue(request()).await.unwrap().record.id;
            let _ = issuer.rotate(id, Duration::from_secs(3600)).await.unwrap();
            rotated.push(id);
        }
        let creator = issuer.issue(request()).await.unwrap().record.id;
        let revoked = issuer
            .issue(IssueRequest::new(other, "revoked"))
            .await
            .unwrap()
            .record
            .id;
        issuer.revoke(revoked, "").await.unwrap();
        let expired = issuer
            .issue(IssueRequest::new(other, "expired"))
            .await
            .unwrap()
            .record
            .id;
        issuer.deactivate_organization(inactive, "").await.unwrap();
        let bob: UserId = "bob".parse().unwrap();
        issuer.create_user(UserRequest::new(acme, bob.clone())).await.unwrap();
        issuer.disable_user(acme, &bob, "left").await.unwrap();
        issuer
            .create_user(UserRequest::new(acme, "dora".parse().unwrap()))
            .await
            .unwrap();
        let held = issuer
            .issue(IssueRequest::new(other, "held").labels("held".parse().unwrap()))
            .await
            .unwrap();
        issuer
            .disable_all(&KeySelection::label("held").within(other), "audit")
            .await
            .unwrap();
        let disabled = issuer.issue(request()).await.unwrap().record.id;
        issuer.disable(disabled).await.unwrap();
        for scope in ["orders:list", "orders:count"] {
            issuer
                .create_scope(KnownScope::new(scope.parse().unwrap(), ""))
                .await
                .unwrap();
        }
        let past = "2001-01-01T00:00:00Z".parse().unwrap();
        issuer
            .update(expired, |record| record.expires_at = Some(past))
            .await
            .unwrap();
        let place = Self {
            acme,
            other,
            inactive,
            disabled,
            held,
            plan,
            used,
            of_alice,
            rotated: rotated.try_into().unwrap(),
            creator,
            keys: keys.clone(),
            folder,
            kept: None,
        };
        keys.flush().await.unwrap();
        place.uses().await;
        place
    }

    fn path(&self) -> PathBuf {
        self.folder.join("keys.sqlite")
    }

    fn by_hand(&self) -> Connection {
        Connection::open(self.path()).unwrap()
    }

    /// Something that waits to be stored.
    async fn uses(&self) {
        let key = PresentedKey::new(self.used.key.expose_secret().as_bytes());
        self.keys.authenticator().check(key).await.unwrap();
        let wrong = format!("{}x", self.used.key.expose_secret());
        let wrong = self
            .keys
            .authenticator()
            .check(PresentedKey::new(wrong.as_bytes()))
            .await;
        assert!(wrong.is_err());
    }

    /// Every row of every table.
    fn rows(&self) -> Vec<(String, Vec<Vec<Value>>)> {
        let connection = self.by_hand();
        let names = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name LIKE 'api_keys_%' ORDER BY name";
        let names: Vec<String> = connection
            .prepare(names)
            .unwrap()
            .query_map([], |row| row.get(0))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        let rows_of = |name: String| {
            let mut statement = connection.prepare(&format!("SELECT * FROM {name}")).unwrap();
            let columns = statement.column_count();
            let row = |row: &rusqlite::Row<'_>| (0..columns).map(|index| row.get(index)).collect();
            let rows = statement.query_map([], row).unwrap().collect::<Result<_, _>>();
            (name, rows.unwrap())
        };
        names.into_iter().map(rows_of).collect()
    }
}

fn issued<T>(result: Result<T, tower_api_key::IssueError>) -> Made {
    result.map(drop).map_err(|error| match error.kind() {
        IssueErrorKind::StoreUnavailable => UNAVAILABLE.to_owned(),
        IssueErrorKind::OutcomeUnknown => UNKNOWN.to_owned(),
        kind => format!("{kind:?}"),
    })
}

fn stored<T>(result: Result<T, tower_api_key::store::StoreError>) -> Made {
    result.map(drop).map_err(|error| format!("{:?}", error.kind()))
}

fn audited<T>(result: Result<T, tower_api_key::AuditError>) -> Made {
    result.map(drop).map_err(|error| {
        let source = std::error::Error::source(&error);
        let store = source.and_then(|source| source.downcast_ref::<tower_api_key::store::StoreError>());
        store.map_or_else(|| format!("{error:?}"), |error| format!("{:?}", error.kind()))
    })
}

/// Every command, in an order in which each has something to do.
fn commands<'c>(place: &'c Place, issuer: &'c Issuer<SqliteStore>) -> Vec<Command<'c>> {
    let (keys, acme, other) = (&place.keys, place.acme, place.other);
    let id = place.used.record.id;
    let scope = || "orders:read".parse().unwrap();
    macro_rules! command {
        ($name:literal, $made:ident, $call:expr) => {
            (
                $name,
                Box::pin(async move { $made($call.await) }) as Pin<Box<dyn Future<Output = Made> + 'c>>,
            )
        };
    }
    vec![
        command!("flush", audited, keys.flush()),
        command!("maintenance", identity, async {
            let report = keys.maintenance().run_once().await;
            match report.failed().count() {
                0 => Ok(()),
                _ => Err(UNAVAILABLE.to_owned()),
            }
        }),
        command!(
            "purge",
            stored,
            issuer.commit(Commit::new().write(Write::PurgeChanges {
                older_than: Duration::ZERO
            }))
        ),
        command!(
            "prune_refusals",
            audited,
            keys.audit().prune_refusals("2001-01-01T00:00:00Z".parse().unwrap())
        ),
        command!("rotate_checksum_secret", issued, issuer.rotate_checksum_secret()),
        command!("ensure", issued, keys.ensure("ensured", "first")),
        command!("create_organization", issued, issuer.create_organization("more")),
        command!(
            "update_organization",
            issued,
            issuer.update_organization(other, |row| row.max_keys = Some(7))
        ),
        command!(
            "deactivate_organization",
            issued,
            issuer.deactivate_organization(other, "")
        ),
        command!(
            "activate_organization",
            issued,
            issuer.activate_organization(place.inactive)
        ),
        command!("create_plan", issued, issuer.create_plan(Plan::new("more"))),
        command!(
            "update_plan",
            issued,
            issuer.update_plan(place.plan, |plan| plan.max_keys = Some(9))
        ),
        command!("delete_plan", issued, issuer.delete_plan(place.plan)),
        command!(
            "create_role",
            issued,
            issuer.create_role(Role::new("more", Default::default()))
        ),
        command!(
            "update_role",
            issued,
            issuer.update_role("reader", |role| role.scopes = "orders:read".parse().unwrap())
        ),
        command!("delete_role", issued, issuer.delete_role("reader")),
        command!(
            "create_scope",
            issued,
            issuer.create_scope(KnownScope::new(scope(), "Reads"))
        ),
        command!(
            "update_scope",
            issued,
            issuer.update_scope(&"orders:list".parse().unwrap(), "Reads orders")
        ),
        command!(
            "delete_scope",
            issued,
            issuer.delete_scope(&"orders:count".parse().unwrap())
        ),
        command!(
            "create_user",
            issued,
            issuer.create_user(UserRequest::new(acme, "carol".parse().unwrap()))
        ),
        command!(
            "update_user",
            issued,
            issuer.update_user(acme, &alice(), |user| user.name = Some("Alice".into()))
        ),
        command!("disable_user", issued, issuer.disable_user(acme, &alice(), "left")),
        command!("enable_user", issued, issuer.enable_user(acme, &"bob".parse().unwrap())),
        command!("issue", issued, issuer.issue(IssueRequest::new(acme, "more"))),
        command!(
            "update",
            issued,
            issuer.update(id, |record| record.name = "renamed".into())
        ),
        command!("disable", issued, issuer.disable(id)),
        command!("enable", issued, issuer.enable(place.disabled)),
        command!("rotate", issued, issuer.rotate(id, Duration::from_secs(60))),
        command!("finish", issued, issuer.finish(place.rotated[0], Duration::ZERO)),
        command!(
            "take_back",
            issued,
            issuer.take_back(place.rotated[1], IfUsed::Override)
        ),
        command!(
            "disable_all",
            issued,
            issuer.disable_all(&KeySelection::label("ci").within(acme), "audit")
        ),
        command!(
            "enable_all",
            issued,
            issuer.enable_all(&KeySelection::label("held").within(other))
        ),
        command!("revoke", issued, issuer.revoke(id, "leaked")),
        command!("revoke_with_descendants", issued, {
            issuer.revoke_with_descendants(place.creator, Descendants::default(), "left")
        }),
        command!(
            "revoke_all",
            issued,
            issuer.revoke_all(&KeySelection::label("ci").within(acme), "left")
        ),
        command!(
            "delete_user",
            issued,
            issuer.delete_user(acme, &"dora".parse().unwrap())
        ),
        command!("delete_expired", issued, issuer.delete_expired(Duration::ZERO)),
        command!("delete_revoked", issued, issuer.delete_revoked(Duration::ZERO)),
        command!("forget", issued, issuer.forget(Forget::user(alice()))),
        command!(
            "prune",
            audited,
            keys.audit().prune("2100-01-01T00:00:00Z".parse().unwrap())
        ),
        command!("delete_organization", issued, issuer.delete_organization(acme, "left")),
    ]
}

fn identity(made: Made) -> Made {
    made
}

/// Each command fails with one of these, and nothing is written.
async fn all_fail(place: &Place, with: &[&str]) {
    let before = place.rows();
    let issuer = issuer(&place.keys);
    for (name, command) in commands(place, &issuer) {
        let error = command.await.expect_err(name);
        assert!(with.contains(&&*error), "{name}: {error}");
    }
    let after = place.rows();
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before, after);
    }
}

async fn all_are_made(place: &Place) {
    let issuer = issuer(&place.keys);
    for (name, command) in commands(place, &issuer) {
        command.await.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    place.keys.audit().verify(&Default::default()).await.unwrap();
    let key = PresentedKey::new(place.of_alice.key.expose_secret().as_bytes());
    assert!(place.keys.authenticator().check(key).await.is_err());
    let held = PresentedKey::new(place.held.key.expose_secret().as_bytes());
    assert!(
        place.keys.authenticator().check(held).await.is_err(),
        "its organization was deactivated"
    );
}

/// Uses that could not be stored are stored once.
async fn uses_are(place: &Place, requests: u64) {
    place.keys.flush().await.unwrap();
    let uses = place.keys.read(KeyUses::of(place.used.record.id)).await.unwrap();
    assert_eq!(uses[0].requests(), requests);
}

#[tokio::test]
async fn file_that_is_locked_fails_every_command_and_loses_nothing() {
    let place = Place::new(builder()).await;
    let other = place.by_hand();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    all_fail(&place, &[UNAVAILABLE]).await;
    other.execute_batch("ROLLBACK").unwrap();
    uses_are(&place, 1).await;
    place.uses().await;
    all_are_made(&place).await;
}

/// SQLite rolls back by itself when the disk is full. Every transaction of the store leaves a row in its change log.
#[tokio::test]
async fn full_disk_fails_every_command_and_loses_nothing() {
    for action in ["ROLLBACK", "ABORT"] {
        let place = Place::new(builder()).await;
        let full = format!(
            "CREATE TRIGGER full BEFORE INSERT ON api_keys_key_changes BEGIN SELECT RAISE({action}, 'full'); END"
        );
        place.by_hand().execute_batch(&full).unwrap();
        all_fail(&place, &[UNAVAILABLE]).await;
        place.by_hand().execute_batch("DROP TRIGGER full").unwrap();
        uses_are(&place, 1).await;
        place.uses().await;
        all_are_made(&place).await;
    }
}

#[cfg(unix)]
#[tokio::test]
async fn file_that_was_replaced_takes_no_command_and_the_old_one_none_either() {
    let place = Place::new(builder()).await;
    let away = place.folder.join("away.sqlite");
    let copy = place.folder.join("copy.sqlite");
    place
        .by_hand()
        .execute("VACUUM INTO ?1", [copy.to_str().unwrap()])
        .unwrap();
    fs::rename(place.path(), &away).unwrap();
    fs::rename(&copy, place.path()).unwrap();
    let before = place.rows();
    let issuer = issuer(&place.keys);
    for (name, command) in commands(&place, &issuer) {
        let error = command.await.expect_err(name);
        assert!([UNAVAILABLE, UNUSABLE].contains(&&*error), "{name}: {error}");
    }
    assert_eq!(place.rows(), before);
    // The service that starts again has the new file.
    let Place {
        folder,
        keys,
        kept: _kept,
        ..
    } = place;
    drop((issuer, keys));
    fs::rename(folder.join("keys.sqlite"), folder.join("new.sqlite")).unwrap();
    let keys = open(folder.join("new.sqlite"), builder()).await;
    self::issuer(&keys).create_organization("more").await.unwrap();
}

/// What takes nothing from keys is made. What does is made too, and its caller learns that a backup would undo it.
#[tokio::test]
async fn journal_that_cannot_be_written_stops_no_command_and_is_told() {
    let place = Place::new(builder()).await;
    let (journal, away) = (place.folder.join("keys.sqlite.revocations"), place.folder.join("away"));
    fs::rename(&journal, &away).unwrap();
    fs::create_dir(&journal).unwrap();
    let issuer = issuer(&place.keys);
    let mut told = Vec::new();
    for (name, command) in commands(&place, &issuer) {
        match command.await {
            Ok(()) => {}
            Err(error) if error == UNKNOWN => told.push(name),
            Err(error) => panic!("{name}: {error}"),
        }
    }
    for narrowing in [
        "deactivate_organization",
        "update_plan",
        "update_role",
        "delete_role",
        "disable_user",
        "disable",
        "finish",
        "disable_all",
        "revoke",
        "revoke_with_descendants",
        "revoke_all",
    ] {
        assert!(told.contains(&narrowing), "{narrowing}: {told:?}");
    }
    for harmless in [
        "create_organization",
        "issue",
        "create_user",
        "flush",
        "maintenance",
        "rotate_checksum_secret",
    ] {
        assert!(!told.contains(&harmless), "{harmless}");
    }
    fs::remove_dir(&journal).unwrap();
    fs::rename(&away, &journal).unwrap();
    issuer.create_organization("last").await.unwrap();
    let lines = fs::read_to_string(&journal).unwrap();
    assert!(lines.contains(&place.used.record.id.to_string()));
    let status = issuer.organization(place.other).await.unwrap().unwrap().status;
    assert_eq!(status, OrganizationStatus::Inactive);
}

#[cfg(target_os = "linux")]
mod writes_that_fail {
    use std::process::Command;

    use tower_api_key::OrganizationRequest;
    use tower_api_key::key::Metadata;
    use tower_api_key::store::query::Organizations;

    use super::*;

    const FOLDER: &str = "DISK_FAULTS_FOLDER";

    /// Under a limit of the size of files, every write behind it fails, as on a full disk.
    #[tokio::test]
    #[ignore = "run in another process by another test"]
    async fn filler() {
        let Some(folder) = std::env::var_os(FOLDER) else { return };
        let place = Place::new_in(&PathBuf::from(folder), builder()).await;
        let issuer = issuer(&place.keys);
        let (mut filling, mut metadata) = (Vec::new(), Metadata::default());
        metadata.set("filling", &"x".repeat(1000)).unwrap();
        for number in 0.. {
            let request = OrganizationRequest::new(format!("filler {number}")).metadata(metadata.clone());
            match issuer.create_organization(request).await {
                Ok(filler) => filling.push(filler.id),
                Err(error) => {
                    assert_eq!(error.kind(), IssueErrorKind::StoreUnavailable);
                    break;
                }
            }
        }
        // And what takes the least room.
        let least = async || {
            place
                .keys
                .audit()
                .prune_refusals("2001-01-01T00:00:00Z".parse().unwrap())
                .await
        };
        while least().await.is_ok() {}
        all_fail(&place, &[UNAVAILABLE, UNKNOWN]).await;
        println!("\nfilled {} {}", filling.len(), place.used.record.id);
        // As if it were killed.
        std::process::exit(0);
    }

    #[tokio::test]
    async fn disk_that_fills_up_fails_every_command_and_the_next_process_has_all() {
        let folder = tempfile::tempdir().unwrap();
        let filler = "disk_faults::writes_that_fail::filler";
        // The signal would end the process. Blocks of 512 bytes: less than the log has when SQLite empties it.
        let script = "trap '' XFSZ; ulimit -f 8000; exec \"$0\" --ignored --exact \"$1\" --nocapture";
        let output = Command::new("sh")
            .args(["-c", script])
            .arg(std::env::current_exe().unwrap())
            .arg(filler)
            .env(FOLDER, folder.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        let filled = said.lines().find_map(|line| line.strip_prefix("filled "));
        let (number, id) = filled.and_then(|filled| filled.split_once(' ')).expect(&said);
        let keys = open(folder.path().join("keys.sqlite"), builder()).await;
        let issuer = issuer(&keys);
        let all = issuer
            .organizations(Organizations::all().name_starts_with("filler").page(1000))
            .await
            .unwrap();
        assert_eq!(all.items.len().to_string(), number);
        keys.audit().verify(&Default::default()).await.unwrap();
        issuer.revoke(id.parse().unwrap(), "leaked").await.unwrap();
    }
}
