//! A commit that is settled and announced whatever happens to its caller.

use std::future::Future;

use crate::fence::{Change, Fence};
use crate::key::Subject;
use crate::store::pauses::Pauses;
use crate::store::{Committed, StoreError, StoreErrorKind};

/// Makes a commit and announces it, in a task of its own: for stores whose commit is an await.
///
/// The caller's future may be dropped at any time (a client hangs up). A change whose announcement was dropped with it
/// would leave a revoked key working from caches, so the task goes on by itself.
///
/// `subjects` are those of the commit, [`Commit::subjects`](crate::store::Commit::subjects). `commit` answers
/// [`OutcomeUnknown`](StoreErrorKind::OutcomeUnknown) when the connection broke while committing. Then the subjects are
/// announced at once, `read_back` is asked on a new connection until it is certain, and they are announced again:
/// `Ok(Some(committed))` says that the commit was made, `Ok(None)` that it was not and never will be, `OutcomeUnknown` that
/// nobody can find out, another error that it must be asked again (after 10 ms, then after longer pauses up to 1 s). Any
/// other error of `commit` promises that nothing changed.
///
/// ```
/// use tower_api_key::Fence;
/// use tower_api_key::key::{KeyId, Subject};
/// use tower_api_key::store::{Change, Committed, commit_change};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let (fence, key) = (Fence::new(), KeyId::new());
/// let commit = async move { Ok(Committed::new(vec![Change::new(key, 2)])) };
/// let committed = commit_change(&fence, vec![Subject::Key(key)], commit, async || Ok(None)).await?;
/// assert_eq!(committed.revision_of(key), Some(2));
/// assert_eq!(fence.changes(), 1);
/// # Ok::<_, tower_api_key::store::StoreError>(())
/// # }).unwrap();
/// ```
///
/// # Errors
/// Those of `commit`. [`Unavailable`](StoreErrorKind::Unavailable) when an unknown outcome turned out as "not made".
/// `OutcomeUnknown` when `read_back` says so, when `commit` or `read_back` panicked, or the runtime ended or has no timers;
/// the subjects were announced then.
///
/// # Panics
/// Outside a Tokio runtime.
pub async fn commit_change<C, R, A>(
    fence: &Fence,
    subjects: Vec<Subject>,
    commit: C,
    read_back: R,
) -> Result<Committed, StoreError>
where
    C: Future<Output = Result<Committed, StoreError>> + Send + 'static,
    R: FnMut() -> A + Send + 'static,
    A: Future<Output = Result<Option<Committed>, StoreError>> + Send + 'static,
{
    commit_change_then(fence, subjects, commit, read_back, async { Ok(()) }, || ()).await
}

/// The same, with what follows a commit that was made and announced: what the answer waits for, and what comes after that.
pub(super) async fn commit_change_then<C, R, A>(
    fence: &Fence,
    subjects: Vec<Subject>,
    commit: C,
    read_back: R,
    record: impl Future<Output = Result<(), StoreError>> + Send + 'static,
    then: impl FnOnce() + Send + 'static,
) -> Result<Committed, StoreError>
where
    C: Future<Output = Result<Committed, StoreError>> + Send + 'static,
    R: FnMut() -> A + Send + 'static,
    A: Future<Output = Result<Option<Committed>, StoreError>> + Send + 'static,
{
    let announcement = Announcement {
        fence: fence.clone(),
        subjects,
        in_doubt: true,
    };
    let task = tokio::spawn(async move {
        let settled = settle(announcement, commit, read_back).await;
        let Ok(committed) = settled else {
            return settled;
        };
        let recorded = record.await;
        then();
        recorded.map(|()| committed)
    });
    match task.await {
        Ok(answer) => answer,
        Err(gone) => Err(StoreError::with_source(StoreErrorKind::OutcomeUnknown, gone)),
    }
}

async fn settle<C, R, A>(mut announcement: Announcement, commit: C, mut read_back: R) -> Result<Committed, StoreError>
where
    C: Future<Output = Result<Committed, StoreError>>,
    R: FnMut() -> A,
    A: Future<Output = Result<Option<Committed>, StoreError>>,
{
    let unknown = match commit.await {
        Ok(committed) => {
            announcement.committed(&committed);
            return Ok(committed);
        }
        Err(error) if error.kind() == StoreErrorKind::OutcomeUnknown => error,
        Err(error) => {
            announcement.nothing_changed();
            return Err(error);
        }
    };
    announce_doubt(&announcement.fence, &announcement.subjects);
    let mut pauses = Pauses::new();
    loop {
        match read_back().await {
            Ok(Some(committed)) => {
                announcement.committed(&committed);
                return Ok(committed);
            }
            // Dropping the announcement announces once more: readers may have been slower than the first one.
            Ok(None) => return Err(unknown.into_kind(StoreErrorKind::Unavailable)),
            Err(error) if error.kind() == StoreErrorKind::OutcomeUnknown => return Err(error),
            Err(_) => tokio::time::sleep(pauses.take()).await,
        }
    }
}

