//! The files of a tree, one after the other.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What is to be read, or is left out.
pub(super) enum Source {
    File(PathBuf),
    Standard,
    Unread(PathBuf, io::Error),
    Link,
    GitObjects,
}

/// Goes through a tree, folder by folder. It holds the names of the folders on its way, whatever the size of the tree.
pub(super) struct Walk {
    start: Option<PathBuf>,
    folders: Vec<(PathBuf, fs::ReadDir)>,
}

impl Walk {
    pub(super) fn new(path: &Path) -> Self {
        Self {
            start: Some(path.to_owned()),
            folders: Vec::new(),
        }
    }

    pub(super) fn next(&mut self) -> Option<Source> {
        if let Some(start) = self.start.take() {
            if start.as_os_str() == "-" {
                return Some(Source::Standard);
            }
            // One that was named is followed, even if it is a link.
            match fs::metadata(&start) {
                Ok(found) if found.is_dir() => {
                    if let Some(failed) = self.enter(start) {
                        return Some(failed);
                    }
                }
                Ok(_) => return Some(Source::File(start)),
                Err(error) => return Some(Source::Unread(start, error)),
            }
        }
        loop {
            let (folder, entries) = self.folders.last_mut()?;
            let Some(entry) = entries.next() else {
                self.folders.pop();
                continue;
            };
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    let folder = folder.clone();
                    self.folders.pop();
                    return Some(Source::Unread(folder, error));
                }
            };
            let path = entry.path();
            match entry.file_type() {
                Err(error) => return Some(Source::Unread(path, error)),
                Ok(kind) if kind.is_symlink() => return Some(Source::Link),
                Ok(kind) if kind.is_dir() && is_git_objects(&path) => return Some(Source::GitObjects),
                Ok(kind) if kind.is_dir() => {
                    if let Some(failed) = self.enter(path) {
                        return Some(failed);
                    }
                }
                Ok(kind) if kind.is_file() => return Some(Source::File(path)),
                // Pipes, sockets and devices: reading them may never end.
                Ok(_) => {}
            }
        }
    }

    fn enter(&mut self, folder: PathBuf) -> Option<Source> {
        match fs::read_dir(&folder) {
            Ok(entries) => {
                self.folders.push((folder, entries));
                None
            }
            Err(error) => Some(Source::Unread(folder, error)),
        }
    }
}

fn is_git_objects(path: &Path) -> bool {
    path.ends_with(".git/objects")
}
