//! What keys may change: nothing that bounds their organization, nothing beyond what they have, and not the last key of the
//! operator.

mod bounds;
mod escalation;
mod hashes;
mod last_key;
mod principal;
mod reads;
mod roles;

use std::time::Duration;

use proptest::prelude::*;
use tower_api_key::key::{
    Actor, KeyId, KeyRecord, KeyStatus, Organization, OrganizationId, OrganizationStatus, Plan, Role, Scope, ScopeSet,
    SecretPurpose, User, UserStatus,
};
use tower_api_key::store::query::{Keys, TheRealm};
use tower_api_key::store::{Commit, ManagedStore, MemoryStore, Write};
use tower_api_key::testing::cheap_hashes;
use tower_api_key::{ApiKeys, IssueError, IssueErrorKind, IssueRequest, IssuedKey, Issuer, PresentedKey};

use crate::support::stores::Database;

const ADMIN: &str = "orders:* api-keys.keys:read api-keys.keys:write";

/// An operator's organization and a tenant's, each with an administrator's key.
struct Realm<S> {
    keys: ApiKeys<S>,
    host: Issuer<S>,
    operator: Organization,
    root: IssuedKey,
    acme: Organization,
    admin: IssuedKey,
}

impl Realm<MemoryStore> {
    async fn new() -> Self {
        Realm::over(MemoryStore::new()).await
    }
}

impl<S: ManagedStore + Clone> Realm<S> {
    async fn over(store: S) -> Self {
        let keys = ApiKeys::builder(store)
            .hash_policy(cheap_hashes())
            .open()
            .await
            .unwrap();
        let host = keys.issuer().acting_as(Actor::operator("alice"));
        let operator = host.create_organization("operator").await.unwrap();
        let mark = |row: &mut Organization| {
            row.is_operator = true;
            row.key_limits = vec!["requests=1000/1s".parse().unwrap()];
        };
        let operator = host.update_organization(operator.id, mark).await.unwrap();
        let acme = host.create_organization("acme").await.unwrap();
        let limit = |row: &mut Organization| row.key_limits = vec!["requests=1000/1s".parse().unwrap()];
        let acme = host.update_organization(acme.id, limit).await.unwrap();
        let root = issue(&host, operator.id, "* api-keys.keys:write api-keys.organizations:write").await;
        let admin = issue(&host, acme.id, ADMIN).await;
        let (root, admin) = (root.unwrap(), admin.unwrap());
        Self {
            keys,
            host,
            operator,
            root,
            acme,
            admin,
        }
    }

    async fn issuer_of(&self, key: &IssuedKey) -> Issuer<S> {
        let presented = PresentedKey::new(key.key.expose_secret().as_bytes());
        let context = self.keys.authenticator().check(presented).await.unwrap();
        self.keys.issuer_for(&context)
    }
}

async fn issue<S: ManagedStore>(
    issuer: &Issuer<S>,
    organization: OrganizationId,
    scopes: &str,
) -> Result<IssuedKey, IssueError> {
    let request = IssueRequest::new(organization, "key").scopes(scopes.parse().unwrap());
    issuer.issue(request).await
}

#[track_caller]
fn is_refused<T: std::fmt::Debug>(answer: Result<T, IssueError>, kind: IssueErrorKind) {
    assert_eq!(answer.unwrap_err().kind(), kind);
}

const FORBIDDEN: IssueErrorKind = IssueErrorKind::Forbidden;
const LAST: IssueErrorKind = IssueErrorKind::LastOperatorKey;

