//! The failure budget: wrong keys from one address while the service is under pressure.

use std::convert::Infallible;
use std::future::ready;
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use tokio::task::JoinHandle;
use tower::{Layer, ServiceExt, service_fn};
use tower_api_key::hash::HashPolicy;
use tower_api_key::key::KeyStatus;
use tower_api_key::testing::{Barrier, Fault};
use tower_api_key::{
    ApiKeyLayer, AuthContext, ClientAddress, IssuedKey, PresentedKey, Rejection, RejectionClass, RejectionKind,
};

use crate::house::brake::Brake;
use crate::house::*;

const BURST: usize = 20;
const INTERVAL: Duration = Duration::from_secs(3);
const MALLORY: &str = "198.51.100.66";
const ALICE: &str = "192.0.2.1";

type Checked = Result<AuthContext, Rejection>;

impl House {
    async fn from(&self, address: &str, key: &str) -> Checked {
        self.authenticator.check(presented_from(key, address)).await
    }

    /// `None` for an address that is not known.
    async fn unknown(&self, address: Option<&str>, n: usize) -> Rejection {
        let address: Option<IpAddr> = address.map(|address| address.parse().unwrap());
        let key = unknown_key(n);
        let presented = PresentedKey::new(key.as_bytes()).client_address(address);
        self.authenticator.check(presented).await.unwrap_err()
    }

    /// Exhausts the budget of this address.
    async fn exhaust(&self, address: Option<&str>) {
        for n in 0..BURST {
            assert_eq!(self.unknown(address, n).await.kind(), RejectionKind::UnknownKey, "{n}");
        }
        assert_eq!(
            self.unknown(address, BURST).await.kind(),
            RejectionKind::TooManyFailures
        );
    }
}

/// A house whose hash queue is more than half full, from many addresses.
struct Pressed {
    house: House,
    brake: Brake,
    waiting: Vec<JoinHandle<Checked>>,
    /// Keys with a fast hash, which do not wait in the queue.
    fresh: IssuedKey,
    stale: IssuedKey,
    new: IssuedKey,
}

impl Pressed {
    async fn new(has_budget: bool) -> Self {
        let (brake, pool) = Brake::pool();
        let house = House::with_pool(argon2(), pool, |builder| builder.failure_budget(has_budget)).await;
        let fast = house.issuer_with(|settings| settings.hash_policy(HashPolicy::sha256()));
        let fresh = fast.issue(house.request("fresh")).await.unwrap();
        let stale = fast.issue(house.request("stale")).await.unwrap();
        let new = fast.issue(house.request("new")).await.unwrap();
        let mut slow = Vec::new();
        for _ in 0..10 {
            slow.push(house.key().await);
        }
        house.check(text(&stale)).await.unwrap();
        house.everything_changed();
        house.check(text(&fresh)).await.unwrap();
        let mut waiting = Vec::new();
        for (number, issued) in slow.iter().enumerate() {
            let from = format!("203.0.113.{number}");
            waiting.push(tokio::spawn(
                house.authenticator.check(presented_from(text(issued), &from)),
            ));
            if number == 0 {
                brake.reached(1).await;
            }
        }
        until(|| house.pool.queued() == 9).await;
        assert!(house.pool.is_more_than_half_full());
        Self {
            house,
            brake,
            waiting,
            fresh,
            stale,
            new,
        }
    }

    async fn end(self) {
        self.brake.open();
        for waiting in self.waiting {
            waiting.await.unwrap().unwrap();
        }
        self.house.is_at_rest().await;
    }
}

#[tokio::test]
async fn without_pressure_the_budget_does_not_apply() {
    let house = House::new().await;
    for n in 0..200 {
        assert_eq!(house.unknown(Some(MALLORY), n).await.kind(), RejectionKind::UnknownKey);
    }
}

