//! A change that is announced whatever happens to its caller.

use std::future::Future;

use crate::fence::Fence;
use crate::key::{KeyId, OrganizationId};
use crate::store::pauses::Pauses;
use crate::store::{StoreError, StoreErrorKind};

/// What a commit changes: a key or an organization, and the revision that it has afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    of: Subject,
    revision: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    Key(KeyId),
    Organization(OrganizationId),
}

impl Change {
    /// A key's record or secrets change to this revision.
    pub const fn key(id: KeyId, revision: u64) -> Self {
        Self {
            of: Subject::Key(id),
            revision,
        }
    }

    /// An organization changes to this revision.
    pub const fn organization(id: OrganizationId, revision: u64) -> Self {
        Self {
            of: Subject::Organization(id),
            revision,
        }
    }

    /// Tells the fence that the change is committed.
    pub fn announce(&self, fence: &Fence) {
        match self.of {
            Subject::Key(id) => fence.key_changed(id, self.revision),
            Subject::Organization(id) => fence.organization_changed(id, self.revision),
        }
    }

    #[cfg(feature = "sqlite")]
    pub(super) fn subject(&self) -> Subject {
        self.of
    }

    #[cfg(feature = "sqlite")]
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    /// Tells the fence that the change may have been committed. Without the revision: were it announced and the commit
    /// had failed, the row that is still there would count as outdated for ever.
    pub(super) fn announce_doubt(&self, fence: &Fence) {
        Self { revision: 0, ..*self }.announce(fence);
    }
}

/// Commits a change and announces it, in a task of its own: for stores whose commit is an await.
///
/// The caller's future may be dropped at any time (a client hangs up), and a change whose announcement was dropped
/// with it would leave a revoked key working from caches. Here the task goes on by itself.
///
/// `commit` answers [`OutcomeUnknown`](StoreErrorKind::OutcomeUnknown) when the connection broke while committing.
/// Then the fence is bumped at once, `read_back` is asked on a new connection until it is certain, and the fence is
/// bumped again: `Ok(Some(value))` says that the change is there, `Ok(None)` that it is not and never will be, an error
/// that it must be asked again (after 10 ms, then ever longer pauses up to 1 s). Any other error of `commit` promises
/// that nothing changed.
///
/// ```
/// use tower_api_key::Fence;
/// use tower_api_key::key::KeyId;
/// use tower_api_key::store::{Change, StoreError, commit_change};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let fence = Fence::new();
/// let commit = async { Ok::<_, StoreError>("done") };
/// let answer = commit_change(&fence, Change::key(KeyId::new(), 2), commit, async || Ok(None)).await?;
/// assert_eq!(answer, "done");
/// assert_eq!(fence.changes(), 1);
/// # Ok::<_, StoreError>(())
/// # }).unwrap();
/// ```
///
/// # Errors
/// Those of `commit`. [`Unavailable`](StoreErrorKind::Unavailable) when an unknown outcome turned out as "not there".
/// `OutcomeUnknown` when `commit` or `read_back` panicked, the runtime went down under it, or has no timers to ask again
/// with; the fence was bumped then.
///
/// # Panics
/// Outside a Tokio runtime.
pub async fn commit_change<T, C, R, A>(fence: &Fence, change: Change, commit: C, read_back: R) -> Result<T, StoreError>
where
    T: Send + 'static,
    C: Future<Output = Result<T, StoreError>> + Send + 'static,
    R: FnMut() -> A + Send + 'static,
    A: Future<Output = Result<Option<T>, StoreError>> + Send + 'static,
{
    let announcement = Announcement {
        fence: fence.clone(),
        change,
        in_doubt: true,
    };
    let task = tokio::spawn(settle(announcement, commit, read_back));
    match task.await {
        Ok(answer) => answer,
        Err(gone) => Err(StoreError::with_source(StoreErrorKind::OutcomeUnknown, gone)),
    }
}

