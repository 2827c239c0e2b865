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
