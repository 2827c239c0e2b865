//! What PostgreSQL takes: `scripts/services cargo bench --all-features -- store postgres-find postgres-growth postgres-cold`.
//!
//! `postgres-find`: a `find` against the same statement of the driver alone, over the same hop. `postgres-growth`: `find` with
//! 1,000,000 keys against 10,000. `postgres-cold`: the first request with a key, from the socket to the answer, with its read and a
//! hash of the default cost.

mod cold;
mod find;

use tokio_postgres::{Client, NoTls};
use tower_api_key::store::PostgresStore;

use crate::support::{Bounds, is_named, is_wanted, not_measured};

const FIND: &str = "postgres-find";
const GROWTH: &str = "postgres-growth";
const COLD: &str = "postgres-cold";
/// The URL of a server, whose user may make schemas and roles.
const SERVER: &str = "API_KEYS_TEST_POSTGRES";

/// Of the planner, as the store has them.
const SETTINGS: &str = "SET search_path = pg_catalog; SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; \
    SET enable_bitmapscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_material = off; SET jit = off";

/// Whether it ran, or was not asked for: without a server it cannot.
pub async fn run(bounds: &mut Bounds) -> bool {
    let parts = [FIND, GROWTH, COLD];
    if !parts.into_iter().any(is_wanted) {
        return true;
    }
    let Ok(url) = std::env::var(SERVER) else {
        not_measured(
            "PostgreSQL",
            &format!("{SERVER} is not set: put scripts/services in front of the command"),
        );
        return !parts.into_iter().any(is_named);
    };
    if is_wanted(FIND) {
        find::against_the_driver(&url, bounds).await;
    }
    if is_wanted(GROWTH) {
        find::growth(&url, bounds).await;
    }
    if is_wanted(COLD) {
        cold::run(&url, bounds).await;
    }
    true
}

/// A schema of a bench.
struct Place {
    url: String,
    schema: String,
}

impl Place {
    fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            schema: format!("bench_{:x}_{:x}", std::process::id(), rand::random::<u32>()),
        }
    }

    async fn open(&self) -> PostgresStore {
        let builder = PostgresStore::builder().schema(&*self.schema);
        builder.open(&self.url).await.expect("a store")
    }

    /// The driver alone, on a connection with the settings of the store's.
    async fn connect(&self) -> Client {
        let (client, connection) = tokio_postgres::connect(&self.url, NoTls).await.expect("a connection");
        tokio::spawn(connection);
        client.batch_execute(SETTINGS).await.expect("settings");
        client
    }

    async fn remove(self) {
        let client = self.connect().await;
        let name = &self.schema;
        let drop = format!("DROP SCHEMA {name} CASCADE");
        client.batch_execute(&drop).await.expect("no schema");
        let drop = format!("DROP ROLE IF EXISTS {name}_owner, {name}_service, {name}_reader");
        client.batch_execute(&drop).await.expect("no roles");
    }
}
