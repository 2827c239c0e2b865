//! Reads the `Forwarded` header (RFC 7239).

use http::header::HeaderValue;
use smallvec::SmallVec;

use super::syntax::{is_token, read_quoted};

/// One element of the header: what one proxy wrote (section 4).
#[derive(Clone, Copy, Default)]
pub(super) struct Element<'h> {
    /// The value of `for`.
    pub(super) client: Option<&'h [u8]>,
    /// The value of `proto`.
    pub(super) scheme: Option<&'h [u8]>,
}

type Elements<'h> = SmallVec<[Option<Element<'h>>; 4]>;

/// The elements of a line, last one first. A line that cannot be read is one `None`, and an empty one has none.
///
/// The line is read from its start, because quoted strings may hold commas. If a client leaves a quote open, the whole
/// line is unreadable: what the proxy appended is never taken for part of the client's value.
pub(super) fn elements_from_right(line: &HeaderValue) -> impl Iterator<Item = Option<Element<'_>>> {
    let mut elements = Elements::new();
    if read(line.as_bytes(), &mut elements).is_none() {
        elements.clear();
        elements.push(None);
    }
    elements.into_iter().rev()
}

fn read<'h>(mut rest: &'h [u8], elements: &mut Elements<'h>) -> Option<()> {
    let mut element = Element::default();
    let mut is_empty = true;
    loop {
        rest = rest.trim_ascii_start();
        if !matches!(rest.first(), None | Some(b',' | b';')) {
            // A name is a token. If it could reach over a comma to the next `=`, a client could swallow the element that
            // the proxy appended.
            let end = rest.iter().position(|byte| !is_token(*byte)).filter(|end| *end > 0)?;
            let (name, after) = rest.split_at_checked(end)?;
            let (value, after) = read_value(after.strip_prefix(b"=")?)?;
            let slot = match name {
                name if name.eq_ignore_ascii_case(b"for") => Some(&mut element.client),
                name if name.eq_ignore_ascii_case(b"proto") => Some(&mut element.scheme),
                _ => None,
            };
            if let Some(slot) = slot
                && slot.replace(value).is_some()
            {
                return None;
            }
            is_empty = false;
            rest = after.trim_ascii_start();
        }
        let (end, after) = rest
            .split_first()
            .map_or((None, rest), |(byte, after)| (Some(byte), after));
        match end {
            Some(b';') => is_empty = false,
            None | Some(b',') => {
                // Nothing between two commas is no element (RFC 9110, section 5.6.1.2).
                let element = std::mem::take(&mut element);
                if !std::mem::replace(&mut is_empty, true) {
                    elements.push(Some(element));
                }
            }
            Some(_) => return None,
        }
        if end.is_none() {
            return Some(());
        }
        rest = after;
    }
}

/// A token or a quoted string, and what follows it. Escapes are not resolved: no address or scheme needs one.
fn read_value(text: &[u8]) -> Option<(&[u8], &[u8])> {
    if text.starts_with(b"\"") {
        return read_quoted(text);
    }
    let ends = |byte: &u8| matches!(byte, b',' | b';' | b' ' | b'\t' | b'"');
    let end = text.iter().position(ends).unwrap_or(text.len());
    Some(text.split_at(end))
}
