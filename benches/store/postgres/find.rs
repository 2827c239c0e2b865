//! `find`, against the driver, and with few keys and many.

use std::sync::Arc;
use std::time::{Duration, Instant};

use deadpool_postgres::{Manager, Pool};
use tokio_postgres::{Client, NoTls, Statement};
use tower_api_key::key::Lookup;
use tower_api_key::store::{KeyStore, ManagedStore, PostgresStore};

use super::Place;
use crate::store::rows;
use crate::support::{Bounds, median, median_ratio};

const FEW: usize = 10_000;
const MANY: usize = 1_000_000;
const ROUNDS: usize = 61;
const FINDS: usize = 300;
/// Lookups that are kept to be found, at random among all.
const KEPT: usize = 20_000;

/// One `find` and the same statement by the driver take turns, one after another, each on a connection that is open. Both sides
/// look for the same keys.
pub async fn against_the_driver(url: &str, bounds: &mut Bounds) {
    let filled = Arc::new(Filled::new(url, FEW).await);
    let text = filled.statement().await;
    let client = filled.place.connect().await;
    let statement = client.prepare(&text).await.expect("the statement of `find`");
    let driver = Arc::new((client, statement));
    let (mut by_store, mut by_hand) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let sample = Arc::new(filled.sample());
        let (mut store, mut hand) = (Duration::ZERO, Duration::ZERO);
        for turn in 0..2 {
            // On a worker, as a service does, and in reverse order in odd rounds.
            if (turn + round) % 2 == 0 {
                let (filled, sample) = (filled.clone(), sample.clone());
                store = timed(async move { filled.finds(&sample).await }).await;
            } else {
                let (driver, sample) = (driver.clone(), sample.clone());
                hand = timed(async move { queries(&driver.0, &driver.1, &sample).await }).await;
            }
        }
        // The first round warms up.
        if round > 0 {
            by_store.push(store.as_nanos() as f64 / FINDS as f64);
            by_hand.push(hand.as_nanos() as f64 / FINDS as f64);
        }
    }
    println!(
        "find in PostgreSQL: {:.1} us, by the driver alone {:.1} us",
        median(by_store.clone()) / 1e3,
        median(by_hand.clone()) / 1e3
    );
    let ratio = median_ratio(&by_store, &by_hand);
    bounds.check("find in PostgreSQL / the driver's same statement", ratio, ..=1.3);
    remove(filled).await;
}

pub async fn growth(url: &str, bounds: &mut Bounds) {
    let sides = [
        Arc::new(Filled::new(url, FEW).await),
        Arc::new(Filled::new(url, MANY).await),
    ];
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..=ROUNDS {
        for turn in 0..2 {
            let index = (turn + round) % 2;
            let filled = sides[index].clone();
            let sample = filled.sample();
            let took = timed(async move { filled.finds(&sample).await }).await;
            if round > 0 {
                times[index].push(took.as_nanos() as f64 / FINDS as f64);
            }
        }
    }
    for (filled, times) in sides.iter().zip(&times) {
        println!(
            "find of {} keys in PostgreSQL: {:.1} us",
            filled.keys,
            median(times.clone()) / 1e3
        );
    }
    let ratio = median_ratio(&times[1], &times[0]);
    bounds.check(&format!("find in PostgreSQL {MANY}/{FEW} keys"), ratio, ..=2.0);
    for filled in sides {
        remove(filled).await;
    }
}

async fn timed(work: impl Future<Output = Duration> + Send + 'static) -> Duration {
    tokio::spawn(work).await.expect("a task")
}

async fn queries(client: &Client, statement: &Statement, sample: &[Lookup]) -> Duration {
    let began = Instant::now();
    for lookup in sample {
        let row = client
            .query_opt(statement, &[&lookup.as_str()])
            .await
            .expect("an answer");
        // There is a row for any lookup, with its first columns.
        let found: Option<String> = row.expect("a row").get("lookup");
        assert!(found.is_some());
    }
    began.elapsed()
}

async fn remove(filled: Arc<Filled>) {
    if let Some(filled) = Arc::into_inner(filled) {
        drop(filled.store);
        filled.place.remove().await;
    }
}

