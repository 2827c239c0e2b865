//! Keyed checksums and the secrets behind them: made at first open, rotated, given, lost, sealed.

use std::error::Error;
use std::time::Duration;

use tower_api_key::hash::{HashPolicy, HashPool};
use tower_api_key::key::{
    Actor, Checksum, KeyFormat, KeyRecord, KeySecret, OrganizationId, Realm, SecretForm, SecretPurpose, SecretState,
    ServerSecret, ServerSecretRecord, Timestamp,
};
use tower_api_key::secrets::{RootKey, RootKeys};
use tower_api_key::store::query::{AuditEvents, Keys, ServerSecretRecords, TheRealm};
use tower_api_key::store::{
    Commit, DynStore, KeyStore, ManagedStore, MemoryStore, Sharing, StoreErrorKind, StoreExt, Write,
};
use tower_api_key::testing::{Barrier, Fault, FaultStore, ManualClock};
use tower_api_key::{
    ApiKeyLayer, ApiKeys, ApiKeysBuilder, Fence, IssueErrorKind, IssueRequest, IssuedKey, Issuer, RejectionKind,
};
use tracing::Level;

use crate::house::elsewhere::Elsewhere;
use crate::house::process::is_alone;
use crate::house::{argon2, check, crc_format, kind, text, until, with_other_secret};
use crate::support::audit::Audit;
use crate::support::rows::Rows as _;

type Failure = Box<dyn Error>;
type Store = FaultStore<MemoryStore>;

const MINUTE: Duration = Duration::from_secs(60);

/// A store, its clock, and handles over it that share nothing else, as in several processes.
struct Realms {
    store: Store,
    hand: ManualClock,
    pool: HashPool,
}

impl Realms {
    fn new() -> Self {
        Self {
            store: FaultStore::new(MemoryStore::new()),
            hand: ManualClock::new(),
            pool: HashPool::builder().build(),
        }
    }

    fn settings(&self) -> ApiKeysBuilder<Store> {
        let settings = ApiKeys::builder(self.store.clone()).hash_policy(argon2());
        settings.clock(self.hand.clock()).pool(self.pool.clone())
    }

    async fn open(&self) -> ApiKeys<Store> {
        self.settings().open().await.unwrap()
    }

    /// A store from before keyed checksums, with one key.
    async fn upgraded() -> (Self, IssuedKey) {
        let realms = Self::new();
        let before = realms.settings().formats(crc_format()).checking();
        let key = issue(&acting(&before)).await;
        realms.accept_crc().await;
        (realms, key)
    }

    async fn accept_crc(&self) {
        self.accept_crc_until(Timestamp::MAX).await;
    }

    async fn accept_crc_until(&self, end: Timestamp) {
        let was = self.realm().await;
        let mut row = was;
        row.crc_accepted_until = end;
        let commit = Commit::new().write(Write::UpdateRealm { was, row });
        self.store.commit(commit).await.unwrap();
    }

    async fn realm(&self) -> Realm {
        self.store.get(TheRealm).await.unwrap()
    }

    async fn secrets(&self) -> Vec<ServerSecretRecord> {
        self.store
            .get(ServerSecretRecords::of(SecretPurpose::CHECKSUM))
            .await
            .unwrap()
    }

    /// Finds and queries so far.
    fn reads(&self) -> u64 {
        self.store.faults().finds() + self.store.faults().manages()
    }
}

fn acting(keys: &ApiKeys<Store>) -> Issuer<Store> {
    keys.issuer().acting_as(Actor::service())
}

async fn issue<S: ManagedStore>(issuer: &Issuer<S>) -> IssuedKey {
    let acme = issuer.create_organization("acme").await.unwrap();
    issuer.issue(IssueRequest::new(acme.id, "key")).await.unwrap()
}

fn of_the_system() -> AuditEvents {
    AuditEvents::of(OrganizationId::from(uuid::Uuid::nil()))
}

/// The key with this secret id and any tag.
fn under(key: &IssuedKey, id: char) -> String {
    let front = text(key).len() - 11;
    format!("{}{id}0123456789", &text(key)[..front])
}

fn server_secret(byte: u8) -> ServerSecret {
    ServerSecret::new('a', &[byte; 32]).unwrap()
}

