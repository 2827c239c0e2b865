//! What a layer keeps of requests.

use std::sync::{Arc, Once};

use http::{Extensions, HeaderMap, Method, header};

use super::routes::Routes;
use crate::usage::{KeptAddress, Meter};

/// As much as is looked at for what may be a key.
const LONGEST_AGENT: usize = 4096;

#[derive(Clone)]
pub(super) struct Settings {
    /// Kept, so that it is not closed while requests come.
    pub(super) meter: Meter,
    pub(super) address: KeptAddress,
    pub(super) route: Arc<RouteOf>,
    routes: Arc<Routes>,
    pub(super) keeps_agent: bool,
    /// Whether it was said that there is no layer around.
    has_warned: Arc<Once>,
}

type RouteOf = dyn for<'r> Fn(&'r Extensions) -> Option<&'r str> + Send + Sync;

impl Settings {
    pub(super) fn new(meter: Meter) -> Self {
        Self {
            meter,
            address: KeptAddress::default(),
            route: Arc::new(|_| None),
            routes: Arc::default(),
            keeps_agent: true,
            has_warned: Arc::new(Once::new()),
        }
    }

    pub(super) fn route_of(&self, extensions: &Extensions) -> Arc<str> {
        self.routes.interned((self.route)(extensions))
    }

    /// A copy: the value itself would keep all of the request's head, which may be large, for as long as its event waits.
    pub(super) fn agent(&self, headers: &HeaderMap) -> Option<Box<[u8]>> {
        let agent = headers.get(header::USER_AGENT).filter(|_| self.keeps_agent)?.as_bytes();
        Some(agent.get(..LONGEST_AGENT).unwrap_or(agent).into())
    }

    pub(super) fn warn_of_missing_layer(&self) {
        self.has_warned.call_once(|| {
            tracing::error!(
                "a route is metered, but there is no ApiKeyLayer around its MeterLayer, so nothing is counted"
            );
        });
    }
}

/// Its name, if it is one that everybody knows. Clients may send any other word.
pub(super) fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::PATCH => "PATCH",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::CONNECT => "CONNECT",
        Method::TRACE => "TRACE",
        _ => "(other)",
    }
}
