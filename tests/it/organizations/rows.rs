//! Organizations: what they are made of, and how they change.

use tower_api_key::key::{LimitNames, Metadata, Organization, OrganizationId, OrganizationStatus, PlanId, Policy};
use tower_api_key::store::query::Organizations;
use tower_api_key::store::{Commit, ManagedStore, Write};
use tower_api_key::{IssueErrorKind, OrganizationRequest};

use super::*;

fn whole() -> OrganizationRequest {
    let mut metadata = Metadata::default();
    metadata.set("crm", "4711").unwrap();
    let mut policy = Policy::default();
    policy.longest_life = Some(90 * DAY);
    policy.grantable = Some("orders:*".parse().unwrap());
    OrganizationRequest::new("Acme Inc.")
        .slug("acme")
        .email("Billing@Acme.example")
        .plan_named("pro")
        .limit("all=100/60s".parse().unwrap())
        .lifted_limits("burst".parse().unwrap())
        .key_limit("writes=10/60s".parse().unwrap())
        .lifted_key_limits("requests".parse().unwrap())
        .max_keys(7)
        .policy(policy)
        .metadata(metadata)
}

#[tokio::test]
async fn everything_of_a_request_is_stored_and_found() {
    for realm in Realm::each().await {
        let issuer = &realm.issuer;
        let acme = issuer.create_organization(whole()).await.unwrap();
        assert_eq!(issuer.organization(acme.id).await.unwrap().as_ref(), Some(&acme));
        assert_eq!(issuer.organization_by_slug("acme").await.unwrap().as_ref(), Some(&acme));
        for address in ["Billing@Acme.example", "billing@acme.EXAMPLE"] {
            let found = issuer.organization_by_email(address).await.unwrap();
            assert_eq!(found.as_ref(), Some(&acme));
        }
        let pro = issuer.plan_named("pro").await.unwrap().unwrap();
        assert_eq!(acme.plan, Some(pro.id));
        assert_eq!(acme.email.as_deref(), Some("Billing@Acme.example"));
        assert_eq!((acme.limits.len(), acme.key_limits.len()), (1, 1));
        assert!(acme.lifted_limits.contains("burst") && acme.lifted_key_limits.contains("requests"));
        assert_eq!((acme.max_keys, acme.policy.longest_life), (Some(7), Some(90 * DAY)));
        assert_eq!(acme.metadata.get("crm"), Some("4711"));
        assert_eq!(acme.created_at, realm.hand.clock().wall());
        // The same request makes another one.
        let again = whole().slug("acme-2").email("second@acme.example");
        assert_ne!(issuer.create_organization(again).await.unwrap().id, acme.id);
    }
}

#[tokio::test]
async fn slugs_have_up_to_64_bytes_and_hyphens_anywhere() {
    let realm = Realm::in_memory().await;
    for slug in ["-", "a-", "-a", "--", &"x".repeat(64)] {
        let request = OrganizationRequest::new("acme").slug(slug);
        let made = realm.issuer.create_organization(request).await.unwrap();
        assert_eq!(made.slug, slug);
    }
    let request = OrganizationRequest::new("acme").slug("x".repeat(65));
    assert_eq!(
        problem(realm.issuer.create_organization(request).await),
        invalid("slug")
    );
}

#[tokio::test]
async fn bad_field_is_named_and_nothing_is_written() {
    let no_life = |set: fn(&mut Policy)| {
        let mut policy = Policy::default();
        set(&mut policy);
        OrganizationRequest::new("x").policy(policy)
    };
    let many = (0..17).fold(OrganizationRequest::new("x"), |request, number| {
        request.key_limit(format!("limit-{number}=1/1s").parse().unwrap())
    });
    let twice = OrganizationRequest::new("x")
        .key_limit("a=1/1s".parse().unwrap())
        .key_limit("a=2/1s".parse().unwrap());
    let mut large = Metadata::default();
    for number in 0..17 {
        large.set(&format!("{number}"), &"x".repeat(1000)).unwrap();
    }
    let bad = [
        (OrganizationRequest::new("x").metadata(large.clone()), "metadata"),
        (OrganizationRequest::new(""), "name"),
        (OrganizationRequest::new("a\nb"), "name"),
        (OrganizationRequest::new("x").slug("A"), "slug"),
        (OrganizationRequest::new("x").email("nobody"), "email"),
        (OrganizationRequest::new("x").email("a@b\n"), "email"),
        (OrganizationRequest::new("x").max_keys(0), "max_keys"),
        (many, "key_limits"),
        (twice, "key_limits"),
        (
            no_life(|policy| policy.longest_life = Some(Duration::ZERO)),
            "longest_life",
        ),
        (
            no_life(|policy| policy.longest_life = Some(Duration::MAX)),
            "longest_life",
        ),
        (
            no_life(|policy| policy.default_life = Some(Duration::ZERO)),
            "default_life",
        ),
        (
            no_life(|policy| (policy.longest_life, policy.default_life) = (Some(DAY), Some(2 * DAY))),
            "default_life",
        ),
    ];
    for realm in Realm::each().await {
        let acme = realm.issuer.create_organization("acme").await.unwrap();
        for (request, field) in bad.clone() {
            let refused = realm.issuer.create_organization(request).await;
            assert_eq!(problem(refused), invalid(field));
        }
        type Change = fn(&mut Organization);
        let changes: [(Change, &str); 6] = [
            (|acme| acme.name = "a\tb".to_owned(), "name"),
            (|acme| acme.slug = String::new(), "slug"),
            (|acme| acme.email = Some("@b".to_owned()), "email"),
            (|acme| acme.max_keys = Some(0), "max_keys"),
            (
                |acme| acme.key_limits = vec!["a=1/1s".parse().unwrap(); 2],
                "key_limits",
            ),
            (|acme| acme.policy.longest_life = Some(Duration::ZERO), "longest_life"),
        ];
        for (change, field) in changes {
            let refused = realm.issuer.update_organization(acme.id, change).await;
            assert_eq!(problem(refused), invalid(field));
        }
        let all = realm.issuer.organizations(Organizations::all()).await.unwrap();
        assert_eq!(all.items, std::slice::from_ref(&acme));
        assert_eq!(realm.events(acme.id).await.len(), 1);
    }
}