/// The error with all its causes.
fn all_of(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[tokio::test]
async fn invented_key_costs_no_read_and_no_hash() {
    let realms = Realms::new();
    let keys = realms.open().await;
    let issued = issue(&acting(&keys)).await;
    assert_eq!(text(&issued).len(), "key_live_".len() + 44 + 11);
    let (reads, checks) = (realms.reads(), keys.authenticator());
    for invented in [
        with_other_secret(text(&issued), 1),
        under(&issued, '0'),
        text(&issued).replace("key_live_", "key_test_"),
        crate::house::unknown_key(1),
        format!("key_live_{}", "0".repeat(55)),
    ] {
        assert_eq!(
            kind(&check(&checks, &invented).await),
            RejectionKind::MalformedKey,
            "{invented}"
        );
    }
    assert_eq!(
        (realms.reads(), realms.pool.queued() + realms.pool.running()),
        (reads, 0)
    );
    check(&checks, text(&issued)).await.unwrap();
}

#[tokio::test]
async fn new_store_gets_one_secret_and_says_so_in_its_audit() {
    let realms = Realms::new();
    let keys = realms.open().await;
    let secrets = realms.secrets().await;
    assert_eq!((secrets.len(), &*secrets[0].id), (1, "0"));
    assert_eq!(secrets[0].state, SecretState::Active);
    assert_eq!(secrets[0].value.expose_secret().len(), 32);
    let events = keys.read(of_the_system()).await.unwrap();
    assert_eq!(events.items[0].event.action.as_str(), "server_secret.created");
    assert_eq!(events.items[0].event.actor, Actor::system());

    realms.open().await;
    assert_eq!(realms.secrets().await.len(), 1);
    let other = Realms::new();
    other.open().await;
    assert_ne!(
        other.secrets().await[0].value.expose_secret(),
        secrets[0].value.expose_secret()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_that_open_a_new_store_end_with_one_secret() {
    let realms = Realms::new();
    let opening: Vec<_> = (0..50)
        .map(|_| {
            let settings = realms.settings();
            tokio::spawn(async move { settings.open().await })
        })
        .collect();
    let mut handles = Vec::new();
    for opening in opening {
        handles.push(opening.await.unwrap().unwrap());
    }
    assert_eq!(realms.secrets().await.len(), 1);
    let issued = issue(&acting(&handles[0])).await;
    for keys in &handles {
        check(&keys.authenticator(), text(&issued)).await.unwrap();
    }
}

/// The one that comes second has read an empty store, and must not make keys with a secret of its own.
#[tokio::test]
async fn one_that_loses_the_race_reads_the_others_secret() {
    let realms = Realms::new();
    let barrier = Barrier::new();
    // Its first query is the check of the store, then realm, secrets, count of lost keys; the commit is the fifth.
    for _ in 0..4 {
        realms.store.faults().next_manage(Fault::None);
    }
    realms.store.faults().next_manage(Fault::Before(barrier.clone()));
    let settings = realms.settings();
    let late = tokio::spawn(async move { settings.open().await.unwrap() });
    until(|| barrier.arrivals() == 1).await;
    let first = realms.open().await;
    barrier.open();
    let late = late.await.unwrap();
    let issued = issue(&acting(&late)).await;
    check(&first.authenticator(), text(&issued)).await.unwrap();
    assert_eq!(realms.secrets().await.len(), 1);
}

/// The other one has also issued a key by then, whose secret is not lost.
#[tokio::test]
async fn one_that_loses_the_race_to_a_first_key_opens_too() {
    let realms = Realms::new();
    let barrier = Barrier::new();
    for _ in 0..3 {
        realms.store.faults().next_manage(Fault::None);
    }
    realms.store.faults().next_manage(Fault::Before(barrier.clone()));
    let settings = realms.settings();
    let late = tokio::spawn(async move { settings.open().await.unwrap() });
    until(|| barrier.arrivals() == 1).await;
    let issued = issue(&acting(&realms.open().await)).await;
    barrier.open();
    let late = late.await.unwrap();
    check(&late.authenticator(), text(&issued)).await.unwrap();
    assert_eq!(realms.secrets().await.len(), 1);
}

#[tokio::test]
async fn issuer_alone_makes_the_secret_at_its_first_key() {
    let realms = Realms::new();
    let issued = issue(&Issuer::new(realms.store.clone()).unwrap()).await;
    assert_eq!(realms.secrets().await.len(), 1);
    check(&realms.open().await.authenticator(), text(&issued))
        .await
        .unwrap();
}

#[tokio::test]
async fn crc_key_on_a_new_store_is_malformed_before_any_read() {
    let realms = Realms::new();
    let keys = realms.open().await;
    let with_crc = KeyFormat::default().generate(Some("live")).unwrap();
    let reads = realms.reads();
    let refused = check(&keys.authenticator(), with_crc.key().expose_secret()).await;
    assert_eq!(kind(&refused), RejectionKind::MalformedKey);
    assert_eq!(realms.reads(), reads);
}

#[tokio::test]
async fn crc_keys_of_an_upgraded_store_work_until_their_end() {
    let (realms, old) = Realms::upgraded().await;
    let keys = realms.open().await;
    let issuer = acting(&keys);
    let new = issue_in(&issuer, &old).await;
    assert_eq!(text(&new).len(), text(&old).len() + 5);
    let other = realms.open().await;
    for keys in [&keys, &other] {
        check(&keys.authenticator(), text(&old)).await.unwrap();
        check(&keys.authenticator(), text(&new)).await.unwrap();
    }

    issuer.end_crc_keys().await.unwrap();
    // Cached or not, in this handle and in another one of the same store.
    for keys in [&keys, &other] {
        let refused = check(&keys.authenticator(), text(&old)).await;
        assert_eq!(kind(&refused), RejectionKind::MalformedKey);
        check(&keys.authenticator(), text(&new)).await.unwrap();
    }
    // A flood of them costs nothing from then on.
    let reads = realms.reads();
    for number in 0..100 {
        let forged = check(&keys.authenticator(), &crate::house::unknown_key(number)).await;
        assert_eq!(kind(&forged), RejectionKind::MalformedKey);
    }
    assert_eq!(realms.reads(), reads);
    assert_eq!(realms.realm().await.crc_accepted_until, realms.hand.clock().wall());
    let events = keys.read(of_the_system()).await.unwrap();
    let last = events
        .items
        .iter()
        .rfind(|entry| entry.event.action.as_str() == "crc_keys.ended");
    assert_eq!(last.unwrap().event.actor, Actor::service());
}

/// A stream reads its record again without the key. What its handle knew of the end before must not make that entry one that
/// later requests are served from.
#[tokio::test]
async fn open_stream_keeps_no_crc_key_alive_in_another_handle() {
    let (realms, old) = Realms::upgraded().await;
    let (one, other) = (realms.open().await, realms.open().await);
    let checks = other.authenticator();
    let context = check(&checks, text(&old)).await.unwrap();
    let stream = tokio::spawn(context.revoked());
    tokio::task::yield_now().await;
    acting(&one).end_crc_keys().await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(5), stream).await;
    assert!(ended.is_ok(), "the stream goes on");
    assert!(check(&checks, text(&old)).await.is_err());
}

/// The stored form of an imported key is not known. The one that it was presented in counts, without the key too.
#[tokio::test]
async fn open_stream_keeps_no_imported_crc_key_alive() {
    let (realms, old) = Realms::upgraded().await;
    let key = crc_format().generate(Some("live")).unwrap();
    let now = realms.hand.clock().wall();
    let mut record = KeyRecord::new(old.record.organization_id, "imported", now);
    (record.prefix, record.environment) = ("key".into(), Some("live".into()));
    let secret = KeySecret::new(key.lookup().clone(), tower_api_key::hash::sha256(key.key()), now);
    assert_eq!(secret.form, SecretForm::Foreign);
    realms.store.insert_key(record, secret).await.unwrap();

    let keys = realms.open().await;
    let checks = keys.authenticator();
    let context = check(&checks, key.key().expose_secret()).await.unwrap();
    let stream = tokio::spawn(context.revoked());
    tokio::task::yield_now().await;
    acting(&keys).end_crc_keys().await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(5), stream).await;
    let refused = check(&checks, key.key().expose_secret()).await;
    assert!(ended.is_ok(), "the stream goes on");
    assert_eq!(kind(&refused), RejectionKind::KeyExpired);
}

#[tokio::test]
async fn crc_end_counts_for_a_request_that_is_under_way() {
    for has_end in [false, true] {
        let (realms, mut key) = Realms::upgraded().await;
        if has_end {
            let issuer = acting(&realms.settings().formats(crc_format()).checking());
            let request = IssueRequest::new(key.record.organization_id, "ends");
            key = issuer.issue(request.expires_in(MINUTE * 60)).await.unwrap();
        }
        let (one, other) = (realms.open().await, realms.open().await);
        let barrier = Barrier::new();
        realms.store.faults().next_find(Fault::Before(barrier.clone()));
        let checking = tokio::spawn(other.authenticator().check(crate::house::presented(text(&key))));
        until(|| barrier.arrivals() == 1).await;
        acting(&one).end_crc_keys().await.unwrap();
        barrier.open();
        let refused = kind(&checking.await.unwrap());
        let expected = [RejectionKind::MalformedKey, RejectionKind::KeyExpired];
        assert!(expected.contains(&refused), "{has_end} {refused:?}");
    }
}

/// Where nothing tells of other processes' changes, they are seen as late as those of keys are.
#[tokio::test]
async fn crc_end_in_another_process_is_seen_after_the_time_to_live() {
    let (realms, old) = Realms::upgraded().await;
    let there = Elsewhere {
        rows: realms.store.clone(),
        fence: Some(Fence::new()),
        sharing: Sharing::Unknown,
    };
    let settings = ApiKeys::builder(there).hash_policy(argon2()).clock(realms.hand.clock());
    let there = settings.time_to_live(MINUTE).unwrap().open().await.unwrap();
    check(&there.authenticator(), text(&old)).await.unwrap();
    acting(&realms.open().await).end_crc_keys().await.unwrap();
    realms.hand.advance(MINUTE * 2);
    assert!(check(&there.authenticator(), text(&old)).await.is_err());
    let reads = realms.reads();
    for number in 0..100 {
        let forged = check(&there.authenticator(), &crate::house::unknown_key(number)).await;
        assert_eq!(kind(&forged), RejectionKind::MalformedKey);
    }
    assert_eq!(realms.reads(), reads);
}

/// Every check refuses it.
#[tokio::test]
async fn key_whose_crc_has_ended_is_expired_for_ensure() {
    let (realms, old) = Realms::upgraded().await;
    let keys = realms.open().await;
    let issuer = acting(&keys);
    let first = issuer.ensure("acme", "key").await.unwrap();
    assert_eq!(first.record.id, old.record.id);
    issuer.end_crc_keys().await.unwrap();
    let refused = check(&keys.authenticator(), text(&old)).await;
    assert_eq!(kind(&refused), RejectionKind::MalformedKey);
    let error = issuer.ensure("acme", "key").await.unwrap_err();
    assert_eq!(error.kind(), IssueErrorKind::Expired);
    // A handle whose format asks for CRC-32 by name does not go by the realm.
    let by_name = realms.settings().formats(crc_format()).open().await.unwrap();
    check(&by_name.authenticator(), text(&old)).await.unwrap();
    assert!(acting(&by_name).ensure("acme", "key").await.unwrap().key.is_none());
    // Once it is rotated it has another form, and works.
    let _ = issuer.rotate(old.record.id, MINUTE).await.unwrap();
    assert_eq!(issuer.ensure("acme", "key").await.unwrap().record.id, old.record.id);
}

/// Both have read that such keys are accepted, and one clock is ahead: the end that counts is the earlier one.
#[tokio::test]
async fn earlier_of_two_crc_ends_at_once_counts() {
    let (realms, old) = Realms::upgraded().await;
    let ahead = ManualClock::new();
    ahead.step_wall(3_600_000);
    let there = realms.settings().clock(ahead.clock()).open().await.unwrap();
    let (here, barrier) = (realms.open().await, Barrier::new());
    realms.store.faults().next_manage(Fault::After(barrier.clone()));
    let later = tokio::spawn(async move { acting(&there).end_crc_keys().await });
    barrier.reached(1).await;
    let now = realms.hand.clock().wall();
    acting(&here).end_crc_keys().await.unwrap();
    barrier.open();
    later.await.unwrap().unwrap();
    assert_eq!(realms.realm().await.crc_accepted_until, now);
    let refused = check(&here.authenticator(), text(&old)).await;
    assert_eq!(kind(&refused), RejectionKind::MalformedKey);
}

/// An open that finds no such key any more has read the end before an operator set one.
#[tokio::test]
async fn crc_end_of_an_operator_is_not_moved_by_an_open() {
    let (realms, old) = Realms::upgraded().await;
    let keys = realms.open().await;
    acting(&keys).revoke(old.record.id, "unused").await.unwrap();
    let ahead = ManualClock::new();
    ahead.step_wall(3_600_000);
    let (settings, barrier) = (realms.settings().clock(ahead.clock()), Barrier::new());
    realms.store.faults().next_manage(Fault::After(barrier.clone()));
    let opening = tokio::spawn(settings.open());
    barrier.reached(1).await;
    let now = realms.hand.clock().wall();
    acting(&keys).end_crc_keys().await.unwrap();
    barrier.open();
    opening.await.unwrap().unwrap();
    assert_eq!(realms.realm().await.crc_accepted_until, now);
}

/// The clock was ahead when they were ended.
#[tokio::test]
async fn crc_end_in_the_future_is_lowered_and_never_raised() {
    let (realms, old) = Realms::upgraded().await;
    let (keys, now) = (realms.open().await, realms.hand.clock().wall());
    let issuer = acting(&keys);
    let ends = async |step| {
        realms.hand.step_wall(step);
        issuer.end_crc_keys().await.unwrap();
        realms.realm().await.crc_accepted_until
    };
    assert_eq!(ends(3_600_000).await, now.after(MINUTE * 60));
    assert_eq!(ends(-3_600_000).await, now);
    assert_eq!(ends(60_000).await, now);
    let refused = check(&keys.authenticator(), text(&old)).await;
    assert_eq!(kind(&refused), RejectionKind::MalformedKey);
}

async fn issue_in<S: ManagedStore>(issuer: &Issuer<S>, like: &IssuedKey) -> IssuedKey {
    let request = IssueRequest::new(like.record.organization_id, "key");
    issuer.issue(request).await.unwrap()
}

#[tokio::test]
async fn crc_end_that_was_set_ahead_ends_cached_keys_too() {
    let (realms, old) = Realms::upgraded().await;
    let end = realms.hand.clock().wall().after(MINUTE);
    realms.accept_crc_until(end).await;
    let keys = realms.open().await;
    check(&keys.authenticator(), text(&old)).await.unwrap();
    realms.hand.advance(MINUTE);
    assert!(check(&keys.authenticator(), text(&old)).await.is_err());
}

#[tokio::test]
async fn store_without_crc_keys_ends_them_when_it_opens() {
    let (realms, old) = Realms::upgraded().await;
    realms.open().await;
    assert_eq!(realms.realm().await.crc_accepted_until, Timestamp::MAX);
    let issuer = acting(&realms.open().await);
    issuer.revoke(old.record.id, "unused").await.unwrap();
    realms.open().await;
    assert_eq!(realms.realm().await.crc_accepted_until, realms.hand.clock().wall());
}

/// With a CRC-32, which anyone can compute, on the lookup of a key that has a keyed checksum.
#[tokio::test]
async fn key_of_another_form_is_unknown_before_any_hash() {
    let (realms, old) = Realms::upgraded().await;
    let keys = realms.open().await;
    let new = issue_in(&acting(&keys), &old).await;
    let front = &text(&new)[..text(&new).len() - 11];
    let body = front.strip_prefix("key_live_").unwrap();
    let forged = crate::house::with_checksum("key_live_", body);
    let hashes = realms.pool.hashes_run();
    let refused = check(&keys.authenticator(), &forged).await;
    assert_eq!(kind(&refused), RejectionKind::UnknownKey);
    let checking = realms.settings().checking();
    let refused = check(&checking.authenticator(), &forged).await;
    assert_eq!(kind(&refused), RejectionKind::UnknownKey);
    assert_eq!(realms.pool.hashes_run(), hashes);
    check(&keys.authenticator(), text(&new)).await.unwrap();
}

#[tokio::test]
async fn form_is_stored_with_every_new_secret() {
    let realms = Realms::new();
    let keys = realms.open().await;
    let issued = issue(&acting(&keys)).await;
    let rotated = acting(&keys).rotate(issued.record.id, MINUTE).await.unwrap();
    let form = async |key: &IssuedKey| realms.store.find(&key.lookup).await.unwrap().unwrap().secret.form;
    assert_eq!(form(&issued).await, SecretForm::Keyed);
    assert_eq!(form(&rotated).await, SecretForm::Keyed);
    let foreign = realms.settings().formats(KeyFormat::pk()).open().await.unwrap();
    assert_eq!(form(&issue(&acting(&foreign)).await).await, SecretForm::None);
    let crc = realms.settings().formats(crc_format()).open().await.unwrap();
    let with_crc = issue(&acting(&crc)).await;
    assert_eq!(form(&with_crc).await, SecretForm::Crc32);
    // Asked for by name, so it is not the realm that ends it.
    check(&crc.authenticator(), text(&with_crc)).await.unwrap();
}

#[tokio::test]
async fn rotated_secret_is_used_when_every_process_knows_it() {
    let realms = Realms::new();
    let (one, two) = (realms.open().await, realms.open().await);
    let issuer = acting(&one);
    let first = issue(&issuer).await;
    let id_of = |key: &IssuedKey| text(key).chars().rev().nth(10).unwrap();

    let used_from = issuer.rotate_checksum_secret().await.unwrap();
    assert_eq!(used_from, realms.hand.clock().wall().after(Duration::from_secs(70)));
    let again = issuer.rotate_checksum_secret().await.unwrap_err();
    assert_eq!(again.kind(), IssueErrorKind::RotationInProgress);
    let second = issue_in(&issuer, &first).await;
    assert_eq!((id_of(&first), id_of(&second)), ('0', '0'));

    realms.hand.advance(Duration::from_secs(70));
    let third = issue_in(&issuer, &first).await;
    assert_eq!(id_of(&third), '1');
    // The other one has never heard of the rotation.
    for keys in [&one, &two, &realms.open().await] {
        for key in [&first, &second, &third] {
            check(&keys.authenticator(), text(key)).await.unwrap();
        }
    }
    issuer.rotate_checksum_secret().await.unwrap();
    let states: Vec<SecretState> = realms.secrets().await.iter().map(|row| row.state).collect();
    assert_eq!(
        states,
        [SecretState::Retired, SecretState::Active, SecretState::Pending]
    );
}

/// Neither is shown a key of the new secret: one by nothing but a change of the realm, one in another process by no change at all.
#[tokio::test]
async fn handle_that_only_issues_follows_a_rotation() {
    let realms = Realms::new();
    let (keys, here) = (realms.open().await, realms.open().await);
    let there = Elsewhere {
        rows: realms.store.clone(),
        fence: Some(Fence::new()),
        sharing: Sharing::Unknown,
    };
    let settings = ApiKeys::builder(there).hash_policy(argon2());
    let there = settings.clock(realms.hand.clock()).open().await.unwrap();
    let first = issue(&acting(&keys)).await;
    let used_from = acting(&keys).rotate_checksum_secret().await.unwrap();
    realms.hand.advance(used_from.since(realms.hand.clock().wall()));
    let there = there.issuer().acting_as(Actor::service());
    for key in [issue_in(&acting(&here), &first).await, issue_in(&there, &first).await] {
        assert_eq!(text(&key).chars().rev().nth(10), Some('1'));
    }
    // Not for every key.
    let reads = realms.reads();
    let _ = issue_in(&there, &first).await;
    assert_eq!(realms.reads() - reads, 2, "the organization and the commit");
}

/// With a clock that was wrong for a moment, the next rotation would have to wait for years, also after a leak.
#[tokio::test]
async fn rotation_under_a_wrong_clock_does_not_block_the_next_one() {
    let realms = Realms::new();
    let keys = realms.open().await;
    let issuer = acting(&keys);
    let first = issue(&issuer).await;
    let id_of = |key: &IssuedKey| text(key).chars().rev().nth(10).unwrap();
    let years = 2 * 365 * 24 * 3_600_000;
    realms.hand.step_wall(years);
    issuer.rotate_checksum_secret().await.unwrap();
    realms.hand.step_wall(-years);
    issuer.rotate_checksum_secret().await.unwrap();
    let again = issuer.rotate_checksum_secret().await.unwrap_err();
    assert_eq!(again.kind(), IssueErrorKind::RotationInProgress);
    assert_eq!(id_of(&issue_in(&issuer, &first).await), '0');
    realms.hand.advance(Duration::from_secs(70));
    assert_eq!(id_of(&issue_in(&issuer, &first).await), '2');
    let states: Vec<SecretState> = realms.secrets().await.iter().map(|row| row.state).collect();
    assert_eq!(
        states,
        [SecretState::Active, SecretState::Retired, SecretState::Pending]
    );
    // In two years, too.
    realms.hand.advance(Duration::from_millis(years as u64) + MINUTE * 60);
    assert_eq!(id_of(&issue_in(&issuer, &first).await), '2');
}

/// Both change the rows of the older secrets: one their states, the other one their seals.
#[tokio::test]
async fn rotation_beside_a_new_seal_loses_neither() -> Result<(), Failure> {
    let root = |byte| RootKey::new(&[byte; 32]);
    let realms = Realms::new();
    let settings = realms.settings().root_keys(RootKeys::from(root(1)?).former(root(2)?));
    let keys = settings.open().await?;
    let issuer = acting(&keys);
    let issued = issue(&issuer).await;
    issuer.rotate_checksum_secret().await?;
    realms.hand.advance(MINUTE * 2);

    let barrier = Barrier::new();
    for fault in [Fault::None, Fault::None, Fault::Before(barrier.clone())] {
        realms.store.faults().next_manage(fault);
    }
    let rotation = tokio::spawn(async move { issuer.rotate_checksum_secret().await });
    barrier.reached(1).await;
    let old = realms.secrets().await[0].sealed_by.clone();
    let resealing = realms.settings().root_keys(RootKeys::from(root(2)?).former(root(1)?));
    let resealed = resealing.open().await?;
    let new = realms.secrets().await[0].sealed_by.clone();
    assert_ne!(old, new);
    barrier.open();
    rotation.await??;

    let rows = realms.secrets().await;
    let stored: Vec<_> = rows.into_iter().map(|row| (row.state, row.sealed_by)).collect();
    let expected = [
        (SecretState::Retired, new.clone()),
        (SecretState::Active, new),
        // Made by the one that seals with the former key. The next open of the other seals it anew.
        (SecretState::Pending, old),
    ];
    assert_eq!(stored, expected);
    check(&resealed.authenticator(), text(&issued)).await?;
    Ok(())
}

/// Each hears of the others' changes by nothing but keys that it does not know, while forged ones keep it reading.
#[tokio::test]
async fn rotations_under_load_refuse_no_good_key_on_any_node() -> Result<(), Failure> {
    let realms = Realms::new();
    let mut nodes = Vec::new();
    for _ in 0..3 {
        let store = Elsewhere {
            rows: realms.store.clone(),
            fence: Some(Fence::new()),
            sharing: Sharing::Unknown,
        };
        let settings = ApiKeys::builder(store).hash_policy(HashPolicy::sha256());
        nodes.push(settings.clock(realms.hand.clock()).open().await?);
    }
    let issuer = nodes[0].issuer().acting_as(Actor::service());
    let mut keys = vec![issue(&issuer).await];
    let mut checks = 0;
    for step in 0..48 {
        if step % 12 == 0 {
            let node = &nodes[step / 12 % nodes.len()];
            node.issuer()
                .acting_as(Actor::service())
                .rotate_checksum_secret()
                .await?;
        }
        for node in &nodes {
            let issuer = node.issuer().acting_as(Actor::service());
            keys.push(
                issuer
                    .issue(IssueRequest::new(keys[0].record.organization_id, "key"))
                    .await?,
            );
        }
        for node in &nodes {
            let authenticator = node.authenticator();
            let forged = check(&authenticator, &under(&keys[0], 'z')).await;
            assert_eq!(kind(&forged), RejectionKind::MalformedKey);
            for key in &keys {
                check(&authenticator, text(key)).await?;
                checks += 1;
            }
        }
        realms.hand.advance(Duration::from_secs(10));
    }
    assert!(checks > 10_000, "{checks}");
    let ids: std::collections::BTreeSet<_> = keys.iter().map(|key| text(key).chars().rev().nth(10)).collect();
    assert_eq!(ids.len(), 5, "keys of every secret were checked");
    Ok(())
}

#[tokio::test]
async fn unknown_secret_ids_cost_one_read_a_second() {
    let realms = Realms::new();
    let keys = realms.open().await;
    let issued = issue(&acting(&keys)).await;
    let (checks, before) = (keys.authenticator(), realms.reads());
    for round in 1..=3 {
        for number in 0..1_000 {
            let id = char::from(b'b' + (number % 20) as u8);
            assert_eq!(
                kind(&check(&checks, &under(&issued, id)).await),
                RejectionKind::MalformedKey
            );
        }
        // A realm and its secrets.
        assert_eq!(realms.reads() - before, 2 * round);
        realms.hand.advance(Duration::from_secs(1));
    }
}

#[tokio::test]
async fn failed_read_of_the_secrets_is_503_and_never_401() {
    let realms = Realms::new();
    let keys = realms.open().await;
    let issued = issue(&acting(&keys)).await;
    let forged = under(&issued, 'x');
    realms
        .store
        .faults()
        .next_manage(Fault::Error(StoreErrorKind::Unavailable));
    for _ in 0..3 {
        let refused = check(&keys.authenticator(), &forged).await;
        assert_eq!(kind(&refused), RejectionKind::StoreUnavailable);
        assert!(refused.unwrap_err().retry_after().is_some());
    }
    check(&keys.authenticator(), text(&issued)).await.unwrap();
    realms.hand.advance(Duration::from_secs(1));
    let refused = check(&keys.authenticator(), &forged).await;
    assert_eq!(kind(&refused), RejectionKind::MalformedKey);
}

#[tokio::test]
async fn check_without_waiting_leaves_unknown_ids_undecided() {
    let realms = Realms::new();
    let keys = realms.open().await;
    let issued = issue(&acting(&keys)).await;
    let forged = under(&issued, 'x');
    let checks = keys.authenticator();
    assert!(checks.try_check(crate::house::presented(&forged)).is_none());
    assert!(check(&checks, &forged).await.is_err());
    let decided = checks.try_check(crate::house::presented(&forged)).unwrap();
    assert_eq!(kind(&decided), RejectionKind::MalformedKey);
}

#[tokio::test]
async fn given_secret_makes_keys_and_never_enters_the_store() -> Result<(), Failure> {
    let realms = Realms::new();
    let given = || realms.settings().realm_secret(server_secret(1), []);
    let keys = given()?.open().await?;
    let issued = issue(&acting(&keys)).await;
    check(&given()?.open().await?.authenticator(), text(&issued)).await?;
    assert!(realms.secrets().await.is_empty());
    let refused = acting(&keys).rotate_checksum_secret().await.unwrap_err();
    assert!(
        all_of(&refused).contains("rotated where it comes from"),
        "{}",
        all_of(&refused)
    );

    // Rotated: the old one is retired.
    let rotated = realms
        .settings()
        .realm_secret(server_secret(2), [server_secret(1)])?
        .open()
        .await?;
    check(&rotated.authenticator(), text(&issued)).await?;
    let second = issue(&acting(&rotated)).await;
    assert_eq!(
        kind(&check(&keys.authenticator(), text(&second)).await),
        RejectionKind::MalformedKey
    );
    Ok(())
}

#[test]
fn more_than_eight_given_secrets_of_one_id_are_refused() {
    let secret = |byte: u8| ServerSecret::new('a', &[byte; 32]).unwrap();
    let give = |retired: u8| ApiKeys::builder(MemoryStore::new()).realm_secret(secret(0), (1..=retired).map(secret));
    assert!(give(7).is_ok());
    let error = give(8).err().unwrap();
    assert!(error.to_string().contains("at most 8 with one id"), "{error}");
}

#[tokio::test]
async fn given_secret_is_verified_without_a_managed_store() -> Result<(), Failure> {
    let realms = Realms::new();
    let keys = realms.settings().realm_secret(server_secret(1), [])?.open().await?;
    let issued = issue(&acting(&keys)).await;
    let find_only = ApiKeys::builder(DynStore::find_only(realms.store.clone())).hash_policy(argon2());
    for checks in [
        find_only
            .realm_secret(server_secret(1), [])?
            .open()
            .await?
            .authenticator(),
        ApiKeys::builder(DynStore::new(realms.store.clone()))
            .hash_policy(argon2())
            .realm_secret(server_secret(1), [])?
            .build(),
    ] {
        let reads = realms.reads();
        let forged = with_other_secret(text(&issued), 1);
        assert_eq!(kind(&check(&checks, &forged).await), RejectionKind::MalformedKey);
        assert_eq!(realms.reads(), reads);
        check(&checks, text(&issued)).await?;
    }
    Ok(())
}

#[tokio::test]
async fn store_with_keyed_keys_and_no_secret_does_not_open() -> Result<(), Failure> {
    let realms = Realms::new();
    let given = realms.settings().realm_secret(server_secret(1), [])?.open().await?;
    let lost = issue(&acting(&given)).await;

    let error = realms.settings().open().await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unusable);
    for name in ["realm_secret", "dangerous_unverified_checksums"] {
        assert!(all_of(&error).contains(name), "{}", all_of(&error));
    }
    assert!(realms.secrets().await.is_empty(), "none is invented");
    let alone = Issuer::new(realms.store.clone())?;
    let error = alone
        .issue(IssueRequest::new(lost.record.organization_id, "key"))
        .await
        .unwrap_err();
    assert!(all_of(&error).contains("realm_secret"));

    let keys = realms.settings().dangerous_unverified_checksums().open().await?;
    check(&keys.authenticator(), text(&lost)).await?;
    let wrong = with_other_secret(text(&lost), 1);
    let refused = check(&realms.settings().checking().authenticator(), &wrong).await;
    assert_eq!(kind(&refused), RejectionKind::WrongSecret, "the stored hash decides");
    let new = issue_in(&acting(&keys), &lost).await;
    // Once the old keys are gone, the secret of the new ones is enough.
    acting(&keys).revoke(lost.record.id, "issued anew").await?;
    let later = realms.open().await;
    check(&later.authenticator(), text(&new)).await?;
    assert_eq!(
        kind(&check(&later.authenticator(), text(&lost)).await),
        RejectionKind::MalformedKey
    );
    Ok(())
}

