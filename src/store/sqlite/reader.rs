//! The threads that read, each with its own connection.

use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::fault::Unusable;
use super::queue::Queue;
use crate::store::{StoreError, StoreErrorKind};

type Read = Box<dyn FnOnce(&Connection) + Send>;

/// Handle of the reader threads, which end when it is dropped.
pub(super) struct Readers {
    queue: Arc<Queue<Read>>,
}

impl Readers {
    /// One thread for each connection.
    pub(super) fn start(
        connections: Vec<Connection>,
        capacity: NonZeroUsize,
    ) -> Result<(Self, Vec<JoinHandle<()>>), StoreError> {
        let readers = Self {
            queue: Arc::new(Queue::new(capacity)),
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
        match answer.await {
            Ok(answer) => answer,
            Err(gone) => Err(StoreError::with_source(StoreErrorKind::Unavailable, gone)),
        }
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.queue.close();
    }
}

fn serve(connection: &Connection, queue: &Queue<Read>) {
    while let Some(reads) = queue.take(1) {
        for read in reads {
            // A read that panics must not end the thread.
            let _ = catch_unwind(AssertUnwindSafe(|| read(connection)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

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
