//! What a login does with its user's keys, and what it may not while its user is stopped.

use super::*;

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