/// Cursors are of one store: their secret is one of its realm.
#[tokio::test]
async fn cursor_is_made_under_a_secret_of_the_realm() -> Result<(), Failure> {
    let realms = Realms::new();
    let (one, two) = (realms.open().await, realms.open().await);
    let first = issue(&acting(&one)).await;
    let _ = issue_in(&acting(&one), &first).await;
    let list = || Keys::of(first.record.organization_id).page(1);
    let next = one.read(list()).await?.next.ok_or("a second page")?;
    assert_eq!(two.read(list().after(next.clone())).await?.items.len(), 1);
    let secrets = realms.store.get(ServerSecretRecords::of(SecretPurpose::CURSOR)).await?;
    assert_eq!(secrets.len(), 1);

    let forged = realms.store.get(list()).await?.next.ok_or("a second page")?;
    let error = one.read(list().after(forged)).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::InvalidCursor);
    let other = Realms::new().open().await;
    let error = other.read(list().after(next)).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::InvalidCursor);
    Ok(())
}

/// Where no key needs a secret, that of cursors is the only one.
#[tokio::test]
async fn unsealed_secret_of_cursors_is_warned_of_too() {
    if !is_alone("checksums::unsealed_secret_of_cursors_is_warned_of_too") {
        return;
    }
    let realms = Realms::new();
    let keys = realms.settings().formats(crc_format()).open().await.unwrap();
    let (audit, _guard) = Audit::start();
    keys.read(Keys::all()).await.unwrap();
    let said = audit.all_of_level(Level::WARN);
    let about = said.iter().filter(|event| event.fields.contains("stored unsealed"));
    assert_eq!(about.count(), 1);
}

