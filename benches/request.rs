//! The cost of checking a request, compared with a check written by hand: `cargo bench -- request`.
//!
//! Both sides of every ratio take turns, round by round. Words choose parts (`warm`, `followed`, `metered`, `threads`, `cold`,
//! `instructions`, `steps`, `refusals`): `cargo bench -- request warm cold`. `--callgrind bare|baseline|layer plain|limited N` only handles `N`
//! requests, for valgrind to count their instructions.

mod cold;
#[cfg(feature = "sqlite")]
mod followed;
mod instructions;
mod metered;
mod refusals;
mod remote;
mod steps;
mod threads;

use std::process::ExitCode;
use std::sync::Arc;

use http::{HeaderValue, StatusCode};
use tokio::runtime::Runtime;
use tower_api_key::key::RateLimit;
use tower_api_key::store::MemoryStore;
use tower_api_key::{ApiKeyLayer, Authenticator, PresentedKey};
use tower_layer::Layer;

use crate::support::baseline::{Baseline, BaselineService};
use crate::support::http::{Handler, ask, bearer, request, timed};
use crate::support::{Bounds, keys, median, median_ratio, rounds};

const ROUNDS: usize = 61;
/// Requests of each side in a round.
const REQUESTS: usize = 16_384;

/// Keys that both sides have cached.
struct Warm {
    keys: Vec<String>,
    limit: Option<RateLimit>,
    baseline: Arc<Baseline>,
    authenticator: Authenticator<MemoryStore>,
}

impl Warm {
    fn new(runtime: &Runtime, count: usize, limit: Option<RateLimit>) -> Self {
        runtime.block_on(async {
            let keys = keys::issue(count, limit.as_slice()).await;
            let authenticator = Authenticator::new(keys.store);
            for key in &keys.texts {
                let presented = PresentedKey::new(key.as_bytes());
                let _ = authenticator.check(presented).await.expect("a good key");
            }
            Self {
                baseline: Arc::new(Baseline::new(&keys.texts, limit.as_ref())),
                keys: keys.texts,
                limit,
                authenticator,
            }
        })
    }

    /// The credentials in random order, each key once.
    fn credentials(&self) -> Vec<HeaderValue> {
        use rand::seq::SliceRandom;
        let mut credentials: Vec<HeaderValue> = self.keys.iter().map(|key| bearer(key)).collect();
        credentials.shuffle(&mut rand::rng());
        credentials
    }

    fn baseline(&self) -> BaselineService<Handler> {
        BaselineService::new(Handler, self.baseline.clone())
    }

    fn name(&self) -> String {
        let plural = if self.keys.len() == 1 { "" } else { "s" };
        let limits = if self.limit.is_some() { "one limit" } else { "no limit" };
        format!("{} key{plural}, {limits}", self.keys.len())
    }
}

pub fn main() -> ExitCode {
    crate::support::subscribe();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    if let Some(arguments) = crate::support::arguments_after("--callgrind") {
        return callgrind(&runtime, &arguments);
    }
    let mut bounds = Bounds::default();
    if crate::support::is_wanted("warm") {
        for count in [1, 4096] {
            for limit in [None, Some(keys::wide_limit())] {
                warm(&Warm::new(&runtime, count, limit), &mut bounds);
            }
        }
    }
    #[cfg(feature = "sqlite")]
    if crate::support::is_wanted("followed") {
        followed::measure(&runtime, &mut bounds);
    }
    let limited = Warm::new(&runtime, 1, Some(keys::wide_limit()));
    if crate::support::is_wanted("metered") {
        metered::measure(&runtime, &limited, &mut bounds);
    }
    if crate::support::is_wanted("threads") {
        threads::measure(&limited, &Warm::new(&runtime, 1, None), &mut bounds);
    }
    if crate::support::is_wanted("cold") {
        cold::measure(&mut bounds);
    }
    if crate::support::is_wanted("instructions") {
        instructions::measure(&mut bounds);
    }
    if crate::support::is_wanted("steps") {
        steps::measure(&limited);
    }
    if crate::support::is_wanted("refusals") {
        refusals::measure(&runtime);
    }
    bounds.exit_code()
}

/// Cached keys through the layer and through the baseline. Prints the ratio of what both add to a bare request, too.
fn warm(warm: &Warm, bounds: &mut Bounds) {
    let credentials = warm.credentials();
    let mut bare = Handler;
    let mut baseline = warm.baseline();
    let mut layer = ApiKeyLayer::from(warm.authenticator.clone()).layer(Handler);
    let ok = StatusCode::OK;
    let times = rounds(
        ROUNDS,
        &mut [
            &mut || timed(&mut bare, &credentials, REQUESTS, ok),
            &mut || timed(&mut baseline, &credentials, REQUESTS, ok),
            &mut || timed(&mut layer, &credentials, REQUESTS, ok),
        ],
    );
    let [bare, baseline, layer] = times.as_slice() else {
        return;
    };
    let added = |side: &[f64]| -> Vec<f64> { side.iter().zip(bare).map(|(side, bare)| side - bare).collect() };
    let name = warm.name();
    bounds.check(
        &format!("warm check / baseline, {name}"),
        median_ratio(layer, baseline),
        ..=1.0,
    );
    let each = |side: &[f64]| median(side.to_vec()) / REQUESTS as f64;
    println!(
        "  baseline {:.0} ns, layer {:.0} ns a request, of which {:.0} ns are the bare request; ratio without it {:.3}",
        each(baseline),
        each(layer),
        each(bare),
        median_ratio(&added(layer), &added(baseline)),
    );
}

/// Handles a number of requests of one cached key, for counting instructions.
fn callgrind(runtime: &Runtime, arguments: &[String]) -> ExitCode {
    let (Some(side), Some(kind), Some(count)) = (
        arguments.first().map(String::as_str),
        arguments.get(1).map(String::as_str),
        arguments.get(2).and_then(|count| count.parse().ok()),
    ) else {
        println!("usage: --callgrind bare|baseline|layer plain|limited COUNT");
        return ExitCode::FAILURE;
    };
    let warm = Warm::new(runtime, 1, (kind == "limited").then(keys::wide_limit));
    let credential = bearer(&warm.keys[0]);
    let mut baseline = warm.baseline();
    let mut layer = ApiKeyLayer::from(warm.authenticator.clone()).layer(Handler);
    for _ in 0..count {
        let request = request(&credential);
        let answer = match side {
            "bare" => ask(&mut Handler, request),
            "baseline" => ask(&mut baseline, request),
            _ => ask(&mut layer, request),
        };
        assert!(answer.status() == StatusCode::OK);
    }
    ExitCode::SUCCESS
}