/// That its lookup is cached, for another key, makes a wrong key no cached one.
#[tokio::test]
async fn wrong_keys_of_a_stale_lookup_need_a_budget_too() {
    let pressed = Pressed::new(true).await;
    let house = &pressed.house;
    house.exhaust(Some(MALLORY)).await;
    let reads = house.faults().finds();
    for n in 0..10 {
        let wrong = with_other_secret(text(&pressed.stale), n);
        let rejection = house.from(MALLORY, &wrong).await.unwrap_err();
        assert_eq!(rejection.kind(), RejectionKind::TooManyFailures);
    }
    assert_eq!(house.faults().finds(), reads, "a refused failure still cost a read");
    house.from(MALLORY, text(&pressed.stale)).await.unwrap();
    pressed.end().await;
}

#[tokio::test]
async fn under_pressure_twenty_then_one_every_three_seconds() {
    let pressed = Pressed::new(true).await;
    let house = &pressed.house;
    house.exhaust(Some(MALLORY)).await;
    let rejection = house.unknown(Some(MALLORY), 50).await;
    assert_eq!(rejection.kind(), RejectionKind::TooManyFailures);
    assert_eq!(rejection.kind().class(), RejectionClass::TooManyRequests);
    assert_eq!(rejection.retry_after(), Some(INTERVAL));
    assert!(rejection.lookup().is_some(), "the log line does not name a key");

    let reads = house.faults().finds();
    for n in 100..200 {
        assert_eq!(
            house.unknown(Some(MALLORY), n).await.kind(),
            RejectionKind::TooManyFailures
        );
    }
    assert_eq!(house.faults().finds(), reads, "a refused failure still cost a read");

    house.hand.advance(INTERVAL - Duration::from_nanos(1));
    assert_eq!(
        house.unknown(Some(MALLORY), 200).await.kind(),
        RejectionKind::TooManyFailures
    );
    house.hand.advance(Duration::from_nanos(1));
    assert_eq!(
        house.unknown(Some(MALLORY), 201).await.kind(),
        RejectionKind::UnknownKey
    );
    assert_eq!(
        house.unknown(Some(MALLORY), 202).await.kind(),
        RejectionKind::TooManyFailures
    );
    house.hand.advance(INTERVAL * BURST as u32);
    house.exhaust(Some(MALLORY)).await;
    pressed.end().await;
}

#[tokio::test]
async fn exhausted_budget_is_429_with_retry_after_and_no_key_details() {
    let pressed = Pressed::new(true).await;
    pressed.house.exhaust(Some(MALLORY)).await;
    let layer = ApiKeyLayer::from(pressed.house.authenticator.clone());
    let inner = service_fn(|_: Request<()>| async { Ok::<_, Infallible>(Response::new(Bytes::new())) });
    let mut answers = Vec::new();
    for key in [
        unknown_key(60),
        with_other_secret(text(&pressed.new), 1),
        text(&pressed.new).to_owned(),
    ] {
        let mut request = Request::builder().header("x-api-key", key).body(()).unwrap();
        request.extensions_mut().insert(ClientAddress(MALLORY.parse().unwrap()));
        let response = layer.layer(inner).oneshot(request).await.unwrap();
        assert_eq!(response.status(), 429);
        let seconds: u64 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
        assert!(seconds >= INTERVAL.as_secs(), "{seconds}");
        assert!(!response.headers().contains_key("www-authenticate"));
        answers.push(response.into_body());
    }
    let problem: serde_json::Value = serde_json::from_slice(&answers[0]).unwrap();
    let registered = "https://iana.org/assignments/http-problem-types#abnormal-usage-detected";
    assert_eq!(problem["type"], registered);
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    pressed.end().await;
}

#[tokio::test]
async fn fresh_and_stale_keys_pass_an_exhausted_budget() {
    let pressed = Pressed::new(true).await;
    let house = &pressed.house;
    house.exhaust(Some(MALLORY)).await;
    house.from(MALLORY, text(&pressed.fresh)).await.unwrap();
    let stale = presented_from(text(&pressed.stale), MALLORY);
    let now = PresentedKey::new(text(&pressed.stale).as_bytes());
    assert!(house.authenticator.try_check(now).is_none(), "it is not stale");
    house.authenticator.check(stale).await.unwrap();
    // A key that was never seen is rejected from that address, and admitted from another.
    let refused = house.from(MALLORY, text(&pressed.new)).await;
    assert_eq!(kind(&refused), RejectionKind::TooManyFailures);
    house.from(ALICE, text(&pressed.new)).await.unwrap();
    pressed.end().await;
}