#[tokio::test]
async fn layer_that_opens_nothing_skips_the_checksum_and_warns_once() {
    let realms = Realms::new();
    let issued = issue(&acting(&realms.open().await)).await;
    let (audit, _guard) = Audit::start();
    let layer = ApiKeyLayer::new(realms.store.clone());
    let forged = with_other_secret(text(&issued), 1);
    for (key, status) in [(text(&issued), 200), (&*forged, 401), (text(&issued), 200)] {
        let response = crate::support::ask(&layer, crate::support::bearer(key)).await;
        assert_eq!(response.status(), status);
    }
    let said: Vec<String> = audit
        .all_of_level(Level::WARN)
        .iter()
        .map(|event| event.fields.clone())
        .collect();
    let about = said.iter().filter(|said| said.contains("ApiKeys::open")).count();
    assert_eq!(about, 1, "{said:?}");
}

#[tokio::test]
async fn secret_is_sealed_under_the_root_key_from_then_on() -> Result<(), Failure> {
    let realms = Realms::new();
    let issued = issue(&acting(&realms.open().await)).await;
    let plain = realms.secrets().await.remove(0);
    assert_eq!(plain.sealed_by, None);
    let root = |byte| RootKey::new(&[byte; 32]);

    let sealing = realms.settings().root_keys(root(1)?).open().await?;
    let sealed = realms.secrets().await.remove(0);
    let stored = sealed.value.expose_secret();
    let secret = plain.value.expose_secret();
    assert!(
        sealed.sealed_by.is_some()
            && !stored
                .windows(8)
                .any(|part| secret.windows(8).any(|other| other == part))
    );
    check(&sealing.authenticator(), text(&issued)).await?;

    for settings in [realms.settings(), realms.settings().root_keys(root(2)?)] {
        let error = settings.open().await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unusable);
        assert!(all_of(&error).contains("API_KEYS_ROOT_KEY_FILE"), "{}", all_of(&error));
    }

    // Rotation of the root key.
    let both = RootKeys::from(root(2)?).former(root(1)?);
    check(
        &realms.settings().root_keys(both).open().await?.authenticator(),
        text(&issued),
    )
    .await?;
    let keys = realms.settings().root_keys(root(2)?).open().await?;
    check(&keys.authenticator(), text(&issued)).await?;
    acting(&keys).rotate_checksum_secret().await?;
    assert!(realms.secrets().await.iter().all(|row| row.sealed_by.is_some()));
    Ok(())
}

