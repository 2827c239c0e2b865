//! The revocation journal beside PostgreSQL: what was taken from keys stays taken when a backup is restored, and when a standby takes
//! over that lacks it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tower_api_key::audit::AuditAction;
use tower_api_key::hash::HashPolicy;
use tower_api_key::key::{Actor, KeyRecord, Organization};
use tower_api_key::store::query::AuditEvents;
use tower_api_key::store::{PostgresStore, PostgresStoreBuilder};
use tower_api_key::{
    ApiKeys, IssueErrorKind, IssueRequest, IssuedKey, Issuer, PresentedKey, RejectionClass, RejectionKind,
};

use crate::house::process::is_alone;
use crate::support::book::Book;
use crate::support::postgres::Server;

type Keys = ApiKeys<PostgresStore>;

const LOST: &str = "api_key_lost_changes_total{}";

/// A server, the journals of this machine, and a backup.
struct Place {
    server: Server,
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            server: Server::start(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn journal(&self) -> PathBuf {
        self.folder.path().join("revocations")
    }

    async fn open(&self) -> Keys {
        open(PostgresStore::builder().journal(self.journal()), &self.server.url()).await
    }

    fn restore(&self, backup: &str) {
        self.server.psql("DROP SCHEMA api_keys CASCADE");
        self.server.psql(backup);
    }
}

async fn open(builder: PostgresStoreBuilder, url: &str) -> Keys {
    let store = builder.max_staleness(Duration::from_secs(1)).open(url).await.unwrap();
    ApiKeys::builder(store)
        .hash_policy(HashPolicy::sha256())
        .open()
        .await
        .unwrap()
}

fn acting(keys: &Keys) -> Issuer<PostgresStore> {
    keys.issuer().acting_as(Actor::operator("test"))
}

async fn issue(keys: &Keys, acme: &Organization) -> IssuedKey {
    let request = IssueRequest::new(acme.id, "orders").scopes("orders:read orders:write".parse().unwrap());
    acting(keys).issue(request).await.unwrap()
}

async fn check(keys: &Keys, issued: &IssuedKey) -> Result<String, RejectionKind> {
    let key = PresentedKey::new(issued.key.expose_secret().as_bytes());
    let checked = keys.authenticator().check(key).await;
    checked
        .map(|context| context.scopes().to_string())
        .map_err(|rejection| rejection.kind())
}

/// The first answer that is not a 503, which says nothing.
async fn settled(keys: &Keys, issued: &IssuedKey) -> Result<String, RejectionKind> {
    let began = Instant::now();
    loop {
        let answer = check(keys, issued).await;
        let says_nothing = answer
            .as_ref()
            .is_err_and(|kind| kind.class() == RejectionClass::Unavailable);
        if !says_nothing || began.elapsed() > Duration::from_secs(20) {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

struct Taken {
    revoked: IssuedKey,
    narrowed: IssuedKey,
    untouched: IssuedKey,
}

impl Taken {
    async fn prepare(keys: &Keys) -> Self {
        let acme = acting(keys).create_organization("acme").await.unwrap();
        Self {
            revoked: issue(keys, &acme).await,
            narrowed: issue(keys, &acme).await,
            untouched: issue(keys, &acme).await,
        }
    }

    async fn take(&self, keys: &Keys) {
        acting(keys).revoke(self.revoked.record.id, "leaked").await.unwrap();
        let narrow = |record: &mut KeyRecord| record.scopes = "orders:read".parse().unwrap();
        acting(keys).update(self.narrowed.record.id, narrow).await.unwrap();
    }

    async fn is_taken(&self, keys: &Keys) {
        assert_eq!(settled(keys, &self.revoked).await, Err(RejectionKind::KeyRevoked));
        assert_eq!(settled(keys, &self.narrowed).await.unwrap(), "orders:read");
        assert_eq!(
            settled(keys, &self.untouched).await.unwrap(),
            "orders:read orders:write"
        );
    }
}

fn lines(path: &Path) -> usize {
    std::fs::read_to_string(path).unwrap().lines().count()
}

#[tokio::test]
async fn restored_backup_is_refused_before_the_first_answer() {
    let place = Place::new();
    let keys = place.open().await;
    let taken = Taken::prepare(&keys).await;
    let backup = place.server.dump();
    taken.take(&keys).await;
    drop(keys);
    place.restore(&backup);
    // Without its journal, a process admits what was revoked.
    let without = open(PostgresStore::builder(), &place.server.url()).await;
    settled(&without, &taken.revoked).await.unwrap();
    drop(without);

    let keys = place.open().await;
    taken.is_taken(&keys).await;
    // What was taken again is in the audit trail with the next commit that has the audit key.
    acting(&keys).create_organization("other").await.unwrap();
    let events = AuditEvents::all().page(100);
    let events = keys.read(events).await.unwrap().items;
    let restored = events
        .iter()
        .filter(|entry| entry.event.details.iter().any(|(name, _)| name == "restored"));
    let actions: Vec<_> = restored.map(|entry| entry.event.action.clone()).collect();
    assert_eq!(actions.len(), 2, "{actions:?}");
    assert!(actions.contains(&AuditAction::KEY_REVOKED) && actions.contains(&AuditAction::KEY_UPDATED));
    keys.audit().verify(&Default::default()).await.unwrap();
    drop(keys);
    // And again, now that the journal has a second history.
    place.restore(&backup);
    taken.is_taken(&place.open().await).await;
    taken.is_taken(&place.open().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backup_restored_under_a_running_service_admits_nothing_that_was_revoked() {
    let place = Place::new();
    let keys = place.open().await;
    let taken = Taken::prepare(&keys).await;
    let backup = place.server.dump();
    settled(&keys, &taken.revoked).await.unwrap();
    taken.take(&keys).await;
    taken.is_taken(&keys).await;
    place.restore(&backup);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(4) {
        let answer = check(&keys, &taken.revoked).await;
        assert!(answer.is_err(), "{answer:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    taken.is_taken(&keys).await;
    let stored = keys.read(taken.revoked.record.id).await.unwrap().unwrap();
    assert!(stored.record.revocation.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn standby_that_takes_over_without_a_revoke_gets_it_again() {
    if !is_alone("postgres_journal::standby_that_takes_over_without_a_revoke_gets_it_again") {
        return;
    }
    let book = Book::default();
    metrics::set_global_recorder(book.clone()).unwrap();
    let place = Place::new();
    let standby = place.server.standby();
    let (one, other) = (place.server.url(), standby.url());
    // Both hosts, as a service has them.
    let hosts = format!("127.0.0.1:{},127.0.0.1:{}", place.server.port(), standby.port());
    let url = one.replace(&format!("127.0.0.1:{}", place.server.port()), &hosts);
    assert!(url.contains(&hosts), "{one} {other}");
    let journals = [place.journal(), place.folder.path().join("of another machine")];
    let mut nodes = Vec::new();
    for journal in &journals {
        nodes.push(open(PostgresStore::builder().journal(journal), &url).await);
    }
    let taken = Taken::prepare(&nodes[0]).await;
    for node in &nodes {
        settled(node, &taken.revoked).await.unwrap();
    }
    standby.catch_up(&place.server);
    standby.stop_receiving();
    let lines_before = lines(&journals[1]);
    taken.take(&nodes[0]).await;
    // The other machine's journal has it soon.
    let began = Instant::now();
    while lines(&journals[1]) < lines_before + 2 {
        assert!(began.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for node in &nodes {
        taken.is_taken(node).await;
    }
    assert_eq!(book.count(LOST), 0);
    let revoked = "SELECT count(*) FROM api_keys.keys WHERE status = 'revoked'";
    assert_eq!(standby.psql(revoked).trim(), "0");
    place.server.kill9();
    standby.promote();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(5) {
        for node in &nodes {
            let answer = check(node, &taken.revoked).await;
            assert!(answer.is_err(), "{answer:?}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for node in &nodes {
        taken.is_taken(node).await;
    }
    assert_eq!(standby.psql(revoked).trim(), "1");
    assert_eq!(book.count(LOST), 4, "a revoke and a narrowing, on two nodes");
}

#[tokio::test]
async fn changes_of_others_and_by_hand_are_in_the_journal_soon() {
    let place = Place::new();
    let keys = place.open().await;
    // Followed once something is checked.
    let _ = keys.authenticator();
    let taken = Taken::prepare(&keys).await;
    let before = lines(&place.journal());
    let others = open(PostgresStore::builder(), &place.server.url()).await;
    acting(&others).revoke(taken.revoked.record.id, "").await.unwrap();
    place.server.psql(&format!(
        "UPDATE api_keys.keys SET status = 'disabled' WHERE id = '{}'",
        taken.narrowed.record.id.as_uuid()
    ));
    let began = Instant::now();
    while lines(&place.journal()) < before + 2 {
        let text = std::fs::read_to_string(place.journal()).unwrap();
        assert!(began.elapsed() < Duration::from_secs(10), "{text}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn revoke_whose_line_cannot_be_written_is_made_and_said_to_be_unknown() {
    let place = Place::new();
    let keys = place.open().await;
    let taken = Taken::prepare(&keys).await;
    std::fs::remove_file(place.journal()).unwrap();
    std::fs::create_dir(place.journal()).unwrap();
    let error = acting(&keys).revoke(taken.revoked.record.id, "").await.unwrap_err();
    assert_eq!(error.kind(), IssueErrorKind::OutcomeUnknown, "{error:?}");
    assert_eq!(settled(&keys, &taken.revoked).await, Err(RejectionKind::KeyRevoked));
    // Repeated, it is still not what it should be; then it is.
    acting(&keys).revoke(taken.revoked.record.id, "").await.unwrap_err();
    std::fs::remove_dir(place.journal()).unwrap();
    acting(&keys).revoke(taken.revoked.record.id, "").await.unwrap();
}
