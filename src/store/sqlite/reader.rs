//! The threads that read, each with its own connection.

use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::connection::enlarge_cache;
use super::fault::Unusable;
use super::queue::Queue;
use super::waiting::answer_of;
use crate::store::{StoreError, StoreErrorKind};

type Read = Box<dyn FnOnce(&Connection) + Send>;

/// Handle of the reader threads, which end when it is dropped.
pub(super) struct Readers {
    queue: Arc<Queue<Read>>,
    scans: Arc<Queue<Read>>,
}

impl Readers {
    /// One thread for each connection. Those that scan keep the small cache that SQLite begins with: what they read is read once, and
    /// would fill one that is large, of each of them, with all of the file.
    pub(super) fn start(
        reading: Vec<Connection>,
        scanning: Vec<Connection>,
        capacity: NonZeroUsize,
    ) -> Result<(Self, Vec<JoinHandle<()>>), StoreError> {
        let readers = Self {
            queue: Arc::new(Queue::new(capacity)),
            scans: Arc::new(Queue::new(capacity)),
        };
        let mut threads = Vec::new();
        let reading = reading.into_iter().map(|connection| (connection, &readers.queue, true));
        let scanning = scanning
            .into_iter()
            .map(|connection| (connection, &readers.scans, false));
        for (connection, queue, has_large_cache) in reading.chain(scanning) {
            let queue = queue.clone();
            // Dropping `readers` on failure closes the queues, and the threads that were started end.
            let thread = thread::Builder::new()
                .name("api-keys-read".into())
                .spawn(move || serve(&connection, &queue, has_large_cache))
                .map_err(Unusable::Thread)?;
            threads.push(thread);
        }
        Ok((readers, threads))
    }

    /// A read of many rows, which may take long: on a thread of its own, so that no list keeps a check of a key or a revoke waiting.
    pub(super) async fn scan<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        asked(&self.scans, work).await
    }

    /// A read of few rows.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        asked(&self.queue, work).await
    }

    /// The threads end once all reads that wait are answered.
    pub(super) fn close(&self) {
        self.queue.close();
        self.scans.close();
    }
}

/// Reads on one of the threads of a queue. A read whose caller is gone before its turn is skipped.
async fn asked<T: Send + 'static>(
    queue: &Queue<Read>,
    work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let (reply, answer) = oneshot::channel();
    let read = Box::new(move |connection: &Connection| {
        if !reply.is_closed() {
            // If the caller is gone by now, the answer is dropped.
            let _ = reply.send(work(connection));
        }
    });
    let refused = |source| StoreError::with_source(StoreErrorKind::Overloaded, source);
    queue.push(read).map_err(refused)?;
    match answer_of(answer).await {
        Ok(answer) => answer,
        Err(gone) => Err(StoreError::with_source(StoreErrorKind::Unavailable, gone)),
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.close();
    }
}

fn serve(connection: &Connection, queue: &Queue<Read>, has_large_cache: bool) {
    let mut is_as_it_should_be = !has_large_cache;
    while let Some(reads) = queue.take(1) {
        for read in reads {
            // A read that panics must not end the thread.
            let _ = catch_unwind(AssertUnwindSafe(|| read(connection)));
            // Its caller has the answer by now.
            is_as_it_should_be = is_as_it_should_be || enlarge_cache(connection).is_ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn scans_leave_a_thread_to_other_reads() {
        let connections = |number| (0..number).map(|_| Connection::open_in_memory().unwrap()).collect();
        let (readers, _threads) =
            Readers::start(connections(1), connections(2), NonZeroUsize::new(4).unwrap()).unwrap();
        let readers = Arc::new(readers);
        let (go_on, begun) = (Arc::new(Barrier::new(3)), Arc::new(AtomicUsize::new(0)));
        let slow = || {
            let (readers, go_on, begun) = (readers.clone(), go_on.clone(), begun.clone());
            tokio::spawn(async move {
                let scan = move |_: &Connection| {
                    if begun.fetch_add(1, Ordering::SeqCst) < 2 {
                        go_on.wait();
                    }
                    Ok(())
                };
                readers.scan(scan).await
            })
        };
        let mut scans: Vec<_> = (0..2).map(|_| slow()).collect();
        while begun.load(Ordering::SeqCst) < 2 {
            tokio::task::yield_now().await;
        }
        scans.extend((0..4).map(|_| slow()));
        tokio::task::yield_now().await;
        let error = readers.scan(|_| Ok(())).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Overloaded);
        // Waiting for its turn, a caller may go away.
        scans.pop().unwrap().abort();
        for _ in 0..100 {
            readers.read(|_| Ok(())).await.unwrap();
        }
        assert_eq!(begun.load(Ordering::SeqCst), 2);
        go_on.wait();
        for scan in scans {
            scan.await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn full_queue_differs_from_a_lost_connection() {
        let connection = Connection::open_in_memory().unwrap();
        let (readers, _threads) = Readers::start(vec![connection], Vec::new(), NonZeroUsize::MIN).unwrap();
        let (begun, go_on) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
        let slow = readers.read({
            let (begun, go_on) = (begun.clone(), go_on.clone());
            move |_| {
                begun.wait();
                go_on.wait();
                Ok(())
            }
        });
        let others = async {
            begun.wait();
            let too_many = async {
                let error = readers.read(|_| Ok(())).await.unwrap_err();
                go_on.wait();
                error
            };
            tokio::join!(readers.read(|_| Ok(())), too_many)
        };
        let (slow, (waiting, too_many)) = tokio::join!(slow, others);
        slow.unwrap();
        waiting.unwrap();
        assert_eq!(too_many.kind(), StoreErrorKind::Overloaded);
        let lost = readers.read::<()>(|_| panic!("on purpose")).await.unwrap_err();
        assert_eq!(lost.kind(), StoreErrorKind::Unavailable);
    }
}