/// A schema with so many keys.
struct Filled {
    place: Place,
    store: PostgresStore,
    keys: usize,
    lookups: Vec<Lookup>,
}

impl Filled {
    async fn new(url: &str, keys: usize) -> Self {
        let (place, began) = (Place::new(url), Instant::now());
        let store = place.open().await;
        let acme = rows::organization(&store).await;
        let first = rows::insert(&[rows::key(&acme, 0)], false);
        store.commit(first).await.expect("a commit");
        let client = place.connect().await;
        // Plans of the bench's own statements are free.
        client.batch_execute("RESET ALL").await.expect("settings");
        let name = &place.schema;
        for statement in [
            // Copies of the first key, with ids as they are made: UUIDs of version 7, in the order of time.
            format!(
                "INSERT INTO {name}.keys SELECT r.* FROM {name}.keys k, generate_series(1, {}) g, LATERAL jsonb_populate_record(k, \
                 jsonb_build_object('id', lpad(to_hex(1790000000000 + g), 12, '0') || '7' || substr(md5(random()::text), 1, 3) || '8' \
                 || substr(md5(random()::text), 1, 15), 'name', 'key ' || g, 'name_folded', 'key ' || g)) r",
                keys - 1
            ),
            format!(
                "INSERT INTO {name}.key_secrets SELECT r.* FROM {name}.key_secrets t, {name}.keys k, LATERAL jsonb_populate_record(t, \
                 jsonb_build_object('key_id', k.id, 'lookup', substr(md5(k.id::text), 1, 12), 'hash', \
                 'sha256:' || md5(k.id::text) || md5(k.name))) r WHERE k.id <> t.key_id ON CONFLICT (lookup) DO NOTHING"
            ),
            format!("VACUUM (ANALYZE) {name}.keys, {name}.key_secrets, {name}.key_use"),
            // Nothing is written back while it is measured.
            "CHECKPOINT".to_owned(),
        ] {
            client.batch_execute(&statement).await.expect("rows");
        }
        let kept = format!("SELECT lookup FROM {name}.key_secrets ORDER BY random() LIMIT {KEPT}");
        let kept = client.query(&kept, &[]).await.expect("lookups");
        let lookups: Vec<Lookup> = kept
            .iter()
            .map(|row| Lookup::new(row.get::<_, &str>(0)).expect("a lookup"))
            .collect();
        // Once each: else the first look at a page would be measured, which is the disk's.
        for lookup in &lookups {
            assert!(store.find(lookup).await.expect("an answer").is_some());
        }
        println!("{keys} keys in PostgreSQL: filled in {:.1?}", began.elapsed());
        Self {
            place,
            store,
            keys,
            lookups,
        }
    }

    fn sample(&self) -> Vec<Lookup> {
        let one = |_| self.lookups[rand::random_range(0..self.lookups.len())].clone();
        (0..FINDS).map(one).collect()
    }

    async fn finds(&self, sample: &[Lookup]) -> Duration {
        let began = Instant::now();
        for lookup in sample {
            let found = self.store.find(lookup).await.expect("an answer");
            assert!(found.is_some());
        }
        began.elapsed()
    }

    /// The statement of `find`. The server has it, prepared on the connection of a pool that both use.
    async fn statement(&self) -> String {
        let manager = Manager::new(self.place.url.parse().expect("a URL"), NoTls);
        let pool = Pool::builder(manager).max_size(2).build().expect("a pool");
        let builder = PostgresStore::builder().schema(&*self.place.schema);
        let store = builder.with_pool(pool.clone()).await.expect("a store");
        store.find(&self.lookups[0]).await.expect("an answer");
        let client = pool.get().await.expect("a connection");
        // Its own text is one of them.
        let prepared = "SELECT statement FROM pg_catalog.pg_prepared_statements WHERE statement LIKE '%key_secrets s ON s.lookup = $1%' \
             AND statement NOT LIKE '%pg_prepared_statements%'";
        let rows = client.query(prepared, &[]).await.expect("an answer");
        assert!(rows.len() == 1, "{} statements look like that of `find`", rows.len());
        rows[0].get(0)
    }
}
