use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::*;
use crate::audit::{AuditAction, AuditEvent};
use crate::key::{Actor, Organization, Timestamp};
use crate::store::sqlite::statements;
use crate::store::{StoreErrorKind, Write};

/// A writer over a file, with a commit of the test's.
struct Desk {
    folder: TempDir,
    location: Location,
    fence: Fence,
    writer: Writer,
    thread: Option<WriterThread>,
}

impl Desk {
    /// The thread is not started yet, so that changes can gather.
    fn new(commit: fn(&Connection) -> rusqlite::Result<()>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let location = Location::new(&folder.path().join("keys.sqlite"), Duration::from_secs(5), false).unwrap();
        let queue = Arc::new(Queue::new(NonZeroUsize::new(100).unwrap()));
        let fence = Fence::new();
        let (connection, sql) = (location.prepare().unwrap(), Arc::new(statements()));
        let latest_change = Arc::new(LatestChange::of(&connection, &sql, fence.clone(), None, &location).unwrap());
        let thread = WriterThread {
            connection,
            written: Written {
                location: location.clone(),
                files: OpenFiles::of(location.path(), None).unwrap(),
                sql,
                fence: fence.clone(),
                own: Arc::default(),
                latest_change,
                journal: None,
            },
            queue: queue.clone(),
            commit,
        };
        Self {
            folder,
            location,
            fence,
            writer: Writer {
                queue,
                ended: watch::channel(()).1,
            },
            thread: Some(thread),
        }
    }

    fn start(&mut self) {
        let thread = self.thread.take().unwrap();
        thread::spawn(move || thread.run());
    }

    async fn insert(&self, organization: &Organization) -> Result<(), StoreError> {
        let event = AuditEvent::new(
            organization.id,
            Timestamp::from_millis(0),
            Actor::system(),
            AuditAction::ORGANIZATION_CREATED,
        );
        let commit = insert(organization).audit(event);
        self.writer.commit(commit).await.map(drop)
    }

    fn is_there(&self, organization: &Organization) -> bool {
        let connection = self.location.reader().unwrap();
        let sql = statements();
        let id = organization.id.as_uuid().into();
        first(&connection, &sql.organization, &[id], |_| Ok(()))
            .unwrap()
            .is_some()
    }
}

fn insert(organization: &Organization) -> Commit {
    Commit::new().write(Write::InsertOrganization(organization.clone()))
}

fn real(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch("COMMIT")
}

/// Polls until each has queued its change.
fn queue_all<F: Future>(futures: &mut [std::pin::Pin<Box<F>>]) {
    let mut context = Context::from_waker(Waker::noop());
    for future in futures {
        assert!(future.as_mut().poll(&mut context).is_pending());
    }
}

#[tokio::test]
async fn group_is_one_transaction_and_a_failing_commit_fails_alone() {
    static COMMITS: AtomicUsize = AtomicUsize::new(0);
    let mut desk = Desk::new(|connection| {
        COMMITS.fetch_add(1, Ordering::SeqCst);
        real(connection)
    });
    let [first, second] = [Organization::new("first"), Organization::new("second")];
    let organizations = [&first, &first, &second];
    let mut changes: Vec<_> = organizations
        .map(|organization| Box::pin(desk.insert(organization)))
        .into();
    queue_all(&mut changes);
    let queue = desk.writer.queue.clone();
    let mut answers = Vec::new();
    let thread = desk.thread.as_ref().unwrap();
    thread.make(&mut queue.take(GROUP).unwrap());
    for change in changes {
        answers.push(change.await.map_err(|error| error.kind()));
    }
    assert_eq!(answers, [Ok(()), Err(StoreErrorKind::AlreadyExists), Ok(())]);
    assert_eq!(COMMITS.load(Ordering::SeqCst), 1);
    assert_eq!(desk.fence.changes(), 2);
    assert!(desk.is_there(&first) && desk.is_there(&second));
    desk.start();
}

