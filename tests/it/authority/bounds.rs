//! What a key gives that acts in its own organization or elsewhere: its environment, limits, roles and end, and no more.

use super::*;

fn admins(organization: OrganizationId) -> IssueRequest {
    IssueRequest::new(organization, "key").scopes(ADMIN.parse().unwrap())
}

#[tokio::test]
async fn operator_key_of_tests_makes_no_live_key_elsewhere() {
    let realm = Realm::new().await;
    let request = IssueRequest::new(realm.operator.id, "staging").scopes("* api-keys.keys:write".parse().unwrap());
    let staging = realm.host.issue(request.environment("test")).await.unwrap();
    let acting = realm.issuer_of(&staging).await;
    let request = || IssueRequest::new(realm.acme.id, "key").scopes("orders:read".parse().unwrap());
    is_refused(acting.issue(request().environment("live")).await, FORBIDDEN);
    is_refused(acting.issue(request()).await, FORBIDDEN);
    let made = acting.issue(request().environment("test")).await.unwrap().record;
    let _rotated = acting.rotate(made.id, Duration::ZERO).await.unwrap();
    // Nor does it get into one that is there, or wakes it.
    let live = issue(&realm.host, realm.acme.id, "orders:read").await.unwrap().record;
    is_refused(acting.rotate(live.id, Duration::ZERO).await, FORBIDDEN);
    realm.host.disable(live.id).await.unwrap();
    is_refused(acting.enable(live.id).await, FORBIDDEN);
    acting.revoke(live.id, "leaked").await.unwrap();
    // A live one makes both.
    let root = realm.issuer_of(&realm.root).await;
    for environment in ["live", "test"] {
        let _made = root.issue(request().environment(environment)).await.unwrap();
    }
}

#[tokio::test]
async fn new_key_has_no_looser_limits_than_the_one_that_acts() {
    let realm = Realm::new().await;
    let limited = admins(realm.acme.id).limit("writes=10/1s".parse().unwrap());
    let limited = realm
        .host
        .issue(limited.limit("requests=100/1s".parse().unwrap()))
        .await;
    let limited = limited.unwrap();
    let acting = realm.issuer_of(&limited).await;
    let request = |limits: &[&str]| {
        let request = IssueRequest::new(realm.acme.id, "key");
        let limits = limits.iter().map(|limit| limit.parse().unwrap());
        limits.fold(request, IssueRequest::limit)
    };
    for looser in [
        &[][..],
        &["writes=10/1s"],
        &["requests=100/1s"],
        &["writes=11/1s", "requests=100/1s"],
        &["writes=10/1s", "requests=1000/1s"],
        // By another name it is another one.
        &["wrote=10/1s", "requests=100/1s"],
    ] {
        let answer = acting.issue(request(looser)).await;
        assert_eq!(answer.unwrap_err().kind(), FORBIDDEN, "{looser:?}");
    }
    let kept = acting
        .issue(request(&["writes=10/1s", "requests=100/1s", "reads=1/1s"]))
        .await;
    let kept = kept.unwrap().record;
    // Nor later.
    let without = |record: &mut KeyRecord| record.limits.retain(|limit| limit.name() != "writes");
    is_refused(acting.update(kept.id, without).await, FORBIDDEN);
    let tighter = |record: &mut KeyRecord| record.limits = vec!["writes=1/1s".parse().unwrap()];
    is_refused(acting.update(kept.id, tighter).await, FORBIDDEN);
    // Who gets the secret of a key has its limits.
    is_refused(acting.rotate(realm.admin.record.id, Duration::ZERO).await, FORBIDDEN);
    let _rotated = acting.rotate(kept.id, Duration::ZERO).await.unwrap();
    let _own = acting.rotate(limited.record.id, Duration::ZERO).await.unwrap();
}

#[tokio::test]
async fn new_key_has_roles_of_the_one_that_acts_by_name() {
    let realm = Realm::new().await;
    for name in ["reader", "writer"] {
        realm
            .host
            .create_role(Role::new(name, "orders:read".parse().unwrap()))
            .await
            .unwrap();
    }
    let admin = realm
        .host
        .issue(admins(realm.acme.id).roles("reader".parse().unwrap()))
        .await;
    let acting = realm.issuer_of(&admin.unwrap()).await;
    let request = |roles: &str| IssueRequest::new(realm.acme.id, "key").roles(roles.parse().unwrap());
    let made = acting.issue(request("reader")).await.unwrap().record;
    // What it allows today, the admin may do: but it grows, and the admin does not.
    is_refused(acting.issue(request("writer")).await, FORBIDDEN);
    let writer = |record: &mut KeyRecord| record.roles = "reader writer".parse().unwrap();
    is_refused(acting.update(made.id, writer).await, FORBIDDEN);
}

