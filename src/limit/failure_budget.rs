//! How many wrong keys a client may send while the service is under pressure.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quick_cache::sync::Cache;

use crate::client::ClientGroup;
use crate::clock::Monotonic;

const BURST: u32 = 20;
const INTERVAL: Duration = Duration::from_secs(3);
const CLIENTS: usize = 65_536;

/// Failures per client group: 20 at once, then one every 3 seconds. At most 65,536 groups are remembered.
///
/// Only an unknown lookup and a wrong secret count, whether or not the client waits for the answer. Failures are always
/// recorded and the budget is applied only under pressure, so that a script with an old key is not locked out of an idle
/// service.
pub(crate) struct FailureBudget {
    /// When the budget of a client is full again, in monotonic nanoseconds.
    full_at: Cache<ClientGroup, Arc<AtomicU64>>,
}

impl FailureBudget {
    pub(crate) fn new() -> Self {
        Self {
            full_at: Cache::new(CLIENTS),
        }
    }

    pub(crate) fn record_failure(&self, client: ClientGroup, now: Monotonic) {
        let full_at = match self.full_at.get(&client) {
            Some(full_at) => full_at,
            None => {
                let full_at = Arc::new(AtomicU64::new(0));
                self.full_at.insert(client, full_at.clone());
                full_at
            }
        };
        // Failures beyond the budget do not pile up.
        let latest = now.after(INTERVAL * BURST);
        let later = |full_at| {
            let later = Monotonic::from_nanos(full_at).max(now).after(INTERVAL);
            Some(later.min(latest).as_nanos())
        };
        // The closure always answers, so there is nothing to do with the result.
        let _ = full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, later);
    }

    /// How long this client has to wait before its next failure fits; `None` when one fits now, even if all keys that it is
    /// having verified turn out wrong. Otherwise a volley of wrong keys would pass by the one that fits.
    pub(crate) fn wait(&self, client: ClientGroup, in_progress: usize, now: Monotonic) -> Option<Duration> {
        let full_at = Monotonic::from_nanos(self.full_at.get(&client)?.load(Ordering::Relaxed));
        let owed = full_at.since(now);
        let taken = u32::try_from(in_progress).unwrap_or(u32::MAX).saturating_add(1);
        let fits = INTERVAL * BURST.saturating_sub(taken);
        (owed > fits).then(|| owed - fits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Monotonic = Monotonic::from_nanos(1_000_000_000_000);

    fn client(address: &str) -> ClientGroup {
        ClientGroup::of(address.parse().ok())
    }

    #[test]
    fn budget_is_twenty_at_once_then_one_every_three_seconds() {
        let budget = FailureBudget::new();
        let (client, other) = (client("192.0.2.1"), client("192.0.2.2"));
        for _ in 0..20 {
            assert_eq!(budget.wait(client, 0, START), None);
            budget.record_failure(client, START);
        }
        assert_eq!(budget.wait(client, 0, START), Some(INTERVAL));
        assert_eq!(budget.wait(other, 0, START), None);
        let later = START.after(INTERVAL);
        assert_eq!(budget.wait(client, 0, later), None);
        budget.record_failure(client, later);
        assert_eq!(budget.wait(client, 0, later), Some(INTERVAL));
    }

    #[test]
    fn keys_in_progress_count_after_the_first_failure() {
        let budget = FailureBudget::new();
        let client = client("192.0.2.1");
        assert_eq!(budget.wait(client, 1_000, START), None);
        for _ in 0..5 {
            budget.record_failure(client, START);
        }
        assert_eq!(budget.wait(client, 14, START), None);
        assert_eq!(budget.wait(client, 15, START), Some(INTERVAL));
        assert_eq!(budget.wait(client, usize::MAX, START), Some(INTERVAL * 5));
        // By then the failures are forgotten.
        assert_eq!(budget.wait(client, 1_000, START.after(INTERVAL * 5)), None);
    }

    #[test]
    fn failures_beyond_the_budget_do_not_pile_up() {
        let budget = FailureBudget::new();
        for _ in 0..10_000 {
            budget.record_failure(ClientGroup::UNKNOWN, START);
        }
        assert_eq!(budget.wait(ClientGroup::UNKNOWN, 0, START), Some(INTERVAL));
    }

    #[test]
    fn remembered_clients_are_bounded() {
        let budget = FailureBudget::new();
        for address in 0..3 * CLIENTS as u32 {
            let address = std::net::Ipv4Addr::from_bits(address).into();
            budget.record_failure(ClientGroup::of(Some(address)), START);
        }
        let remembered = budget.full_at.len();
        assert!((CLIENTS / 2..=CLIENTS).contains(&remembered), "{remembered}");
    }
}
