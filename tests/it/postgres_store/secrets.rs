//! Presented keys, passwords and root keys are in no dump, no log of the server, no list of its sessions, and none of our logs.

use std::collections::HashSet;
use std::time::Duration;

use tower_api_key::hash::{Argon2Params, HashPolicy};
use tower_api_key::key::{Actor, KeyFormat, KeyFormats};
use tower_api_key::secrets::RootKey;
use tower_api_key::{ApiKeys, IssueRequest, PresentedKey};

use super::{builder, sleep};
use crate::house::process::is_alone;
use crate::support::log::Log;
use crate::support::postgres::{Server, psql};
use crate::support::{text, wrong_secret};

/// So many characters in a row of a secret must not appear.
const CANARY: usize = 9;

#[derive(Default)]
struct Canaries(HashSet<Vec<u8>>);

impl Canaries {
    /// The secret part of a key: its lookup may be seen.
    fn keep_key(&mut self, key: &str) {
        let body = &key[key.rfind('_').map_or(0, |at| at + 1)..];
        self.keep(&body.as_bytes()[12..]);
    }

    fn keep(&mut self, secret: &[u8]) {
        self.0.extend(secret.windows(CANARY).map(<[u8]>::to_vec));
    }

    #[track_caller]
    fn none_is_in(&self, what: &str, text: &str) {
        assert!(!self.0.is_empty() && text.len() > 100, "{what}: {text}");
        for (at, part) in text.as_bytes().windows(CANARY).enumerate() {
            if self.0.contains(part) {
                let around = &text.as_bytes()[at.saturating_sub(200)..(at + 60).min(text.len())];
                panic!("{} is in {what}: {}", part.escape_ascii(), around.escape_ascii());
            }
        }
    }
}

#[tokio::test]
async fn keys_passwords_and_root_keys_are_seen_nowhere() {
    if !is_alone("postgres_store::secrets::keys_passwords_and_root_keys_are_seen_nowhere") {
        return;
    }
    let log = Log::default();
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(log.clone())
        .init();
    let server = Server::start_with(&[
        "-c",
        "log_statement=all",
        "-c",
        "log_min_duration_statement=0",
        "-c",
        "log_parameter_max_length=-1",
        "-c",
        "log_parameter_max_length_on_error=-1",
        "-c",
        "log_min_messages=debug1",
        "-c",
        "track_activity_query_size=65536",
    ]);
    let mut canaries = Canaries::default();
    let password = "Pw7hunter2Password9Zq";
    canaries.keep(password.as_bytes());
    // A root key of letters, so that it is looked for as it is and as bytea is shown.
    let root = b"Root-key-of-32-bytes-for-a-test!";
    canaries.keep(root);
    let hex: String = root.iter().map(|byte| format!("{byte:02x}")).collect();
    canaries.keep(hex.as_bytes());
    let url = server.url().replacen("postgres@", &format!("postgres:{password}@"), 1);
    let store = builder().open(&url).await.unwrap();
    let formats = KeyFormats::new([KeyFormat::default(), KeyFormat::raw()]).unwrap();
    let policies = [
        HashPolicy::sha256(),
        HashPolicy::argon2id(Argon2Params::new(8, 1, 1).unwrap()),
    ];
    for policy in policies {
        let settings = ApiKeys::builder(store.clone())
            .hash_policy(policy)
            .formats(formats.clone());
        let keys = settings.root_keys(RootKey::new(root).unwrap()).open().await.unwrap();
        let issuer = keys.issuer().acting_as(Actor::operator("test"));
        let acme = issuer.create_organization("acme").await.unwrap();
        let issued = issuer.issue(IssueRequest::new(acme.id, "orders")).await.unwrap();
        let key = text(&issued);
        canaries.keep_key(&key);
        let raw = "Zm9yZWlnbiBrZXkgb2YgYW5vdGhlciBzeXN0ZW0";
        canaries.keep(raw.as_bytes());
        let wrong = wrong_secret(&key);
        canaries.keep_key(&wrong);
        for presented in [&key, &wrong, &raw.to_owned(), &format!("{key}0"), &key] {
            let _ = keys
                .authenticator()
                .check(PresentedKey::new(presented.as_bytes()))
                .await;
            let _ = keys.find_key(PresentedKey::new(presented.as_bytes())).await;
        }
        let rotated = issuer.rotate(issued.record.id, Duration::from_secs(60)).await.unwrap();
        canaries.keep_key(&text(&rotated));
        // A statement that fails is logged with its values.
        server.psql("ALTER TABLE api_keys.key_secrets RENAME TO gone");
        let _ = keys
            .authenticator()
            .check(PresentedKey::new(text(&rotated).as_bytes()))
            .await;
        let _ = issuer.issue(IssueRequest::new(acme.id, "fails")).await;
        server.psql("ALTER TABLE api_keys.gone RENAME TO key_secrets");
        keys.flush().await.unwrap();
        let report = keys.maintenance().run_once().await;
        assert_eq!(report.failed().count(), 0, "{report:?}");
        let sessions = psql(&server.url(), "SELECT * FROM pg_stat_activity");
        assert!(sessions.contains("tower-api-key"), "{sessions}");
        canaries.none_is_in("pg_stat_activity", &sessions);
        issuer.revoke(issued.record.id, "leaked").await.unwrap();
        issuer.delete_organization(acme.id, "over").await.unwrap();
    }
    sleep(Duration::from_millis(300)).await;
    let dump = server.dump();
    assert!(dump.contains("COPY api_keys.audit_events"));
    canaries.none_is_in("the dump", &dump);
    let said = server.log();
    assert!(said.contains("parameters: $1 = ") && said.contains("key_secrets"));
    canaries.none_is_in("the server's log", &said);
    let logged = log.text();
    assert!(
        logged.contains("tokio_postgres") && logged.contains("with parameters"),
        "what the driver logs is not in it"
    );
    canaries.none_is_in("our log", &logged);
}
