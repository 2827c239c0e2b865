//! How many wrong keys an address may send while the service is under pressure.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quick_cache::sync::Cache;

use crate::clock::Monotonic;
use crate::hash::ClientGroup;

const BURST: u64 = 20;
const INTERVAL: Duration = Duration::from_secs(3);
const ADDRESSES: usize = 65_536;

/// Failures per client address: 20 at once, then one every 3 seconds. At most 65,536 addresses are remembered.
///
/// Only an unknown lookup and a wrong secret count; whether the client waits to hear of it does not matter. It is kept
/// always and asked only under pressure, so that a script with an old key is not locked out of an idle service.
pub(super) struct FailureBudget {
    /// When the budget of an address is whole again, in monotonic nanoseconds.
    whole_at: Cache<ClientGroup, Arc<AtomicU64>>,
}

impl FailureBudget {
    pub(super) fn new() -> Self {
        Self {
            whole_at: Cache::new(ADDRESSES),
        }
    }

    pub(super) fn count(&self, client: ClientGroup, now: Monotonic) {
        let whole_at = match self.whole_at.get(&client) {
            Some(whole_at) => whole_at,
            None => {
                let whole_at = Arc::new(AtomicU64::new(0));
                self.whole_at.insert(client, whole_at.clone());
                whole_at
            }
        };
        let later = |whole_at: u64| {
            let ceiling = now.after(INTERVAL * BURST as u32).as_nanos();
            Some(
                Monotonic::from_nanos(whole_at.max(now.as_nanos()))
                    .after(INTERVAL)
                    .as_nanos()
                    .min(ceiling),
            )
        };
        // The closure always answers, so there is nothing to do with the result.
        let _ = whole_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, later);
    }

    /// How long this address has to wait before its next failure fits; `None` when one fits now, should all of the keys
    /// that it is having verified turn out wrong as well. Else as many as can be under way would pass by the one that fits.
    pub(super) fn wait(&self, client: ClientGroup, under_way: usize, now: Monotonic) -> Option<Duration> {
        let whole_at = Monotonic::from_nanos(self.whole_at.get(&client)?.load(Ordering::Relaxed));
        let owed = whole_at.since(now);
        let taken = u32::try_from(under_way).unwrap_or(u32::MAX).saturating_add(1);
        let fits = INTERVAL * (BURST as u32).saturating_sub(taken);
        (owed > fits).then(|| owed - fits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twenty_at_once_then_one_every_three_seconds() {
        let budget = FailureBudget::new();
        let client = ClientGroup::of("192.0.2.1".parse().ok());
        let other = ClientGroup::of("192.0.2.2".parse().ok());
        let start = Monotonic::from_nanos(1_000_000_000_000);
        for _ in 0..20 {
            assert_eq!(budget.wait(client, 0, start), None);
            budget.count(client, start);
        }
        assert_eq!(budget.wait(client, 0, start), Some(INTERVAL));
        assert_eq!(budget.wait(other, 0, start), None);
        let later = start.after(INTERVAL);
        assert_eq!(budget.wait(client, 0, later), None);
        budget.count(client, later);
        assert_eq!(budget.wait(client, 0, later), Some(INTERVAL));
    }

    #[test]
    fn keys_that_are_being_verified_count_as_failures_of_an_address_that_had_some() {
        let budget = FailureBudget::new();
        let client = ClientGroup::of("192.0.2.1".parse().ok());
        let start = Monotonic::from_nanos(1_000_000_000_000);
        assert_eq!(budget.wait(client, 1_000, start), None);
        for _ in 0..5 {
            budget.count(client, start);
        }
        assert_eq!(budget.wait(client, 14, start), None);
        assert_eq!(budget.wait(client, 15, start), Some(INTERVAL));
        assert_eq!(budget.wait(client, usize::MAX, start), Some(INTERVAL * 5));
        // An old failure is none.
        assert_eq!(budget.wait(client, 1_000, start.after(INTERVAL * 5)), None);
    }

    #[test]
    fn failures_beyond_the_budget_do_not_pile_up() {
        let budget = FailureBudget::new();
        let client = ClientGroup::of(None);
        let start = Monotonic::from_nanos(1);
        for _ in 0..10_000 {
            budget.count(client, start);
        }
        assert_eq!(budget.wait(client, 0, start), Some(INTERVAL));
    }

    #[test]
    fn no_more_than_so_many_addresses_are_remembered() {
        let budget = FailureBudget::new();
        let now = Monotonic::from_nanos(1);
        for address in 0..3 * ADDRESSES as u32 {
            let address = std::net::Ipv4Addr::from_bits(address).into();
            budget.count(ClientGroup::of(Some(address)), now);
        }
        let remembered = budget.whole_at.len();
        assert!((ADDRESSES / 2..=ADDRESSES).contains(&remembered), "{remembered}");
    }
}
