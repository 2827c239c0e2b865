//! Someone who can write the whole database, and has no root key, changes the trail.

use std::path::PathBuf;

use rstest::rstest;
use rusqlite::{Connection, params};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tower_api_key::audit::ProblemKind::{self, *};
use tower_api_key::store::SqliteStore;

use super::*;

struct File {
    _folder: TempDir,
    path: PathBuf,
    trail: Trail<SqliteStore>,
    acme: OrganizationId,
}

impl File {
    async fn new(has_root_key: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.sqlite");
        let store = SqliteStore::open(&path).await.unwrap();
        let trail = Trail::over(store, has_root_key).await;
        let acme = trail.acme().await;
        assert!(trail.verify(&AuditAnchors::default()).await.is_ok());
        Self {
            _folder: folder,
            path,
            trail,
            acme,
        }
    }

    fn by_hand(&self) -> Connection {
        Connection::open(&self.path).unwrap()
    }

    /// Runs statements over the chain of `?1`.
    fn run(&self, statements: &[&str]) {
        let connection = self.by_hand();
        for statement in statements {
            let changed = connection.execute(statement, params![self.acme.as_uuid()]).unwrap();
            assert!(changed > 0, "{statement}");
        }
    }

    /// Hashes the chain anew from this entry on, as anyone can, and moves its end.
    fn hash_again(&self, from: i64) {
        let connection = self.by_hand();
        let id = self.acme.as_uuid();
        let before = "SELECT hash FROM api_keys_audit_events WHERE organization_id = ?1 AND seq = ?2";
        let mut hash: Vec<u8> = connection
            .query_row(before, params![id, from - 1], |row| row.get(0))
            .unwrap_or(vec![0; 32]);
        let rows =
            "SELECT seq, payload FROM api_keys_audit_events WHERE organization_id = ?1 AND seq >= ?2 ORDER BY seq";
        let mut statement = connection.prepare(rows).unwrap();
        let rows = statement
            .query_map(params![id, from], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap();
        let rows: Vec<(i64, String)> = rows.map(Result::unwrap).collect();
        for (seq, payload) in &rows {
            let parts = [&b"ak-audit-1"[..], &hash, &seq.to_be_bytes(), payload.as_bytes()];
            hash = Sha256::digest(parts.concat()).to_vec();
            let update = "UPDATE api_keys_audit_events SET hash = ?3 WHERE organization_id = ?1 AND seq = ?2";
            connection.execute(update, params![id, seq, hash]).unwrap();
        }
        let update =
            "UPDATE api_keys_organization_state SET audit_seq = ?2, audit_hash = ?3 WHERE organization_id = ?1";
        let last = rows.last().unwrap().0;
        connection.execute(update, params![id, last, hash]).unwrap();
    }

    /// Where the chain is found broken, and how.
    async fn found(&self, anchors: &AuditAnchors) -> Vec<(u64, ProblemKind)> {
        let problems = self.trail.problems(anchors).await;
        assert!(problems.iter().all(|problem| problem.organization_id == self.acme));
        let alone = self.trail.keys.audit().verify_chain(self.acme, anchors).await;
        let alone = alone.err().map(|error| error.problems().to_vec()).unwrap_or_default();
        assert_eq!(alone, problems);
        problems.iter().map(|problem| (problem.seq, problem.kind)).collect()
    }
}

const EDIT: &str = "UPDATE api_keys_audit_events SET payload = replace(payload, '4:lost', '4:left') \
                    WHERE organization_id = ?1 AND seq = 8";
const WITHOUT_KEY: &str = "UPDATE api_keys_audit_events SET payload = replace(payload, '1:2,1:0,', '1:2,0:,') \
                           WHERE organization_id = ?1 AND seq >= 3";
const SWAP: [&str; 3] = [
    "UPDATE api_keys_audit_events SET seq = 99 WHERE organization_id = ?1 AND seq = 3",
    "UPDATE api_keys_audit_events SET seq = 3 WHERE organization_id = ?1 AND seq = 4",
    "UPDATE api_keys_audit_events SET seq = 4 WHERE organization_id = ?1 AND seq = 99",
];
const SWAP_PERSONAL: [&str; 3] = [
    "UPDATE api_keys_audit_personal SET seq = 99 WHERE organization_id = ?1 AND seq = 3",
    "UPDATE api_keys_audit_personal SET seq = 3 WHERE organization_id = ?1 AND seq = 4",
    "UPDATE api_keys_audit_personal SET seq = 4 WHERE organization_id = ?1 AND seq = 99",
];
const INSERT: &str = "INSERT INTO api_keys_audit_events (organization_id, seq, commit_id, at, actor_kind, actor, action, key_id, \
                      user_id, payload, hash) SELECT organization_id, 9, commit_id, at, actor_kind, actor, action, key_id, \
                      user_id, payload, hash FROM api_keys_audit_events WHERE organization_id = ?1 AND seq = 8";
const MAKE_ROOM: [&str; 3] = [
    "UPDATE api_keys_audit_events SET seq = seq + 100 WHERE organization_id = ?1 AND seq > 4",
    "UPDATE api_keys_audit_events SET seq = seq - 99 WHERE organization_id = ?1 AND seq > 4",
    "INSERT INTO api_keys_audit_events (organization_id, seq, commit_id, at, actor_kind, actor, action, key_id, user_id, \
     payload, hash) SELECT organization_id, 5, commit_id, at, actor_kind, actor, action, key_id, user_id, payload, hash \
     FROM api_keys_audit_events WHERE organization_id = ?1 AND seq = 4",
];
const DELETE: &str = "DELETE FROM api_keys_audit_events WHERE organization_id = ?1 AND seq = 5";
const DELETE_FIRST: &str = "DELETE FROM api_keys_audit_events WHERE organization_id = ?1 AND seq < 3";
const DELETE_LAST: &str = "DELETE FROM api_keys_audit_events WHERE organization_id = ?1 AND seq = 8";
const CLOSE_GAP: [&str; 2] = [
    "UPDATE api_keys_audit_events SET seq = seq + 100 WHERE organization_id = ?1 AND seq > 5",
    "UPDATE api_keys_audit_events SET seq = seq - 101 WHERE organization_id = ?1 AND seq > 5",
];
const CUT: &str = "DELETE FROM api_keys_audit_events WHERE organization_id = ?1 AND seq > 6";
const MOVE_HEAD: &str = "UPDATE api_keys_organization_state SET audit_seq = 6, audit_hash = (SELECT hash FROM \
                         api_keys_audit_events a WHERE a.organization_id = ?1 AND seq = 6) WHERE organization_id = ?1";
const CUT_START: [&str; 2] = [
    "UPDATE api_keys_organization_state SET pruned_seq = 4, pruned_hash = (SELECT hash FROM api_keys_audit_events a \
     WHERE a.organization_id = ?1 AND seq = 4) WHERE organization_id = ?1",
    "DELETE FROM api_keys_audit_events WHERE organization_id = ?1 AND seq <= 4",
];
const DELETE_ALL: [&str; 2] = [
    "DELETE FROM api_keys_audit_events WHERE organization_id = ?1",
    "DELETE FROM api_keys_organization_state WHERE organization_id = ?1",
];

#[rstest]
#[case::edit(&[EDIT], &[(8, Altered)])]
#[case::reorder(&SWAP, &[(3, Altered), (4, Altered), (5, Altered)])]
#[case::insert(&[INSERT], &[(9, Altered), (9, HeadAltered)])]
#[case::insert_between(
    &MAKE_ROOM, &[(5, Altered), (6, Altered), (7, Altered), (8, Altered), (9, Altered), (9, HeadAltered)])]
