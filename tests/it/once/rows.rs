//! What is stored of a request, and when it goes.

use tower_api_key::Task;
use tower_api_key::key::IdempotencyRecord;
use tower_api_key::store::query::OneIdempotency;
use tower_api_key::store::{Commit, ManagedStore, Write};

use super::*;

impl Shop {
    async fn has_row(&self, key: &str) -> bool {
        let query = OneIdempotency(self.acme.id, Actor::user("alice"), once(key));
        self.store.get(query).await.unwrap().is_some()
    }
}

#[tokio::test]
async fn maintenance_deletes_rows_that_are_over_and_no_others() {
    for shop in Shop::each().await {
        let first = made(shop.once("one", shop.request()).await);
        shop.hand.advance(HOUR);
        let second = made(shop.once("two", shop.request()).await);
        shop.hand.advance(DAY - HOUR - Duration::from_millis(1));
        // As the task does, which is due once an hour by the clock of the store.
        let before = shop.hand.clock().wall();
        let prune = Commit::new().write(Write::PruneIdempotency { before });
        shop.store.commit(prune).await.unwrap();
        assert!(shop.has_row("one").await && shop.has_row("two").await);
        shop.hand.advance(Duration::from_millis(1));
        let report = shop.keys.maintenance().run_once().await;
        assert!(report.done().any(|task| task == Task::Idempotency), "{report:?}");
        assert_eq!((shop.has_row("one").await, shop.has_row("two").await), (false, true));
        assert_eq!(made_before(shop.once("two", shop.request()).await), second.record);
        assert_ne!(made(shop.once("one", shop.request()).await).record.id, first.record.id);
    }
}

#[tokio::test]
async fn row_of_a_deleted_key_keeps_it_from_being_made_again() {
    for shop in Shop::each().await {
        let first = made(shop.once("one", shop.request()).await);
        shop.host.revoke(first.record.id, "lost").await.unwrap();
        let delete = Write::DeleteKey(first.record.id);
        shop.host.commit(Commit::new().write(delete)).await.unwrap();
        refused(
            shop.once("one", shop.request()).await,
            IssueErrorKind::NotFound,
            Some("key"),
        );
        assert_eq!(shop.made().await.0, 0);
        shop.hand.advance(DAY);
        let _ = made(shop.once("one", shop.request()).await);
    }
}

#[tokio::test]
async fn rows_of_an_organization_go_with_it() {
    for shop in Shop::each().await {
        let other = shop.host.create_organization("other").await.unwrap();
        let elsewhere = || IssueRequest::new(other.id, "key");
        let _ = made(shop.once("one", shop.request()).await);
        let stays = made(shop.once("one", elsewhere()).await);
        shop.host.delete_organization(shop.acme.id, "left").await.unwrap();
        assert!(!shop.has_row("one").await);
        refused(
            shop.once("one", shop.request()).await,
            IssueErrorKind::NotFound,
            Some("organization"),
        );
        assert_eq!(made_before(shop.once("one", elsewhere()).await), stays.record);
    }
}

/// 10,000 rows of keys that were made before, and of another organization one.
#[tokio::test]
async fn organization_with_ten_thousand_rows_loses_the_oldest() {
    for shop in Shop::each().await {
        let other = shop.host.create_organization("other").await.unwrap();
        let elsewhere = || IssueRequest::new(other.id, "key");
        let stays = made(shop.once("old-1", elsewhere()).await);
        fill(&shop).await;
        assert!(shop.has_row("old-1").await);
        let _ = made(shop.once("new-1", shop.request()).await);
        assert_eq!(
            (shop.has_row("old-1").await, shop.has_row("old-2").await),
            (false, true)
        );
        let _ = made(shop.once("new-2", shop.request()).await);
        assert_eq!(
            (shop.has_row("old-2").await, shop.has_row("old-3").await),
            (false, true)
        );
        assert!(shop.has_row("old-10000").await && shop.has_row("new-1").await);
        assert_eq!(made_before(shop.once("old-1", elsewhere()).await), stays.record);
        if !matches!(shop.database, Database::Memory(_)) {
            let hand = shop.database.hand().await;
            let count = "SELECT count(*) FROM api_keys_idempotency";
            assert_eq!(hand.number(count).await, IdempotencyRecord::MOST as i64 + 1);
        }
    }
}

async fn fill(shop: &Shop) {
    if let Database::Memory(store) = &shop.database {
        let mut commit = Commit::new();
        for number in 1..=IdempotencyRecord::MOST {
            let now = shop.hand.clock().wall();
            let mut record = KeyRecord::new(shop.acme.id, "old", now);
            record.id = KeyId::from_u128(number as u128);
            let key = once(&format!("old-{number}"));
            let row = IdempotencyRecord::new(shop.acme.id, Actor::user("alice"), key, [0; 32], record.id, now);
            commit = commit
                .write(Write::InsertKey(record))
                .write(Write::InsertIdempotency(row));
        }
        store.commit(commit).await.unwrap();
        return;
    }
    let (numbers, id, hash) = match shop.database.is_postgres() {
        true => (
            "SELECT n FROM generate_series(1, 10000) AS numbers (n)",
            "CAST(lpad(to_hex(n), 32, '0') AS uuid)",
            "decode(repeat('00', 32), 'hex')",
        ),
        false => (
            "WITH RECURSIVE up (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM up WHERE n < 10000) SELECT n FROM up",
            "unhex(printf('%032x', n))",
            "zeroblob(32)",
        ),
    };
    let insert = format!(
        "INSERT INTO api_keys_idempotency (organization_id, actor, key, request_hash, key_id, created_at, expires_at)
         SELECT ?1, 'user:alice', 'old-' || n, {hash}, {id}, 1, 4000000000000 FROM ({numbers}) numbers"
    );
    shop.database.by_hand(&insert, &[shop.acme.id.as_uuid()]).await;
}

/// Neither the text of the key nor what was asked for is in the row, and of a request that is refused there is nothing at all.
#[tokio::test]
async fn row_has_neither_the_key_nor_the_request() {
    for database in Database::shared() {
        let shop = Shop::over(database).await;
        let request = || shop.request().labels("canary-of-the-label".parse().unwrap());
        let issued = made(shop.once("one", request()).await);
        let _ = made_before(shop.once("one", request()).await);
        for text in ["one", "two"] {
            let other = IssueRequest::new(shop.acme.id, format!("canary of {text}"));
            let refused = shop.once(
                text,
                other
                    .labels("canary-refused".parse().unwrap())
                    .expires_in(Duration::ZERO),
            );
            assert!(refused.await.is_err());
        }
        let rows = shop
            .database
            .hand()
            .await
            .rows("SELECT * FROM api_keys_idempotency", &[])
            .await;
        assert_eq!((rows.len(), rows[0].len()), (1, 7), "{rows:?}");
        let row = rows.concat().concat();
        let text = issued.key.expose_secret();
        let body = text.rsplit('_').next().unwrap();
        for secret in [text, body, "canary", "default", "key "] {
            let digits: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
            assert!(!row.contains(secret) && !row.contains(&digits), "{secret} is in {row}");
        }
        assert!(
            shop.database.has(b"canary-of-the-label"),
            "the record of the key has its label"
        );
        for secret in [text, body, "canary of", "canary-refused"] {
            assert!(!shop.database.has(secret.as_bytes()), "{secret} on {}", shop.database);
        }
    }
}
