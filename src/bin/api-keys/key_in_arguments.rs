//! A key among the arguments, where others see it.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use tower_api_key::key::KeyFormat;

use crate::commands::scan::Finder;
use crate::database::configuration_at;
use crate::failure::Failure;
use crate::global::variable;

/// A key among the arguments is not repeated in an error, where it would go into logs as well, nor in a reason, which is kept.
///
/// # Errors
/// When there is one, of the default format or of one in the configuration file.
pub(crate) fn refuse(arguments: &[OsString]) -> Result<(), Failure> {
    let mut formats = vec![KeyFormat::default()];
    // Whether the file can be read at all, the command says.
    if let Ok(config) = configuration_at(file(arguments).as_deref()) {
        formats.extend(config.formats().into_iter().flat_map(|formats| formats.iter().cloned()));
    }
    for format in formats.into_iter().filter(|format| format.scanner_regex().is_some()) {
        let finder = Finder::new(format.into())?;
        if arguments.iter().any(|argument| has_key(&finder, argument)) {
            return Err(Failure::Usage(
                "a key is among the arguments, where other users of this machine and the history of the shell have it: rotate it. Keys are \
                 named by their id or lookup, and `verify` reads them from standard input"
                    .to_owned(),
            ));
        }
    }
    Ok(())
}

fn has_key(finder: &Finder, argument: &OsStr) -> bool {
    let mut search = finder.search(argument.as_encoded_bytes());
    while let Ok(Some(found)) = search.next() {
        // Hex digits alone may as well be a hash, by which a key is named that has no other lookup.
        if !found.key.expose_secret().bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return true;
        }
    }
    false
}

/// The configuration file that the arguments name, or else the environment. They are not parsed yet: what is wrong with them is an error
/// that repeats them.
fn file(arguments: &[OsString]) -> Option<PathBuf> {
    let mut options = arguments.iter().take_while(|one| *one != "--");
    while let Some(option) = options.next() {
        if option == "--config" {
            return options.next().map(PathBuf::from);
        }
        if let Some(path) = option.to_str().and_then(|text| text.strip_prefix("--config=")) {
            return Some(Path::new(path).to_owned());
        }
    }
    variable("API_KEYS_CONFIG").ok()?.map(PathBuf::from)
}
