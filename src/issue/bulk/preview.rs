//! Reads the keys of a selection.

use std::collections::BTreeMap;

use super::selection::KeySelection;
use crate::issue::error::{IssueError, IssueErrorKind};
use crate::issue::issuer::Issuer;
use crate::key::{KeyId, KeyRecord, KeyStatus, Timestamp};
use crate::store::query::{DescendantsOf, KeyUses};
use crate::store::{ManagedStore, StoreExt};

/// The most keys that one change may be about. Twice as many rows would not fit into a commit.
const MOST_KEYS: usize = 60_000;
/// Keys that are read at once.
pub(super) const PAGE: u16 = 1000;

/// What a selection has, from [`Issuer::preview`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SelectedKeys {
    /// Their records.
    pub keys: Vec<KeyRecord>,
    /// How many are active and have not expired.
    pub active: usize,
    /// How many would be active and have expired.
    pub expired: usize,
    /// How many are disabled.
    pub disabled: usize,
    /// How many are revoked.
    pub revoked: usize,
    last_used: BTreeMap<KeyId, Timestamp>,
}

impl SelectedKeys {
    /// When this one of the keys was last used; `None` if it never was, or is not among them.
    pub fn last_used_at(&self, key: KeyId) -> Option<Timestamp> {
        self.last_used.get(&key).copied()
    }
}

impl<S: ManagedStore, A: Sync> Issuer<S, A> {
    /// The keys that a bulk change of this selection would be about, with their status and when they were last used.
    ///
    /// # Errors
    /// [`InvalidRequest`](IssueErrorKind::InvalidRequest) for a label that no key can have,
    /// [`TooManyKeys`](IssueErrorKind::TooManyKeys) when they are more than 60,000, and those of the store.
    pub async fn preview(&self, selection: &KeySelection) -> Result<SelectedKeys, IssueError> {
        let mut keys = Vec::new();
        self.each_selected(selection, |record| {
            keys.push(record);
            check_number(keys.len())
        })
        .await?;
        let with = |status: KeyStatus| keys.iter().filter(|key| key.status == status).count();
        let (unrevoked, disabled, revoked) = (
            with(KeyStatus::Active),
            with(KeyStatus::Disabled),
            with(KeyStatus::Revoked),
        );
        let is_over = |key: &&KeyRecord| key.expires_at.is_some_and(|end| self.clock.is_over(end));
        let is_active = |key: &&KeyRecord| key.status == KeyStatus::Active;
        let expired = keys.iter().filter(is_active).filter(is_over).count();
        let mut last_used = BTreeMap::new();
        for some in keys.chunks(KeyUses::MOST) {
            let uses = KeyUses::of_all(some.iter().map(|key| key.id));
            let uses = self.store.get(uses).await?.into_iter();
            last_used.extend(uses.filter_map(|of| Some((of.key_id, of.last_used_at()?))));
        }
        Ok(SelectedKeys {
            last_used,
            active: unrevoked - expired,
            expired,
            disabled,
            revoked,
            keys,
        })
    }

    /// Calls `visit` with each record of the selection.
    pub(in crate::issue) async fn each_selected(
        &self,
        selection: &KeySelection,
        mut visit: impl FnMut(KeyRecord) -> Result<(), IssueError> + Send,
    ) -> Result<(), IssueError> {
        selection.check()?;
        if let Some((root, is_selected)) = selection.root() {
            if is_selected && let Some(key) = self.store.get(root).await? {
                visit(key.record)?;
            }
            let descendants = self.store.get(DescendantsOf(root)).await?;
            // There may be more.
            check_number_of_answer(descendants.len())?;
            let mut selected = descendants.into_iter().filter(|record| selection.has(record));
            return selected.try_for_each(visit);
        }
        let Some(list) = selection.list().map(|list| list.page(PAGE)) else {
            return Ok(());
        };
        let mut page = self.page(list.clone()).await?;
        loop {
            let mut selected = page.items.into_iter().map(|key| key.record);
            selected
                .by_ref()
                .filter(|record| selection.has(record))
                .try_for_each(&mut visit)?;
            let Some(next) = page.next else { return Ok(()) };
            page = self.page(list.clone().after(next)).await?;
        }
    }
}

pub(super) fn check_number(keys: usize) -> Result<(), IssueError> {
    match keys <= MOST_KEYS {
        true => Ok(()),
        false => Err(IssueError::new(IssueErrorKind::TooManyKeys)),
    }
}

/// An answer with as many as there may be may leave out some.
fn check_number_of_answer(keys: usize) -> Result<(), IssueError> {
    match keys < DescendantsOf::MOST {
        true => Ok(()),
        false => Err(IssueError::new(IssueErrorKind::TooManyKeys)),
    }
}
