//! Files with secrets that others make, such as an orchestrator: who else may read or change them.

use std::fs::{File, Metadata};

/// Whether nobody but its owner, and root, can read the file or put something else into it.
#[cfg(unix)]
pub(crate) fn check(file: &File, about: &Metadata) -> Result<(), String> {
    use std::os::unix::fs::MetadataExt;

    use crate::owner::{check_owner, is_not_written};

    check_owner(about, || is_not_written(file))?;
    // A secret that an orchestrator mounts belongs to root, and its group reads it for the service.
    let allowed = if about.uid() == 0 { 0o640 } else { 0o600 };
    let mode = about.mode() & 0o777;
    if mode & !(allowed | 0o100) == 0 {
        return Ok(());
    }
    Err(format!("must have mode {allowed:o} or less, got {mode:o}"))
}

#[cfg(not(unix))]
pub(crate) fn check(_: &File, _: &Metadata) -> Result<(), String> {
    Ok(())
}