#[tokio::test]
async fn taken_field_and_missing_plan_are_named() {
    for realm in Realm::each().await {
        let issuer = &realm.issuer;
        issuer.create_organization(whole()).await.unwrap();
        let other = issuer.create_organization("other").await.unwrap();
        let taken = |field| about(IssueErrorKind::AlreadyExists, field);
        let missing = |field| about(IssueErrorKind::NotFound, field);

        let slug = issuer
            .create_organization(OrganizationRequest::new("x").slug("acme"))
            .await;
        assert_eq!(
            slug.as_ref().unwrap_err().to_string(),
            "the slug is taken by another organization"
        );
        assert_eq!(problem(slug), taken("slug"));
        // With and without a slug of its own.
        let email = OrganizationRequest::new("x").email("BILLING@acme.example");
        for request in [email.clone(), email.slug("free")] {
            let refused = issuer.create_organization(request.clone()).await;
            assert_eq!(problem(refused), taken("email"));
            assert_eq!(problem(issuer.ensure(request, "key").await), taken("email"));
        }
        for request in [
            OrganizationRequest::new("x").plan_named("gold"),
            OrganizationRequest::new("x").plan(PlanId::new()),
        ] {
            assert_eq!(problem(issuer.create_organization(request).await), missing("plan"));
        }
        let rename = issuer.update_organization(other.id, |other| other.slug = "acme".to_owned());
        assert_eq!(problem(rename.await), taken("slug"));
        let address = |other: &mut Organization| other.email = Some("billing@ACME.example".to_owned());
        assert_eq!(
            problem(issuer.update_organization(other.id, address).await),
            taken("email")
        );
        let plan = PlanId::new();
        let plan = issuer.update_organization(other.id, |other| other.plan = Some(plan));
        assert_eq!(problem(plan.await), missing("plan"));
        let own = |organization: &mut Organization| organization.is_operator = true;
        let acme = issuer.organization_by_slug("acme").await.unwrap().unwrap();
        issuer.update_organization(acme.id, own).await.unwrap();
        assert_eq!(
            problem(issuer.update_organization(other.id, own).await),
            taken("is_operator")
        );
        let nobody = issuer.update_organization(OrganizationId::new(), |other| other.name = "x".to_owned());
        assert_eq!(problem(nobody.await), missing("organization"));
        assert_eq!(issuer.organization(other.id).await.unwrap(), Some(other));
    }
}

