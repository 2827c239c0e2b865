//! Someone who can write the whole database, and has no root key, changes the trail.

use rstest::rstest;
use sha2::{Digest, Sha256};
use tower_api_key::audit::ProblemKind::{self, *};

use super::*;

struct Place {
    database: Database,
    trail: Trail,
    acme: OrganizationId,
}

impl Place {
    async fn new(database: Database, has_root_key: bool) -> Self {
        let trail = Trail::over(database.open().await, has_root_key).await;
        let acme = trail.acme().await;
        assert!(trail.verify(&AuditAnchors::default()).await.is_ok());
        Self { database, trail, acme }
    }

    /// Runs statements over the chain of `?1`.
    async fn run(&self, statements: &[&str]) {
        let hand = self.database.hand().await;
        for statement in statements {
            let changed = hand.run(statement, &[self.acme.as_uuid()]).await;
            assert!(changed > 0, "{statement}");
        }
    }

    async fn hash(&self, seq: i64) -> Option<String> {
        let hash = format!("SELECT hash FROM api_keys_audit_events WHERE organization_id = ?1 AND seq = {seq}");
        let mut rows = self.database.hand().await.rows(&hash, &[self.acme.as_uuid()]).await;
        Some(rows.pop()?.remove(0))
    }

    async fn set_hash(&self, seq: i64, hash: &str) {
        let hash = self.database.bytes(hash);
        let update =
            format!("UPDATE api_keys_audit_events SET hash = {hash} WHERE organization_id = ?1 AND seq = {seq}");
        self.run(&[&update]).await;
    }

