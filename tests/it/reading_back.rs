//! Programs that kept no ids: slugs, reading back, and a first key that is made once.

use std::time::Duration;

use tower_api_key::hash::HashPolicy;
use tower_api_key::key::{Actor, KeyFormat, KeyId, KeyRecord, KeyStatus, OrganizationId};
use tower_api_key::store::query::{Keys, Organizations};
use tower_api_key::store::{ManagedStore, MemoryStore, StoreErrorKind, StoreExt};
use tower_api_key::testing::{Fault, FaultStore};
use tower_api_key::{ApiKeys, IssueErrorKind, IssueRequest, Issuer, OrganizationRequest};

use crate::house::*;
use crate::support::stores::Database;

const MINUTE: Duration = Duration::from_secs(60);

fn handle<S: ManagedStore + Clone>(store: S) -> ApiKeys<S> {
    ApiKeys::builder(store).hash_policy(HashPolicy::sha256()).checking()
}

fn acting_on<S: ManagedStore + Clone>(store: &S) -> Issuer<S> {
    handle(store.clone()).issuer().acting_as(Actor::service())
}

#[tokio::test]
async fn slugs_are_made_from_names_and_numbered() {
    let store = MemoryStore::new();
    let issuer = acting_on(&store);
    let mut slugs = Vec::new();
    for name in ["Acme Inc.", "acme inc", "ACME, Inc!", "鍵", "🔑", "Acme Inc. 2"] {
        slugs.push(issuer.create_organization(name).await.unwrap().slug);
    }
    let expected = [
        "acme-inc",
        "acme-inc-2",
        "acme-inc-3",
        "organization",
        "organization-2",
        "acme-inc-2-2",
    ];
    assert_eq!(slugs, expected);
    let longest = issuer.create_organization("x".repeat(255)).await.unwrap().slug;
    let second = issuer.create_organization("x".repeat(255)).await.unwrap().slug;
    assert_eq!((longest.len(), &second[61..]), (64, "x-2"));
}

#[tokio::test]
async fn hundredth_organization_of_a_name_costs_few_reads() {
    let store = FaultStore::new(MemoryStore::new());
    let issuer = acting_on(&store);
    for number in 1..=100 {
        let slug = issuer.create_organization("acme").await.unwrap().slug;
        let expected = if number == 1 {
            "acme".to_owned()
        } else {
            format!("acme-{number}")
        };
        assert_eq!(slug, expected);
    }
    let before = store.faults().manages();
    issuer.create_organization("acme").await.unwrap();
    assert!(store.faults().manages() - before < 20);
}

#[tokio::test]
async fn organizations_of_one_name_at_once_get_slugs_of_their_own() {
    let store = MemoryStore::new();
    let created: Vec<_> = (0..4)
        .map(|_| {
            let issuer = acting_on(&store);
            tokio::spawn(async move { issuer.create_organization("acme").await.unwrap().slug })
        })
        .collect();
    let mut slugs = Vec::new();
    for created in created {
        slugs.push(created.await.unwrap());
    }
    slugs.sort();
    assert_eq!(slugs, ["acme", "acme-2", "acme-3", "acme-4"]);
}

#[tokio::test]
async fn given_slug_is_kept_or_refused() {
    let store = MemoryStore::new();
    let issuer = acting_on(&store);
    let request = || OrganizationRequest::new("Acme Inc.").slug("acme");
    let acme = issuer.create_organization(request()).await.unwrap();
    assert_eq!(acme.slug, "acme");
    let taken = issuer.create_organization(request()).await.unwrap_err();
    assert_eq!(taken.kind(), IssueErrorKind::AlreadyExists);
    let other = issuer.create_organization("other").await.unwrap();
    let rename = |slug: &'static str| issuer.update_organization(other.id, move |other| other.slug = slug.to_owned());
    assert_eq!(rename("acme").await.unwrap_err().kind(), IssueErrorKind::AlreadyExists);
    for bad in ["", "Acme", "a b", "a/b"] {
        let created = issuer
            .create_organization(OrganizationRequest::new("a").slug(bad))
            .await;
        for refused in [created.map(drop).unwrap_err(), rename(bad).await.map(drop).unwrap_err()] {
            assert_eq!(
                (refused.kind(), refused.field()),
                (IssueErrorKind::InvalidRequest, Some("slug"))
            );
            assert!(refused.to_string().contains("1 to 64 bytes"), "{refused}");
        }
    }
    assert_eq!(rename("renamed").await.unwrap().slug, "renamed");
    assert_eq!(issuer.organization_by_slug("other").await.unwrap(), None);
    // And free again.
    issuer
        .create_organization(OrganizationRequest::new("a").slug("other"))
        .await
        .unwrap();
}

