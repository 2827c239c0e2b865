//! What refusing costs, the answer's body included.

use http::{HeaderValue, StatusCode};
use tokio::runtime::Runtime;
use tower_api_key::{ApiKeyLayer, Attempt, Authenticator};
use tower_layer::Layer;

use super::support::http::{Handler, bearer, request, timed};
use super::support::{keys, median};

const ROUNDS: usize = 11;
const REQUESTS: usize = 8_192;

pub fn measure(runtime: &Runtime) {
    println!("refusals, ns each, with their bodies:");
    let keys = runtime.block_on(keys::issue(1, &[keys::narrow_limit()]));
    let authenticator = Authenticator::new(keys.store);
    let check = |key: &str| {
        let attempt = Attempt::new(key.as_bytes()).into_owned();
        runtime.block_on(authenticator.check(attempt)).is_ok()
    };
    // Of the same form, in no store.
    let unknown = runtime.block_on(keys::issue(1, &[])).texts.remove(0);
    let good = &keys.texts[0];
    let wrong = keys::with_wrong_secret(good, 1);
    assert!(check(good) && !check(&unknown));

    let unauthorized = StatusCode::UNAUTHORIZED;
    for (name, credential, status) in [
        ("malformed", HeaderValue::from_static("Bearer key_live_0"), unauthorized),
        (
            "mistyped",
            bearer(&good.replace("key_live_", "key_test_").replace('z', "y")),
            unauthorized,
        ),
        ("wrong secret, fresh", bearer(&wrong), unauthorized),
        ("limit exhausted", bearer(good), StatusCode::TOO_MANY_REQUESTS),
        ("unknown, remembered", bearer(&unknown), unauthorized),
    ] {
        let mut layer = ApiKeyLayer::from(authenticator.clone()).layer(Handler);
        let times = (0..ROUNDS).map(|_| {
            // A refusal is remembered for a second.
            if name.starts_with("unknown") {
                assert!(!check(&unknown));
            }
            timed(&mut layer, std::slice::from_ref(&credential), REQUESTS, status).as_nanos() as f64 / REQUESTS as f64
        });
        println!("  {name:24} {:6.0}", median(times.collect()));
    }
    let _ = request;
}
