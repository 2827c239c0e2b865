//! The `Authorization` header: which of its lines carry credentials of a configured scheme.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use smallvec::SmallVec;
use zeroize::Zeroizing;

use super::syntax::{is_token, skip_spaces, trim};

/// The configured schemes.
#[derive(Clone, Default)]
pub(super) struct Schemes(SmallVec<[Scheme; 1]>);

#[derive(Clone)]
struct Scheme {
    name: Box<str>,
    is_basic: bool,
}

/// What a line holds for the configured schemes.
pub(super) enum Line<'r> {
    /// The credentials of another scheme.
    Other,
    /// One of ours: what follows the scheme.
    Ours(Credentials<'r>),
    /// One of ours behind a comma, in a line of another scheme.
    Joined,
}

/// What follows the scheme, as it was sent.
pub(super) enum Credentials<'r> {
    Plain(&'r [u8]),
    Basic(&'r [u8]),
}

impl Schemes {
    pub(super) fn push(&mut self, name: Box<str>, is_basic: bool) {
        self.0.push(Scheme { name, is_basic });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn read<'r>(&self, line: &'r HeaderValue) -> Line<'r> {
        let value = trim(line.as_bytes());
        match self.split(value) {
            Some((scheme, rest)) if scheme.is_basic => Line::Ours(Credentials::Basic(skip_spaces(rest))),
            Some((_, rest)) => Line::Ours(Credentials::Plain(skip_spaces(rest))),
            None if self.is_joined(value) => Line::Joined,
            None => Line::Other,
        }
    }

    /// Removes every line that holds credentials of ours. Lines of other schemes stay, in their order.
    pub(super) fn strip(&self, headers: &mut HeaderMap) {
        let is_ours = |line: &HeaderValue| !matches!(self.read(line), Line::Other);
        let mut lines = headers.get_all(AUTHORIZATION).iter();
        let Some(first) = lines.next() else { return };
        if lines.next().is_none() {
            if is_ours(first) {
                headers.remove(AUTHORIZATION);
            }
            return;
        }
        let lines = headers.get_all(AUTHORIZATION).iter();
        let others: Vec<HeaderValue> = lines.filter(|line| !is_ours(line)).cloned().collect();
        headers.remove(AUTHORIZATION);
        for line in others {
            headers.append(AUTHORIZATION, line);
        }
    }

    /// The configured scheme that a value starts with, and what follows its name.
    fn split<'r>(&self, value: &'r [u8]) -> Option<(&Scheme, &'r [u8])> {
        self.0.iter().find_map(|scheme| {
            let (name, rest) = value.split_at_checked(scheme.name.len())?;
            // `Bearers` is another scheme than `Bearer`.
            let ends = rest.first().is_none_or(|byte| *byte == b' ' || !is_token(*byte));
            // Nearly all clients write the scheme as it is configured, and plain equality is faster.
            let ours = scheme.name.as_bytes();
            let is_equal = ours == name || ours.eq_ignore_ascii_case(name);
            (ends && is_equal).then_some((scheme, rest))
        })
    }

    /// Whether credentials of ours follow a comma in a value of another scheme. An intermediary makes that of two lines
    /// (RFC 9110, section 5.3). Overlooked, the key would be passed on to inner services.
    #[cold]
    fn is_joined(&self, value: &[u8]) -> bool {
        let (mut is_quoted, mut is_escaped) = (false, false);
        let mut rest = value;
        while let Some((byte, after)) = rest.split_first() {
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' if is_quoted => is_escaped = true,
                b'"' => is_quoted = !is_quoted,
                b',' if !is_quoted && self.starts_with_ours(after.trim_ascii_start()) => return true,
                _ => {}
            }
            rest = after;
        }
        false
    }

    /// Stricter than [`split`](Self::split): after a comma, `token=…` is a parameter of the other scheme.
    fn starts_with_ours(&self, value: &[u8]) -> bool {
        self.split(value)
            .is_some_and(|(_, rest)| matches!(rest.first(), None | Some(b' ')))
    }
}

/// The user name of Basic credentials without a password (RFC 7617). `None` for anything else: a password would be a
/// second secret that is not checked.
pub(super) fn basic_user(credentials: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut decoded = Zeroizing::new(BASE64.decode(credentials).ok()?);
    let end = decoded.iter().position(|byte| *byte == b':').unwrap_or(decoded.len());
    if end + 1 < decoded.len() {
        return None;
    }
    decoded.truncate(end);
    Some(decoded)
}

/// Some clients pad, some do not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
