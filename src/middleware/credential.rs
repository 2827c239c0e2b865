//! Finds the key in a request, and removes it.

use http::header::{AUTHORIZATION, Entry, HeaderMap, HeaderName};
use http::{Request, Uri};
use smallvec::SmallVec;
use zeroize::Zeroizing;

use super::authorization::{Credentials, Line, Schemes, basic_user};
use super::query;
use super::source::{KeySource, Place};
use super::syntax::trim;
use crate::error::ConfigError;

/// The configured sources, by how each is read.
#[derive(Clone)]
pub(super) struct Sources {
    listed: Box<[KeySource]>,
    schemes: Schemes,
    headers: SmallVec<[HeaderName; 1]>,
    parameters: Box<[Box<str>]>,
}

/// The credentials of a request.
pub(super) enum Found<'r> {
    /// None, or one empty value.
    Nothing,
    /// More than one, equal or not.
    Several,
    /// One value that no format can accept.
    Malformed,
    /// One value, and where to remove it.
    One(Key<'r>, Spot),
}

/// Where the credentials of a request can be.
#[derive(Clone, Copy)]
pub(super) enum Spot {
    /// In its only `Authorization` line.
    OnlyAuthorization,
    Anywhere,
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
}

impl Default for Sources {
    fn default() -> Self {
        let api_key = KeySource::header("x-api-key");
        Self::sorted([KeySource::bearer()].into_iter().chain(api_key).collect())
    }
}

impl Sources {
    pub(super) fn new(sources: impl IntoIterator<Item = KeySource>) -> Result<Self, ConfigError> {
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
        Ok(Self::sorted(sources))
    }

    fn sorted(listed: Vec<KeySource>) -> Self {
        let (mut schemes, mut headers, mut parameters) = (Schemes::default(), SmallVec::new(), Vec::new());
        for source in &listed {
            match source.place().clone() {
                Place::Scheme { name, basic } => schemes.push(name, basic),
                Place::Header(name) => headers.push(name),
                Place::Parameter(name) => parameters.push(name),
            }
        }
        Self {
            listed: listed.into(),
            schemes,
            headers,
            parameters: parameters.into(),
        }
    }

    /// The sources in the order in which they were configured.
    pub(super) fn listed(&self) -> &[KeySource] {
        &self.listed
    }

    /// Looks into every source. A value counts whatever it holds: if a malformed one were skipped, a proxy and this layer
    /// could disagree about which of two values is the key.
    pub(super) fn find<'r>(&self, headers: &'r HeaderMap, uri: &'r Uri) -> Found<'r> {
        let mut found = None;
        let mut has_other_schemes = false;
        // One pass over all headers: looking up a name takes as long as passing a dozen of them.
        for (name, line) in headers {
            let value = if *name == AUTHORIZATION && !self.schemes.is_empty() {
                match self.schemes.read(line) {
                    Line::Ours(credentials) => (Raw::Header(credentials), Spot::OnlyAuthorization),
                    Line::Joined => return Found::Several,
                    Line::Other => {
                        has_other_schemes = true;
                        continue;
                    }
                }
            } else if self.headers.contains(name) {
                let value = Credentials::Plain(trim(line.as_bytes()));
                (Raw::Header(value), Spot::Anywhere)
            } else {
                continue;
            };
            if found.replace(value).is_some() {
                return Found::Several;
            }
        }
        for name in &self.parameters {
            for value in query::values(uri, name) {
                if found.replace((Raw::Parameter(value), Spot::Anywhere)).is_some() {
                    return Found::Several;
                }
            }
        }
        match found {
            None => Found::Nothing,
            Some((value, _)) if has_other_schemes => value.decode(Spot::Anywhere),
            Some((value, spot)) => value.decode(spot),
        }
    }

    /// Removes every credential of the configured sources. `Authorization` lines of other schemes stay.
    pub(super) fn strip<Q>(&self, request: &mut Request<Q>, spot: Spot) {
        if let Spot::OnlyAuthorization = spot {
            request.headers_mut().remove(AUTHORIZATION);
            return;
        }
        for name in &self.headers {
            request.headers_mut().remove(name);
        }
        if !self.schemes.is_empty() {
            self.schemes.strip(request.headers_mut());
        }
        if !self.parameters.is_empty() {
            let named = |written: &str| self.parameters.iter().any(|name| query::is_named(written, name));
            query::remove(request.uri_mut(), named);
        }
    }

    /// The headers that keys come in.
    pub(super) fn header_names(&self) -> impl Iterator<Item = &HeaderName> {
        let authorization = (!self.schemes.is_empty()).then_some(&AUTHORIZATION);
        self.headers.iter().chain(authorization)
    }
}

/// Marks headers that stay in a request: `Debug` does not show their values then, and HPACK does not index them.
pub(super) fn mark_sensitive<'n>(headers: &mut HeaderMap, names: impl Iterator<Item = &'n HeaderName>) {
    for name in names {
        if let Entry::Occupied(mut lines) = headers.entry(name) {
            for line in lines.iter_mut() {
                line.set_sensitive(true);
            }
        }
    }
}

impl<'r> Raw<'r> {
    fn decode(self, spot: Spot) -> Found<'r> {
        let key = match self {
            Self::Header(Credentials::Plain(value)) => Key::Sent(value),
            Self::Header(Credentials::Basic([])) => return Found::Nothing,
            Self::Header(Credentials::Basic(value)) => match basic_user(value) {
                Some(key) => Key::Decoded(key),
                None => return Found::Malformed,
            },
            Self::Parameter(value) if value.contains('%') => Key::Decoded(query::decode(value)),
            Self::Parameter(value) => Key::Sent(value.as_bytes()),
        };
        if key.as_bytes().is_empty() {
            return Found::Nothing;
        }
        Found::One(key, spot)
    }
}

#[cfg(test)]
mod tests;
