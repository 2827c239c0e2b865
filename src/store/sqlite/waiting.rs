//! Waiting for an answer of a thread of the store.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::time::Instant;

use tokio::sync::oneshot;
use tokio::sync::oneshot::error::RecvError;

/// The answer of a thread.
///
/// To Tokio, nothing runs while a thread of ours does. Where a test pauses its time, it would move that on to the timeout of
/// this very read, so there the waiter stays awake.
pub(super) async fn answer_of<T>(answer: oneshot::Receiver<T>) -> Result<T, RecvError> {
    let mut answer = pin!(answer);
    poll_fn(|cx| {
        let polled = answer.as_mut().poll(cx);
        if polled.is_pending() && is_time_paused() {
            cx.waker().wake_by_ref();
        }
        polled
    })
    .await
}

/// Whether the time of Tokio stands still while real time goes on.
fn is_time_paused() -> bool {
    let (of_tokio, real) = (tokio::time::Instant::now(), Instant::now());
    while Instant::now() == real {
        std::hint::spin_loop();
    }
    of_tokio == tokio::time::Instant::now()
}
