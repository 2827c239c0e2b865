//! What a user who is logged in may do without a key: make and change keys of their own.

mod matrix;
mod races;

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

#[tokio::test]
async fn own_keys_are_rotated_named_narrowed_and_stopped() {
    for database in Database::each() {
        let all = TwoUsers::over(database.open().await).await;
        let alice = all.alice();
        let id = all.alices.record.id;
        let change = |key: &mut KeyRecord| {
            key.name = "laptop".into();
            key.labels = "mine".parse().unwrap();
            key.metadata.set("team", "data").unwrap();
            key.networks = "192.0.2.0/24".parse().unwrap();
            key.expires_at = Some("2100-01-01T00:00:00Z".parse().unwrap());
        };
        let changed = alice.update(id, change).await.unwrap();
        assert_eq!((&*changed.name, changed.labels.len()), ("laptop", 1));
        alice.update(id, |key| key.labels = Default::default()).await.unwrap();
        alice.update(id, |key| key.scopes = Default::default()).await.unwrap();
        let hour = Duration::from_secs(3600);
        let _second = alice.rotate(id, hour).await.unwrap();
        alice.take_back(id, IfUsed::Refuse).await.unwrap();
        let _second = alice.rotate(id, hour).await.unwrap();
        alice.finish(id, Duration::ZERO).await.unwrap();
        alice.disable(id).await.unwrap();
        assert_eq!(alice.enable(id).await.unwrap().status, KeyStatus::Active);
        // Nothing is widened, and nothing else is changed.
        let changes: [fn(&mut KeyRecord); 9] = [
            |key| key.scopes = "orders:read".parse().unwrap(),
            |key| key.networks = Default::default(),
            |key| key.expires_at = None,
            |key| key.user = Some(user("bob")),
            |key| key.user = None,
            |key| key.limits = vec!["requests=9/1s".parse().unwrap()],
            |key| key.lifted_limits = "requests".parse().unwrap(),
            |key| key.ends_with_user = true,
            |key| key.requires = "origins".parse().unwrap(),
        ];
        let before = all.record(id).await;
        for (index, change) in changes.into_iter().enumerate() {
            let error = alice.update(id, change).await.unwrap_err();
            assert_eq!(error.kind(), FORBIDDEN, "{index} {error}");
        }
        assert_eq!(all.record(id).await, before);
        let revoked = alice.revoke(id, "lost").await.unwrap();
        assert_eq!(revoked.revocation.unwrap().actor, Actor::user("alice"));
    }
}

#[tokio::test]
async fn key_beyond_the_grants_is_seen_and_revoked_only() {
    let all = TwoUsers::new().await;
    let alice = all.alice();
    all.host
        .create_role(Role::new("clerk", "api-keys.keys:write".parse().unwrap()))
        .await
        .unwrap();
    let request = || all.request().user(user("alice")).labels("ci".parse().unwrap());
    for strong in [
        request().scopes("orders:read users:read".parse().unwrap()),
        request().scopes("*".parse().unwrap()),
        request().scopes("api-keys.keys:write".parse().unwrap()),
        request().roles("clerk".parse().unwrap()),
        request().limit("requests=5000/1s".parse().unwrap()),
        request().lift_limits("requests".parse().unwrap()),
        request().requires("of-tomorrow".parse().unwrap()),
        request().canary(),
    ] {
        let id = all.host.issue(strong).await.unwrap().record.id;
        assert!(alice.key(id).await.unwrap().is_some());
        is_refused(alice.rotate(id, Duration::ZERO).await, FORBIDDEN);
        let _second = all.host.rotate(id, Duration::from_secs(60)).await.unwrap();
        is_refused(alice.take_back(id, IfUsed::Override).await, FORBIDDEN);
        alice.finish(id, Duration::ZERO).await.unwrap();
        alice.disable(id).await.unwrap();
        is_refused(alice.enable(id).await, FORBIDDEN);
        // By its label it may be stopped with others.
        is_refused(alice.update(id, |key| key.labels = Default::default()).await, FORBIDDEN);
        alice.update(id, |key| key.name = "mine".into()).await.unwrap();
        assert_eq!(alice.revoke(id, "").await.unwrap().status, KeyStatus::Revoked);
    }
    // Narrowed to what it could make, it is one of those.
    let wide = all.host.issue(request().scopes("orders:*".parse().unwrap())).await;
    let id = wide.unwrap().record.id;
    is_refused(alice.rotate(id, Duration::ZERO).await, FORBIDDEN);
    alice
        .update(id, |key| key.scopes = "orders:read".parse().unwrap())
        .await
        .unwrap();
    let _rotated = alice.rotate(id, Duration::ZERO).await.unwrap();
}

