//! Finds the key in a request, and removes it.

mod copies;
mod hide;

use std::mem;

use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use http::{Request, Uri};
use smallvec::SmallVec;
use zeroize::Zeroizing;

use super::authorization::{Basic, Credentials, Line, Schemes, basic_key};
use super::key_like::KeyLike;
use super::query;
use super::source::{KeySource, OthersRule, Place};
use super::syntax::trim;
use super::websocket::{self, Offer, Protocols};
use crate::error::ConfigError;
use crate::key::KeyFormats;

/// The configured sources, by how each is read.
#[derive(Clone)]
pub(super) struct Sources {
    listed: Box<[KeySource]>,
    schemes: Schemes,
    headers: SmallVec<[HeaderName; 1]>,
    parameters: Box<[Box<str>]>,
    /// What stands in front of a key among the subprotocols of a WebSocket.
    marker: Option<Box<str>>,
    /// Headers that may hold credentials, and hold no key alone, besides `Proxy-Authorization`.
    unread: SmallVec<[HeaderName; 2]>,
    keys: KeyLike,
    leaves_others: bool,
}

/// Why a request has no key to check.
pub(super) enum NoKey {
    /// There is none. With what is left for others.
    Absent(Rest),
    /// An empty value, or a key where none is read: a client that sends that means to have a key.
    Unusable,
    /// More than one, equal or not.
    Several,
    /// One value that no format can accept.
    Malformed,
}

/// Where the credentials of a request can be.
pub(super) enum Spot {
    /// In its only `Authorization` line.
    OnlyAuthorization,
    /// In the places that are read.
    Configured,
    /// There is something besides, or may be.
    Anywhere(Box<Beside>),
}

/// What a request holds beside its key.
#[derive(Default)]
pub(super) struct Beside {
    /// The key, if other lines have copies of it.
    copied: Option<Zeroizing<Vec<u8>>>,
    /// Whether a source left a value that is no key.
    pub(super) has_others: bool,
    /// Whether the key is one of the subprotocols of a WebSocket.
    pub(super) is_protocol: bool,
}

impl Spot {
    fn alone(in_authorization: bool) -> Self {
        match in_authorization {
            true => Self::OnlyAuthorization,
            false => Self::Configured,
        }
    }

    pub(super) fn beside(&self) -> Option<&Beside> {
        match self {
            Self::Anywhere(beside) => Some(beside),
            _ => None,
        }
    }
}

/// The bytes that a client presents as its key.
pub(super) enum Key<'r> {
    Sent(&'r [u8]),
    Decoded(Zeroizing<Vec<u8>>),
}

impl Key<'_> {
    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Sent(bytes) => bytes,
            Self::Decoded(bytes) => bytes,
        }
    }
}

