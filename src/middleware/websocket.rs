//! Keys among the subprotocols of a WebSocket.
//!
//! The list of subprotocols is all that a page can choose of the request that opens a WebSocket (RFC 6455, section 1.9). So a
//! browser's key comes there, behind a marker: `Sec-WebSocket-Protocol: chat, api-key, KEY`, or joined to it: `api-key.KEY`.

use http::header::{
    CONNECTION, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
use http::{Method, Request, StatusCode, Version};

use super::key_like::KeyLike;
use super::syntax::list;

/// What the offered protocols hold.
pub(super) enum Offer<'r> {
    /// No key.
    Others,
    /// What follows the marker.
    Key(&'r [u8]),
    /// A key without the marker, or the marker without a key.
    Misplaced,
    Several,
}

pub(super) fn read<'r>(headers: &'r HeaderMap, marker: &str, keys: &KeyLike) -> Offer<'r> {
    let mut offer = Offer::Others;
    let mut protocols = offered(headers);
    while let Some(protocol) = protocols.next() {
        let found = if is_marker(protocol, marker) {
            protocols.next().map_or(Offer::Misplaced, Offer::Key)
        } else if let Some(key) = behind_marker(protocol, marker) {
            Offer::Key(key)
        } else if keys.is_part(protocol) {
            Offer::Misplaced
        } else {
            continue;
        };
        offer = match offer {
            Offer::Others => found,
            _ => return Offer::Several,
        };
    }
    match offer {
        // Without a prefix, a second copy looks like any other protocol.
        Offer::Key(key)
            if offered(headers)
                .filter(|protocol| is_or_ends_with(protocol, key))
                .count()
                > 1 =>
        {
            Offer::Several
        }
        offer => offer,
    }
}

/// Takes marker and key out of the offered protocols. The others stay, in one line.
pub(super) fn strip(headers: &mut HeaderMap, marker: &str, keys: &KeyLike) {
    if !headers.contains_key(SEC_WEBSOCKET_PROTOCOL) {
        return;
    }
    let rest = others(headers, marker, keys).join(&b", "[..]);
    match HeaderValue::from_bytes(&rest) {
        Ok(rest) if !rest.is_empty() => headers.insert(SEC_WEBSOCKET_PROTOCOL, rest),
        _ => headers.remove(SEC_WEBSOCKET_PROTOCOL),
    };
}

/// Whether a request opens a WebSocket (RFC 6455, section 4.2.1; in HTTP/2 and later, RFC 8441, section 5). Elsewhere the
/// protocols mean nothing, and scripts of other origins may send them.
pub(super) fn is_handshake<Q>(request: &Request<Q>) -> bool {
    let headers = request.headers();
    let has = |name: HeaderName, wanted: &str| {
        let lines = headers.get_all(name).iter();
        lines
            .flat_map(|line| list(line.as_bytes()))
            .any(|element| element.eq_ignore_ascii_case(wanted.as_bytes()))
    };
    if !has(SEC_WEBSOCKET_VERSION, "13") {
        return false;
    }
    match request.version() {
        Version::HTTP_11 => {
            *request.method() == Method::GET
                && has(CONNECTION, "upgrade")
                && has(UPGRADE, "websocket")
                && headers.contains_key(SEC_WEBSOCKET_KEY)
        }
        // Only an extended CONNECT has a path.
        Version::HTTP_2 | Version::HTTP_3 => {
            *request.method() == Method::CONNECT && request.uri().path_and_query().is_some()
        }
        _ => false,
    }
}

/// The protocols that the response to a handshake may name. A browser closes a WebSocket whose response names none of those
/// that it offered.
#[derive(Clone)]
pub(super) struct Protocols {
    /// What is named where the inner service named none of the others.
    fallback: Option<HeaderValue>,
    others: Vec<Box<[u8]>>,
    is_connect: bool,
}

impl Protocols {
    /// Of a request whose key followed this marker.
    pub(super) fn of<Q>(request: &Request<Q>, marker: &str, keys: &KeyLike) -> Self {
        let others = others(request.headers(), marker, keys);
        // A marker that the key was joined to was not offered without it.
        let stands_alone = offered(request.headers()).any(|protocol| is_marker(protocol, marker));
        let fallback = match stands_alone {
            true => Some(marker.as_bytes()),
            false => others.first().copied(),
        };
        Self {
            fallback: fallback.and_then(|protocol| HeaderValue::from_bytes(protocol).ok()),
            others: others.into_iter().map(Box::from).collect(),
            is_connect: *request.method() == Method::CONNECT,
        }
    }

    /// Names the marker, or the first other protocol, if the inner service named none, or one that was not offered: one that
    /// repeats what it was sent could repeat the key.
    pub(super) fn write(&self, status: StatusCode, headers: &mut HeaderMap) {
        let is_open = match self.is_connect {
            true => status.is_success(),
            false => status == StatusCode::SWITCHING_PROTOCOLS,
        };
        let mut lines = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
        let named = (lines.next(), lines.next());
        let is_offered = |line: &HeaderValue| self.others.iter().any(|other| **other == *line.as_bytes());
        match (named, &self.fallback) {
            ((Some(line), None), _) if is_offered(line) => {}
            (_, Some(fallback)) if is_open => {
                headers.insert(SEC_WEBSOCKET_PROTOCOL, fallback.clone());
            }
            _ => {
                headers.remove(SEC_WEBSOCKET_PROTOCOL);
            }
        }
    }
}

fn offered(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let lines = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    lines.flat_map(|line| list(line.as_bytes()))
}

/// The offered protocols without the marker, what follows it, and keys elsewhere.
fn others<'r>(headers: &'r HeaderMap, marker: &str, keys: &KeyLike) -> Vec<&'r [u8]> {
    let mut others = Vec::new();
    let mut protocols = offered(headers);
    while let Some(protocol) = protocols.next() {
        if is_marker(protocol, marker) {
            protocols.next();
        } else if behind_marker(protocol, marker).is_none() && !keys.is_part(protocol) {
            others.push(protocol);
        }
    }
    others
}

/// In any case, although protocols differ by it: otherwise a key behind `API-KEY` would pass unseen.
fn is_marker(protocol: &[u8], marker: &str) -> bool {
    protocol.eq_ignore_ascii_case(marker.as_bytes())
}

/// Whether a protocol is this key, or has it behind a dot.
fn is_or_ends_with(protocol: &[u8], key: &[u8]) -> bool {
    let front = protocol.strip_suffix(key);
    front.is_some_and(|front| !key.is_empty() && (front.is_empty() || front.ends_with(b".")))
}

/// What follows the marker and a dot in one protocol.
fn behind_marker<'r>(protocol: &'r [u8], marker: &str) -> Option<&'r [u8]> {
    let (front, rest) = protocol.split_at_checked(marker.len())?;
    rest.strip_prefix(b".").filter(|_| is_marker(front, marker))
}
