//! What makes cached keys small: parts that many keys have in common are kept once, and texts are packed. A million keys may be
//! in memory.

use std::sync::{Arc, Weak};

use quick_cache::sync::Cache;

use crate::key::{Organization, OrganizationId, RateLimit, ScopeSet};

/// Bytes of the cache for each organization that is remembered, and for each set of either kind: 16,384 and 2,048 of them
/// beside 64 MiB. Beyond that keys keep their own. So what is remembered, which is not in the cache's weight, stays small
/// beside it.
const BYTES_PER_TENANT: u64 = 4 << 10;
const BYTES_PER_SET: u64 = 32 << 10;
/// Bytes of text of the largest set that is remembered.
const LARGEST: usize = 1024;

/// Keeps one copy of the organizations, scopes and limits of keys that were read lately.
///
/// A service has many keys and few kinds of them, but a store reads each key with texts of its own. Shared, a cached key
/// is a quarter smaller, and what a busy service looks at stays in the processor's cache.
pub(crate) struct Interner<H> {
    handle: Arc<H>,
    /// Weak: an organization is not kept when none of its keys is.
    tenants: Cache<OrganizationId, Weak<Tenant<H>>>,
    scopes: Cache<ScopeSet, ScopeSet>,
    limits: Cache<Arc<[RateLimit]>, Arc<[RateLimit]>>,
}

/// An organization as of one revision, shared by the entries of its keys, and the handle that all of them need.
pub(crate) struct Tenant<H> {
    pub(crate) organization: Organization,
    pub(crate) handle: Arc<H>,
}

impl<H> Interner<H> {
    /// For the keys in a cache of so many bytes.
    pub(crate) fn new(handle: Arc<H>, cache_bytes: u64) -> Self {
        let one_in = |bytes: u64| usize::try_from(cache_bytes / bytes).unwrap_or(usize::MAX).max(1);
        Self {
            handle,
            tenants: Cache::new(one_in(BYTES_PER_TENANT)),
            scopes: Cache::new(one_in(BYTES_PER_SET)),
            limits: Cache::new(one_in(BYTES_PER_SET)),
        }
    }

    /// This organization in exactly this state, shared with its other keys.
    pub(crate) fn tenant(&self, organization: Organization) -> Arc<Tenant<H>> {
        if let Some(tenant) = self.tenants.get(&organization.id).and_then(|tenant| tenant.upgrade())
            && tenant.organization == organization
        {
            return tenant;
        }
        let id = organization.id;
        let tenant = Arc::new(Tenant {
            organization,
            handle: self.handle.clone(),
        });
        self.tenants.insert(id, Arc::downgrade(&tenant));
        tenant
    }

    /// Equal scopes, shared with other keys that have them.
    pub(crate) fn scopes(&self, scopes: ScopeSet) -> ScopeSet {
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
    pub(crate) fn limits(&self, limits: Vec<RateLimit>) -> Arc<[RateLimit]> {
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

impl<H> Tenant<H> {
    /// Bytes in memory.
    pub(crate) fn bytes(&self) -> usize {
        let organization = &self.organization;
        let texts = organization.name.len() + organization.slug.len();
        size_of::<Self>() + 16 + texts + bytes_of_limits(&organization.limits)
    }
}

/// Bytes of limits in memory, whether or not they are shared.
pub(crate) fn bytes_of_limits(limits: &[RateLimit]) -> usize {
    let names: usize = limits.iter().map(|limit| 16 + limit.name().len()).sum();
    size_of_val(limits) + names
}

/// Texts in one allocation, and where the second and the third begin.
pub(crate) fn pack(texts: [&str; 3]) -> (Box<str>, [u32; 2]) {
    // A text beyond 4 GiB cannot come out of a record; it would be cut, not trusted.
    let place = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
    let second = texts[0].len();
    let places = [place(second), place(second + texts[1].len())];
    (texts.concat().into(), places)
}

/// What [`pack`] packed.
pub(crate) fn unpack<'a>(text: &'a str, places: &[u32; 2]) -> [&'a str; 3] {
    let [second, third] = places.map(|place| place as usize);
    let part = |part: Option<&'a str>| part.unwrap_or_default();
    [
        part(text.get(..second)),
        part(text.get(second..third)),
        part(text.get(third..)),
    ]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Of each kind of set.
    const SETS: usize = 64;

    fn interner() -> Interner<()> {
        Interner::new(Arc::new(()), SETS as u64 * BYTES_PER_SET)
    }

    fn limits(name: &str, per: u64) -> Vec<RateLimit> {
        vec![RateLimit::new(name, 1, Duration::from_secs(per)).unwrap()]
    }

    #[test]
    fn organization_is_shared_until_it_changes() {
        let interner = interner();
        let acme = Organization::new("acme");
        let tenant = interner.tenant(acme.clone());
        assert!(Arc::ptr_eq(&tenant, &interner.tenant(acme.clone())));
        let renamed = Organization {
            name: "acme & sons".into(),
            ..acme
        };
        assert_eq!(interner.tenant(renamed.clone()).organization, renamed);
        assert_eq!(tenant.organization.name, "acme");
    }

    #[test]
    fn equal_sets_are_shared_and_others_are_not() {
        let interner = interner();
        let scopes = |text: &str| interner.scopes(text.parse().unwrap());
        assert!(std::ptr::eq(scopes("a b").as_str(), scopes("b a").as_str()));
        assert_eq!(scopes("a").as_str(), "a");
        assert!(scopes("").is_empty());

        assert!(Arc::ptr_eq(
            &interner.limits(limits("a", 1)),
            &interner.limits(limits("a", 1))
        ));
        assert_eq!(*interner.limits(limits("a", 2)), *limits("a", 2));
        assert_eq!(*interner.limits(limits("b", 1)), *limits("b", 1));
        assert!(interner.limits(Vec::new()).is_empty());
    }

    #[test]
    fn large_sets_are_not_remembered() {
        let interner = interner();
        let text: Vec<String> = (0..200).map(|number| format!("scope-{number:03}")).collect();
        let large: ScopeSet = text.join(" ").parse().unwrap();
        assert_eq!(interner.scopes(large.clone()), large);
        let many: Vec<RateLimit> = (0..40)
            .flat_map(|number| limits(&format!("limit-{number}"), 1))
            .collect();
        assert_eq!(*interner.limits(many.clone()), *many);
        assert_eq!((interner.scopes.len(), interner.limits.len()), (0, 0));
    }

    #[test]
    fn remembered_sets_are_bounded() {
        let interner = interner();
        for number in 0..3 * SETS {
            let _ = interner.scopes(format!("scope-{number}").parse().unwrap());
            let _ = interner.limits(limits(&format!("limit-{number}"), 1));
        }
        assert!(interner.scopes.len() <= SETS && interner.limits.len() <= SETS);
    }

    #[test]
    fn packed_texts_come_out_as_they_went_in() {
        let texts = ["", "a", "nightly export", "\u{e9}\u{1F511}", &"x".repeat(255)];
        for one in texts {
            for two in texts {
                for three in texts {
                    let (text, places) = pack([one, two, three]);
                    assert_eq!(unpack(&text, &places), [one, two, three]);
                }
            }
        }
    }
}
