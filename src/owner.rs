//! Whose a file is: its owner can change it, whatever its mode.

pub(crate) mod private_file;
pub(crate) mod secret_file;

#[cfg(unix)]
pub(crate) use self::unix::{check_owner, is_not_written};
#[cfg(all(unix, feature = "file"))]
pub(crate) use self::unix::{is_not_written_at, is_of_nobody_here, is_ours};

#[cfg(unix)]
mod unix {
    use std::fs::{File, Metadata};
    use std::os::unix::fs::MetadataExt;
    #[cfg(feature = "file")]
    use std::path::Path;

    const ROOT: u32 = 0;

    /// Whether a file or folder belongs to root or to the user of this process. Otherwise its owner could write it, unless it is
    /// where nobody here can.
    pub(crate) fn check_owner(about: &Metadata, is_not_written: impl FnOnce() -> bool) -> Result<(), String> {
        if is_ours(about) || is_not_written() {
            return Ok(());
        }
        Err(format!(
            "belongs to user {}, who can change it: chown it to root or to the user of this process ({}), or mount it for \
             reading alone",
            about.uid(),
            process_user(),
        ))
    }

    pub(crate) fn is_ours(about: &Metadata) -> bool {
        [ROOT, process_user()].contains(&about.uid())
    }

    fn process_user() -> u32 {
        rustix::process::geteuid().as_raw()
    }

    /// Whether the file is mounted for reading alone, as Kubernetes does: then not even its owner writes it here.
    #[cfg(target_os = "linux")]
    pub(crate) fn is_not_written(file: &File) -> bool {
        rustix::fs::fstatvfs(file).is_ok_and(is_for_reading)
    }

    /// The same of what is at a path.
    #[cfg(all(target_os = "linux", feature = "file"))]
    pub(crate) fn is_not_written_at(path: &Path) -> bool {
        rustix::fs::statvfs(path).is_ok_and(is_for_reading)
    }

    #[cfg(target_os = "linux")]
    fn is_for_reading(system: rustix::fs::StatVfs) -> bool {
        system.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY)
    }

    /// Whether its owner is nobody in this user namespace, and so no process in it. In a container without root's rights, `/`
    /// may be such a folder: it is of the host, and shows as one of user 65534.
    #[cfg(all(target_os = "linux", feature = "file"))]
    pub(crate) fn is_of_nobody_here(about: &Metadata) -> bool {
        let Ok(maps) = std::fs::read_to_string("/proc/self/uid_map") else {
            return false;
        };
        // Each line: the first id here, the same id outside, how many follow.
        let has_owner = |line: &str| {
            let mut numbers = line.split_ascii_whitespace().map(str::parse::<u64>);
            let (first, _, count) = (numbers.next(), numbers.next(), numbers.next());
            match (first, count) {
                (Some(Ok(first)), Some(Ok(count))) => {
                    (first..first.saturating_add(count)).contains(&about.uid().into())
                }
                _ => true,
            }
        };
        !maps.lines().any(has_owner)
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn is_not_written(_: &File) -> bool {
        false
    }

    #[cfg(all(not(target_os = "linux"), feature = "file"))]
    pub(crate) fn is_not_written_at(_: &Path) -> bool {
        false
    }

    #[cfg(all(not(target_os = "linux"), feature = "file"))]
    pub(crate) fn is_of_nobody_here(_: &Metadata) -> bool {
        false
    }
}
