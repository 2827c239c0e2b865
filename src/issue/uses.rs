//! Stores uses of keys.

use crate::last_use::PendingUses;
use crate::store::{Commit, ManagedStore, StoreError, StoreErrorKind, Write};

/// Stores the uses that wait in this process, of the handles of this store.
///
/// # Errors
/// Those of the store. What could not be stored is sent again the next time, as the same batch.
pub(crate) async fn flush_uses<S: ManagedStore>(store: &S) -> Result<(), StoreError> {
    let Some(pending) = store.fence().map(PendingUses::of) else {
        return Ok(());
    };
    let Ok(_turn) = pending.turn.acquire().await else {
        return Ok(());
    };
    // One that was kept, and then what came since.
    for _ in 0..2 {
        let Some(batch) = pending.next_batch() else {
            return Ok(());
        };
        if batch.is_empty() {
            pending.stored();
            continue;
        }
        match store.commit(Commit::new().write(Write::AddUses(batch))).await {
            Ok(_) => pending.stored(),
            Err(error) if is_final(error.kind()) => {
                pending.stored();
                return Err(error);
            }
            Err(error) => {
                pending.kept();
                return Err(error);
            }
        }
    }
    Ok(())
}

/// Whether the store would refuse the same batch again.
fn is_final(kind: StoreErrorKind) -> bool {
    matches!(
        kind,
        StoreErrorKind::InvalidCommit | StoreErrorKind::Unsupported | StoreErrorKind::ReadOnly
    )
}
