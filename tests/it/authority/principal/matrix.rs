//! Every method of an issuer, for keys of the user, of another one, and of another organization.

use std::collections::BTreeSet;
use std::fmt::Debug;

use tower_api_key::audit::Forget;
use tower_api_key::key::{KnownScope, SecretHash};
use tower_api_key::store::StoreError;
use tower_api_key::store::query::{AuditChains, AuditEvents, KnownScopes, Organizations, Plans, Roles};
use tower_api_key::{AuditAnchors, AuditError, ExportFormat, Hygiene, OrganizationRequest};

use super::*;

/// What comes of a call: it is done or the row is shown, there is nothing to be shown or done, or it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Came {
    Done,
    Nothing,
    Forbidden,
    Missing,
    Else(IssueErrorKind),
}

use Came::{Done, Forbidden, Missing, Nothing};

/// A method, and what comes of it with the user's own key, one of another user, the same if the principal sees all of its organization,
/// and one of another organization.
type Line = (&'static str, [Came; 4]);

const NOWHERE: [Came; 4] = [Forbidden; 4];
const OWN: [Came; 4] = [Done, Missing, Forbidden, Missing];
const SEEN: [Came; 4] = [Done, Nothing, Done, Nothing];
/// Of an organization: another one is not there.
const NEAR: [Came; 4] = [Done, Done, Done, Nothing];
/// The same, and it is not changed.
const NOT_NEAR: [Came; 4] = [Forbidden, Forbidden, Forbidden, Missing];

/// A new method of the issuer has no line here, and the test fails until it is said what a principal may do with it.
const LINES: &[Line] = &[
    ("activate_organization", NOT_NEAR),
    ("acting_as", OWN),
    ("audit", NOWHERE),
    ("commit", OWN),
    // Of a principal that sees its own keys, the number is not that of the organization.
    ("count_active_keys", [Forbidden, Forbidden, Done, Nothing]),
    ("count_organizations", NOWHERE),
    ("create_organization", NOWHERE),
    ("create_plan", NOWHERE),
    ("create_role", NOWHERE),
    ("create_scope", NOWHERE),
    ("create_user", NOWHERE),
    ("deactivate_organization", NOT_NEAR),
    ("delete_expired", NOWHERE),
    ("delete_organization", NOT_NEAR),
    ("delete_plan", [Forbidden, Forbidden, Forbidden, Missing]),
    ("delete_revoked", NOWHERE),
    ("delete_role", NOWHERE),
    ("delete_scope", NOWHERE),
    ("delete_user", [Forbidden, Missing, Missing, Missing]),
    ("disable", OWN),
    ("disable_all", [Done, Nothing, Forbidden, Nothing]),
    ("disable_user", NOWHERE),
    ("enable", OWN),
    ("enable_all", [Forbidden, Nothing, Forbidden, Nothing]),
    ("enable_user", [Forbidden, Missing, Missing, Missing]),
    ("end_crc_keys", NOWHERE),
    // It finds the key by its name, or would make one without a user.
    ("ensure", [Done, Forbidden, Done, Forbidden]),
    ("export_audit", NOWHERE),
    ("export_audit_file", NOWHERE),
    ("finish", OWN),
    ("forget", NOWHERE),
    ("hygiene", NOWHERE),
    // What is not seen is as if it were gone.
    (
        "if_unchanged",
        [
            Done,
            Came::Else(IssueErrorKind::RowChanged),
            Forbidden,
            Came::Else(IssueErrorKind::RowChanged),
        ],
    ),
    ("is_valid", [Done, Missing, Done, Missing]),
    ("issue", [Done, Forbidden, Forbidden, Missing]),
    ("issue_once", [Done, Forbidden, Forbidden, Missing]),
    ("key", SEEN),
    ("key_by_hash", SEEN),
    ("key_by_lookup", SEEN),
    ("keys", SEEN),
    ("known_scopes", [Done; 4]),
    ("max_keys", [Done, Done, Done, Missing]),
    ("may_create_key", [Forbidden, Forbidden, Done, Missing]),
    ("organization", NEAR),
    ("organization_by_email", NEAR),
    ("organization_by_slug", NEAR),
    ("organizations", NOWHERE),
    ("plan", NEAR),
    ("plan_named", NOWHERE),
    ("plans", NOWHERE),
    ("policy_preview", [Done, Nothing, Done, Missing]),
    ("preview", SEEN),
    ("preview_organization_deletion", NOT_NEAR),
    ("read", SEEN),
    ("revoke", OWN),
    ("revoke_all", [Done, Nothing, Forbidden, Nothing]),
    ("revoke_with_descendants", OWN),
    ("role", [Done; 4]),
    ("roles", NOWHERE),
    ("rotate", OWN),
    ("rotate_checksum_secret", NOWHERE),
    ("statistics", NOWHERE),
    ("take_back", OWN),
    ("update", OWN),
    ("update_organization", NOT_NEAR),
    ("update_plan", [Forbidden, Forbidden, Forbidden, Missing]),
    ("update_role", NOWHERE),
    ("update_scope", NOWHERE),
    ("update_user", [Forbidden, Missing, Missing, Missing]),
    ("user", [Done, Nothing, Nothing, Nothing]),
    ("users", NOWHERE),
    // Of a store, and not of an issuer.
    ("new", [Done; 4]),
];

#[test]
fn each_method_of_the_issuer_has_a_line() {
    let lines: BTreeSet<&str> = LINES.iter().map(|(name, _)| *name).collect();
    assert_eq!(lines.len(), LINES.len());
    assert_eq!(methods(), lines);
}

/// Those of `docs/public-api.md`, which another test holds against the code.
fn methods() -> BTreeSet<&'static str> {
    let text = include_str!("../../../../docs/public-api.md");
    let (_, section) = text.split_once("### `Issuer`\n").unwrap();
    let (section, _) = section.split_once("\n### ").unwrap();
    let functions = section.lines().filter_map(|line| line.split_once("fn "));
    functions
        .map(|(_, rest)| rest.split(['(', '<']).next().unwrap())
        .collect()
}

