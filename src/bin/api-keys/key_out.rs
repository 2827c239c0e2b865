//! Where a new key goes. It is shown once, and not to logs.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Value;

use crate::failure::Failure;
use crate::output::Output;

/// Where a new key goes. To a terminal, unless one of these says otherwise.
#[derive(Args, Clone, Debug)]
pub(crate) struct KeyOut {
    /// Writes the key to this new file, for its owner alone
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Prints the key to standard output, even if that is a pipe or a log
    #[arg(long, conflicts_with = "out")]
    print_secret: bool,
}

/// Where a key will go, decided before it is made: a key that could not be shown would be lost.
#[derive(Debug)]
pub(crate) enum Place {
    File(std::fs::File, PathBuf),
    Output,
}

impl KeyOut {
    /// Where a second key goes, that is made beside the first one.
    pub(crate) fn beside(&self, ending: &str) -> Self {
        let beside = |path: &PathBuf| {
            let mut name = path.clone().into_os_string();
            name.push(ending);
            name.into()
        };
        Self {
            out: self.out.as_ref().map(beside),
            print_secret: self.print_secret,
        }
    }

    /// Whether there will be a place, without making a file.
    ///
    /// # Errors
    /// As for [`place`](Self::place).
    pub(crate) fn check(&self, output: Output) -> Result<(), Failure> {
        match &self.out {
            Some(path) if path.symlink_metadata().is_ok() => Err(is_there(path)),
            Some(_) => Ok(()),
            None => self.place(output).map(drop),
        }
    }

    /// # Errors
    /// When it would go to a pipe or a log, or the file is there already.
    pub(crate) fn place(&self, output: Output) -> Result<Place, Failure> {
        if let Some(path) = &self.out {
            return Ok(Place::File(create_private(path)?, path.clone()));
        }
        if self.print_secret || (output.is_terminal() && !output.json) {
            return Ok(Place::Output);
        }
        Err(Failure::Usage(
            "the key would go to a pipe or a log: write it to a file with --out FILE, or print it with --print-secret"
                .to_owned(),
        ))
    }
}

impl Place {
    /// Writes the key of an answer, and takes it out if it went elsewhere than what is printed.
    ///
    /// # Errors
    /// When the answer has no key, or it cannot be written.
    pub(crate) fn put(self, answer: &mut Value) -> Result<(), Failure> {
        self.put_member(answer, "key")
    }

    /// The same for a key in another member; the file's name goes into the member with `_file` behind it.
    ///
    /// # Errors
    /// As for [`put`](Self::put).
    pub(crate) fn put_member(self, answer: &mut Value, member: &str) -> Result<(), Failure> {
        let key = answer[member].as_str().unwrap_or_default().to_owned();
        if key.is_empty() {
            self.give_up();
            return Err(Failure::Unavailable(
                "the answer has no key: whether one was made is not known".to_owned(),
            ));
        }
        let Self::File(mut file, path) = self else {
            return Ok(());
        };
        let written = file
            .write_all(key.as_bytes())
            .and_then(|()| file.write_all(b"\n"))
            .and_then(|()| file.sync_all());
        if let Err(error) = written {
            let id = crate::output::cell(&answer["record"]["id"]);
            return Err(Failure::Usage(format!(
                "{}: {error}. The key is lost; it was made, and can be rotated: {id}",
                path.display()
            )));
        }
        if let Some(members) = answer.as_object_mut() {
            members.remove(member);
            members.insert(format!("{member}_file"), Value::String(path.display().to_string()));
        }
        Ok(())
    }

    /// Takes back a file in which nothing was put.
    pub(crate) fn give_up(self) {
        if let Self::File(file, path) = self {
            drop(file);
            let _ = std::fs::remove_file(path);
        }
    }
}

/// A new file for its owner alone. One that is there, or a link, is an error.
pub(crate) fn create_private(path: &Path) -> Result<std::fs::File, Failure> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => is_there(path),
        _ => Failure::file(path, &error),
    })
}

fn is_there(path: &Path) -> Failure {
    Failure::Usage(format!(
        "{} is there already: a key goes into a new file",
        path.display()
    ))
}
