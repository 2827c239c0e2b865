//! Changes the keys of a selection.

use std::collections::BTreeMap;

use super::preview::{PAGE, check_number};
use super::selection::KeySelection;
use crate::audit::{AuditAction, AuditEvent};
use crate::issue::difference;
use crate::issue::error::{IssueError, IssueErrorKind};
use crate::issue::issuer::{ATTEMPTS, Issuer};
use crate::issue::status::{ATTEMPTS_TO_STOP, LONGEST_REASON};
use crate::key::{KeyId, KeyRecord, KeyState, KeyStatus, Revocation, StateChange, Subject, shortened};
use crate::store::{Change, Commit, Committed, ManagedStore, StoreErrorKind, Write};

/// What a bulk change did.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BulkChange {
    /// The keys that it changed, as they are now. Those that were as they should be already are not among them.
    pub changed: Vec<KeyRecord>,
}

/// One kind of change, and why it is made.
pub(in crate::issue) struct Bulk<'b> {
    selection: &'b KeySelection,
    pub(in crate::issue) reason: &'b str,
    attempts: usize,
}

impl<S: ManagedStore> Issuer<S> {
    /// Disables all keys of a selection, in one transaction. Each key keeps what it was disabled by, so that
    /// [`enable_all`](Self::enable_all) of the same selection undoes this change and no other. Of the reason, the first 1,024
    /// bytes are kept, in the audit trail.
    ///
    /// Keys that are made or join the selection in between are disabled too, in a further transaction: when this returns, no key
    /// that was selected when it was last read is left. New ones can be made afterwards: disable the
    /// [user](Self::disable_user) as well.
    ///
    /// # Errors
    /// Those of [`preview`](Self::preview); [`Conflict`](IssueErrorKind::Conflict) when changes of the status of these keys came
    /// first 256 times. Nothing is changed then, unless it was keys made in between that could not be changed.
    pub async fn disable_all(&self, selection: &KeySelection, reason: &str) -> Result<BulkChange, IssueError> {
        let hold = selection.to_string();
        let bulk = Bulk::to_stop(selection, reason);
        self.change_all(&bulk, |_, state| state.held(&hold)).await
    }

    /// Lets the keys work again that [`disable_all`](Self::disable_all) of the same selection disabled, in one transaction. A key
    /// that was disabled by itself, or by another selection, stays disabled.
    ///
    /// # Errors
    /// As for [`disable_all`](Self::disable_all), after 8 times.
    pub async fn enable_all(&self, selection: &KeySelection) -> Result<BulkChange, IssueError> {
        let hold = selection.to_string();
        let bulk = Bulk {
            selection,
            reason: "",
            attempts: ATTEMPTS,
        };
        self.change_all(&bulk, |_, state| state.released(&hold)).await
    }

    /// Ends all keys of a selection permanently, in one transaction; otherwise as [`disable_all`](Self::disable_all).
    ///
    /// # Errors
    /// As for [`disable_all`](Self::disable_all).
    pub async fn revoke_all(&self, selection: &KeySelection, reason: &str) -> Result<BulkChange, IssueError> {
        let bulk = Bulk::to_stop(selection, reason);
        let revocation = self.revocation(bulk.reason);
        self.change_all(&bulk, |_, state| state.revoked(&revocation)).await
    }

    pub(in crate::issue) fn revocation(&self, reason: &str) -> Revocation {
        Revocation::new(self.clock.wall(), reason, self.actor.clone())
    }

    /// Changes what there is to be changed until there is nothing left. The first commit has all keys that existed; a further
    /// one has those that came in between.
    pub(super) async fn change_all(
        &self,
        bulk: &Bulk<'_>,
        change: impl Fn(&KeyRecord, KeyState) -> KeyState + Send + Sync,
    ) -> Result<BulkChange, IssueError> {
        let mut changed = BTreeMap::new();
        let mut attempts = 0;
        loop {
            let (commit, mut records) = self.prepare(bulk, &change).await?;
            if records.is_empty() {
                if changed.is_empty() {
                    self.confirm_done().await?;
                }
                let changed = changed.into_values().collect();
                return Ok(BulkChange { changed });
            }
            attempts += 1;
            if attempts > bulk.attempts {
                return Err(IssueError::new(IssueErrorKind::Conflict));
            }
            match self.commit(commit).await {
                Ok(committed) => {
                    set_revisions(&mut records, &committed);
                    changed.extend(records);
                }
                // Of the state of one of these keys; or one was deleted.
                Err(error) if matches!(error.kind(), StoreErrorKind::Conflict | StoreErrorKind::NotFound) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The commit that changes all selected keys that are not as they should be, and what they are then.
    pub(in crate::issue) async fn prepare(
        &self,
        bulk: &Bulk<'_>,
        change: &(impl Fn(&KeyRecord, KeyState) -> KeyState + Send + Sync),
    ) -> Result<(Commit, BTreeMap<KeyId, KeyRecord>), IssueError> {
        let (mut commit, mut records) = (Commit::new(), BTreeMap::new());
        // What is found done may not be announced yet; in pieces, of which none makes every cached key stale.
        let mut done = Vec::new();
        self.each_selected(bulk.selection, |before| {
            let was = KeyState::of(&before);
            let state = change(&before, was.clone());
            if state == was {
                done.push(Change::new(before.id, before.revision));
                if done.len() == usize::from(PAGE) {
                    self.announce_all_again(&mut done);
                }
                return Ok(());
            }
            check_number(commit.writes.len() + 1)?;
            let mut after = before.clone();
            state.clone().set(&mut after);
            commit.audit.push(self.bulk_event(bulk, &before, &after));
            let change = StateChange::new(&before, state);
            commit.writes.push(Write::SetKeyState(change));
            records.insert(after.id, after);
            Ok(())
        })
        .await?;
        self.announce_all_again(&mut done);
        Ok((commit, records))
    }

    fn announce_all_again(&self, done: &mut Vec<Change>) {
        if let Some(fence) = self.store.fence() {
            fence.announce(done);
        }
        done.clear();
    }

    fn bulk_event(&self, bulk: &Bulk<'_>, before: &KeyRecord, after: &KeyRecord) -> AuditEvent {
        let action = match after.status {
            // Disabled by something else too, before or afterwards.
            status if status == before.status => AuditAction::KEY_UPDATED,
            KeyStatus::Active => AuditAction::KEY_ENABLED,
            KeyStatus::Disabled => AuditAction::KEY_DISABLED,
            KeyStatus::Revoked => AuditAction::KEY_REVOKED,
        };
        let mut event = self.key_event(after, action).reason(bulk.reason);
        if after.holds != before.holds {
            let holds: Vec<&str> = after.holds.iter().collect();
            event = event.detail("holds", holds.join(", "));
        }
        difference::of_key(
            event.detail("selection", bulk.selection.to_string()),
            Some(before),
            after,
        )
    }
}

impl<'b> Bulk<'b> {
    pub(in crate::issue) fn to_stop(selection: &'b KeySelection, reason: &'b str) -> Self {
        Self {
            selection,
            reason: shortened(reason, LONGEST_REASON),
            attempts: ATTEMPTS_TO_STOP,
        }
    }
}

fn set_revisions(records: &mut BTreeMap<KeyId, KeyRecord>, committed: &Committed) {
    for change in &committed.changes {
        if let Subject::Key(id) = change.subject()
            && let Some(record) = records.get_mut(&id)
        {
            record.revision = change.revision();
        }
    }
}