#[tokio::test]
async fn sealed_secret_of_another_realm_does_not_open() -> Result<(), Failure> {
    let (one, two) = (Realms::new(), Realms::new());
    let root = || RootKey::new(&[1; 32]);
    one.settings().root_keys(root()?).open().await?;
    let sealed = one.secrets().await.remove(0);
    two.store
        .commit(Commit::new().write(Write::InsertServerSecret(sealed)))
        .await?;
    let error = two.settings().root_keys(root()?).open().await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unusable);
    assert!(all_of(&error).contains("another realm"), "{}", all_of(&error));
    Ok(())
}

#[tokio::test]
async fn secrets_are_not_made_for_formats_that_need_none() -> Result<(), Failure> {
    let realms = Realms::new();
    let formats = [
        KeyFormat::builder("acme").checksum(Checksum::None).build()?,
        crc_format(),
    ];
    for format in formats {
        let keys = realms
            .settings()
            .formats(format)
            .hash_policy(HashPolicy::sha256())
            .open()
            .await?;
        let issued = issue(&acting(&keys)).await;
        check(&keys.authenticator(), text(&issued)).await?;
    }
    assert!(realms.secrets().await.is_empty());
    Ok(())
}

mod processes {
    use std::path::Path;
    use std::process::{Child, Command, Stdio};

