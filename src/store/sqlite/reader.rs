//! The threads that read, each with its own connection.

use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rusqlite::Connection;
use tokio::sync::{Semaphore, oneshot};

use super::connection::enlarge_cache;
use super::fault::Unusable;
use super::queue::Queue;
use super::waiting::answer_of;
use crate::store::{StoreError, StoreErrorKind};

type Read = Box<dyn FnOnce(&Connection) + Send>;

/// Handle of the reader threads, which end when it is dropped.
pub(super) struct Readers {
    queue: Arc<Queue<Read>>,
    /// Scans at once: one fewer than there are threads.
    scans: Arc<Semaphore>,
    /// Scans that run or wait.
    places: Semaphore,
}

impl Readers {
    /// One thread for each connection.
    pub(super) fn start(
        connections: Vec<Connection>,
        capacity: NonZeroUsize,
    ) -> Result<(Self, Vec<JoinHandle<()>>), StoreError> {
        let readers = Self {
            queue: Arc::new(Queue::new(capacity)),
            scans: Arc::new(Semaphore::new(connections.len().saturating_sub(1).max(1))),
            places: Semaphore::new(capacity.get().min(Semaphore::MAX_PERMITS)),
        };
        let mut threads = Vec::new();
        for connection in connections {
            let queue = readers.queue.clone();
            // Dropping `readers` on failure closes the queue, and the threads that were started end.
            let thread = thread::Builder::new()
                .name("api-keys-read".into())
                .spawn(move || serve(&connection, &queue))
                .map_err(Unusable::Thread)?;
            threads.push(thread);
        }
        Ok((readers, threads))
    }

    /// A read of many rows, which may take long: it leaves a thread to the others, so that no list keeps a check of a key
    /// or a revoke waiting.
    pub(super) async fn scan<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let refused = |source| StoreError::with_source(StoreErrorKind::Overloaded, source);
        let _place = self.places.try_acquire().map_err(refused)?;
        let turn = self
            .scans
            .clone()
            .acquire_owned()
            .await
            .map_err(|source| StoreError::with_source(StoreErrorKind::Unavailable, source))?;
        self.read(move |connection| {
            // Held while it runs, also if the caller is gone by then.
            let _turn = turn;
            work(connection)
        })
        .await
    }

    /// Reads on one of the threads. A read whose caller is gone before its turn is skipped.
    pub(super) async fn read<T: Send + 'static>(
        &self,
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
        self.queue.push(read).map_err(refused)?;
        match answer_of(answer).await {
            Ok(answer) => answer,
            Err(gone) => Err(StoreError::with_source(StoreErrorKind::Unavailable, gone)),
        }
    }
}

impl Readers {
    /// The threads end once all reads that wait are answered.
    pub(super) fn close(&self) {
        self.queue.close();
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.close();
    }
}

fn serve(connection: &Connection, queue: &Queue<Read>) {
    let mut has_large_cache = false;
    while let Some(reads) = queue.take(1) {
        for read in reads {
            // A read that panics must not end the thread.
            let _ = catch_unwind(AssertUnwindSafe(|| read(connection)));
            // Its caller has the answer by now.
            has_large_cache = has_large_cache || enlarge_cache(connection).is_ok();
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
        let connections = (0..3).map(|_| Connection::open_in_memory().unwrap()).collect();
        let (readers, _threads) = Readers::start(connections, NonZeroUsize::new(6).unwrap()).unwrap();
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
        let mut scans: Vec<_> = (0..6).map(|_| slow()).collect();
        while begun.load(Ordering::SeqCst) < 2 {
            tokio::task::yield_now().await;
        }
        let error = readers.scan(|_| Ok(())).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Overloaded);
        // Waiting for a turn, a caller may go away.
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
        let (readers, _threads) = Readers::start(vec![connection], NonZeroUsize::MIN).unwrap();
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