#[tokio::test]
async fn no_key_changes_what_bounds_its_own_organization() {
    let realm = Realm::new().await;
    let pro = Plan::new("big");
    let pro_id = pro.id;
    realm
        .host
        .commit(Commit::new().write(Write::InsertPlan(pro)))
        .await
        .unwrap();
    let changes: [&(dyn Fn(&mut Organization) + Send + Sync); 12] = [
        &|row| row.plan = Some(pro_id),
        &|row| row.limits = vec!["all=1000000/1s".parse().unwrap()],
        &|row| row.lifted_limits = "all".parse().unwrap(),
        &|row| row.key_limits = Vec::new(),
        &|row| row.lifted_key_limits = "requests".parse().unwrap(),
        &|row| row.max_keys = Some(1_000_000),
        &|row| row.policy.requires_networks = true,
        &|row| row.policy.longest_life = Some(Duration::from_secs(1)),
        &|row| row.is_operator = !row.is_operator,
        &|row| row.status = OrganizationStatus::Inactive,
        &|row| row.slug = "other".into(),
        &|row| row.requires = "origins".parse().unwrap(),
    ];
    for (index, change) in changes.into_iter().enumerate() {
        for (key, id) in [(&realm.admin, realm.acme.id), (&realm.root, realm.operator.id)] {
            let answer = realm.issuer_of(key).await.update_organization(id, change).await;
            assert_eq!(answer.unwrap_err().kind(), FORBIDDEN, "{index}");
        }
    }
    let named = |row: &mut Organization| row.name = "Acme Inc.".into();
    let admin = realm.issuer_of(&realm.admin).await;
    let renamed = admin.update_organization(realm.acme.id, named).await.unwrap();
    assert_eq!(renamed.name, "Acme Inc.");
    assert_eq!(renamed.key_limits, realm.acme.key_limits);
}

#[tokio::test]
async fn own_keys_of_an_organization_lift_no_limit_that_it_gives() {
    let realm = Realm::new().await;
    let admin = realm.issuer_of(&realm.admin).await;
    let request = || IssueRequest::new(realm.acme.id, "fast");
    let looser = request().limit("requests=1001/1s".parse().unwrap());
    is_refused(admin.issue(looser).await, FORBIDDEN);
    let tighter = request().limit("requests=9/1s".parse().unwrap());
    let tighter = admin.issue(tighter).await.unwrap().record;
    let lift = |record: &mut KeyRecord| record.lifted_limits = "requests".parse().unwrap();
    is_refused(admin.update(tighter.id, lift).await, FORBIDDEN);
    let loosen = |record: &mut KeyRecord| record.limits = vec!["requests=9999/1s".parse().unwrap()];
    is_refused(admin.update(tighter.id, loosen).await, FORBIDDEN);
    let root = realm.issuer_of(&realm.root).await;
    assert_eq!(root.update(tighter.id, loosen).await.unwrap().limits.len(), 1);
}

