//! Persons are forgotten, and chains still verify.

use tower_api_key::ExportFormat;
use tower_api_key::audit::Forget;

use super::*;

fn someone(name: &str, address: &str) -> Caller {
    Caller::new(Actor::user(name))
        .name("Someone")
        .address(address.parse().unwrap())
}

async fn export<S: ManagedStore + Clone>(trail: &Trail<S>, format: ExportFormat) -> String {
    let mut out = Vec::new();
    let exporter = trail.keys.issuer().acting_as(Actor::operator("exporter"));
    let all = AuditEvents::default();
    exporter.export_audit(all, format, &mut out).await.unwrap();
    String::from_utf8(out).unwrap()
}

async fn forgotten<S: ManagedStore + Clone>(trail: &Trail<S>, organization: OrganizationId) -> Vec<u64> {
    let entries = trail.entries(organization).await;
    let forgotten = entries.iter().filter(|entry| entry.event.personal.are_forgotten());
    forgotten.map(|entry| entry.seq).collect()
}

async fn persons_are_forgotten<S: ManagedStore + Clone>(trail: Trail<S>) {
    let acme = trail.acme().await;
    let other = trail.acme().await;
    // A key of bob's, changed by carol; and events of bob's own.
    let carol = trail.keys.issuer().acting_as(someone("carol", "198.51.100.9"));
    let request = IssueRequest::new(acme, "of bob").user("bob".parse().unwrap());
    let key = carol.issue(request).await.unwrap().record.id;
    let bob = trail.keys.issuer().acting_as(someone("bob", "203.0.113.5"));
    bob.create_organization("of bob too").await.unwrap();
    carol.revoke(key, "left").await.unwrap();
    // The first list makes the secret of cursors, which is an event.
    trail.entries(acme).await;
    let anchors = trail.anchors().await;
    let before = trail.verify(&anchors).await.unwrap();
    assert_eq!(before.forgotten, 0);

    // In one organization only, where nothing of bob's own is.
    let operator = trail.keys.issuer().acting_as(someone("operator", "203.0.113.5"));
    operator
        .forget(Forget::user("bob".parse().unwrap()).of(acme))
        .await
        .unwrap();
    assert_eq!(forgotten(&trail, acme).await, [9, 10]);
    assert_eq!(trail.entries(acme).await[10].event.detail_of("subject"), Some("user"));
    assert!(export(&trail, ExportFormat::JsonLines).await.contains("203.0.113.5"));

    // The address of bob, which is the operator's now too.
    operator
        .forget(Forget::address("::ffff:203.0.113.5".parse().unwrap()))
        .await
        .unwrap();
    operator
        .forget(Forget::user("alice".parse().unwrap()).of(acme))
        .await
        .unwrap();
    assert_eq!(forgotten(&trail, acme).await, (1..=10).collect::<Vec<_>>());
    assert!(forgotten(&trail, other).await.is_empty());
    for format in [ExportFormat::JsonLines, ExportFormat::Csv, ExportFormat::PlainCsv] {
        let text = export(&trail, format).await;
        assert!(!text.contains("203.0.113.5"), "{text}");
        assert!(text.contains("Alice Adams") && text.contains("bob"));
    }
    operator.forget(Forget::user("alice".parse().unwrap())).await.unwrap();
    assert!(!export(&trail, ExportFormat::Csv).await.contains("Adams"));

    // Ids, numbers and commitments stay.
    let after = trail.verify(&anchors).await.unwrap();
    let exports = 5 * 2;
    assert_eq!(
        (after.chains, after.entries),
        (before.chains, before.entries + 4 + exports)
    );
    assert_eq!(after.forgotten, 8 + 8 + 2 + 1);
    let event = &trail.entries(acme).await[0].event;
    assert_eq!(event.actor, Actor::user("alice"));
    assert!(event.personal.commitments().iter().all(Option::is_some));
}

#[tokio::test]
async fn persons_are_forgotten_and_leave_no_trace_in_the_database() {
    persons_are_forgotten(Trail::in_memory().await).await;
    for database in Database::shared() {
        persons_are_forgotten(Trail::over(database.open().await, true).await).await;
        database.is_closed().await;
        for (text, is_there) in [
            ("203.0.113.5", false),
            ("Alice Adams", false),
            ("198.51.100.9", false),
            ("carol", true),
        ] {
            assert_eq!(database.has(text.as_bytes()), is_there, "{text}");
        }
    }
}

