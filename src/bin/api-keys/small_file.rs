//! Files with one secret line, as other programs leave them: with a byte order mark, Windows line ends, quotes.

use std::fs::File;
use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::global::variable;

/// The text of a file, without a byte order mark and white space around it. A pipe may be one, too.
///
/// # Errors
/// When it cannot be read, is too large, or no text.
pub(crate) fn text(path: &Path) -> Result<String, Failure> {
    let file = |error| Failure::file(path, &error);
    let mut bytes = Vec::new();
    File::open(path)
        .map_err(file)?
        .take(LARGEST + 1)
        .read_to_end(&mut bytes)
        .map_err(file)?;
    let wrong = |what: &str| Failure::Usage(format!("{}: {what}", path.display()));
    if bytes.len() as u64 > LARGEST {
        return Err(wrong("must have at most 64 KiB"));
    }
    let text = String::from_utf8(bytes).map_err(|_| wrong("must be UTF-8"))?;
    Ok(text.trim_start_matches('\u{feff}').trim().to_owned())
}

/// The key for the server: from the file that the environment names, or from a prompt.
///
/// # Errors
/// When there is none, or something else than a key.
pub(crate) fn token() -> Result<String, Failure> {
    if let Some(path) = variable("API_KEYS_TOKEN_FILE")?.map(PathBuf::from) {
        let key = text(&path)?;
        return match is_alone(&key) {
            true => Ok(key),
            // What is there is not shown: it may be a key and more.
            false => Err(Failure::Usage(format!(
                "{}: must have the key for the server alone, on one line, without quotes and without `Bearer`",
                path.display()
            ))),
        };
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::Usage(
            "there is no key for the server: name a file with it in API_KEYS_TOKEN_FILE".to_owned(),
        ));
    }
    write!(std::io::stderr(), "Key for the server: ")?;
    let key = rpassword::read_password()?;
    Ok(key.trim().to_owned())
}

fn is_alone(key: &str) -> bool {
    !key.is_empty()
        && key
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"\"'".contains(&byte))
}

/// In bytes.
const LARGEST: u64 = 64 * 1024;
