//! Templates of routes, each kept once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;
use foldhash::fast::RandomState;

use crate::usage::{UsageEvent, route_of};

/// How many a layer tells apart.
const MOST: usize = 1000;

/// Routes that were seen. A request that comes to a known one allocates no text.
#[derive(Default)]
pub(super) struct Routes {
    known: DashMap<Box<str>, Arc<str>, RandomState>,
    count: AtomicUsize,
}

impl Routes {
    pub(super) fn interned(&self, route: Option<&str>) -> Arc<str> {
        let Some(route) = route.filter(|route| !route.is_empty()) else {
            return UsageEvent::no_route();
        };
        if let Some(known) = self.known.get(route) {
            return known.clone();
        }
        // A few more, if several come at once.
        if self.count.load(Ordering::Relaxed) >= MOST {
            return UsageEvent::other_route();
        }
        let known = self.known.entry(route.into()).or_insert_with(|| {
            self.count.fetch_add(1, Ordering::Relaxed);
            route_of(route)
        });
        known.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_bounded() {
        let routes = Routes::default();
        for number in 0..5000 {
            let route = format!("/orders/{number}");
            let kept = routes.interned(Some(&route));
            let expected = if number < MOST { &*route } else { "(other)" };
            assert_eq!(&*kept, expected);
        }
        assert_eq!(routes.known.len(), MOST);
        assert_eq!(&*routes.interned(Some("/orders/7")), "/orders/7");
        assert_eq!(&*routes.interned(None), "(none)");
        assert_eq!(&*routes.interned(Some("")), "(none)");
    }
}
