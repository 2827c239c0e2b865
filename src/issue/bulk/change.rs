//! Changes the keys of a selection.

use std::collections::BTreeMap;

use super::digest::SelectionDigest;
use super::selected::{MOST_KEYS, PAGE, Selected};
use super::selection::KeySelection;
use crate::audit::{AuditAction, AuditEvent};
use crate::issue::difference;
use crate::issue::error::{IssueError, IssueErrorKind};
use crate::issue::issuer::Issuer;
use crate::issue::retry::{ATTEMPTS, ATTEMPTS_TO_STOP, conflict_if, retried};
use crate::issue::status::LONGEST_REASON;
use crate::key::{KeyId, KeyRecord, KeyState, KeyStatus, Revocation, StateChange, Subject, shortened, without_nul};
use crate::store::{Change, Commit, Committed, KeyStore, ManagedStore, StoreErrorKind, Write};

/// What a bulk change did.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct BulkChange {
    /// The keys that it changed, as they are now; of more than 60,000 the first ones. Those that were as they should be already are
    /// not among them.
    pub changed: Vec<KeyRecord>,
    /// How many it changed. One that somebody changed back meanwhile counts each time.
    pub total: usize,
}

/// One kind of change, and why it is made.
pub(in crate::issue) struct Bulk<'b> {
    selection: &'b KeySelection,
    pub(in crate::issue) reason: &'b str,
    attempts: usize,
}

/// What one commit of a bulk change does.
pub(in crate::issue) struct Piece {
    pub(in crate::issue) commit: Commit,
    /// The keys that it changes, as they are then.
    records: BTreeMap<KeyId, KeyRecord>,
    /// Whether there are no further keys.
    pub(in crate::issue) is_last: bool,
}

impl<S: ManagedStore> Issuer<S> {
    /// Disables all keys of a selection, in one transaction. Each key keeps what it was disabled by, so that
    /// [`enable_all`](Self::enable_all) of the same selection undoes this change and no other. Of the reason, the first 1,024
    /// bytes are kept, in the audit trail.
    ///
    /// Keys that are made or join the selection in between are disabled too, in a further transaction: when this returns, no key
    /// that was selected when it was last read is left. New ones can be made afterwards: disable the
    /// [user](Self::disable_user) as well. An issuer that acts with one of these keys reads them once.
    ///
    /// More than 60,000 keys do not fit into one transaction. They are disabled in pieces of 60,000, by their ids and so about in
    /// the order in which they were created. If that ends in the middle, call this again: it goes on with those that are left.
    ///
    /// # Errors
    /// Those of [`preview`](Self::preview); [`Conflict`](IssueErrorKind::Conflict) when changes of the status of these keys came
    /// first 256 times. Nothing is changed then, unless it was a further piece, or keys made in between, that could not be changed.
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
        Revocation::new(self.clock.wall(), without_nul(reason), self.actor.clone())
    }

    /// Changes what there is to be changed until there is nothing left. The first commit has all keys that existed, if they fit; a
    /// further one has those that came in between.
    pub(super) async fn change_all(
        &self,
        bulk: &Bulk<'_>,
        change: impl Fn(&KeyRecord, KeyState) -> KeyState + Send + Sync,
    ) -> Result<BulkChange, IssueError> {
        if let Some(expected) = bulk.selection.expected() {
            return Box::pin(self.change_exactly(bulk, expected, &change)).await;
        }
        let (mut done, mut changed) = (BulkChange::default(), BTreeMap::new());
        let mut left = bulk.attempts;
        let mut has_stopped_itself = false;
        retried!(bulk.attempts + 1, async {
            // The last time is for seeing that nothing is left.
            let may_commit = left > 0;
            left = left.saturating_sub(1);
            let mut selected = Selected::of(bulk.selection)?;
            let mut is_clean = true;
            loop {
                let mut piece = self.piece(bulk, &mut selected, &change).await?;
                if !piece.records.is_empty() {
                    if !may_commit {
                        return Err(IssueError::new(IssueErrorKind::Conflict));
                    }
                    // A conflict is one about the state of one of these keys. Or one was deleted.
                    let committed = self.commit(piece.commit).await;
                    let committed = committed.map_err(conflict_if(StoreErrorKind::NotFound))?;
                    set_revisions(&mut piece.records, &committed);
                    done.total += piece.records.len();
                    changed.extend(piece.records);
                    has_stopped_itself |= self.acting_key().is_some_and(|own| changed.contains_key(&own));
                    while changed.len() > MOST_KEYS {
                        drop(changed.pop_last());
                    }
                    is_clean = false;
                }
                match (piece.is_last, is_clean) {
                    (false, _) => {}
                    (true, true) if done.total == 0 => return self.confirm_done().await,
                    (true, true) => return Ok(()),
                    // With a key that has stopped itself, nothing is read any more.
                    (true, false) if has_stopped_itself => return Ok(()),
                    // Others may have been made in between.
                    (true, false) => return Err(IssueError::new(IssueErrorKind::Conflict)),
                }
            }
        })?;
        done.changed = changed.into_values().collect();
        Ok(done)
    }

    /// Changes the keys of one read, if they are those that are expected.
    async fn change_exactly(
        &self,
        bulk: &Bulk<'_>,
        expected: SelectionDigest,
        change: &(impl Fn(&KeyRecord, KeyState) -> KeyState + Send + Sync),
    ) -> Result<BulkChange, IssueError> {
        // Another change of the state of one of them is a conflict. They are compared anew then.
        retried!(bulk.attempts, async {
            let mut selected = Selected::of(bulk.selection)?.noting();
            let mut piece = self.piece(bulk, &mut selected, change).await?;
            let ids = selected.noted();
            if !piece.is_last || bulk.selection.digest(ids) != expected {
                return Err(IssueError::new(IssueErrorKind::SelectionChanged));
            }
            if piece.records.is_empty() {
                self.confirm_done().await?;
                return Ok(BulkChange::default());
            }
            let committed = self.commit(piece.commit).await;
            let committed = committed.map_err(conflict_if(StoreErrorKind::NotFound))?;
            set_revisions(&mut piece.records, &committed);
            let total = piece.records.len();
            let changed = piece.records.into_values().collect();
            Ok(BulkChange { changed, total })
        })
    }

    /// The commit that changes the next keys that are not as they should be, as many as fit.
    pub(in crate::issue) async fn piece(
        &self,
        bulk: &Bulk<'_>,
        selected: &mut Selected<'_>,
        change: &(impl Fn(&KeyRecord, KeyState) -> KeyState + Send + Sync),
    ) -> Result<Piece, IssueError> {
        let mut piece = Piece {
            commit: Commit::new(),
            records: BTreeMap::new(),
            is_last: false,
        };
        // What is found done may not be announced yet; in parts, of which none makes every cached key stale.
        let mut done = Vec::new();
        while piece.records.len() < MOST_KEYS {
            let Some(before) = selected.next(self).await? else {
                piece.is_last = true;
                break;
            };
            let was = KeyState::of(&before);
            let state = change(&before, was.clone());
            if state == was {
                done.push(Change::new(before.id, before.revision));
                if done.len() == usize::from(PAGE) {
                    self.announce_all_again(&mut done);
                }
                continue;
            }
            let mut after = before.clone();
            state.clone().set(&mut after);
            piece.commit.audit.push(self.bulk_event(bulk, &before, &after));
            let change = StateChange::new(&before, state);
            piece.commit.writes.push(Write::SetKeyState(change));
            piece.records.insert(after.id, after);
        }
        self.announce_all_again(&mut done);
        Ok(piece)
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
