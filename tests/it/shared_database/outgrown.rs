//! A program that runs on while another one brings the database to a version that needs a newer program.

use std::time::{Duration, Instant};

use tower_api_key::hash::HashPolicy;
use tower_api_key::key::Actor;
use tower_api_key::{ApiKeys, IssueErrorKind, IssueRequest, PresentedKey, RejectionKind};

use super::{Database, chain};
use crate::support::stores::BOUND;

#[tokio::test]
async fn program_that_became_too_old_admits_nobody_and_changes_nothing() {
    for database in Database::shared() {
        let keys = ApiKeys::builder(database.open().await).hash_policy(HashPolicy::sha256());
        let keys = keys.open().await.unwrap();
        let host = keys.issuer().acting_as(Actor::operator("alice"));
        let acme = host.create_organization("acme").await.unwrap();
        let issued = host.issue(IssueRequest::new(acme.id, "orders")).await.unwrap();
        let check = async || {
            let presented = PresentedKey::new(issued.key.expose_secret().as_bytes());
            let checked = keys.authenticator().check(presented).await;
            checked.err().map(|rejection| rejection.kind())
        };
        let until = async |answer: Option<RejectionKind>| {
            let begun = Instant::now();
            while check().await != answer {
                assert!(begun.elapsed() < BOUND + Duration::from_secs(4), "{:?}", check().await);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        assert_eq!(check().await, None);

        let ledger =
            |program: u32| format!("UPDATE api_keys_schema_migrations SET min_program = {program} WHERE version = 1");
        database.by_hand(&ledger(1000), &[]).await;
        until(Some(RejectionKind::StoreUnavailable)).await;
        let revoked = host.revoke(issued.record.id, "leaked").await.unwrap_err();
        assert_eq!(revoked.kind(), IssueErrorKind::StoreUnavailable);
        assert!(chain(&revoked).contains("needs a newer version"), "{revoked:?}");
        assert_eq!(check().await, Some(RejectionKind::StoreUnavailable));

        database.by_hand(&ledger(1), &[]).await;
        until(None).await;
        host.revoke(issued.record.id, "leaked").await.unwrap();
    }
}
