//! A load that was begun on one runtime of tokio, and a request on another that waits for it.
//!
//! In real time and against a watchdog: a paused clock jumps over any wait, and a request that never ends fails no test.

use std::panic::resume_unwind;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use rstest::rstest;
use tokio::runtime::{Builder, Runtime};
use tower_api_key::testing::Fault;

use crate::house::*;

/// Far longer than the second after which a request gives up a load elsewhere, and shorter than any wait that a client would
/// take for an answer.
const LONGEST: Duration = Duration::from_secs(6);

/// What becomes of the runtime that the load runs on.
#[derive(Clone, Copy, Debug)]
enum First {
    IsDropped,
    ShutsDownInTheBackground,
    /// As when a thread blocks that should drive it.
    IsDrivenNoMore,
}

/// The result of this work, which must be there in time.
fn in_time<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, result) = channel();
    let worker = thread::spawn(move || {
        let _ = sender.send(work());
    });
    match result.recv_timeout(LONGEST) {
        Ok(result) => result,
        Err(RecvTimeoutError::Timeout) => panic!("no answer within {LONGEST:?}"),
        Err(RecvTimeoutError::Disconnected) => match worker.join() {
            Err(panic) => resume_unwind(panic),
            Ok(()) => panic!("it ended without a result"),
        },
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

#[rstest]
#[case(First::IsDropped)]
#[case(First::ShutsDownInTheBackground)]
#[case(First::IsDrivenNoMore)]
fn request_is_answered_on_its_own_runtime(#[case] becomes: First) {
    in_time(move || {
        let (first, second) = (runtime(), runtime());
        let (house, issued) = second.block_on(async {
            let house = House::new().await;
            let issued = house.key().await;
            (house, issued)
        });
        house.faults().next_find(Fault::Hang);
        // Kept to the end: the load would go away with its last waiter.
        let mut begun = Box::pin(house.check(text(&issued)));
        first.block_on(async {
            assert!(poll_once(begun.as_mut()).await.is_none());
            until(|| house.faults().finds() == 1).await;
        });
        let mut waiting = Box::pin(house.check(text(&issued)));
        second.block_on(async {
            assert!(poll_once(waiting.as_mut()).await.is_none());
            settle().await;
        });
        assert_eq!((house.faults().finds(), house.authenticator.loads_in_flight()), (1, 1));
        let left = match becomes {
            First::IsDropped => {
                drop(first);
                None
            }
            First::ShutsDownInTheBackground => {
                first.shutdown_background();
                None
            }
            First::IsDrivenNoMore => Some(first),
        };
        second.block_on(waiting).unwrap();
        assert_eq!(house.faults().finds(), 2);
        drop((begun, left));
    });
}
