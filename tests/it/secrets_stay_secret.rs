//! Secrets as canaries: all paths run with logs at TRACE, and no secret appears in logs, errors, `Debug`, `Display` or database
//! files. Also the traits that types with secrets must not have.

use std::collections::HashSet;
use std::error::Error;
use std::fmt::{Debug, Display};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::rows::Rows as _;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{Empty, Full};
use static_assertions::assert_not_impl_any;
use tower::{Layer, ServiceExt};
use tower_api_key::hash::HashPolicy;
use tower_api_key::key::{
    ApiKey, GeneratedKey, KeyFormat, KeyFormats, KeyRecord, OrganizationStatus, RateLimit, SecretHash, SecretValue,
    ServerSecret, ServerSecretRecord,
};
use tower_api_key::secrets::{RootKey, RootKeys};
use tower_api_key::store::StoreErrorKind;
use tower_api_key::testing::{Barrier, Fault};
use tower_api_key::{ApiKeyLayer, ApiKeys, AuthContext, IssuedKey, KeySource, PresentedKey, Rejection};
use tower_http::trace::{DefaultMakeSpan, TraceLayer};
use tracing_subscriber::fmt::format::FmtSpan;

use crate::house::brake::Brake;
use crate::house::process::is_alone;
use crate::house::*;
use crate::support::log::Log;
use crate::support::stores::Database;