/// Told "no such row", its caller would take a key for deleted that is still there.
#[tokio::test]
async fn failure_due_to_a_rolled_back_commit_is_unavailable() {
    static COMMITS: AtomicUsize = AtomicUsize::new(0);
    let mut desk = Desk::new(|connection| match COMMITS.fetch_add(1, Ordering::SeqCst) {
        0 => real(connection),
        _ => Err(rusqlite::Error::InvalidQuery),
    });
    let organization = Organization::new("Acme");
    let commits = [
        insert(&organization),
        Commit::new().write(Write::DeleteOrganization(organization.id)),
        Commit::new().write(Write::UpdateOrganization(organization.clone())),
    ];
    let mut changes: Vec<_> = commits.map(|commit| Box::pin(desk.writer.commit(commit))).into();
    queue_all(&mut changes);
    let (queue, thread) = (desk.writer.queue.clone(), desk.thread.as_ref().unwrap());
    thread.make(&mut queue.take(1).unwrap());
    thread.make(&mut queue.take(GROUP).unwrap());
    let mut answers = Vec::new();
    for change in changes {
        answers.push(change.await.map(drop).map_err(|error| error.kind()));
    }
    let unavailable = Err(StoreErrorKind::Unavailable);
    assert_eq!(answers, [Ok(()), unavailable, unavailable]);
    assert_eq!(
        COMMITS.load(Ordering::SeqCst),
        2,
        "none of the commits is the cause, so none is made again"
    );
    assert!(desk.is_there(&organization));
    desk.start();
}

#[tokio::test]
async fn dropped_caller_does_not_stop_its_commit() {
    let mut desk = Desk::new(real);
    let organization = Organization::new("Acme");
    let mut changes = vec![Box::pin(desk.insert(&organization))];
    queue_all(&mut changes);
    drop(changes);
    desk.start();
    // The thread works in order: when this one is answered, the one before is done.
    desk.insert(&Organization::new("after")).await.unwrap();
    assert!(desk.is_there(&organization));
    assert_eq!(desk.fence.changes(), 2);
}

#[tokio::test]
async fn refused_commit_changes_and_announces_nothing() {
    let mut desk = Desk::new(|_| Err(rusqlite::Error::InvalidQuery));
    desk.start();
    let organization = Organization::new("Acme");
    let error = desk.insert(&organization).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    assert!(!desk.is_there(&organization));
    assert_eq!(desk.fence.changes(), 0);
}

#[tokio::test]
async fn unknown_outcome_that_was_made_is_a_success() {
    let mut desk = Desk::new(|connection| {
        real(connection)?;
        Err(rusqlite::Error::InvalidQuery)
    });
    desk.start();
    let organization = Organization::new("Acme");
    desk.insert(&organization).await.unwrap();
    assert!(desk.is_there(&organization));
    assert_eq!(desk.fence.changes(), 2, "in doubt, and when it was certain");
}

/// It is committed to a file that nobody finds again.
#[cfg(unix)]
#[tokio::test]
async fn log_deleted_during_a_commit_makes_its_outcome_unknown() {
    let mut desk = Desk::new(|connection| {
        std::fs::remove_file(format!("{}-wal", connection.path().unwrap())).unwrap();
        real(connection)
    });
    desk.start();
    let error = desk.insert(&Organization::new("Acme")).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::OutcomeUnknown);
    assert_ne!(desk.fence.changes(), 0, "it may have been made");
    let error = desk.insert(&Organization::new("later")).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unusable);
}

/// It is mixed with what was written over the file.
#[cfg(unix)]
#[tokio::test]
async fn file_written_over_during_a_commit_makes_its_outcome_unknown() {
    let mut desk = Desk::new(|connection| {
        let path = connection.path().unwrap();
        std::fs::copy(format!("{path}.backup"), path).unwrap();
        real(connection)
    });
    let backup = desk.folder.path().join("keys.sqlite.backup");
    let made = desk.location.reader().unwrap();
    made.pragma_update(None, "query_only", false).unwrap();
    made.execute("VACUUM INTO ?1", [backup.to_str().unwrap()]).unwrap();
    desk.start();
    let error = desk.insert(&Organization::new("Acme")).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::OutcomeUnknown);
    assert_ne!(desk.fence.changes(), 0, "it may have been made");
    let error = desk.insert(&Organization::new("later")).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unusable);
}

#[tokio::test]
async fn unknown_outcome_that_was_not_made_is_announced() {
    let mut desk = Desk::new(|connection| {
        connection.execute_batch("ROLLBACK")?;
        Err(rusqlite::Error::InvalidQuery)
    });
    desk.start();
    let organization = Organization::new("Acme");
    let error = desk.insert(&organization).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    assert!(!desk.is_there(&organization));
    assert_eq!(desk.fence.changes(), 2);
}

