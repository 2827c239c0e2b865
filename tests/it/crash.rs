//! A process that changes keys all the time is killed, or the server that it changes them on: what it acknowledged is there, each
//! change with its audit event.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::env;
use std::io::{BufRead, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use tower_api_key::audit::{AuditAction, AuditEntry, AuditEvent, CommitId};
use tower_api_key::hash::HashPolicy;
use tower_api_key::key::{
    Actor, KeyId, KeyRecord, KeyStatus, OrganizationId, Revocation, Timestamp, User, UserId, UserStatus,
};
use tower_api_key::secrets::RootKey;
use tower_api_key::store::query::{AuditEvents, Keys, Users};
use tower_api_key::store::{Commit, DynStore, StoredKey, Write};
use tower_api_key::{ApiKeys, AuditAnchors, IssueError, IssueErrorKind, IssueRequest, Issuer};

use crate::support::stores::Database;

const DATABASE: &str = "CRASH_TEST_DATABASE";
/// Tasks of the process that is killed, each with an organization: the writer has several commits at once.
const TASKS: usize = 6;
/// A user is off-boarded when it has this many keys.
const KEYS_OF_USER: usize = 5;
/// After so many rounds there is a new database: everything is read after each round.
const ROUNDS_OF_ONE: usize = 5;
/// Stands for a change that was reported as not made. Nobody changes the key after that.
const NOTHING: &str = "nothing";
/// Changes after which the process or the server is killed, at most.
const MOST_CHANGES: usize = 400;

fn rounds() -> usize {
    match env::var("API_KEYS_TESTS").is_ok_and(|size| size == "full") {
        true => 100,
        false => 10,
    }
}

async fn handle(database: &Database) -> ApiKeys {
    let builder = ApiKeys::builder(database.open().await).hash_policy(HashPolicy::sha256());
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
    let Ok(address) = env::var(DATABASE) else { return };
    let keys = handle(&Database::at(&address)).await;
    eprintln!("\ndid open");
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| tokio::spawn(change_keys(keys.issuer().acting_as(Actor::operator("root")))))
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

/// When the server is down, nothing is acknowledged, and it goes on with other keys: what became of the last change is not known.
async fn change_keys(issuer: Issuer<DynStore>) {
    let acme = loop {
        match issuer.create_organization("acme").await {
            Ok(acme) => break acme,
            Err(error) => is_outage(error).await,
        }
    };
    for number in 0.. {
        let user: UserId = format!("user{number}").parse().unwrap();
        if let Err(error) = life_of_user(&issuer, acme.id, user).await {
            is_outage(error).await;
        }
    }
}

async fn is_outage(error: IssueError) {
    let kinds = [IssueErrorKind::StoreUnavailable, IssueErrorKind::OutcomeUnknown];
    assert!(kinds.contains(&error.kind()), "{error:?}");
    tokio::time::sleep(Duration::from_millis(10)).await;
}

async fn life_of_user(issuer: &Issuer<DynStore>, acme: OrganizationId, user: UserId) -> Result<(), IssueError> {
    let mut keys: Vec<KeyRecord> = Vec::new();
    while keys.len() < KEYS_OF_USER {
        let request = IssueRequest::new(acme, "orders").user(user.clone());
        let record = issuer.issue(request).await?.record;
        acknowledge(AuditAction::KEY_ISSUED, record.id, record.revision);
        keys.push(record);
        let index = rand::random_range(0..keys.len());
        let key = &mut keys[index];
        if let Err(error) = change_one(issuer, key).await {
            if error.kind() == IssueErrorKind::StoreUnavailable {
                acknowledge(AuditAction::new(NOTHING), key.id, key.revision);
            }
            return Err(error);
        }
    }
    off_board(issuer, user, keys).await
}

/// Changes a key at random. No other task has it, so the action that is acknowledged is the one that was made.
async fn change_one(issuer: &Issuer<DynStore>, key: &mut KeyRecord) -> Result<(), IssueError> {
    let id = key.id;
    let (action, record) = match (rand::random_range(0..4), key.status) {
        (_, KeyStatus::Revoked) => return Ok(()),
        (0, _) => {
            let issued = issuer.rotate(id, Duration::from_secs(0)).await?;
            (AuditAction::KEY_ROTATED, issued.record)
        }
        (1, _) => {
            let name = format!("orders {}", key.revision);
            let record = issuer.update(id, |record| record.name.clone_from(&name)).await?;
            (AuditAction::KEY_UPDATED, record)
        }
        (2, _) => (AuditAction::KEY_REVOKED, issuer.revoke(id, "lost").await?),
        (_, KeyStatus::Active) => (AuditAction::KEY_DISABLED, issuer.disable(id).await?),
        (..) => (AuditAction::KEY_ENABLED, issuer.enable(id).await?),
    };
    acknowledge(action, id, record.revision);
    *key = record;
    Ok(())
}

/// Disables a user and revokes all its keys, in one commit.
async fn off_board(issuer: &Issuer<DynStore>, user: UserId, keys: Vec<KeyRecord>) -> Result<(), IssueError> {
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
    issuer.commit(commit).await.map_err(IssueError::from)?;
    for key in living {
        acknowledge(AuditAction::KEY_REVOKED, key.id, key.revision + 1);
    }
    Ok(())
}

/// A change that was acknowledged: action, key and the revision after it.
type Acknowledged = (String, KeyId, u64);

/// The process that makes changes.
struct Changer {
    process: Child,
    changes: mpsc::Receiver<Acknowledged>,
}

impl Changer {
    fn start(database: &Database) -> Self {
        let mut process = Command::new(env::current_exe().unwrap())
            .args(["--ignored", "--exact", "crash::changer", "--nocapture"])
            .env(DATABASE, database.address())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (out, (sender, changes)) = (process.stdout.take().unwrap(), mpsc::channel());
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines() {
                // The last line may be cut in the middle.
                let Ok(line) = line else { continue };
                if let ["did", action, id, revision] = line.split(' ').collect::<Vec<_>>()[..]
                    && let (Ok(id), Ok(revision)) = (id.parse(), revision.parse())
                {
                    let _ = sender.send((action.to_owned(), id, revision));
                }
            }
        });
        Self { process, changes }
    }

    /// This many changes, and then a random moment: at any step of a commit, which follow each other within less than that.
    fn makes(&mut self, number: usize) -> Vec<Acknowledged> {
        let changes = (0..number).map(|_| match self.changes.recv_timeout(Duration::from_secs(60)) {
            Ok(change) => change,
            Err(error) => panic!("no change: {error}, {:?}", self.process.try_wait()),
        });
        let changes = changes.collect();
        (0..rand::random_range(0..2_000)).for_each(|_| std::thread::yield_now());
        changes
    }

    /// What it had acknowledged beside that.
    fn kill(mut self) -> Vec<Acknowledged> {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.changes.iter().collect()
    }
}

