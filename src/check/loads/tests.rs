//! What loads may share, and what they must not.

use std::task::{Context, Waker};

use tokio::sync::Semaphore;

use super::*;
use crate::check::presented::TaggedKey;
use crate::key::KeyFormat;

/// A load that waits for a permit, and then ends with this kind of rejection.
async fn load(permits: Arc<Semaphore>, kind: RejectionKind) -> LoadResult {
    drop(permits.acquire().await);
    LoadResult::Unavailable(kind, RETRY_AFTER)
}

fn slot(client: ClientGroup) -> LoadSlot {
    LoadSlot {
        lookup: Lookup::new("lookup").unwrap(),
        client,
        is_other: true,
    }
}

/// The answers to two requests that wait at the same time.
async fn answers(keys: [LoadKey; 2]) -> [RejectionKind; 2] {
    let loads = Arc::new(Loads::new(false));
    let permits = Arc::new(Semaphore::new(0));
    let slot = || Some(slot(ClientGroup::UNKNOWN));
    let [one, other] = keys;
    let first = loads.join(one, slot(), |_| load(permits.clone(), RejectionKind::KeyRevoked));
    let second = loads.join(other, slot(), |_| load(permits.clone(), RejectionKind::WrongSecret));
    let open = async { permits.add_permits(2) };
    let (first, second, ()) = tokio::join!(first, second, open);
    assert_eq!(loads.len(), 0);
    assert!(unpoisoned(loads.unproven.lock()).is_empty());
    [first, second].map(|result| match result {
        LoadResult::Unavailable(kind, _) => kind,
        _ => panic!("it ended otherwise"),
    })
}

const SHARED: [RejectionKind; 2] = [RejectionKind::KeyRevoked; 2];
const EACH_ITS_OWN: [RejectionKind; 2] = [RejectionKind::KeyRevoked, RejectionKind::WrongSecret];

/// Keys of one lookup with two secrets.
fn keys() -> [LoadKey; 2] {
    let format = KeyFormat::cmpz();
    let seed = rand::random();
    let key = |text: &'static [u8]| LoadKey {
        tag: TaggedKey::new(&seed, &format.parse(text).unwrap()).unwrap().tag,
        changes: Some(7),
        mark: None,
        has_key: true,
        runtime: None,
    };
    [
        key(b"cmpz_0123456789ABCDEFGHIJKLMNOPQRSTUV"),
        key(b"cmpz_0123456789ABCDEFGHIJKLMNOPQRSTUW"),
    ]
}

#[tokio::test]
async fn secrets_of_one_lookup_do_not_share_a_load() {
    let [one, other] = keys();
    assert_eq!(answers([one.clone(), other]).await, EACH_ITS_OWN);
    // The mistake that this guards against, a key without the secret, would be seen.
    assert_eq!(answers([one.clone(), one]).await, SHARED);
}

#[tokio::test]
async fn request_after_a_change_gets_no_answer_from_before_it() {
    let [before, _] = keys();
    let after = LoadKey {
        changes: Some(8),
        ..before.clone()
    };
    assert_eq!(answers([before.clone(), after.clone()]).await, EACH_ITS_OWN);
    // The mistake that this guards against, a key without the count of changes, would be seen.
    let without_changes = LoadKey {
        changes: before.changes,
        ..after
    };
    assert_eq!(answers([before, without_changes]).await, SHARED);
}

#[tokio::test]
async fn load_with_the_key_is_not_shared_with_one_without() {
    let [with, _] = keys();
    let without = LoadKey {
        has_key: false,
        ..with.clone()
    };
    assert_eq!(answers([with, without]).await, EACH_ITS_OWN);
}

#[test]
fn without_a_runtime_no_load_starts_and_none_is_left() {
    let loads = Arc::new(Loads::new(false));
    let [key, _] = keys();
    let load = |_| load(Arc::new(Semaphore::new(0)), RejectionKind::WrongSecret);
    let joined = pin!(loads.join(key, Some(slot(ClientGroup::UNKNOWN)), load));
    let polled = joined.poll(&mut Context::from_waker(Waker::noop()));
    let Poll::Ready(LoadResult::Unavailable(kind, _)) = polled else {
        panic!("it waits for a runtime");
    };
    assert_eq!(kind, RejectionKind::Busy);
    assert_eq!(loads.len(), 0);
    assert!(unpoisoned(loads.unproven.lock()).is_empty());
}

#[tokio::test]
async fn one_client_cannot_take_all_slots_of_a_lookup() {
    let loads = Arc::new(Loads::new(false));
    let permits = Arc::new(Semaphore::new(0));
    let join = |changes: u64, client: &str| {
        let key = LoadKey {
            changes: Some(changes),
            mark: None,
            tag: keys()[0].tag,
            has_key: true,
            runtime: None,
        };
        let slot = slot(ClientGroup::of(client.parse().ok()));
        let mut load = |_| load(permits.clone(), RejectionKind::WrongSecret);
        loads.join_or_start(&Handle::current(), &key, Some(&slot), &mut load)
    };
    let crowd = [join(1, "192.0.2.1"), join(2, "192.0.2.1")];
    assert!(crowd.iter().all(Option::is_some));
    assert!(join(3, "192.0.2.1").is_none());
    let owner = join(4, "192.0.2.2");
    assert!(owner.is_some());
    drop((crowd, owner));
}