    use super::*;
    use crate::support::stores::Database;

    const ADDRESS: &str = "TOWER_API_KEY_TEST_DATABASE";
    const SAYS: &str = "issued: ";

    /// Runs in processes that the other tests start.
    #[tokio::test]
    async fn child_opens_a_store_and_issues_a_key() {
        let Ok(address) = std::env::var(ADDRESS) else {
            return;
        };
        let store = Database::at(&address).open().await;
        let keys = match ApiKeys::builder(store).open().await {
            Ok(keys) => keys,
            Err(error) => return println!("{SAYS}{}", all_of(&error)),
        };
        let issuer = keys.issuer().acting_as(Actor::service());
        println!("{SAYS}{}", text(&issue(&issuer).await));
    }

    fn child(database: &Database, root_key: Option<&Path>) -> Child {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let test = "checksums::processes::child_opens_a_store_and_issues_a_key";
        command
            .args(["--exact", test, "--nocapture"])
            .env(ADDRESS, database.address())
            .stdout(Stdio::piped());
        match root_key {
            Some(path) => command.env("API_KEYS_ROOT_KEY_FILE", path),
            None => command.env_remove("API_KEYS_ROOT_KEY_FILE"),
        };
        command.spawn().unwrap()
    }

    fn said(child: Child) -> String {
        let output = child.wait_with_output().unwrap();
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        let (_, said) = out.split_once(SAYS).unwrap_or_else(|| panic!("{out}"));
        said.lines().next().unwrap().to_owned()
    }

