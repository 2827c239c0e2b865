//! The text of a file.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use zeroize::Zeroizing;

use super::error::{ConfigFileErrorKind, Fault};
use crate::owner::secret_file;

const LARGEST: u64 = 1 << 20;

/// A text, and why it must not have a password, if others may read it or change it.
pub(super) struct FileText {
    /// It may have the password of a database.
    pub(super) text: Zeroizing<String>,
    pub(super) exposed: Option<String>,
}

pub(super) fn read(path: &Path) -> Result<FileText, Fault> {
    let unreadable = |text: String| Fault::new(ConfigFileErrorKind::Unreadable, text);
    // Before it is opened: that would wait for a writer if it were a pipe.
    if std::fs::metadata(path).is_ok_and(|about| !about.is_file()) {
        return Err(unreadable("must be a file".to_owned()));
    }
    // One handle for the checks and for reading: the file behind a path can be exchanged in between.
    let file = File::open(path).map_err(|error| unreadable("cannot be opened".to_owned()).caused_by(error))?;
    let about = file
        .metadata()
        .map_err(|error| unreadable("cannot be read".to_owned()).caused_by(error))?;
    let exposed = secret_file::check(&file, &about).err();
    let mut bytes = Zeroizing::new(Vec::with_capacity(
        usize::try_from(about.len().min(LARGEST)).unwrap_or(0) + 1,
    ));
    file.take(LARGEST + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable("cannot be read".to_owned()).caused_by(error))?;
    if bytes.len() as u64 > LARGEST {
        return Err(unreadable(format!("must have at most {LARGEST} bytes (1 MiB)")));
    }
    let text = std::str::from_utf8(&bytes).map_err(|error| {
        let problem = format!(
            "must be UTF-8, which byte {} is not: save it so",
            error.valid_up_to() + 1
        );
        unreadable(problem)
    })?;
    Ok(FileText {
        text: Zeroizing::new(text.to_owned()),
        exposed,
    })
}