#[tokio::test]
async fn key_touches_no_other_organization_and_nothing_of_the_realm() {
    let realm = Realm::new().await;
    let other = realm.host.create_organization("other").await.unwrap();
    let theirs = issue(&realm.host, other.id, "orders:read").await.unwrap().record;
    let admin = realm.issuer_of(&realm.admin).await;
    is_refused(admin.create_organization("another").await, FORBIDDEN);
    // As if they were not there.
    let missing = IssueErrorKind::NotFound;
    is_refused(issue(&admin, other.id, "orders:read").await, missing);
    is_refused(admin.revoke(theirs.id, "").await, missing);
    is_refused(admin.disable(theirs.id).await, missing);
    is_refused(admin.rotate(theirs.id, Duration::ZERO).await, missing);
    is_refused(admin.rotate_checksum_secret().await, FORBIDDEN);
    let deactivate = |row: &mut Organization| row.status = OrganizationStatus::Inactive;
    is_refused(admin.update_organization(other.id, deactivate).await, missing);
    let was = realm.keys.read(TheRealm).await.unwrap();
    let user = User::new(other.id, "bob".parse().unwrap(), was.created_at);
    let role = Role::new("reader", "orders:read".parse().unwrap());
    for write in [
        Write::InsertOrganization(Organization::new("mine")),
        Write::DeleteOrganization(other.id),
        Write::InsertPlan(Plan::new("mine")),
        Write::InsertRole(role.clone()),
        Write::DeleteRole("reader".into()),
        Write::InsertUser(user.clone()),
        Write::DeleteUser(other.id, user.id.clone()),
        Write::UpdateOrganization(other.clone()),
        Write::InsertKey(KeyRecord::new(other.id, "mine", was.created_at)),
        Write::UpdateRealm { was, row: was },
        Write::DeleteServerSecret {
            purpose: SecretPurpose::CHECKSUM,
            id: "0".into(),
            number: 0,
        },
        Write::PruneRefusals { before: was.created_at },
    ] {
        let shown = format!("{write:?}");
        let error = admin.commit(Commit::new().write(write)).await.unwrap_err();
        assert_eq!(error.kind(), tower_api_key::store::StoreErrorKind::Forbidden, "{shown}");
    }
    for id in [theirs.id, KeyId::new()] {
        let error = admin
            .commit(Commit::new().write(Write::DeleteKey(id)))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), tower_api_key::store::StoreErrorKind::NotFound);
    }
    // The operator's key may.
    let root = realm.issuer_of(&realm.root).await;
    root.commit(Commit::new().write(Write::InsertRole(role))).await.unwrap();
    root.update_organization(other.id, deactivate).await.unwrap();
    root.revoke(theirs.id, "").await.unwrap();
    let operators = |row: &mut Organization| row.is_operator = true;
    is_refused(root.update_organization(other.id, operators).await, FORBIDDEN);
}

#[tokio::test]
async fn no_key_grants_more_than_it_has() {
    let realm = Realm::new().await;
    let admin = realm.issuer_of(&realm.admin).await;
    for scopes in ["*", "invoices:read", "orders:read *", "api-keys.organizations:write"] {
        is_refused(issue(&admin, realm.acme.id, scopes).await, FORBIDDEN);
    }
    let child = issue(&admin, realm.acme.id, "orders:read api-keys.keys:write")
        .await
        .unwrap();
    assert_eq!(child.record.created_by_key, Some(realm.admin.record.id));
    assert_eq!(child.record.created_by, Actor::key(realm.admin.record.id));

    // Neither by an update, nor by a role, nor by the secret of a stronger key.
    let widen = |record: &mut KeyRecord| record.scopes = "*".parse().unwrap();
    is_refused(admin.update(child.record.id, widen).await, FORBIDDEN);
    let role = Role::new("all", "*".parse().unwrap());
    realm
        .host
        .commit(Commit::new().write(Write::InsertRole(role)))
        .await
        .unwrap();
    let by_role = |record: &mut KeyRecord| record.roles = "all".parse().unwrap();
    is_refused(admin.update(child.record.id, by_role).await, FORBIDDEN);
    let strong = issue(&realm.host, realm.acme.id, "*").await.unwrap().record;
    is_refused(admin.rotate(strong.id, Duration::ZERO).await, FORBIDDEN);
    realm.host.disable(strong.id).await.unwrap();
    is_refused(admin.enable(strong.id).await, FORBIDDEN);
    let rename = |record: &mut KeyRecord| record.name = "mine".into();
    admin.update(strong.id, rename).await.unwrap();
    // Taking is not granting.
    admin.revoke(strong.id, "leaked").await.unwrap();

    // Nor for itself.
    let own = realm.admin.record.id;
    let network = |record: &mut KeyRecord| record.networks = "192.0.2.0/24".parse().unwrap();
    admin.update(own, network).await.unwrap();
    let anywhere = |record: &mut KeyRecord| record.networks = Default::default();
    is_refused(admin.update(own, anywhere).await, FORBIDDEN);
    let rotated = admin.rotate(own, Duration::from_secs(60)).await.unwrap();
    assert_eq!(rotated.record.id, own);
}