#[case::delete(&[DELETE], &[(5, Missing)])]
#[case::delete_and_close(
    &[DELETE, CLOSE_GAP[0], CLOSE_GAP[1]], &[(5, Altered), (6, Altered), (7, Altered), (8, CutOff)])]
#[case::delete_start(&[DELETE_FIRST], &[(1, Missing)])]
#[case::delete_and_edit(&[DELETE, EDIT], &[(5, Missing), (8, Altered)])]
#[case::cut_tail(&[CUT], &[(7, CutOff)])]
#[case::move_head(&[MOVE_HEAD], &[(8, HeadAltered)])]
#[case::delete_head(&DELETE_ALL[1..], &[(8, HeadAltered)])]
#[case::raise_head(&["UPDATE api_keys_organization_state SET audit_seq = 12 WHERE organization_id = ?1"], &[(9, CutOff)])]
#[case::search_column(
    &["UPDATE api_keys_audit_events SET actor = 'bob' WHERE organization_id = ?1 AND seq = 3"], &[(3, ColumnAltered)])]
#[case::time_column(
    &["UPDATE api_keys_audit_events SET at = at + 1 WHERE organization_id = ?1 AND seq = 3"], &[(3, ColumnAltered)])]
#[case::key_column(
    &["UPDATE api_keys_audit_events SET key_id = NULL WHERE organization_id = ?1 AND seq = 3"], &[(3, ColumnAltered)])]
