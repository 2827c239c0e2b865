//! The cost of refusals, with their bodies.

use http::{HeaderValue, StatusCode};
use tokio::runtime::Runtime;
use tower_api_key::key::RateLimit;
use tower_api_key::store::MemoryStore;
use tower_api_key::{ApiKeyLayer, Authenticator, IssueRequest, PresentedKey, Rejection, RejectionKind};
use tower_layer::Layer;

use crate::support::http::{Asked, Handler, ask, bearer, request, timed_with};
use crate::support::{keys, median};

const ROUNDS: usize = 11;
const REQUESTS: usize = 8_192;

pub fn measure(runtime: &Runtime) {
    println!("refusals, ns each, with their bodies:");
    let cases = runtime.block_on(Cases::new());
    let [good, revoked, disabled, elsewhere, limited] = &cases.keys;
    let unknown = keys::unknown();
    for (name, asked, kind) in [
        ("no key", without_key(), RejectionKind::MissingCredential),
        ("two keys", with_two_keys(good), RejectionKind::MultipleCredentials),
        ("malformed", with("key_live_0"), RejectionKind::MalformedKey),
        ("mistyped", with(&mistyped(good)), RejectionKind::MalformedKey),
        ("unknown, remembered", with(&unknown), RejectionKind::UnknownKey),
        (
            "wrong secret, fresh",
            with(&keys::with_wrong_secret(good, 1)),
            RejectionKind::WrongSecret,
        ),
        ("revoked", with(revoked), RejectionKind::KeyRevoked),
        ("disabled", with(disabled), RejectionKind::KeyDisabled),
        ("from elsewhere", with(elsewhere), RejectionKind::NetworkNotAllowed),
        ("limit exhausted", with(limited), RejectionKind::RateLimited),
    ] {
        let mut layer = ApiKeyLayer::from(cases.authenticator.clone()).layer(Handler);
        let mut status = StatusCode::OK;
        let times = (0..ROUNDS).map(|_| {
            // The layer remembers for a second that a key is unknown.
            runtime.block_on(cases.check(&unknown));
            let refused = ask(&mut layer, asked.clone());
            let rejection = refused.extensions().get::<Rejection>().map(Rejection::kind);
            assert_eq!(rejection, Some(kind), "{name}");
            status = refused.status();
            timed_with(&mut layer, || asked.clone(), REQUESTS, status).as_nanos() as f64 / REQUESTS as f64
        });
        let time = median(times.collect());
        println!("  {name:24} {time:6.0}  {}", status.as_u16());
    }
}

/// Cached keys that do not work, each for another reason.
struct Cases {
    authenticator: Authenticator<MemoryStore>,
    keys: [String; 5],
}

impl Cases {
    async fn new() -> Self {
        let store = MemoryStore::new();
        let issuer = keys::issuer(&store);
        let organization = issuer.create_organization("acme").await.expect("an organization");
        let new = |name: &str| IssueRequest::new(organization.id, name);
        let once = RateLimit::per_day("requests", 1).expect("a valid limit");
        let good = issuer.issue(new("good")).await.expect("a key");
        let revoked = issuer.issue(new("revoked")).await.expect("a key");
        issuer.revoke(revoked.record.id, "").await.expect("a revoke");
        let disabled = issuer.issue(new("disabled")).await.expect("a key");
        issuer.disable(disabled.record.id).await.expect("a change");
        let elsewhere = new("elsewhere").networks("192.0.2.0/24".parse().expect("a network"));
        let elsewhere = issuer.issue(elsewhere).await.expect("a key");
        let limited = issuer.issue(new("limited").limit(once)).await.expect("a key");
        let cases = Self {
            authenticator: Authenticator::new(store),
            keys: [good, revoked, disabled, elsewhere, limited].map(|issued| issued.key.expose_secret().to_owned()),
        };
        for key in &cases.keys {
            cases.check(key).await;
        }
        cases
    }

    async fn check(&self, key: &str) {
        let presented = PresentedKey::new(key.as_bytes());
        let _ = self.authenticator.check(presented).await;
    }
}

/// The key with one wrong character in its secret, so that only the checksum is wrong.
fn mistyped(key: &str) -> String {
    let place = key.len() - 10;
    let typed = if &key[place..=place] == "x" { "y" } else { "x" };
    format!("{}{typed}{}", &key[..place], &key[place + 1..])
}

fn with(key: &str) -> Asked {
    request(&bearer(key))
}

fn without_key() -> Asked {
    let mut asked = with("");
    asked.headers_mut().remove(http::header::AUTHORIZATION);
    asked
}

fn with_two_keys(key: &str) -> Asked {
    let mut asked = with(key);
    let value = HeaderValue::try_from(key).expect("a header value");
    asked.headers_mut().insert("x-api-key", value);
    asked
}
