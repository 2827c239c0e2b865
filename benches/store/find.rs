//! `find`, with few keys and with many.

use std::time::Instant;

use tower_api_key::key::Lookup;
use tower_api_key::store::{KeyStore, ManagedStore, SqliteStore};

use super::rows::{self, File};
use crate::support::{Bounds, median, median_ratio};

/// Writes of one commit; a key has two.
const KEYS_OF_COMMIT: usize = 32_768;
const ROUNDS: usize = 41;
const FINDS: usize = 500;
/// Lookups that are kept to be found, spread among all.
const KEPT: usize = 20_000;

struct Filled {
    keys: usize,
    store: SqliteStore,
    lookups: Vec<Lookup>,
    _file: File,
}

pub async fn run(bounds: &mut Bounds) {
    let mut sizes = vec![10_000, 1_000_000];
    if std::env::var("API_KEYS_TESTS").is_ok_and(|size| size == "full") {
        sizes.push(10_000_000);
    }
    let mut filled = Vec::new();
    for keys in sizes {
        filled.push(fill(keys).await);
    }
    // A key that nobody has found for long is read from the disk, which is another figure.
    for store in &filled {
        println!(
            "first find of each, of {} keys: {:.1} us",
            store.keys,
            first_finds(store).await / 1e3
        );
    }
    let mut times = vec![Vec::new(); filled.len()];
    for round in 0..=ROUNDS {
        for (store, times) in filled.iter().zip(&mut times) {
            let time = finds(store).await;
            // The first round warms up.
            if round > 0 {
                times.push(time);
            }
        }
    }
    for (store, times) in filled.iter().zip(&times) {
        println!("find of {} keys: {:.1} us", store.keys, median(times.clone()) / 1e3);
    }
    let (first, rest) = times.split_first().expect("a size");
    for (store, times) in filled[1..].iter().zip(rest) {
        let growth = median_ratio(times, first);
        bounds.check(&format!("find {}/{} keys", store.keys, filled[0].keys), growth, ..=2.0);
    }
}

async fn fill(keys: usize) -> Filled {
    let (file, began) = (File::new(), Instant::now());
    let store = file.open().await;
    let acme = rows::organization(&store).await;
    let mut lookups = Vec::new();
    let every = keys.div_ceil(KEPT);
    for first in (0..keys).step_by(KEYS_OF_COMMIT) {
        let numbers = first..keys.min(first + KEYS_OF_COMMIT);
        let keys: Vec<_> = numbers.map(|number| rows::key(&acme, number)).collect();
        lookups.extend(keys.iter().step_by(every).map(|(_, secret)| secret.lookup.clone()));
        store.commit(rows::insert(&keys, false)).await.expect("a commit");
    }
    let bytes = std::fs::metadata(&file.path).map_or(0, |file| file.len());
    println!("{keys} keys: {} MiB, filled in {:.1?}", bytes >> 20, began.elapsed());
    Filled {
        keys,
        store,
        lookups,
        _file: file,
    }
}

/// Nanoseconds of one `find` of each key that is found later. What other stores have written since may have taken its place in the
/// operating system's memory.
async fn first_finds(filled: &Filled) -> f64 {
    let began = Instant::now();
    for lookup in &filled.lookups {
        assert!(filled.store.find(lookup).await.expect("an answer").is_some());
    }
    began.elapsed().as_nanos() as f64 / filled.lookups.len() as f64
}

/// Nanoseconds of one `find`, of keys at random.
async fn finds(filled: &Filled) -> f64 {
    let began = Instant::now();
    for _ in 0..FINDS {
        let lookup = &filled.lookups[rand::random_range(0..filled.lookups.len())];
        let found = filled.store.find(lookup).await.expect("an answer");
        assert!(found.is_some());
    }
    began.elapsed().as_nanos() as f64 / FINDS as f64
}
