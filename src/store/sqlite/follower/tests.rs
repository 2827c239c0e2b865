use tempfile::TempDir;

use super::*;
use crate::clock::Monotonic;
use crate::fence::Mark;
use crate::key::{KeyId, KeyRecord, Organization, OrganizationId, Timestamp};
use crate::store::sql::migration::SQLITE;
use crate::store::sqlite::statements;
use crate::testing::ManualClock;

/// A file, a follower that looks when the test says so, and someone with another program.
struct Desk {
    _folder: TempDir,
    location: Location,
    hand: ManualClock,
    follower: FollowerThread,
    by_hand: Connection,
}

impl Desk {
    fn new() -> Self {
        Self::beside(false)
    }

    fn beside(is_beside_others: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.sqlite");
        let location = Location::new(&path, Duration::from_secs(5), true).unwrap();
        let by_hand = location.prepare().unwrap();
        by_hand.pragma_update(None, "foreign_keys", false).unwrap();
        let (sql, fence) = (Arc::new(statements()), Fence::new());
        let latest_change = LatestChange::of(&by_hand, &sql, fence.clone(), None, &location).unwrap();
        let follower = FollowerThread::new(Followed {
            location: location.clone(),
            files: OpenFiles::of(&path, None).unwrap(),
            sql,
            fence,
            own: Arc::default(),
            latest_change: Arc::new(latest_change),
            journal: None,
            interval: Duration::from_millis(1),
            is_beside_others,
        });
        Self {
            _folder: folder,
            location,
            hand: ManualClock::new(),
            follower: follower.unwrap(),
            by_hand,
        }
    }

    fn fence(&self) -> &Fence {
        &self.follower.store.fence
    }

    /// What one look found: changes, turns of the epoch, and whether it confirmed.
    fn looks(&mut self) -> (u64, u64, bool) {
        self.hand.advance(Duration::from_secs(1));
        let clock = self.hand.clock();
        let before = (self.fence().changes(), self.fence().epoch());
        let polled = self.follower.poll(&clock);
        let is_confirmed = self.fence().confirmed_at() == clock.now();
        assert_eq!(polled.is_ok(), is_confirmed, "{polled:?}");
        (
            self.fence().changes() - before.0,
            self.fence().epoch() - before.1,
            is_confirmed,
        )
    }

    fn run(&self, sql: &str) {
        self.by_hand.execute_batch(sql).unwrap();
    }

    /// Keys of one organization, with a row each; the second byte of an id is its number.
    fn insert_keys(&self, number: usize) -> OrganizationId {
        let organization = Organization::new("Acme");
        let id = organization.id.as_uuid();
        self.by_hand
            .execute(
                "INSERT INTO api_keys_organizations (id, slug, name, name_folded, status, limits, revision)
                 VALUES (?1, 'acme', 'Acme', 'acme', 'active', '[]', 1)",
                [id],
            )
            .unwrap();
        self.by_hand
            .execute(
                "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?2)
                 INSERT INTO api_keys_keys (id, organization_id, name, name_folded, prefix, scopes, networks, limits, metadata,
                     status, created_at, created_by, revision)
                 SELECT randomblob(16), ?1, 'key', 'key', 'acme', '', '[]', '[]', '{}', 'active', 0, 'system', 1 FROM n",
                rusqlite::params![id, number as i64],
            )
            .unwrap();
        organization.id
    }

    fn keys(&self) -> Vec<KeyId> {
        let mut statement = self
            .by_hand
            .prepare("SELECT id FROM api_keys_keys ORDER BY id")
            .unwrap();
        let ids = statement.query_map([], |row| row.get::<_, uuid::Uuid>(0)).unwrap();
        ids.map(|id| id.unwrap().into()).collect()
    }

    fn mark(&self, key: KeyId, organization: OrganizationId) -> Mark {
        self.fence().protocol().mark(self.fence().stripes(key, organization))
    }

    fn is_current(&self, mark: &Mark) -> bool {
        self.fence().protocol().is_current(mark)
    }
}

