//! Changes that are made over what is stored, and made anew when another one came first.

use super::error::{IssueError, IssueErrorKind};
use crate::store::{StoreError, StoreErrorKind};

/// How often a change is made anew when another one came first, or a random lookup was taken.
pub(super) const ATTEMPTS: usize = 8;
/// The same of a change that stops keys. Of many writers of one row only one wins each time, and someone who changes a key all the
/// time must not keep it alive by that.
pub(super) const ATTEMPTS_TO_STOP: usize = 256;

/// Makes a change that reads rows, and commits what follows from them if they are still the same. That they are not is a
/// [`Conflict`](IssueErrorKind::Conflict): it is made anew then, over what is there now, in at most so many attempts in all.
///
/// A macro, since the future of an async closure that borrows is not `Send` in the eyes of the compiler. `return` and `?` end one
/// attempt.
macro_rules! retried {
    ($attempts:expr, $change:expr) => {{
        let mut retries = $crate::issue::retry::Retries::new($attempts);
        loop {
            let done: Result<_, $crate::issue::error::IssueError> = $change.await;
            if let Some(done) = retries.end(done) {
                break done;
            }
        }
    }};
}
pub(super) use retried;

/// How often a change may still be made anew.
pub(super) struct Retries {
    left: usize,
}

impl Retries {
    pub(super) fn new(attempts: usize) -> Self {
        Self { left: attempts }
    }

    /// What an attempt came to, unless there is another one.
    pub(super) fn end<T>(&mut self, done: Result<T, IssueError>) -> Option<Result<T, IssueError>> {
        self.left = self.left.saturating_sub(1);
        let is_conflict = matches!(&done, Err(error) if error.kind() == IssueErrorKind::Conflict);
        (!is_conflict || self.left == 0).then_some(done)
    }
}

/// The error of a commit that is a conflict also if its store error is of this kind: the row was deleted meanwhile, or made.
pub(super) fn conflict_if(kind: StoreErrorKind) -> impl Fn(StoreError) -> IssueError {
    move |error| match error.kind() == kind {
        true => IssueError::new(IssueErrorKind::Conflict),
        false => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn conflicts_alone_are_tried_again_and_only_so_often() {
        for (attempts, conflicts, expected) in [(8, 0, 1), (8, 7, 8), (8, 8, 8), (1, 1, 1)] {
            let mut calls = 0;
            let done = retried!(attempts, async {
                calls += 1;
                match calls > conflicts {
                    true => Ok(()),
                    false => Err(IssueError::new(IssueErrorKind::Conflict)),
                }
            });
            let is_over = conflicts >= attempts;
            let kind = is_over.then_some(IssueErrorKind::Conflict);
            assert_eq!((done.err().map(|error| error.kind()), calls), (kind, expected));
        }
        let mut calls = 0;
        let other: Result<(), _> = retried!(8, async {
            calls += 1;
            Err(IssueError::new(IssueErrorKind::Revoked))
        });
        assert_eq!((other.unwrap_err().kind(), calls), (IssueErrorKind::Revoked, 1));
    }
}
