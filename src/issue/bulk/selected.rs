//! Reads the keys of a selection, one after the other.

use std::vec::IntoIter;

use super::selection::KeySelection;
use crate::issue::error::IssueError;
use crate::issue::issuer::Issuer;
use crate::key::{KeyId, KeyRecord};
use crate::store::query::{DescendantsOf, Keys};
use crate::store::{ManagedStore, StoreExt};

/// The most keys that one commit changes or one answer has. Twice as many rows would not fit into a commit.
pub(super) const MOST_KEYS: usize = 60_000;
/// Keys that are read at once.
pub(super) const PAGE: u16 = 1000;

/// The keys of a selection in the order of their ids, read page by page. The root of a tree comes first, and the key that acts last.
pub(in crate::issue) struct Selected<'s> {
    selection: &'s KeySelection,
    read: IntoIter<KeyRecord>,
    next: Place,
    /// The key that acts, which comes last: once it is stopped, it changes nothing any more.
    own: Option<KeyRecord>,
    /// The ids of those that were read, if they are noted.
    noted: Option<Vec<KeyId>>,
}

/// What is read next.
enum Place {
    Root(KeyId),
    Tree(DescendantsOf),
    List(Keys),
    End,
}

impl<'s> Selected<'s> {
    pub(in crate::issue) fn of(selection: &'s KeySelection) -> Result<Self, IssueError> {
        selection.check()?;
        let next = match (selection.root(), selection.list()) {
            (Some((root, true)), _) => Place::Root(root),
            (Some((root, false)), _) => Place::Tree(DescendantsOf::key(root)),
            (None, Some(list)) => Place::List(list.page(PAGE)),
            (None, None) => Place::End,
        };
        Ok(Self {
            selection,
            read: Vec::new().into_iter(),
            next,
            own: None,
            noted: None,
        })
    }

    /// The same, which notes the ids of the first keys.
    pub(super) fn noting(mut self) -> Self {
        self.noted = Some(Vec::new());
        self
    }

    /// The ids of the keys that were read, of more than [`MOST_KEYS`] one more than that.
    pub(super) fn noted(self) -> Vec<KeyId> {
        self.noted.unwrap_or_default()
    }

    fn note(&mut self, record: &KeyRecord) {
        if let Some(noted) = self.noted.as_mut().filter(|noted| noted.len() <= MOST_KEYS) {
            noted.push(record.id);
        }
    }

    /// The next key; `None` after the last.
    pub(in crate::issue) async fn next<S: ManagedStore, A: Sync>(
        &mut self,
        issuer: &Issuer<S, A>,
    ) -> Result<Option<KeyRecord>, IssueError> {
        loop {
            if let Some(record) = self.read.next() {
                self.note(&record);
                if issuer.store.acting_key() == Some(record.id) {
                    self.own = Some(record);
                    continue;
                }
                return Ok(Some(record));
            }
            let mut page: Vec<KeyRecord> = Vec::new();
            match std::mem::replace(&mut self.next, Place::End) {
                Place::End => return Ok(self.own.take()),
                Place::Root(root) => {
                    self.next = Place::Tree(DescendantsOf::key(root));
                    self.read = Vec::from_iter(issuer.store.get(root).await?.map(|key| key.record)).into_iter();
                    continue;
                }
                Place::Tree(query) => {
                    page = issuer.store.get(query).await?;
                    let last = page.last().filter(|_| page.len() >= DescendantsOf::MOST);
                    if let Some(last) = last {
                        self.next = Place::Tree(query.after(last.id));
                    }
                }
                Place::List(list) => {
                    let found = issuer.page(list.clone()).await?;
                    page.extend(found.items.into_iter().map(|key| key.record));
                    if let Some(next) = found.next {
                        self.next = Place::List(list.after(next));
                    }
                }
            }
            page.retain(|record| self.selection.has(record));
            self.read = page.into_iter();
        }
    }
}
