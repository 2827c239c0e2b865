//! Files that only their owner may read and write.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// Creates a file that is not there yet. A link in its place is not followed.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Opens a file for reading and writing, and creates it if there is none.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) fn open_or_create(path: &Path) -> io::Result<File> {
    for _ in 0..ATTEMPTS {
        let Some(found) = check(path)? else {
            match create(path) {
                // Another process was first.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(error),
                Ok(file) => {
                    // Without this, what is written to it could be in no folder after a power failure.
                    #[cfg(unix)]
                    File::open(folder(path))?.sync_all()?;
                    return Ok(file);
                }
            }
        };
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        if is_same(&found, &file.metadata()?) {
            return Ok(file);
        }
    }
    Err(io::Error::other("was replaced each time it was opened"))
}

/// Whether the path still leads to the file.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        found => Ok(is_same(&found?, &file.metadata()?)),
    }
}

/// Whether both are of one file.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) fn are_one(one: &File, other: &File) -> io::Result<bool> {
    Ok(is_same(&one.metadata()?, &other.metadata()?))
}

/// Writes a new file beside the old one, and puts it in its place, so that a reader sees one or the other.
pub(crate) fn replace(path: &Path, contents: &[u8]) -> io::Result<()> {
    check(path)?;
    let beside = beside(path)?;
    let written = write(&beside, contents).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written?;
    // Without this, the old file could be back after a power failure.
    #[cfg(unix)]
    File::open(folder(path))?.sync_all()?;
    Ok(())
}

/// The contents of a file; `None` if there is none. At most `most` bytes.
pub(crate) fn read(path: &Path, most: u64) -> io::Result<Option<Vec<u8>>> {
    let Some(found) = check(path)? else { return Ok(None) };
    let mut file = File::open(path)?;
    if !is_same(&found, &file.metadata()?) {
        return Err(io::Error::other("was replaced while it was opened"));
    }
    let mut contents = Vec::new();
    Read::by_ref(&mut file)
        .take(most.saturating_add(1))
        .read_to_end(&mut contents)?;
    match contents.len() as u64 > most {
        true => Err(io::Error::other(format!("must have at most {most} bytes"))),
        false => Ok(Some(contents)),
    }
}

/// What is there is a file of the owner's alone.
fn check(path: &Path) -> io::Result<Option<Metadata>> {
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        found => found?,
    };
    if !found.is_file() {
        return Err(io::Error::other("must be a file, and no link"));
    }
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::PermissionsExt::mode(&found.permissions()) & 0o777;
        if mode & 0o077 != 0 {
            let problem = format!("must be readable and writable by its owner alone (mode 600), got mode {mode:o}");
            return Err(io::Error::other(problem));
        }
    }
    Ok(Some(found))
}

fn write(path: &Path, contents: &[u8]) -> io::Result<()> {
    let mut file = create(path)?;
    file.write_all(contents)?;
    file.sync_all()
}

fn beside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| io::Error::other("must name a file"))?;
    let number: u64 = rand::random();
    let name = format!(".{}.{number:016x}", name.to_string_lossy());
    Ok(folder(path).join(name))
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(unix)]
fn is_same(one: &Metadata, other: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

#[cfg(not(unix))]
fn is_same(_: &Metadata, _: &Metadata) -> bool {
    true
}

/// A file that is another one each time it was opened is being replaced in a loop.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
const ATTEMPTS: usize = 8;
