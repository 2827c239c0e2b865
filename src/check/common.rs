//! What many keys have in common, kept once.

use std::sync::{Arc, Weak};

use super::cache::{Bounded, bounded};
use super::entry::Tenant;
use super::home::Home;
use crate::key::{Organization, OrganizationId, RateLimit, ScopeSet};

/// Bytes of the cache for each organization that is remembered, and for each set of either kind: 16,384 and 2,048 of them
/// beside 64 MiB. Keys that have another one keep it to themselves. So what is remembered, which is not in the cache's
/// weight, stays a small part of it.
const BYTES_PER_TENANT: u64 = 4 << 10;
const BYTES_PER_SET: u64 = 32 << 10;
/// Bytes of text of a set that is remembered.
const LARGEST: usize = 1024;

/// The organizations, scopes and limits of keys that were read lately.
///
/// A service has many keys and few kinds of them, but a store reads each key with texts of its own. Shared, a cached key
/// is a quarter smaller, and what a busy service looks at stays in the processor's cache.
pub(super) struct Common {
    home: Arc<Home>,
    /// Weak: an organization is not kept when none of its keys is.
    tenants: Bounded<OrganizationId, Weak<Tenant>>,
    scopes: Bounded<ScopeSet, ScopeSet>,
    limits: Bounded<Arc<[RateLimit]>, Arc<[RateLimit]>>,
}

impl Common {
    /// What is in common between the keys in a cache of so many bytes.
    pub(super) fn new(home: Arc<Home>, cache_bytes: u64) -> Self {
        let one_in = |bytes: u64| usize::try_from(cache_bytes / bytes).unwrap_or(usize::MAX).max(1);
        Self {
            home,
            tenants: bounded(one_in(BYTES_PER_TENANT)),
            scopes: bounded(one_in(BYTES_PER_SET)),
            limits: bounded(one_in(BYTES_PER_SET)),
        }
    }

    /// This organization as of exactly this state of it, shared with its other keys.
    pub(super) fn tenant(&self, organization: Organization) -> Arc<Tenant> {
        if let Some(tenant) = self.tenants.get(&organization.id).and_then(|tenant| tenant.upgrade())
            && tenant.organization == organization
        {
            return tenant;
        }
        let id = organization.id;
        let tenant = Arc::new(Tenant {
            organization,
            home: self.home.clone(),
        });
        self.tenants.insert(id, Arc::downgrade(&tenant));
        tenant
    }

    /// Equal scopes, shared with other keys that have them.
    pub(super) fn scopes(&self, scopes: ScopeSet) -> ScopeSet {
        if scopes.as_str().len() > LARGEST {
            return scopes;
        }
        if let Some(known) = self.scopes.get(&scopes) {
            return known;
        }
        self.scopes.insert(scopes.clone(), scopes.clone());
        scopes
    }

    /// Equal limits, shared with other keys that have them.
    pub(super) fn limits(&self, limits: Vec<RateLimit>) -> Arc<[RateLimit]> {
        let length: usize = limits.iter().map(|limit| limit.name().len()).sum();
        if length + limits.len() * size_of::<RateLimit>() > LARGEST {
            return limits.into();
        }
        if let Some(known) = self.limits.get(limits.as_slice()) {
            return known;
        }
        let limits: Arc<[RateLimit]> = limits.into();
        self.limits.insert(limits.clone(), limits.clone());
        limits
    }
}

#[cfg(test)]
mod tests {
    use std::future::{Future, ready};
    use std::pin::Pin;
    use std::time::Duration;

    use super::*;
    use crate::check::home::Watch;
    use crate::check::{AuthContext, Rejection};
    use crate::client::Origin;
    use crate::clock::Clock;

    struct Nobody;

    impl Watch for Nobody {
        fn revoked(self: Arc<Self>, _: AuthContext) -> Pin<Box<dyn Future<Output = ()> + Send>> {
            Box::pin(ready(()))
        }

        fn record_refusal(&self, _: &Rejection, _: Origin) {}
    }

    /// Of each kind of set.
    const SETS: usize = 64;

    fn common() -> Common {
        let home = Arc::new(Home {
            realm: "api".into(),
            clock: Clock::system(),
            authenticator: Weak::<Nobody>::new(),
        });
        Common::new(home, SETS as u64 * BYTES_PER_SET)
    }

    fn limits(name: &str, per: u64) -> Vec<RateLimit> {
        vec![RateLimit::new(name, 1, Duration::from_secs(per)).unwrap()]
    }

    #[test]
    fn an_organization_is_shared_until_it_changes() {
        let common = common();
        let acme = Organization::new("acme");
        let tenant = common.tenant(acme.clone());
        assert!(Arc::ptr_eq(&tenant, &common.tenant(acme.clone())));
        let renamed = Organization {
            name: "acme & sons".into(),
            ..acme
        };
        assert_eq!(common.tenant(renamed.clone()).organization, renamed);
        assert_eq!(tenant.organization.name, "acme");
    }

    #[test]
    fn equal_sets_are_one_and_others_are_not() {
        let common = common();
        let scopes = |text: &str| common.scopes(text.parse().unwrap());
        assert!(std::ptr::eq(scopes("a b").as_str(), scopes("b a").as_str()));
        assert_eq!(scopes("a").as_str(), "a");
        assert!(scopes("").is_empty());

        assert!(Arc::ptr_eq(
            &common.limits(limits("a", 1)),
            &common.limits(limits("a", 1))
        ));
        assert_eq!(*common.limits(limits("a", 2)), *limits("a", 2));
        assert_eq!(*common.limits(limits("b", 1)), *limits("b", 1));
        assert!(common.limits(Vec::new()).is_empty());
    }

    #[test]
    fn large_sets_are_not_remembered() {
        let common = common();
        let text: Vec<String> = (0..200).map(|number| format!("scope-{number:03}")).collect();
        let large: ScopeSet = text.join(" ").parse().unwrap();
        assert_eq!(common.scopes(large.clone()), large);
        let many: Vec<RateLimit> = (0..40)
            .flat_map(|number| limits(&format!("limit-{number}"), 1))
            .collect();
        assert_eq!(*common.limits(many.clone()), *many);
        assert_eq!((common.scopes.len(), common.limits.len()), (0, 0));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let common = common();
        for number in 0..3 * SETS {
            let _ = common.scopes(format!("scope-{number}").parse().unwrap());
            let _ = common.limits(limits(&format!("limit-{number}"), 1));
        }
        assert!(common.scopes.len() <= SETS && common.limits.len() <= SETS);
    }
}