#[tokio::test]
async fn program_that_kept_no_ids_lists_and_revokes() {
    let store = MemoryStore::new();
    {
        let issuer = acting_on(&store);
        let acme = issuer.create_organization("acme").await.unwrap();
        issuer.create_organization("other").await.unwrap();
        for number in 0..25 {
            let _key = issuer
                .issue(IssueRequest::new(acme.id, format!("key {number}")))
                .await
                .unwrap();
        }
    }
    // After a restart.
    let keys = handle(store.clone());
    let reader = keys.issuer();
    let acme = reader.organization_by_slug("acme").await.unwrap().unwrap();
    assert_eq!(reader.organization(acme.id).await.unwrap(), Some(acme.clone()));
    assert_eq!(reader.organizations(Organizations::all()).await.unwrap().items.len(), 2);
    let first = reader.keys(acme.id).await.unwrap();
    assert_eq!(first.items.len(), 25);
    let mut seen = Vec::new();
    let query = Keys::of(acme.id).page(10);
    let mut page = reader.keys(query.clone()).await.unwrap();
    loop {
        seen.extend(page.items.into_iter().map(|stored| stored.record.id));
        let Some(next) = page.next else { break };
        page = reader.keys(query.clone().after(next)).await.unwrap();
    }
    assert_eq!(seen.len(), 25);
    let issuer = reader.acting_as(Actor::operator("root"));
    for id in seen {
        issuer.revoke(id, "the end").await.unwrap();
        let stored = reader.key(id).await.unwrap().unwrap();
        assert_eq!(stored.record.status, KeyStatus::Revoked);
        assert_eq!(stored.secrets.len(), 1);
    }
    let active = reader.keys(Keys::of(acme.id).status(KeyStatus::Active)).await.unwrap();
    assert!(active.items.is_empty());
}

#[tokio::test]
async fn what_is_not_there_is_none() {
    let reader = handle(MemoryStore::new()).issuer();
    assert_eq!(reader.key(KeyId::new()).await.unwrap(), None);
    assert_eq!(reader.organization(OrganizationId::new()).await.unwrap(), None);
    for slug in ["acme", "", "Not a slug"] {
        assert_eq!(reader.organization_by_slug(slug).await.unwrap(), None);
    }
    let page = reader.keys(OrganizationId::new()).await.unwrap();
    assert!(page.items.is_empty() && page.next.is_none());
}

#[tokio::test]
async fn cursor_of_another_list_is_named() {
    let store = MemoryStore::new();
    let issuer = acting_on(&store);
    let acme = issuer.create_organization("acme").await.unwrap();
    for _ in 0..2 {
        let _key = issuer.issue(IssueRequest::new(acme.id, "key")).await.unwrap();
    }
    let cursor = issuer.keys(Keys::of(acme.id).page(1)).await.unwrap().next.unwrap();
    let refused = issuer.keys(Keys::all().after(cursor)).await.unwrap_err();
    assert_eq!(
        (refused.kind(), refused.field()),
        (IssueErrorKind::InvalidRequest, Some("page"))
    );
}

/// Cursors outlive their process, and nobody can make one.
#[tokio::test]
async fn cursor_is_that_of_every_handle_over_the_store() {
    let store = MemoryStore::new();
    let issuer = acting_on(&store);
    for name in ["one", "two", "three"] {
        let _made = issuer.ensure("acme", name).await.unwrap();
        issuer.create_organization(name).await.unwrap();
    }
    let query = || Keys::all().page(2);
    let of_issuer = issuer.keys(query()).await.unwrap().next.unwrap();
    let of_handle = handle(store.clone()).read(query()).await.unwrap().next.unwrap();
    for cursor in [&of_issuer, &of_handle] {
        let restarted = handle(store.clone());
        let read = restarted.read(query().after(cursor.clone())).await.unwrap();
        let listed = restarted.issuer().keys(query().after(cursor.clone())).await.unwrap();
        assert_eq!((read.items.len(), &read.items), (1, &listed.items));
    }
    let forged = store.get(query()).await.unwrap().next.unwrap();
    assert_eq!(
        issuer.keys(query().after(forged)).await.unwrap_err().field(),
        Some("page")
    );
    let forged = store.get(Organizations::all().page(2)).await.unwrap().next.unwrap();
    let refused = issuer.organizations(Organizations::all().page(2).after(forged)).await;
    assert_eq!(refused.unwrap_err().field(), Some("page"));
}

