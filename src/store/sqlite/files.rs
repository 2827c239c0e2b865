//! The files of a store, and whether they are still those that SQLite has open.
//!
//! SQLite goes on with files that were deleted, replaced, emptied or written over: what it commits then is in no file that anyone
//! finds again, or in one that nobody can read.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use super::fault::Unusable;
use super::file_id::FileId;
use super::foreign_writes::ForeignWrites;

/// What SQLite appends to the path of a database for the files beside it.
const BESIDE: [&str; 2] = ["-wal", "-shm"];
/// What a log begins with (SQLite's file format, section 4.1).
const LOG_STARTS: [u32; 2] = [0x377f_0682, 0x377f_0683];

/// The files of a database with the identities that they had when it was opened. Clones share them.
#[derive(Clone)]
pub(super) struct OpenFiles(Arc<Opened>);

/// Files that something may still have open.
pub(super) struct WeakFiles(Weak<Opened>);

struct Opened {
    /// The database under its path, then under its real one if that is another, its log, and the index of the log.
    files: Box<[(PathBuf, FileId)]>,
    foreign_writes: ForeignWrites,
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
        let files: Box<[_]> = files.collect::<Result<_, _>>()?;
        let foreign_writes = match &*files {
            [(database, _), .., (index, _)] => ForeignWrites::watch(database, index),
            _ => return Err(Unusable::Lost(io::ErrorKind::NotFound.into())),
        };
        Ok(Self(Arc::new(Opened { files, foreign_writes })))
    }

    /// Whether writes of something else than SQLite are found. If not, they are after the next checkpoint.
    pub(super) fn are_watched(&self) -> bool {
        !self.0.foreign_writes.found() && self.0.foreign_writes.is_watching()
    }

    pub(super) fn downgrade(&self) -> WeakFiles {
        WeakFiles(Arc::downgrade(&self.0))
    }

    /// The identity of the database itself.
    pub(super) fn id(&self) -> Option<&FileId> {
        self.0.files.first().map(|(_, id)| id)
    }

    /// Whether the paths still lead to the files that are open.
    ///
    /// # Errors
    /// When one does not. It never will again: what is at the path now is another file.
    pub(super) fn check(&self) -> Result<(), Unusable> {
        for (path, id) in &self.0.files {
            match FileId::of(path) {
                Ok(now) if now == *id => {}
                Ok(_) => return Err(Unusable::Replaced(path.clone())),
                Err(source) => return Err(Unusable::Gone(path.clone(), source)),
            }
        }
        match self.0.files.first() {
            Some((path, _)) if std::fs::metadata(path).is_ok_and(|metadata| metadata.len() == 0) => {
                Err(Unusable::Emptied(path.clone()))
            }
            Some((path, _)) if self.0.foreign_writes.found() => Err(Unusable::WrittenOver(path.clone())),
            _ => Ok(()),
        }
    }

    /// The same, for a writer: whether the log is the one that SQLite has, too, or is empty, as another process leaves it that has
    /// written all of it to the database. If it was emptied or written over, SQLite goes on behind its old end, and finds nothing
    /// there once it opens it anew.
    pub(super) fn check_log(&self) -> Result<(), Unusable> {
        self.check()?;
        let Some((path, _)) = self.0.files.iter().nth_back(1) else {
            return Ok(());
        };
        let before = self.0.foreign_writes.log();
        let mut start = [0; 24];
        // SQLite has no locks on this file, which a process loses when it closes one that it has open twice.
        let read = File::open(path).and_then(|mut log| Ok((log.read(&mut start)?, log.metadata()?.len())));
        let (read, length) = read.map_err(|source| Unusable::Gone(path.clone(), source))?;
        let [a, b, c, d, ..] = start;
        if read > 0 && !LOG_STARTS.contains(&u32::from_be_bytes([a, b, c, d])) {
            return Err(Unusable::Emptied(path.clone()));
        }
        match before.filter(|before| self.0.foreign_writes.log().is_some_and(|now| now.salts == before.salts)) {
            Some(log) if length < log.length => Err(Unusable::Emptied(path.clone())),
            Some(log) if !start.ends_with(&log.salts) => Err(Unusable::WrittenOver(path.clone())),
            _ => Ok(()),
        }
    }
}

impl WeakFiles {
    /// Whether the threads of a store have the files open, under another path than this one.
    pub(super) fn are_open_elsewhere(&self, path: &Path) -> bool {
        let files = self.0.upgrade();
        files.is_some_and(|opened| opened.files.first().is_some_and(|(first, _)| first != path))
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
