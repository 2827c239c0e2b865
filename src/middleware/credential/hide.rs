//! Removes the key and its copies from a request, and marks what stays of credentials.

use http::header::{AUTHORIZATION, Entry, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHORIZATION};
use http::{Request, Uri};

use super::super::authorization::Line;
use super::super::{query, websocket};
use super::{Sources, Spot, copies};

impl Sources {
    /// Removes every credential of the configured sources, and marks others. `Authorization` lines of other schemes stay.
    pub(in crate::middleware) fn strip<Q>(&self, request: &mut Request<Q>, spot: &Spot) {
        if let Spot::OnlyAuthorization = spot {
            request.headers_mut().remove(AUTHORIZATION);
            return;
        }
        for name in &self.headers {
            request.headers_mut().remove(name);
        }
        if !self.schemes.is_empty() {
            self.schemes.strip(request.headers_mut(), &self.keys);
        }
        if let Some(marker) = &self.marker {
            websocket::strip(request.headers_mut(), marker, &self.keys);
        }
        if !self.parameters.is_empty() {
            query::remove(request.uri_mut(), |written| self.is_parameter(written));
        }
        if let Spot::Anywhere(beside) = spot {
            self.mark(request.headers_mut());
            if let Some(key) = &beside.copied {
                let may_be_escaped = self.keys.has_escapes();
                copies::cut(request.headers_mut(), key, may_be_escaped);
                if is_copy_in_query(request.uri(), key, may_be_escaped) {
                    query::edit(request.uri_mut(), |text| copies::without(text, key));
                }
            }
        }
    }

    /// Marks the headers that hold credentials, read or not, and the copies of the key: `Debug` does not show their values
    /// then, and HPACK does not index them.
    pub(in crate::middleware) fn mark_all<Q>(&self, request: &mut Request<Q>, spot: &Spot) {
        self.mark(request.headers_mut());
        if let Some(key) = spot.beside().and_then(|beside| beside.copied.as_ref()) {
            copies::mark(request.headers_mut(), key, self.keys.has_escapes());
        }
    }

    /// Marks the headers that hold credentials, read or not.
    pub(in crate::middleware) fn mark(&self, headers: &mut HeaderMap) {
        for name in [AUTHORIZATION, PROXY_AUTHORIZATION]
            .iter()
            .chain(&self.headers)
            .chain(&self.unread)
        {
            if let Entry::Occupied(mut lines) = headers.entry(name) {
                for line in lines.iter_mut() {
                    line.set_sensitive(true);
                }
            }
        }
    }

    /// Whether lines or parts of the query that are not read hold this key.
    pub(super) fn has_copies(&self, headers: &HeaderMap, uri: &Uri, key: &[u8]) -> bool {
        let may_be_escaped = self.keys.has_escapes();
        let is_read = |name: &HeaderName, line: &HeaderValue| {
            self.headers.contains(name)
                || (*name == AUTHORIZATION && matches!(self.schemes.read(line, &self.keys), Line::Ours(_)))
        };
        headers
            .iter()
            .any(|(name, line)| copies::is_copy(line.as_bytes(), key, may_be_escaped) && !is_read(name, line))
            || query::others(uri, |name| self.is_parameter(name))
                .any(|part| copies::is_copy(part.as_bytes(), key, may_be_escaped))
    }

    /// Whether a written name is that of a configured parameter.
    fn is_parameter(&self, written: &str) -> bool {
        self.parameters.iter().any(|name| query::is_named(written, name))
    }
}

fn is_copy_in_query(uri: &Uri, key: &[u8], may_be_escaped: bool) -> bool {
    uri.query()
        .is_some_and(|query| copies::is_copy(query.as_bytes(), key, may_be_escaped))
}