#[case::commit_column(
    &["UPDATE api_keys_audit_events SET commit_id = zeroblob(16) WHERE organization_id = ?1 AND seq = 3"],
    &[(3, ColumnAltered)])]
#[case::personal(
    &["UPDATE api_keys_audit_personal SET \"values\" = replace(\"values\", 'Alice', 'Malle') WHERE organization_id = ?1 AND \
       seq = 3"], &[(3, PersonalAltered)])]
#[case::personal_is_no_list(
    &["UPDATE api_keys_audit_personal SET \"values\" = 'x' WHERE organization_id = ?1 AND seq = 3"], &[(3, PersonalAltered)])]
#[case::other_persons(&SWAP_PERSONAL, &[(3, PersonalAltered), (4, PersonalAltered)])]
#[case::unreadable(
    &["UPDATE api_keys_audit_events SET payload = 'x' WHERE organization_id = ?1 AND seq = 3"], &[(3, Unreadable)])]
#[case::other_type(
    &["UPDATE api_keys_audit_events SET payload = x'00' WHERE organization_id = ?1 AND seq = 3"], &[(3, Unreadable)])]
#[case::other_type_of_the_first(
    &["UPDATE api_keys_audit_events SET at = 'x' WHERE organization_id = ?1 AND seq = 1"], &[(1, Unreadable)])]
#[case::many(
    &["UPDATE api_keys_audit_events SET at = 'x' WHERE organization_id = ?1 AND seq = 1",
      "UPDATE api_keys_audit_events SET actor = 'bob' WHERE organization_id = ?1 AND seq = 3",
      "UPDATE api_keys_audit_events SET payload = x'00' WHERE organization_id = ?1 AND seq IN (4, 6)", EDIT],
    &[(1, Unreadable), (3, ColumnAltered), (4, Unreadable), (6, Unreadable), (8, Altered)])]
#[case::unreadable_at_the_end(
    &["UPDATE api_keys_audit_events SET payload = x'00' WHERE organization_id = ?1 AND seq = 8"], &[(8, Unreadable)])]
#[tokio::test]
async fn change_is_found_with_and_without_key(#[case] statements: &[&str], #[case] expected: &[(u64, ProblemKind)]) {
    for has_root_key in [true, false] {
        let file = File::new(has_root_key).await;
        let anchors = file.trail.anchors().await;
        file.run(statements);
        for anchors in [&AuditAnchors::default(), &anchors] {
            assert_eq!(file.found(anchors).await, expected, "{has_root_key}");
        }
    }
}

/// What shows without an anchor when there is a key; and, with an anchor, when there is none.
#[rstest]
#[case::edit(&[EDIT], 8, &[(8, Altered)], &[(8, NotAsAnchored)])]
#[case::reorder(
    &SWAP, 3, &[(3, Altered), (4, Altered), (5, Altered), (6, Altered), (7, Altered), (8, Altered)],
    &[(3, PersonalAltered), (4, PersonalAltered), (8, NotAsAnchored)])]
#[case::delete(
    &[DELETE, CLOSE_GAP[0], CLOSE_GAP[1]], 5, &[(5, Altered), (6, Altered), (7, Altered)],
    &[(5, PersonalAltered), (6, PersonalAltered), (7, PersonalAltered), (8, NotAsAnchored)])]
#[case::delete_last(
    &[DELETE_LAST], 7, &[(7, Altered)], &[(8, NotAsAnchored)])]
#[case::made_anew_without_key(
    &[WITHOUT_KEY], 3, &[(3, Unkeyed), (4, Unkeyed), (5, Unkeyed), (6, Unkeyed), (7, Unkeyed), (8, Unkeyed)], &[])]
#[tokio::test]
async fn chain_that_was_hashed_again_is_found(
    #[case] statements: &[&str],
    #[case] from: i64,
    #[case] keyed: &[(u64, ProblemKind)],
    #[case] anchored: &[(u64, ProblemKind)],
) {
    let file = File::new(true).await;
    file.run(statements);
    file.hash_again(from);
    assert_eq!(file.found(&AuditAnchors::default()).await, keyed);

    if statements == [WITHOUT_KEY] {
        return;
    }
    let file = File::new(false).await;
    let anchors = file.trail.anchors().await;
    file.run(statements);
    file.hash_again(from);
    if anchored.len() == 1 {
        assert_eq!(file.found(&AuditAnchors::default()).await, [], "nobody can find this");
    }
    assert_eq!(file.found(&anchors).await, anchored);
}

