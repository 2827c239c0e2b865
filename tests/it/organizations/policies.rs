//! Policies: what one would do to the keys that are there, before it is set.

use tower_api_key::PolicyEffect;
use tower_api_key::key::{KeyRecord, Networks, Organization, Policy, Role, RoleNames, ScopeSet};
use tower_api_key::store::query::Keys;

use super::*;

async fn preview(realm: &Realm, organization: OrganizationId, policy: &Policy) -> Vec<PolicyEffect> {
    let mut effects = Vec::new();
    let mut after = None;
    loop {
        let page = realm.issuer.policy_preview(organization, policy, after).await.unwrap();
        effects.extend(page.items);
        after = page.next;
        if after.is_none() {
            return effects;
        }
    }
}

fn names(effects: &[PolicyEffect]) -> Vec<&str> {
    effects.iter().map(|effect| &*effect.record.name).collect()
}

fn policy(change: impl FnOnce(&mut Policy)) -> Policy {
    let mut policy = Policy::default();
    change(&mut policy);
    policy
}

#[tokio::test]
async fn preview_lists_keys_that_end_at_once_or_earlier() {
    for realm in Realm::each().await {
        let acme = realm.issuer.create_organization("acme").await.unwrap();
        let old = realm.issue(acme.id, "old").await;
        realm.hand.advance(10 * DAY);
        let young = realm.issue(acme.id, "young").await;
        let short = IssueRequest::new(acme.id, "short").expires_in(2 * DAY);
        let _ = realm.issuer.issue(short).await.unwrap();
        let gone = IssueRequest::new(acme.id, "gone").expires_in(DAY);
        let _ = realm.issuer.issue(gone).await.unwrap();
        let revoked = realm.issue(acme.id, "revoked").await;
        realm.issuer.revoke(revoked.record.id, "").await.unwrap();
        let disabled = realm.issue(acme.id, "disabled").await;
        realm.issuer.disable(disabled.record.id).await.unwrap();
        realm.hand.advance(DAY);

        let stricter = policy(|policy| policy.longest_life = Some(5 * DAY));
        let effects = preview(&realm, acme.id, &stricter).await;
        assert_eq!(names(&effects), ["old", "young", "disabled"]);
        let [ended, earlier, _] = &effects[..] else {
            panic!("three")
        };
        assert_eq!(ended.ends_at, Some(old.record.created_at.after(5 * DAY)));
        assert_eq!((ended.ends_at_once, earlier.ends_at_once), (true, false));
        assert_eq!(earlier.ends_at, Some(young.record.created_at.after(5 * DAY)));
        assert!(ended.lost_scopes.is_empty() && !ended.lacks_networks);
        // Nothing was changed, and the policy does what was said.
        realm.check(&old).await.unwrap();
        let set = |acme: &mut Organization| acme.policy = stricter.clone();
        realm.issuer.update_organization(acme.id, set).await.unwrap();
        assert!(realm.check(&old).await.is_err());
        let context = realm.check(&young).await.unwrap();
        assert_eq!(context.expires_at(), earlier.ends_at);
        assert!(preview(&realm, acme.id, &stricter).await.is_empty());
        // One that is less strict ends nothing, and brings back what had ended by the policy alone.
        assert!(preview(&realm, acme.id, &Policy::default()).await.is_empty());
    }
}

