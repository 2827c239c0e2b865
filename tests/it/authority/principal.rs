//! What a user who is logged in may do without a key: make and change keys of their own.

mod many_keys;
mod matrix;
mod own_keys;
mod races;
mod reading;

use tower_api_key::audit::Caller;
use tower_api_key::hash::HashPolicy;
use tower_api_key::key::{ActorKind, UserId};
use tower_api_key::store::StoreErrorKind;
use tower_api_key::store::query::{AuditEvents, OneUser, Users};
use tower_api_key::{Descendants, IfUsed, KeySelection, Principal, Sees, UserRequest};

use super::*;

const GRANTS: &str = "orders:read orders:write";

fn user(id: &str) -> UserId {
    id.parse().unwrap()
}

fn principal(organization: OrganizationId, id: &str) -> Principal {
    let principal = Principal::new(organization, user(id));
    principal.grants(GRANTS.parse().unwrap()).unwrap()
}

/// An organization with two users, each with a key, and another one where a user has the id of the first.
struct TwoUsers<S> {
    keys: ApiKeys<S>,
    host: Issuer<S>,
    acme: Organization,
    other: Organization,
    alices: IssuedKey,
    bobs: IssuedKey,
    others: IssuedKey,
}

impl TwoUsers<MemoryStore> {
    async fn new() -> Self {
        TwoUsers::over(MemoryStore::new()).await
    }
}

impl<S: ManagedStore + Clone> TwoUsers<S> {
    async fn over(store: S) -> Self {
        let keys = ApiKeys::builder(store)
            .hash_policy(HashPolicy::sha256())
            .open()
            .await
            .unwrap();
        let host = keys.issuer().acting_as(Actor::operator("root"));
        let acme = host.create_organization("acme").await.unwrap();
        let limit = |row: &mut Organization| row.key_limits = vec!["requests=1000/1s".parse().unwrap()];
        let acme = host.update_organization(acme.id, limit).await.unwrap();
        let other = host.create_organization("other").await.unwrap();
        for (organization, id) in [(acme.id, "alice"), (acme.id, "bob"), (other.id, "alice")] {
            let request = UserRequest::new(organization, user(id));
            host.create_user(request.name("A. Name")).await.unwrap();
        }
        let alices = key_of(&host, acme.id, "alice", "orders:read").await;
        let bobs = key_of(&host, acme.id, "bob", "orders:read").await;
        let others = key_of(&host, other.id, "alice", "orders:read").await;
        Self {
            keys,
            host,
            acme,
            other,
            alices,
            bobs,
            others,
        }
    }

    fn alice(&self) -> Issuer<S> {
        self.keys.issuer_for_principal(&principal(self.acme.id, "alice"))
    }

    fn alice_who_sees_all(&self) -> Issuer<S> {
        let alice = principal(self.acme.id, "alice").sees(Sees::Organization);
        self.keys.issuer_for_principal(&alice)
    }

    fn request(&self) -> IssueRequest {
        IssueRequest::new(self.acme.id, "key")
    }

    async fn record(&self, id: KeyId) -> KeyRecord {
        self.host.key(id).await.unwrap().unwrap().record
    }
}

async fn key_of<S: ManagedStore>(host: &Issuer<S>, organization: OrganizationId, id: &str, scopes: &str) -> IssuedKey {
    let request = IssueRequest::new(organization, "key").user(user(id));
    host.issue(request.scopes(scopes.parse().unwrap())).await.unwrap()
}

const MISSING: IssueErrorKind = IssueErrorKind::NotFound;

#[test]
fn grants_have_no_wildcard_and_manage_no_keys() {
    let acme = OrganizationId::new();
    for scopes in ["*", "orders:*", "orders:read users:*", "api-keys.keys:*"] {
        let error = Principal::new(acme, user("alice")).grants(scopes.parse().unwrap());
        let error = error.unwrap_err();
        assert_eq!(error.setting(), "grants");
        assert!(error.to_string().contains("the wildcard"), "{error}");
    }
    for scopes in ["api-keys.keys:write", "api-keys.keys", "orders:read api-keys.x:read"] {
        let error = Principal::new(acme, user("alice")).grants(scopes.parse().unwrap());
        assert!(error.unwrap_err().to_string().contains("managing keys"), "{scopes}");
    }
    let _ = principal(acme, "alice").grants("".parse().unwrap()).unwrap();
}

#[test]
fn debug_of_a_principal_has_no_address() {
    let shown = format!(
        "{:?}",
        principal(OrganizationId::new(), "alice").client_address(Some("192.0.2.7".parse().unwrap()))
    );
    assert!(shown.contains("alice") && !shown.contains("192.0.2.7"), "{shown}");
}

