use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::*;
use crate::key::Organization;
use crate::store::sqlite::statement;
use crate::store::{Change, StoreErrorKind};

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
        let location = Location::new(&folder.path().join("keys.sqlite"), Duration::from_secs(5)).unwrap();
        let queue = Arc::new(Queue::new(NonZeroUsize::new(100).unwrap()));
        let fence = Fence::new();
        let thread = WriterThread {
            connection: location.prepare().unwrap(),
            location: location.clone(),
            fence: fence.clone(),
            queue: queue.clone(),
            commit,
        };
        Self {
            folder,
            location,
            fence,
            writer: Writer { queue },
            thread: Some(thread),
        }
    }

    fn start(&mut self) {
        let thread = self.thread.take().unwrap();
        thread::spawn(move || thread.run());
    }

    async fn insert(&self, organization: &Organization) -> Result<(), StoreError> {
        let organization = organization.clone();
        let change = Change::organization(organization.id, organization.revision);
        let work = move |connection: &Connection| {
            statement::insert_organization(connection, &organization)?;
            Ok(Written {
                value: (),
                change: Some(change),
            })
        };
        self.writer.write(work).await
    }

    fn is_there(&self, organization: &Organization) -> bool {
        let connection = self.location.reader().unwrap();
        statement::organization(&connection, organization.id).unwrap().is_some()
    }
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
async fn a_group_is_one_transaction_and_a_change_that_fails_fails_alone() {
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

#[tokio::test]
async fn a_caller_that_goes_away_changes_nothing() {
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
async fn a_refused_commit_changes_and_announces_nothing() {
    let mut desk = Desk::new(|_| Err(rusqlite::Error::InvalidQuery));
    desk.start();
    let organization = Organization::new("Acme");
    let error = desk.insert(&organization).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    assert!(!desk.is_there(&organization));
    assert_eq!(desk.fence.changes(), 0);
}

#[tokio::test]
async fn a_commit_of_unknown_outcome_that_happened_is_a_success() {
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

#[tokio::test]
async fn a_commit_of_unknown_outcome_that_did_not_happen_is_announced_too() {
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

#[tokio::test]
async fn an_outcome_is_asked_for_until_it_is_certain() {
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
async fn a_change_that_panics_takes_neither_the_thread_nor_the_file() {
    let mut desk = Desk::new(real);
    desk.start();
    let panics = |_: &Connection| -> Result<Written<()>, StoreError> { panic!("on purpose") };
    let error = desk.writer.write(panics).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::OutcomeUnknown);
    let organization = Organization::new("Acme");
    desk.insert(&organization).await.unwrap();
    assert!(desk.is_there(&organization));
    assert!(desk.fence.changes() >= 2);
}

#[tokio::test]
async fn a_full_queue_is_an_answer() {
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
async fn changes_that_wait_when_the_last_handle_goes_are_made() {
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
