//! The `Authorization` header: which of its lines carry credentials of a configured scheme.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use smallvec::SmallVec;
use zeroize::Zeroizing;

use super::key_like::KeyLike;
use super::source::{Form, OthersRule};
use super::syntax::{is_token, list, skip_spaces, split_word, trim};

/// The configured schemes.
#[derive(Clone, Default)]
pub(super) struct Schemes(SmallVec<[Scheme; 1]>);

#[derive(Clone)]
struct Scheme {
    name: Box<str>,
    form: Form,
    others: OthersRule,
}

/// What a line holds for the configured schemes.
pub(super) enum Line<'r> {
    /// The credentials of another scheme.
    Other,
    /// Nothing at all.
    Empty,
    /// One of ours: what follows the scheme.
    Ours(Credentials<'r>),
    /// A value of one of our schemes that is no key, and stays.
    Left(OthersRule),
    /// A key without a scheme, or with one that is not configured.
    Misplaced,
    /// Several in one line, of which at least one is ours.
    Joined,
}

/// What follows the scheme, as it was sent.
pub(super) enum Credentials<'r> {
    Plain(&'r [u8]),
    Basic(&'r [u8], Form),
}

impl Schemes {
    pub(super) fn push(&mut self, name: Box<str>, form: Form, others: OthersRule) {
        self.0.push(Scheme { name, form, others });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn read<'r>(&self, line: &'r HeaderValue, keys: &KeyLike) -> Line<'r> {
        self.read_value(trim(line.as_bytes()), keys)
    }

    fn read_value<'r>(&self, value: &'r [u8], keys: &KeyLike) -> Line<'r> {
        match self.split(value) {
            Some((scheme, rest)) if scheme.form != Form::Plain => {
                Line::Ours(Credentials::Basic(skip_spaces(rest), scheme.form))
            }
            Some((scheme, rest)) if scheme.others != OthersRule::Refused && !keys.is_meant(rest) => {
                match self.hides_ours(value, keys) {
                    true => Line::Joined,
                    false => Line::Left(scheme.others),
                }
            }
            Some((_, rest)) => Line::Ours(Credentials::Plain(skip_spaces(rest))),
            None => self.read_other(value, keys),
        }
    }

    /// Whether credentials of ours follow a comma. An intermediary makes that of two lines (RFC 9110, section 5.3).
    pub(super) fn follow_comma(&self, value: &[u8]) -> bool {
        list(value).skip(1).any(|element| self.starts_with_ours(element))
    }

    /// Whether credentials of ours follow a comma in a value that is left otherwise: those that do not look like a key.
    fn hides_ours(&self, value: &[u8], keys: &KeyLike) -> bool {
        list(value).skip(1).any(|element| match self.starts_with_ours(element) {
            true => !matches!(self.read_value(element, keys), Line::Left(_)),
            false => is_in_basic(element, keys),
        })
    }

    /// Removes every line that holds credentials of ours. Lines of other schemes stay, in their order.
    pub(super) fn strip(&self, headers: &mut HeaderMap, keys: &KeyLike) {
        let is_ours = |line: &HeaderValue| !matches!(self.read(line, keys), Line::Other | Line::Left(_));
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

    /// A line that starts with no configured scheme. If it holds a key of ours all the same, it would be passed on to inner
    /// services, with a request that counts as anonymous or has another key.
    #[cold]
    fn read_other<'r>(&self, value: &'r [u8], keys: &KeyLike) -> Line<'r> {
        if self.0.is_empty() {
            return Line::Other;
        }
        let mut elements = list(value).peekable();
        let Some(first) = elements.peek() else {
            return Line::Empty;
        };
        let is_bare = split_word(first).1.is_empty();
        let (mut count, mut has_ours) = (0, false);
        for element in elements {
            count += 1;
            has_ours |= self.starts_with_ours(element) || keys.is_in(element, is_bare) || is_in_basic(element, keys);
        }
        match (has_ours, count) {
            (false, _) => Line::Other,
            (true, 1) => Line::Misplaced,
            (true, _) => Line::Joined,
        }
    }

    /// Stricter than [`split`](Self::split): after a comma, `token=…` is a parameter of the other scheme.
    fn starts_with_ours(&self, value: &[u8]) -> bool {
        self.split(value)
            .is_some_and(|(_, rest)| matches!(rest.first(), None | Some(b' ')))
    }
}

/// Whether Basic credentials have a key as user name or password.
fn is_in_basic(element: &[u8], keys: &KeyLike) -> bool {
    let (scheme, credentials) = split_word(element);
    scheme.eq_ignore_ascii_case(b"basic")
        && decode_basic(credentials)
            .is_some_and(|decoded| decoded.split(|byte| *byte == b':').any(|part| keys.starts(part)))
}

/// What Basic credentials (RFC 7617) hold.
pub(super) enum Basic {
    Key(Zeroizing<Vec<u8>>),
    /// Keys as user name and as password.
    TwoKeys,
    /// No base64, or a password beside a key as user name: it would be a second secret that is not checked.
    Malformed,
}

pub(super) fn basic_key(credentials: &[u8], form: Form, keys: &KeyLike) -> Basic {
    let Some(mut decoded) = decode_basic(credentials) else {
        return Basic::Malformed;
    };
    let end = decoded.iter().position(|byte| *byte == b':');
    let (user, password) = match end.and_then(|end| decoded.split_at_checked(end)) {
        Some((user, rest)) => (user, rest.get(1..).unwrap_or_default()),
        None => (decoded.as_slice(), &b""[..]),
    };
    if keys.starts(user) && keys.starts(password) {
        return Basic::TwoKeys;
    }
    match form {
        Form::BasicPassword if end.is_none() => Basic::Malformed,
        Form::BasicPassword => {
            let start = end.map_or(0, |end| end + 1);
            decoded.drain(..start);
            Basic::Key(decoded)
        }
        _ if PLACEHOLDERS.contains(&password) => {
            let end = user.len();
            decoded.truncate(end);
            Basic::Key(decoded)
        }
        _ => Basic::Malformed,
    }
}

/// Passwords of clients that want one beside the key.
const PLACEHOLDERS: [&[u8]; 4] = [b"", b"x", b"X", b"x-oauth-basic"];

pub(super) fn decode_basic(credentials: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    Some(Zeroizing::new(BASE64.decode(credentials).ok()?))
}

/// Some clients pad, some do not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