#[tokio::test]
async fn new_key_is_one_of_the_user_with_what_is_granted() {
    for database in Database::each() {
        let all = TwoUsers::over(database.open().await).await;
        let (alice, request) = (all.alice(), || all.request());
        let made = alice.issue(request().scopes(GRANTS.parse().unwrap())).await.unwrap();
        assert_eq!(made.record.user, Some(user("alice")));
        assert_eq!(made.record.created_by, Actor::user("alice"));
        assert_eq!(made.record.created_by_key, None);
        let _named = alice
            .issue(request().user(user("alice")).ends_with_user())
            .await
            .unwrap();
        let _test = alice.issue(request().environment("test")).await.unwrap();
        let _live = alice.issue(request().environment("live")).await.unwrap();
        let tighter = request().limit("requests=9/1s".parse().unwrap());
        let _tighter = alice.issue(tighter.limit("mine=1/1s".parse().unwrap())).await.unwrap();
        all.host
            .create_role(Role::new("reader", "orders:read".parse().unwrap()))
            .await
            .unwrap();
        for (index, more) in [
            request().scopes("*".parse().unwrap()),
            request().scopes("orders:*".parse().unwrap()),
            request().scopes("orders:read users:read".parse().unwrap()),
            request().scopes("api-keys.keys:read".parse().unwrap()),
            request().roles("reader".parse().unwrap()),
            request().user(user("bob")),
            request().canary(),
            request().requires("origins".parse().unwrap()),
            request().limit("requests=1001/1s".parse().unwrap()),
            request().lift_limits("requests".parse().unwrap()),
            request().created_by_key(all.alices.record.id),
        ]
        .into_iter()
        .enumerate()
        {
            let error = alice.issue(more).await.unwrap_err();
            assert_eq!(error.kind(), FORBIDDEN, "{index} {error}");
            assert!(error.to_string().contains("login"), "{error}");
        }
        is_refused(alice.issue(IssueRequest::new(all.other.id, "key")).await, MISSING);
        is_refused(
            alice.issue(IssueRequest::new(OrganizationId::new(), "key")).await,
            MISSING,
        );
    }
}

