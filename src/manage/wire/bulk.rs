//! Changes of many keys at once.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::text::{LabelText, UserText, WhoseText};
use crate::issue::{BulkChange, KeySelection, SelectedKeys};
use crate::key::{KeyId, KeyRecord, KeyStatus, OrganizationId, Timestamp, UserId};
use crate::manage::organization::Whose;
use crate::manage::problem::Problem;

/// Which keys: one of `user`, `label`, `created_by` and `descendants_of`.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Selection)]
pub(crate) struct SelectionForm {
    /// The id of an organization, or `all` for operators. The caller's if it is left out.
    #[schema(value_type = Option<WhoseText>)]
    pub(crate) organization: Option<Whose>,
    /// Keys that act for this user.
    #[schema(value_type = Option<UserText>)]
    user: Option<UserId>,
    /// Keys with this label.
    #[schema(value_type = Option<LabelText>)]
    label: Option<String>,
    /// Keys that this key made.
    #[schema(value_type = Option<uuid::Uuid>)]
    created_by: Option<KeyId>,
    /// Keys that this key made, those that they made, and so on.
    #[schema(value_type = Option<uuid::Uuid>)]
    descendants_of: Option<KeyId>,
    /// Only keys that were created at this time or later.
    #[schema(value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
}

/// A preview, or what was done.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum BulkAnswer {
    Preview(BulkPreview),
    Done(BulkDone),
}

/// The keys that a change would be about. Nothing was changed.
#[derive(Serialize, ToSchema)]
pub(crate) struct BulkPreview {
    /// As it stands in the audit trail, such as `user:alice`.
    selection: String,
    total: u64,
    active: u64,
    expired: u64,
    disabled: u64,
    revoked: u64,
    /// Of the whole set, for the change. Null of more than 60,000 keys: select fewer, as by `since`.
    digest: Option<String>,
    /// The first 100.
    keys: Vec<SelectedKey>,
}

/// What a change did.
#[derive(Serialize, ToSchema)]
pub(crate) struct BulkDone {
    selection: String,
    /// How many keys were changed. Those that were as they should be already do not count.
    changed: u64,
    /// The first 100 of them.
    keys: Vec<SelectedKey>,
}

/// A key of a selection.
#[derive(Serialize, ToSchema)]
pub(crate) struct SelectedKey {
    #[schema(value_type = uuid::Uuid)]
    id: KeyId,
    #[schema(value_type = uuid::Uuid)]
    organization_id: OrganizationId,
    name: String,
    #[schema(value_type = Option<UserText>)]
    user: Option<UserId>,
    /// Its own: `active` also if it has expired.
    #[schema(value_type = StoredStatus)]
    status: KeyStatus,
    /// Null of those that were changed.
    #[schema(value_type = Option<String>, format = DateTime)]
    last_used_at: Option<Timestamp>,
}

/// The stored status of a key.
#[derive(ToSchema)]
#[schema(as = StoredKeyStatus, rename_all = "lowercase")]
#[allow(dead_code, reason = "it describes what is written elsewhere")]
pub(crate) enum StoredStatus {
    Active,
    Disabled,
    Revoked,
}

impl SelectionForm {
    /// # Errors
    /// When it is not exactly one of the four.
    pub(crate) fn selection(self, whose: Whose) -> Result<KeySelection, Problem> {
        let which = (self.user, self.label, self.created_by, self.descendants_of);
        let selection = match (which, whose) {
            ((Some(user), None, None, None), Whose::Of(id)) => KeySelection::user(id, user),
            ((Some(_), None, None, None), Whose::All) => {
                let sentence = "name one organization: users of two of them may have the same id";
                return Err(Problem::invalid("selection.organization", sentence));
            }
            ((None, Some(label), None, None), _) => KeySelection::label(label),
            ((None, None, Some(key), None), _) => KeySelection::created_by(key),
            ((None, None, None, Some(key)), _) => KeySelection::descendants_of(key),
            _ => {
                let sentence = "give exactly one of user, label, created_by and descendants_of";
                return Err(Problem::invalid("selection", sentence));
            }
        };
        let selection = match whose {
            Whose::Of(id) => selection.within(id),
            Whose::All => selection,
        };
        Ok(match self.since {
            Some(time) => selection.since(time),
            None => selection,
        })
    }
}

impl BulkPreview {
    pub(crate) fn new(selection: &KeySelection, found: &SelectedKeys) -> Self {
        let shown = found.keys.iter().take(SHOWN);
        Self {
            selection: selection.to_string(),
            total: found.total as u64,
            active: found.active as u64,
            expired: found.expired as u64,
            disabled: found.disabled as u64,
            revoked: found.revoked as u64,
            digest: found.digest().map(|digest| digest.to_string()),
            keys: shown
                .map(|record| SelectedKey::new(record, found.last_used_at(record.id)))
                .collect(),
        }
    }
}

impl BulkDone {
    pub(crate) fn new(selection: &KeySelection, done: &BulkChange) -> Self {
        let shown = done.changed.iter().take(SHOWN);
        Self {
            selection: selection.to_string(),
            changed: done.total as u64,
            keys: shown.map(|record| SelectedKey::new(record, None)).collect(),
        }
    }
}

impl SelectedKey {
    fn new(record: &KeyRecord, last_used_at: Option<Timestamp>) -> Self {
        Self {
            id: record.id,
            organization_id: record.organization_id,
            name: record.name.clone(),
            user: record.user.clone(),
            status: record.status,
            last_used_at,
        }
    }
}

/// Of keys, in an answer.
const SHOWN: usize = 100;
