//! An older version of the schema, and the keys that its program would admit.

use tower_api_key::key::Organization;

use super::*;

/// The change, before the way down; whether the key is admitted after the way up again.
async fn is_admitted_after(change: impl AsyncFn(&ApiKeys<SqliteStore>, &KeyRecord, &Organization)) -> bool {
    let file = File::new();
    let open = async || {
        let builder = ApiKeys::builder(file.open().await).hash_policy(HashPolicy::sha256());
        builder.open().await.unwrap()
    };
    let keys = open().await;
    let issuer = keys.issuer().acting_as(Actor::service());
    let acme = issuer.create_organization("acme").await.unwrap();
    let request = IssueRequest::new(acme.id, "key").user("alice".parse().unwrap());
    let issued = issuer
        .issue(request.scopes("orders:read".parse().unwrap()))
        .await
        .unwrap();
    change(&keys, &issued.record, &acme).await;
    drop((issuer, keys));
    let down = SqliteStore::builder().downgrade_and_lose_data(&file.path, 3).await;
    down.unwrap();
    let keys = open().await;
    let presented = PresentedKey::new(issued.key.expose_secret().as_bytes());
    keys.authenticator().check(presented).await.is_ok()
}

#[tokio::test]
async fn older_program_admits_no_key_that_this_one_refuses() {
    assert!(is_admitted_after(async |_, _, _| {}).await);
    let disabled = async |keys: &ApiKeys<SqliteStore>, _: &KeyRecord, acme: &Organization| {
        let issuer = keys.issuer().acting_as(Actor::service());
        issuer
            .disable_user(acme.id, &"alice".parse().unwrap(), "left")
            .await
            .unwrap();
    };
    assert!(!is_admitted_after(disabled).await);
    let rows: [fn(&mut KeyRecord); 2] = [
        |key| key.is_canary = true,
        |key| key.requires = "tomorrow".parse().unwrap(),
    ];
    for row in rows {
        let change = async |keys: &ApiKeys<SqliteStore>, key: &KeyRecord, _: &Organization| {
            let mut key = key.clone();
            row(&mut key);
            let issuer = keys.issuer().acting_as(Actor::service());
            issuer.commit(Commit::new().write(Write::UpdateKey(key))).await.unwrap();
        };
        assert!(!is_admitted_after(change).await);
    }
    let policies: [fn(&mut Organization); 4] = [
        |row| row.policy.requires_networks = true,
        |row| row.policy.longest_life = Some(Duration::from_millis(1)),
        |row| row.policy.grantable = Some("invoices:*".parse().unwrap()),
        |row| row.requires = "tomorrow".parse().unwrap(),
    ];
    for policy in policies {
        let change = async |keys: &ApiKeys<SqliteStore>, _: &KeyRecord, acme: &Organization| {
            let issuer = keys.issuer().acting_as(Actor::service());
            issuer.update_organization(acme.id, policy).await.unwrap();
        };
        assert!(!is_admitted_after(change).await);
    }
}

/// All that there is, before the way down and after the way up again.
#[cfg(feature = "testing")]
#[tokio::test]
async fn way_down_and_up_keeps_what_older_versions_have() {
    use crate::shared_database::hand_edits::{hash, make, open, said};
    use crate::support::stores::Database;
    use tower_api_key::AuditAnchors;
    use tower_api_key::testing::ManualClock;

    for version in [3, 2, 1] {
        let file = File::new();
        let database = Database::at(file.path.to_str().unwrap());
        let made = make(&database).await;
        let columns = "SELECT group_concat(quote(id) || quote(organization_id) || quote(user_id) || name || scopes || networks || \
                       metadata || quote(created_at)) FROM (SELECT * FROM api_keys_keys ORDER BY id)";
        let others = "SELECT group_concat(quote(id) || name) FROM (SELECT * FROM api_keys_organizations ORDER BY id)";
        let events = "SELECT group_concat(quote(organization_id) || seq || payload || quote(hash)) FROM (SELECT * FROM api_keys_audit_events \
                      WHERE organization_id <> zeroblob(16) ORDER BY organization_id, seq)";
        let secrets = "SELECT group_concat(lookup || hash || position || quote(expires_at) || quote(grace_ends_at)) FROM \
                       (SELECT * FROM api_keys_key_secrets ORDER BY lookup)";
        let read = || {
            let by_hand = file.by_hand();
            [columns, others, events, secrets]
                .map(|sql| by_hand.query_row(sql, [], |row| row.get::<_, String>(0)).unwrap())
        };
        let before = read();
        let down = SqliteStore::builder()
            .downgrade_and_lose_data(&file.path, version)
            .await;
        down.unwrap_or_else(|error| panic!("{version}: {}", said(&error)));
        let keys = open(&database, &ManualClock::new()).await.unwrap();
        let after = read();
        for (before, after) in before.iter().zip(&after) {
            assert!(before == after, "{version}");
        }
        // What its policy and plan said of it is lost: it opens nothing.
        let refused = keys.authenticator().check(hash(&made.victim)).await;
        assert!(refused.is_err(), "{version}");
        let verified = keys.audit().verify(&AuditAnchors::default()).await.unwrap();
        assert!(verified.entries > 20, "{verified:?}");
        let maintenance = keys.maintenance().run_once().await;
        assert_eq!(maintenance.failed().count(), 0);
    }
}
