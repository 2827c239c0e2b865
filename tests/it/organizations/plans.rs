//! Plans, and the limits that they give.

use tower_api_key::OrganizationRequest;
use tower_api_key::key::{Organization, Plan, PlanId};
use tower_api_key::store::query::Plans;

use super::*;
use crate::support::{ask, bearer, field, json, text};

fn team() -> Plan {
    let mut plan = Plan::new("team");
    plan.key_limits = vec!["requests=300/60s".parse().unwrap()];
    plan.limits = vec!["all-requests=1000/60s".parse().unwrap()];
    plan.max_keys = Some(20);
    plan
}

fn limits(context: &AuthContext) -> Vec<String> {
    context.allowance().map(|(limit, _)| limit.to_string()).collect()
}

#[tokio::test]
async fn plans_are_created_changed_renamed_and_deleted() {
    for realm in Realm::each().await {
        let issuer = &realm.issuer;
        let team = issuer.create_plan(team()).await.unwrap();
        assert_eq!(issuer.plan(team.id).await.unwrap().as_ref(), Some(&team));
        let change = |plan: &mut Plan| {
            (plan.name, plan.max_keys) = ("squad".to_owned(), Some(30));
            (plan.id, plan.revision) = (PlanId::new(), 77);
        };
        let squad = issuer.update_plan(team.id, change).await.unwrap();
        assert_eq!((squad.id, squad.revision, squad.max_keys), (team.id, 2, Some(30)));
        assert_eq!(issuer.plan_named("team").await.unwrap(), None);
        assert_eq!(issuer.plan_named("squad").await.unwrap().as_ref(), Some(&squad));
        // What changes nothing is not written.
        assert_eq!(issuer.update_plan(team.id, |_| {}).await.unwrap(), squad);
        let names = issuer.plans(Plans::all()).await.unwrap().items.into_iter();
        let names: Vec<String> = names.map(|plan| plan.name).collect();
        assert_eq!(names, ["enterprise", "free", "pro", "squad"]);
        issuer.delete_plan(team.id).await.unwrap();
        assert_eq!(issuer.plan(team.id).await.unwrap(), None);

        let events = realm.events(system()).await;
        let events: Vec<_> = events
            .iter()
            .filter(|event| event.detail_of("plan") == Some(&team.id.to_string()))
            .collect();
        let actions: Vec<&str> = events.iter().map(|event| event.action.as_str()).collect();
        assert_eq!(actions, ["plan.created", "plan.updated", "plan.deleted"]);
        assert_eq!(events[1].detail_of("changed"), Some("name max_keys"));
        assert_eq!(events[1].detail_of("before.name"), Some("team"));
        assert_eq!(events[1].detail_of("after.max_keys"), Some("30"));
        assert_eq!(events[2].detail_of("before.limits"), Some("all-requests=1000/60s"));
    }
}

#[tokio::test]
async fn bad_field_of_a_plan_is_named_and_nothing_is_written() {
    let plan = |change: fn(&mut Plan)| {
        let mut plan = team();
        change(&mut plan);
        plan
    };
    for realm in Realm::each().await {
        let issuer = &realm.issuer;
        let pro = issuer.plan_named("pro").await.unwrap().unwrap();
        for (bad, field) in [
            (plan(|plan| plan.name = "Team".to_owned()), "name"),
            (plan(|plan| plan.name = String::new()), "name"),
            (plan(|plan| plan.name = "a\n".to_owned()), "name"),
            (plan(|plan| plan.max_keys = Some(0)), "max_keys"),
            (
                plan(|plan| plan.key_limits = vec!["a=1/1s".parse().unwrap(); 2]),
                "key_limits",
            ),
            (
                plan(|plan| plan.limits = vec!["a=1/1s".parse().unwrap(); 2]),
                "rate limit name",
            ),
        ] {
            assert_eq!(problem(issuer.create_plan(bad.clone()).await), invalid(field));
            let change = |plan: &mut Plan| {
                let id = plan.id;
                *plan = bad.clone();
                plan.id = id;
            };
            assert_eq!(problem(issuer.update_plan(pro.id, change).await), invalid(field));
        }
        let taken = about(IssueErrorKind::AlreadyExists, "name");
        assert_eq!(problem(issuer.create_plan(Plan::new("pro")).await), taken);
        let free = issuer.plan_named("free").await.unwrap().unwrap();
        let rename = |plan: &mut Plan| plan.name = "pro".to_owned();
        assert_eq!(problem(issuer.update_plan(free.id, rename).await), taken);
        let missing = about(IssueErrorKind::NotFound, "plan");
        assert_eq!(problem(issuer.update_plan(PlanId::new(), rename).await), missing);
        assert_eq!(problem(issuer.delete_plan(PlanId::new()).await), missing);
        assert_eq!(issuer.plan(pro.id).await.unwrap(), Some(pro));
        assert_eq!(issuer.plans(Plans::all()).await.unwrap().items.len(), 3);
    }
}