#[tokio::test]
async fn first_key_is_made_once() {
    let keys = handle(MemoryStore::new());
    let first = keys.ensure("Acme Inc.", "my first key").await.unwrap();
    assert_eq!(
        (&*first.organization.slug, &*first.record.name),
        ("acme-inc", "my first key")
    );
    let text = first.key.unwrap();
    assert!(text.expose_secret().starts_with("key_test_"));
    check(&keys.authenticator(), text.expose_secret()).await.unwrap();
    for _ in 0..3 {
        let again = keys.ensure("Acme Inc.", "my first key").await.unwrap();
        assert!(again.key.is_none());
        assert_eq!(
            (again.record, again.organization),
            (first.record.clone(), first.organization.clone())
        );
    }
    // Another name is another key, of the same organization.
    let second = keys.ensure("Acme Inc.", "my first").await.unwrap();
    assert!(second.key.is_some());
    assert_eq!(second.organization.id, first.organization.id);
    assert_eq!(keys.issuer().keys(first.organization.id).await.unwrap().items.len(), 2);
    let upper = keys.ensure("ACME INC.", "MY FIRST KEY").await.unwrap();
    assert!(upper.key.is_some(), "names of keys differ by letter case");
    assert_eq!(upper.organization.id, first.organization.id);
}

/// The key would be that of another tenant.
#[tokio::test]
async fn other_name_with_the_slug_of_an_organization_is_refused() {
    let keys = handle(MemoryStore::new());
    for (first, second) in [("C++", "C#"), ("Acme", "Acme!"), ("鍵", "🔑"), ("東京1", "大阪1")] {
        let owner = keys.ensure(first, "key").await.unwrap().organization;
        for name in ["key", "another key"] {
            let refused = keys.ensure(second, name).await.unwrap_err();
            assert_eq!(refused.kind(), IssueErrorKind::AlreadyExists, "{second}");
        }
        // With a slug of its own it is another organization, and with that of the first it is the first.
        let own = OrganizationRequest::new(second).slug(format!("own-{}", owner.slug));
        let own = keys.ensure(own, "key").await.unwrap();
        assert!(own.key.is_some() && own.organization.name == second);
        let given = OrganizationRequest::new(second).slug(&*owner.slug);
        let found = keys.ensure(given, "key").await.unwrap();
        assert_eq!((found.key.is_none(), &found.organization), (true, &owner));
        assert_eq!(keys.issuer().keys(owner.id).await.unwrap().items.len(), 1);
    }
    let refused = keys.ensure(OrganizationRequest::new("a").slug("A"), "key").await;
    assert_eq!(refused.unwrap_err().field(), Some("slug"));
}

#[tokio::test]
async fn first_key_has_the_first_environment_where_test_is_missing() {
    for (format, start) in [
        (
            KeyFormat::builder("acme")
                .environments(["prod", "dev"])
                .build()
                .unwrap(),
            "acme_prod_",
        ),
        (
            KeyFormat::builder("acme").without_environments().build().unwrap(),
            "acme_",
        ),
    ] {
        let keys = ApiKeys::builder(MemoryStore::new())
            .formats(format)
            .hash_policy(HashPolicy::sha256())
            .checking();
        let first = keys.ensure("acme", "key").await.unwrap().key.unwrap();
        assert!(first.expose_secret().starts_with(start));
        check(&keys.authenticator(), first.expose_secret()).await.unwrap();
    }
}

