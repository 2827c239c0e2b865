//! Users: their rows, and what becomes of their keys.

use std::sync::{Arc, Mutex};

use tower_api_key::audit::{AuditAction, AuditEntry};
use tower_api_key::hash::HashPolicy;
use tower_api_key::key::{Actor, KeyStatus, Lookup, Metadata, Organization, OrganizationId, User, UserId, UserStatus};
use tower_api_key::store::query::{Answer, AuditEvents, Keys, Query, Users};
use tower_api_key::store::{
    Candidate, Commit, Committed, KeyStore, ManagedStore, MemoryStore, Sharing, StoreError, StoreErrorKind, StoreExt,
    Write,
};
use tower_api_key::testing::{Barrier, Fault};
use tower_api_key::{
    ApiKeys, AuthContext, Authenticator, Fence, IssueError, IssueErrorKind, IssueRequest, IssuedKey, Issuer,
    RejectionKind, UserRequest,
};

use crate::house::{House, check, issuer, kind, poll_once, settle, text};
pub(crate) use crate::support::stores::stores;

pub(crate) fn user_id(text: &str) -> UserId {
    text.parse().unwrap()
}

pub(crate) async fn issue_for<S: ManagedStore>(
    issuer: &Issuer<S>,
    organization: &Organization,
    user: &str,
) -> Result<IssuedKey, IssueError> {
    let request = IssueRequest::new(organization.id, "key").user(user_id(user));
    issuer.issue(request).await
}

/// What an organization's trail has, oldest first.
pub(crate) async fn events<S: ManagedStore>(store: &S, organization: OrganizationId) -> Vec<AuditEntry> {
    store.get(AuditEvents::of(organization).page(500)).await.unwrap().items
}

#[track_caller]
pub(crate) fn refused<T: std::fmt::Debug>(done: Result<T, IssueError>, kind: IssueErrorKind, field: Option<&str>) {
    let error = done.unwrap_err();
    assert_eq!((error.kind(), error.field()), (kind, field), "{error}");
}

#[tokio::test]
async fn row_is_made_read_changed_listed_and_deleted() {
    for (store, _database) in stores().await {
        let issuer = issuer(&store).acting_as(Actor::operator("root"));
        let acme = issuer.create_organization("acme").await.unwrap();
        let id = user_id("alice");
        assert_eq!(issuer.user(acme.id, &id).await.unwrap(), None);
        let mut metadata = Metadata::default();
        metadata.set("team", "blue").unwrap();
        let request = UserRequest::new(acme.id, id.clone())
            .name("Alice Adams")
            .email("alice@example.com")
            .metadata(metadata.clone());
        let alice = issuer.create_user(request.clone()).await.unwrap();
        assert_eq!(alice.status, UserStatus::Active);
        assert_eq!(alice.actor, Actor::operator("root"));
        assert_eq!(issuer.user(acme.id, &id).await.unwrap(), Some(alice.clone()));
        refused(
            issuer.create_user(request).await,
            IssueErrorKind::AlreadyExists,
            Some("user"),
        );

        let renamed = |user: &mut User| {
            user.name = Some("Alice Brown".to_owned());
            user.email = None;
            // Not for this call to change.
            user.id = "mallory".parse().unwrap();
            (user.status, user.revision) = (UserStatus::Disabled, 77);
        };
        let changed = issuer.update_user(acme.id, &id, renamed).await.unwrap();
        let mut expected = alice.clone();
        (expected.name, expected.email) = (Some("Alice Brown".to_owned()), None);
        expected.revision = alice.revision + 1;
        assert_eq!(changed, expected);
        assert_eq!(issuer.user(acme.id, &id).await.unwrap(), Some(expected.clone()));
        // What changes nothing is not written.
        assert_eq!(issuer.update_user(acme.id, &id, renamed).await.unwrap(), expected);

        let bob = issuer
            .create_user(UserRequest::new(acme.id, user_id("bob")))
            .await
            .unwrap();
        let page = issuer.users(Users::of(acme.id).page(1)).await.unwrap();
        assert_eq!(page.items, [expected]);
        let next = issuer.users(Users::of(acme.id).page(1).after(page.next.unwrap())).await;
        assert_eq!(next.unwrap().items, [bob]);

        issuer.delete_user(acme.id, &id).await.unwrap();
        assert_eq!(issuer.user(acme.id, &id).await.unwrap(), None);
        refused(
            issuer.delete_user(acme.id, &id).await,
            IssueErrorKind::NotFound,
            Some("user"),
        );

        let said: Vec<String> = events(&store, acme.id).await.iter().map(said).collect();
        let expected = [
            "organization.created ",
            "user.created alice ",
            "user.updated alice ",
            "user.created bob ",
            "user.deleted alice ",
        ];
        assert_eq!(said, expected);
    }
}