#[tokio::test]
async fn preview_lists_scopes_of_keys_and_roles_that_are_lost() {
    for realm in Realm::each().await {
        let acme = realm.issuer.create_organization("acme").await.unwrap();
        let role = Role::new("billing", "invoices:read payments:*".parse().unwrap());
        realm.issuer.create_role(role).await.unwrap();
        let request = IssueRequest::new(acme.id, "key").scopes("orders:* users:read".parse().unwrap());
        let issued = realm.issuer.issue(request).await.unwrap();
        let _ = realm.issue(acme.id, "no scopes").await;
        let roles: RoleNames = "billing unknown".parse().unwrap();
        let give = |record: &mut KeyRecord| record.roles = roles.clone();
        realm
            .issuer
            .create_role(Role::new("unknown", ScopeSet::default()))
            .await
            .unwrap();
        realm.issuer.update(issued.record.id, give).await.unwrap();
        realm.issuer.delete_role("unknown").await.unwrap();

        let grantable: ScopeSet = "orders:read invoices:* users:*".parse().unwrap();
        let stricter = policy(|policy| policy.grantable = Some(grantable));
        let effects = preview(&realm, acme.id, &stricter).await;
        assert_eq!(names(&effects), ["key"]);
        assert_eq!(effects[0].lost_scopes.as_str(), "orders:* payments:*");
        assert_eq!((effects[0].ends_at, effects[0].lacks_networks), (None, false));

        let set = |acme: &mut Organization| acme.policy = stricter.clone();
        realm.issuer.update_organization(acme.id, set).await.unwrap();
        let context = realm.check(&issued).await.unwrap();
        assert_eq!(context.scopes().as_str(), "invoices:read orders:read users:read");
    }
}

#[tokio::test]
async fn preview_lists_keys_that_lack_networks() {
    for realm in Realm::each().await {
        let acme = realm.issuer.create_organization("acme").await.unwrap();
        let networks: Networks = "192.0.2.0/24".parse().unwrap();
        let bound = IssueRequest::new(acme.id, "bound").networks(networks);
        let _ = realm.issuer.issue(bound).await.unwrap();
        let _ = realm.issue(acme.id, "free").await;
        let stricter = policy(|policy| policy.requires_networks = true);
        let effects = preview(&realm, acme.id, &stricter).await;
        assert_eq!(names(&effects), ["free"]);
        assert!(effects[0].lacks_networks && effects[0].ends_at.is_none());
        // Once it holds, it takes nothing more.
        let hold = |row: &mut Organization| row.policy = stricter.clone();
        realm.issuer.update_organization(acme.id, hold).await.unwrap();
        assert!(preview(&realm, acme.id, &stricter).await.is_empty());
    }
}

#[tokio::test]
async fn preview_goes_through_all_keys_page_by_page() {
    let realm = Realm::in_memory().await;
    let acme = realm.issuer.create_organization("acme").await.unwrap();
    for number in 0..1_005 {
        let _ = realm.issue(acme.id, &format!("key {number}")).await;
    }
    let stricter = policy(|policy| policy.longest_life = Some(DAY));
    let first = realm.issuer.policy_preview(acme.id, &stricter, None).await.unwrap();
    assert_eq!(first.items.len(), 1_000);
    assert_eq!(preview(&realm, acme.id, &stricter).await.len(), 1_005);

    // A cursor of another list, and one that was made up.
    let other = realm.issuer.create_organization("other").await.unwrap();
    let foreign = realm.issuer.policy_preview(other.id, &stricter, first.next).await;
    assert_eq!(problem(foreign), invalid("page"));
    let page = realm.issuer.keys(Keys::all().page(1)).await.unwrap();
    let foreign = realm.issuer.policy_preview(acme.id, &stricter, page.next).await;
    assert_eq!(problem(foreign), invalid("page"));
    let forged = realm
        .issuer
        .policy_preview(acme.id, &stricter, Some("AAAA".parse().unwrap()))
        .await;
    assert_eq!(problem(forged), invalid("page"));
    let bad = policy(|policy| policy.longest_life = Some(Duration::ZERO));
    assert_eq!(
        problem(realm.issuer.policy_preview(acme.id, &bad, None).await),
        invalid("longest_life")
    );
    let nobody = realm
        .issuer
        .policy_preview(OrganizationId::new(), &stricter, None)
        .await;
    assert_eq!(problem(nobody), about(IssueErrorKind::NotFound, "organization"));
}
