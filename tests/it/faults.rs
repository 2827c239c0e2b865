//! A store that fails, hangs, panics or gives a wrong answer, and records that cannot be used. The response is a 503:
//! never an admission, and never a 401 for a good key.

use std::time::Duration;

use crate::support::rows::Rows as _;
use tokio::time::Instant;
use tower_api_key::hash::{HashPolicy, HashPool};
use tower_api_key::key::{KeyFormat, KeyRecord, KeySecret, Lookup, RateLimit, SecretHash};
use tower_api_key::limit::{Charge, RateLimiter, Take};
use tower_api_key::store::{Candidate, KeyStore, MemoryStore, Sharing, StoreError, StoreErrorKind};
use tower_api_key::testing::{Barrier, Fault};
use tower_api_key::{AuthContext, Authenticator, Fence, PresentedKey, Rejection, RejectionClass, RejectionKind};
use tracing::Level;

use crate::house::brake::Brake;
use crate::house::*;
use crate::support::audit::Audit;

const READ_TIMEOUT: Duration = Duration::from_millis(250);

#[track_caller]
fn is_unavailable(checked: Result<AuthContext, Rejection>, expected: RejectionKind) {
    let rejection = checked.unwrap_err();
    assert_eq!(rejection.kind(), expected);
    assert_eq!(rejection.kind().class(), RejectionClass::Unavailable);
    assert!(rejection.retry_after().is_some(), "{expected:?} has no retry_after");
    assert_eq!(rejection.key_id(), None, "no secret was verified");
}

#[tokio::test]
async fn lost_connection_is_tried_once_more() {
    let house = House::new().await;
    let issued = house.key().await;
    house.faults().next_find(Fault::Error(StoreErrorKind::Unavailable));
    house.check(text(&issued)).await.unwrap();
    assert_eq!(house.faults().finds(), 2);
}

#[tokio::test]
async fn two_lost_connections_are_a_503() {
    let house = House::new().await;
    let issued = house.key().await;
    house.faults().every_find(Fault::Error(StoreErrorKind::Unavailable));
    is_unavailable(house.check(text(&issued)).await, RejectionKind::StoreUnavailable);
    assert_eq!(house.faults().finds(), 2);

    house.faults().heal();
    house.check(text(&issued)).await.unwrap();
    house.is_at_rest().await;
}

