//! The files of a store, and whether they are still those that SQLite has open.
//!
//! SQLite goes on with files that were deleted, replaced or emptied: what it commits then is in no file that anyone finds again.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use super::fault::Unusable;

/// What SQLite appends to the path of a database for the files beside it.
const BESIDE: [&str; 2] = ["-wal", "-shm"];
/// What a log begins with (SQLite's file format, section 4.1).
const LOG_STARTS: [u32; 2] = [0x377f_0682, 0x377f_0683];

/// Which file a path leads to, through links and under any name: device and inode.
#[cfg(unix)]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
}

/// Elsewhere the path itself: a file that is open there can be neither replaced nor deleted.
#[cfg(not(unix))]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct FileId(PathBuf);

/// The files of a database with the identities that they had when it was opened. Clones share them.
#[derive(Clone)]
pub(super) struct OpenFiles(Arc<[(PathBuf, FileId)]>);

/// Files that something may still have open.
pub(super) struct WeakFiles(Weak<[(PathBuf, FileId)]>);

impl FileId {
    #[cfg(unix)]
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        use std::os::unix::fs::MetadataExt;

        let metadata = std::fs::metadata(path)?;
        Ok(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
        })
    }

    #[cfg(not(unix))]
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        std::fs::canonicalize(path).map(Self)
    }
}

impl OpenFiles {
    /// The files as they are now. A connection must have the database open, and must have read from it, so that all exist
    /// and none is deleted by another process that closes it.
    /// Of a file that this process has alone, the file with its lock belongs to them: without it, another process could lock
    /// a new one.
    pub(super) fn of(path: &Path, lock: Option<&Path>) -> Result<Self, Unusable> {
        let real = path.canonicalize().map_err(Unusable::Lost)?;
        let mut paths = vec![path.to_owned()];
        if real != path {
            paths.push(real.clone());
        }
        paths.extend(lock.map(Path::to_owned));
        // SQLite follows links before it appends.
        paths.extend(BESIDE.map(|end| {
            let mut beside = real.clone().into_os_string();
            beside.push(end);
            PathBuf::from(beside)
        }));
        let files = paths.into_iter().map(|path| {
            let id = FileId::of(&path).map_err(Unusable::Lost)?;
            Ok((path, id))
        });
        files.collect::<Result<_, _>>().map(Self)
    }

    pub(super) fn downgrade(&self) -> WeakFiles {
        WeakFiles(Arc::downgrade(&self.0))
    }

    /// The identity of the database itself.
    pub(super) fn id(&self) -> Option<&FileId> {
        self.0.first().map(|(_, id)| id)
    }

    /// Whether the paths still lead to the files that are open.
    ///
    /// # Errors
    /// When one does not. It never will again: what is at the path now is another file.
    pub(super) fn check(&self) -> Result<(), Unusable> {
        for (path, id) in self.0.iter() {
            match FileId::of(path) {
                Ok(now) if now == *id => {}
                Ok(_) => return Err(Unusable::Replaced(path.clone())),
                Err(source) => return Err(Unusable::Gone(path.clone(), source)),
            }
        }
        match self.0.first() {
            Some((path, _)) if std::fs::metadata(path).is_ok_and(|metadata| metadata.len() == 0) => {
                Err(Unusable::Emptied(path.clone()))
            }
            _ => Ok(()),
        }
    }

    /// The same, for a writer: whether the log begins as one, too, or is empty, as another process leaves it that has written all
    /// of it to the database. If it was emptied otherwise, SQLite goes on behind its old end, and finds nothing there once it
    /// opens it anew.
    pub(super) fn check_log(&self) -> Result<(), Unusable> {
        self.check()?;
        let Some((path, _)) = self.0.iter().nth_back(1) else {
            return Ok(());
        };
        let mut start = [0; 4];
        // SQLite has no locks on this file, which a process loses when it closes one that it has open twice.
        match File::open(path).and_then(|mut log| log.read(&mut start)) {
            Ok(0) => Ok(()),
            Ok(_) if LOG_STARTS.contains(&u32::from_be_bytes(start)) => Ok(()),
            Ok(_) => Err(Unusable::Emptied(path.clone())),
            Err(source) => Err(Unusable::Gone(path.clone(), source)),
        }
    }
}

impl WeakFiles {
    /// Whether the threads of a store have the files open, under another path than this one.
    pub(super) fn are_open_elsewhere(&self, path: &Path) -> bool {
        let files = self.0.upgrade();
        files.is_some_and(|files| files.first().is_some_and(|(first, _)| first != path))
    }
}

/// SQLite appends a log to each name that a file has, so commits made under one name would be lost under the other.
#[cfg(unix)]
pub(super) fn check_names(path: &Path) -> Result<(), Unusable> {
    use std::os::unix::fs::MetadataExt;

    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_file() && metadata.nlink() > 1 => Err(Unusable::HardLinks(metadata.nlink())),
        // SQLite, which comes next, reports other problems better.
        _ => Ok(()),
    }
}

#[cfg(not(unix))]
pub(super) fn check_names(_: &Path) -> Result<(), Unusable> {
    Ok(())
}