async fn ensured_at_once<S: ManagedStore + Clone>(store: &S) {
    let both: Vec<_> = (0..8)
        .map(|_| {
            let keys = handle(store.clone());
            tokio::spawn(async move { keys.ensure("acme", "key").await.unwrap() })
        })
        .collect();
    let (mut made, mut ids) = (0, Vec::new());
    for ensured in both {
        let ensured = ensured.await.unwrap();
        made += usize::from(ensured.key.is_some());
        ids.push(ensured.record.id);
    }
    ids.dedup();
    assert_eq!((made, ids.len()), (1, 1));
    let reader = handle(store.clone()).issuer();
    assert_eq!(reader.keys(Keys::all()).await.unwrap().items.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn several_that_ensure_at_once_make_one() {
    for round in 0..20 {
        let store = MemoryStore::new();
        if round % 2 == 0 {
            acting_on(&store).create_organization("acme").await.unwrap();
        }
        ensured_at_once(&store).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn several_that_ensure_at_once_make_one_in_a_database() {
    for round in 0..4 {
        for database in Database::shared() {
            let store = database.open().await;
            if round % 2 == 0 {
                acting_on(&store).create_organization("acme").await.unwrap();
            }
            ensured_at_once(&store).await;
        }
    }
}

#[tokio::test]
async fn key_that_was_taken_away_is_reported_and_not_replaced() {
    let house = House::new().await;
    let ensure = || house.issuer.ensure("acme", "key");
    let first = ensure().await.unwrap();
    assert_eq!(first.organization.id, house.organization.id);
    let id = first.record.id;
    house.issuer.disable(id).await.unwrap();
    let disabled = ensure().await.unwrap();
    assert_eq!((disabled.record.id, disabled.record.status), (id, KeyStatus::Disabled));
    house.issuer.enable(id).await.unwrap();

    let end = house.hand.clock().wall().after(MINUTE);
    let expire = move |record: &mut KeyRecord| record.expires_at = Some(end);
    house.issuer.update(id, expire).await.unwrap();
    assert!(ensure().await.unwrap().key.is_none());
    house.hand.advance(MINUTE);
    assert_eq!(ensure().await.unwrap_err().kind(), IssueErrorKind::Expired);
    house.issuer.revoke(id, "leaked").await.unwrap();
    assert_eq!(ensure().await.unwrap_err().kind(), IssueErrorKind::Revoked);
    assert_eq!(house.issuer.keys(house.organization.id).await.unwrap().items.len(), 1);

    // One that was issued under the name by hand is as good.
    let issued = house.issuer.issue(house.request("key")).await.unwrap();
    assert_eq!(ensure().await.unwrap().record.id, issued.record.id);
}

#[tokio::test]
async fn first_key_is_found_behind_many_names() {
    let house = House::new().await;
    for number in 0..250 {
        let _key = house
            .issuer
            .issue(house.request(&format!("key {number}")))
            .await
            .unwrap();
    }
    // Names that are equal when folded come first, and fill two pages.
    for _ in 0..150 {
        let _key = house.issuer.issue(house.request("KEY")).await.unwrap();
    }
    let first = house.issuer.ensure("acme", "key").await.unwrap();
    assert!(first.key.is_some());
    assert_eq!(
        house.issuer.ensure("acme", "key").await.unwrap().record.id,
        first.record.id
    );
}

#[tokio::test]
async fn failing_store_makes_no_first_key() {
    let house = House::new().await;
    house.faults().every_manage(Fault::Error(StoreErrorKind::Unavailable));
    let failed = house.issuer.ensure("acme", "key").await.unwrap_err();
    assert_eq!(failed.kind(), IssueErrorKind::StoreUnavailable);
    house.faults().heal();
    for (organization, name) in [("", "key"), ("acme", ""), ("acme", "a\nb")] {
        let refused = house.issuer.ensure(organization, name).await.unwrap_err();
        assert_eq!(refused.field(), Some("name"));
    }
    assert!(house.issuer.keys(house.organization.id).await.unwrap().items.is_empty());
}

/// The folded form of a name, by which it is searched, is cut: names that differ behind that are of two tenants.
#[tokio::test]
async fn ensure_tells_long_names_apart_to_their_end() {
    let issuer = acting_on(&MemoryStore::new());
    let long = |end: &str| format!("{}{end}", "\u{fdfa}".repeat(8));
    let first = issuer.ensure(long("鍵"), "key").await.unwrap();
    let error = issuer.ensure(long("錠"), "key").await.unwrap_err();
    assert_eq!(error.kind(), IssueErrorKind::AlreadyExists);
    let again = issuer.ensure(long("鍵"), "key").await.unwrap();
    assert_eq!(again.record.id, first.record.id);
}