#[tokio::test]
async fn other_errors_are_a_503_without_another_try() {
    let house = House::new().await;
    let issued = house.key().await;
    let kinds = [
        (StoreErrorKind::Overloaded, RejectionKind::StoreUnavailable),
        (StoreErrorKind::Conflict, RejectionKind::StoreUnavailable),
        (StoreErrorKind::AlreadyExists, RejectionKind::StoreUnavailable),
        (StoreErrorKind::NotFound, RejectionKind::StoreUnavailable),
        (StoreErrorKind::Unusable, RejectionKind::StoreUnavailable),
        (StoreErrorKind::OutcomeUnknown, RejectionKind::StoreUnavailable),
        (StoreErrorKind::InvalidRecord, RejectionKind::InvalidRecord),
    ];
    for (number, (error, expected)) in (1..).zip(kinds) {
        house.faults().next_find(Fault::Error(error));
        is_unavailable(house.check(text(&issued)).await, expected);
        assert_eq!(house.faults().finds(), number, "{error:?}");
    }
    house.check(text(&issued)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn hanging_store_is_a_503_after_its_timeout_without_retry() {
    let house = House::new().await;
    let issued = house.key().await;
    house.faults().every_find(Fault::Hang);
    let began = Instant::now();
    is_unavailable(house.check(text(&issued)).await, RejectionKind::StoreUnavailable);
    assert_eq!(began.elapsed(), READ_TIMEOUT);
    assert_eq!(house.faults().finds(), 1);
    house.is_at_rest().await;

    house.faults().heal();
    house.check(text(&issued)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn read_timeout_can_be_set() {
    let fifty = Duration::from_millis(50);
    let house = House::with(HashPolicy::sha256(), |builder| builder.read_timeout(fifty).unwrap()).await;
    let issued = house.key().await;
    house.faults().every_find(Fault::Hang);
    let began = Instant::now();
    is_unavailable(house.check(text(&issued)).await, RejectionKind::StoreUnavailable);
    assert_eq!(began.elapsed(), fifty);
}

#[tokio::test]
async fn store_that_panics_is_a_503() {
    let house = House::new().await;
    let issued = house.key().await;
    house.faults().next_find(Fault::Panic);
    is_unavailable(house.check(text(&issued)).await, RejectionKind::StoreUnavailable);
    house.is_at_rest().await;
    // More often than there are permits for reads: none is lost.
    for _ in 0..200 {
        house.faults().next_find(Fault::Panic);
        is_unavailable(house.check(text(&issued)).await, RejectionKind::StoreUnavailable);
    }
    house.check(text(&issued)).await.unwrap();
}

#[tokio::test]
async fn another_key_from_the_store_is_a_503_and_an_alarm() {
    let (audit, _guard) = Audit::start();
    let house = House::new().await;
    let (mine, others) = (house.key().await, house.key().await);
    house.faults().next_find(Fault::AnotherKey(others.lookup.clone()));
    is_unavailable(house.check(text(&mine)).await, RejectionKind::InvalidRecord);
    assert_eq!(audit.of_level(Level::ERROR).len(), 1);
    // The same for a stale key, although its secret was verified before.
    let mine = house.known_key().await;
    house.everything_changed();
    house.faults().next_find(Fault::AnotherKey(others.lookup.clone()));
    is_unavailable(house.check(text(&mine)).await, RejectionKind::InvalidRecord);
    assert_eq!(audit.of_level(Level::ERROR).len(), 2);
    house.check(text(&mine)).await.unwrap();
}

#[tokio::test]
async fn another_organization_from_the_store_is_a_503() {
    let house = House::new().await;
    let issued = house.key().await;
    let mut candidate = house.store.inner().find(&issued.lookup).await.unwrap().unwrap();
    candidate.organization = house.issuer.create_organization("other").await.unwrap();
    house.faults().next_find(Fault::Stale(Box::new(candidate)));
    is_unavailable(house.check(text(&issued)).await, RejectionKind::InvalidRecord);
}

#[tokio::test]
async fn record_older_than_a_known_change_is_a_503() {
    let house = House::new().await;
    for is_known in [false, true] {
        let issued = if is_known {
            house.known_key().await
        } else {
            house.key().await
        };
        let before = house.store.inner().find(&issued.lookup).await.unwrap().unwrap();
        house.issuer.revoke(issued.record.id, "lost").await.unwrap();
        house.faults().every_find(Fault::Stale(Box::new(before.clone())));
        for _ in 0..3 {
            is_unavailable(house.check(text(&issued)).await, RejectionKind::NotConfirmed);
        }
        // A single old answer is read again: the change may have been made during the read.
        house.faults().heal();
        house.faults().next_find(Fault::Stale(Box::new(before)));
        assert_eq!(house.refusal(text(&issued)).await, RejectionKind::KeyRevoked);
    }
}

#[tokio::test]
async fn organization_older_than_a_known_change_is_a_503() {
    let house = House::new().await;
    let issued = house.known_key().await;
    let before = house.store.inner().find(&issued.lookup).await.unwrap().unwrap();
    let deactivate =
        |acme: &mut tower_api_key::key::Organization| acme.status = tower_api_key::key::OrganizationStatus::Inactive;
    house
        .issuer
        .update_organization(house.organization.id, deactivate)
        .await
        .unwrap();
    house.faults().every_find(Fault::Stale(Box::new(before)));
    is_unavailable(house.check(text(&issued)).await, RejectionKind::NotConfirmed);
    house.faults().heal();
    assert_eq!(house.refusal(text(&issued)).await, RejectionKind::OrganizationInactive);
}

/// 32 bytes of output, as base64 without padding.
const OUTPUT: &str = "CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";

fn hostile_hashes() -> Vec<String> {
    let salt = "c29tZXNhbHRzb21lc2FsdA";
    let mut hashes = vec![
        format!("$argon2id$v=19$m=4194304,t=1,p=1${salt}${OUTPUT}"),
        format!("$argon2id$v=19$m=4294967295,t=1,p=1${salt}${OUTPUT}"),
        format!("$argon2id$v=19$m=99999999999999999999,t=1,p=1${salt}${OUTPUT}"),
        format!("$argon2d$v=19$m=8,t=1,p=1${salt}${OUTPUT}"),
        format!("$argon2i$v=19$m=8,t=1,p=1${salt}${OUTPUT}"),
        format!("$argon2id$v=19$m=8,t=1000000,p=1${salt}${OUTPUT}"),
        format!("$argon2id$v=19$m=8,t=0,p=1${salt}${OUTPUT}"),
        format!("$argon2id$v=19$m=0,t=1,p=1${salt}${OUTPUT}"),
        format!("$argon2id$v=19$m=8,t=1,p=0${salt}${OUTPUT}"),
        format!("$argon2id$v=19$m=8,t=1,p=16777215${salt}${OUTPUT}"),
        format!("$argon2id$v=16$m=8,t=1,p=1${salt}${OUTPUT}"),
        format!("$argon2id$v=19$m=8,t=1,p=1${salt}"),
        format!("$argon2id$v=19$m=8,t=1,p=1${salt}$"),
        "$argon2id$".into(),
        "$argon2".into(),
        "$".into(),
        "sha256:".into(),
        "sha256:00".into(),
        format!("sha256:{}", "g".repeat(64)),
        format!("sha512:{}", "0".repeat(64)),
        "$2b$31$".to_owned() + &"a".repeat(53),
        "bcrypt-sha256:$2b$".into(),
        "plain".into(),
        "\u{1F511}".repeat(100),
        "x".repeat(512),
    ];
    let whole = format!("$argon2id$v=19$m=8,t=1,p=1${salt}${OUTPUT}");
    hashes.extend((1..whole.len()).map(|end| whole[..end].to_owned()));
    hashes
}

impl House {
    /// Replaces the hash in the store, past the issuer.
    async fn put_hash(&self, record: &KeyRecord, hash: &str) {
        let mut stored = self.store.inner().key(record.id).await.unwrap().unwrap();
        stored.secrets[0].hash = SecretHash::new(hash).unwrap();
        self.store.inner().update_key(stored).await.unwrap();
    }
}

#[tokio::test]
async fn hostile_hashes_are_a_503_with_an_alarm_and_no_hash() {
    let (audit, _guard) = Audit::start();
    let house = House::with_argon2().await;
    let issued = house.key().await;
    let hashes = hostile_hashes();
    for (number, hash) in hashes.iter().enumerate() {
        // Alarms are limited per second; in a new second, each is written.
        house.hand.advance(Duration::from_secs(1));
        house.put_hash(&issued.record, hash).await;
        is_unavailable(house.check(text(&issued)).await, RejectionKind::InvalidRecord);
        // A wrong secret gets the same answer.
        is_unavailable(
            house.check(&with_other_secret(text(&issued), 1)).await,
            RejectionKind::InvalidRecord,
        );
        let alarms = audit.of_level(Level::ERROR);
        assert_eq!(alarms.len(), 2 * (number + 1), "{hash}");
        for alarm in &alarms[2 * number..] {
            assert!(alarm.fields.contains(&issued.record.id.to_string()), "{alarm:?}");
            assert!(alarm.fields.contains(issued.lookup.shown()), "{alarm:?}");
            assert!(!alarm.fields.contains("argon2"), "{alarm:?}");
        }
    }
    assert_eq!(house.pool.hashes_run(), 0);
    house.is_at_rest().await;
}

#[tokio::test]
async fn good_key_with_a_spoiled_hash_is_a_503_not_a_401() {
    let house = House::with_argon2().await;
    let issued = house.known_key().await;
    let stored = house.store.inner().key(issued.record.id).await.unwrap().unwrap();
    let good = stored.secrets[0].hash.clone();
    house
        .put_hash(&issued.record, "$argon2id$v=19$m=4194304,t=1,p=1$c29tZXNhbHQ$AAAA")
        .await;
    for _ in 0..3 {
        is_unavailable(house.check(text(&issued)).await, RejectionKind::InvalidRecord);
    }
    house.put_hash(&issued.record, good.as_str()).await;
    house.check(text(&issued)).await.unwrap();
}

#[tokio::test]
async fn store_down_admits_fresh_keys_and_answers_503_for_others() {
    let house = House::new().await;
    let (fresh, new) = (house.known_key().await, house.key().await);
    house.check(text(&fresh)).await.unwrap();
    let down = [
        Fault::Error(StoreErrorKind::Unavailable),
        Fault::Error(StoreErrorKind::InvalidRecord),
        Fault::Panic,
    ];
    for fault in down {
        house.faults().every_find(fault);
        for _ in 0..20 {
            house.check(text(&fresh)).await.unwrap();
            let presented = PresentedKey::new(text(&fresh).as_bytes());
            house.authenticator.try_check(presented).unwrap().unwrap();
        }
        house.everything_changed();
        for key in [&fresh, &new] {
            let rejection = house.check(text(key)).await.unwrap_err();
            assert_eq!(rejection.kind().class(), RejectionClass::Unavailable);
        }
        house.faults().heal();
        house.check(text(&fresh)).await.unwrap();
    }
    house.check(text(&new)).await.unwrap();
}

#[tokio::test]
async fn end_of_time_to_live_with_store_down_is_a_503() {
    let house = House::new().await;
    let issued = house.known_key().await;
    house.faults().every_find(Fault::Error(StoreErrorKind::Unavailable));
    house.hand.advance(Duration::from_secs(301));
    is_unavailable(house.check(text(&issued)).await, RejectionKind::StoreUnavailable);
    house.faults().heal();
    house.check(text(&issued)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn store_down_during_a_shared_load_answers_every_waiter() {
    let house = House::new().await;
    let faults = [
        (Fault::Error(StoreErrorKind::Unavailable), 2),
        (Fault::Hang, 1),
        (Fault::Panic, 1),
    ];
    for (fault, reads) in faults {
        let issued = house.key().await;
        let before = house.faults().finds();
        house.faults().every_find(fault);
        let waiters: Vec<_> = (0..100)
            .map(|_| tokio::spawn(house.authenticator.check(presented(text(&issued)))))
            .collect();
        for waiter in waiters {
            is_unavailable(waiter.await.unwrap(), RejectionKind::StoreUnavailable);
        }
        assert_eq!(house.faults().finds() - before, reads);
        house.faults().heal();
        house.is_at_rest().await;
        house.check(text(&issued)).await.unwrap();
    }
}

/// Every state of the cache, every key, every fault.
#[tokio::test(start_paused = true)]
async fn random_faults_never_admit_and_never_answer_401() {
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum State {
        Unread,
        Fresh,
        Stale,
    }
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Key {
        Good,
        Revoked,
        Wrong,
    }
    let house = House::new().await;
    let other = house.key().await;
    for state in [State::Unread, State::Fresh, State::Stale] {
        for key in [Key::Good, Key::Revoked, Key::Wrong] {
            for number in 0..9 {
                let issued = if state == State::Unread {
                    house.key().await
                } else {
                    house.known_key().await
                };
                let before = house.store.inner().find(&issued.lookup).await.unwrap().unwrap();
                if key == Key::Revoked {
                    house.issuer.revoke(issued.record.id, "lost").await.unwrap();
                    if state == State::Fresh {
                        assert_eq!(house.refusal(text(&issued)).await, RejectionKind::KeyRevoked);
                    }
                }
                if state == State::Stale {
                    house.everything_changed();
                }
                let open = Barrier::new();
                open.open();
                let fault = match number {
                    0 => Fault::Error(StoreErrorKind::Unavailable),
                    1 => Fault::ErrorAfter(StoreErrorKind::Unavailable),
                    2 => Fault::Error(StoreErrorKind::OutcomeUnknown),
                    3 => Fault::Error(StoreErrorKind::InvalidRecord),
                    4 => Fault::Hang,
                    5 => Fault::Panic,
                    6 => Fault::AnotherKey(other.lookup.clone()),
                    7 => Fault::Stale(Box::new(before)),
                    _ => Fault::After(open),
                };
                house.faults().every_find(fault.clone());
                let presented = match key {
                    Key::Wrong => with_other_secret(text(&issued), number),
                    _ => text(&issued).to_owned(),
                };
                let checked = house.check(&presented).await;
                let case = format!("{state:?} {key:?} {fault:?}: {checked:?}");
                match (key, checked.map_err(|rejection| rejection.kind())) {
                    (Key::Good, Ok(_))
                    | (Key::Revoked, Err(RejectionKind::KeyRevoked))
                    | (Key::Wrong, Err(RejectionKind::WrongSecret)) => {}
                    (_, Err(kind)) if kind.class() == RejectionClass::Unavailable && state != State::Fresh => {}
                    _ => panic!("{case}"),
                }
                house.faults().heal();
                let checked = house.check(&presented).await;
                match key {
                    Key::Good => drop(checked.unwrap()),
                    Key::Revoked => assert_eq!(kind(&checked), RejectionKind::KeyRevoked, "after {case}"),
                    Key::Wrong => assert_eq!(kind(&checked), RejectionKind::WrongSecret, "after {case}"),
                }
            }
        }
    }
    house.is_at_rest().await;
}

/// Something changes during each read.
struct Restless(MemoryStore);

impl KeyStore for Restless {
    async fn find(&self, lookup: &Lookup) -> Result<Option<Candidate>, StoreError> {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let found = self.0.find(lookup).await;
        self.0.fence().unwrap().everything_changed();
        found
    }

    fn fence(&self) -> Option<&Fence> {
        self.0.fence()
    }

    fn sharing(&self) -> Sharing {
        Sharing::Exclusive
    }
}

#[tokio::test(start_paused = true)]
async fn changes_that_never_end_are_a_503_within_bounded_time() {
    let store = MemoryStore::new();
    let issuer = issuer(&store);
    let acme = issuer.create_organization("acme").await.unwrap();
    let issued = issuer
        .issue(tower_api_key::IssueRequest::new(acme.id, "key"))
        .await
        .unwrap();
    let authenticator = Authenticator::new(Restless(store));
    let began = Instant::now();
    is_unavailable(check(&authenticator, text(&issued)).await, RejectionKind::NotConfirmed);
    assert!(began.elapsed() <= Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test]
async fn prefix_and_environment_are_checked_on_every_answer() {
    // It has the lookup and the secret of the record, but another environment.
    let house = House::new().await;
    let issued = house.key().await;
    let forged = in_test_environment(text(&issued));
    assert_eq!(house.refusal(&forged).await, RejectionKind::WrongSecret);
    house.check(text(&issued)).await.unwrap();
    assert_eq!(house.refusal(&forged).await, RejectionKind::WrongSecret);
    house.everything_changed();
    assert_eq!(house.refusal(&forged).await, RejectionKind::WrongSecret);
    // Even if the stored hash is that of the forged key.
    let mut stored = house.store.inner().key(issued.record.id).await.unwrap().unwrap();
    let forged_key = tower_api_key::key::ApiKey::from(forged.clone());
    let hash = house.pool.hash(&HashPolicy::sha256(), &forged_key).await.unwrap();
    stored.secrets = vec![KeySecret::new(issued.lookup.clone(), hash, stored.record.created_at)];
    house.store.inner().update_key(stored).await.unwrap();
    assert_eq!(house.refusal(&forged).await, RejectionKind::WrongSecret);
}

struct Hanging;

impl RateLimiter for Hanging {
    fn take(&self, _: &Charge<'_>) -> Take {
        Take::Later(Box::pin(std::future::pending()))
    }
}

#[tokio::test(start_paused = true)]
async fn hanging_limiter_is_a_503_after_a_second() {
    let house = House::with(HashPolicy::sha256(), |builder| builder.limiter(Hanging)).await;
    let limit = RateLimit::per_second("any", 1).unwrap();
    let limited = house.issuer.issue(house.request("limited").limit(limit)).await.unwrap();
    let began = Instant::now();
    assert_eq!(house.refusal(text(&limited)).await, RejectionKind::LimiterUnavailable);
    assert_eq!(began.elapsed().as_secs(), 1);
    house.check(text(&house.key().await)).await.unwrap();
}

/// At most a hundred lines a second for each kind of line.
#[tokio::test]
async fn log_lines_of_failing_loads_are_limited() {
    let house = House::new().await;
    let broken = house.key().await;
    let mut stored = house.store.inner().key(broken.record.id).await.unwrap().unwrap();
    stored.secrets[0].hash = SecretHash::new("sha256:short").unwrap();
    house.store.inner().update_key(stored).await.unwrap();
    let (audit, _guard) = Audit::start();
    house.faults().every_find(Fault::Error(StoreErrorKind::Unavailable));
    for n in 0..1_000 {
        let _ = house.refusal(&unknown_key(n)).await;
    }
    house.faults().heal();
    for _ in 0..1_000 {
        assert_eq!(house.refusal(text(&broken)).await, RejectionKind::InvalidRecord);
    }
    let lines = || [Level::WARN, Level::ERROR].map(|level| audit.of_level(level));
    assert_eq!(lines().map(|lines| lines.len()), [100, 100]);

    house.hand.advance(Duration::from_secs(1));
    house.faults().next_find(Fault::Error(StoreErrorKind::Conflict));
    let _ = house.refusal(&unknown_key(0)).await;
    assert_eq!(house.refusal(text(&broken)).await, RejectionKind::InvalidRecord);
    for lines in lines() {
        assert_eq!(lines.len(), 101);
        assert!(lines[100].fields.contains("left_out=900 "), "{}", lines[100].fields);
    }
}

#[tokio::test]
async fn broken_hash_pool_is_an_alarm_with_its_cause() {
    let pool = HashPool::builder().before_each_hash(|| panic!("on purpose")).build();
    let house = House::with_pool(argon2(), pool, |builder| builder.formats(KeyFormat::cmpz())).await;
    let issuer = house.issuer_with(|settings| settings.formats(KeyFormat::cmpz()).hash_policy(argon2()));
    let issued = issuer.issue(house.request("key")).await.unwrap();
    let (audit, _guard) = Audit::start();
    // An unknown key with a lookup that could be guessed is hashed too.
    let unknown = "cmpz_0123456789ABCDEFGHIJKLMNOPQRSTUV";
    for (number, key) in (1..).zip([text(&issued), unknown]) {
        is_unavailable(house.check(key).await, RejectionKind::Busy);
        let alarms = audit.of_level(Level::ERROR);
        assert_eq!(alarms.len(), number, "{alarms:#?}");
        let fields = &alarms[number - 1].fields;
        assert!(
            fields.contains("kind=Failed source=") && fields.contains("left_out=0"),
            "{fields}"
        );
    }
}

#[tokio::test]
async fn panic_of_the_store_is_one_alarm_for_all_waiters() {
    let house = House::new().await;
    let issued = house.key().await;
    let (audit, _guard) = Audit::start();
    house.faults().next_find(Fault::Panic);
    let (one, other) = tokio::join!(house.check(text(&issued)), house.check(text(&issued)));
    for checked in [one, other] {
        is_unavailable(checked, RejectionKind::StoreUnavailable);
    }
    let alarms = audit.of_level(Level::ERROR);
    assert_eq!(alarms.len(), 1, "{alarms:#?}");
    assert!(alarms[0].fields.contains(issued.lookup.shown()), "{alarms:?}");
    house.is_at_rest().await;
}

#[tokio::test]
async fn busy_hash_pool_is_no_alarm() {
    let (brake, pool) = Brake::pool();
    let house = House::with_pool(argon2(), pool.clone(), |builder| builder).await;
    let mut crowd = Vec::new();
    let check = async |crowd: &mut Vec<_>| {
        let check = house.authenticator.check(presented(text(&house.key().await)));
        crowd.push(tokio::spawn(check));
        settle().await;
    };
    check(&mut crowd).await;
    brake.reached(1).await;
    while pool.queued() < pool.capacity() {
        check(&mut crowd).await;
    }
    let issued = house.key().await;
    let (audit, _guard) = Audit::start();
    let refused = house.check(text(&issued)).await;
    brake.open();
    is_unavailable(refused, RejectionKind::Busy);
    assert!(audit.of_level(Level::ERROR).is_empty());
    for check in crowd {
        check.await.unwrap().unwrap();
    }
}
