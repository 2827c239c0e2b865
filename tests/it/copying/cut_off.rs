//! A copy that is cut off goes on where it stopped.

use std::env;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use tower_api_key::key::{KeyRecord, KeySecret, Organization, SecretHash, Timestamp};
use tower_api_key::store::{Commit, CopyErrorKind, KeyStore, Write, copy};

use super::*;

const TABLES: [&str; 16] = [
    "plans",
    "organizations",
    "users",
    "roles",
    "scopes",
    "server_secrets",
    "keys",
    "key_secrets",
    "key_use",
    "key_networks",
    "scope_use",
    "usage_sources",
    "idempotency",
    "audit_events",
    "audit_personal",
    "refusals",
];

/// Stopped at every table in turn. Each other time something changes in the source before it goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn copy_stopped_at_any_table_goes_on() {
    let places = Places::new();
    let source = places.sqlite("old").await;
    let (mut of, anchors) = live(source.clone(), true).await;
    let schema = schema_name();
    let target = postgres_target(&schema).await;
    for (round, table) in TABLES.iter().enumerate() {
        by_hand(
            &schema,
            &format!("ALTER TABLE {{s}}{table} ADD CONSTRAINT stop CHECK (false) NOT VALID"),
        );
        let error = copy(&source, &target).await.unwrap_err();
        assert_eq!(error.kind(), CopyErrorKind::Target, "{table}: {}", text(&error));
        assert!(postgres(&schema).await.is_err());
        by_hand(&schema, &format!("ALTER TABLE {{s}}{table} DROP CONSTRAINT stop"));
        if round % 2 == 1 {
            let keys = handle(source.clone(), true).await;
            let issuer = keys.issuer().acting_as(Actor::user("alice"));
            let acme = issuer.organization_by_slug("acme").await.unwrap().unwrap();
            let request = IssueRequest::new(acme.id, format!("key {table}")).scopes("orders:write".parse().unwrap());
            let issued = issuer.issue(request).await.unwrap();
            let text = issued.key.expose_secret().to_owned();
            if round % 4 == 1 {
                issuer.revoke(issued.record.id, "lost").await.unwrap();
            }
            let said = verdict(&keys, &text).await;
            of.push((text, said));
        }
    }
    // What was there and is not any more, and one that was revoked after it had been copied.
    let keys = handle(source.clone(), true).await;
    let issuer = keys.issuer().acting_as(Actor::user("alice"));
    let first = PresentedKey::new(of[0].0.as_bytes());
    let id = keys.authenticator().check(first).await.unwrap().key_id();
    issuer.revoke(id, "stolen").await.unwrap();
    issuer.delete_revoked(Duration::ZERO).await.unwrap();
    let of = verdicts(&keys, &of).await;
    copy(&source, &target).await.unwrap();
    let copied = handle(target, true).await;
    assert_eq!(verdicts(&copied, &of).await, of);
    copied.audit().verify(&anchors).await.unwrap();
}

/// What is there already is not written again, if the source is as it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rows_that_are_there_are_not_written_again() {
    let places = Places::new();
    let source = places.sqlite("old").await;
    live(source.clone(), false).await;
    let schema = schema_name();
    let target = postgres_target(&schema).await;
    by_hand(&schema, "ALTER TABLE {s}refusals ADD CONSTRAINT stop CHECK (false)");
    copy(&source, &target).await.unwrap_err();
    let versions = "SELECT string_agg(xmin::text, ',' ORDER BY id) FROM {s}keys";
    let before = by_hand(&schema, versions);
    by_hand(&schema, "ALTER TABLE {s}refusals DROP CONSTRAINT stop");
    copy(&source, &target).await.unwrap();
    assert_eq!(by_hand(&schema, versions), before);
}