/// Action, user, and reason.
fn said(entry: &AuditEntry) -> String {
    let event = &entry.event;
    let user = event.user.as_ref().map_or("", |user| user.as_str());
    let space = if user.is_empty() { "" } else { " " };
    format!(
        "{} {user}{space}{}",
        event.action,
        event.detail_of("reason").unwrap_or_default()
    )
}

#[tokio::test]
async fn persons_stand_beside_the_chain() {
    let store = MemoryStore::new();
    let issuer = issuer(&store);
    let acme = issuer.create_organization("acme").await.unwrap();
    let request = UserRequest::new(acme.id, user_id("alice"))
        .name("Alice Adams")
        .email("a@example.com");
    issuer.create_user(request).await.unwrap();
    issuer.disable_user(acme.id, &user_id("alice"), "left").await.unwrap();
    issuer.delete_user(acme.id, &user_id("alice")).await.unwrap();
    let events = events(&store, acme.id).await;
    let created = &events[1].event;
    assert_eq!(created.personal.get("after.name"), Some("Alice Adams"));
    assert_eq!(created.personal.get("after.email"), Some("a@example.com"));
    assert!(
        events
            .iter()
            .all(|entry| !entry.payload().contains("Adams") && !entry.payload().contains("a@e"))
    );
    let disabled = &events[2].event;
    assert_eq!(disabled.detail_of("after.status"), Some("disabled"));
    assert_eq!(disabled.detail_of("reason"), Some("left"));
    assert_eq!(events[3].event.personal.get("before.name"), Some("Alice Adams"));
}

#[tokio::test]
async fn fields_out_of_bounds_are_named_and_not_written() {
    let house = House::new().await;
    let acme = house.organization.id;
    let request = || UserRequest::new(acme, user_id("alice"));
    let mut large = Metadata::default();
    for number in 0..17 {
        large.set(&format!("n{number}"), &"x".repeat(1000)).unwrap();
    }
    let cases = [
        (request().name(""), "name"),
        (request().name("a\nb"), "name"),
        (request().name("x".repeat(256)), "name"),
        (request().email(""), "email"),
        (request().email("alice"), "email"),
        (request().email("@example.com"), "email"),
        (request().email("a@b@c"), "email"),
        (request().email("a b@example.com"), "email"),
        (request().email("a\u{7}@example.com"), "email"),
        (request().email(format!("{}@example.com", "x".repeat(250))), "email"),
        (request().metadata(large.clone()), "metadata"),
    ];
    let before = house.store.get(AuditEvents::of(acme)).await.unwrap().items.len();
    for (request, field) in cases {
        refused(
            house.issuer.create_user(request).await,
            IssueErrorKind::InvalidRequest,
            Some(field),
        );
    }
    let id = user_id("alice");
    assert_eq!(house.issuer.user(acme, &id).await.unwrap(), None);
    house.issuer.create_user(request()).await.unwrap();
    type Change = fn(&mut User);
    let changes: [(Change, &str); 2] = [
        (|user| user.name = Some("\0".to_owned()), "name"),
        (|user| user.email = Some("alice".to_owned()), "email"),
    ];
    for (change, field) in changes {
        let done = house.issuer.update_user(acme, &id, change).await;
        refused(done, IssueErrorKind::InvalidRequest, Some(field));
    }
    let after = house.store.get(AuditEvents::of(acme)).await.unwrap().items.len();
    assert_eq!(after, before + 1);
}

#[tokio::test]
async fn missing_organization_or_row_is_not_found() {
    for (store, _database) in stores().await {
        let issuer = issuer(&store);
        let acme = issuer.create_organization("acme").await.unwrap();
        let (nowhere, id) = (OrganizationId::new(), user_id("alice"));
        let request = UserRequest::new(nowhere, id.clone());
        refused(
            issuer.create_user(request).await,
            IssueErrorKind::NotFound,
            Some("organization"),
        );
        refused(
            issuer.disable_user(nowhere, &id, "").await,
            IssueErrorKind::NotFound,
            Some("organization"),
        );
        refused(
            issuer.enable_user(acme.id, &id).await,
            IssueErrorKind::NotFound,
            Some("user"),
        );
        refused(
            issuer.update_user(acme.id, &id, |_| {}).await,
            IssueErrorKind::NotFound,
            Some("user"),
        );
        refused(
            issuer.delete_user(acme.id, &id).await,
            IssueErrorKind::NotFound,
            Some("user"),
        );
    }
}