#[tokio::test]
async fn policy_and_number_of_keys_bound_a_login_as_anyone() {
    let all = TwoUsers::new().await;
    let bound = |row: &mut Organization| {
        row.policy.grantable = Some("orders:read".parse().unwrap());
        row.policy.requires_expiry = true;
        row.max_keys = Some(3);
    };
    all.host.update_organization(all.acme.id, bound).await.unwrap();
    let alice = all.alice();
    let request = || all.request().expires_in(Duration::from_secs(60));
    is_refused(alice.issue(all.request()).await, IssueErrorKind::NotAllowed);
    let write = request().scopes("orders:write".parse().unwrap());
    is_refused(alice.issue(write).await, IssueErrorKind::NotAllowed);
    let _third = alice.issue(request()).await.unwrap();
    is_refused(alice.issue(request()).await, IssueErrorKind::LimitReached);
}
/// The rows decide, whatever a call makes of them.
#[tokio::test]
async fn commit_is_judged_by_its_rows() {
    let all = TwoUsers::new().await;
    let now = all.alices.record.created_at;
    let new = |change: fn(&mut KeyRecord)| {
        let mut record = KeyRecord::new(all.acme.id, "key", now);
        record.user = Some(user("alice"));
        change(&mut record);
        Write::InsertKey(record)
    };
    let stored = all.host.key(all.alices.record.id).await.unwrap().unwrap();
    let changed = |change: fn(&mut KeyRecord)| {
        let mut record = stored.record.clone();
        change(&mut record);
        Write::UpdateKey(record)
    };
    let secret = stored.secrets[0].clone();
    let event = |key: Option<KeyId>, organization| {
        let mut event = tower_api_key::audit::AuditEvent::new(
            organization,
            now,
            Actor::user("alice"),
            tower_api_key::audit::AuditAction::KEY_UPDATED,
        );
        if let Some(key) = key {
            event = event.key(key);
        }
        event
    };
    let rename = || Commit::new().write(changed(|key| key.name = "renamed".into()));
    use tower_api_key::store::Guard;
    let alice = all.alice();
    for (index, commit) in [
        Commit::new().write(new(|key| key.user = None)),
        Commit::new().write(new(|key| key.user = Some(user("bob")))),
        Commit::new().write(new(|key| key.scopes = "*".parse().unwrap())),
        Commit::new().write(new(|key| key.roles = "tomorrow".parse().unwrap())),
        Commit::new().write(changed(|key| key.created_by = Actor::user("alice"))),
        Commit::new().write(changed(|key| key.user = Some(user("bob")))),
        Commit::new().write(changed(|key| key.is_canary = true)),
        Commit::new().write(changed(|key| key.environment = Some("other".into()))),
        Commit::new().write(Write::DeleteKey(stored.record.id)),
        Commit::new().write(Write::InsertUser(User::new(all.acme.id, user("carol"), now))),
        Commit::new().write(Write::DeleteUser(all.acme.id, user("alice"))),
        Commit::new().write(Write::UpdateOrganization(all.acme.clone())),
        Commit::new().write(Write::InsertRole(Role::new("mine", "orders:read".parse().unwrap()))),
        Commit::new().write(Write::ReplaceHash {
            lookup: secret.lookup.clone(),
            old: secret.hash.clone(),
            new: tower_api_key::hash::sha256(&all.bobs.key),
        }),
        Commit::new().guard(Guard::UserIsActive(all.acme.id, user("bob"))),
        Commit::new().guard(Guard::OrganizationRevision(all.other.id, 1)),
        Commit::new().guard(Guard::LiveKeysBelow(all.other.id, 9)),
        Commit::new().guard(Guard::RoleScopes("clerk".into(), Default::default())),
        Commit::new().guard(Guard::KnownScopesBelow(9)),
        Commit::new().audit(event(Some(stored.record.id), all.acme.id)),
        rename().audit(event(None, all.acme.id)),
        rename().audit(event(Some(all.bobs.record.id), all.acme.id)),
        rename().audit(event(Some(stored.record.id), all.other.id)),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = alice.commit(commit).await.map_err(|error| error.kind());
        assert_eq!(answer, Err(StoreErrorKind::Forbidden), "{index}");
    }
    for id in [all.bobs.record.id, all.others.record.id, KeyId::new()] {
        let error = alice.commit(Commit::new().guard(Guard::KeyRevision(id, 1))).await;
        assert_eq!(error.unwrap_err().kind(), StoreErrorKind::NotFound);
    }
    let renamed = rename().audit(event(Some(stored.record.id), all.acme.id));
    alice.commit(renamed).await.unwrap();
}

#[tokio::test]
async fn last_key_of_the_operator_is_not_revoked_by_its_user() {
    let all = TwoUsers::new().await;
    let operators = |row: &mut Organization| row.is_operator = true;
    all.host.update_organization(all.acme.id, operators).await.unwrap();
    let last = key_of(&all.host, all.acme.id, "alice", "api-keys.keys:write")
        .await
        .record
        .id;
    let alice = all.alice();
    is_refused(alice.revoke(last, "").await, LAST);
    is_refused(alice.disable(last).await, LAST);
    let narrow = |key: &mut KeyRecord| key.scopes = Default::default();
    is_refused(alice.update(last, narrow).await, LAST);
    // It is no operator, and has its other keys.
    is_refused(alice.organizations(Default::default()).await, FORBIDDEN);
    is_refused(alice.create_organization("mine").await, FORBIDDEN);
    assert_eq!(alice.key(all.others.record.id).await.unwrap(), None);
    alice.revoke(all.alices.record.id, "").await.unwrap();
    let _second = key_of(&all.host, all.acme.id, "bob", "api-keys.keys:write").await;
    alice.revoke(last, "").await.unwrap();
}

#[tokio::test]
async fn audit_events_name_the_user_and_its_address() {
    let all = TwoUsers::new().await;
    let address = "192.0.2.7".parse().unwrap();
    let from = |address| {
        all.keys
            .issuer_for_principal(&principal(all.acme.id, "alice").client_address(address))
    };
    for (given, shown) in [(None, None), (Some(address), Some("192.0.2.7"))] {
        let id = from(given).issue(all.request()).await.unwrap().record.id;
        let events = all.host.read(AuditEvents::of(all.acme.id).key(id)).await.unwrap().items;
        let event = &events[0].event;
        assert_eq!((event.actor.kind(), event.actor.id()), (ActorKind::User, "alice"));
        let found = event
            .personal
            .iter()
            .find(|(name, _)| *name == "address")
            .map(|(_, text)| text);
        assert_eq!(found, shown);
    }
    // Another name is no other authority.
    let renamed = from(None).acting_as(Caller::new(Actor::operator("root")));
    is_refused(renamed.revoke(all.bobs.record.id, "").await, MISSING);
}
