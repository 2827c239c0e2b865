//! Cached keys of a file that several processes share: a follower reads its change log meanwhile, and uses of keys are counted.
//!
//! Beside the check written by hand, which does neither, and the same layer over a store in memory.

use std::sync::Arc;

use http::StatusCode;
use tokio::runtime::Runtime;
use tower_api_key::hash::HashPolicy;
use tower_api_key::key::RateLimit;
use tower_api_key::store::SqliteStore;
use tower_api_key::{ApiKeyLayer, ApiKeys, Authenticator, PresentedKey};
use tower_layer::Layer;

use super::{REQUESTS, ROUNDS};
use crate::support::baseline::{Baseline, BaselineService};
use crate::support::http::{Handler, bearer, timed};
use crate::support::{Bounds, keys, median, median_ratio, rounds};

pub fn measure(runtime: &Runtime, bounds: &mut Bounds) {
    for count in [1, 4096] {
        for limit in [None, Some(keys::wide_limit())] {
            one_kind(runtime, count, limit.as_ref(), bounds);
        }
    }
}

fn one_kind(runtime: &Runtime, count: usize, limit: Option<&RateLimit>, bounds: &mut Bounds) {
    let folder = tempfile::tempdir().expect("a folder");
    let limits: Vec<RateLimit> = limit.cloned().into_iter().collect();
    let (texts, followed, alone) = runtime.block_on(async {
        let store = SqliteStore::open(folder.path().join("keys.sqlite"))
            .await
            .expect("a store");
        let texts = keys::issue_into(&store, count, &limits).await;
        let settings = ApiKeys::builder(store).hash_policy(HashPolicy::sha256());
        let opened = settings.formats(keys::format()).open().await.expect("a handle");
        let memory = keys::issue(count, &limits).await;
        let alone = Authenticator::new(memory.store);
        for (text, of_memory) in texts.iter().zip(&memory.texts) {
            let checked = opened.authenticator().check(PresentedKey::new(text.as_bytes())).await;
            checked.expect("a good key");
            let checked = alone.check(PresentedKey::new(of_memory.as_bytes())).await;
            checked.expect("a good key");
        }
        ((texts, memory.texts), opened, alone)
    });
    let (followed_keys, memory_keys) = (credentials(&texts.0), credentials(&texts.1));
    let mut baseline = BaselineService::new(Handler, Arc::new(Baseline::new(&texts.0, limit)));
    let mut followed = followed.layer().layer(Handler);
    let mut alone = ApiKeyLayer::from(alone).layer(Handler);
    let ok = StatusCode::OK;
    let times = rounds(
        ROUNDS,
        &mut [
            &mut || timed(&mut baseline, &followed_keys, REQUESTS, ok),
            &mut || timed(&mut followed, &followed_keys, REQUESTS, ok),
            &mut || timed(&mut alone, &memory_keys, REQUESTS, ok),
        ],
    );
    let [baseline, followed, alone] = times.as_slice() else {
        return;
    };
    let plural = if count == 1 { "" } else { "s" };
    let limits = if limit.is_some() { "one limit" } else { "no limit" };
    let name = format!("{count} key{plural}, {limits}");
    bounds.check(
        &format!("warm check with a follower / baseline, {name}"),
        median_ratio(followed, baseline),
        ..=1.0,
    );
    let each = |side: &[f64]| median(side.to_vec()) / REQUESTS as f64;
    println!(
        "  baseline {:.0} ns, with a follower {:.0} ns, in memory {:.0} ns; follower / memory {:.3}",
        each(baseline),
        each(followed),
        each(alone),
        median_ratio(followed, alone),
    );
}

/// In random order, each key once.
fn credentials(texts: &[String]) -> Vec<http::HeaderValue> {
    use rand::seq::SliceRandom;
    let mut credentials: Vec<_> = texts.iter().map(|key| bearer(key)).collect();
    credentials.shuffle(&mut rand::rng());
    credentials
}
