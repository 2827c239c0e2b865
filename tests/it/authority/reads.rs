//! What keys may read: their own organization. To them, others are not there.

use tower_api_key::audit::{AuditAction, CommitId, Forget};
use tower_api_key::hash::sha256;
use tower_api_key::key::{Metadata, Policy, SecretForm, Timestamp, UserId};
use tower_api_key::store::StoreErrorKind;
use tower_api_key::store::query::{
    AuditChains, AuditEvents, AuditRows, ChangesAfter, CountKeysOfForm, DescendantsOf, EndedKeys, FirstAudited,
    KeyByHash, KeyStatistics, KeyUses, KnownScopes, OneUser, OrganizationByEmail, OrganizationBySlug, Organizations,
    Plans, RefusalCounts, Refusals, Roles, ServerSecretRecords, Statistics, TypedQuery, Users,
};
use tower_api_key::{AuditAnchors, ExportFormat, Hygiene, KeySelection, OrganizationRequest, UserRequest};

use super::*;

/// A realm with a second tenant, and what only it has.
struct Neighbours {
    realm: Realm<MemoryStore>,
    acting: Issuer<MemoryStore>,
    root: Issuer<MemoryStore>,
    other: Organization,
    theirs: IssuedKey,
    child: IssuedKey,
    bob: UserId,
    big: Plan,
}

impl Neighbours {
    async fn new() -> Self {
        let realm = Realm::new().await;
        let host = &realm.host;
        let big = host.create_plan(Plan::new("big")).await.unwrap();
        let request = OrganizationRequest::new("Other")
            .slug("other")
            .email("it@other.example");
        let other = host.create_organization(request.plan(big.id)).await.unwrap();
        let bob: UserId = "bob".parse().unwrap();
        host.create_user(UserRequest::new(other.id, bob.clone())).await.unwrap();
        let mut metadata = Metadata::default();
        metadata.set("team", "theirs").unwrap();
        let request = IssueRequest::new(other.id, "theirs")
            .metadata(metadata)
            .user(bob.clone());
        let theirs = host.issue(request.labels("all".parse().unwrap())).await.unwrap();
        let child = IssueRequest::new(other.id, "child").created_by_key(theirs.record.id);
        let child = host.issue(child).await.unwrap();
        host.create_role(Role::new("reader", "orders:read".parse().unwrap()))
            .await
            .unwrap();
        let acting = realm.issuer_of(&realm.admin).await;
        let root = realm.issuer_of(&realm.root).await;
        Self {
            acting,
            root,
            other,
            theirs,
            child,
            bob,
            big,
            realm,
        }
    }

    /// The tenant's answer is that of an organization that is not there, and the operator's is another.
    async fn not_found<Q: TypedQuery>(&self, of: impl Fn(OrganizationId) -> Q)
    where
        Q::Output: std::fmt::Debug,
    {
        let shown = format!("{:?}", self.acting.read(of(OrganizationId::new())).await.unwrap());
        assert_eq!(
            format!("{:?}", self.acting.read(of(self.other.id)).await.unwrap()),
            shown
        );
        assert_ne!(format!("{:?}", self.root.read(of(self.other.id)).await.unwrap()), shown);
        assert_ne!(
            format!("{:?}", self.acting.read(of(self.realm.acme.id)).await.unwrap()),
            shown
        );
    }

    async fn refused<Q: TypedQuery + Clone>(&self, query: Q) {
        let error = self.acting.read(query.clone()).await.map(drop).unwrap_err();
        assert_eq!(error.kind(), FORBIDDEN);
        self.root.read(query).await.map(drop).unwrap();
    }
}