#[tokio::test]
async fn each_address_has_a_budget_of_its_own() {
    let pressed = Pressed::new(true).await;
    pressed.house.exhaust(Some(MALLORY)).await;
    pressed.house.exhaust(Some(ALICE)).await;
    pressed.end().await;
}

#[tokio::test]
async fn unknown_addresses_share_one_budget() {
    let pressed = Pressed::new(true).await;
    let house = &pressed.house;
    house.exhaust(None).await;
    assert_eq!(house.unknown(None, 500).await.kind(), RejectionKind::TooManyFailures);
    assert_eq!(house.unknown(Some(ALICE), 501).await.kind(), RejectionKind::UnknownKey);
    pressed.end().await;
}

#[tokio::test]
async fn trusted_proxy_is_not_charged() {
    let pressed = Pressed::new(true).await;
    let layer = ApiKeyLayer::from(pressed.house.authenticator.clone())
        .trusted_proxies("x-forwarded-for", "10.0.0.0/8".parse().unwrap())
        .unwrap();
    let inner = service_fn(|_: Request<()>| ready(Ok::<_, Infallible>(Response::new(Bytes::new()))));
    let ask = async |client: &str, n: usize| {
        let request = Request::builder()
            .header("x-api-key", unknown_key(n))
            .header("x-forwarded-for", client);
        let mut request = request.body(()).unwrap();
        let proxy = ClientAddress("10.0.0.1".parse().unwrap());
        request.extensions_mut().insert(proxy);
        layer.layer(inner).oneshot(request).await.unwrap().status().as_u16()
    };
    for n in 0..100 {
        assert_eq!(ask("10.0.0.2", n).await, 401);
    }
    for n in 100..100 + BURST {
        assert_eq!(ask(MALLORY, n).await, 401);
    }
    assert_eq!(ask(MALLORY, 500).await, 429);
    pressed.end().await;
}

/// Otherwise a client that hides its address would have no budget at all.
#[tokio::test]
async fn unreadable_header_does_not_escape_the_budget() {
    let pressed = Pressed::new(true).await;
    let layer = ApiKeyLayer::from(pressed.house.authenticator.clone())
        .trusted_proxies("forwarded", "10.0.0.0/8".parse().unwrap())
        .unwrap();
    let inner = service_fn(|_: Request<()>| ready(Ok::<_, Infallible>(Response::new(Bytes::new()))));
    for n in 0..=BURST {
        let request = Request::builder()
            .header("x-api-key", unknown_key(n))
            .header("forwarded", format!("for=\"open, for={MALLORY}"));
        let mut request = request.body(()).unwrap();
        request
            .extensions_mut()
            .insert(ClientAddress("10.0.0.1".parse().unwrap()));
        let status = layer.layer(inner).oneshot(request).await.unwrap().status();
        assert_eq!(status, if n < BURST { 401 } else { 429 }, "{n}");
    }
    pressed.end().await;
}

#[tokio::test]
async fn ipv6_network_shares_a_budget_and_mapped_ipv4_does_not() {
    let pressed = Pressed::new(true).await;
    let house = &pressed.house;
    house.exhaust(Some("2001:db8:1:2::1")).await;
    let same = house.unknown(Some("2001:db8:1:2:ffff:ffff:ffff:ffff"), 500).await;
    assert_eq!(same.kind(), RejectionKind::TooManyFailures);
    let next = house.unknown(Some("2001:db8:1:3::1"), 501).await;
    assert_eq!(next.kind(), RejectionKind::UnknownKey);
    house.exhaust(Some(MALLORY)).await;
    let mapped = house.unknown(Some(&format!("::ffff:{MALLORY}")), 502).await;
    assert_eq!(mapped.kind(), RejectionKind::TooManyFailures);
    pressed.end().await;
}

