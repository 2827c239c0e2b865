//! What became of a transaction whose commit failed in between.

use std::sync::Arc;
use std::thread;

use rusqlite::Connection;

use super::{End, WriterThread};
use crate::store::StoreError;
use crate::store::pauses::Pauses;
use crate::store::sqlite::fault::Unusable;
use crate::store::sqlite::pending::Pending;
use crate::store::sqlite::value::first;

impl WriterThread {
    /// Asks on a new connection until it is certain whether the group was committed: all of it was, or none.
    pub(super) fn find_out(&self, group: &[Pending], error: Arc<StoreError>) -> End {
        for pending in group {
            pending.announce_doubt(&self.written.fence);
        }
        // A group that left no audit event left no trace to look for.
        let Some(id) = group.iter().find_map(Pending::traceable) else {
            return End::Unknown(error);
        };
        let was_committed = |connection: Connection| {
            let found = first(
                &connection,
                &self.written.sql.audit.commit_exists,
                &[id.as_uuid().into()],
                |_| Ok(()),
            )?;
            Ok(found.is_some())
        };
        let mut pauses = Pauses::new();
        loop {
            let asked = match self.written.files.check() {
                Ok(()) => self.written.location.reader().and_then(was_committed),
                // It may come back, as a folder that is mounted again does, or be back by now.
                Err(Unusable::Gone(path, source)) if path == self.written.location.path() => {
                    Err(Unusable::Gone(path, source).into())
                }
                // In other files there is no trace.
                Err(_) if self.written.location.path().exists() => return End::Lost(error),
                Err(gone) => Err(gone.into()),
            };
            match asked {
                Ok(true) => return End::Committed(None),
                Ok(false) => {
                    for pending in group {
                        pending.announce_doubt(&self.written.fence);
                    }
                    return End::NotMade(error);
                }
                Err(_) if self.queue.is_closed() => return End::Unknown(error),
                Err(_) => thread::sleep(pauses.take()),
            }
        }
    }
}
