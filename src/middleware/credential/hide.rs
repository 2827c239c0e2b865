//! Removes the key from a request, and marks what stays of credentials.

use http::Request;
use http::header::{AUTHORIZATION, Entry, HeaderMap, PROXY_AUTHORIZATION};

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
            let named = |written: &str| self.parameters.iter().any(|name| query::is_named(written, name));
            query::remove(request.uri_mut(), named);
        }
        if let Spot::Anywhere(beside) = spot {
            self.mark(request.headers_mut());
            if let Some(key) = &beside.copied {
                copies::cut(request.headers_mut(), key);
            }
        }
    }

    /// Marks the headers that hold credentials, read or not, and the copies of the key: `Debug` does not show their values
    /// then, and HPACK does not index them.
    pub(in crate::middleware) fn mark_all<Q>(&self, request: &mut Request<Q>, spot: &Spot) {
        self.mark(request.headers_mut());
        if let Some(key) = spot.beside().and_then(|beside| beside.copied.as_ref()) {
            copies::mark(request.headers_mut(), key);
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
}