#[tokio::test]
async fn plan_in_use_is_not_deleted() {
    for realm in Realm::each().await {
        let issuer = &realm.issuer;
        let team = issuer.create_plan(team()).await.unwrap();
        let acme = issuer
            .create_organization(OrganizationRequest::new("acme").plan(team.id))
            .await
            .unwrap();
        let error = issuer.delete_plan(team.id).await.unwrap_err();
        assert_eq!((error.kind(), error.field()), (IssueErrorKind::InUse, Some("plan")));
        assert_eq!(
            error.to_string(),
            "organizations have the plan; give them another one first"
        );
        let none = |acme: &mut Organization| acme.plan = None;
        issuer.update_organization(acme.id, none).await.unwrap();
        issuer.delete_plan(team.id).await.unwrap();
    }
}

#[tokio::test]
async fn changed_plan_holds_for_all_that_have_it_on_return() {
    for realm in Realm::each().await {
        let issuer = &realm.issuer;
        let team = issuer.create_plan(team()).await.unwrap();
        let mut issued = Vec::new();
        for name in ["one", "two"] {
            let request = OrganizationRequest::new(name).plan(team.id);
            let organization = issuer.create_organization(request).await.unwrap();
            issued.push(realm.issue(organization.id, "key").await);
        }
        for key in &issued {
            let context = realm.check(key).await.unwrap();
            assert_eq!(limits(&context), ["requests=300/60s", "all-requests=1000/60s"]);
        }
        let change = |plan: &mut Plan| {
            plan.key_limits = vec!["requests=9/60s".parse().unwrap()];
            plan.limits = Vec::new();
        };
        issuer.update_plan(team.id, change).await.unwrap();
        for key in &issued {
            assert_eq!(limits(&realm.check(key).await.unwrap()), ["requests=9/60s"]);
        }
        // One of them has its own.
        let own = |one: &mut Organization| one.key_limits = vec!["requests=2/60s".parse().unwrap()];
        issuer
            .update_organization(issued[0].record.organization_id, own)
            .await
            .unwrap();
        assert_eq!(limits(&realm.check(&issued[0]).await.unwrap()), ["requests=2/60s"]);
        assert_eq!(limits(&realm.check(&issued[1]).await.unwrap()), ["requests=9/60s"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn plan_is_deleted_or_given_but_not_both() {
    for realm in Realm::each().await {
        for round in 0..10 {
            let team = realm
                .issuer
                .create_plan(Plan::new(format!("team-{round}")))
                .await
                .unwrap();
            let given: Vec<_> = (0..4)
                .map(|_| {
                    let issuer = realm.issuer.clone();
                    let request = OrganizationRequest::new("acme").plan(team.id);
                    tokio::spawn(async move { issuer.create_organization(request).await })
                })
                .collect();
            let deleted = realm.issuer.delete_plan(team.id).await;
            let mut has_it = 0;
            for given in given {
                match given.await.unwrap() {
                    Ok(_) => has_it += 1,
                    refused => assert_eq!(problem(refused), about(IssueErrorKind::NotFound, "plan")),
                }
            }
            assert_eq!(deleted.is_ok(), has_it == 0);
            assert_eq!(realm.issuer.plan(team.id).await.unwrap().is_some(), has_it > 0);
        }
    }
}

#[tokio::test]
async fn name_in_both_pools_is_reported_once_and_holds_twice() {
    let realm = Realm::in_memory().await;
    let request = OrganizationRequest::new("acme")
        .key_limit("requests=2/60s".parse().unwrap())
        .limit("requests=3/60s".parse().unwrap());
    let acme = realm.issuer.create_organization(request).await.unwrap();
    let (one, two) = (realm.issue(acme.id, "one").await, realm.issue(acme.id, "two").await);
    let layer = realm.keys.layer();
    for (key, policy, left) in [
        (&one, "\"requests\";q=2;w=60", "\"requests\";r=1;"),
        (&one, "\"requests\";q=2;w=60", "\"requests\";r=0;"),
        // Of its own limit, half is left.
        (&two, "\"requests\";q=3;w=60", "\"requests\";r=0;"),
    ] {
        let response = ask(&layer, bearer(&text(key))).await;
        assert_eq!(response.status(), 200);
        assert_eq!(field(&response, "ratelimit-policy"), Some(policy));
        assert!(field(&response, "ratelimit").unwrap().starts_with(left));
        assert_eq!(field(&response, "ratelimit").unwrap().matches("requests").count(), 1);
    }
    // Both limits are exhausted.
    let refused = ask(&layer, bearer(&text(&one))).await;
    assert_eq!(refused.status(), 429);
    assert_eq!(json(&refused)["violated-policies"], serde_json::json!(["requests"]));
    assert_eq!(field(&refused, "ratelimit").unwrap().matches("requests").count(), 1);
}
