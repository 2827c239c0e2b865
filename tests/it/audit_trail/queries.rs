//! Lists of events: by organization, key, actor, action and time, in pages, from every store.

use tower_api_key::audit::AuditAction;
use tower_api_key::store::query::Paged;

use super::*;

async fn all<S: ManagedStore + Clone>(trail: &Trail<S>, list: AuditEvents) -> Vec<AuditEntry> {
    let mut rows = Vec::new();
    let mut page: Paged<AuditEntry> = trail.keys.read(list.clone().page(2)).await.unwrap();
    loop {
        rows.append(&mut page.items);
        let Some(next) = page.next else { break };
        page = trail.keys.read(list.clone().page(2).after(next)).await.unwrap();
    }
    let whole = trail.keys.read(list.clone().page(1000)).await.unwrap().items;
    assert_eq!(rows, whole);
    // With limit and offset, too.
    let skipped = trail.keys.read(list.page(2).offset(1).unwrap()).await.unwrap().items;
    assert_eq!(skipped, whole.iter().skip(1).take(2).cloned().collect::<Vec<_>>());
    whole
}

async fn lists_are_narrowed<S: ManagedStore + Clone>(trail: Trail<S>) {
    let acme = trail.acme().await;
    let other = trail.acme().await;
    let key = trail.entries(acme).await[1].event.key_id.unwrap();
    let bob = trail.keys.issuer().acting_as(Actor::operator("alice"));
    trail.hand.advance(MINUTE);
    let second = bob.issue(IssueRequest::new(acme, "second")).await.unwrap().record.id;

    let of_key = all(&trail, AuditEvents::default().key(key)).await;
    assert_eq!(of_key.len(), 7);
    assert!(of_key.iter().all(|entry| entry.event.key_id == Some(key)));
    assert!(all(&trail, AuditEvents::of(other).key(key)).await.is_empty());
    assert_eq!(all(&trail, AuditEvents::of(acme).key(second)).await.len(), 1);

    // An operator of the same name is somebody else.
    let alice = Actor::user("alice");
    assert_eq!(all(&trail, AuditEvents::of(acme).actor(alice.clone())).await.len(), 8);
    assert_eq!(all(&trail, AuditEvents::default().actor(alice.clone())).await.len(), 16);
    let operators = all(&trail, AuditEvents::of(acme).actor(Actor::operator("alice"))).await;
    assert_eq!(actions(&operators), ["key.issued"]);

    let revoked = AuditEvents::of(acme).action(AuditAction::KEY_REVOKED);
    assert_eq!(all(&trail, revoked).await.len(), 1);
    let everywhere = AuditEvents::default().action(AuditAction::KEY_REVOKED);
    assert_eq!(all(&trail, everywhere.clone()).await.len(), 2);
    assert_eq!(all(&trail, everywhere.key(key)).await.len(), 1);

    let entries = trail.entries(acme).await;
    let (third, fifth) = (entries[2].event.at, entries[4].event.at);
    let between = all(&trail, AuditEvents::of(acme).since(third).until(fifth)).await;
    assert_eq!(between.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [3, 4]);
    let since = all(&trail, AuditEvents::default().since(third)).await;
    assert!(since.len() > 8 && times(&since).is_sorted());
    let narrowed = AuditEvents::of(acme)
        .actor(alice)
        .action(AuditAction::KEY_UPDATED)
        .since(fifth);
    assert_eq!(all(&trail, narrowed).await.len(), 1);
    let of_commit = AuditEvents::of_commit(entries[2].commit);
    assert_eq!(all(&trail, of_commit.clone().key(second)).await, []);
    assert_eq!(all(&trail, of_commit).await, [entries[2].clone()]);
}

#[tokio::test]
async fn lists_are_narrowed_and_cut() {
    lists_are_narrowed(Trail::in_memory().await).await;
    for (trail, _database) in Trail::each().await {
        lists_are_narrowed(trail).await;
    }
}

#[tokio::test]
async fn cursor_of_another_filter_is_refused() {
    let trail = Trail::in_memory().await;
    let acme = trail.acme().await;
    let at = Timestamp::from_millis;
    let list = || {
        let list = AuditEvents::of(acme).actor(Actor::user("alice"));
        list.since(at(0)).until(at(4_000_000_000_000))
    };
    let next = trail.keys.read(list().page(2)).await.unwrap().next.unwrap();
    assert!(trail.keys.read(list().after(next.clone())).await.is_ok());
    for other in [
        AuditEvents::of(acme),
        list().since(at(1)),
        list().until(at(4_000_000_000_001)),
        list().actor(Actor::user("bob")),
        list().actor(Actor::operator("alice")),
        list().action(AuditAction::KEY_ISSUED),
        list().key(tower_api_key::key::KeyId::new()),
    ] {
        let error = trail.keys.read(other.after(next.clone())).await.unwrap_err();
        assert_eq!(error.kind(), tower_api_key::store::StoreErrorKind::InvalidCursor);
    }
}