#[tokio::test]
async fn each_changed_field_is_in_the_event() {
    type Change = fn(&mut Organization);
    let changes: [(Change, &str); 15] = [
        (|acme| acme.slug = "renamed".to_owned(), "slug"),
        (|acme| acme.name = "Renamed".to_owned(), "name"),
        (|acme| acme.status = OrganizationStatus::Inactive, "status"),
        (|acme| acme.email = Some("a@b".to_owned()), "email"),
        (|acme| acme.plan = None, "plan"),
        (|acme| acme.limits = Vec::new(), "limits"),
        (|acme| acme.lifted_limits = LimitNames::default(), "lifted_limits"),
        (|acme| acme.key_limits = Vec::new(), "key_limits"),
        (
            |acme| acme.lifted_key_limits = LimitNames::default(),
            "lifted_key_limits",
        ),
        (|acme| acme.max_keys = None, "max_keys"),
        (|acme| acme.policy = Policy::default(), "policy"),
        (|acme| acme.metadata = Metadata::default(), "metadata"),
        (|acme| acme.is_operator = true, "is_operator"),
        (|acme| acme.is_operator = false, "is_operator"),
        (|acme| acme.requires = "of-tomorrow".parse().unwrap(), "requires"),
    ];
    for realm in Realm::each().await {
        let acme = realm.issuer.create_organization(whole()).await.unwrap();
        for (change, field) in changes {
            realm.issuer.update_organization(acme.id, change).await.unwrap();
            let event = realm.events(acme.id).await.pop().unwrap();
            assert_eq!(event.action.as_str(), "organization.updated");
            assert_eq!(event.detail_of("changed"), Some(field));
            let name = format!("before.{field}");
            let before = event.detail_of(&name).or(event.personal.get(&name));
            assert!(before.is_some(), "{field}");
        }
        let created = realm.events(acme.id).await.remove(0);
        assert_eq!(
            created.detail_of("after.policy"),
            Some("longest_life=7776000000ms; grantable=orders:*")
        );
        assert_eq!(created.personal.get("after.email"), Some("Billing@Acme.example"));
        assert_eq!(created.detail_of("after.email"), None);
    }
}

#[tokio::test]
async fn identity_of_an_organization_stays() {
    for realm in Realm::each().await {
        let acme = Organization::new("acme");
        let commit = Commit::new().write(Write::InsertOrganization(acme.clone()));
        realm.store.commit(commit).await.unwrap();
        let change = |row: &mut Organization| {
            let new = Organization::new("renamed");
            (row.id, row.created_at, row.revision) = (new.id, new.created_at, 77);
            row.name = new.name;
        };
        let renamed = realm.issuer.update_organization(acme.id, change).await.unwrap();
        let mut expected = acme;
        (expected.name, expected.revision) = ("renamed".to_owned(), 2);
        assert_eq!(renamed, expected);
        assert_eq!(realm.issuer.organization(expected.id).await.unwrap(), Some(expected));
    }
}

#[tokio::test]
async fn deactivated_organization_stops_all_its_keys_on_return() {
    for realm in Realm::each().await {
        let acme = realm.issuer.create_organization("acme").await.unwrap();
        let issued = [realm.issue(acme.id, "one").await, realm.issue(acme.id, "two").await];
        for key in &issued {
            realm.check(key).await.unwrap();
        }
        for revision in [2, 2] {
            let stopped = realm.issuer.deactivate_organization(acme.id, "unpaid").await.unwrap();
            assert_eq!(
                (stopped.status, stopped.revision),
                (OrganizationStatus::Inactive, revision)
            );
            for key in &issued {
                assert!(realm.check(key).await.is_err());
            }
        }
        realm.issuer.disable(issued[1].record.id).await.unwrap();
        realm.issuer.activate_organization(acme.id).await.unwrap();
        realm.check(&issued[0]).await.unwrap();
        assert!(realm.check(&issued[1]).await.is_err());

        let events = realm.events(acme.id).await;
        let of = |action: &str| {
            let mut events = events.iter().filter(move |event| event.action.as_str() == action);
            (events.next().cloned().unwrap(), events.next().is_none())
        };
        let (stopped, is_only_one) = of("organization.deactivated");
        assert!(is_only_one);
        assert_eq!(stopped.detail_of("reason"), Some("unpaid"));
        assert_eq!(stopped.detail_of("after.status"), Some("inactive"));
        assert!(of("organization.activated").1);
        let nobody = realm.issuer.deactivate_organization(OrganizationId::new(), "").await;
        assert_eq!(problem(nobody), about(IssueErrorKind::NotFound, "organization"));
    }
}

