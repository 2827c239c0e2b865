//! Who else may write a file, or put another one in its place: they make keys.

#[cfg(unix)]
pub(super) use self::unix::check_writers;

#[cfg(not(unix))]
pub(super) fn check_writers(_: &std::path::Path, _: &std::fs::Metadata) -> Result<(), super::problem::Problem> {
    Ok(())
}

#[cfg(unix)]
mod unix {
    use std::ffi::OsString;
    use std::fs::{self, Metadata};
    use std::io;
    use std::os::unix::fs::MetadataExt;
    use std::path::{Component, Path, PathBuf};

    use crate::store::file::problem::Problem;

    const GROUP_AND_OTHERS: u32 = 0o022;
    const OTHERS: u32 = 0o002;
    const STICKY: u32 = 0o1000;
    /// As many as Linux follows.
    const MOST_LINKS: usize = 40;

    /// Looks at the file, and at every folder on the way to it, through links.
    ///
    /// The folder of the file, and that of each link, must be closed to group and others: they could rename another file over
    /// it. A folder above must not be open to everyone.
    pub(in crate::store::file) fn check_writers(path: &Path, metadata: &Metadata) -> Result<(), Problem> {
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
        let mode = fs::metadata(folder).map_err(failed)?.mode() & 0o7777;
        let writers = if found.is_dir() { OTHERS } else { GROUP_AND_OTHERS };
        // Where the sticky bit is set, as in `/tmp`, a file is renamed and removed by its owner alone.
        let is_guarded = mode & STICKY != 0 && (found.is_dir() || is_ours(found));
        if mode & writers == 0 || is_guarded || is_read_only(folder) {
            return Ok(());
        }
        Err(Problem::new(format!(
            "its folder {} may be written by others (mode {mode:04o}): chmod go-w",
            folder.display()
        )))
    }

    #[cfg(target_os = "linux")]
    fn is_ours(found: &Metadata) -> bool {
        [0, rustix::process::geteuid().as_raw()].contains(&found.uid())
    }

    #[cfg(not(target_os = "linux"))]
    fn is_ours(_: &Metadata) -> bool {
        false
    }

    /// What is mounted for reading alone, as Kubernetes mounts it, is not written, whatever its mode.
    #[cfg(target_os = "linux")]
    fn is_read_only(folder: &Path) -> bool {
        use rustix::fs::{StatVfsMountFlags, statvfs};

        statvfs(folder).is_ok_and(|system| system.f_flag.contains(StatVfsMountFlags::RDONLY))
    }

    #[cfg(not(target_os = "linux"))]
    fn is_read_only(_: &Path) -> bool {
        false
    }
}