#[tokio::test]
async fn key_that_others_stopped_is_not_woken() {
    for database in Database::each() {
        let all = TwoUsers::over(database.open().await).await;
        let (alice, id) = (all.alice(), all.alices.record.id);
        let hers = KeySelection::user(all.acme.id, user("alice"));
        all.host.disable_all(&hers, "off-boarded").await.unwrap();
        is_refused(alice.enable(id).await, FORBIDDEN);
        is_refused(alice.enable_all(&hers).await, FORBIDDEN);
        // Nor by so many holds that it loses them.
        let mut answers = Vec::new();
        for number in 0..17 {
            let selection = KeySelection::user(all.acme.id, user("alice"));
            let since = selection.since(tower_api_key::key::Timestamp::from_millis(number));
            answers.push(alice.disable_all(&since, "").await.map(|done| done.total));
        }
        assert!(answers.iter().any(Result::is_err));
        is_refused(alice.enable(id).await, FORBIDDEN);
        // Disabled by itself as well, it is still not woken; released by the host, it is.
        alice
            .disable(id)
            .await
            .map_or_else(|error| assert_eq!(error.kind(), FORBIDDEN), drop);
        is_refused(alice.enable(id).await, FORBIDDEN);
        all.host.enable(id).await.unwrap();
        all.host.disable(id).await.unwrap();
        alice.enable(id).await.unwrap();
    }
}

#[tokio::test]
async fn disabled_user_or_inactive_organization_grants_nothing() {
    let all = TwoUsers::new().await;
    let id = all.alices.record.id;
    let stopped = key_of(&all.host, all.acme.id, "alice", "orders:read").await.record.id;
    all.host.disable(stopped).await.unwrap();
    let rotated = key_of(&all.host, all.acme.id, "alice", "orders:read").await.record.id;
    let _second = all.host.rotate(rotated, Duration::from_secs(60)).await.unwrap();
    let labelled = |key: &mut KeyRecord| key.labels = "ci".parse().unwrap();
    all.host.update(id, labelled).await.unwrap();
    for alice in [all.alice(), all.alice_who_sees_all()] {
        let grants_nothing = async || {
            is_refused(alice.issue(all.request()).await, FORBIDDEN);
            is_refused(alice.rotate(id, Duration::ZERO).await, FORBIDDEN);
            is_refused(alice.take_back(rotated, IfUsed::Override).await, FORBIDDEN);
            is_refused(alice.enable(stopped).await, FORBIDDEN);
            is_refused(alice.update(id, |key| key.labels = Default::default()).await, FORBIDDEN);
            // It sees no more than its own keys, and takes from them.
            assert!(alice.key(id).await.unwrap().is_some());
            assert_eq!(alice.key(all.bobs.record.id).await.unwrap(), None);
            let listed = alice.keys(Keys::of(all.acme.id)).await.unwrap().items;
            assert!(listed.iter().all(|key| key.record.user == Some(user("alice"))));
            let lost = key_of_stopped(&all).await;
            alice.revoke(lost, "lost").await.unwrap();
        };
        all.host
            .disable_user(all.acme.id, &user("alice"), "left")
            .await
            .unwrap();
        grants_nothing().await;
        all.host.enable_user(all.acme.id, &user("alice")).await.unwrap();
        all.host.deactivate_organization(all.acme.id, "unpaid").await.unwrap();
        grants_nothing().await;
        all.host.activate_organization(all.acme.id).await.unwrap();
        let _made = alice.issue(all.request()).await.unwrap();
        let requires = |row: &mut Organization| row.requires = "of-tomorrow".parse().unwrap();
        all.host.update_organization(all.acme.id, requires).await.unwrap();
        grants_nothing().await;
        let requires = |row: &mut Organization| row.requires = Default::default();
        all.host.update_organization(all.acme.id, requires).await.unwrap();
    }
    // One of an organization that is gone neither.
    let nobody = all
        .keys
        .issuer_for_principal(&principal(OrganizationId::new(), "alice"));
    is_refused(nobody.issue(all.request()).await, FORBIDDEN);
    is_refused(nobody.revoke(id, "").await, MISSING);
}

