//! A process that changes keys all the time is killed: what it acknowledged is there, each change with its audit event.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::env;
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rusqlite::Connection;
use tower_api_key::audit::{AuditAction, AuditEntry, AuditEvent, CommitId};
use tower_api_key::hash::HashPolicy;
use tower_api_key::key::{Actor, KeyId, KeyRecord, KeyStatus, Revocation, Timestamp, User, UserId, UserStatus};
use tower_api_key::secrets::RootKey;
use tower_api_key::store::query::{AuditEvents, Keys, Users};
use tower_api_key::store::{Commit, SqliteStore, StoredKey, Write};
use tower_api_key::{ApiKeys, AuditAnchors, IssueRequest, Issuer};

const FILE: &str = "CRASH_TEST_FILE";
/// Tasks of the process that is killed, each with an organization: the writer has several commits at once.
const TASKS: usize = 6;
/// A user is off-boarded when it has this many keys.
const KEYS_OF_USER: usize = 5;
/// After so many rounds there is a new file: everything is read after each round.
const ROUNDS_OF_FILE: usize = 5;

fn rounds() -> usize {
    match env::var("API_KEYS_TESTS").is_ok_and(|size| size == "full") {
        true => 100,
        false => 10,
    }
}

async fn handle(path: &Path) -> ApiKeys<SqliteStore> {
    let builder = ApiKeys::builder(SqliteStore::open(path).await.unwrap()).hash_policy(HashPolicy::sha256());
    let root_key = RootKey::new(&[7; 32]).unwrap();
    builder.root_keys(root_key).open().await.unwrap()
}

/// What a change did, after it has returned. The pipe has it before the next change of this task begins.
fn acknowledge(action: AuditAction, id: KeyId, revision: u64) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "did {action} {id} {revision}").unwrap();
    out.flush().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "run in another process by another test"]
async fn changer() {
    let Ok(path) = env::var(FILE) else { return };
    let keys = handle(Path::new(&path)).await;
    println!("\ndid open");
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| tokio::spawn(change_keys(keys.issuer().acting_as(Actor::operator("root")))))
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

async fn change_keys(issuer: Issuer<SqliteStore>) {
    let acme = issuer.create_organization("acme").await.unwrap();
    for number in 0.. {
        let user: UserId = format!("user{number}").parse().unwrap();
        let mut keys: Vec<KeyRecord> = Vec::new();
        while keys.len() < KEYS_OF_USER {
            let request = IssueRequest::new(acme.id, "orders").user(user.clone());
            let record = issuer.issue(request).await.unwrap().record;
            acknowledge(AuditAction::KEY_ISSUED, record.id, record.revision);
            keys.push(record);
            let index = rand::random_range(0..keys.len());
            change_one(&issuer, &mut keys[index]).await;
        }
        off_board(&issuer, user, keys).await;
    }
}

/// Changes a key at random. No other task has it, so the action that is acknowledged is the one that was made.
async fn change_one(issuer: &Issuer<SqliteStore>, key: &mut KeyRecord) {
    let id = key.id;
    let (action, record) = match (rand::random_range(0..4), key.status) {
        (_, KeyStatus::Revoked) => return,
        (0, _) => {
            let issued = issuer.rotate(id, Duration::from_secs(0)).await.unwrap();
            (AuditAction::KEY_ROTATED, issued.record)
        }
        (1, _) => {
            let name = format!("orders {}", key.revision);
            let record = issuer.update(id, |record| record.name.clone_from(&name)).await.unwrap();
            (AuditAction::KEY_UPDATED, record)
        }
        (2, _) => (AuditAction::KEY_REVOKED, issuer.revoke(id, "lost").await.unwrap()),
        (_, KeyStatus::Active) => (AuditAction::KEY_DISABLED, issuer.disable(id).await.unwrap()),
        (..) => (AuditAction::KEY_ENABLED, issuer.enable(id).await.unwrap()),
    };
    acknowledge(action, id, record.revision);
    *key = record;
}

