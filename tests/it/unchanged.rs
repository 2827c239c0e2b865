//! A change that is for one revision of a row: made to that one, or not at all.

use std::time::Duration;

use tower_api_key::key::{Actor, KeyId, KeyRecord, Organization, Plan, Role};
use tower_api_key::store::DynStore;
use tower_api_key::{Descendants, IfUsed, IssueError, IssueErrorKind, IssueRequest, Issuer, UserRequest};

use crate::house::issuer;
use crate::support::stores::stores;
use crate::users::user_id;

const HOUR: Duration = Duration::from_secs(3600);
const CHANGED: IssueErrorKind = IssueErrorKind::RowChanged;

async fn change_key(issuer: &Issuer<DynStore>, id: KeyId, call: &str) -> Result<(), IssueError> {
    match call {
        "update" => issuer
            .update(id, |record| record.name = "new".to_owned())
            .await
            .map(drop),
        "disable" => issuer.disable(id).await.map(drop),
        "enable" => issuer.enable(id).await.map(drop),
        "rotate" => issuer.rotate(id, Duration::ZERO).await.map(drop),
        "finish" => issuer.finish(id, Duration::ZERO).await.map(drop),
        "take back" => issuer.take_back(id, IfUsed::Override).await.map(drop),
        "revoke" => issuer.revoke(id, "").await.map(drop),
        "revoke all" => issuer
            .revoke_with_descendants(id, Descendants::Revoke, "")
            .await
            .map(drop),
        other => panic!("{other}"),
    }
}

async fn record(issuer: &Issuer<DynStore>, id: KeyId) -> KeyRecord {
    issuer.key(id).await.unwrap().unwrap().record
}

#[tokio::test]
async fn key_is_changed_as_it_was_read_or_not() {
    for (store, _database) in stores().await {
        let issuer = issuer(&store).acting_as(Actor::operator("root"));
        let acme = issuer.create_organization("acme").await.unwrap();
        for call in [
            "update",
            "disable",
            "enable",
            "rotate",
            "finish",
            "take back",
            "revoke",
            "revoke all",
        ] {
            let key = issuer.issue(IssueRequest::new(acme.id, "key")).await.unwrap();
            let id = key.record.id;
            let _ = issuer.rotate(id, HOUR).await.unwrap();
            if call == "enable" {
                issuer.disable(id).await.unwrap();
            }
            let seen = record(&issuer, id).await;
            issuer
                .update(id, |record| record.labels = "ci".parse().unwrap())
                .await
                .unwrap();
            let before = issuer.key(id).await.unwrap().unwrap();
            let refused = change_key(&issuer.if_unchanged(&seen), id, call).await.unwrap_err();
            assert_eq!(refused.kind(), CHANGED, "{call}: {refused}");
            assert_eq!(issuer.key(id).await.unwrap().unwrap(), before, "{call}");
            let held = issuer.if_unchanged(&before);
            change_key(&held, id, call).await.unwrap();
            assert_eq!(record(&issuer, id).await.revision, before.record.revision + 1, "{call}");
        }
    }
}

/// A call that finds its work done is no success either, when somebody else has done it.
#[tokio::test]
async fn what_is_done_already_is_refused_too() {
    for (store, _database) in stores().await {
        let issuer = issuer(&store).acting_as(Actor::operator("root"));
        let acme = issuer.create_organization("acme").await.unwrap();
        for call in ["disable", "revoke", "revoke all"] {
            let key = issuer.issue(IssueRequest::new(acme.id, "key")).await.unwrap().record;
            change_key(&issuer, key.id, call).await.unwrap();
            let refused = change_key(&issuer.if_unchanged(&key), key.id, call).await.unwrap_err();
            assert_eq!(refused.kind(), CHANGED, "{call}: {refused}");
            // The same, of the row as it is now.
            let now = record(&issuer, key.id).await;
            change_key(&issuer.if_unchanged(&now), key.id, call).await.unwrap();
        }
    }
}

#[tokio::test]
async fn other_rows_are_changed_and_deleted_as_they_were_read() {
    for (store, _database) in stores().await {
        let issuer = issuer(&store).acting_as(Actor::operator("root"));
        let acme = issuer.create_organization("acme").await.unwrap();
        let plan = issuer.create_plan(Plan::new("team")).await.unwrap();
        let role = Role::new("clerk", "orders:read".parse().unwrap());
        let role = issuer.create_role(role).await.unwrap();
        let alice = user_id("alice");
        let user = issuer
            .create_user(UserRequest::new(acme.id, alice.clone()))
            .await
            .unwrap();

        let plan_now = issuer
            .update_plan(plan.id, |plan| plan.max_keys = Some(9))
            .await
            .unwrap();
        let role_now = issuer
            .update_role("clerk", |role| role.description = "new".to_owned())
            .await
            .unwrap();
        let user_now = issuer
            .update_user(acme.id, &alice, |user| user.name = Some("Alice".to_owned()))
            .await
            .unwrap();
        let rename = |row: &mut Organization| row.name = "Acme".to_owned();
        let acme_now = issuer.update_organization(acme.id, rename).await.unwrap();

        let refused = [
            issuer.if_unchanged(&plan).update_plan(plan.id, |_| {}).await.map(drop),
            issuer.if_unchanged(&plan).delete_plan(plan.id).await,
            issuer.if_unchanged(&role).update_role("clerk", |_| {}).await.map(drop),
            issuer.if_unchanged(&role).delete_role("clerk").await,
            issuer
                .if_unchanged(&user)
                .update_user(acme.id, &alice, |_| {})
                .await
                .map(drop),
            issuer
                .if_unchanged(&user)
                .disable_user(acme.id, &alice, "")
                .await
                .map(drop),
            issuer.if_unchanged(&user).enable_user(acme.id, &alice).await.map(drop),
            issuer.if_unchanged(&user).delete_user(acme.id, &alice).await,
            issuer
                .if_unchanged(&acme)
                .update_organization(acme.id, |_| {})
                .await
                .map(drop),
            issuer
                .if_unchanged(&acme)
                .activate_organization(acme.id)
                .await
                .map(drop),
            issuer
                .if_unchanged(&acme)
                .deactivate_organization(acme.id, "")
                .await
                .map(drop),
            issuer
                .if_unchanged(&acme)
                .delete_organization(acme.id, "")
                .await
                .map(drop),
        ];
        for (number, refused) in refused.into_iter().enumerate() {
            assert_eq!(refused.unwrap_err().kind(), CHANGED, "call {number}");
        }

        issuer.if_unchanged(&plan_now).delete_plan(plan.id).await.unwrap();
        issuer.if_unchanged(&role_now).delete_role("clerk").await.unwrap();
        issuer
            .if_unchanged(&user_now)
            .delete_user(acme.id, &alice)
            .await
            .unwrap();
        let deleted = issuer.if_unchanged(&acme_now).delete_organization(acme.id, "").await;
        assert_eq!(deleted.unwrap().organization.name, "Acme");

        // A row that is gone is none that is unchanged, and is not made again.
        let gone = issuer.if_unchanged(&user_now).disable_user(acme.id, &alice, "").await;
        assert_eq!(gone.unwrap_err().kind(), CHANGED);
    }
}
