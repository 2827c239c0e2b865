//! A call that is polled by hand, so that something else happens between its turns, however busy the machine is.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

/// A call of a store that is under way.
pub(super) struct Progress<F: Future> {
    call: Pin<Box<F>>,
    answer: Option<F::Output>,
}

impl<F: Future> Progress<F> {
    pub(super) fn of(call: F) -> Self {
        Self {
            call: Box::pin(call),
            answer: None,
        }
    }

    /// Polls it once; whether it is still under way.
    pub(super) async fn turn(&mut self) -> bool {
        poll_fn(|context| {
            self.poll(context);
            Poll::Ready(self.answer.is_none())
        })
        .await
    }

    /// The answer of something else, which goes first at every turn. The call goes on as well: it may hold a lock that the
    /// other waits for.
    pub(super) async fn beside<T>(&mut self, other: impl Future<Output = T>) -> T {
        let mut other = pin!(other);
        poll_fn(|context| {
            let answer = other.as_mut().poll(context);
            if answer.is_pending() {
                self.poll(context);
            }
            answer
        })
        .await
    }

    pub(super) async fn end(mut self) -> F::Output {
        match self.answer.take() {
            Some(answer) => answer,
            None => self.call.await,
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) {
        if self.answer.is_none()
            && let Poll::Ready(answer) = self.call.as_mut().poll(context)
        {
            self.answer = Some(answer);
        }
    }
}
