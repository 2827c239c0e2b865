//! Keys and secrets that someone moves or renames with another program: their uses go with them.

use tower_api_key::store::StoredKey;
use uuid::Uuid;

use super::{Database, insert, new_key, organization};

/// Two organizations with a key each. The first key was used seven times.
struct Moved {
    database: Database,
    organizations: [Uuid; 2],
    keys: [StoredKey; 2],
}

impl Moved {
    async fn over(database: Database) -> Self {
        let store = database.open().await;
        let (acme, other) = (organization(&store).await, organization(&store).await);
        let keys = [new_key(&acme), new_key(&other)];
        for key in &keys {
            insert(&store, key).await.unwrap();
        }
        let moved = Self {
            organizations: [acme.id.as_uuid(), other.id.as_uuid()],
            database,
            keys,
        };
        let used = "UPDATE api_keys_key_use SET requests = 7, last_used_at = 5 WHERE key_id = ?1; \
                    INSERT INTO api_keys_key_networks (key_id, network, first_seen) VALUES (?1, '192.0.2.0/24', 5); \
                    INSERT INTO api_keys_scope_use (key_id, scope, last_used_at) VALUES (?1, 'orders:read', 5)";
        moved.database.by_hand(used, &[moved.id(0)]).await;
        moved
    }

    fn id(&self, index: usize) -> Uuid {
        self.keys[index].record.id.as_uuid()
    }

    fn lookup(&self, index: usize) -> String {
        self.keys[index].secrets[0].lookup.as_str().to_owned()
    }

    /// Lookup, key, organization and requests of each row of uses.
    async fn uses(&self) -> Vec<Vec<String>> {
        let rows = "SELECT lookup, key_id, organization_id, requests FROM api_keys_key_use ORDER BY requests DESC";
        self.database.hand().await.rows(rows, &[]).await
    }

    fn row(&self, lookup: &str, key: Uuid, organization: usize, requests: &str) -> Vec<String> {
        let owner = self.organizations[organization];
        [lookup, &hex(key), &hex(owner), requests].map(str::to_owned).to_vec()
    }
}

fn hex(id: Uuid) -> String {
    id.simple().to_string()
}

#[tokio::test]
async fn key_in_another_organization_takes_its_uses_along() {
    for database in Database::shared() {
        let moved = Moved::over(database).await;
        let [_, other] = moved.organizations;
        let change = "UPDATE api_keys_keys SET organization_id = ?2 WHERE id = ?1";
        moved.database.by_hand(change, &[moved.id(0), other]).await;
        let expected = [
            moved.row(&moved.lookup(0), moved.id(0), 1, "7"),
            moved.row(&moved.lookup(1), moved.id(1), 1, "0"),
        ];
        assert_eq!(moved.uses().await, expected);
    }
}

#[tokio::test]
async fn secret_of_another_key_takes_its_uses_along() {
    for database in Database::shared() {
        let moved = Moved::over(database).await;
        let change = "UPDATE api_keys_key_secrets SET key_id = ?2 WHERE key_id = ?1";
        moved.database.by_hand(change, &[moved.id(0), moved.id(1)]).await;
        let expected = [
            moved.row(&moved.lookup(0), moved.id(1), 1, "7"),
            moved.row(&moved.lookup(1), moved.id(1), 1, "0"),
        ];
        assert_eq!(moved.uses().await, expected);
    }
}

/// What is left under its new name is of a secret that is gone.
#[tokio::test]
async fn renamed_lookup_replaces_a_row_that_was_left_over() {
    for database in Database::shared() {
        let moved = Moved::over(database).await;
        let change = "INSERT INTO api_keys_key_use (lookup, key_id, organization_id, last_used_at, requests) \
                      VALUES ('renamed', ?3, ?2, 9, 99); \
                      UPDATE api_keys_key_secrets SET lookup = 'renamed' WHERE key_id = ?1";
        let [acme, _] = moved.organizations;
        let ids = [moved.id(0), acme, Uuid::from_u128(1)];
        moved.database.by_hand(change, &ids).await;
        let expected = [
            moved.row("renamed", moved.id(0), 0, "7"),
            moved.row(&moved.lookup(1), moved.id(1), 1, "0"),
        ];
        assert_eq!(moved.uses().await, expected);
    }
}

/// Its secret follows in a second statement, or went before in a first one.
#[tokio::test]
async fn key_with_another_id_takes_its_uses_along() {
    let rename = "UPDATE api_keys_keys SET id = ?2 WHERE id = ?1";
    let follow = "UPDATE api_keys_key_secrets SET key_id = ?2 WHERE key_id = ?1";
    for changes in [[rename, follow], [follow, rename]] {
        for database in Database::shared() {
            let moved = Moved::over(database).await;
            let new = Uuid::from_u128(7);
            let hand = moved.database.hand().await.breaks_rules().await;
            let left_over = "INSERT INTO api_keys_key_networks (key_id, network, first_seen) VALUES (?1, '192.0.2.0/24', 1); \
                             INSERT INTO api_keys_scope_use (key_id, scope, last_used_at) VALUES (?1, 'orders:read', 1)";
            hand.run(left_over, &[new]).await;
            for change in changes {
                hand.run(change, &[moved.id(0), new]).await;
            }
            let expected = [
                moved.row(&moved.lookup(0), new, 0, "7"),
                moved.row(&moved.lookup(1), moved.id(1), 1, "0"),
            ];
            assert_eq!(moved.uses().await, expected, "{changes:?}");
            for of_key in [
                "SELECT key_id, first_seen FROM api_keys_key_networks",
                "SELECT key_id, last_used_at FROM api_keys_scope_use",
            ] {
                let rows = hand.rows(of_key, &[]).await;
                assert_eq!(rows, [[hex(new), "5".to_owned()]], "{of_key}");
            }
        }
    }
}
