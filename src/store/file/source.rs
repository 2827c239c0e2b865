//! The file: whether it may be trusted, whether it has changed, and what stands in it.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use zeroize::Zeroizing;

use super::keys::MOST_BYTES;
use super::problem::Problem;
use super::writers::check_writers;

/// Between the two reads that must agree.
const PAUSE: Duration = Duration::from_millis(200);
/// How often a file that is being written is read before it counts as broken.
const TRIES: usize = 5;
/// Some file systems keep times to two seconds: a second change within them leaves no trace in time and size.
const COARSEST_TIME: Duration = Duration::from_secs(2);

pub(super) struct Source {
    path: PathBuf,
}

/// What of a file's metadata changes with its contents, its name or its mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    size: u64,
    modified: Option<SystemTime>,
    /// Device, inode, mode and the time of their last change.
    identity: [i64; 5],
}

/// A file as it was read.
pub(super) struct Contents {
    pub(super) stamp: Stamp,
    pub(super) text: Zeroizing<Vec<u8>>,
    pub(super) readable_by_others: bool,
    /// No folder has it any more: it is a mount of its own, and was replaced where it is mounted from.
    pub(super) is_deleted: bool,
}

impl Source {
    /// The path is that of now, wherever the process goes later.
    pub(super) fn new(path: &Path) -> Self {
        Self {
            path: std::path::absolute(path).unwrap_or_else(|_| path.into()),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Nothing when there is no file, or no telling.
    pub(super) fn stamp(&self) -> Option<Stamp> {
        fs::metadata(&self.path).ok().map(|metadata| Stamp::of(&metadata))
    }

    /// The file, if it was not written for a while.
    pub(super) fn read_quiet(&self) -> Result<Contents, Problem> {
        let contents = self.read()?;
        match is_old(contents.stamp.modified) {
            true => Ok(contents),
            false => self.read_settled(),
        }
    }

    /// The file, once two reads agree: what a program is writing just now is not what it means.
    pub(super) fn read_settled(&self) -> Result<Contents, Problem> {
        let mut first = self.read();
        for _ in 0..TRIES {
            thread::sleep(PAUSE);
            let second = self.read();
            match (&first, &second) {
                (Ok(one), Ok(two)) if one.is_same_file(two) && one.text == two.text => return second,
                (Err(one), Err(two)) if one == two => return second,
                _ => first = second,
            }
        }
        Err(Problem::new(
            "is being written all the time; write another file and rename it",
        ))
    }

    fn read(&self) -> Result<Contents, Problem> {
        let failed = |error: io::Error| Problem::new(format!("cannot be read: {error}"));
        // Before it is opened: a pipe would wait for a writer.
        if !fs::metadata(&self.path).map_err(failed)?.is_file() {
            return Err(Problem::new("is not a file"));
        }
        let file = File::open(&self.path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        check_writers(&self.path, &file, &metadata)?;
        // Its size and one more byte, so that the buffer is not moved, and leaves no copy.
        let mut text = Zeroizing::new(Vec::with_capacity(MOST_BYTES + 1));
        file.take(MOST_BYTES as u64 + 1)
            .read_to_end(&mut text)
            .map_err(failed)?;
        Ok(Contents {
            stamp: Stamp::of(&metadata),
            text,
            readable_by_others: is_readable_by_others(&metadata),
            is_deleted: is_deleted(&metadata),
        })
    }
}

impl Contents {
    fn is_same_file(&self, other: &Self) -> bool {
        self.stamp.size == other.stamp.size && self.stamp.identity[..2] == other.stamp.identity[..2]
    }
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            size: metadata.len(),
            modified: metadata.modified().ok(),
            identity: identity(metadata),
        }
    }

    /// Whether a later change gives another stamp, however coarse the file's times are.
    pub(super) fn is_settled(&self) -> bool {
        // A program that copies a file may give it the time of the original.
        let changed = u64::try_from(self.identity[3])
            .ok()
            .map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds));
        is_old(self.modified) && is_old(changed)
    }
}

fn is_old(time: Option<SystemTime>) -> bool {
    let age = time.and_then(|time| SystemTime::now().duration_since(time).ok());
    age.is_some_and(|age| age > COARSEST_TIME)
}

#[cfg(unix)]
fn identity(metadata: &Metadata) -> [i64; 5] {
    use std::os::unix::fs::MetadataExt;

    [
        metadata.dev() as i64,
        metadata.ino() as i64,
        i64::from(metadata.mode()),
        metadata.ctime(),
        metadata.ctime_nsec(),
    ]
}

#[cfg(not(unix))]
fn identity(_: &Metadata) -> [i64; 5] {
    [0; 5]
}

#[cfg(unix)]
fn is_readable_by_others(metadata: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;

    metadata.mode() & 0o044 != 0
}

#[cfg(not(unix))]
fn is_readable_by_others(_: &Metadata) -> bool {
    false
}

#[cfg(unix)]
fn is_deleted(metadata: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;

    metadata.nlink() == 0
}

#[cfg(not(unix))]
fn is_deleted(_: &Metadata) -> bool {
    false
}
