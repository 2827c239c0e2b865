//! Which processes have a file open: each holds a lock on a file beside it, shared or alone.
//!
//! The operating system ends a lock with its process, however that ends. It is on a file of its own, because a process that
//! closes a second handle of the database loses all locks that SQLite has on it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::fault::Unusable;

const RETRY: Duration = Duration::from_millis(5);

/// The lock of a store on its file, until it is dropped.
pub(super) struct ProcessLock {
    path: PathBuf,
    _file: File,
}

impl ProcessLock {
    /// Shares the file with other processes, or has it alone. Waits until the deadline for processes that are about to end.
    ///
    /// # Errors
    /// When another process has the file alone, or at all if it is to be had alone. When there can be no lock.
    pub(super) fn take(database: &Path, is_exclusive: bool, deadline: Instant) -> Result<Self, Unusable> {
        // Links to the database lead to one lock.
        let mut path = database.canonicalize().map_err(Unusable::Lost)?.into_os_string();
        path.push("-lock");
        let path = PathBuf::from(path);
        let file = open(&path, database).map_err(Unusable::Lock)?;
        loop {
            let locked = match is_exclusive {
                true => file.try_lock(),
                false => file.try_lock_shared(),
            };
            match locked {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => thread::sleep(RETRY),
                Err(TryLockError::WouldBlock) => return Err(Unusable::OpenElsewhere),
                Err(TryLockError::Error(source)) if is_exclusive => return Err(Unusable::Lock(source)),
                // On such a file system nobody has a file alone.
                Err(TryLockError::Error(_)) => break,
            }
        }
        Ok(Self { path, _file: file })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// A process that may write the database may have the lock: a new file gets the mode of the database, as its log does.
fn open(path: &Path, database: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    match options.open(path) {
        Err(missing) if missing.kind() == ErrorKind::NotFound => {}
        opened => return opened,
    }
    let permissions = std::fs::metadata(database)?.permissions();
    match create_private(options.clone().create_new(true)).open(path) {
        Ok(file) => {
            file.set_permissions(permissions)?;
            Ok(file)
        }
        // Another process was first.
        Err(exists) if exists.kind() == ErrorKind::AlreadyExists => options.open(path),
        Err(error) => Err(error),
    }
}

#[cfg(unix)]
fn create_private(options: &mut OpenOptions) -> &mut OpenOptions {
    use std::os::unix::fs::OpenOptionsExt;

    options.mode(0o600)
}

#[cfg(not(unix))]
fn create_private(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}