#[tokio::test]
async fn key_that_no_longer_works_changes_nothing() {
    let realm = Realm::new().await;
    let admin = realm.issuer_of(&realm.admin).await;
    let _child = issue(&admin, realm.acme.id, "orders:read").await.unwrap();
    // A new name for the audit trail is no other authority.
    let renamed = admin.acting_as(Actor::operator("root"));
    is_refused(issue(&renamed, realm.acme.id, "*").await, FORBIDDEN);
    realm.host.disable(realm.admin.record.id).await.unwrap();
    is_refused(issue(&admin, realm.acme.id, "orders:read").await, FORBIDDEN);
}

#[tokio::test]
async fn last_key_of_the_operator_stays_unless_on_the_host() {
    let realm = Realm::new().await;
    let root = realm.issuer_of(&realm.root).await;
    let id = realm.root.record.id;
    // A key that cannot manage is no other one.
    let _other = issue(&realm.host, realm.operator.id, "*").await.unwrap();
    is_refused(root.revoke(id, "").await, LAST);
    is_refused(root.disable(id).await, LAST);
    let narrow = |record: &mut KeyRecord| record.scopes = "api-keys.keys:write".parse().unwrap();
    is_refused(root.update(id, narrow).await, LAST);
    let expire = |record: &mut KeyRecord| record.expires_at = Some("2100-01-01T00:00:00Z".parse().unwrap());
    is_refused(root.update(id, expire).await, LAST);
    let delete = root.commit(Commit::new().write(Write::DeleteKey(id))).await;
    is_refused(delete.map_err(IssueError::from), LAST);
    let _rotated = root.rotate(id, Duration::ZERO).await.unwrap();
    let record = realm.keys.read(id).await.unwrap().unwrap().record;
    assert_eq!(
        (record.status, record.scopes),
        (KeyStatus::Active, realm.root.record.scopes.clone())
    );

    // The tenant's keys are not counted, and not protected.
    realm
        .issuer_of(&realm.admin)
        .await
        .revoke(realm.admin.record.id, "")
        .await
        .unwrap();
    assert_eq!(
        realm.host.revoke(id, "on the host").await.unwrap().status,
        KeyStatus::Revoked
    );
}

#[tokio::test]
async fn user_of_the_last_operator_key_is_not_off_boarded() {
    let realm = Realm::new().await;
    let request = IssueRequest::new(realm.operator.id, "second").user("alice".parse().unwrap());
    let second = realm
        .host
        .issue(request.scopes("api-keys.keys:write".parse().unwrap()))
        .await
        .unwrap();
    let issuer = realm.issuer_of(&second).await;
    let first = realm.root.record.id;
    issuer.revoke(first, "").await.unwrap();
    let mut user = User::new(realm.operator.id, "alice".parse().unwrap(), second.record.created_at);
    user.status = UserStatus::Disabled;
    let disable = issuer.commit(Commit::new().write(Write::InsertUser(user))).await;
    is_refused(disable.map_err(IssueError::from), LAST);
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_revokes_of_the_last_two_operator_keys_leave_one() {
    both_are_revoked_at_once(MemoryStore::new).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_revokes_in_a_database_leave_one_operator_key() {
    for _ in 0..8 {
        for database in Database::shared() {
            let store = database.open().await;
            both_are_revoked_at_once(|| store.clone()).await;
        }
    }
}

async fn both_are_revoked_at_once<S: ManagedStore + Clone>(store: impl FnOnce() -> S) {
    let realm = Realm::over(store()).await;
    let second = issue(&realm.host, realm.operator.id, "api-keys.keys:write")
        .await
        .unwrap();
    // Each itself, so that neither is in the other's way.
    let mut issuers = Vec::new();
    for key in [&realm.root, &second] {
        issuers.push((realm.issuer_of(key).await, key.record.id));
    }
    let mut tasks = tokio::task::JoinSet::new();
    for (issuer, own) in issuers {
        tasks.spawn(async move {
            match issuer.revoke(own, "").await {
                Ok(_) => true,
                Err(error) => {
                    assert_eq!(error.kind(), LAST);
                    false
                }
            }
        });
    }
    let revoked = tasks.join_all().await.into_iter().filter(|revoked| *revoked).count();
    assert_eq!(revoked, 1);
    let keys = realm
        .keys
        .read(Keys::of(realm.operator.id).page(10))
        .await
        .unwrap()
        .items;
    let alive: Vec<KeyId> = keys
        .iter()
        .filter(|key| key.record.status == KeyStatus::Active)
        .map(|key| key.record.id)
        .collect();
    assert_eq!(alive.len(), 1);
}

/// A call past the check would be a call that anyone may make.
#[test]
fn every_change_of_an_issuer_goes_through_its_one_commit() {
    let mut folders = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/issue")];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            // What is no call of an issuer is for the host alone: the audit trail, maintenance, last use, adopting.
            let text = std::fs::read_to_string(&path).unwrap();
            if text.contains("Issuer<S") && text.contains("store.commit(") {
                found.push(path.file_name().unwrap().to_owned());
            }
        }
    }
    assert_eq!(found, ["issuer.rs"]);
}

