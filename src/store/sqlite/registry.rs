//! The stores that this process has open: one for each file.
//!
//! A second store on a file would have a fence of its own, and caches over the first would not learn of what it changes.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, Weak};

use super::Inner;
use super::file_id::FileId;
use super::files::WeakFiles;
use crate::fence::{Fence, WeakFence};
use crate::sync::unpoisoned;

/// The place of one file. Its lock is held while the file is opened, so that of two stores that are opened at once the
/// second finds the first.
pub(super) type Place = Arc<Mutex<Entry>>;

/// What is open of a file.
#[derive(Default)]
pub(super) struct Entry {
    store: Weak<Inner>,
    files: Option<WeakFiles>,
    /// Lives as long as the thread that writes, which finishes what it has after its store was dropped.
    fence: Option<WeakFence>,
}

static PLACES: Mutex<Option<HashMap<FileId, Place>>> = Mutex::new(None);

/// The place of a file.
pub(super) fn place(id: &FileId) -> Place {
    let mut places = unpoisoned(PLACES.lock());
    let places = places.get_or_insert_default();
    // Nobody opens such a file, and nobody has it open.
    places.retain(|_, place| Arc::strong_count(place) > 1 || unpoisoned(place.lock()).is_in_use());
    places.entry(id.clone()).or_default().clone()
}

impl Entry {
    /// The store that has the file open. One that was closed counts as one that is gone.
    pub(super) fn store(&self) -> Option<Arc<Inner>> {
        self.store.upgrade().filter(|store| !store.writer.is_closed())
    }

    /// The fence for a store that is opened now. One of before may know later revisions than the file has, which may have been
    /// restored from a backup in between: its keys would be refused for good.
    pub(super) fn fence(&self) -> Fence {
        let Some(fence) = self.fence.as_ref().and_then(WeakFence::upgrade) else {
            return Fence::new();
        };
        fence.set_back();
        fence
    }

    pub(super) fn opened(&mut self, store: &Arc<Inner>) {
        self.fence = Some(store.fence.downgrade());
        self.files = Some(store.files.downgrade());
        self.store = Arc::downgrade(store);
    }

    /// Whether the threads of a dropped store have the file open under another path. SQLite would keep a log for each.
    pub(super) fn is_open_elsewhere(&self, path: &Path) -> bool {
        self.files.as_ref().is_some_and(|files| files.are_open_elsewhere(path))
    }

    pub(super) fn is_in_use(&self) -> bool {
        self.store.strong_count() > 0 || self.fence.as_ref().is_some_and(WeakFence::is_alive)
    }
}