#[tokio::test]
async fn forgetting_says_nothing_of_the_one_who_asks() {
    let trail = Trail::in_memory().await;
    let (audit, _guard) = crate::support::audit::Audit::start();
    trail
        .alice()
        .forget(Forget::address("192.0.2.7".parse().unwrap()))
        .await
        .unwrap();
    let entry = trail.entries(system()).await.pop().unwrap();
    assert_eq!(entry.event.personal.iter().count(), 0);
    assert!(!entry.payload().contains("192.0.2.7"));
    let lines = audit.all_of_level(tracing::Level::INFO);
    assert!(lines.iter().all(|line| !line.fields.contains("192.0.2.7")));
    assert_eq!(
        format!("{:?}", Forget::address("192.0.2.7".parse().unwrap())),
        "Forget(address)"
    );
}

async fn old_addresses_are_forgotten<S: ManagedStore + Clone>(trail: Trail<S>) {
    let acme = trail.acme().await;
    let entries = trail.entries(acme).await;
    let anchors = trail.anchors().await;
    trail.keys.audit().prune_origins(entries[3].event.at).await.unwrap();
    assert_eq!(forgotten(&trail, acme).await, [1, 2, 3]);
    let left = trail.entries(acme).await;
    for (index, entry) in left.iter().enumerate() {
        let personal = &entry.event.personal;
        assert_eq!(personal.get("address").is_some(), index >= 3);
        assert_eq!(personal.get("agent").is_some(), index >= 3);
        assert_eq!(personal.get("network"), Some("192.0.2.0/24"));
        assert_eq!(personal.get("actor.name"), Some("Alice Adams"));
    }
    assert!(trail.verify(&anchors).await.is_ok());
    // Forgotten as a user, nothing is left.
    trail
        .alice()
        .forget(Forget::user("alice".parse().unwrap()))
        .await
        .unwrap();
    assert!(!export(&trail, ExportFormat::JsonLines).await.contains("192.0.2."));
    assert!(trail.verify(&anchors).await.is_ok());
}

#[tokio::test]
async fn old_addresses_of_each_store_are_forgotten() {
    for (trail, _database) in Trail::each().await {
        old_addresses_are_forgotten(trail).await;
    }
}

/// The log has the pages of before until it is emptied.
#[cfg(feature = "sqlite")]
#[tokio::test]
async fn forgotten_person_leaves_the_log_of_sqlite_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.sqlite");
    let store = tower_api_key::store::SqliteStore::open(&path).await.unwrap();
    let trail = Trail::over(store, true).await;
    trail.acme().await;
    let has_address = || {
        let log = std::fs::read(path.with_extension("sqlite-wal")).unwrap();
        log.windows(9).any(|window| window == b"192.0.2.7")
    };
    assert!(has_address());
    let operator = trail.keys.issuer().acting_as(Actor::operator("bob"));
    operator
        .forget(Forget::address("192.0.2.7".parse().unwrap()))
        .await
        .unwrap();
    assert!(!has_address());
}

/// The event of the change is about the one who has the key now.
#[tokio::test]
async fn key_that_goes_to_another_user_leaves_nothing_of_the_first() {
    let trail = Trail::in_memory().await;
    let acme = trail.acme().await;
    let admin = trail.keys.issuer().acting_as(Actor::user("admin"));
    let request = IssueRequest::new(acme, "laptop of Zoe").user("zoe".parse().unwrap());
    let request = request.networks("198.51.100.7/32".parse().unwrap());
    let id = admin.issue(request).await.unwrap().record.id;
    let hand_over = |record: &mut KeyRecord| {
        record.user = "bob".parse().ok();
        record.name = "laptop of Bob".to_owned();
        record.networks = "203.0.113.8/32".parse().unwrap();
    };
    admin.update(id, hand_over).await.unwrap();
    let text = export(&trail, ExportFormat::JsonLines).await;
    assert!(text.contains("198.51.100.7") && text.contains("laptop of Zoe") && text.contains("laptop of Bob"));
    admin.forget(Forget::user("zoe".parse().unwrap())).await.unwrap();
    let text = export(&trail, ExportFormat::JsonLines).await;
    assert!(
        !text.contains("198.51.100.7") && !text.contains("laptop of Zoe"),
        "{text}"
    );
    assert!(text.contains("laptop of Bob") && text.contains(r#""before.user":"zoe""#));
    assert!(trail.verify(&AuditAnchors::default()).await.is_ok());
}
