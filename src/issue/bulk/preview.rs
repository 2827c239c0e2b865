//! Reads the keys of a selection.

use std::collections::BTreeMap;

use super::digest::SelectionDigest;
use super::selected::{MOST_KEYS, Selected};
use super::selection::KeySelection;
use crate::issue::error::IssueError;
use crate::issue::issuer::Issuer;
use crate::key::{KeyId, KeyRecord, KeyStatus, Timestamp};
use crate::store::query::KeyUses;
use crate::store::{ManagedStore, StoreExt};

/// What a selection has, from [`Issuer::preview`].
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct SelectedKeys {
    /// Their records; of more than 60,000 the first ones.
    pub keys: Vec<KeyRecord>,
    /// How many there are.
    pub total: usize,
    /// How many are active and have not expired.
    pub active: usize,
    /// How many would be active and have expired.
    pub expired: usize,
    /// How many are disabled.
    pub disabled: usize,
    /// How many are revoked.
    pub revoked: usize,
    last_used: BTreeMap<KeyId, Timestamp>,
    digest: Option<SelectionDigest>,
}

impl SelectedKeys {
    /// When this one of the keys was last used; `None` if it never was, or is not among them.
    pub fn last_used_at(&self, key: KeyId) -> Option<Timestamp> {
        self.last_used.get(&key).copied()
    }

    /// Which keys these are, to change [exactly](KeySelection::exactly) them. `None` of more than 60,000, which are not changed in one
    /// transaction.
    pub fn digest(&self) -> Option<SelectionDigest> {
        self.digest
    }
}

impl<S: ManagedStore, A: Sync> Issuer<S, A> {
    /// The keys that a bulk change of this selection would be about, with their status and when they were last used.
    ///
    /// # Errors
    /// [`InvalidRequest`](crate::IssueErrorKind::InvalidRequest) for a label that no key can have, and those of the store.
    pub async fn preview(&self, selection: &KeySelection) -> Result<SelectedKeys, IssueError> {
        let mut found = SelectedKeys::default();
        let mut selected = Selected::of(selection)?;
        while let Some(record) = selected.next(self).await? {
            let has_expired = record.expires_at.is_some_and(|end| self.clock.is_over(end));
            let number = match record.status {
                KeyStatus::Active if has_expired => &mut found.expired,
                KeyStatus::Active => &mut found.active,
                KeyStatus::Disabled => &mut found.disabled,
                KeyStatus::Revoked => &mut found.revoked,
            };
            *number += 1;
            found.total += 1;
            if found.keys.len() < MOST_KEYS {
                found.keys.push(record);
            }
        }
        if found.total <= MOST_KEYS {
            found.digest = Some(selection.digest(found.keys.iter().map(|key| key.id)));
        }
        for some in found.keys.chunks(KeyUses::MOST) {
            let uses = KeyUses::of_all(some.iter().map(|key| key.id));
            let uses = self.store.get(uses).await?.into_iter();
            let last_uses = uses.filter_map(|of| Some((of.key_id, of.last_used_at()?)));
            found.last_used.extend(last_uses);
        }
        Ok(found)
    }
}