#[tokio::test]
async fn organizations_are_listed_searched_and_counted() {
    for realm in Realm::each().await {
        let issuer = &realm.issuer;
        for name in ["Acme", "Acme Labs", "Beta", "Gamma"] {
            let request = OrganizationRequest::new(name).plan_named(if name == "Beta" { "free" } else { "pro" });
            issuer.create_organization(request).await.unwrap();
        }
        let gamma = issuer.organization_by_slug("gamma").await.unwrap().unwrap();
        issuer.deactivate_organization(gamma.id, "").await.unwrap();
        let pro = issuer.plan_named("pro").await.unwrap().unwrap();
        let active = OrganizationStatus::Active;
        for (list, names) in [
            (Organizations::all(), vec!["Acme", "Acme Labs", "Beta", "Gamma"]),
            (Organizations::all().status(active), vec!["Acme", "Acme Labs", "Beta"]),
            (Organizations::all().name_starts_with("ACME"), vec!["Acme", "Acme Labs"]),
            (Organizations::all().plan(pro.id), vec!["Acme", "Acme Labs", "Gamma"]),
            (
                Organizations::all().plan(pro.id).status(active),
                vec!["Acme", "Acme Labs"],
            ),
        ] {
            let count = issuer.count_organizations(list.clone().page(1)).await.unwrap();
            assert_eq!((count.number, count.is_exact), (names.len() as u64, true));
            let mut found = Vec::new();
            let mut page = issuer.organizations(list.clone().page(1)).await.unwrap();
            loop {
                found.extend(page.items.into_iter().map(|row| row.name));
                let Some(next) = page.next else { break };
                page = issuer.organizations(list.clone().page(1).after(next)).await.unwrap();
            }
            assert_eq!(found, names);
            let second = issuer
                .organizations(list.clone().page(1).offset(1).unwrap())
                .await
                .unwrap();
            assert_eq!(second.items[0].name, names[1]);
        }
        let page = issuer.organizations(Organizations::all().page(1)).await.unwrap();
        let foreign = Organizations::all().plan(pro.id).after(page.next.unwrap());
        assert_eq!(problem(issuer.organizations(foreign).await), invalid("page"));
    }
}

#[tokio::test]
async fn own_number_of_keys_comes_before_that_of_the_plan() {
    for realm in Realm::each().await {
        let issuer = &realm.issuer;
        let acme = issuer
            .create_organization(OrganizationRequest::new("acme").plan_named("free"))
            .await
            .unwrap();
        assert_eq!(issuer.max_keys(acme.id).await.unwrap(), Some(5));
        issuer
            .update_organization(acme.id, |acme| acme.max_keys = Some(2))
            .await
            .unwrap();
        assert_eq!(issuer.max_keys(acme.id).await.unwrap(), Some(2));

        let first = realm.issue(acme.id, "first").await;
        let second = IssueRequest::new(acme.id, "second").expires_in(DAY);
        let _ = issuer.issue(second).await.unwrap();
        assert!(!issuer.may_create_key(acme.id).await.unwrap());
        assert_eq!(issuer.count_active_keys(acme.id).await.unwrap().number, 2);
        // A disabled key counts for the maximum, a revoked one does not; one that has expired works no more.
        issuer.disable(first.record.id).await.unwrap();
        assert!(!issuer.may_create_key(acme.id).await.unwrap());
        assert_eq!(issuer.count_active_keys(acme.id).await.unwrap().number, 1);
        issuer.revoke(first.record.id, "").await.unwrap();
        assert!(issuer.may_create_key(acme.id).await.unwrap());
        realm.hand.advance(DAY);
        assert_eq!(issuer.count_active_keys(acme.id).await.unwrap().number, 0);

        issuer
            .update_organization(acme.id, |acme| (acme.max_keys, acme.plan) = (None, None))
            .await
            .unwrap();
        assert_eq!(issuer.max_keys(acme.id).await.unwrap(), None);
        assert!(issuer.may_create_key(acme.id).await.unwrap());
        let nobody = issuer.may_create_key(OrganizationId::new()).await;
        assert_eq!(problem(nobody), about(IssueErrorKind::NotFound, "organization"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_with_one_address_one_is_created() {
    for realm in Realm::each().await {
        let made: Vec<_> = (0..20)
            .map(|number| {
                let issuer = realm.issuer.clone();
                let request = OrganizationRequest::new(format!("acme {number}")).email("A@b.example");
                tokio::spawn(async move { issuer.create_organization(request).await })
            })
            .collect();
        let mut created = 0;
        for made in made {
            match made.await.unwrap() {
                Ok(_) => created += 1,
                refused => assert_eq!(problem(refused), about(IssueErrorKind::AlreadyExists, "email")),
            }
        }
        assert_eq!(created, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn deactivation_wins_against_many_other_changes() {
    for realm in Realm::each().await {
        let acme = realm.issuer.create_organization("acme").await.unwrap();
        let issued = realm.issue(acme.id, "key").await;
        let changes: Vec<_> = (0..8)
            .map(|number| {
                let issuer = realm.issuer.clone();
                tokio::spawn(async move {
                    for round in 0..10 {
                        let name = format!("acme {number} {round}");
                        let renamed = issuer
                            .update_organization(acme.id, |acme| acme.name.clone_from(&name))
                            .await;
                        // Of many writers of one row some give up.
                        drop(renamed);
                    }
                })
            })
            .collect();
        realm.issuer.deactivate_organization(acme.id, "").await.unwrap();
        assert!(realm.check(&issued).await.is_err());
        for change in changes {
            change.await.unwrap();
        }
        let stored = realm.issuer.organization(acme.id).await.unwrap().unwrap();
        assert_eq!(stored.status, OrganizationStatus::Inactive);
        assert!(realm.check(&issued).await.is_err());
    }
}