#[tokio::test]
async fn rows_of_another_organization_are_not_there() {
    let all = Neighbours::new().await;
    let own = all.realm.acme.id;
    let dave: UserId = "bob".parse().unwrap();
    all.realm.host.create_user(UserRequest::new(own, dave)).await.unwrap();
    all.not_found(|id| id).await;
    all.not_found(Keys::of).await;
    all.not_found(|id| Keys::of(id).count()).await;
    all.not_found(Users::of).await;
    all.not_found(|id| Users::of(id).count()).await;
    all.not_found(|id| OneUser(id, all.bob.clone())).await;
    all.not_found(AuditEvents::of).await;
    all.not_found(|id| AuditRows::after(id, 0)).await;
    all.not_found(|id| KeyStatistics::at(Timestamp::now()).of(id)).await;

    for (id, is_own) in [
        (all.theirs.record.id, false),
        (all.child.record.id, false),
        (all.realm.admin.record.id, true),
    ] {
        assert_eq!(all.acting.read(id).await.unwrap().is_some(), is_own);
        assert_eq!(all.acting.key(id).await.unwrap().is_some(), is_own);
        let uses = all.acting.read(KeyUses::of(id)).await.unwrap();
        assert_eq!(uses.len(), usize::from(is_own));
        assert!(all.root.read(id).await.unwrap().is_some());
    }
    let by_lookup = all.acting.key_by_lookup(&all.theirs.lookup).await.unwrap();
    assert_eq!(by_lookup, None);
    assert!(all.root.key_by_lookup(&all.theirs.lookup).await.unwrap().is_some());
    let missing = all.acting.is_valid(all.theirs.record.id).await.unwrap_err();
    assert_eq!(missing.kind(), IssueErrorKind::NotFound);
    for (slug, email, is_own) in [
        ("other", "it@other.example", false),
        ("nobody", "it@nobody.example", false),
        (&*all.realm.acme.slug, "", true),
    ] {
        let found = all.acting.read(OrganizationBySlug(slug.into())).await.unwrap();
        assert_eq!(found.is_some(), is_own, "{slug}");
        let found = all.acting.read(OrganizationByEmail(email.into())).await.unwrap();
        assert_eq!(found, None, "{email}");
    }
    let descendants = DescendantsOf::key(all.theirs.record.id);
    assert_eq!(all.acting.read(descendants).await.unwrap(), []);
    assert_eq!(all.root.read(descendants).await.unwrap().len(), 1);
    assert_eq!(all.acting.plan(all.big.id).await.unwrap(), None);
    assert_eq!(all.acting.plan_named("big").await.unwrap(), None);
    assert_eq!(all.acting.plans(Plans::all()).await.unwrap().items, []);
    // What keys are given is everyone's.
    assert_eq!(all.acting.roles(Roles::all()).await.unwrap().items.len(), 1);
    assert_eq!(all.acting.known_scopes(KnownScopes::all()).await.unwrap().items, []);
    all.acting.read(TheRealm).await.unwrap();
}