async fn all_keys(keys: &ApiKeys) -> HashMap<KeyId, StoredKey> {
    let (mut found, query) = (HashMap::new(), Keys::all().page(1000));
    let mut page = keys.read(query.clone()).await.unwrap();
    loop {
        found.extend(page.items.into_iter().map(|key| (key.record.id, key)));
        let Some(next) = page.next else { return found };
        page = keys.read(query.clone().after(next)).await.unwrap();
    }
}

/// By organization and number.
async fn all_events(keys: &ApiKeys) -> Vec<AuditEntry> {
    let (mut found, query) = (Vec::new(), AuditEvents::all().page(1000));
    let mut page = keys.read(query.clone()).await.unwrap();
    loop {
        found.append(&mut page.items);
        let Some(next) = page.next else { return found };
        page = keys.read(query.clone().after(next)).await.unwrap();
    }
}

/// Rounds of a crash, over databases that `new` makes. What a crash leaves is whole, with all that was acknowledged.
async fn crash(new: impl Fn() -> Database, round: impl Fn(&Database) -> Vec<Acknowledged>) {
    let (mut sum, mut unacknowledged) = (0, 0);
    let mut database = new();
    let (mut changes, mut anchors) = (Vec::new(), AuditAnchors::default());
    for number in 0..rounds() {
        if number > 0 && number % ROUNDS_OF_ONE == 0 {
            database = new();
            (changes, anchors) = (Vec::new(), AuditAnchors::default());
        }
        let acknowledged = round(&database);
        sum += acknowledged.len();
        changes.extend(acknowledged);

        let keys = handle(&database).await;
        let stored = all_keys(&keys).await;
        let events = all_events(&keys).await;
        unacknowledged = hold_together(&stored, &events, &changes);
        off_boarded_whole(&keys, &stored, &events).await;
        logged(&database).await;
        // Nothing of what an earlier round anchored is gone.
        keys.audit().verify(&anchors).await.unwrap();
        keys.audit().anchor(&mut anchors).await.unwrap();
        let organizations: BTreeSet<_> = stored.values().map(|key| key.record.organization_id).collect();
        assert!(anchors.len() >= organizations.len(), "round {number}");
    }
    eprintln!(
        "{database}, {} rounds: {sum} changes acknowledged; in the last database {unacknowledged} more were made",
        rounds()
    );
}