#[tokio::test]
async fn whole_chain_made_anew_without_key_is_found() {
    let file = File::new(true).await;
    file.run(&[&WITHOUT_KEY.replace(">= 3", ">= 1")]);
    file.hash_again(1);
    let all = (1..=8).map(|seq| (seq, Unkeyed));
    assert_eq!(file.found(&AuditAnchors::default()).await, all.collect::<Vec<_>>());
}

/// A database that had events before it had a root key: its chains have no key up to the first change after that.
#[tokio::test]
async fn chain_from_before_the_root_key_verifies_and_is_keyed_from_then_on() {
    let file = File::new(false).await;
    let store = SqliteStore::open(&file.path).await.unwrap();
    let later = Trail::over(store, true).await;
    let deactivate = |acme: &mut tower_api_key::key::Organization| acme.name.push('!');
    later.alice().update_organization(file.acme, deactivate).await.unwrap();
    let anchors = AuditAnchors::default();
    assert_eq!(later.verify(&anchors).await.unwrap().chains, 2);
    // Before that, the first entry with a key shows a change; after it, no entry may be without.
    let file = File { trail: later, ..file };
    let names = file.trail.entries(file.acme).await;
    assert!(names[7].payload().starts_with("1:2,0:,") && names[8].payload().starts_with("1:2,1:1,"));
    file.run(&[EDIT]);
    let connection = file.by_hand();
    let last = "SELECT hash FROM api_keys_audit_events WHERE organization_id = ?1 AND seq = 9";
    let hash: Vec<u8> = connection
        .query_row(last, params![file.acme.as_uuid()], |row| row.get(0))
        .unwrap();
    file.hash_again(8);
    let restore = "UPDATE api_keys_audit_events SET hash = ?2 WHERE organization_id = ?1 AND seq = 9";
    connection.execute(restore, params![file.acme.as_uuid(), hash]).unwrap();
    assert_eq!(file.found(&anchors).await, [(9, Altered), (9, HeadAltered)]);
}

#[tokio::test]
async fn handle_without_the_root_key_links_nothing_to_a_keyed_chain() {
    let file = File::new(true).await;
    let store = SqliteStore::open(&file.path).await.unwrap();
    let issuer = Issuer::new(store).unwrap();
    let refused = issuer.create_organization("other").await.unwrap_err();
    let text = format!("{refused:?}");
    assert!(text.contains("root key"), "{text}");
}

#[tokio::test]
async fn cut_tail_with_its_head_is_found_by_the_anchor() {
    for has_root_key in [true, false] {
        let file = File::new(has_root_key).await;
        let mut anchors = file.trail.anchors().await;
        file.run(&[CUT, MOVE_HEAD]);
        assert_eq!(file.found(&AuditAnchors::default()).await, [], "nobody can find this");
        assert_eq!(file.found(&anchors).await, [(7, NotAsAnchored)]);

        // Anchoring again does not hide it.
        let error = file.trail.keys.audit().anchor(&mut anchors).await.unwrap_err();
        assert_eq!(error.problems()[0].kind, NotAsAnchored);
        assert_eq!(anchors.of(file.acme).unwrap().seq, 8);

        // Nor does going on, as a fork.
        let rename = |acme: &mut tower_api_key::key::Organization| acme.name.push('!');
        for _ in 0..3 {
            file.trail.alice().update_organization(file.acme, rename).await.unwrap();
        }
        assert_eq!(file.found(&AuditAnchors::default()).await, []);
        assert_eq!(file.found(&anchors).await, [(8, NotAsAnchored)]);
        let error = file.trail.keys.audit().anchor(&mut anchors).await.unwrap_err();
        assert_eq!((error.problems()[0].seq, error.problems()[0].kind), (8, NotAsAnchored));
        assert_eq!(anchors.of(file.acme).unwrap().seq, 8);
    }
}

#[tokio::test]
async fn deleted_chain_is_found_by_the_anchor() {
    let file = File::new(true).await;
    let mut anchors = file.trail.anchors().await;
    file.run(&DELETE_ALL);
    assert_eq!(file.found(&AuditAnchors::default()).await, [], "nobody can find this");
    assert_eq!(file.found(&anchors).await, [(1, NotAsAnchored)]);
    let error = file.trail.keys.audit().anchor(&mut anchors).await.unwrap_err();
    assert_eq!(error.problems().len(), 1);
}