#[tokio::test]
async fn longest_life_is_not_prolonged_by_a_successor() {
    let hand = tower_api_key::testing::ManualClock::new();
    let keys = ApiKeys::builder(MemoryStore::new())
        .hash_policy(cheap_hashes())
        .clock(hand.clock())
        .open()
        .await
        .unwrap();
    let host = keys.issuer().acting_as(Actor::operator("alice"));
    let acme = host.create_organization("acme").await.unwrap();
    let life = Duration::from_secs(90 * 86_400);
    host.update_organization(acme.id, |row| row.policy.longest_life = Some(life))
        .await
        .unwrap();
    let admin = host.issue(admins(acme.id)).await.unwrap();
    let end = admin.record.created_at.after(life);
    hand.advance(life / 2);
    let presented = PresentedKey::new(admin.key.expose_secret().as_bytes());
    let context = keys.authenticator().check(presented).await.unwrap();
    let acting = keys.issuer_for(&context);
    let made = acting.issue(admins(acme.id)).await.unwrap().record;
    assert_eq!(made.expires_at, Some(end));
    let later = end.after(Duration::from_millis(1));
    is_refused(acting.issue(admins(acme.id).expires_at(later)).await, FORBIDDEN);
    for expires_at in [Some(later), None] {
        let prolong = |record: &mut KeyRecord| record.expires_at = expires_at;
        is_refused(acting.update(made.id, prolong).await, FORBIDDEN);
    }
}

/// Rule: what bounds an organization holds for all its keys together, however many it makes.
#[tokio::test]
async fn self_made_keys_together_keep_the_limit_of_the_organization() {
    let realm = Realm::new().await;
    let limit = |row: &mut Organization| row.limits = vec!["all=20/3600s".parse().unwrap()];
    realm.host.update_organization(realm.acme.id, limit).await.unwrap();
    let acting = realm.issuer_of(&realm.admin).await;
    let mut keys = vec![];
    for _ in 0..12 {
        keys.push(issue(&acting, realm.acme.id, "orders:read").await.unwrap());
    }
    let more = IssueRequest::new(realm.acme.id, "key").limit("all=1000/1s".parse().unwrap());
    assert!(acting.issue(more).await.is_err(), "the name of a shared limit is taken");
    let mut admitted = 1; // the admin's own request
    for _ in 0..5 {
        for key in &keys {
            let presented = PresentedKey::new(key.key.expose_secret().as_bytes());
            admitted += u32::from(realm.keys.authenticator().check(presented).await.is_ok());
        }
    }
    assert_eq!(admitted, 20);
}

#[tokio::test]
async fn ensure_makes_a_key_with_the_key_that_acts() {
    let realm = Realm::new().await;
    let admin = realm.issuer_of(&realm.admin).await;
    let request = || tower_api_key::OrganizationRequest::new("acme").slug(&*realm.acme.slug);
    let made = admin.ensure(request(), "first").await.unwrap();
    assert_eq!(made.record.created_by_key, Some(realm.admin.record.id));
    let again = admin.ensure(request(), "first").await.unwrap();
    assert_eq!((again.key.is_none(), again.record.id), (true, made.record.id));
    // Of another organization it says nothing.
    let other = realm.host.create_organization("other").await.unwrap();
    for name in [&*other.slug, "nobody"] {
        is_refused(admin.ensure(name, "first").await.map(drop), FORBIDDEN);
    }
}

/// Who sets the hash of a key has the key.
#[tokio::test]
async fn hash_is_replaced_by_no_key_that_acts() {
    let realm = Realm::new().await;
    let stored = realm.host.key(realm.admin.record.id).await.unwrap().unwrap();
    let replace = || Write::ReplaceHash {
        lookup: realm.admin.lookup.clone(),
        old: stored.secrets[0].hash.clone(),
        new: tower_api_key::hash::sha256(&realm.root.key),
    };
    for key in [&realm.root, &realm.admin] {
        let acting = realm.issuer_of(key).await;
        let answer = acting.commit(Commit::new().write(replace())).await;
        is_refused(answer.map_err(IssueError::from), FORBIDDEN);
    }
    realm.host.commit(Commit::new().write(replace())).await.unwrap();
}