#[tokio::test]
async fn wrong_secrets_count_for_fresh_keys_too() {
    let pressed = Pressed::new(true).await;
    let house = &pressed.house;
    for n in 0..BURST {
        let wrong = with_other_secret(text(&pressed.fresh), n);
        assert_eq!(kind(&house.from(MALLORY, &wrong).await), RejectionKind::WrongSecret);
    }
    assert_eq!(
        house.unknown(Some(MALLORY), 1).await.kind(),
        RejectionKind::TooManyFailures
    );
    pressed.end().await;
}

#[tokio::test]
async fn other_rejections_do_not_count() {
    let pressed = Pressed::new(true).await;
    let house = &pressed.house;
    let id = pressed.fresh.record.id;
    let revoke = house.issuer.disable(id).await.unwrap();
    assert_eq!(revoke.status, KeyStatus::Disabled);
    for _ in 0..100 {
        assert_eq!(
            kind(&house.from(MALLORY, text(&pressed.fresh)).await),
            RejectionKind::KeyDisabled
        );
        assert_eq!(
            kind(&house.from(MALLORY, "not a key").await),
            RejectionKind::MalformedKey
        );
    }
    house
        .faults()
        .every_find(Fault::Error(tower_api_key::store::StoreErrorKind::Unavailable));
    for n in 0..100 {
        assert_eq!(
            house.unknown(Some(MALLORY), n).await.kind(),
            RejectionKind::StoreUnavailable
        );
    }
    house.faults().heal();
    house.exhaust(Some(MALLORY)).await;
    pressed.end().await;
}

#[tokio::test(start_paused = true)]
async fn failures_before_the_pressure_count() {
    let house = House::new().await;
    for n in 0..BURST {
        assert_eq!(house.unknown(Some(MALLORY), n).await.kind(), RejectionKind::UnknownKey);
    }
    // Pressure of the other kind: more than half of the loads.
    let barrier = Barrier::new();
    let mut waiting = Vec::new();
    for n in 0..33 {
        if n == 32 {
            assert_eq!(
                house.unknown(Some(MALLORY), 99).await.kind(),
                RejectionKind::UnknownKey,
                "half is not more"
            );
        }
        house.faults().next_find(Fault::Before(barrier.clone()));
        let (key, from) = (unknown_key(10_000 + n), format!("203.0.113.{n}"));
        waiting.push(tokio::spawn(house.authenticator.check(presented_from(&key, &from))));
        barrier.reached(n + 1).await;
    }
    assert_eq!(
        house.unknown(Some(MALLORY), 100).await.kind(),
        RejectionKind::TooManyFailures
    );
    assert_eq!(house.unknown(Some(ALICE), 1).await.kind(), RejectionKind::UnknownKey);
    barrier.open();
    for waiting in waiting {
        assert_eq!(kind(&waiting.await.unwrap()), RejectionKind::UnknownKey);
    }
    // The pressure is over.
    assert_eq!(
        house.unknown(Some(MALLORY), 300).await.kind(),
        RejectionKind::UnknownKey
    );
}

impl House {
    /// More than half of the loads, from many addresses, until the barrier opens.
    async fn press(&self) -> (Barrier, Vec<JoinHandle<Checked>>) {
        let barrier = Barrier::new();
        let mut waiting = Vec::new();
        for n in 0..33 {
            self.faults().next_find(Fault::Before(barrier.clone()));
            let (key, from) = (unknown_key(10_000 + n), format!("203.0.113.{n}"));
            waiting.push(tokio::spawn(self.authenticator.check(presented_from(&key, &from))));
            barrier.reached(n + 1).await;
        }
        (barrier, waiting)
    }
}