#[tokio::test]
async fn start_that_was_cut_by_others_is_found_under_a_key() {
    let file = File::new(true).await;
    file.run(&CUT_START);
    assert_eq!(file.found(&AuditAnchors::default()).await, [(4, PrunedByOthers)]);
}

#[tokio::test]
async fn chain_of_another_organization_is_not_taken_for_ones_own() {
    let file = File::new(true).await;
    let other = OrganizationId::new();
    let connection = file.by_hand();
    for table in ["audit_events", "audit_personal", "organization_state"] {
        let update = format!("UPDATE api_keys_{table} SET organization_id = ?2 WHERE organization_id = ?1");
        connection
            .execute(&update, params![file.acme.as_uuid(), other.as_uuid()])
            .unwrap();
    }
    let problems = file.trail.problems(&AuditAnchors::default()).await;
    let found = problems
        .iter()
        .map(|problem| (problem.organization_id, problem.seq, problem.kind));
    let all = (1..=8).map(|seq| (other, seq, ColumnAltered));
    assert_eq!(found.collect::<Vec<_>>(), all.collect::<Vec<_>>());
}

#[tokio::test]
async fn entry_with_a_key_that_is_gone_is_found() {
    let file = File::new(true).await;
    let connection = file.by_hand();
    connection
        .execute("DELETE FROM api_keys_server_secrets WHERE purpose = 'audit'", [])
        .unwrap();
    // The next process makes a secret of its own.
    let store = SqliteStore::open(&file.path).await.unwrap();
    let later = Trail::over(store, true).await;
    let error = later.verify(&AuditAnchors::default()).await.unwrap_err();
    assert!(
        error.problems().iter().any(|problem| problem.kind == UnknownKey),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn chain_of_many_writers_has_no_fork() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("keys.sqlite")).await.unwrap();
    let trail = Trail::over(store, true).await;
    let acme = trail.alice().create_organization("acme").await.unwrap().id;
    let writers = (0..64).map(|number| {
        let alice = trail.alice();
        tokio::spawn(async move {
            let id = alice
                .issue(IssueRequest::new(acme, format!("key {number}")))
                .await
                .unwrap()
                .record
                .id;
            alice.disable(id).await.unwrap();
            alice.enable(id).await.unwrap();
            alice.revoke(id, "done").await.unwrap();
        })
    });
    // Verified meanwhile, too.
    let writers: Vec<_> = writers.collect();
    for _ in 0..4 {
        trail.verify(&AuditAnchors::default()).await.unwrap();
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let verified = trail
        .keys
        .audit()
        .verify_chain(acme, &AuditAnchors::default())
        .await
        .unwrap();
    assert_eq!(verified.entries, 1 + 64 * 4);
}

#[tokio::test]
async fn breaks_of_all_chains_are_named_and_no_more_than_a_thousand() {
    let file = File::new(true).await;
    let other = file.trail.acme().await;
    let connection = file.by_hand();
    let edit = "UPDATE api_keys_audit_events SET actor = 'bob' WHERE seq IN (2, 5) AND organization_id IN (?1, ?2)";
    connection
        .execute(edit, params![file.acme.as_uuid(), other.as_uuid()])
        .unwrap();
    let problems = file.trail.problems(&AuditAnchors::default()).await;
    let found: Vec<_> = problems
        .iter()
        .map(|problem| (problem.organization_id, problem.seq))
        .collect();
    assert_eq!(found, [(file.acme, 2), (file.acme, 5), (other, 2), (other, 5)]);
    let error = file.trail.verify(&AuditAnchors::default()).await.unwrap_err();
    assert!(error.to_string().ends_with("; 3 more such findings"), "{error}");

    let mut commit = tower_api_key::store::Commit::new();
    for _ in 0..1_100 {
        let event = tower_api_key::audit::AuditEvent::new(
            file.acme,
            Timestamp::from_millis(0),
            Actor::service(),
            tower_api_key::audit::AuditAction::new("tried"),
        );
        commit = commit.audit(event);
    }
    file.trail.alice().commit(commit).await.unwrap();
    file.run(&["UPDATE api_keys_audit_events SET actor = 'bob' WHERE organization_id = ?1"]);
    let problems = file.trail.problems(&AuditAnchors::default()).await;
    assert_eq!((problems.len(), problems[999].seq), (1_000, 1_000));
}
