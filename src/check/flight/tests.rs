//! What loads may share, and what they must not.

use tokio::sync::Semaphore;

use super::*;
use crate::check::tag::Tagger;
use crate::key::KeyFormat;

impl LoadKey for u32 {}
impl LoadKey for &'static str {}
impl LoadKey for Tag {}

/// A load that waits until it may land, and lands as this kind.
async fn landing(runway: Arc<Semaphore>, kind: RejectionKind) -> Landing {
    drop(runway.acquire().await);
    Landing::Failed(kind, None)
}

/// What two requests are told that wait at the same time: of one lookup, with two secrets.
async fn answers<K: LoadKey>(keys: [K; 2]) -> [RejectionKind; 2] {
    let flights = Arc::new(Flights::default());
    let runway = Arc::new(Semaphore::new(0));
    let place = || Place {
        lookup: Lookup::new("lookup").unwrap(),
        client: ClientGroup::UNKNOWN,
    };
    let [one, other] = keys;
    let first = flights.join(one, Some(place()), || {
        landing(runway.clone(), RejectionKind::KeyRevoked)
    });
    let second = flights.join(other, Some(place()), || {
        landing(runway.clone(), RejectionKind::WrongSecret)
    });
    let land = async { runway.add_permits(2) };
    let (first, second, ()) = tokio::join!(first, second, land);
    assert_eq!(flights.len(), 0);
    [first, second].map(|landed| match landed {
        Ok(Landing::Failed(kind, _)) => kind,
        _ => panic!("it landed elsewhere"),
    })
}

fn keys() -> [FlightKey; 2] {
    let format = KeyFormat::cmpz();
    let tagger = Tagger::new();
    let key = |text: &'static [u8]| FlightKey {
        tag: tagger.tag(&format.parse(text).unwrap()),
        as_of: AsOf::Changes(7),
        has_key: true,
    };
    [
        key(b"cmpz_0123456789ABCDEFGHIJKLMNOPQRSTUV"),
        key(b"cmpz_0123456789ABCDEFGHIJKLMNOPQRSTUW"),
    ]
}

#[tokio::test]
async fn two_secrets_of_one_lookup_do_not_answer_each_other() {
    let each_its_own = [RejectionKind::KeyRevoked, RejectionKind::WrongSecret];
    assert_eq!(answers(keys()).await, each_its_own);
    // The mistake that this guards against, and that the test would see it.
    let by_lookup_alone = ["lookup"; 2];
    assert_eq!(answers(by_lookup_alone).await, [RejectionKind::KeyRevoked; 2]);
}

#[tokio::test]
async fn a_request_from_after_a_change_does_not_get_an_answer_from_before_it() {
    let [before, _] = keys();
    let after = FlightKey {
        as_of: AsOf::Changes(8),
        ..before.clone()
    };
    let each_its_own = [RejectionKind::KeyRevoked, RejectionKind::WrongSecret];
    assert_eq!(answers([before.clone(), after.clone()]).await, each_its_own);
    let by_tag_alone = [before.tag, after.tag];
    assert_eq!(answers(by_tag_alone).await, [RejectionKind::KeyRevoked; 2]);
}

#[tokio::test]
async fn a_load_that_has_the_key_is_not_replaced_by_one_that_has_not() {
    let [with, _] = keys();
    let without = FlightKey {
        has_key: false,
        ..with.clone()
    };
    let each_its_own = [RejectionKind::KeyRevoked, RejectionKind::WrongSecret];
    assert_eq!(answers([with, without]).await, each_its_own);
}

#[test]
fn without_a_runtime_there_is_no_load_and_no_trace_of_one() {
    let flights = Arc::new(Flights::default());
    let [key, _] = keys();
    let load = || landing(Arc::new(Semaphore::new(0)), RejectionKind::Busy);
    assert!(matches!(flights.board_or_start(key, None, load), Err(Refuse)));
    assert_eq!(flights.len(), 0);
    assert!(!flights.is_more_than_half_full());
}

#[tokio::test]
async fn one_client_cannot_keep_the_places_of_a_lookup_from_another() {
    let flights = Arc::new(Flights::default());
    let runway = Arc::new(Semaphore::new(0));
    let place = |client: &str| Place {
        lookup: Lookup::new("lookup").unwrap(),
        client: ClientGroup::of(client.parse().ok()),
    };
    let join = |key: u32, client: &str| {
        let load = || landing(runway.clone(), RejectionKind::WrongSecret);
        flights.board_or_start(key, Some(place(client)), load)
    };
    let crowd = [join(1, "192.0.2.1"), join(2, "192.0.2.1")];
    assert!(crowd.iter().all(Result::is_ok));
    assert!(join(3, "192.0.2.1").is_err());
    let owner = join(4, "192.0.2.2");
    assert!(owner.is_ok());
    drop((crowd, owner));
}
