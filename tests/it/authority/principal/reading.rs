//! What a login reads.

use super::*;

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