/// A key of the user, made while the user may not have one.
async fn key_of_stopped<S: ManagedStore + Clone>(all: &TwoUsers<S>) -> KeyId {
    let mut record = KeyRecord::new(all.acme.id, "late", all.acme_time());
    record.user = Some(user("alice"));
    let id = record.id;
    let commit = Commit::new().write(Write::InsertKey(record));
    all.host.commit(commit).await.unwrap();
    id
}

impl<S> TwoUsers<S> {
    fn acme_time(&self) -> tower_api_key::key::Timestamp {
        self.alices.record.created_at
    }
}

#[tokio::test]
async fn principal_reads_own_keys_or_those_of_its_organization() {
    for database in Database::each() {
        let all = TwoUsers::over(database.open().await).await;
        let ids = async |issuer: &Issuer<_>, keys: Keys| {
            let listed = issuer.keys(keys).await.unwrap().items;
            listed.iter().map(|key| key.record.id).collect::<Vec<_>>()
        };
        let (own, near) = (all.alices.record.id, all.bobs.record.id);
        let (alice, all_seeing) = (all.alice(), all.alice_who_sees_all());
        assert_eq!(ids(&alice, Keys::of(all.acme.id)).await, [own]);
        assert_eq!(ids(&all_seeing, Keys::of(all.acme.id)).await, [own, near]);
        for issuer in [&alice, &all_seeing] {
            assert_eq!(ids(issuer, Keys::of(all.acme.id).user(user("alice"))).await, [own]);
            assert_eq!(ids(issuer, Keys::of(all.other.id)).await, []);
            assert_eq!(ids(issuer, Keys::of(all.other.id).user(user("alice"))).await, []);
            is_refused(issuer.keys(Keys::all()).await, FORBIDDEN);
            is_refused(issuer.keys(Keys::all().user(user("alice"))).await, FORBIDDEN);
            let mine = Keys::of(all.acme.id).user(user("alice")).count();
            assert_eq!(issuer.read(mine).await.unwrap().number, 1);
            // Users are not listed, and have one row that is seen.
            is_refused(issuer.users(Users::of(all.acme.id)).await, FORBIDDEN);
            is_refused(issuer.read(Users::of(all.acme.id).count()).await, FORBIDDEN);
            assert!(issuer.user(all.acme.id, &user("alice")).await.unwrap().is_some());
            for (organization, id) in [(all.acme.id, "bob"), (all.other.id, "alice")] {
                let row = issuer.read(OneUser(organization, user(id))).await;
                assert_eq!(row.unwrap(), None);
            }
        }
        assert_eq!(ids(&alice, Keys::of(all.acme.id).user(user("bob"))).await, []);
        assert_eq!(ids(&all_seeing, Keys::of(all.acme.id).user(user("bob"))).await, [near]);
        // A number that is not the organization's is none.
        is_refused(alice.count_active_keys(all.acme.id).await, FORBIDDEN);
        assert_eq!(all_seeing.count_active_keys(all.acme.id).await.unwrap().number, 2);
        let bobs = Keys::of(all.acme.id).user(user("bob")).count();
        assert_eq!(alice.read(bobs).await.unwrap().number, 0);
    }
}