#[tokio::test]
async fn disabled_user_has_no_key_that_works_and_gets_none() {
    for (store, _database) in stores().await {
        let issuer = issuer(&store);
        let acme = issuer.create_organization("acme").await.unwrap();
        let authenticator = Authenticator::new(store.clone());
        let (own, other) = (
            issue_for(&issuer, &acme, "alice").await.unwrap(),
            issue_for(&issuer, &acme, "bob").await.unwrap(),
        );
        let disabled = issue_for(&issuer, &acme, "alice").await.unwrap();
        issuer.disable(disabled.record.id).await.unwrap();
        check(&authenticator, text(&own)).await.unwrap();

        // Without a row: it is made.
        let alice = user_id("alice");
        let row = issuer.disable_user(acme.id, &alice, "left").await.unwrap();
        assert_eq!((row.status, &*row.reason), (UserStatus::Disabled, "left"));
        let verdict = check(&authenticator, text(&own)).await;
        assert_eq!(kind(&verdict), RejectionKind::UserDisabled);
        check(&authenticator, text(&other)).await.unwrap();
        refused(
            issue_for(&issuer, &acme, "alice").await.map(|issued| issued.record),
            IssueErrorKind::UserDisabled,
            Some("user"),
        );
        // The first reason stays.
        let again = issuer.disable_user(acme.id, &alice, "another").await.unwrap();
        assert_eq!(again, row);
        // The keys have a status of their own.
        let stored = issuer.key(own.record.id).await.unwrap().unwrap();
        assert_eq!(stored.record.status, KeyStatus::Active);

        let row = issuer.enable_user(acme.id, &alice).await.unwrap();
        assert_eq!((row.status, &*row.reason), (UserStatus::Active, ""));
        check(&authenticator, text(&own)).await.unwrap();
        let verdict = check(&authenticator, text(&disabled)).await;
        assert_eq!(kind(&verdict), RejectionKind::KeyDisabled);
        drop(issue_for(&issuer, &acme, "alice").await.unwrap());
        issuer.enable_user(acme.id, &alice).await.unwrap();
        let actions = events(&store, acme.id).await;
        let of_users = actions
            .iter()
            .filter(|entry| entry.event.action.as_str().starts_with("user."));
        let of_users: Vec<String> = of_users.map(said).collect();
        assert_eq!(of_users, ["user.disabled alice left", "user.enabled alice "]);
    }
}

#[tokio::test]
async fn user_of_the_same_id_elsewhere_is_another() {
    let store = MemoryStore::new();
    let issuer = issuer(&store);
    let (acme, other) = (
        issuer.create_organization("acme").await.unwrap(),
        issuer.create_organization("other").await.unwrap(),
    );
    let issued = issue_for(&issuer, &other, "alice").await.unwrap();
    issuer.disable_user(acme.id, &user_id("alice"), "").await.unwrap();
    check(&Authenticator::new(store.clone()), text(&issued)).await.unwrap();
    drop(issue_for(&issuer, &other, "alice").await.unwrap());
}