async fn settle<T, C, R, A>(mut announcement: Announcement, commit: C, mut read_back: R) -> Result<T, StoreError>
where
    C: Future<Output = Result<T, StoreError>>,
    R: FnMut() -> A,
    A: Future<Output = Result<Option<T>, StoreError>>,
{
    let unknown = match commit.await {
        Ok(value) => {
            announcement.committed();
            return Ok(value);
        }
        Err(error) if error.kind() == StoreErrorKind::OutcomeUnknown => error,
        Err(error) => {
            announcement.nothing_changed();
            return Err(error);
        }
    };
    announcement.change.announce_doubt(&announcement.fence);
    let mut pauses = Pauses::new();
    loop {
        match read_back().await {
            Ok(Some(value)) => {
                announcement.committed();
                return Ok(value);
            }
            // Dropping the announcement bumps once more: readers may have been slower than the first bump.
            Ok(None) => return Err(StoreError::with_source(StoreErrorKind::Unavailable, unknown)),
            Err(_) => tokio::time::sleep(pauses.take()).await,
        }
    }
}

/// Bumps when it is dropped, unless the outcome is known: a panic or a runtime that ends must not skip it.
struct Announcement {
    fence: Fence,
    change: Change,
    in_doubt: bool,
}

impl Announcement {
    fn committed(&mut self) {
        self.in_doubt = false;
        self.change.announce(&self.fence);
    }

    fn nothing_changed(&mut self) {
        self.in_doubt = false;
    }
}

impl Drop for Announcement {
    fn drop(&mut self) {
        if self.in_doubt {
            self.change.announce_doubt(&self.fence);
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

    fn change() -> Change {
        Change::key(KeyId::new(), 2)
    }

    async fn nobody_asks() -> Result<Option<()>, StoreError> {
        panic!("a known outcome was asked for")
    }

    fn error(kind: StoreErrorKind) -> Result<(), StoreError> {
        Err(StoreError::new(kind))
    }

    #[tokio::test]
    async fn a_change_goes_on_without_its_caller_wherever_it_goes() {
        // Three awaits inside; the caller leaves after each number of polls.
        for polls in 1..6 {
            let fence = Fence::new();
            let (step, committed) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
            let commit = {
                let (step, committed) = (step.clone(), committed.clone());
                async move {
                    step.notified().await;
                    committed.store(1, Ordering::SeqCst);
                    tokio::task::yield_now().await;
                    tokio::task::yield_now().await;
                    Ok(())
                }
            };
            let mut caller = Box::pin(commit_change(&fence, change(), commit, nobody_asks));
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
            assert_eq!(committed.load(Ordering::SeqCst), 1);
            assert_eq!(fence.changes(), 1);
        }
    }

    #[tokio::test]
    async fn a_commit_that_failed_for_certain_is_not_announced() {
        let fence = Fence::new();
        let commit = async { error(StoreErrorKind::Conflict) };
        let answer = commit_change(&fence, change(), commit, nobody_asks).await;
        assert_eq!(answer.unwrap_err().kind(), StoreErrorKind::Conflict);
        assert_eq!(fence.changes(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn an_unknown_outcome_is_announced_at_once_and_again_when_it_is_certain() {
        for (there, kind) in [(Some(()), None), (None, Some(StoreErrorKind::Unavailable))] {
            let fence = Fence::new();
            let asked = AtomicUsize::new(0);
            let announced = fence.clone();
            let read_back = move || {
                assert_eq!(announced.changes(), 1);
                let answer = match asked.fetch_add(1, Ordering::SeqCst) {
                    0..5 => Err(StoreError::new(StoreErrorKind::Unavailable)),
                    _ => Ok(there),
                };
                std::future::ready(answer)
            };
            let commit = async { error(StoreErrorKind::OutcomeUnknown) };
            let answer = commit_change(&fence, change(), commit, read_back).await;
            assert_eq!(answer.err().map(|error| error.kind()), kind);
            assert_eq!(fence.changes(), 2);
        }
    }

    #[tokio::test]
    async fn a_commit_that_panics_is_announced() {
        let fence = Fence::new();
        let commit = async { panic!("on purpose") };
        let answer = commit_change(&fence, change(), commit, nobody_asks).await;
        assert_eq!(answer.unwrap_err().kind(), StoreErrorKind::OutcomeUnknown);
        assert_eq!(fence.changes(), 1);
    }

    #[test]
    fn a_runtime_that_ends_under_a_commit_is_announced() {
        let fence = Fence::new();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let never = std::future::pending::<Result<(), StoreError>>();
            let mut caller = Box::pin(commit_change(&fence, change(), never, nobody_asks));
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