    /// Hashes the chain anew from this entry on, as anyone can, and moves its end.
    async fn hash_again(&self, from: i64) {
        let mut hash = self.hash(from - 1).await.unwrap_or("00".repeat(32));
        let rows = format!(
            "SELECT seq, payload FROM api_keys_audit_events WHERE organization_id = ?1 AND seq >= {from} ORDER BY seq"
        );
        let rows = self.database.hand().await.rows(&rows, &[self.acme.as_uuid()]).await;
        let mut last: i64 = 0;
        for row in rows {
            last = row[0].parse().unwrap();
            let before: Vec<u8> = (0..32)
                .map(|byte| u8::from_str_radix(&hash[2 * byte..2 * byte + 2], 16).unwrap())
                .collect();
            let parts = [&b"ak-audit-1"[..], &before, &last.to_be_bytes(), row[1].as_bytes()];
            let digest = Sha256::digest(parts.concat());
            hash = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            self.set_hash(last, &hash).await;
        }
        let hash = self.database.bytes(&hash);
        let update = format!(
            "UPDATE api_keys_organization_state SET audit_seq = {last}, audit_hash = {hash} WHERE organization_id = ?1"
        );
        self.run(&[&update]).await;
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
    let of_other_type = statements
        .iter()
        .any(|statement| statement.contains("x'00'") || statement.contains("at = 'x'"));
    for has_root_key in [true, false] {
        // Columns of PostgreSQL have types.
        for database in Database::shared().filter(|database| !of_other_type || !database.is_postgres()) {
            let place = Place::new(database, has_root_key).await;
            let anchors = place.trail.anchors().await;
            place.run(statements).await;
            for anchors in [&AuditAnchors::default(), &anchors] {
                assert_eq!(place.found(anchors).await, expected, "{has_root_key}");
            }
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
    for database in Database::shared() {
        let place = Place::new(database, true).await;
        place.run(statements).await;
        place.hash_again(from).await;
        assert_eq!(place.found(&AuditAnchors::default()).await, keyed);
    }
    for database in Database::shared().filter(|_| statements != [WITHOUT_KEY]) {
        let place = Place::new(database, false).await;
        let anchors = place.trail.anchors().await;
        place.run(statements).await;
        place.hash_again(from).await;
        if anchored.len() == 1 {
            assert_eq!(place.found(&AuditAnchors::default()).await, [], "nobody can find this");
        }
        assert_eq!(place.found(&anchors).await, anchored);
    }
}

#[tokio::test]
async fn whole_chain_made_anew_without_key_is_found() {
    for database in Database::shared() {
        let place = Place::new(database, true).await;
        place.run(&[&WITHOUT_KEY.replace(">= 3", ">= 1")]).await;
        place.hash_again(1).await;
        let all = (1..=8).map(|seq| (seq, Unkeyed));
        assert_eq!(place.found(&AuditAnchors::default()).await, all.collect::<Vec<_>>());
    }
}

/// A database that had events before it had a root key: its chains have no key up to the first change after that.
#[tokio::test]
async fn chain_from_before_the_root_key_verifies_and_is_keyed_from_then_on() {
    for database in Database::shared() {
        let place = Place::new(database, false).await;
        let later = Trail::over(place.database.open().await, true).await;
        let deactivate = |acme: &mut tower_api_key::key::Organization| acme.name.push('!');
        later.alice().update_organization(place.acme, deactivate).await.unwrap();
        let anchors = AuditAnchors::default();
        assert_eq!(later.verify(&anchors).await.unwrap().chains, 2);
        // Before that, the first entry with a key shows a change; after it, no entry may be without.
        let place = Place { trail: later, ..place };
        let names = place.trail.entries(place.acme).await;
        assert!(names[7].payload().starts_with("1:2,0:,") && names[8].payload().starts_with("1:2,1:1,"));
        place.run(&[EDIT]).await;
        let hash = place.hash(9).await.unwrap();
        place.hash_again(8).await;
        place.set_hash(9, &hash).await;
        assert_eq!(place.found(&anchors).await, [(9, Altered), (9, HeadAltered)]);
    }
}

#[tokio::test]
async fn handle_without_the_root_key_links_nothing_to_a_keyed_chain() {
    for database in Database::shared() {
        let place = Place::new(database, true).await;
        let store = place.database.open().await;
        let issuer = Issuer::new(store).unwrap();
        let refused = issuer.create_organization("other").await.unwrap_err();
        let text = format!("{refused:?}");
        assert!(text.contains("root key"), "{text}");
    }
}

#[tokio::test]
async fn cut_tail_with_its_head_is_found_by_the_anchor() {
    for (database, has_root_key) in Database::shared()
        .map(|database| (database, true))
        .chain(Database::shared().map(|database| (database, false)))
    {
        let place = Place::new(database, has_root_key).await;
        let mut anchors = place.trail.anchors().await;
        place.run(&[CUT, MOVE_HEAD]).await;
        assert_eq!(place.found(&AuditAnchors::default()).await, [], "nobody can find this");
        assert_eq!(place.found(&anchors).await, [(7, NotAsAnchored)]);

        // Anchoring again does not hide it.
        let error = place.trail.keys.audit().anchor(&mut anchors).await.unwrap_err();
        assert_eq!(error.problems()[0].kind, NotAsAnchored);
        assert_eq!(anchors.of(place.acme).unwrap().seq, 8);

        // Nor does going on, as a fork.
        let rename = |acme: &mut tower_api_key::key::Organization| acme.name.push('!');
        for _ in 0..3 {
            place
                .trail
                .alice()
                .update_organization(place.acme, rename)
                .await
                .unwrap();
        }
        assert_eq!(place.found(&AuditAnchors::default()).await, []);
        assert_eq!(place.found(&anchors).await, [(8, NotAsAnchored)]);
        let error = place.trail.keys.audit().anchor(&mut anchors).await.unwrap_err();
        assert_eq!((error.problems()[0].seq, error.problems()[0].kind), (8, NotAsAnchored));
        assert_eq!(anchors.of(place.acme).unwrap().seq, 8);
    }
}

#[tokio::test]
async fn deleted_chain_is_found_by_the_anchor() {
    for database in Database::shared() {
        let place = Place::new(database, true).await;
        let mut anchors = place.trail.anchors().await;
        place.run(&DELETE_ALL).await;
        assert_eq!(place.found(&AuditAnchors::default()).await, [], "nobody can find this");
        assert_eq!(place.found(&anchors).await, [(1, NotAsAnchored)]);
        let error = place.trail.keys.audit().anchor(&mut anchors).await.unwrap_err();
        assert_eq!(error.problems().len(), 1);
    }
}

#[tokio::test]
async fn start_that_was_cut_by_others_is_found_under_a_key() {
    for database in Database::shared() {
        let place = Place::new(database, true).await;
        place.run(&CUT_START).await;
        assert_eq!(place.found(&AuditAnchors::default()).await, [(4, PrunedByOthers)]);
    }
}

#[tokio::test]
async fn chain_of_another_organization_is_not_taken_for_ones_own() {
    for database in Database::shared() {
        let place = Place::new(database, true).await;
        let other = OrganizationId::new();
        for table in ["audit_events", "audit_personal", "organization_state"] {
            let update = format!("UPDATE api_keys_{table} SET organization_id = ?2 WHERE organization_id = ?1");
            let ids = [place.acme.as_uuid(), other.as_uuid()];
            place.database.by_hand(&update, &ids).await;
        }
        let problems = place.trail.problems(&AuditAnchors::default()).await;
        let found = problems
            .iter()
            .map(|problem| (problem.organization_id, problem.seq, problem.kind));
        let all = (1..=8).map(|seq| (other, seq, ColumnAltered));
        assert_eq!(found.collect::<Vec<_>>(), all.collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn entry_with_a_key_that_is_gone_is_found() {
    for database in Database::shared() {
        let place = Place::new(database, true).await;
        let delete = "DELETE FROM api_keys_server_secrets WHERE purpose = 'audit'";
        place.database.by_hand(delete, &[]).await;
        // The next process makes a secret of its own.
        let later = Trail::over(place.database.open().await, true).await;
        let error = later.verify(&AuditAnchors::default()).await.unwrap_err();
        assert!(
            error.problems().iter().any(|problem| problem.kind == UnknownKey),
            "{error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn chain_of_many_writers_has_no_fork() {
    for (trail, _database) in Trail::each().await {
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
}

#[tokio::test]
async fn breaks_of_all_chains_are_named_and_no_more_than_a_thousand() {
    for database in Database::shared() {
        let place = Place::new(database, true).await;
        let other = place.trail.acme().await;
        let edit = "UPDATE api_keys_audit_events SET actor = 'bob' WHERE seq IN (2, 5) AND organization_id IN (?1, ?2)";
        place
            .database
            .by_hand(edit, &[place.acme.as_uuid(), other.as_uuid()])
            .await;
        let problems = place.trail.problems(&AuditAnchors::default()).await;
        let found: Vec<_> = problems
            .iter()
            .map(|problem| (problem.organization_id, problem.seq))
            .collect();
        assert_eq!(found, [(place.acme, 2), (place.acme, 5), (other, 2), (other, 5)]);
        let error = place.trail.verify(&AuditAnchors::default()).await.unwrap_err();
        assert!(error.to_string().ends_with("; 3 more such findings"), "{error}");

        let mut commit = tower_api_key::store::Commit::new();
        for _ in 0..1_100 {
            let event = tower_api_key::audit::AuditEvent::new(
                place.acme,
                Timestamp::from_millis(0),
                Actor::service(),
                tower_api_key::audit::AuditAction::new("tried"),
            );
            commit = commit.audit(event);
        }
        place.trail.alice().commit(commit).await.unwrap();
        place
            .run(&["UPDATE api_keys_audit_events SET actor = 'bob' WHERE organization_id = ?1"])
            .await;
        let problems = place.trail.problems(&AuditAnchors::default()).await;
        assert_eq!((problems.len(), problems[999].seq), (1_000, 1_000));
    }
}