fn kill_the_process(database: &Database) -> Vec<Acknowledged> {
    let mut changer = Changer::start(database);
    let changes = changer.makes(rand::random_range(1..MOST_CHANGES));
    [changes, changer.kill()].concat()
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn killed_process_loses_no_change_and_no_event() {
    let new = || Database::shared().find(|database| !database.is_postgres()).unwrap();
    crash(new, kill_the_process).await;
}

#[cfg(all(feature = "postgres", target_os = "linux"))]
mod postgres {
    use super::*;
    use crate::support::postgres::{Server, schema_name};

    fn new_on(server: &Server) -> Database {
        Database::Postgres {
            url: server.url(),
            schema: schema_name(),
        }
    }

    #[tokio::test]
    async fn killed_process_loses_no_change_and_no_event_on_a_server() {
        let server = Server::start();
        crash(|| new_on(&server), kill_the_process).await;
    }

    /// The process goes on when the server is back.
    #[tokio::test]
    async fn killed_server_loses_no_change_and_no_event() {
        let server = Server::start();
        assert_eq!(server.psql("SHOW fsync"), "on");
        let round = |database: &Database| {
            let mut changer = Changer::start(database);
            let mut changes = changer.makes(rand::random_range(1..MOST_CHANGES));
            server.kill9();
            server.restart();
            // All those that were on their way have come, and some that were begun afterwards.
            changes.extend(changer.changes.try_iter());
            changes.extend(changer.makes(2 * TASKS));
            changes.extend(changer.kill());
            changes
        };
        crash(|| new_on(&server), round).await;
    }

    /// At once: nobody is there to settle what was on its way.
    #[tokio::test]
    async fn killed_server_and_process_lose_no_change_and_no_event() {
        let server = Server::start();
        let round = |database: &Database| {
            let mut changer = Changer::start(database);
            let mut changes = changer.makes(rand::random_range(1..MOST_CHANGES));
            server.kill9();
            changes.extend(changer.kill());
            server.restart();
            changes
        };
        crash(|| new_on(&server), round).await;
    }
}

/// The n-th event of a key is that of its n-th revision, so none is there without the other. How many were not acknowledged.
fn hold_together(stored: &HashMap<KeyId, StoredKey>, events: &[AuditEntry], acknowledged: &[Acknowledged]) -> usize {
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
        if action == NOTHING {
            assert_eq!(
                actions.len() as u64,
                *revision,
                "{id}: a change was made, and reported as not made"
            );
            continue;
        }
        let made = usize::try_from(revision - 1)
            .ok()
            .and_then(|index| actions.get(index).copied());
        assert_eq!(made, Some(action.as_str()), "{id}: {actions:?}");
    }
    let made: usize = of_key.values().map(Vec::len).sum();
    made - acknowledged.iter().filter(|(action, ..)| action != NOTHING).count()
}

/// Of a user who is disabled no key lives, and all was one commit.
async fn off_boarded_whole(keys: &ApiKeys, stored: &HashMap<KeyId, StoredKey>, events: &[AuditEntry]) {
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

/// The change log names the last revision of every key that was changed; the file is whole, and the log of a server has no gap.
async fn logged(database: &Database) {
    let by_hand = database.hand().await;
    let unlogged = "SELECT count(*) FROM api_keys_keys k WHERE revision > 1 AND NOT EXISTS (SELECT 1 FROM api_keys_key_changes c \
         WHERE c.kind = 1 AND c.id = k.id AND c.revision = k.revision)";
    assert_eq!(by_hand.number(unlogged).await, 0);
    if database.is_postgres() {
        let gaps = "SELECT coalesce(max(seq), 0) - count(*) FROM api_keys_key_changes";
        assert_eq!(by_hand.number(gaps).await, 0);
    } else {
        let check = by_hand.rows("PRAGMA integrity_check", &[]).await;
        assert_eq!(check, [["ok"]]);
    }
}