// No early-ending comparison, no accidental text, no copies that are not wiped.
assert_not_impl_any!(ApiKey: PartialEq, PartialOrd, std::hash::Hash, Display, Clone, Copy, Default, serde::Serialize, AsRef<str>, std::ops::Deref);
assert_not_impl_any!(GeneratedKey: PartialEq, Display, Clone, serde::Serialize);
assert_not_impl_any!(IssuedKey: PartialEq, Display, Clone, serde::Serialize);
// It borrows the key, so its copies do not copy the key.
assert_not_impl_any!(PresentedKey<'static>: PartialEq, Display, serde::Serialize);
assert_not_impl_any!(ServerSecret: PartialEq, Display, serde::Serialize);
assert_not_impl_any!(SecretHash: Display, serde::Serialize);
assert_not_impl_any!(SecretValue: PartialEq, Display, serde::Serialize, AsRef<[u8]>, std::ops::Deref);
assert_not_impl_any!(RootKey: PartialEq, PartialOrd, std::hash::Hash, Display, Clone, Copy, Default, serde::Serialize, AsRef<[u8]>, std::ops::Deref);
assert_not_impl_any!(RootKeys: PartialEq, Display, Clone, Default, serde::Serialize);
assert_not_impl_any!(ServerSecretRecord: Display, serde::Serialize);
// A context is a proof of a check, so nothing else makes one, and no text becomes one.
assert_not_impl_any!(AuthContext: Default, From<String>, serde::de::DeserializeOwned);

/// Records all logs of this process at TRACE with spans, so that no thread is missed. `None` if the test has run in another process
/// instead.
fn log_alone(test: &str) -> Option<Log> {
    if !is_alone(&format!("secrets_stay_secret::{test}")) {
        return None;
    }
    let log = Log::default();
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_span_events(FmtSpan::FULL)
        .with_ansi(false)
        .with_writer(log.clone())
        .init();
    Some(log)
}

/// This many consecutive characters of a secret must not appear.
const CANARY: usize = 8;

/// The collected output, and the secrets that must not be in it.
#[derive(Default)]
struct Canaries {
    said: String,
    secrets: Vec<String>,
}

impl Canaries {
    /// Keeps the secret part of a key of the default format, and all its short sequences of characters.
    fn keep(&mut self, key: &str) {
        let body = &key[key.rfind('_').unwrap() + 1..];
        self.keep_text(&body[12..]);
    }

    fn keep_text(&mut self, secret: &str) {
        self.secrets.extend(
            secret
                .as_bytes()
                .windows(CANARY)
                .map(|part| String::from_utf8(part.to_vec()).unwrap()),
        );
    }

    fn hear(&mut self, said: impl Debug) {
        self.said += &format!("{said:?} {said:#?}\n");
    }

    fn hear_error(&mut self, error: &dyn Error) {
        let mut next = Some(error);
        while let Some(error) = next {
            self.said += &format!("{error} {error:?}\n");
            next = error.source();
        }
    }

    #[track_caller]
    fn none_is_in(&self, what: &str, text: &[u8]) {
        assert!(!self.secrets.is_empty() && !text.is_empty());
        // All of one length, so that one pass over the text is enough.
        let secrets: HashSet<&[u8]> = self.secrets.iter().map(String::as_bytes).collect();
        assert!(secrets.iter().all(|secret| secret.len() == CANARY));
        for (at, part) in text.windows(CANARY).enumerate() {
            if secrets.contains(part) {
                let around = &text[at.saturating_sub(100)..(at + 40).min(text.len())];
                panic!("{} is in {what}: {}", part.escape_ascii(), around.escape_ascii());
            }
        }
    }

    /// Keeps the output of a check: admission or rejection.
    fn outcome(&mut self, checked: Result<AuthContext, Rejection>) {
        match checked {
            Ok(context) => {
                self.hear(&context);
                self.hear(context.allowance().collect::<Vec<_>>());
            }
            Err(rejection) => {
                self.hear(&rejection);
                self.hear_error(&rejection);
            }
        }
    }
}

async fn drive(canaries: &mut Canaries) {
    let (brake, pool) = Brake::pool();
    let formats = KeyFormats::new([KeyFormat::default(), KeyFormat::raw()]).unwrap();
    let house = House::with_pool(argon2(), pool, |builder| builder.formats(formats)).await;
    brake.open();
    let issued = house.key().await;
    let key = text(&issued).to_owned();
    canaries.keep(&key);
    canaries.hear(&issued);
    canaries.hear(&house.authenticator);
    canaries.hear(&house.issuer);
    canaries.hear(&house.store);
    canaries.hear(&house.pool);
    canaries.hear(PresentedKey::new(key.as_bytes()));
    canaries.hear(presented(&key));
    canaries.hear(KeyFormat::default().parse(key.as_bytes()).unwrap());
    let stored = house.store.inner().key(issued.record.id).await.unwrap().unwrap();
    canaries.keep_text(stored.secrets[0].hash.as_str().rsplit('$').next().unwrap());
    canaries.hear(&stored);

    // Good, wrong, unknown, malformed, of another environment, of an unknown system.
    let (wrong, unknown) = (with_other_secret(&key, 123_456_789), unknown_key(987_654_321));
    let (mistyped, forged) = (format!("{}0", &key[..key.len() - 1]), in_test_environment(&key));
    let raw = "Zm9yZWlnbiBrZXkgb2YgYW5vdGhlciBzeXN0ZW0".to_owned();
    canaries.keep(&wrong);
    canaries.keep_text(&raw);
    let all = [key.clone(), wrong, unknown, mistyped, forged, raw];
    for key in &all {
        for _ in 0..2 {
            canaries.outcome(house.check(key).await);
        }
    }
    // Every fault, for a cached key and for a new one.
    let limited = RateLimit::per_minute("few", 1).unwrap();
    let other = house.issuer.issue(house.request("other").limit(limited)).await.unwrap();
    canaries.keep(text(&other));
    let closed = Barrier::new();
    for fault in [
        Fault::Error(StoreErrorKind::Unavailable),
        Fault::Error(StoreErrorKind::InvalidRecord),
        Fault::Panic,
        Fault::AnotherKey(other.lookup.clone()),
        Fault::Before(closed),
    ] {
        house.faults().every_find(fault);
        house.everything_changed();
        canaries.outcome(house.check(&key).await);
        canaries.outcome(house.check(&with_other_secret(&key, 5)).await);
    }
    house.faults().heal();
    // Dropped in the middle of a hash.
    brake.close();
    let hashing = tokio::spawn(house.authenticator.check(presented(text(&other))));
    until(|| house.pool.running() == 1).await;
    hashing.abort();
    brake.open();
    house.is_at_rest().await;
    // Limited, of another network, without the scope, expired, disabled, inactive, revoked.
    for _ in 0..2 {
        canaries.outcome(house.check(text(&other)).await);
    }
    let narrow = |record: &mut KeyRecord| record.networks = "192.0.2.0/24".parse().unwrap();
    house.issuer.update(other.record.id, narrow).await.unwrap();
    canaries.outcome(house.check(text(&other)).await);
    let needed = "orders:read".parse().unwrap();
    let unscoped = PresentedKey::new(key.as_bytes()).require_scope(&needed);
    canaries.outcome(house.authenticator.check(unscoped).await);
    let ended = |record: &mut KeyRecord| record.expires_at = Some(tower_api_key::key::Timestamp::from_millis(0));
    house.issuer.update(other.record.id, ended).await.unwrap();
    canaries.outcome(house.check(text(&other)).await);
    house.issuer.disable(issued.record.id).await.unwrap();
    canaries.outcome(house.check(&key).await);
    house.issuer.enable(issued.record.id).await.unwrap();
    let rotated = house
        .issuer
        .rotate(issued.record.id, Duration::from_secs(60))
        .await
        .unwrap();
    canaries.keep(text(&rotated));
    canaries.hear(&rotated);
    canaries.outcome(house.check(text(&rotated)).await);
    let again = house
        .issuer
        .rotate(issued.record.id, Duration::from_secs(60))
        .await
        .unwrap_err();
    canaries.hear_error(&again);
    let stop = |acme: &mut tower_api_key::key::Organization| acme.status = OrganizationStatus::Inactive;
    house
        .issuer
        .update_organization(house.organization.id, stop)
        .await
        .unwrap();
    canaries.outcome(house.check(&key).await);
    house.issuer.revoke(issued.record.id, "lost").await.unwrap();
    canaries.outcome(house.check(&key).await);
    // A hash that cannot be used.
    let mut stored = house.store.inner().key(issued.record.id).await.unwrap().unwrap();
    for secret in &mut stored.secrets {
        secret.hash = SecretHash::new("$argon2id$v=19$m=4194304,t=1,p=1$c29tZXNhbHQ$AAAA").unwrap();
    }
    house.store.inner().update_key(stored).await.unwrap();
    canaries.outcome(house.check(&key).await);
    // The issuer, with a failing store.
    for error in [
        StoreErrorKind::Unavailable,
        StoreErrorKind::OutcomeUnknown,
        StoreErrorKind::AlreadyExists,
    ] {
        house.faults().every_manage(Fault::Error(error));
        canaries.hear_error(&house.issuer.issue(house.request("key")).await.unwrap_err());
    }
    house.faults().heal();
    // A generated key that was never issued.
    let generated = KeyFormat::default().generate(Some("live")).unwrap();
    canaries.keep(generated.key().expose_secret());
    canaries.hear(&generated);
    assert!(issued.lookup.as_str().len() == 12 && canaries.said.contains(issued.lookup.as_str()));
}

#[tokio::test]
async fn logs_errors_and_debug_hold_no_secret() {
    let Some(log) = log_alone("logs_errors_and_debug_hold_no_secret") else {
        return;
    };
    let mut canaries = Canaries::default();
    drive(&mut canaries).await;
    let log = log.text();
    // The logs were recorded: what may appear is there.
    for expected in [
        "admitted",
        "wrong_secret",
        "unknown_key",
        "key_revoked",
        "the key store failed",
        "cannot be used",
    ] {
        assert!(log.contains(expected), "{expected} was not logged");
    }
    canaries.none_is_in("the log", log.as_bytes());
    canaries.none_is_in("what was said", canaries.said.as_bytes());
}

/// Through the layer: wherever a request has its key, inner layers, answers and logs do not show it.
#[tokio::test]
async fn layer_passes_no_secret_on() {
    let Some(log) = log_alone("layer_passes_no_secret_on") else {
        return;
    };
    let mut canaries = Canaries::default();
    let house = House::new().await;
    let issued = house.key().await;
    let wrong = with_other_secret(text(&issued), 135_792_468);
    canaries.keep(text(&issued));
    canaries.keep(&wrong);
    let layer = ApiKeyLayer::from(house.authenticator.clone())
        .sources([
            KeySource::bearer(),
            KeySource::basic(),
            KeySource::header("x-api-key").unwrap(),
            KeySource::dangerous_query_parameter("api_key").unwrap(),
        ])
        .unwrap();
    canaries.hear(&layer);
    for key in [text(&issued), &wrong, &format!("{wrong}x")] {
        let basic = STANDARD.encode(format!("{key}:"));
        canaries.keep_text(&basic);
        for (uri, line) in [
            ("/orders".to_owned(), Some(("authorization", format!("Bearer {key}")))),
            ("/orders".to_owned(), Some(("authorization", format!("Basic {basic}")))),
            ("/orders".to_owned(), Some(("x-api-key", key.to_owned()))),
            (format!("/orders?api_key={key}&page=1"), None),
        ] {
            // In two places: neither is used, and neither may be shown.
            for is_twice in [false, true] {
                let mut request = http::Request::builder().uri(&uri);
                if let Some((name, value)) = &line {
                    request = request.header(*name, value);
                }
                if is_twice {
                    request = request.header("x-api-key", key);
                }
                let said = Arc::new(Mutex::new(String::new()));
                let inner = {
                    let said = said.clone();
                    tower::service_fn(move |request: http::Request<Empty<bytes::Bytes>>| {
                        *said.lock().unwrap() = format!("{request:?}");
                        async {
                            Ok::<_, std::convert::Infallible>(http::Response::new(Full::<bytes::Bytes>::default()))
                        }
                    })
                };
                let traced = TraceLayer::new_for_http().make_span_with(DefaultMakeSpan::new().include_headers(true));
                let layer = layer.clone().responder({
                    let said = said.clone();
                    move |rejection: &Rejection, request: &http::request::Parts| {
                        *said.lock().unwrap() = format!("{rejection:?} {request:?}");
                        http::Response::new(bytes::Bytes::new())
                    }
                });
                let traced = traced.layer(inner);
                let inner = traced.map_response(|response: http::Response<_>| response.map(|_| bytes::Bytes::new()));
                let service = layer.layer(inner);
                let response = service.oneshot(request.body(Empty::new()).unwrap()).await.unwrap();
                canaries.said += &said.lock().unwrap();
                canaries.said += &format!("{:?} {:?}", response.status(), response.headers());
                canaries.said += &format!("{:?}", response.extensions().get::<Rejection>());
            }
        }
    }
    assert!(canaries.said.contains("/orders?page=1") && canaries.said.contains("WrongSecret"));
    let log = log.text();
    assert!(log.contains("uri=/orders?page=1"), "the inner layer logged nothing");
    canaries.none_is_in("the log", log.as_bytes());
    canaries.none_is_in("what was said", canaries.said.as_bytes());
}

/// If the lookup is the hash of the key, an attacker with the table could use it like the key.
#[tokio::test]
async fn lookup_that_is_a_hash_is_logged_by_its_start() {
    use sha2::{Digest, Sha256};

    let Some(log) = log_alone("lookup_that_is_a_hash_is_logged_by_its_start") else {
        return;
    };
    let formats = KeyFormats::new([KeyFormat::raw()]).unwrap();
    let house = House::with(HashPolicy::sha256(), |builder| builder.formats(formats)).await;
    let key = "a-key-of-another-system-0123456789";
    let mut canaries = Canaries::default();
    let hash: String = Sha256::digest(key).iter().map(|byte| format!("{byte:02x}")).collect();
    canaries.keep_text(&hash[8..]);
    canaries.keep_text(key);
    canaries.outcome(house.check(key).await);
    house.faults().every_find(Fault::Error(StoreErrorKind::Unavailable));
    house.everything_changed();
    canaries.outcome(house.check(key).await);
    let log = log.text();
    assert!(log.contains(&hash[..8]), "{log}");
    canaries.none_is_in("the log", log.as_bytes());
    canaries.none_is_in("what was said", canaries.said.as_bytes());
}

#[tokio::test]
async fn database_holds_no_secret() {
    use tower_api_key::Authenticator;

    for database in Database::shared() {
        let mut canaries = Canaries::default();
        let mut lookups = Vec::new();
        let store = database.open().await;
        for policy in [HashPolicy::sha256(), argon2()] {
            let issuer = acting(ApiKeys::builder(store.clone()).hash_policy(policy));
            let acme = issuer.create_organization("acme").await.unwrap();
            let authenticator = Authenticator::builder(store.clone())
                .read_timeout(Duration::from_secs(60))
                .unwrap()
                .build();
            for _ in 0..10 {
                let request = tower_api_key::IssueRequest::new(acme.id, "key");
                let issued = issuer.issue(request).await.unwrap();
                check(&authenticator, text(&issued)).await.unwrap();
                let rotated = issuer.rotate(issued.record.id, Duration::from_secs(60)).await.unwrap();
                check(&authenticator, text(&rotated)).await.unwrap();
                let wrong = with_other_secret(text(&issued), 42_424_242);
                assert!(check(&authenticator, &wrong).await.is_err());
                issuer.revoke(issued.record.id, "lost").await.unwrap();
                for key in [text(&issued), text(&rotated)] {
                    canaries.keep(key);
                }
                lookups.extend([issued.lookup, rotated.lookup]);
            }
        }
        let while_open = database.contents();
        canaries.hear(&store);
        drop(store);
        let closed = database.contents();
        for bytes in [while_open, closed] {
            // The right files were read.
            for lookup in &lookups {
                let lookup = lookup.as_str().as_bytes();
                assert!(bytes.windows(lookup.len()).any(|part| part == lookup));
            }
            canaries.none_is_in("the database", &bytes);
        }
    }
}

/// The secrets of a realm, plain and sealed, given and lost.
#[tokio::test]
async fn logs_errors_and_debug_hold_no_secret_of_the_realm() {
    use tower_api_key::store::StoreExt;
    use tower_api_key::store::query::ServerSecretRecords;

    let Some(log) = log_alone("logs_errors_and_debug_hold_no_secret_of_the_realm") else {
        return;
    };
    let mut canaries = Canaries::default();
    let (root, other, given): ([u8; 32], [u8; 32], [u8; 32]) = (rand::random(), rand::random(), rand::random());
    let root_key = |bytes: &[u8; 32]| RootKey::new(bytes).unwrap();
    let mut secrets: Vec<Vec<u8>> = [root, other, given].map(Vec::from).into();
    let store = tower_api_key::testing::FaultStore::new(tower_api_key::store::MemoryStore::new());
    let settings = || ApiKeys::builder(store.clone()).hash_policy(HashPolicy::sha256());

    canaries.hear(settings());
    let keys = settings().open().await.unwrap();
    canaries.hear((&keys, keys.authenticator(), keys.issuer()));
    let rows = store.get(ServerSecretRecords::all()).await.unwrap();
    canaries.hear(&rows);
    secrets.extend(rows.iter().map(|row| row.value.expose_secret().to_vec()));

    let keyring = || RootKeys::from(root_key(&root)).former(root_key(&other));
    canaries.hear((keyring(), ServerSecret::new('a', &given).unwrap()));
    let keys = settings().root_keys(keyring()).open().await.unwrap();
    let issuer = keys.issuer().acting_as(tower_api_key::key::Actor::service());
    issuer.rotate_checksum_secret().await.unwrap();
    canaries.hear_error(&issuer.rotate_checksum_secret().await.unwrap_err());
    canaries.hear(store.get(ServerSecretRecords::all()).await.unwrap());
    canaries.hear((&keys, &issuer, issuer.clone()));
    canaries.hear_error(&settings().open().await.unwrap_err());
    canaries.hear_error(&settings().root_keys(root_key(&other)).open().await.unwrap_err());

    // A key of a secret that is not known here, while the store fails.
    let acme = issuer.create_organization("acme").await.unwrap();
    let issued = issuer
        .issue(tower_api_key::IssueRequest::new(acme.id, "key"))
        .await
        .unwrap();
    store.faults().every_manage(Fault::Error(StoreErrorKind::Unavailable));
    let end = text(&issued).len() - 11;
    let unknown = format!("{}z0123456789", &text(&issued)[..end]);
    canaries.outcome(check(&keys.authenticator(), &unknown).await);
    store.faults().heal();

    let secret = |bytes: &[u8; 32]| ServerSecret::new('a', bytes).unwrap();
    let settings = settings()
        .root_keys(keyring())
        .realm_secret(secret(&given), [])
        .unwrap();
    canaries.hear(&settings);
    canaries.hear(settings.open().await.unwrap());

    for secret in &secrets {
        canaries.keep_text(&secret.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
        canaries.keep_text(&STANDARD.encode(secret));
        let numbers = format!("{:?}", &secret[..4]);
        let numbers = numbers.trim_matches(['[', ']']);
        assert!(!canaries.said.contains(numbers), "{numbers} was said");
    }
    let log = log.text();
    for expected in ["stored unsealed", "could not read the secrets"] {
        assert!(log.contains(expected), "{expected} was not logged: {log}");
    }
    canaries.none_is_in("the log", log.as_bytes());
    canaries.none_is_in("what was said", canaries.said.as_bytes());
}

/// Sealed where it was plain before: SQLite must not keep what it replaced.
#[tokio::test]
async fn database_holds_no_sealed_secret() {
    use tower_api_key::store::StoreExt;
    use tower_api_key::store::query::{Keys, ServerSecretRecords};

    for database in Database::shared() {
        // A secret of each purpose.
        let use_it = async |keys: &ApiKeys| {
            let issuer = keys.issuer().acting_as(tower_api_key::key::Actor::service());
            let acme = issuer.create_organization("acme").await.unwrap();
            let issued = issuer
                .issue(tower_api_key::IssueRequest::new(acme.id, "key"))
                .await
                .unwrap();
            keys.read(Keys::of(acme.id).page(1)).await.unwrap();
            check(&keys.authenticator(), text(&issued)).await.unwrap();
        };
        let mut parts = HashSet::new();
        let is_postgres = database.is_postgres();
        // A backup of a server has bytes as digits.
        let size = if is_postgres { 2 * CANARY } else { CANARY };
        let mut keep = |secret: &[u8]| {
            let digits: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
            let shown = if is_postgres { digits.as_bytes() } else { secret };
            parts.extend(shown.windows(size).map(<[u8]>::to_vec));
        };

        let store = database.open().await;
        let hand = tower_api_key::testing::ManualClock::new();
        let settings = ApiKeys::builder(store.clone()).clock(hand.clock());
        let plain = settings.open().await.unwrap();
        use_it(&plain).await;
        let issuer = plain.issuer().acting_as(tower_api_key::key::Actor::service());
        for _ in 0..6 {
            issuer.rotate_checksum_secret().await.unwrap();
            hand.advance(Duration::from_secs(80));
        }
        let secrets = store.get(ServerSecretRecords::all()).await.unwrap();
        assert_eq!(secrets.len(), 8);
        for secret in &secrets {
            assert!(database.has(secret.value.expose_secret()));
            keep(secret.value.expose_secret());
        }
        drop((plain, issuer, store));

        let root_key: [u8; 32] = rand::random();
        keep(&root_key);
        let settings = ApiKeys::builder(database.open().await).clock(hand.clock());
        let settings = settings.root_keys(RootKey::new(&root_key).unwrap());
        let sealed = settings.open().await.unwrap();
        use_it(&sealed).await;
        // SQLite brings its file up to date when the last connection closes, at the latest.
        drop(sealed);
        database.is_closed().await;
        assert!(database.has(b"server_secret.sealed"), "the right files were read");
        let bytes = database.contents();
        assert!(!bytes.windows(size).any(|part| parts.contains(part)));
    }
}

/// Every operation, with persons in all fields that may have them: the log names neither them nor a secret, and has each committed
/// event once, after its commit.
async fn all_operations(log: Log, database: Database) {
    use tower_api_key::audit::{Caller, Forget};
    use tower_api_key::key::{Actor, KnownScope, Metadata, Plan, Role};
    use tower_api_key::store::StoreExt;
    use tower_api_key::store::query::{AuditEvents, Keys, ServerSecretRecords};
    use tower_api_key::{Descendants, Hygiene, IfUsed, IssueRequest, KeySelection, OrganizationRequest, UserRequest};

    let mut canaries = Canaries::default();
    let folder = tempfile::tempdir().unwrap();
    let root: [u8; 32] = rand::random();
    let hand = tower_api_key::testing::ManualClock::new();
    let store = database.open().await;
    let settings = ApiKeys::builder(store.clone()).hash_policy(HashPolicy::sha256());
    let settings = settings.root_keys(RootKey::new(&root).unwrap()).clock(hand.clock());
    let keys = settings.open().await.unwrap();
    let persons = [
        "Zyxwvuts Person",
        "zyxperson@zyxmail.invalid",
        "zyxvalue-qwertz",
        "zyxagent/1.0",
        "Zyxcompany Ltd",
        "Zyxkeyname",
        "203.0.113.77",
    ];
    let [name, email, value, agent, organization, key_name, address] = persons;
    let caller = Caller::new(Actor::user("u-1")).name(name).user_agent(agent);
    let issuer = keys.issuer().acting_as(caller.address(address.parse().unwrap()));
    let mut metadata = Metadata::default();
    metadata.set("of", value).unwrap();
    let mut plan = Plan::new("small");
    plan.key_limits = vec!["requests=1000/1s".parse().unwrap()];
    let plan = issuer.create_plan(plan).await.unwrap();
    issuer
        .create_scope(KnownScope::new("orders:read".parse().unwrap(), ""))
        .await
        .unwrap();
    issuer
        .create_role(Role::new("reader", "orders:read".parse().unwrap()))
        .await
        .unwrap();
    let request = OrganizationRequest::new(organization)
        .email(email)
        .plan(plan.id)
        .metadata(metadata.clone());
    let acme = issuer.create_organization(request).await.unwrap();
    let user = || "u-1".parse().unwrap();
    let request = UserRequest::new(acme.id, user())
        .name(name)
        .email(email)
        .metadata(metadata.clone());
    issuer.create_user(request).await.unwrap();
    issuer
        .update_user(acme.id, &user(), |row| row.name = Some(format!("{name}!")))
        .await
        .unwrap();
    let mut issued = Vec::new();
    for _ in 0..4 {
        let mut request = IssueRequest::new(acme.id, key_name)
            .user(user())
            .roles("reader".parse().unwrap());
        request = request.labels("laptop".parse().unwrap()).metadata(metadata.clone());
        issued.push(issuer.issue(request).await.unwrap());
    }
    let child = IssueRequest::new(acme.id, key_name).created_by_key(issued[3].record.id);
    issued.push(issuer.issue(child).await.unwrap());
    let canary = issuer
        .issue(IssueRequest::new(acme.id, key_name).canary())
        .await
        .unwrap();
    issued.push(canary);
    let use_all = async |keys: &ApiKeys, issued: &[IssuedKey]| {
        for key in issued {
            let presented = PresentedKey::new(text(key).as_bytes());
            let _ = keys.authenticator().check(presented).await;
            let _ = keys.find_key(presented).await;
            let wrong = with_other_secret(text(key), 123_456_789);
            let _ = keys.authenticator().check(PresentedKey::new(wrong.as_bytes())).await;
        }
    };
    use_all(&keys, &issued).await;
    issuer
        .update(issued[0].record.id, |row| row.name = format!("{key_name}!"))
        .await
        .unwrap();
    for _ in 0..2 {
        issued.push(
            issuer
                .rotate(issued[0].record.id, Duration::from_secs(60))
                .await
                .unwrap(),
        );
        let _ = issuer.finish(issued[0].record.id, Duration::ZERO).await;
    }
    issued.push(
        issuer
            .rotate(issued[1].record.id, Duration::from_secs(60))
            .await
            .unwrap(),
    );
    issuer.take_back(issued[1].record.id, IfUsed::Override).await.unwrap();
    issuer.disable(issued[1].record.id).await.unwrap();
    use_all(&keys, &issued).await;
    issuer.enable(issued[1].record.id).await.unwrap();
    issuer.revoke(issued[2].record.id, "lost").await.unwrap();
    issuer
        .revoke_with_descendants(issued[3].record.id, Descendants::Revoke, "leaked")
        .await
        .unwrap();
    let selection = KeySelection::user(acme.id, user());
    issuer.disable_all(&selection, "left").await.unwrap();
    issuer.enable_all(&selection).await.unwrap();
    issuer.disable_user(acme.id, &user(), "left").await.unwrap();
    use_all(&keys, &issued).await;
    issuer.enable_user(acme.id, &user()).await.unwrap();
    issuer.deactivate_organization(acme.id, "not paid").await.unwrap();
    use_all(&keys, &issued).await;
    issuer.activate_organization(acme.id).await.unwrap();
    let rename = |row: &mut tower_api_key::key::Organization| row.name = format!("{organization}!");
    issuer.update_organization(acme.id, rename).await.unwrap();
    issuer.rotate_checksum_secret().await.unwrap();
    let taken = OrganizationRequest::new("other").email(email);
    canaries.hear_error(&issuer.create_organization(taken).await.unwrap_err());
    canaries.hear_error(&issuer.delete_user(acme.id, &user()).await.unwrap_err());
    keys.statistics(acme.id).await.unwrap();
    keys.hygiene(Hygiene::of(acme.id)).await.unwrap();
    keys.flush().await.unwrap();
    let maintenance = keys.maintenance().anchor_file(folder.path().join("anchors"));
    assert_eq!(maintenance.run_once().await.failed().count(), 0);
    let stored = store.get(Keys::of(acme.id).page(100)).await.unwrap().items;
    let hashes = stored.iter().flat_map(|key| &key.secrets);
    for secret in hashes {
        canaries.keep_text(secret.hash.as_str().rsplit([':', '$']).next().unwrap());
    }
    for row in store.get(ServerSecretRecords::all()).await.unwrap() {
        canaries.keep_text(
            &row.value
                .expose_secret()
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>(),
        );
    }
    issuer.forget(Forget::user(user())).await.unwrap();
    issuer.forget(Forget::address(address.parse().unwrap())).await.unwrap();
    issuer.delete_organization(acme.id, "closed").await.unwrap();
    // By hand, so that something fails.
    let drop_tables = "DROP TABLE api_keys_refusal_counts; DROP TABLE api_keys_refusals";
    database.by_hand(drop_tables, &[]).await;
    use_all(&keys, &issued).await;
    canaries.hear_error(&keys.flush().await.unwrap_err());
    hand.advance(Duration::from_secs(90_000));
    let report = maintenance.run_once().await;
    assert!(report.failed().count() > 0);
    report.failed().for_each(|(_, error)| canaries.hear_error(error));

    for key in &issued {
        canaries.keep(text(key));
    }
    canaries.keep_text(&root.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    persons.iter().for_each(|person| canaries.keep_text(person));
    let log = log.text();
    canaries.none_is_in("the log", log.as_bytes());
    canaries.none_is_in("what was said", canaries.said.as_bytes());

    // Each event once.
    let mut events = AuditEvents::all().page(1000);
    let mut number = 0;
    loop {
        let page = store.get(events).await.unwrap();
        for entry in &page.items {
            let (organization, seq) = (entry.event.organization_id, entry.seq);
            let line = format!("organization={organization} seq={seq} at=");
            let lines = log.lines().filter(|text| text.contains(&line)).count();
            assert_eq!(lines, 1, "{line}");
            number += 1;
        }
        let Some(next) = page.next else { break };
        events = AuditEvents::all().page(1000).after(next);
    }
    assert!(number > 40, "{number}");
}

#[tokio::test]
async fn log_of_operations_on_a_file_has_no_secret_and_no_person() {
    let file = Database::shared().find(|database| !database.is_postgres());
    if let Some(log) = log_alone("log_of_operations_on_a_file_has_no_secret_and_no_person")
        && let Some(file) = file
    {
        all_operations(log, file).await;
    }
}

#[tokio::test]
async fn log_of_operations_on_a_server_has_no_secret_and_no_person() {
    let server = Database::shared().find(Database::is_postgres);
    if let Some(log) = log_alone("log_of_operations_on_a_server_has_no_secret_and_no_person")
        && let Some(server) = server
    {
        all_operations(log, server).await;
    }
}