/// A value before it is decoded.
enum Raw<'r> {
    Header(Credentials<'r>),
    Parameter(&'r str),
    Protocol(&'r [u8]),
    /// A key in an `Authorization` line without a scheme of ours, or among subprotocols without its marker.
    Misplaced,
    /// More than one in one line.
    Several,
}

/// What the lines hold that are not read.
#[derive(Default)]
pub(super) struct Rest {
    /// Whether one of them is a header for credentials.
    pub(super) has_credentials: bool,
    /// Whether one has a value of a configured scheme that is no key, and stays.
    pub(super) has_others: bool,
    /// Whether such a one must not come together with a key.
    excludes_key: bool,
    /// Whether an `Authorization` line is empty.
    has_empty: bool,
    /// Whether the subprotocols were read.
    has_protocols: bool,
    /// The length of the longest one, or of the query: if the key is longer, none of them holds a copy of it.
    longest: usize,
}

impl Rest {
    fn add(&mut self, line: &HeaderValue) {
        self.longest = self.longest.max(line.len());
    }

    /// Whether nothing is to be done but to remove this key.
    fn is_harmless_to(&self, key: &[u8]) -> bool {
        !self.has_credentials && self.longest < key.len()
    }
}

impl Sources {
    /// The default ones, for keys of these formats.
    pub(super) fn defaults(formats: &KeyFormats) -> Self {
        let api_key = KeySource::header("x-api-key");
        Self::sorted([KeySource::bearer()].into_iter().chain(api_key).collect(), formats)
    }

    pub(super) fn new(sources: impl IntoIterator<Item = KeySource>, formats: &KeyFormats) -> Result<Self, ConfigError> {
        let sources: Vec<KeySource> = sources.into_iter().collect();
        if sources.is_empty() {
            return Err(ConfigError::new("key sources", "need at least one source, got none"));
        }
        for (index, source) in sources.iter().enumerate() {
            if sources.iter().take(index).any(|earlier| earlier.overlaps(source)) {
                return Err(ConfigError::new(
                    "key sources",
                    format!("must be different, got {source} twice"),
                ));
            }
        }
        let sorted = Self::sorted(sources, formats);
        sorted.check_others()?;
        Ok(sorted)
    }

    fn check_others(&self) -> Result<(), ConfigError> {
        let problem = |text: String| Err(ConfigError::new("key sources", text));
        let mut leaving = self
            .listed
            .iter()
            .filter(|source| source.others() != OthersRule::Refused);
        if let Some(source) = leaving.clone().find(|source| !source.can_leave_others()) {
            return problem(format!(
                "only a scheme of `Authorization` other than Basic can leave other values, got {source}"
            ));
        }
        match leaving.next() {
            Some(source) if !self.keys.knows_all() => problem(format!(
                "{source} can leave other values only if keys of every format start with at least 3 constant characters; \
                 give the formats a prefix"
            )),
            _ => Ok(()),
        }
    }

    fn sorted(listed: Vec<KeySource>, formats: &KeyFormats) -> Self {
        let (mut schemes, mut headers, mut parameters) = (Schemes::default(), SmallVec::new(), Vec::new());
        let mut marker = None;
        for source in &listed {
            match source.place().clone() {
                Place::Scheme { name, form } => schemes.push(name, form, source.others()),
                Place::Header(name) => headers.push(name),
                Place::Parameter(name) => parameters.push(name),
                Place::Protocol(name) => marker = Some(name),
            }
        }
        let usual = Some(HeaderName::from_static("x-api-key")).filter(|name| !headers.contains(name));
        let protocols = marker.is_some().then_some(SEC_WEBSOCKET_PROTOCOL);
        let unread = usual.into_iter().chain(protocols).collect();
        Self {
            leaves_others: listed.iter().any(|source| source.others() != OthersRule::Refused),
            listed: listed.into(),
            schemes,
            headers,
            parameters: parameters.into(),
            unread,
            marker,
            keys: KeyLike::new(formats),
        }
    }

    /// The headers that keys come in.
    pub(super) fn header_names(&self) -> impl Iterator<Item = &HeaderName> {
        let authorization = (!self.schemes.is_empty()).then_some(&AUTHORIZATION);
        self.headers.iter().chain(authorization)
    }

    pub(super) fn set_formats(&mut self, formats: &KeyFormats) {
        self.keys = KeyLike::new(formats);
    }

    /// The sources in the order in which they were configured.
    pub(super) fn listed(&self) -> &[KeySource] {
        &self.listed
    }

    /// Looks into every source. A value counts whatever it holds: if a malformed one were skipped, a proxy and this layer
    /// could disagree about which of two values is the key.
    pub(super) fn find<'r>(&self, headers: &'r HeaderMap, uri: &'r Uri) -> Result<(Key<'r>, Spot), NoKey> {
        let mut found = None;
        let mut rest = Rest {
            longest: uri.query().map_or(0, str::len),
            ..Rest::default()
        };
        // One pass over all headers: looking up a name takes as long as passing a dozen of them.
        for (name, line) in headers {
            let value = if *name == AUTHORIZATION {
                match self.schemes.read(line, &self.keys) {
                    Line::Ours(credentials) => (Raw::Header(credentials), true),
                    other => match set_aside(other, line, &mut rest) {
                        Some(value) => (value, false),
                        None => continue,
                    },
                }
            } else if self.headers.contains(name) {
                (Raw::Header(Credentials::Plain(trim(line.as_bytes()))), false)
            } else {
                rest.add(line);
                if *name == PROXY_AUTHORIZATION {
                    rest.has_credentials = true;
                    continue;
                }
                if self.unread.is_empty() || !self.unread.contains(name) {
                    continue;
                }
                match self.read_part(name, headers, &mut rest) {
                    Some(value) => (value, false),
                    None => continue,
                }
            };
            if found.replace(value).is_some() {
                return Err(NoKey::Several);
            }
        }
        for name in &self.parameters {
            for value in query::values(uri, name) {
                if found.replace((Raw::Parameter(value), false)).is_some() {
                    return Err(NoKey::Several);
                }
            }
        }
        match found {
            Some((Raw::Header(Credentials::Plain(value @ [_, ..])), in_authorization))
                if rest.is_harmless_to(value) =>
            {
                Ok((Key::Sent(value), Spot::alone(in_authorization)))
            }
            found => self.decode(found, headers, uri, rest),
        }
    }

    /// Reads a header of which only a part can be a key.
    #[cold]
    fn read_part<'r>(&self, name: &HeaderName, headers: &'r HeaderMap, rest: &mut Rest) -> Option<Raw<'r>> {
        if *name != SEC_WEBSOCKET_PROTOCOL {
            rest.has_credentials = true;
            return None;
        }
        // All lines are one list.
        if mem::replace(&mut rest.has_protocols, true) {
            return None;
        }
        match websocket::read(headers, self.marker.as_deref()?, &self.keys) {
            Offer::Others => None,
            Offer::Key(key) => Some(Raw::Protocol(key)),
            Offer::Misplaced => Some(Raw::Misplaced),
            Offer::Several => Some(Raw::Several),
        }
    }

    /// What is found, unless it is as plain as nearly always.
    #[inline(never)]
    fn decode<'r>(
        &self,
        found: Option<(Raw<'r>, bool)>,
        headers: &HeaderMap,
        uri: &Uri,
        rest: Rest,
    ) -> Result<(Key<'r>, Spot), NoKey> {
        let Some((value, in_authorization)) = found else {
            return match rest.has_empty && !rest.has_others {
                true => Err(NoKey::Unusable),
                false => Err(NoKey::Absent(rest)),
            };
        };
        if rest.excludes_key {
            return Err(NoKey::Several);
        }
        let is_protocol = matches!(value, Raw::Protocol(_));
        let key = match value {
            Raw::Several => return Err(NoKey::Several),
            Raw::Misplaced | Raw::Header(Credentials::Basic([], _)) => return Err(NoKey::Unusable),
            Raw::Protocol(value) | Raw::Header(Credentials::Plain(value)) => Key::Sent(value),
            Raw::Header(Credentials::Basic(value, form)) => match basic_key(value, form, &self.keys) {
                Basic::Key(key) => Key::Decoded(key),
                Basic::TwoKeys => return Err(NoKey::Several),
                Basic::Malformed if self.are_several(value) => return Err(NoKey::Several),
                Basic::Malformed => return Err(NoKey::Malformed),
            },
            Raw::Parameter(value) if value.contains('%') => Key::Decoded(query::decode(value)),
            Raw::Parameter(value) => Key::Sent(value.as_bytes()),
        };
        let bytes = key.as_bytes();
        if bytes.is_empty() {
            return Err(NoKey::Unusable);
        }
        let has_copies = rest.longest >= bytes.len() && self.has_copies(headers, uri, bytes);
        if !has_copies && !rest.has_credentials && !is_protocol {
            return Ok((key, Spot::alone(in_authorization)));
        }
        let beside = Beside {
            copied: has_copies.then(|| Zeroizing::new(bytes.to_vec())),
            has_others: rest.has_others,
            is_protocol,
        };
        Ok((key, Spot::Anywhere(Box::new(beside))))
    }

    /// Whether requests get more than their context: [`Others`](super::others::Others) or [`Protocols`].
    pub(super) fn annotate(&self) -> bool {
        self.leaves_others || self.marker.is_some()
    }

    /// The protocols that a response may name to the request of a key that was one of them.
    pub(super) fn protocols<Q>(&self, request: &Request<Q>) -> Option<Protocols> {
        Some(Protocols::of(request, self.marker.as_deref()?, &self.keys))
    }

    /// Whether a text that is no key is several of them, in a line that was joined from as many.
    pub(super) fn are_several(&self, text: &[u8]) -> bool {
        self.keys.is_among(text) || self.schemes.follow_comma(text)
    }
}

/// Notes what an `Authorization` line holds that is not read. A value if it counts all the same.
#[cold]
fn set_aside<'r>(line: Line<'_>, value: &HeaderValue, rest: &mut Rest) -> Option<Raw<'r>> {
    match line {
        Line::Misplaced => return Some(Raw::Misplaced),
        Line::Joined => return Some(Raw::Several),
        Line::Empty => {
            rest.has_empty = true;
            return None;
        }
        Line::Left(rule) => {
            rest.has_others = true;
            rest.excludes_key |= rule != OthersRule::Together;
        }
        Line::Other | Line::Ours(_) => {}
    }
    rest.has_credentials = true;
    rest.add(value);
    None
}

#[cfg(test)]
mod tests;
