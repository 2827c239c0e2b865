//! The first promise: a revoke that returned is final. Thousands of rounds of a change against clients that keep using the
//! key, on several threads, with reads of the old record in progress.
//!
//! No check may admit that *began* after the change returned, or whose *last step* came after that. The client samples the
//! first. For the second, something must run between verification and the last step: the limiter does, so the limiter of
//! these tests samples whether the change has returned.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::rows::Rows as _;
use tower_api_key::hash::HashPolicy;
use tower_api_key::key::{Lookup, OrganizationStatus, RateLimit};
use tower_api_key::limit::{Allowance, Charge, Decision, RateLimiter, Take};
use tower_api_key::store::{Candidate, KeyStore, MemoryStore, Sharing, StoreError};
use tower_api_key::{
    AuthContext, Authenticator, Fence, IssueRequest, IssuedKey, Issuer, PresentedKey, Rejection, RejectionClass,
    RejectionKind,
};

use crate::house::{check, issuer, kind, text, unborn};

const CLIENTS: usize = 64;

/// A store whose reads take a while: the record may be outdated when it arrives.
#[derive(Clone)]
struct Slow(MemoryStore);

impl KeyStore for Slow {
    async fn find(&self, lookup: &Lookup) -> Result<Option<Candidate>, StoreError> {
        tokio::task::yield_now().await;
        let found = self.0.find(lookup).await;
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
        found
    }

    fn fence(&self) -> Option<&Fence> {
        self.0.fence()
    }

    fn sharing(&self) -> Sharing {
        self.0.sharing()
    }
}

tokio::task_local! {
    static PROBE: Probe;
}

/// What the limiter sees of one check.
struct Probe {
    may_wait: bool,
    returned: Arc<AtomicBool>,
    returned_before_last_step: Cell<bool>,
}

impl Probe {
    fn new(may_wait: bool, returned: &Arc<AtomicBool>) -> Self {
        Self {
            may_wait,
            returned: returned.clone(),
            returned_before_last_step: Cell::new(false),
        }
    }

    fn sample() {
        PROBE.with(|probe| {
            let returned = probe.returned.load(Ordering::SeqCst);
            probe.returned_before_last_step.set(returned);
        });
    }
}

/// Admits everything, after a while, and samples whether the change has returned.
struct Dawdler;

impl RateLimiter for Dawdler {
    fn take(&self, _: &Charge<'_>) -> Take {
        if self.is_immediate() {
            std::thread::yield_now();
            Probe::sample();
            return Take::Now(Decision::Allowed(Allowance::default()));
        }
        Take::Later(Box::pin(async {
            for _ in 0..4 {
                tokio::task::yield_now().await;
            }
            Probe::sample();
            Decision::Allowed(Allowance::default())
        }))
    }

    fn is_immediate(&self) -> bool {
        PROBE.with(|probe| !probe.may_wait)
    }
}

/// One round, from the clients' side.
struct Round {
    authenticator: Authenticator<Slow>,
    key: String,
    begun: AtomicBool,
    returned: Arc<AtomicBool>,
    admitted: AtomicUsize,
}

#[derive(Default)]
struct Tally {
    admitted: AtomicU64,
    refused: AtomicU64,
    /// Admissions that came after a load, not from the cache.
    after_waiting: AtomicU64,
    late: AtomicU64,
    wrongly_refused: AtomicU64,
}