/// Whose rows a call is about.
struct About {
    organization: Organization,
    user: UserId,
    key: IssuedKey,
    hash: SecretHash,
    plan: Plan,
}

#[tokio::test]
async fn each_method_does_what_its_line_says() {
    for database in Database::each() {
        let all = TwoUsers::over(database.open().await).await;
        let (mut plans, mut organizations) = (Vec::new(), Vec::new());
        for (organization, name) in [(&all.acme, "one"), (&all.other, "two")] {
            let mut plan = Plan::new(name);
            plan.max_keys = Some(100_000);
            let plan = all.host.create_plan(plan).await.unwrap();
            let set = |row: &mut Organization| {
                (row.plan, row.email) = (Some(plan.id), Some(format!("it@{name}.example")));
            };
            organizations.push(all.host.update_organization(organization.id, set).await.unwrap());
            plans.push(plan);
        }
        let scope = KnownScope::new("orders:*".parse().unwrap(), "");
        all.host.create_scope(scope).await.unwrap();
        let mut wrong = Vec::new();
        for (name, expected) in LINES.iter().copied() {
            let own = principal(all.acme.id, "alice");
            let places = [
                (own.clone(), 0, "alice"),
                (own.clone(), 0, "bob"),
                (own.clone().sees(Sees::Organization), 0, "bob"),
                (own.clone().sees(Sees::Organization), 1, "alice"),
            ];
            let mut came = Vec::new();
            for (acts, place, id) in places {
                let organization = organizations[place].clone();
                let key = key_of(&all.host, organization.id, id, "orders:read").await;
                let stored = all.host.key(key.record.id).await.unwrap().unwrap();
                let about = About {
                    hash: stored.secrets[0].hash.clone(),
                    key,
                    plan: plans[place].clone(),
                    user: user(id),
                    organization,
                };
                prepare(name, &all.host, &about).await;
                let before = rows(&all, &about).await;
                let answer = call(name, &all.keys.issuer_for_principal(&acts), &about).await;
                let is_changed = rows(&all, &about).await != before;
                assert!(answer == Done || !is_changed, "{name} {id} {answer:?}");
                came.push(answer);
                tidy(&all.host, &about).await;
            }
            if came != expected {
                wrong.push(format!("{name}: {came:?} and not {expected:?}"));
            }
        }
        assert!(wrong.is_empty(), "{database}: {wrong:#?}");
    }
}