/// A load whose task is on another runtime. The runtime is not driven after this.
fn start_elsewhere(runtime: &tokio::runtime::Runtime, loads: &Arc<Loads>, key: &LoadKey) -> Waiter {
    let mut stuck = |_| load(Arc::new(Semaphore::new(0)), RejectionKind::WrongSecret);
    let slot = slot(ClientGroup::UNKNOWN);
    let waiter = loads.join_or_start(runtime.handle(), key, Some(&slot), &mut stuck);
    waiter.unwrap()
}

/// In paused time: what would wait for longer has an end.
const LONGEST: Duration = Duration::from_secs(5);

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().start_paused(true).build().unwrap()
}

#[test]
fn waiter_starts_over_when_the_runtime_of_the_load_ends() {
    let loads = Arc::new(Loads::new(false));
    let (first, second) = (runtime(), runtime());
    let [key, _] = keys();
    let began = start_elsewhere(&first, &loads, &key);
    second.block_on(async {
        let open = Arc::new(Semaphore::new(1));
        let slot = slot(ClientGroup::UNKNOWN);
        let mut joined = pin!(loads.join(key.clone(), Some(slot), |_| {
            load(open.clone(), RejectionKind::KeyRevoked)
        }));
        let polled = poll_fn(|cx| Poll::Ready(joined.as_mut().poll(cx).is_pending())).await;
        assert!(polled);
        first.shutdown_background();
        let result = timeout(LONGEST, joined).await.expect("it starts over");
        assert!(matches!(result, LoadResult::Unavailable(RejectionKind::KeyRevoked, _)));
    });
    drop(began);
    assert!(unpoisoned(loads.unproven.lock()).is_empty());
}

#[test]
fn waiter_starts_over_when_nobody_drives_the_runtime_of_the_load() {
    let loads = Arc::new(Loads::new(false));
    let (first, second) = (runtime(), runtime());
    let [key, _] = keys();
    let began = start_elsewhere(&first, &loads, &key);
    second.block_on(async {
        let open = Arc::new(Semaphore::new(1));
        let join = loads.join(key.clone(), Some(slot(ClientGroup::UNKNOWN)), |_| {
            load(open.clone(), RejectionKind::KeyRevoked)
        });
        let result = timeout(LONGEST, join).await.expect("it starts over");
        assert!(matches!(result, LoadResult::Unavailable(RejectionKind::KeyRevoked, _)));
    });
    drop((began, first));
    assert_eq!(loads.len(), 0);
    assert!(unpoisoned(loads.unproven.lock()).is_empty());
}

/// How many loads begin, all for one client, until one finds no place. None of them goes on from its read.
async fn begun(loads: &Arc<Loads>, is_other: bool) -> usize {
    for number in 0_u32.. {
        let slot = LoadSlot {
            is_other,
            lookup: Lookup::new(&format!("{number:0>12}")).unwrap(),
            ..slot(ClientGroup::UNKNOWN)
        };
        let key = LoadKey {
            changes: Some(number.into()),
            ..keys()[usize::from(is_other)].clone()
        };
        let forever = |reading| async move {
            let _reading = reading;
            std::future::pending().await
        };
        let mut joining = Box::pin(loads.join(key, Some(slot), forever));
        let begun = poll_fn(|cx| Poll::Ready(joining.as_mut().poll(cx).is_pending())).await;
        if !begun {
            return number as usize;
        }
        // The load ends with its last waiter.
        std::mem::forget(joining);
    }
    usize::MAX
}

#[tokio::test]
async fn keys_that_nothing_speaks_for_have_a_quarter_of_the_loads() {
    let loads = Arc::new(Loads::new(true));
    assert_eq!(begun(&loads, true).await, UNPROVEN / 4);
    assert_eq!(begun(&loads, false).await, UNPROVEN * 3 / 4);
    // Where no checksum proves anything, there are no others.
    assert_eq!(begun(&Arc::new(Loads::new(false)), true).await, UNPROVEN);
}

#[tokio::test]
async fn keys_that_nothing_speaks_for_have_a_quarter_of_the_reads() {
    let loads = Arc::new(Loads::new(true));
    let places = [(true, READING / 4), (false, READING * 3 / 4)];
    for (is_other, most) in places {
        for turn in 0..=most {
            let place = loads.turns.place(ClientGroup::UNKNOWN, is_other).unwrap();
            let taken = poll_fn(|cx| Poll::Ready(pin!(place.turn()).poll(cx))).await;
            assert_eq!(taken.is_ready(), turn < most);
            std::mem::forget(place);
        }
    }
}