#[tokio::test]
async fn list_of_own_keys_goes_on_behind_its_cursor() {
    let all = TwoUsers::new().await;
    for _ in 0..4 {
        let _hers = key_of(&all.host, all.acme.id, "alice", "").await;
        let _his = key_of(&all.host, all.acme.id, "bob", "").await;
    }
    let (alice, mut seen) = (all.alice(), Vec::new());
    let list = Keys::of(all.acme.id).page(2);
    let mut page = alice.keys(list.clone()).await.unwrap();
    loop {
        seen.extend(page.items.into_iter().map(|key| key.record));
        let Some(next) = page.next else { break };
        page = alice.keys(list.clone().after(next)).await.unwrap();
    }
    assert_eq!(seen.len(), 5);
    assert!(seen.iter().all(|record| record.user == Some(user("alice"))));
}

/// More keys than are looked at one by one.
#[tokio::test]
async fn uses_of_own_keys_are_read_and_no_others() {
    use tower_api_key::store::query::KeyUses;
    let all = TwoUsers::new().await;
    let mut ids = vec![all.alices.record.id, all.bobs.record.id, all.others.record.id];
    for _ in 0..12 {
        ids.push(key_of(&all.host, all.acme.id, "alice", "").await.record.id);
    }
    let of = async |issuer: &Issuer<_>, ids: &[KeyId]| {
        let uses = issuer.read(KeyUses::of_all(ids.iter().copied())).await.unwrap();
        uses.iter().map(|of_key| of_key.key_id).collect::<Vec<_>>()
    };
    let (alice, all_seeing) = (all.alice(), all.alice_who_sees_all());
    assert_eq!(of(&alice, &ids[..3]).await, [ids[0]]);
    assert_eq!(of(&all_seeing, &ids[..3]).await, ids[..2]);
    assert_eq!(of(&alice, &ids).await.len(), 13);
    assert_eq!(of(&all_seeing, &ids).await.len(), 14);
    let preview = alice.preview(&KeySelection::user(all.acme.id, user("alice"))).await;
    assert_eq!(preview.unwrap().total, 13);
}

#[tokio::test]
async fn change_of_many_keys_is_made_if_each_is_its_own() {
    let all = TwoUsers::new().await;
    for id in [all.alices.record.id, all.bobs.record.id] {
        all.host
            .update(id, |key| key.labels = "ci".parse().unwrap())
            .await
            .unwrap();
    }
    let labelled = KeySelection::label("ci").within(all.acme.id);
    let refused = all.alice_who_sees_all().disable_all(&labelled, "").await;
    is_refused(refused, FORBIDDEN);
    assert_eq!(all.record(all.alices.record.id).await.status, KeyStatus::Active);
    // What it does not see is not selected.
    let done = all.alice().disable_all(&labelled, "").await.unwrap();
    assert_eq!(done.total, 1);
    let his = KeySelection::user(all.acme.id, user("bob"));
    assert_eq!(all.alice().revoke_all(&his, "").await.unwrap().total, 0);
    is_refused(all.alice_who_sees_all().revoke_all(&his, "").await, FORBIDDEN);
    assert_eq!(all.record(all.bobs.record.id).await.status, KeyStatus::Active);
}

#[tokio::test]
async fn leaked_key_is_revoked_with_what_it_made_of_the_same_user() {
    let all = TwoUsers::new().await;
    let made_by = async |id: KeyId, of: &str| {
        let request = all.request().user(user(of)).created_by_key(id);
        all.host.issue(request).await.unwrap().record.id
    };
    for alice in [all.alice(), all.alice_who_sees_all()] {
        let leaked = key_of(&all.host, all.acme.id, "alice", "api-keys.keys:write")
            .await
            .record
            .id;
        let (hers, his) = (made_by(leaked, "alice").await, made_by(leaked, "bob").await);
        let revoked = alice.revoke(leaked, "leaked").await.unwrap();
        assert_eq!(revoked.status, KeyStatus::Revoked);
        assert_eq!(all.record(hers).await.status, KeyStatus::Disabled);
        assert_eq!(all.record(his).await.status, KeyStatus::Active);
        let again = alice.revoke_with_descendants(leaked, Descendants::Revoke, "").await;
        assert_eq!(again.unwrap().total, 1);
    }
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