async fn relieve(barrier: Barrier, waiting: Vec<JoinHandle<Checked>>) {
    barrier.open();
    for waiting in waiting {
        assert_eq!(kind(&waiting.await.unwrap()), RejectionKind::UnknownKey);
    }
}

/// The hash was made for that client, whether or not it waited for the answer.
#[tokio::test]
async fn wrong_keys_count_if_their_clients_hang_up() {
    let (brake, pool) = Brake::pool();
    let patient = Duration::from_secs(60);
    let house = House::with_pool(argon2(), pool, |builder| builder.read_timeout(patient).unwrap()).await;
    for n in 0..BURST {
        brake.close();
        let issued = house.key().await;
        let wrong = with_other_secret(text(&issued), n);
        let check = tokio::spawn(house.authenticator.check(presented_from(&wrong, MALLORY)));
        brake.reached(n + 1).await;
        check.abort();
        assert!(check.await.unwrap_err().is_cancelled());
        until(|| house.authenticator.loads_in_flight() == 0).await;
        brake.open();
        house.is_at_rest().await;
    }
    let (barrier, waiting) = house.press().await;
    let one_more = house.unknown(Some(MALLORY), 1).await;
    assert_eq!(one_more.kind(), RejectionKind::TooManyFailures);
    assert_eq!(house.unknown(Some(ALICE), 2).await.kind(), RejectionKind::UnknownKey);
    relieve(barrier, waiting).await;
}

/// Otherwise as many as can be in progress would pass with the one that fits every three seconds.
#[tokio::test(start_paused = true)]
async fn keys_sent_together_pass_no_more_often_than_in_turn() {
    let house = House::new().await;
    let (barrier, waiting) = house.press().await;
    house.exhaust(Some(MALLORY)).await;
    for _ in 0..3 {
        house.hand.advance(INTERVAL);
        let volley = Barrier::new();
        let mut checks = Vec::new();
        for n in 0..10 {
            house.faults().next_find(Fault::Before(volley.clone()));
            let key = unknown_key(100 + n);
            checks.push(tokio::spawn(house.authenticator.check(presented_from(&key, MALLORY))));
            settle().await;
        }
        assert_eq!(volley.arrivals(), 1);
        house.faults().heal();
        volley.open();
        let mut kinds = Vec::new();
        for check in checks {
            kinds.push(kind(&check.await.unwrap()));
        }
        assert_eq!(kinds[0], RejectionKind::UnknownKey);
        assert_eq!(kinds[1..], [RejectionKind::TooManyFailures; 9]);
    }
    relieve(barrier, waiting).await;
}

/// One load counts once, however many clients wait for it.
#[tokio::test(start_paused = true)]
async fn wrong_key_with_many_waiters_counts_once() {
    let house = House::new().await;
    let barrier = Barrier::new();
    house.faults().next_find(Fault::Before(barrier.clone()));
    let key = unknown_key(1);
    let mut checks = Vec::new();
    for _ in 0..100 {
        checks.push(tokio::spawn(house.authenticator.check(presented_from(&key, MALLORY))));
        settle().await;
    }
    assert_eq!(house.authenticator.loads_in_flight(), 1);
    barrier.open();
    for check in checks {
        assert_eq!(kind(&check.await.unwrap()), RejectionKind::UnknownKey);
    }
    let (barrier, waiting) = house.press().await;
    for n in 0..BURST - 1 {
        assert_eq!(
            house.unknown(Some(MALLORY), 10 + n).await.kind(),
            RejectionKind::UnknownKey
        );
    }
    let one_more = house.unknown(Some(MALLORY), 50).await;
    assert_eq!(one_more.kind(), RejectionKind::TooManyFailures);
    relieve(barrier, waiting).await;
}

#[tokio::test]
async fn budget_can_be_switched_off() {
    let pressed = Pressed::new(false).await;
    for n in 0..100 {
        assert_eq!(
            pressed.house.unknown(Some(MALLORY), n).await.kind(),
            RejectionKind::UnknownKey
        );
    }
    pressed.end().await;
}
