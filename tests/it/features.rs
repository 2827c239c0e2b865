//! A restriction that is new, during a rolling upgrade: the program of the version before does not know it and admits nobody.

use std::env;
use std::net::IpAddr;
use std::process::Command;

use tower_api_key::hash::HashPolicy;
use tower_api_key::key::{Actor, KeyRecord, Organization};
use tower_api_key::testing::know_features;
use tower_api_key::{ApiKeys, IssueRequest, PresentedKey, RejectionKind};

use crate::support::stores::Database;

/// Stands for a restriction of the next version: what a key with it refuses is that of its networks.
const NEW: &str = "networks-of-the-next-version";
const DATABASE: &str = "FEATURES_TEST_DATABASE";
const KEY: &str = "FEATURES_TEST_KEY";

async fn open(database: &Database) -> ApiKeys {
    let store = database.open().await;
    ApiKeys::builder(store)
        .hash_policy(HashPolicy::sha256())
        .open()
        .await
        .unwrap()
}

async fn check(keys: &ApiKeys, key: &str, from: &str) -> Option<RejectionKind> {
    let address: IpAddr = from.parse().unwrap();
    let presented = PresentedKey::new(key.as_bytes()).client_address(Some(address));
    let checked = keys.authenticator().check(presented).await;
    checked.err().map(|rejection| rejection.kind())
}

/// Knows the features of the version before.
#[tokio::test]
#[ignore = "run in another process by other tests"]
async fn program_of_the_version_before() {
    let (Ok(address), Ok(key)) = (env::var(DATABASE), env::var(KEY)) else {
        return;
    };
    let keys = open(&Database::at(&address)).await;
    for from in ["192.0.2.7", "198.51.100.1"] {
        let rejection = check(&keys, &key, from).await;
        assert_eq!(rejection, Some(RejectionKind::UnknownFeature), "{from}");
    }
}

fn is_refused_by_the_old_program(database: &Database, key: &str) {
    let old = Command::new(env::current_exe().unwrap())
        .args([
            "--ignored",
            "--exact",
            "features::program_of_the_version_before",
            "--nocapture",
        ])
        .env(DATABASE, database.address())
        .env(KEY, key)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&old.stdout);
    assert!(old.status.success() && said.contains("1 passed"), "{said}");
}

#[tokio::test]
async fn new_restriction_is_enforced_by_the_new_program_and_503_in_the_old() {
    know_features(&NEW.parse().unwrap());
    for database in Database::shared() {
        let keys = open(&database).await;
        let host = keys.issuer().acting_as(Actor::operator("alice"));
        let acme = host.create_organization("acme").await.unwrap();
        let request = IssueRequest::new(acme.id, "orders").networks("192.0.2.0/24".parse().unwrap());
        let issued = host.issue(request).await.unwrap();
        let key = issued.key.expose_secret();
        let require = |record: &mut KeyRecord| record.requires = NEW.parse().unwrap();
        host.update(issued.record.id, require).await.unwrap();
        assert_eq!(check(&keys, key, "192.0.2.7").await, None);
        assert_eq!(
            check(&keys, key, "198.51.100.1").await,
            Some(RejectionKind::NetworkNotAllowed)
        );
        is_refused_by_the_old_program(&database, key);

        // The same of an organization.
        let free = |record: &mut KeyRecord| record.requires = Default::default();
        host.update(issued.record.id, free).await.unwrap();
        let require = |row: &mut Organization| row.requires = NEW.parse().unwrap();
        host.update_organization(acme.id, require).await.unwrap();
        assert_eq!(check(&keys, key, "192.0.2.7").await, None);
        is_refused_by_the_old_program(&database, key);
    }
}