impl Round {
    /// Checks until the change has returned, and once more.
    async fn client(self: Arc<Self>, tally: Arc<Tally>) {
        loop {
            let had_returned = self.returned.load(Ordering::SeqCst);
            let (waited, returned_before_last_step, decided) = self.check().await;
            match &decided {
                Ok(_) => {
                    self.admitted.fetch_add(1, Ordering::SeqCst);
                    tally.admitted.fetch_add(1, Ordering::SeqCst);
                    tally.after_waiting.fetch_add(u64::from(waited), Ordering::SeqCst);
                    if had_returned || returned_before_last_step {
                        tally.late.fetch_add(1, Ordering::SeqCst);
                    }
                }
                Err(rejection) => {
                    tally.refused.fetch_add(1, Ordering::SeqCst);
                    // Sampled after the answer, so the key was good during the whole check.
                    let was_good = !self.begun.load(Ordering::SeqCst);
                    if was_good && rejection.kind().class() == RejectionClass::InvalidCredential {
                        tally.wrongly_refused.fetch_add(1, Ordering::SeqCst);
                    }
                }
            }
            if had_returned {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    async fn check(&self) -> (bool, bool, Result<AuthContext, Rejection>) {
        let presented = PresentedKey::new(self.key.as_bytes());
        let probe = Probe::new(false, &self.returned);
        let (now, returned) = PROBE.sync_scope(probe, || {
            let decided = self.authenticator.try_check(presented);
            (decided, PROBE.with(|probe| probe.returned_before_last_step.get()))
        });
        if let Some(decided) = now {
            return (false, returned, decided);
        }
        let probe = Probe::new(true, &self.returned);
        let check = async {
            let decided = self.authenticator.check(presented).await;
            (decided, PROBE.with(|probe| probe.returned_before_last_step.get()))
        };
        let (decided, returned) = PROBE.scope(probe, check).await;
        (true, returned, decided)
    }
}

/// The change of a round.
#[derive(Clone, Copy, Debug)]
enum Change {
    Revoke,
    Disable,
    Deactivate,
    RotateAtOnce,
}

impl Change {
    async fn make(self, issuer: &Issuer<MemoryStore>, issued: &IssuedKey) {
        let id = issued.record.id;
        match self {
            Self::Revoke => drop(issuer.revoke(id, "lost").await.unwrap()),
            Self::Disable => drop(issuer.disable(id).await.unwrap()),
            Self::Deactivate => {
                let organization = issued.record.organization_id;
                let deactivate = |organization: &mut tower_api_key::key::Organization| {
                    organization.status = OrganizationStatus::Inactive;
                };
                issuer.update_organization(organization, deactivate).await.unwrap();
            }
            Self::RotateAtOnce => drop(issuer.rotate(id, Duration::ZERO).await.unwrap()),
        }
    }
}

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(4).enable_all().build().unwrap()
}

fn rounds(change: Change, rounds: usize) {
    let tally = Arc::new(Tally::default());
    let counted = tally.clone();
    let all = async move {
        let tally = counted;
        let store = MemoryStore::new();
        let issuer = issuer(&store);
        let authenticator = Authenticator::builder(Slow(store)).limiter(Dawdler).build();
        let limit = RateLimit::per_second("any", 1).unwrap();
        for number in 0..rounds {
            let organization = issuer.create_organization("acme").await.unwrap();
            let request = IssueRequest::new(organization.id, "key").limit(limit.clone());
            let issued = issuer.issue(request).await.unwrap();
            let round = Arc::new(Round {
                authenticator: authenticator.clone(),
                key: text(&issued).to_owned(),
                begun: AtomicBool::new(false),
                returned: Arc::default(),
                admitted: AtomicUsize::new(0),
            });
            let clients: Vec<_> = (0..CLIENTS)
                .map(|_| tokio::spawn(round.clone().client(tally.clone())))
                .collect();
            // At once, while the first read is in progress, or a little later each time.
            let wait_for = (number % 8) * 8;
            while round.admitted.load(Ordering::SeqCst) < wait_for {
                tokio::task::yield_now().await;
            }
            round.begun.store(true, Ordering::SeqCst);
            change.make(&issuer, &issued).await;
            round.returned.store(true, Ordering::SeqCst);
            for client in clients {
                client.await.unwrap();
            }
            assert_eq!(
                tally.late.load(Ordering::SeqCst),
                0,
                "{change:?} was not final, round {number}"
            );
        }
    };
    runtime().block_on(async { tokio::spawn(all_of(all)).await.unwrap() });
    let seen = |count: &AtomicU64| count.load(Ordering::SeqCst);
    assert_eq!(seen(&tally.wrongly_refused), 0, "a good key was refused");
    // The rounds had the load that they are meant to have.
    assert!(
        seen(&tally.admitted) > (rounds * 16) as u64,
        "the clients were not busy"
    );
    assert!(seen(&tally.after_waiting) > rounds as u64, "no loads were in progress");
    assert!(seen(&tally.refused) >= (rounds * CLIENTS) as u64);
}

/// Boxes the future, whose type is too long to be spawned.
fn all_of(future: impl Future<Output = ()> + Send + 'static) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(future)
}

#[test]
fn two_thousand_revokes_are_final() {
    rounds(Change::Revoke, 2_000);
}

#[test]
fn disable_is_final() {
    rounds(Change::Disable, 300);
}

#[test]
fn deactivation_of_the_organization_is_final() {
    rounds(Change::Deactivate, 300);
}

#[test]
fn rotation_without_grace_is_final() {
    rounds(Change::RotateAtOnce, 300);
}

#[tokio::test]
async fn new_key_is_admitted_at_once_after_it_was_unknown() {
    let store = MemoryStore::new();
    let acme = issuer(&store).create_organization("acme").await.unwrap();
    let authenticator = Authenticator::builder(store.clone())
        .hash_policy(HashPolicy::sha256())
        .build();
    let (key, record, secret) = unborn(&acme).await;
    for _ in 0..3 {
        assert_eq!(kind(&check(&authenticator, &key).await), RejectionKind::UnknownKey);
    }
    store.insert_key(record, secret).await.unwrap();
    check(&authenticator, &key).await.unwrap();
}

#[test]
fn issued_key_is_never_rejected_after_earlier_tries() {
    let all = async {
        let store = MemoryStore::new();
        let acme = issuer(&store).create_organization("acme").await.unwrap();
        let authenticator = Authenticator::new(Slow(store.clone()));
        for number in 0..500 {
            let (key, record, secret) = unborn(&acme).await;
            let returned = Arc::new(AtomicBool::new(false));
            let refused = Arc::new(AtomicUsize::new(0));
            let client = || {
                let (authenticator, key) = (authenticator.clone(), key.clone());
                let (returned, refused) = (returned.clone(), refused.clone());
                async move {
                    loop {
                        let had_returned = returned.load(Ordering::SeqCst);
                        let checked = check(&authenticator, &key).await;
                        if had_returned {
                            return checked.map(drop).map_err(|rejection| rejection.kind());
                        }
                        refused.fetch_add(usize::from(checked.is_err()), Ordering::SeqCst);
                        tokio::task::yield_now().await;
                    }
                }
            };
            let clients: Vec<_> = (0..8).map(|_| tokio::spawn(client())).collect();
            while refused.load(Ordering::SeqCst) < number % 16 {
                tokio::task::yield_now().await;
            }
            store.insert_key(record, secret).await.unwrap();
            returned.store(true, Ordering::SeqCst);
            for client in clients {
                assert_eq!(client.await.unwrap(), Ok(()), "round {number}");
            }
        }
    };
    runtime().block_on(async { tokio::spawn(all_of(all)).await.unwrap() });
}