/// Disables a user and revokes all its keys, in one commit.
async fn off_board(issuer: &Issuer<SqliteStore>, user: UserId, keys: Vec<KeyRecord>) {
    let (organization, now, root) = (keys[0].organization_id, Timestamp::now(), Actor::operator("root"));
    let mut row = User::new(organization, user.clone(), now);
    row.status = UserStatus::Disabled;
    let event = |action: AuditAction| AuditEvent::new(organization, now, root.clone(), action).user(Some(user.clone()));
    let mut commit = Commit::new()
        .write(Write::InsertUser(row))
        .audit(event(AuditAction::new("user.disabled")));
    let living: Vec<KeyRecord> = keys
        .into_iter()
        .filter(|key| key.status != KeyStatus::Revoked)
        .collect();
    for mut key in living.clone() {
        key.status = KeyStatus::Revoked;
        key.revocation = Some(Revocation::new(now, "left", root.clone()));
        commit = commit
            .audit(event(AuditAction::KEY_REVOKED).key(key.id))
            .write(Write::UpdateKey(key));
    }
    issuer.commit(commit).await.unwrap();
    for key in living {
        acknowledge(AuditAction::KEY_REVOKED, key.id, key.revision + 1);
    }
}

/// Changes that were acknowledged until the process was killed: action, key and the revision after it.
fn changes_until_killed(path: &Path) -> Vec<(String, KeyId, u64)> {
    let mut process = Command::new(env::current_exe().unwrap())
        .args(["--ignored", "--exact", "crash::changer", "--nocapture"])
        .env(FILE, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let most = rand::random_range(1..400);
    let (mut changes, mut is_killed) = (Vec::new(), false);
    for line in BufReader::new(process.stdout.take().unwrap()).lines() {
        // The last line may be cut in the middle.
        let Ok(line) = line else { continue };
        let words: Vec<&str> = line.split(' ').collect();
        if let ["did", action, id, revision] = words[..]
            && let (Ok(id), Ok(revision)) = (id.parse(), revision.parse())
        {
            changes.push((action.to_owned(), id, revision));
        }
        if changes.len() >= most && !is_killed {
            // At any step of a commit: they follow each other within less than that.
            (0..rand::random_range(0..2_000)).for_each(|_| std::thread::yield_now());
            process.kill().unwrap();
            is_killed = true;
        }
    }
    assert!(is_killed, "the process ended by itself: {:?}", process.wait());
    process.wait().unwrap();
    changes
}

async fn all_keys(keys: &ApiKeys<SqliteStore>) -> HashMap<KeyId, StoredKey> {
    let (mut found, query) = (HashMap::new(), Keys::all().page(1000));
    let mut page = keys.read(query.clone()).await.unwrap();
    loop {
        found.extend(page.items.into_iter().map(|key| (key.record.id, key)));
        let Some(next) = page.next else { return found };
        page = keys.read(query.clone().after(next)).await.unwrap();
    }
}

/// By organization and number.
async fn all_events(keys: &ApiKeys<SqliteStore>) -> Vec<AuditEntry> {
    let (mut found, query) = (Vec::new(), AuditEvents::all().page(1000));
    let mut page = keys.read(query.clone()).await.unwrap();
    loop {
        found.append(&mut page.items);
        let Some(next) = page.next else { return found };
        page = keys.read(query.clone().after(next)).await.unwrap();
    }
}

#[tokio::test]
async fn killed_process_loses_no_change_and_no_event() {
    let (mut sum, mut unacknowledged) = (0, 0);
    let mut folder = tempfile::tempdir().unwrap();
    let (mut changes, mut anchors) = (Vec::new(), AuditAnchors::default());
    for round in 0..rounds() {
        if round % ROUNDS_OF_FILE == 0 {
            folder = tempfile::tempdir().unwrap();
            (changes, anchors) = (Vec::new(), AuditAnchors::default());
        }
        let path = folder.path().join("keys.sqlite");
        let acknowledged = changes_until_killed(&path);
        sum += acknowledged.len();
        changes.extend(acknowledged);

        let keys = handle(&path).await;
        let stored = all_keys(&keys).await;
        let events = all_events(&keys).await;
        unacknowledged = hold_together(&stored, &events, &changes);
        off_boarded_whole(&keys, &stored, &events).await;
        logged(&path);
        // Nothing of what an earlier round anchored is gone.
        keys.audit().verify(&anchors).await.unwrap();
        keys.audit().anchor(&mut anchors).await.unwrap();
        let organizations: BTreeSet<_> = stored.values().map(|key| key.record.organization_id).collect();
        assert!(anchors.len() >= organizations.len(), "round {round}");
    }
    println!(
        "{} rounds: {sum} changes acknowledged; of the last file {unacknowledged} more were made",
        rounds()
    );
}

/// The n-th event of a key is that of its n-th revision, so none is there without the other. How many were not acknowledged.
fn hold_together(
    stored: &HashMap<KeyId, StoredKey>,
    events: &[AuditEntry],
    acknowledged: &[(String, KeyId, u64)],
) -> usize {
    let mut of_key: HashMap<KeyId, Vec<&str>> = HashMap::new();
    for entry in events {
        if let Some(id) = entry.event.key_id {
            of_key.entry(id).or_default().push(entry.event.action.as_str());
        }
    }
    assert_eq!(of_key.len(), stored.len());
    for (id, actions) in &of_key {
        let record = &stored.get(id).expect("an event of a key that is not there").record;
        assert_eq!(actions.len() as u64, record.revision, "{actions:?} and {record:?}");
        let last = actions.iter().rev().find_map(|action| match *action {
            "key.revoked" => Some(KeyStatus::Revoked),
            "key.disabled" => Some(KeyStatus::Disabled),
            "key.enabled" | "key.issued" => Some(KeyStatus::Active),
            _ => None,
        });
        assert_eq!(last, Some(record.status), "{actions:?}");
    }
    for (action, id, revision) in acknowledged {
        let actions = of_key.get(id).unwrap_or_else(|| panic!("{id} was issued and is gone"));
        let made = usize::try_from(revision - 1)
            .ok()
            .and_then(|index| actions.get(index).copied());
        assert_eq!(made, Some(action.as_str()), "{id}: {actions:?}");
    }
    let made: usize = of_key.values().map(Vec::len).sum();
    made - acknowledged.len()
}

/// Of a user who is disabled no key lives, and all was one commit.
async fn off_boarded_whole(keys: &ApiKeys<SqliteStore>, stored: &HashMap<KeyId, StoredKey>, events: &[AuditEntry]) {
    let mut commits: BTreeMap<CommitId, usize> = BTreeMap::new();
    for entry in events {
        *commits.entry(entry.commit).or_default() += 1;
    }
    let organizations: Vec<_> = stored.values().map(|key| key.record.organization_id).collect();
    for organization in BTreeSet::from_iter(organizations) {
        let users = keys.read(Users::of(organization).page(1000)).await.unwrap().items;
        let disabled = |entry: &&AuditEntry| {
            entry.event.organization_id == organization && entry.event.action.as_str() == "user.disabled"
        };
        assert_eq!(events.iter().filter(disabled).count(), users.len());
        for entry in events.iter().filter(disabled) {
            let user = entry.event.user.as_ref().unwrap();
            assert!(
                users
                    .iter()
                    .any(|row| row.id == *user && row.status == UserStatus::Disabled)
            );
            let of_user = stored
                .values()
                .filter(|key| key.record.organization_id == organization && key.record.user.as_ref() == Some(user));
            let reasons: Vec<_> = of_user
                .map(|key| key.record.revocation.as_ref().expect("a key lives").reason.as_str())
                .collect();
            assert_eq!(reasons.len(), KEYS_OF_USER);
            let left = reasons.iter().filter(|reason| **reason == "left").count();
            assert_eq!(commits[&entry.commit], left + 1);
        }
    }
}

/// The change log names the last revision of every key that was changed, and the file is whole.
fn logged(path: &Path) {
    let by_hand = Connection::open(path).unwrap();
    let number = |sql: &str| by_hand.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    let unlogged = number(
        "SELECT count(*) FROM api_keys_keys k WHERE revision > 1 AND NOT EXISTS (SELECT 1 FROM api_keys_key_changes c \
         WHERE c.kind = 1 AND c.id = k.id AND c.revision = k.revision)",
    );
    assert_eq!(unlogged, 0);
    let check: String = by_hand
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(check, "ok");
}