/// Whatever reads past the check would show other organizations.
#[test]
fn issuer_reads_past_its_bounds_only_for_secrets_and_uses() {
    let mut folders = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/issue")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let lines: Vec<&str> = text.lines().collect();
            for (index, line) in lines.iter().enumerate() {
                let around = format!("{}{line}", lines[index.saturating_sub(1)]);
                let is_own_need = around.contains("secrets") || around.contains("flush_uses(");
                let is_bounded = !line.contains(".unbounded()") || is_own_need;
                assert!(is_bounded, "{}: {line}", path.display());
            }
        }
    }
}

fn scope() -> impl Strategy<Value = Scope> {
    let resource = prop_oneof![
        Just("api-keys.keys".to_owned()),
        Just("api-keys".to_owned()),
        Just("orders".to_owned()),
        "[a-z.-]{1,6}",
        "api-keys\\.[a-z]{0,4}",
    ];
    let action = prop_oneof![Just("*".to_owned()), Just("read".to_owned()), "[a-z*-]{1,5}"];
    let pair = (resource.clone(), action).prop_map(|(resource, action)| format!("{resource}:{action}"));
    let text = prop_oneof![Just("*".to_owned()), resource, pair];
    text.prop_map(|text| text.parse().unwrap())
}

fn needed() -> impl Strategy<Value = Scope> {
    prop_oneof!["api-keys\\.[a-z]{1,4}:[a-z-]{1,5}", "api-keys\\.[a-z]{1,4}"].prop_map(|text| text.parse().unwrap())
}

proptest! {
    #[test]
    fn management_is_allowed_by_its_exact_name_alone(
        granted in prop::collection::vec(scope(), 0..8),
        needed in needed(),
    ) {
        let set = ScopeSet::new(granted.clone()).unwrap();
        prop_assert_eq!(set.allows(&needed), granted.contains(&needed));
        for one in &granted {
            prop_assert_eq!(one.covers(&needed), *one == needed);
        }
    }
}

#[test]
fn scopes_of_management_are_in_the_grammar() {
    let scope: Scope = "api-keys.keys:read-own".parse().unwrap();
    let allows = |granted: &str| granted.parse::<ScopeSet>().unwrap().allows(&scope);
    assert!(allows("api-keys.keys:read-own"));
    for granted in ["*", "api-keys.keys:*", "api-keys.*:*", "api-keys:*", "api-keys.keys"] {
        if granted.parse::<ScopeSet>().is_ok() {
            assert!(!allows(granted), "{granted}");
        }
    }
    assert!(
        "*".parse::<ScopeSet>()
            .unwrap()
            .allows(&"api-keys:read".parse().unwrap())
    );
}
