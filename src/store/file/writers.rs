//! Who else may write a file, or put another one in its place: they make keys.

#[cfg(unix)]
pub(super) use self::unix::check_writers;

#[cfg(not(unix))]
pub(super) fn check_writers(
    _: &std::path::Path,
    _: &std::fs::File,
    _: &std::fs::Metadata,
) -> Result<(), super::problem::Problem> {
    Ok(())
}

#[cfg(unix)]
mod unix {
    use std::ffi::OsString;
    use std::fs::{self, File, Metadata};
    use std::io;
    use std::os::unix::fs::MetadataExt;
    use std::path::{Component, Path, PathBuf};

    use crate::owner::{check_owner, is_not_written, is_not_written_at, is_of_nobody_here, is_ours};
    use crate::store::file::problem::Problem;

    const GROUP_AND_OTHERS: u32 = 0o022;
    const OTHERS: u32 = 0o002;
    const STICKY: u32 = 0o1000;
    /// As many as Linux follows.
    const MOST_LINKS: usize = 40;

    /// Looks at the file, and at every folder on the way to it, through links.
    ///
    /// The folder of the file, and that of each link, must be closed to group and others: they could rename another file over
    /// it. A folder above must not be open to everyone. All must belong to root or to the user of this process.
    pub(in crate::store::file) fn check_writers(path: &Path, file: &File, metadata: &Metadata) -> Result<(), Problem> {
        check_owner(metadata, || is_not_written(file)).map_err(Problem::new)?;
        let mode = metadata.mode() & 0o7777;
        if mode & GROUP_AND_OTHERS != 0 {
            return Err(Problem::new(format!(
                "may be written by others (mode {mode:04o}): chmod go-w"
            )));
        }
        let failed = |error: io::Error| Problem::new(format!("cannot be read: {error}"));
        let mut folder = PathBuf::from("/");
        let mut links = 0;
        let mut left = parts(path);
        while let Some(part) = left.pop() {
            if part == ".." {
                folder.pop();
                continue;
            }
            let next = folder.join(part);
            let found = fs::symlink_metadata(&next).map_err(failed)?;
            check_folder(&folder, &found)?;
            if !found.is_symlink() {
                folder = next;
                continue;
            }
            links += 1;
            if links > MOST_LINKS {
                return Err(Problem::new("is behind too many links"));
            }
            let target = fs::read_link(&next).map_err(failed)?;
            if target.is_absolute() {
                folder = PathBuf::from("/");
            }
            left.extend(parts(&target));
        }
        Ok(())
    }

    /// The parts of a path, the last one first.
    fn parts(path: &Path) -> Vec<OsString> {
        let parts = path.components().rev().filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        });
        parts.collect()
    }

    /// Whether others can replace what was found in this folder.
    fn check_folder(folder: &Path, found: &Metadata) -> Result<(), Problem> {
        let failed = |error: io::Error| Problem::new(format!("its folder cannot be read: {error}"));
        let about = fs::metadata(folder).map_err(failed)?;
        let is_above = found.is_dir();
        if !(is_above && is_of_nobody_here(&about)) {
            check_owner(&about, || is_not_written_at(folder))
                .map_err(|problem| Problem::new(format!("its folder {} {problem}", folder.display())))?;
        }
        let mode = about.mode() & 0o7777;
        let writers = if is_above { OTHERS } else { GROUP_AND_OTHERS };
        // Where the sticky bit is set, as in `/tmp`, a file is renamed and removed by its owner and that of the folder alone.
        let is_guarded = mode & STICKY != 0 && (is_above || is_ours(found));
        if mode & writers == 0 || is_guarded || is_not_written_at(folder) {
            return Ok(());
        }
        Err(Problem::new(format!(
            "its folder {} may be written by others (mode {mode:04o}): chmod go-w",
            folder.display()
        )))
    }
}
