//! Finds keys in a stream of bytes.

use std::io::{self, Read};

use regex::bytes::Regex;
use tower_api_key::key::{ApiKey, KeyFormats, SecretForm};

use crate::failure::Failure;

/// No key is longer.
const LONGEST: usize = 1024;
const PIECE: usize = 256 * 1024;

/// Finds keys of some formats.
pub(crate) struct Finder {
    formats: KeyFormats,
    regex: Regex,
}

/// A key that was found.
pub(crate) struct Find {
    /// Counted from 1.
    pub(crate) line: u64,
    pub(crate) prefix: String,
    pub(crate) lookup: String,
    pub(crate) form: SecretForm,
    pub(crate) key: ApiKey,
}

impl Finder {
    pub(crate) fn new(formats: KeyFormats) -> Result<Self, Failure> {
        let parts: Vec<String> = formats
            .iter()
            .filter_map(|format| Some(format!("(?:{})", format.scanner_regex()?)))
            .collect();
        // Bytes, not characters: text in any encoding that has ASCII in it, and binary files. Their boundaries are those of ASCII.
        let regex = regex::bytes::RegexBuilder::new(&parts.join("|"))
            .unicode(false)
            .build()
            .map_err(|error| Failure::Usage(format!("the formats make no pattern: {error}")))?;
        Ok(Self { formats, regex })
    }

    pub(crate) fn search<R: Read>(&self, source: R) -> Search<'_, R> {
        Search {
            finder: self,
            source,
            buffer: Vec::new(),
            at: 0,
            line: 1,
            counted: 0,
            is_ended: false,
        }
    }
}

/// A search in one stream, in the memory of two pieces of it.
pub(crate) struct Search<'f, R> {
    finder: &'f Finder,
    source: R,
    buffer: Vec<u8>,
    /// Up to where it was searched.
    at: usize,
    line: u64,
    /// Up to where lines were counted.
    counted: usize,
    is_ended: bool,
}

impl<R: Read> Search<'_, R> {
    pub(crate) fn next(&mut self) -> io::Result<Option<Find>> {
        loop {
            // A key that begins behind this may go on in the next piece.
            let safe = match self.is_ended {
                true => self.buffer.len(),
                false => self.buffer.len().saturating_sub(LONGEST),
            };
            let found = self.finder.regex.find_at(&self.buffer, self.at);
            if let Some(found) = found.map(|found| found.range()).filter(|found| found.start < safe) {
                self.at = found.end;
                if let Some(find) = self.read(found) {
                    return Ok(Some(find));
                }
                continue;
            }
            if self.is_ended {
                return Ok(None);
            }
            self.at = self.at.max(safe);
            self.read_on()?;
        }
    }

    fn read(&mut self, found: std::ops::Range<usize>) -> Option<Find> {
        let text = self.buffer.get(found.clone())?;
        // Proves the checksum, if it is one that anyone can compute.
        let parsed = self.finder.formats.parse(text).ok()?;
        let find = Find {
            line: 0,
            prefix: parsed.prefix().to_owned(),
            lookup: parsed.lookup().to_owned(),
            form: parsed.form(),
            key: ApiKey::from(parsed.text().to_owned()),
        };
        self.count(found.start);
        Some(Find {
            line: self.line,
            ..find
        })
    }

    /// Counts the lines up to here.
    fn count(&mut self, end: usize) {
        let lines = self.buffer.get(self.counted..end).unwrap_or_default();
        self.line += lines.iter().filter(|&&byte| byte == b'\n').count() as u64;
        self.counted = end;
    }

    /// Drops what was searched, but for the byte before: whether a word begins depends on it.
    fn read_on(&mut self) -> io::Result<()> {
        let done = self.at.saturating_sub(1);
        self.count(done.max(self.counted));
        self.buffer.drain(..done);
        self.at -= done;
        self.counted -= done;
        let kept = self.buffer.len();
        self.buffer.resize(kept + PIECE, 0);
        let read = loop {
            match self.source.read(&mut self.buffer[kept..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        let read = read.inspect_err(|_| self.buffer.truncate(kept))?;
        self.buffer.truncate(kept + read);
        self.is_ended = read == 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tower_api_key::key::{Checksum, KeyFormat};

    fn finds(text: &[u8], size: usize) -> Vec<(u64, String)> {
        let format = KeyFormat::builder("key").checksum(Checksum::Crc32).build().unwrap();
        let finder = Finder::new(format.into()).unwrap();
        let mut search = finder.search(Slowly { text, size });
        let mut finds = Vec::new();
        while let Some(find) = search.next().unwrap() {
            finds.push((find.line, find.key.expose_secret().to_owned()));
        }
        finds
    }

    /// A stream that comes in small pieces.
    struct Slowly<'t> {
        text: &'t [u8],
        size: usize,
    }

    impl Read for Slowly<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let size = self.size.min(self.text.len()).min(buffer.len());
            let (now, later) = self.text.split_at(size);
            buffer[..size].copy_from_slice(now);
            self.text = later;
            Ok(size)
        }
    }

    #[test]
    fn keys_on_the_edges_of_pieces_are_found_once() {
        let format = KeyFormat::builder("key").checksum(Checksum::Crc32).build().unwrap();
        let key = format.generate(Some("live")).unwrap();
        let key = key.key().expose_secret();
        for before in [0, 1, 1_000, PIECE - 20, PIECE - 1, PIECE, 3 * PIECE + 7] {
            let mut text = vec![b'\n'; before];
            text.extend_from_slice(key.as_bytes());
            text.extend_from_slice(b"\nthe end");
            for size in [997, PIECE] {
                assert_eq!(
                    finds(&text, size),
                    [(before as u64 + 1, key.to_owned())],
                    "{before} {size}"
                );
            }
            let mut altered = text.clone();
            let last = before + key.len() - 1;
            altered[last] = if altered[last] == b'a' { b'b' } else { b'a' };
            assert_eq!(finds(&altered, PIECE), []);
        }
    }
}
