//! Finds writes of an open database file that are not SQLite's, such as those of `cp backup keys.sqlite`.
//!
//! With write-ahead logging the file changes by checkpoints alone, made by this process or another one. A checkpoint leaves its
//! trace in the index of the log, the `-shm` file (SQLite's "WAL-mode File Format", section 2.1): how many frames it means to
//! copy, written before the first of them is; how many it has copied, written after the last; and other salts once the log
//! starts anew. So the file was written by something else if it has changed and that trace has not.
//!
//! The time of modification alone is no proof: `touch` sets it, and so do programs that read files for a backup. Without a
//! trace, the contents are compared.

use std::collections::VecDeque;
use std::fs::File;
use std::hash::{BuildHasher, Hasher};
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use foldhash::quality::RandomState;

use super::file_id::FileId;
use crate::sync::unpoisoned;

/// Watches one database file while it is open.
pub(super) struct ForeignWrites {
    /// `None` where the index of the log cannot be read as SQLite writes it: then nothing is ever found.
    files: Option<Files>,
    /// A fast one: after each checkpoint it reads some megabytes, and commits wait for that.
    hasher: RandomState,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// `None` while a checkpoint is under way.
    seen: Option<Seen>,
    /// It stays so: a later checkpoint would mix what was written with what SQLite has.
    is_overwritten: bool,
}

/// The file as it was when no checkpoint was under way.
struct Seen {
    stamp: Stamp,
    /// The clock of the file system may not have gone on since: what is written then has the same time.
    is_recent: bool,
    trace: Trace,
    digest: u64,
}

#[derive(Clone, Copy, PartialEq)]
struct Stamp {
    size: u64,
    modified: SystemTime,
}

/// What checkpoints leave in the index of the log.
#[derive(Clone, Copy, PartialEq)]
struct Trace {
    salts: [u8; 8],
    /// Frames that the latest one means to copy.
    wanted: u32,
    /// Frames that were copied.
    copied: u32,
}

/// What the index says of the log.
#[derive(Clone, Copy, PartialEq)]
pub(super) struct Log {
    pub(super) salts: [u8; 8],
    pub(super) length: u64,
}

impl ForeignWrites {
    /// The database must be open, so that both files exist.
    pub(super) fn watch(database: &Path, index: &Path) -> Self {
        let watched = Self {
            files: Files::open(database, index),
            hasher: RandomState::default(),
            state: Mutex::default(),
        };
        watched.found();
        watched
    }

    /// Whether something else has written the file. As long as nothing has, this costs two calls of the operating system; after a
    /// checkpoint it reads the file.
    pub(super) fn found(&self) -> bool {
        let Some(files) = &self.files else {
            return false;
        };
        let mut state = unpoisoned(self.state.lock());
        // The trace is read after the stamp, because a checkpoint leaves one before it writes.
        if !state.is_overwritten
            && let (Some(stamp), Some(trace)) = (files.stamp(), files.trace())
            && state.seen.as_ref().is_none_or(|seen| !seen.is_as(stamp, trace))
        {
            self.compare(files, stamp, trace, &mut state);
        }
        state.is_overwritten
    }

    /// The file may not be as it was seen.
    fn compare(&self, files: &Files, stamp: Stamp, trace: Trace, state: &mut State) {
        if trace.copied < trace.wanted {
            state.seen = None;
            return;
        }
        let is_recent = stamp.is_recent();
        let digest = files.digest(stamp.size, self.hasher.build_hasher());
        // Otherwise a checkpoint has begun while the file was read.
        let is_still = files.trace() == Some(trace);
        match &mut state.seen {
            Some(seen) if seen.trace == trace => {
                if seen.stamp.size != stamp.size || (is_still && digest != Some(seen.digest)) {
                    state.is_overwritten = true;
                } else if is_still {
                    // Touched.
                    (seen.stamp, seen.is_recent) = (stamp, is_recent);
                }
            }
            seen => {
                let is_settled = is_still && files.stamp() == Some(stamp);
                let digest = digest.filter(|_| is_settled);
                *seen = digest.map(|digest| Seen {
                    stamp,
                    is_recent,
                    trace,
                    digest,
                });
            }
        }
    }

    /// What the log must begin with, and have at least, if it is not empty to SQLite. Asked before and after the log is read: it
    /// may start anew in between.
    pub(super) fn log(&self) -> Option<Log> {
        self.files.as_ref()?.log()
    }

    /// Whether no checkpoint is under way, nor was one broken off.
    pub(super) fn is_watching(&self) -> bool {
        self.files.is_none() || unpoisoned(self.state.lock()).seen.is_some()
    }
}

impl Seen {
    fn is_as(&self, stamp: Stamp, trace: Trace) -> bool {
        self.stamp == stamp && self.trace == trace && !self.is_recent
    }
}

impl Stamp {
    fn is_recent(self) -> bool {
        let now = SystemTime::now();
        let age = now
            .duration_since(self.modified)
            .unwrap_or_else(|ahead| ahead.duration());
        age < RECENT
    }
}

/// The file and the index of its log.
struct Files {
    database: Kept,
    index: Kept,
}