#[test]
fn change_by_hand_is_announced_and_confirmed() {
    let mut desk = Desk::new();
    let organization = desk.insert_keys(2);
    desk.looks();
    let [one, other] = [desk.keys()[0], desk.keys()[1]].map(|key| desk.mark(key, organization));
    assert_eq!(desk.looks(), (0, 0, true));
    let id = desk.keys()[0].as_uuid();
    let revoke = "UPDATE api_keys_keys SET status = 'revoked' WHERE id = ?1";
    assert_eq!(desk.by_hand.execute(revoke, [id]), Ok(1));
    assert!(desk.is_current(&one));
    assert_eq!(desk.looks(), (1, 0, true));
    assert!(!desk.is_current(&one) && desk.is_current(&other));
    assert_eq!(desk.looks(), (0, 0, true));
    desk.run("DELETE FROM api_keys_keys WHERE status <> 'revoked'");
    assert_eq!(desk.looks(), (1, 0, true));
    assert!(!desk.is_current(&other));
    desk.run("UPDATE api_keys_organizations SET status = 'inactive'");
    assert_eq!(desk.looks(), (1, 0, true));
    desk.run("UPDATE api_keys_realm SET crc_accepted_until = 1");
    assert_eq!(desk.looks(), (1, 1, true), "which concerns all keys");
}

/// The triggers of what a replaced row was are not run, and a row with another id is not found under its old one.
#[test]
fn replaced_and_renamed_rows_are_announced() {
    let copy = |table: &str| format!("CREATE TEMP TABLE copy AS SELECT * FROM {table}; UPDATE copy SET revision = 1");
    let statements = [
        (
            copy("api_keys_keys"),
            "INSERT OR REPLACE INTO api_keys_keys SELECT * FROM copy".to_owned(),
        ),
        (
            copy("api_keys_organizations"),
            "INSERT OR REPLACE INTO api_keys_organizations SELECT * FROM copy".to_owned(),
        ),
        (
            format!(
                "{}; UPDATE copy SET id = randomblob(16)",
                copy("api_keys_organizations")
            ),
            "INSERT OR REPLACE INTO api_keys_organizations SELECT * FROM copy".to_owned(),
        ),
        (String::new(), "UPDATE api_keys_keys SET id = randomblob(16)".to_owned()),
        (
            String::new(),
            "UPDATE api_keys_organizations SET id = randomblob(16)".to_owned(),
        ),
        (
            "INSERT INTO api_keys_key_secrets (lookup, key_id, position, hash, form, created_at)
             SELECT 'lookup', id, 0, 'sha256:00', 'none', 0 FROM api_keys_keys"
                .to_owned(),
            "INSERT OR REPLACE INTO api_keys_key_secrets (lookup, key_id, position, hash, form, created_at)
             VALUES ('lookup', zeroblob(16), 0, 'sha256:00', 'none', 0)"
                .to_owned(),
        ),
    ];
    for (prepare, change) in statements {
        let mut desk = Desk::new();
        let organization = desk.insert_keys(1);
        desk.run(&prepare);
        desk.looks();
        let mark = desk.mark(desk.keys()[0], organization);
        let epoch = desk.fence().epoch();
        desk.run(&change);
        assert!(desk.looks().2);
        assert!(!desk.is_current(&mark), "{change}");
        assert_eq!(desk.fence().epoch(), epoch, "{change}: found by chance");
    }
}

#[test]
fn ten_thousand_changes_in_one_commit_turn_the_epoch_once() {
    let mut desk = Desk::new();
    let organization = desk.insert_keys(10_000);
    desk.looks();
    let marks: Vec<Mark> = desk.keys().iter().map(|key| desk.mark(*key, organization)).collect();
    desk.run("UPDATE api_keys_keys SET status = 'disabled'");
    assert_eq!(desk.looks(), (1, 1, true));
    assert!(marks.iter().all(|mark| !desk.is_current(mark)));
    let fence = desk.fence();
    let mut record = KeyRecord::new(organization, "key", Timestamp::from_millis(0));
    let organization = Organization::new("Acme");
    for key in desk.keys() {
        (record.id, record.revision) = (key, 1);
        let before = fence.identity(&record, &organization);
        record.revision = 2;
        let after = fence.identity(&record, &organization);
        let protocol = fence.protocol();
        assert!(protocol.is_below_minimum_revision(&before) && !protocol.is_below_minimum_revision(&after));
    }
    assert_eq!(desk.looks(), (0, 0, true));
}