    #[tokio::test]
    async fn processes_that_open_a_new_database_share_one_secret() -> Result<(), Failure> {
        for database in Database::shared() {
            let children: Vec<Child> = (0..8).map(|_| child(&database, None)).collect();
            let issued: Vec<String> = children.into_iter().map(said).collect();
            let keys = ApiKeys::builder(database.open().await).open().await?;
            let secrets = keys.read(ServerSecretRecords::of(SecretPurpose::CHECKSUM)).await?;
            assert_eq!(secrets.len(), 1);
            for key in &issued {
                check(&keys.authenticator(), key).await?;
            }
        }
        Ok(())
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn root_key_of_the_environment_seals_the_secrets() -> Result<(), Failure> {
        use std::os::unix::fs::PermissionsExt;

        for database in Database::shared() {
            let folder = tempfile::tempdir()?;
            let root_key = folder.path().join("root.key");
            let digits = "0123456789abcdef".repeat(4);
            std::fs::write(&root_key, &digits)?;
            std::fs::set_permissions(&root_key, PermissionsExt::from_mode(0o600))?;
            let key = said(child(&database, Some(&root_key)));

            let refused = said(child(&database, None));
            assert!(refused.contains("is sealed under root key"), "{refused}");
            let root_keys = RootKeys::from_file(&root_key)?;
            let store = database.open().await;
            let keys = ApiKeys::builder(store).root_keys(root_keys).open().await?;
            check(&keys.authenticator(), &key).await?;

            std::fs::set_permissions(&root_key, PermissionsExt::from_mode(0o644))?;
            let refused = said(child(&database, Some(&root_key)));
            assert!(refused.contains("644") && !refused.contains(&digits), "{refused}");
        }
        Ok(())
    }
}
