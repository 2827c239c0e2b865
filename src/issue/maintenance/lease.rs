//! One process does a task: it holds the task's lease while it works, and keeps it until the task is due again.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use uuid::Uuid;

use crate::clock::Clock;
use crate::store::{Commit, ManagedStore, StoreError, StoreErrorKind, Write};

/// How long a process that vanished keeps others from its task.
const HELD: Duration = Duration::from_secs(60);
/// How often the lease is prolonged.
const RENEWED: Duration = Duration::from_secs(20);

/// The lease of one run of a task.
pub(super) struct Lease<'s, S> {
    store: &'s S,
    task: &'static str,
    /// New for each run: the one that did the task before is somebody else, and the task is not due.
    holder: Uuid,
}

/// Why a task was not done.
pub(super) enum NotDone<E> {
    /// Another process does it, or it is not due.
    Elsewhere,
    /// Another process has taken the lease: this one was cut off for too long.
    Lost,
    Failed(E),
}

impl<'s, S: ManagedStore> Lease<'s, S> {
    /// Does a task that is due, once in a period. Work that goes on without its lease is dropped.
    pub(super) async fn work<T, E: From<StoreError>>(
        store: &'s S,
        clock: &Clock,
        task: &'static str,
        period: Duration,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, NotDone<E>> {
        let lease = Self {
            store,
            task,
            holder: Uuid::from_u128(rand::random()),
        };
        let started = clock.now();
        match lease.hold(HELD).await {
            Ok(()) => {}
            Err(error) if error.kind() == StoreErrorKind::Conflict => return Err(NotDone::Elsewhere),
            // A store without leases is not shared.
            Err(error) if error.kind() == StoreErrorKind::Unsupported => return work.await.map_err(NotDone::Failed),
            Err(error) => return Err(NotDone::Failed(error.into())),
        }
        let mut work = pin!(work);
        let mut held_since = clock.now();
        let result = loop {
            if let Ok(result) = tokio::time::timeout(RENEWED, &mut work).await {
                break result;
            }
            let asked = clock.now();
            match lease.hold(HELD).await {
                Ok(()) => held_since = asked,
                Err(error) if error.kind() == StoreErrorKind::Conflict => return Err(NotDone::Lost),
                // Nobody else can have it yet.
                Err(_) if clock.now().since(held_since) < HELD => {}
                Err(_) => return Err(NotDone::Lost),
            }
        };
        // A failed one is tried again at once, by the first process that comes. If this fails too, the task is done once more.
        let rest = match &result {
            Ok(_) => period.saturating_sub(clock.now().since(started)),
            Err(_) => Duration::ZERO,
        };
        let _ = lease.hold(rest).await;
        result.map_err(NotDone::Failed)
    }

    async fn hold(&self, lasts: Duration) -> Result<(), StoreError> {
        let write = Write::HoldLease {
            task: self.task.to_owned(),
            holder: self.holder,
            lasts,
        };
        self.store.commit(Commit::new().write(write)).await.map(drop)
    }
}