/// A file that is not closed at once when it is dropped: closing it takes away the locks that this process has on it, which are
/// SQLite's, as long as the program has a connection of its own to it.
struct Kept(Option<(FileId, File)>);

/// Those that were dropped last. The program may have closed its connections to the older ones, as a rule.
static DROPPED: Mutex<VecDeque<(FileId, File)>> = Mutex::new(VecDeque::new());
const MOST_DROPPED: usize = 32;

/// More than the clock of a file system takes for a step.
const RECENT: Duration = Duration::from_millis(20);
const BLOCK: usize = 64 * 1024;
/// More are not read of one file: of a larger one, as many at equal distances.
const MOST_BLOCKS: u64 = 128;
/// The version of the index.
const VERSION: u32 = 3_007_000;

#[cfg(any(
    target_os = "linux",
    target_os = "android",
    target_os = "freebsd",
    target_vendor = "apple"
))]
impl Files {
    fn open(database: &Path, index: &Path) -> Option<Self> {
        let (database, index) = (Kept::open(database)?, Kept::open(index)?);
        Some(Self { database, index })
    }

    fn stamp(&self) -> Option<Stamp> {
        let metadata = self.database.file()?.metadata().ok()?;
        Some(Stamp {
            size: metadata.len(),
            modified: metadata.modified().ok()?,
        })
    }

    fn trace(&self) -> Option<Trace> {
        let header = self.index_header()?;
        Some(Trace {
            salts: bytes(&header, 32)?,
            wanted: u32::from_ne_bytes(bytes(&header, 128)?),
            copied: u32::from_ne_bytes(bytes(&header, 96)?),
        })
    }

    fn log(&self) -> Option<Log> {
        let header = self.index_header()?;
        let page = match u16::from_ne_bytes(bytes(&header, 14)?) {
            // It does not fit.
            1 => 65_536,
            size => u64::from(size),
        };
        let frames = u64::from(u32::from_ne_bytes(bytes(&header, 16)?));
        let salts = bytes(&header, 32)?;
        (frames > 0).then_some(Log {
            salts,
            length: 32 + frames * (24 + page),
        })
    }

    fn index_header(&self) -> Option<[u8; 136]> {
        use std::os::unix::fs::FileExt;

        let mut header = [0; 136];
        self.index.file()?.read_exact_at(&mut header, 0).ok()?;
        // There are two copies, so that one that is half written can be told.
        let is_whole = header.get(..48) == header.get(48..96);
        (is_whole && u32::from_ne_bytes(bytes(&header, 0)?) == VERSION).then_some(header)
    }

    fn digest(&self, size: u64, mut hasher: impl Hasher) -> Option<u64> {
        use std::os::unix::fs::FileExt;

        let file = self.database.file()?;
        let mut block = vec![0; BLOCK];
        let last = size.saturating_sub(BLOCK as u64);
        let blocks = size.div_ceil(BLOCK as u64);
        for number in 0..blocks.min(MOST_BLOCKS) {
            let at = match blocks <= MOST_BLOCKS {
                true => number * BLOCK as u64,
                false => last / (MOST_BLOCKS - 1) * number,
            };
            let length = usize::try_from(size - at).map_or(BLOCK, |rest| rest.min(BLOCK));
            let block = block.get_mut(..length)?;
            file.read_exact_at(block, at).ok()?;
            hasher.write(block);
        }
        Some(hasher.finish())
    }
}

#[cfg(any(
    target_os = "linux",
    target_os = "android",
    target_os = "freebsd",
    target_vendor = "apple"
))]
fn bytes<const N: usize>(header: &[u8], at: usize) -> Option<[u8; N]> {
    header.get(at..at + N)?.try_into().ok()
}

/// Elsewhere a file is not read as it is written through shared memory, or cannot be written over while it is open.
#[cfg(not(any(
    target_os = "linux",
    target_os = "android",
    target_os = "freebsd",
    target_vendor = "apple"
)))]
impl Files {
    fn open(_: &Path, _: &Path) -> Option<Self> {
        None
    }

    fn stamp(&self) -> Option<Stamp> {
        None
    }

    fn trace(&self) -> Option<Trace> {
        None
    }

    fn log(&self) -> Option<Log> {
        None
    }

    fn digest(&self, _: u64, _: impl Hasher) -> Option<u64> {
        None
    }
}

impl Kept {
    fn open(path: &Path) -> Option<Self> {
        let id = FileId::of(path).ok()?;
        let mut dropped = unpoisoned(DROPPED.lock());
        let place = dropped.iter().position(|(other, _)| *other == id);
        if let Some(kept) = place.and_then(|place| dropped.remove(place)) {
            return Some(Self(Some(kept)));
        }
        drop(dropped);
        // From here on it must not be closed, whatever happens.
        let kept = Self(Some((id, File::open(path).ok()?)));
        Some(kept)
    }

    fn file(&self) -> Option<&File> {
        self.0.as_ref().map(|(_, file)| file)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let mut dropped = unpoisoned(DROPPED.lock());
        dropped.extend(self.0.take());
        if dropped.len() > MOST_DROPPED {
            dropped.pop_front();
        }
    }
}