/// With triggers off, nobody knows what was changed.
#[test]
fn commit_that_leaves_no_row_turns_the_epoch() {
    for (is_beside_others, turns) in [(false, 1), (true, 0)] {
        let mut desk = Desk::beside(is_beside_others);
        let organization = desk.insert_keys(1);
        desk.looks();
        let off = rusqlite::config::DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER;
        desk.by_hand.set_db_config(off, false).unwrap();
        let mark = desk.mark(desk.keys()[0], organization);
        desk.run("UPDATE api_keys_keys SET status = 'revoked'");
        assert_eq!(desk.looks(), (turns, turns, true));
        assert_eq!(desk.is_current(&mark), turns == 0);
        assert_eq!(desk.looks(), (0, 0, true));
    }
}

#[test]
fn missing_trigger_confirms_nothing_until_it_is_back() {
    let mut desk = Desk::new();
    let text: String = desk
        .by_hand
        .query_row(
            "SELECT sql FROM sqlite_schema WHERE name = 'api_keys_keys_log_delete'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(desk.looks(), (0, 0, true));
    desk.run("DROP TRIGGER api_keys_keys_log_delete");
    assert_eq!(desk.looks(), (1, 1, false));
    assert_eq!(desk.looks(), (0, 0, false));
    // Other triggers go on logging.
    desk.insert_keys(1);
    desk.run("UPDATE api_keys_keys SET status = 'revoked'");
    assert_eq!(desk.looks(), (1, 0, false));
    desk.run(&text);
    assert_eq!(desk.looks(), (1, 1, true));
    // Away and back between two looks, beside a change that is logged.
    desk.run(&format!(
        "DROP TRIGGER api_keys_keys_log_delete; DELETE FROM api_keys_keys; {text};
         UPDATE api_keys_organizations SET name = 'other'"
    ));
    assert_eq!(desk.looks(), (2, 1, true));
}

#[test]
fn names_of_triggers_are_those_of_a_new_file() {
    let desk = Desk::new();
    let mut statement = desk
        .by_hand
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger'")
        .unwrap();
    let names: rusqlite::Result<BTreeSet<String>> = statement.query_map([], |row| row.get(0)).unwrap().collect();
    assert_eq!(names.unwrap(), desk.follower.triggers);
    assert!(!SQLITE.is_empty());
}

/// As when a backup is restored into the open file, or a copy takes its place that lagged.
#[test]
fn log_that_goes_back_turns_the_epoch() {
    let again = "UPDATE api_keys_keys SET status = 'active' WHERE status <> 'active'";
    let change = "UPDATE api_keys_keys SET status = 'disabled'";
    let back = "DELETE FROM api_keys_key_changes WHERE seq > 1; UPDATE sqlite_sequence SET seq = 1";
    let gone = "DELETE FROM api_keys_key_changes; DELETE FROM sqlite_sequence";
    let gap = format!("{again}; {change}; DELETE FROM api_keys_key_changes WHERE seq = 4");
    // The last number again, for another change.
    let same = format!("{back}; {again}; UPDATE api_keys_key_changes SET seq = 3 WHERE seq = 2");
    let further = format!("{back}; {again}; {change}; {again}; {change}; {again}");
    for harm in [
        back,
        gone,
        &*gap,
        &*same,
        &*further,
        &*format!("{gone}; {again}; {change}"),
    ] {
        let mut desk = Desk::new();
        let organization = desk.insert_keys(1);
        desk.run(&format!("{change}; {again}; {change}"));
        desk.looks();
        let mark = desk.mark(desk.keys()[0], organization);
        desk.run(&format!("BEGIN; {harm}; COMMIT"));
        assert_eq!(desk.looks(), (1, 1, true), "{harm}");
        assert!(!desk.is_current(&mark));
        assert_eq!(desk.looks(), (0, 0, true), "{harm}");
        desk.run(&format!("{again}; {change}"));
        let (changes, turns, _) = desk.looks();
        assert!(changes > 0 && turns == 0, "{harm}");
    }
}

#[test]
fn log_purged_under_a_follower_that_slept_turns_the_epoch() {
    let mut desk = Desk::new();
    let organization = desk.insert_keys(1);
    desk.run("UPDATE api_keys_keys SET name = 'a'; UPDATE api_keys_keys SET name = 'b'");
    desk.looks();
    let mark = desk.mark(desk.keys()[0], organization);
    desk.run("UPDATE api_keys_keys SET name = 'c'; UPDATE api_keys_keys SET name = 'd'");
    desk.run("DELETE FROM api_keys_key_changes WHERE seq < 4");
    assert_eq!(desk.looks(), (1, 1, true));
    assert!(!desk.is_current(&mark));
    // One that has seen the last row misses nothing.
    desk.run("UPDATE api_keys_keys SET name = 'e'");
    assert_eq!(desk.looks(), (1, 0, true));
    desk.run("DELETE FROM api_keys_key_changes WHERE seq < 5");
    desk.run("UPDATE api_keys_keys SET name = 'f'");
    assert_eq!(desk.looks(), (1, 0, true));
}

/// Rows of a newer program, and what somebody wrote into the log by hand.
#[test]
fn row_that_cannot_be_understood_turns_the_epoch() {
    for values in [
        "randomblob(16), 3, randomblob(16), 7, 0",
        "'tag', 'kind', 'id', 'revision', 'at'",
        "randomblob(16), 1, x'00', 1, 0",
        "randomblob(16), 1, randomblob(16), -1, 0",
    ] {
        let mut desk = Desk::new();
        let insert = format!("INSERT INTO api_keys_key_changes (tag, kind, id, revision, at) VALUES ({values})");
        desk.run(&insert);
        assert_eq!(desk.looks(), (1, 1, true), "{values}");
        assert_eq!(desk.looks(), (0, 0, true), "{values}");
    }
}

#[cfg(unix)]
#[test]
fn file_that_is_away_confirms_nothing() {
    let mut desk = Desk::new();
    assert_eq!(desk.looks(), (0, 0, true));
    let (path, away) = (
        desk.location.path().to_owned(),
        desk.location.path().with_extension("away"),
    );
    std::fs::rename(&path, &away).unwrap();
    assert_eq!(desk.looks(), (0, 0, false));
    std::fs::copy(&away, &path).unwrap();
    assert_eq!(desk.looks(), (0, 0, false), "it is another file");
    std::fs::rename(&away, &path).unwrap();
    assert_eq!(desk.looks(), (0, 0, true));
}

/// Whatever was committed before the new connection was opened, it cannot tell.
#[test]
fn connection_opened_again_turns_the_epoch() {
    let mut desk = Desk::new();
    assert_eq!(desk.looks(), (0, 0, true));
    desk.follower.connection = None;
    assert_eq!(desk.looks(), (1, 1, true));
    assert_eq!(desk.looks(), (0, 0, true));
}

#[test]
fn confirmation_is_of_the_time_before_the_read() {
    let mut desk = Desk::new();
    assert_eq!(desk.fence().confirmed_at(), Monotonic::from_nanos(0));
    desk.looks();
    let at = desk.hand.clock().now();
    assert_eq!(desk.fence().confirmed_at(), at);
}

#[test]
fn thread_ends_with_its_store_whether_or_not_it_followed() {
    for follows in [false, true] {
        let desk = Desk::new();
        let FollowerThread { store, .. } = desk.follower;
        let fence = store.fence.clone();
        let (following, thread) = Following::start(store).unwrap();
        assert!(fence.has_no_follower());
        if follows {
            following.begin(&fence, &desk.hand.clock());
            // Another clock comes too late.
            following.begin(&fence, &ManualClock::new().clock());
            assert!(!fence.has_no_follower());
            while fence.confirmed_at() != desk.hand.clock().now() {
                thread::yield_now();
            }
        }
        drop(following);
        thread.join().unwrap();
    }
}