/// The first attempt may have been made after all.
#[tokio::test]
async fn group_of_unknown_outcome_is_not_made_again() {
    static COMMITS: AtomicUsize = AtomicUsize::new(0);
    let mut desk = Desk::new(|connection| {
        COMMITS.fetch_add(1, Ordering::SeqCst);
        connection.execute_batch("ROLLBACK")?;
        let failed = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR);
        Err(rusqlite::Error::SqliteFailure(failed, None))
    });
    let organizations = [Organization::new("first"), Organization::new("second")];
    let mut changes: Vec<_> = organizations
        .iter()
        .map(|organization| Box::pin(desk.insert(organization)))
        .collect();
    queue_all(&mut changes);
    let thread = desk.thread.as_ref().unwrap();
    thread.make(&mut desk.writer.queue.take(GROUP).unwrap());
    for change in changes {
        assert_eq!(change.await.unwrap_err().kind(), StoreErrorKind::Unavailable);
    }
    assert_eq!(COMMITS.load(Ordering::SeqCst), 1);
    assert!(organizations.iter().all(|organization| !desk.is_there(organization)));
    desk.start();
}

#[tokio::test]
async fn unknown_outcome_is_read_back_until_it_is_certain() {
    let mut desk = Desk::new(|connection| {
        real(connection)?;
        let path = connection.path().unwrap();
        std::fs::rename(path, format!("{path}.away")).unwrap();
        Err(rusqlite::Error::InvalidQuery)
    });
    desk.start();
    let organization = Organization::new("Acme");
    let mut change = pin!(desk.insert(&organization));
    assert!(
        change
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_pending()
    );
    let deadline = Instant::now() + Duration::from_secs(30);
    while desk.fence.changes() == 0 {
        assert!(Instant::now() < deadline, "the doubt is not announced");
        tokio::task::yield_now().await;
    }
    assert!(
        change
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_pending()
    );
    let path = desk.folder.path().join("keys.sqlite");
    std::fs::rename(path.with_extension("sqlite.away"), path).unwrap();
    change.await.unwrap();
    assert_eq!(desk.fence.changes(), 2);
}

#[tokio::test]
async fn panic_ends_neither_the_thread_nor_the_file() {
    static COMMITS: AtomicUsize = AtomicUsize::new(0);
    let mut desk = Desk::new(|connection| {
        assert!(COMMITS.fetch_add(1, Ordering::SeqCst) > 0, "on purpose");
        real(connection)
    });
    desk.start();
    let organization = Organization::new("Acme");
    let error = desk.insert(&organization).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::OutcomeUnknown);
    assert!(!desk.is_there(&organization));
    desk.insert(&organization).await.unwrap();
    assert!(desk.is_there(&organization));
    assert!(desk.fence.changes() >= 2);
}

/// Nothing tells of it afterwards: the doubt is announced, and returned.
#[tokio::test]
async fn unknown_outcome_without_audit_event_stays_unknown() {
    let mut desk = Desk::new(|connection| {
        real(connection)?;
        Err(rusqlite::Error::InvalidQuery)
    });
    desk.start();
    let organization = Organization::new("Acme");
    let error = desk.writer.commit(insert(&organization)).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::OutcomeUnknown);
    assert!(desk.is_there(&organization));
    assert!(desk.fence.changes() >= 1);
}

#[tokio::test]
async fn full_queue_is_overloaded() {
    let mut desk = Desk::new(real);
    let organization = Organization::new("Acme");
    let mut waiting: Vec<_> = (0..100).map(|_| Box::pin(desk.insert(&organization))).collect();
    queue_all(&mut waiting);
    let error = desk.insert(&organization).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Overloaded);
    drop(waiting);
    desk.start();
}

#[tokio::test]
async fn waiting_commits_are_made_when_the_last_handle_drops() {
    let mut desk = Desk::new(real);
    let organization = Organization::new("Acme");
    let mut waiting = vec![Box::pin(desk.insert(&organization))];
    queue_all(&mut waiting);
    drop(waiting);
    let (thread, (ended, end)) = (desk.thread.take().unwrap(), mpsc::channel());
    desk.writer.queue.close();
    thread::spawn(move || {
        thread.run();
        ended.send(()).unwrap();
    });
    end.recv().unwrap();
    assert!(desk.is_there(&organization));
}
