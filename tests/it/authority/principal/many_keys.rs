//! Changes of many keys by a login.

use super::*;

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