#[tokio::test]
async fn user_with_a_living_key_is_not_deleted() {
    for (store, _database) in stores().await {
        let issuer = issuer(&store);
        let acme = issuer.create_organization("acme").await.unwrap();
        let alice = user_id("alice");
        let issued = issue_for(&issuer, &acme, "alice").await.unwrap();
        issuer.disable_user(acme.id, &alice, "left").await.unwrap();
        // Not while it is disabled either: it could be enabled again.
        for disable in [false, true] {
            if disable {
                issuer.disable(issued.record.id).await.unwrap();
            }
            refused(
                issuer.delete_user(acme.id, &alice).await,
                IssueErrorKind::InUse,
                Some("user"),
            );
        }
        let verdict = check(&Authenticator::new(store.clone()), text(&issued)).await;
        assert_eq!(kind(&verdict), RejectionKind::KeyDisabled);
        issuer.revoke(issued.record.id, "").await.unwrap();
        issuer.delete_user(acme.id, &alice).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_issues_and_a_disable_leave_no_key_that_works() {
    for (store, _database) in stores().await {
        let issuer = issuer(&store);
        let acme = issuer.create_organization("acme").await.unwrap();
        let authenticator = Authenticator::new(store.clone());
        let alice = user_id("alice");
        let issues = (0..50).map(|number| {
            let (issuer, acme) = (issuer.clone(), acme.clone());
            tokio::spawn(async move {
                for _ in 0..number % 7 {
                    tokio::task::yield_now().await;
                }
                issue_for(&issuer, &acme, "alice").await
            })
        });
        let issues: Vec<_> = issues.collect();
        issuer.disable_user(acme.id, &alice, "left").await.unwrap();
        // From now on none is issued, and none that was issued works.
        let after = issuer
            .keys(Keys::of(acme.id).user(alice.clone()).page(100))
            .await
            .unwrap();
        let mut issued = Vec::new();
        for issue in issues {
            match issue.await.unwrap() {
                Ok(key) => issued.push(key),
                Err(error) => assert_eq!(error.kind(), IssueErrorKind::UserDisabled, "{error:?}"),
            }
        }
        let in_the_end = issuer.keys(Keys::of(acme.id).user(alice).page(100)).await.unwrap();
        assert_eq!(
            in_the_end.items.len(),
            after.items.len(),
            "a key of a disabled user was made"
        );
        assert_eq!(issued.len(), after.items.len());
        for key in &issued {
            let verdict = check(&authenticator, text(key)).await;
            assert_eq!(kind(&verdict), RejectionKind::UserDisabled);
        }
    }
}

/// A store in which other commits come before and after the first insert of a key.
#[derive(Clone)]
struct Meanwhile {
    rows: MemoryStore,
    others: Arc<Mutex<Vec<Commit>>>,
}

impl Meanwhile {
    async fn other(&self) -> Result<(), StoreError> {
        let other = self.others.lock().unwrap().pop();
        match other {
            Some(other) => self.rows.commit(other).await.map(drop),
            None => Ok(()),
        }
    }
}

impl KeyStore for Meanwhile {
    async fn find(&self, lookup: &Lookup) -> Result<Option<Candidate>, StoreError> {
        self.rows.find(lookup).await
    }

    fn fence(&self) -> Option<&Fence> {
        self.rows.fence()
    }

    fn sharing(&self) -> Sharing {
        self.rows.sharing()
    }
}

impl ManagedStore for Meanwhile {
    async fn commit(&self, commit: Commit) -> Result<Committed, StoreError> {
        let is_issue = commit.writes.iter().any(|write| matches!(write, Write::InsertKey(_)));
        if is_issue {
            self.other().await?;
        }
        let committed = self.rows.commit(commit).await;
        if is_issue {
            self.other().await?;
        }
        committed
    }

    async fn read(&self, query: Query) -> Result<Answer, StoreError> {
        self.rows.read(query).await
    }
}

#[tokio::test]
async fn user_disabled_before_the_commit_gets_no_key() {
    for is_enabled_again in [false, true] {
        let store = Meanwhile {
            rows: MemoryStore::new(),
            others: Arc::default(),
        };
        let issuer = issuer(&store);
        let acme = issuer.create_organization("acme").await.unwrap();
        let mut row = User::new(acme.id, user_id("alice"), acme.created_at);
        row.status = UserStatus::Disabled;
        let disable = Commit::new().write(Write::InsertUser(row.clone()));
        row.status = UserStatus::Active;
        let enable = Commit::new().write(Write::UpdateUser(row.clone()));
        // The last one comes first.
        let others = if is_enabled_again {
            vec![enable, disable]
        } else {
            vec![disable]
        };
        *store.others.lock().unwrap() = others;
        let done = issue_for(&issuer, &acme, "alice").await.map(|issued| issued.record);
        let keys = issuer.keys(Keys::of(acme.id)).await.unwrap().items.len();
        match is_enabled_again {
            // It gets the key with the next attempt.
            true => assert_eq!((done.unwrap().user, keys), (Some(row.id), 1)),
            false => {
                refused(done, IssueErrorKind::UserDisabled, Some("user"));
                assert_eq!(keys, 0);
            }
        }
    }
}

#[tokio::test]
async fn context_has_the_row_of_its_user() {
    let house = House::new().await;
    let issued = issue_for(&house.issuer, &house.organization, "alice").await.unwrap();
    let seen = |context: &AuthContext| context.user_row().and_then(|user| user.name.clone());
    let context = house.check(text(&issued)).await.unwrap();
    assert_eq!((context.user(), seen(&context)), (Some("alice"), None));
    let request = UserRequest::new(house.organization.id, user_id("alice")).name("Alice");
    house.issuer.create_user(request).await.unwrap();
    for _ in 0..2 {
        let context = house.check(text(&issued)).await.unwrap();
        assert_eq!(seen(&context).as_deref(), Some("Alice"));
    }
    let rename = |user: &mut User| user.name = Some("Alice Brown".to_owned());
    house
        .issuer
        .update_user(house.organization.id, &user_id("alice"), rename)
        .await
        .unwrap();
    let context = house.check(text(&issued)).await.unwrap();
    assert_eq!(seen(&context).as_deref(), Some("Alice Brown"));
    let of_nobody = house.known_key().await;
    let context = house.check(text(&of_nobody)).await.unwrap();
    assert_eq!((context.user(), seen(&context)), (None, None));
}

#[tokio::test]
async fn failing_store_leaves_user_and_keys_as_they_were() {
    let house = House::new().await;
    let (acme, alice) = (house.organization.id, user_id("alice"));
    let issued = issue_for(&house.issuer, &house.organization, "alice").await.unwrap();
    // Reading the user, making the commit.
    for before in 0..2 {
        for _ in 0..before {
            house.faults().next_manage(Fault::None);
        }
        house.faults().next_manage(Fault::Error(StoreErrorKind::Unavailable));
        let done = house.issuer.disable_user(acme, &alice, "left").await;
        refused(done, IssueErrorKind::StoreUnavailable, None);
        house.faults().heal();
        assert_eq!(house.issuer.user(acme, &alice).await.unwrap(), None);
        house.check(text(&issued)).await.unwrap();
    }
}

#[tokio::test]
async fn caller_that_goes_away_leaves_the_change_undone_or_announced() {
    for commit_is_made in [false, true] {
        let house = House::new().await;
        let (acme, alice) = (house.organization.id, user_id("alice"));
        let issued = issue_for(&house.issuer, &house.organization, "alice").await.unwrap();
        house.check(text(&issued)).await.unwrap();
        let barrier = Barrier::new();
        house.faults().next_manage(Fault::None);
        house.faults().next_manage(match commit_is_made {
            true => Fault::After(barrier.clone()),
            false => Fault::Before(barrier.clone()),
        });
        {
            let disable = house.issuer.disable_user(acme, &alice, "left");
            let mut disable = std::pin::pin!(disable);
            for _ in 0..8 {
                assert!(poll_once(disable.as_mut()).await.is_none());
                settle().await;
            }
        }
        let verdict = house.check(text(&issued)).await;
        assert_eq!(verdict.is_err(), commit_is_made);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parallel_changes_of_a_user_are_each_made_once() {
    for (store, _database) in stores().await {
        let keys = ApiKeys::builder(store.clone())
            .hash_policy(HashPolicy::sha256())
            .checking();
        let issuer = keys.issuer().acting_as(Actor::service());
        let acme = issuer.create_organization("acme").await.unwrap();
        let changes = (0..16).map(|number| {
            let (issuer, acme) = (issuer.clone(), acme.id);
            tokio::spawn(async move {
                let alice = user_id("alice");
                match number % 2 {
                    0 => issuer.disable_user(acme, &alice, "left").await.map(drop),
                    _ => issuer.create_user(UserRequest::new(acme, alice)).await.map(drop),
                }
            })
        });
        let changes: Vec<_> = changes.collect();
        let mut created = 0;
        for change in changes {
            match change.await.unwrap() {
                Ok(()) => created += 1,
                Err(error) => assert_eq!(error.kind(), IssueErrorKind::AlreadyExists),
            }
        }
        assert!(created >= 8);
        let row = issuer.user(acme.id, &user_id("alice")).await.unwrap().unwrap();
        assert_eq!(row.status, UserStatus::Disabled);
        let disabled = AuditEvents::of(acme.id).action(AuditAction::USER_DISABLED);
        assert_eq!(store.get(disabled.page(100)).await.unwrap().items.len(), 1);
    }
}