/// Announces subjects that may have changed. Without their revisions: if the commit had failed after all, the row that
/// is still there would count as outdated from then on.
pub(super) fn announce_doubt(fence: &Fence, subjects: &[Subject]) {
    let changes: Vec<Change> = subjects.iter().map(|subject| Change::new(*subject, 0)).collect();
    fence.announce(&changes);
}

/// Announces when it is dropped, unless the outcome is known: neither a panic nor the end of the runtime may skip it.
struct Announcement {
    fence: Fence,
    subjects: Vec<Subject>,
    in_doubt: bool,
}

impl Announcement {
    fn committed(&mut self, committed: &Committed) {
        self.in_doubt = false;
        self.fence.announce(&committed.changes);
    }

    fn nothing_changed(&mut self) {
        self.in_doubt = false;
    }
}

impl Drop for Announcement {
    fn drop(&mut self) {
        if self.in_doubt {
            announce_doubt(&self.fence, &self.subjects);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Waker};

    use tokio::sync::Notify;

    use super::*;
    use crate::key::KeyId;

    fn subjects() -> Vec<Subject> {
        vec![KeyId::new().into()]
    }

    fn committed() -> Committed {
        Committed::new(vec![Change::new(KeyId::new(), 2)])
    }

    async fn nobody_asks() -> Result<Option<Committed>, StoreError> {
        panic!("a known outcome was asked for")
    }

    fn error(kind: StoreErrorKind) -> Result<Committed, StoreError> {
        Err(StoreError::new(kind))
    }

    #[tokio::test]
    async fn commit_continues_when_its_caller_goes_away_at_any_poll() {
        // Three awaits inside; the caller leaves after each number of polls.
        for polls in 1..6 {
            let fence = Fence::new();
            let (step, made) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
            let commit = {
                let (step, made) = (step.clone(), made.clone());
                async move {
                    step.notified().await;
                    made.store(1, Ordering::SeqCst);
                    tokio::task::yield_now().await;
                    tokio::task::yield_now().await;
                    Ok(committed())
                }
            };
            let mut caller = Box::pin(commit_change(&fence, subjects(), commit, nobody_asks));
            let mut ended = false;
            for _ in 0..polls {
                ended = ended || caller.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
                step.notify_one();
                tokio::task::yield_now().await;
            }
            assert!(!ended || fence.changes() == 1);
            drop(caller);
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            assert_eq!(made.load(Ordering::SeqCst), 1);
            assert_eq!(fence.changes(), 1);
        }
    }

    #[tokio::test]
    async fn certain_failure_is_not_announced() {
        let fence = Fence::new();
        let commit = async { error(StoreErrorKind::Conflict) };
        let answer = commit_change(&fence, subjects(), commit, nobody_asks).await;
        assert_eq!(answer.unwrap_err().kind(), StoreErrorKind::Conflict);
        assert_eq!(fence.changes(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn unknown_outcome_is_announced_at_once_and_when_settled() {
        let unknown = StoreErrorKind::OutcomeUnknown;
        for (there, kind) in [
            (Ok(Some(committed())), None),
            (Ok(None), Some(StoreErrorKind::Unavailable)),
            (Err(unknown), Some(unknown)),
        ] {
            let fence = Fence::new();
            let asked = AtomicUsize::new(0);
            let announced = fence.clone();
            let read_back = move || {
                assert_eq!(announced.changes(), 1);
                let answer = match asked.fetch_add(1, Ordering::SeqCst) {
                    0..5 => Err(StoreError::new(StoreErrorKind::Unavailable)),
                    _ => there.clone().map_err(StoreError::new),
                };
                std::future::ready(answer)
            };
            let commit = async { error(StoreErrorKind::OutcomeUnknown) };
            let answer = commit_change(&fence, subjects(), commit, read_back).await;
            assert_eq!(answer.err().map(|error| error.kind()), kind);
            assert_eq!(fence.changes(), 2);
        }
    }

    #[tokio::test]
    async fn panicking_commit_is_announced() {
        let fence = Fence::new();
        let commit = async { panic!("on purpose") };
        let answer = commit_change(&fence, subjects(), commit, nobody_asks).await;
        assert_eq!(answer.unwrap_err().kind(), StoreErrorKind::OutcomeUnknown);
        assert_eq!(fence.changes(), 1);
    }

    #[test]
    fn runtime_that_ends_during_a_commit_is_announced() {
        let fence = Fence::new();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let never = std::future::pending::<Result<Committed, StoreError>>();
            let mut caller = Box::pin(commit_change(&fence, subjects(), never, nobody_asks));
            assert!(
                caller
                    .as_mut()
                    .poll(&mut Context::from_waker(Waker::noop()))
                    .is_pending()
            );
        });
        assert_eq!(fence.changes(), 0);
        drop(runtime);
        assert_eq!(fence.changes(), 1);
    }
}
