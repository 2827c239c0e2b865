//! Which keys a bulk change is about.

use std::fmt;

use super::digest::SelectionDigest;
use crate::error::ConfigError;
use crate::key::{KeyId, KeyRecord, Labels, OrganizationId, Timestamp, UserId};
use crate::store::query::Keys;

/// Which keys a bulk change is about: those of a user, with a label, made by a key, or all descendants of a key.
///
/// Its text form, such as `user:alice`, `label:ci` or `since:2026-01-31T00:00:00Z label:ci`, is what keys that it disabled are [held](crate::key::Holds) by. The
/// organization is no part of that.
///
/// ```
/// use tower_api_key::store::MemoryStore;
/// use tower_api_key::{Issuer, IssueRequest, KeySelection};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let issuer = Issuer::new(MemoryStore::new())?;
/// let acme = issuer.create_organization("acme").await?;
/// let request = || IssueRequest::new(acme.id, "key").user("alice".parse().unwrap());
/// let (laptop, phone) = (issuer.issue(request()).await?, issuer.issue(request()).await?);
/// issuer.disable(phone.record.id).await?;
///
/// let hers = KeySelection::user(acme.id, "alice".parse()?);
/// let preview = issuer.preview(&hers).await?;
/// assert_eq!((preview.keys.len(), preview.active, preview.disabled), (2, 1, 1));
///
/// issuer.disable_all(&hers, "on leave").await?;
/// issuer.enable_all(&hers).await?;
/// let preview = issuer.preview(&hers).await?;
/// assert_eq!(preview.active, 1); // the phone's was disabled by itself
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq)]
#[must_use]
pub struct KeySelection {
    which: Which,
    organization: Option<OrganizationId>,
    since: Option<Timestamp>,
    /// With the key itself, of which the others are descendants.
    has_root: bool,
    /// The keys that it must have.
    exactly: Option<SelectionDigest>,
}

#[derive(Clone, PartialEq, Eq)]
enum Which {
    User(OrganizationId, UserId),
    Label(String),
    CreatedBy(KeyId),
    DescendantsOf(KeyId),
}

impl KeySelection {
    /// The keys that act for this user of this organization.
    pub fn user(organization: OrganizationId, user: UserId) -> Self {
        Self::of(Which::User(organization, user))
    }

    /// The keys with this label, of all organizations unless it is [within](Self::within) one.
    pub fn label(label: impl Into<String>) -> Self {
        Self::of(Which::Label(label.into()))
    }

    /// The keys that this key created, and not those that they created.
    pub fn created_by(key: KeyId) -> Self {
        Self::of(Which::CreatedBy(key))
    }

    /// The keys that this key created, those that they created, and so on. The key itself is not among them.
    pub fn descendants_of(key: KeyId) -> Self {
        Self::of(Which::DescendantsOf(key))
    }

    /// Only keys of this organization.
    pub fn within(mut self, organization: OrganizationId) -> Self {
        self.organization = Some(organization);
        self
    }

    /// Only keys that were created at this time or later: what somebody made with a key that leaked, and not what was made with it
    /// before. Of [descendants](Self::descendants_of) also those whose creator is older.
    ///
    /// The time is that of the server that made them, so subtract what your servers' clocks may differ by.
    pub fn since(mut self, time: Timestamp) -> Self {
        self.since = Some(time);
        self
    }

    /// Only if it still has exactly the keys that a [preview](crate::Issuer::preview) with this
    /// [digest](crate::SelectedKeys::digest) named. Otherwise a change of it is a
    /// [`SelectionChanged`](crate::IssueErrorKind::SelectionChanged), and nothing is changed.
    ///
    /// The keys are changed as they were read to be compared: what joins the selection afterwards is left alone. That is one
    /// transaction of at most 60,000 keys.
    pub fn exactly(mut self, digest: SelectionDigest) -> Self {
        self.exactly = Some(digest);
        self
    }

    /// The key as well.
    pub(super) fn with_root(mut self) -> Self {
        self.has_root = true;
        self
    }

    fn of(which: Which) -> Self {
        Self {
            which,
            organization: None,
            since: None,
            has_root: false,
            exactly: None,
        }
    }

    pub(super) fn expected(&self) -> Option<SelectionDigest> {
        self.exactly
    }

    /// The digest of the selection, if it has these keys.
    pub(super) fn digest(&self, keys: impl IntoIterator<Item = KeyId>) -> SelectionDigest {
        let within = self.organization.map(|id| format!("within:{id} ")).unwrap_or_default();
        SelectionDigest::of(&format!("{within}{self}"), keys)
    }

    /// A label that no key can have is a mistake: a change of nothing would look like one that was made.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if let Which::Label(label) = &self.which {
            Labels::new([&**label])?;
        }
        Ok(())
    }

    /// The list of these keys, unless it is a tree.
    pub(super) fn list(&self) -> Option<Keys> {
        let keys = match self.organization {
            Some(organization) => Keys::of(organization),
            None => Keys::all(),
        };
        match &self.which {
            Which::User(organization, user) => Some(Keys::of(*organization).user(user.clone())),
            Which::Label(label) => Some(keys.label(label)),
            Which::CreatedBy(key) => Some(keys.created_by_key(*key)),
            Which::DescendantsOf(_) => None,
        }
    }

    /// The key whose descendants they are, and whether it is selected too.
    pub(super) fn root(&self) -> Option<(KeyId, bool)> {
        match self.which {
            Which::DescendantsOf(key) => Some((key, self.has_root)),
            _ => None,
        }
    }

    /// Whether this key of the list or tree is selected.
    pub(super) fn has(&self, record: &KeyRecord) -> bool {
        self.organization.is_none_or(|id| record.organization_id == id)
            && self.since.is_none_or(|time| record.created_at >= time)
    }
}

impl fmt::Display for KeySelection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(time) = self.since {
            write!(f, "since:{time} ")?;
        }
        match &self.which {
            Which::User(_, user) => write!(f, "user:{user}"),
            Which::Label(label) => write!(f, "label:{label}"),
            Which::CreatedBy(key) => write!(f, "created-by:{key}"),
            Which::DescendantsOf(key) => write!(f, "descendants:{key}"),
        }
    }
}

impl fmt::Debug for KeySelection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeySelection({self}")?;
        match self.organization {
            Some(organization) => write!(f, " within {organization})"),
            None => f.write_str(")"),
        }
    }
}