/// Many keys, put there past the issuer.
async fn fill(source: &SqliteStore, number: usize) {
    let acme = Organization::new("Acme");
    let mut commit = Commit::new().write(Write::InsertOrganization(acme.clone()));
    for index in 0..number {
        let record = KeyRecord::new(acme.id, format!("key {index}"), Timestamp::now());
        let hash = SecretHash::new(format!("sha256:{index:064x}")).unwrap();
        let lookup = format!("lookup{index:06}").parse().unwrap();
        let secret = KeySecret::new(lookup, hash, Timestamp::now());
        let key = record.id;
        commit = commit
            .write(Write::InsertKey(record))
            .write(Write::InsertSecret(key, secret));
        if index % 1000 == 999 {
            source.commit(commit).await.unwrap();
            commit = Commit::new();
        }
    }
    source.commit(commit).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn copy_whose_caller_goes_away_stops_and_goes_on() {
    let places = Places::new();
    let source = places.sqlite("old").await;
    fill(&source, 5000).await;
    let target = places.sqlite_target("new").await;
    for polls in 1..4 {
        let mut copying = Box::pin(copy(&source, &target));
        for _ in 0..polls {
            let _ = tokio::time::timeout(Duration::from_millis(5), &mut copying).await;
        }
    }
    let copied = copy(&source, &target).await.unwrap();
    assert_eq!(copied.rows("keys"), 5000);
    assert_eq!(rows(&places.file("new")), rows(&places.file("old")));
}

/// Of a database in which nothing is yet.
const SEEDED_PLANS: usize = 3;
const SOURCE: &str = "COPY_TEST_SOURCE";
const TARGET: &str = "COPY_TEST_TARGET";

/// Copies, and says which tables it has done.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "run in another process by another test"]
async fn copier() {
    let (Ok(source), Ok(target)) = (env::var(SOURCE), env::var(TARGET)) else {
        return;
    };
    let subscriber = tracing_subscriber::fmt().with_writer(std::io::stdout).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let copied = match target.contains('/') {
        true => {
            let source = postgres(&source).await.unwrap();
            let builder = SqliteStore::builder().copy_target();
            copy(&source, &builder.open(target).await.unwrap()).await
        }
        false => {
            let source = SqliteStore::open(source).await.unwrap();
            copy(&source, &postgres_target(&target).await).await
        }
    };
    copied.unwrap();
    println!("\ncopy is done");
}

/// Kills the process at a random moment; whether it was done by then.
fn is_done_before_it_is_killed(source: &str, target: &str) -> bool {
    let mut process = Command::new(env::current_exe().unwrap())
        .args(["--ignored", "--exact", "copying::cut_off::copier", "--nocapture"])
        .env(SOURCE, source)
        .env(TARGET, target)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let tables = rand::random_range(0..=TABLES.len());
    let mut lines = BufReader::new(process.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok);
    let mut done = false;
    for line in lines.by_ref().filter(|line| line.contains("cop")).take(tables + 1) {
        done |= line.contains("copy is done");
    }
    (0..rand::random_range(0..20_000)).for_each(|_| std::thread::yield_now());
    let _ = process.kill();
    done |= lines.any(|line| line.contains("copy is done"));
    process.wait().unwrap();
    done
}

fn rounds() -> usize {
    match env::var("API_KEYS_TESTS").is_ok_and(|size| size == "full") {
        true => 100,
        false => 6,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn killed_copy_goes_on() {
    let places = Places::new();
    let source = places.sqlite("old").await;
    let (of, anchors) = live(source.clone(), true).await;
    fill(&source, 3000).await;
    let before = rows(&places.file("old"));
    // It opens before the copy begins, and when it is whole, which the process may not have come to say.
    let plans = |rows: &[String]| rows.iter().filter(|row| row.starts_with("api_keys_plans ")).count();
    let expected = [SEEDED_PLANS, plans(&before)];
    let schema = schema_name();
    let path = places.file("old").to_str().unwrap().to_owned();
    for _ in 0..rounds() {
        if is_done_before_it_is_killed(&path, &schema) {
            break;
        }
        if postgres(&schema).await.is_ok() {
            let found = by_hand(&schema, "SELECT count(*) FROM {s}plans").parse().unwrap();
            assert!(expected.contains(&found), "{found}");
        }
    }
    copy(&source, &postgres_target(&schema).await).await.unwrap();
    let back = places.file("back").to_str().unwrap().to_owned();
    for _ in 0..rounds() {
        if is_done_before_it_is_killed(&schema, &back) {
            break;
        }
        if places.file("back").exists() && SqliteStore::open(&back).await.is_ok() {
            let found = plans(&rows(&places.file("back")));
            assert!(expected.contains(&found), "{found}");
        }
    }
    let middle = postgres(&schema).await.unwrap();
    copy(&middle, &places.sqlite_target("back").await).await.unwrap();
    assert_eq!(rows(&places.file("back")), before);
    let keys = handle(places.sqlite("back").await, true).await;
    assert_eq!(verdicts(&keys, &of).await, of);
    keys.audit().verify(&anchors).await.unwrap();
}

/// What the source takes while the journal of the target is begun, the target would never learn.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn target_whose_source_was_let_go_at_the_end_serves_nobody() {
    use std::os::unix::fs::OpenOptionsExt;

    let places = Places::new();
    let (from, to) = (schema_name(), schema_name());
    let (of, _) = live(postgres(&from).await.unwrap(), false).await;
    let url = |schema: &str| format!("{}?application_name={schema}", shared());
    let source = PostgresStore::builder().schema(&from).open(&url(&from)).await.unwrap();
    let path = places.file("revocations");
    let builder = PostgresStore::builder().schema(&to).copy_target().journal(&path);
    let builder = builder.statement_timeout(Duration::from_secs(120));
    let target = builder.open(&url(&to)).await.unwrap();
    let journal = std::fs::File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&path)
        .unwrap();
    journal.lock().unwrap();
    let copying = {
        let (source, target) = (source.clone(), target.clone());
        tokio::spawn(async move { copy(&source, &target).await.map(drop) })
    };
    let waits = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = '{to}' AND state = 'idle in transaction' \
         AND query LIKE '%key_changes%'"
    );
    while psql(&shared(), &waits) == "0" {
        assert!(!copying.is_finished());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let ended = format!(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = '{from}' \
         AND state = 'idle in transaction'"
    );
    assert_eq!(psql(&shared(), &ended), "t");
    drop(journal);
    let error = copying.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), CopyErrorKind::Source, "{}", text(&error));
    assert!(target.find(&"abcdefgh".parse().unwrap()).await.is_err());
    assert!(text(&postgres(&to).await.unwrap_err()).contains("is not finished"));
    copy(&source, &target).await.unwrap();
    assert_eq!(verdicts(&handle(target, false).await, &of).await, of);
}