#[tokio::test]
async fn hash_of_another_organization_finds_no_key() {
    let keys = ApiKeys::builder(MemoryStore::new())
        .hash_policy(tower_api_key::hash::HashPolicy::sha256())
        .open()
        .await
        .unwrap();
    let host = keys.issuer().acting_as(Actor::operator("alice"));
    let (acme, other) = (
        host.create_organization("acme").await.unwrap(),
        host.create_organization("other").await.unwrap(),
    );
    let admin = issue(&host, acme.id, ADMIN).await.unwrap();
    let theirs = issue(&host, other.id, "orders:read").await.unwrap();
    let presented = |key: &IssuedKey| key.key.expose_secret().as_bytes().to_vec();
    let (own, foreign) = (presented(&admin), presented(&theirs));
    let context = keys.authenticator().check(PresentedKey::new(&own)).await.unwrap();
    let acting = keys.issuer_for(&context);
    for (key, is_own) in [(&admin, true), (&theirs, false)] {
        let found = acting.key_by_hash(sha256(&key.key)).await.unwrap();
        assert_eq!(found.is_some(), is_own);
        let found = acting.read(KeyByHash::new(sha256(&key.key)).unwrap()).await.unwrap();
        assert_eq!(found.is_some(), is_own);
    }
    // Nor does the key itself.
    for (text, is_own) in [(&own, true), (&foreign, false)] {
        let found = keys.find_key_for(&context, PresentedKey::new(text)).await.unwrap();
        assert_eq!(found.is_some(), is_own);
        assert!(keys.find_key(PresentedKey::new(text)).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn lists_of_all_organizations_are_the_operators() {
    let all = Neighbours::new().await;
    let at = Timestamp::now();
    all.refused(Organizations::all()).await;
    all.refused(Organizations::all().count()).await;
    all.refused(Keys::all()).await;
    all.refused(Keys::all().created_by_key(all.realm.admin.record.id)).await;
    all.refused(Keys::all().count()).await;
    all.refused(EndedKeys::expired(at)).await;
    all.refused(AuditEvents::all()).await;
    all.refused(AuditEvents::all().key(all.theirs.record.id)).await;
    all.refused(AuditChains::from(OrganizationId::from(uuid::Uuid::nil())))
        .await;
    all.refused(AuditChains::from(all.realm.acme.id)).await;
    all.refused(FirstAudited(OrganizationId::from(uuid::Uuid::nil()))).await;
    all.refused(RefusalCounts::all()).await;
    all.refused(Refusals::all()).await;
    all.refused(KeyStatistics::at(at)).await;
    all.refused(CommitId::new()).await;
    all.refused(ChangesAfter(0)).await;
    all.refused(ServerSecretRecords::all()).await;
    all.refused(CountKeysOfForm {
        form: SecretForm::Keyed,
        at,
    })
    .await;
    // The chain of the system is one of another organization.
    let system = OrganizationId::from(uuid::Uuid::nil());
    let events = all.acting.read(AuditEvents::of(system)).await.unwrap();
    assert!(events.items.is_empty());
    assert!(!all.root.read(AuditEvents::of(system)).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn reports_of_a_key_are_of_its_organization() {
    let all = Neighbours::new().await;
    let (own, other) = (all.realm.acme.id, all.other.id);
    assert_eq!(all.acting.statistics(own).await.unwrap().total, 1);
    assert_eq!(all.acting.statistics(other).await.unwrap(), Statistics::default());
    is_refused(all.acting.statistics(None).await, FORBIDDEN);
    assert_eq!(all.root.statistics(other).await.unwrap().total, 2);

    let report = all.acting.hygiene(Hygiene::of(own)).await.unwrap();
    assert_eq!((report.looked_at, report.items.len()), (1, 1));
    assert_eq!(all.acting.hygiene(Hygiene::of(other)).await.unwrap().looked_at, 0);
    is_refused(all.acting.hygiene(Hygiene::of_all()).await, FORBIDDEN);
    assert_eq!(all.root.hygiene(Hygiene::of(other)).await.unwrap().looked_at, 2);

    let missing = IssueErrorKind::NotFound;
    for selection in [
        KeySelection::descendants_of(all.theirs.record.id),
        KeySelection::user(other, all.bob.clone()),
        KeySelection::label("all").within(other),
    ] {
        assert!(all.acting.preview(&selection).await.unwrap().keys.is_empty());
        assert!(!all.root.preview(&selection).await.unwrap().keys.is_empty());
    }
    is_refused(all.acting.preview(&KeySelection::label("all")).await, FORBIDDEN);
    is_refused(
        all.acting.policy_preview(other, &Policy::default(), None).await,
        missing,
    );
    is_refused(all.acting.preview_organization_deletion(other).await, missing);
    let own_deletion = all.acting.preview_organization_deletion(own).await.unwrap();
    assert!(own_deletion.audit_events > 0);
    is_refused(all.acting.max_keys(other).await, missing);
    is_refused(all.acting.may_create_key(other).await, missing);
    assert!(all.acting.may_create_key(own).await.unwrap());
    assert_eq!(all.acting.count_active_keys(other).await.unwrap().number, 0);
}

#[tokio::test]
async fn audit_trail_of_a_key_is_that_of_its_organization() {
    let all = Neighbours::new().await;
    let (trail, anchors) = (all.acting.audit(), AuditAnchors::default());
    let (own, other) = (all.realm.acme.id, all.other.id);
    assert!(trail.verify_chain(own, &anchors).await.unwrap().entries > 0);
    assert_eq!(trail.verify_chain(other, &anchors).await.unwrap().entries, 0);
    assert!(trail.verify(&anchors).await.is_err());
    assert!(trail.anchor(&mut AuditAnchors::default()).await.is_err());
    // Of others it neither gets events, nor leaves any with them.
    let mut out = Vec::new();
    let mut export = async |events| all.acting.export_audit(events, ExportFormat::JsonLines, &mut out).await;
    assert!(export(AuditEvents::of(own)).await.unwrap() > 0);
    let refused = export(AuditEvents::of(other)).await;
    assert!(refused.is_err());
    assert!(export(AuditEvents::all()).await.is_err());
    let left = all
        .root
        .read(AuditEvents::of(other).action(AuditAction::AUDIT_EXPORT_STARTED))
        .await;
    assert_eq!(left.unwrap().items, []);
    // Nor does it delete any of it.
    let later = Timestamp::now().after(Duration::from_secs(60));
    assert!(trail.prune(later).await.is_err());
    assert!(trail.prune_origins(later).await.is_err());
    assert!(trail.prune_refusals(later).await.is_err());
    all.root.audit().verify(&anchors).await.unwrap();
}

#[tokio::test]
async fn key_that_no_longer_works_reads_nothing() {
    let all = Neighbours::new().await;
    all.realm.host.disable(all.realm.admin.record.id).await.unwrap();
    is_refused(all.acting.organization(all.realm.acme.id).await, FORBIDDEN);
    is_refused(all.acting.key_by_lookup(&all.realm.admin.lookup).await, FORBIDDEN);
    is_refused(all.acting.statistics(all.realm.acme.id).await, FORBIDDEN);
}

#[tokio::test]
async fn taken_address_is_named_and_whose_it_is_is_not() {
    let all = Neighbours::new().await;
    let take = |row: &mut Organization| row.email = Some("IT@other.example".into());
    let error = all
        .acting
        .update_organization(all.realm.acme.id, take)
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.field()),
        (IssueErrorKind::AlreadyExists, Some("email"))
    );
    assert!(!error.to_string().contains("Other"), "{error}");
}

/// Persons are forgotten by the operator; what waits in memory is no part of what the commit judges.
#[tokio::test]
async fn persons_are_not_forgotten_by_a_tenant() {
    let all = Neighbours::new().await;
    is_refused(all.acting.forget(Forget::user(all.bob.clone())).await, FORBIDDEN);
    all.root.forget(Forget::user(all.bob.clone())).await.unwrap();
    let events = AuditEvents::of(all.other.id).action(AuditAction::KEY_ISSUED);
    let events = all.root.read(events).await.unwrap().items;
    assert!(events[0].event.personal.are_forgotten());
    let error = all
        .acting
        .commit(Commit::new().write(Write::ForgetPersonal(Forget::user(all.bob.clone()))))
        .await;
    assert_eq!(error.unwrap_err().kind(), StoreErrorKind::Forbidden);
}

/// What waits to be stored is forgotten before the commit, so it is looked at who asks before that.
#[tokio::test]
async fn waiting_refusal_is_not_forgotten_by_a_tenant() {
    let all = Neighbours::new().await;
    let address: std::net::IpAddr = "192.0.2.9".parse().unwrap();
    let mut wrong = all.theirs.key.expose_secret().to_owned();
    wrong.push('x');
    let presented = PresentedKey::new(wrong.as_bytes()).client_address(Some(address));
    assert!(all.realm.keys.authenticator().check(presented).await.is_err());
    is_refused(all.acting.forget(Forget::address(address)).await, FORBIDDEN);
    all.realm.keys.flush().await.unwrap();
    let samples = all.root.read(Refusals::all()).await.unwrap();
    assert_eq!(
        samples.iter().map(|sample| sample.address).collect::<Vec<_>>(),
        [Some(address)]
    );
}