/// What the host does first, so that the call has something to do.
async fn prepare<S: ManagedStore>(name: &str, host: &Issuer<S>, about: &About) {
    let (id, organization) = (about.key.record.id, about.organization.id);
    // By its name and label alone it is found.
    let mark = |key: &mut KeyRecord| {
        key.name = id.to_string();
        key.labels = id.to_string().parse().unwrap();
    };
    host.update(id, mark).await.unwrap();
    match name {
        "enable" => drop(host.disable(id).await.unwrap()),
        "enable_all" => drop(host.disable_all(&selection(about), "").await.unwrap()),
        "finish" | "take_back" => drop(host.rotate(id, Duration::from_secs(60)).await.unwrap()),
        "role" | "update_role" | "delete_role" => {
            let role = Role::new("clerk", "orders:read".parse().unwrap());
            host.create_role(role).await.unwrap();
        }
        "activate_organization" => drop(host.deactivate_organization(organization, "").await.unwrap()),
        "enable_user" => drop(host.disable_user(organization, &about.user, "").await.unwrap()),
        _ => {}
    }
}

/// The next call finds all as it was.
async fn tidy<S: ManagedStore>(host: &Issuer<S>, about: &About) {
    host.activate_organization(about.organization.id).await.unwrap();
    host.enable_user(about.organization.id, &about.user).await.unwrap();
    host.revoke(about.key.record.id, "").await.unwrap();
    host.delete_role("clerk").await.ok();
}

fn selection(about: &About) -> KeySelection {
    KeySelection::label(about.key.record.id.to_string()).within(about.organization.id)
}

/// What a call could change.
async fn rows<S: ManagedStore + Clone>(all: &TwoUsers<S>, about: &About) -> String {
    let (host, organization) = (&all.host, about.organization.id);
    let key = host.key(about.key.record.id).await.unwrap();
    let row = host.organization(organization).await.unwrap();
    let user = host.user(organization, &about.user).await.unwrap();
    let roles = host.roles(Roles::all()).await.unwrap().items;
    let scopes = host.known_scopes(KnownScopes::all()).await.unwrap().items;
    let plans = host.plans(Plans::all()).await.unwrap().items;
    let organizations = host.count_organizations(Organizations::all()).await.unwrap();
    let mut chains = AuditChains::from(organization);
    chains.most = 1;
    let events = host.read(chains).await.unwrap();
    format!("{key:?} {row:?} {user:?} {roles:?} {scopes:?} {plans:?} {organizations:?} {events:?}")
}

trait Kind {
    fn came(&self) -> Came;
}

impl Kind for IssueError {
    fn came(&self) -> Came {
        match self.kind() {
            FORBIDDEN => Forbidden,
            MISSING => Missing,
            other => Came::Else(other),
        }
    }
}

impl Kind for StoreError {
    fn came(&self) -> Came {
        match self.kind() {
            StoreErrorKind::Forbidden => Forbidden,
            StoreErrorKind::NotFound => Missing,
            other => panic!("{other:?}"),
        }
    }
}

impl Kind for AuditError {
    fn came(&self) -> Came {
        let source = std::error::Error::source(self).unwrap();
        source.downcast_ref::<StoreError>().unwrap().came()
    }
}

fn done<T: Debug, E: Kind>(answer: Result<T, E>) -> Came {
    found(answer.map(Some))
}

fn found<T: Debug, E: Kind>(answer: Result<Option<T>, E>) -> Came {
    match answer {
        Ok(Some(_)) => Done,
        Ok(None) => Nothing,
        Err(error) => error.came(),
    }
}

fn some<E: Kind>(answer: Result<u64, E>) -> Came {
    found(answer.map(|number| (number > 0).then_some(number)))
}

async fn call<S: ManagedStore + Clone>(name: &str, acting: &Issuer<S>, about: &About) -> Came {
    let (id, organization, user) = (about.key.record.id, about.organization.id, &about.user);
    let long = Duration::from_secs(1);
    let labelled = selection(about);
    let has_it = |records: Vec<KeyRecord>| records.iter().any(|record| record.id == id).then_some(());
    let mut out = Vec::new();
    match name {
        "acting_as" => done(acting.acting_as(Actor::operator("root")).disable(id).await),
        "activate_organization" => done(acting.activate_organization(organization).await),
        "audit" => done(
            acting
                .audit()
                .verify_chain(organization, &AuditAnchors::default())
                .await,
        ),
        "commit" => {
            let read = acting.key(id).await.unwrap();
            let mut record = read.map_or_else(|| about.key.record.clone(), |key| key.record);
            record.name = "renamed".into();
            done(acting.commit(Commit::new().write(Write::UpdateKey(record))).await)
        }
        "count_active_keys" => some(acting.count_active_keys(organization).await.map(|count| count.number)),
        "count_organizations" => done(acting.count_organizations(Organizations::all()).await),
        "create_organization" => done(acting.create_organization("new").await),
        "create_plan" => done(acting.create_plan(Plan::new("new")).await),
        "create_role" => done(
            acting
                .create_role(Role::new("new", "orders:read".parse().unwrap()))
                .await,
        ),
        "create_scope" => {
            let scope = KnownScope::new("users:read".parse().unwrap(), "");
            done(acting.create_scope(scope).await)
        }
        "create_user" => done(
            acting
                .create_user(UserRequest::new(organization, "new".parse().unwrap()))
                .await,
        ),
        "deactivate_organization" => done(acting.deactivate_organization(organization, "").await),
        "delete_expired" => done(acting.delete_expired(Duration::ZERO).await),
        "delete_organization" => done(acting.delete_organization(organization, "").await),
        "delete_plan" => done(acting.delete_plan(about.plan.id).await),
        "delete_revoked" => done(acting.delete_revoked(Duration::ZERO).await),
        "delete_role" => done(acting.delete_role("clerk").await),
        "delete_scope" => done(acting.delete_scope(&"orders:*".parse().unwrap()).await),
        "delete_user" => done(acting.delete_user(organization, user).await),
        "disable" => done(acting.disable(id).await),
        "disable_all" => some(acting.disable_all(&labelled, "").await.map(|done| done.total as u64)),
        "disable_user" => done(acting.disable_user(organization, user, "").await),
        "enable" => done(acting.enable(id).await),
        "enable_all" => some(acting.enable_all(&labelled).await.map(|done| done.total as u64)),
        "enable_user" => done(acting.enable_user(organization, user).await),
        "end_crc_keys" => done(acting.end_crc_keys().await),
        "ensure" => {
            let request = OrganizationRequest::new(&*about.organization.name).slug(&*about.organization.slug);
            done(acting.ensure(request, &id.to_string()).await)
        }
        "export_audit" => {
            let events = AuditEvents::of(organization);
            done(acting.export_audit(events, ExportFormat::Csv, &mut out).await)
        }
        "export_audit_file" => {
            let folder = tempfile::tempdir().unwrap();
            let (events, path) = (AuditEvents::of(organization).key(id), folder.path().join("export"));
            done(acting.export_audit_file(events, ExportFormat::Csv, path).await)
        }
        "finish" => done(acting.finish(id, Duration::ZERO).await),
        "forget" => done(acting.forget(Forget::user(user.clone())).await),
        "hygiene" => done(acting.hygiene(Hygiene::of(organization)).await),
        "if_unchanged" => {
            let mut record = about.key.record.clone();
            record.revision += 1; // as it was marked
            done(acting.if_unchanged(&record).disable(id).await)
        }
        "is_valid" => done(acting.is_valid(id).await),
        "issue" => done(
            acting
                .issue(IssueRequest::new(organization, "new").user(user.clone()))
                .await,
        ),
        "issue_once" => {
            let request = IssueRequest::new(organization, "once").user(user.clone());
            // Of each caller and each key another one.
            let once = id.to_string().parse().unwrap();
            done(acting.issue_once(request, &once).await)
        }
        "key" => found(acting.key(id).await),
        "key_by_hash" => found(acting.key_by_hash(about.hash.clone()).await),
        "key_by_lookup" => found(acting.key_by_lookup(&about.key.lookup).await),
        "keys" => {
            let listed = acting.keys(Keys::of(organization).label(&id.to_string())).await;
            found(listed.map(|page| has_it(page.items.into_iter().map(|key| key.record).collect())))
        }
        "known_scopes" => done(acting.known_scopes(KnownScopes::all()).await),
        "max_keys" => done(acting.max_keys(organization).await),
        "may_create_key" => done(acting.may_create_key(organization).await),
        "new" => Done,
        "organization" => found(acting.organization(organization).await),
        "organization_by_email" => {
            let email = about.organization.email.as_ref().unwrap();
            found(acting.organization_by_email(email).await)
        }
        "organization_by_slug" => found(acting.organization_by_slug(&about.organization.slug).await),
        "organizations" => done(acting.organizations(Organizations::all()).await),
        "plan" => found(acting.plan(about.plan.id).await),
        "plan_named" => found(acting.plan_named(&about.plan.name).await),
        "plans" => done(acting.plans(Plans::all()).await),
        "policy_preview" => {
            let mut policy = about.organization.policy.clone();
            policy.requires_networks = true;
            let mut after = None;
            loop {
                let page = match acting.policy_preview(organization, &policy, after).await {
                    Ok(page) => page,
                    Err(error) => break error.came(),
                };
                if page.items.iter().any(|effect| effect.record.id == id) {
                    break Done;
                }
                after = page.next;
                if after.is_none() {
                    break Nothing;
                }
            }
        }
        "preview" => found(acting.preview(&labelled).await.map(|found| has_it(found.keys))),
        "preview_organization_deletion" => done(acting.preview_organization_deletion(organization).await),
        "read" => found(acting.read(id).await),
        "revoke" => done(acting.revoke(id, "").await),
        "revoke_all" => some(acting.revoke_all(&labelled, "").await.map(|done| done.total as u64)),
        "revoke_with_descendants" => done(acting.revoke_with_descendants(id, Descendants::Revoke, "").await),
        "role" => found(acting.role("clerk").await),
        "roles" => done(acting.roles(Roles::all()).await),
        "rotate" => done(acting.rotate(id, long).await),
        "rotate_checksum_secret" => done(acting.rotate_checksum_secret().await),
        "statistics" => done(acting.statistics(organization).await),
        "take_back" => done(acting.take_back(id, IfUsed::Override).await),
        "update" => done(acting.update(id, |key| key.name = "renamed".into()).await),
        "update_organization" => done(
            acting
                .update_organization(organization, |row| row.name = "new".into())
                .await,
        ),
        "update_plan" => done(acting.update_plan(about.plan.id, |plan| plan.max_keys = Some(7)).await),
        "update_role" => done(
            acting
                .update_role("clerk", |role| role.scopes = Default::default())
                .await,
        ),
        "update_scope" => done(acting.update_scope(&"orders:*".parse().unwrap(), "other").await),
        "update_user" => done(acting.update_user(organization, user, |user| user.name = None).await),
        "user" => found(acting.user(organization, user).await),
        "users" => done(acting.users(Users::of(organization)).await),
        other => panic!("{other} is not called"),
    }
}
