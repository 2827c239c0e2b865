//! Numbers of keys, and what should be looked after.

use std::time::Duration;

use tower_api_key::key::{Actor, Checksum, KeyFormat, KeyId, Timestamp};
use tower_api_key::store::query::{Keys, TheRealm};
use tower_api_key::store::{Commit, ManagedStore, MemoryStore, Write};
use tower_api_key::testing::{ManualClock, cheap_hashes};
use tower_api_key::{ApiKeys, Finding, Hygiene, IssueRequest, IssuedKey, Issuer, PresentedKey};

const DAY: Duration = Duration::from_secs(24 * 3600);

struct Acme<S> {
    keys: ApiKeys<S>,
    hand: ManualClock,
    organization: tower_api_key::key::OrganizationId,
}

impl Acme<MemoryStore> {
    async fn new() -> Self {
        let hand = ManualClock::new();
        let builder = ApiKeys::builder(MemoryStore::new()).hash_policy(cheap_hashes());
        let keys = builder.clock(hand.clock()).open().await.unwrap();
        Self::of(keys, hand).await
    }
}

impl<S: ManagedStore + Clone> Acme<S> {
    async fn of(keys: ApiKeys<S>, hand: ManualClock) -> Self {
        let issuer = keys.issuer().acting_as(Actor::operator("test"));
        let organization = issuer.create_organization("acme").await.unwrap().id;
        Self {
            keys,
            hand,
            organization,
        }
    }

    fn issuer(&self) -> Issuer<S> {
        self.keys.issuer().acting_as(Actor::operator("test"))
    }

    async fn issue(&self, days: Option<u32>, scopes: &str) -> IssuedKey {
        let mut request = IssueRequest::new(self.organization, "orders").scopes(scopes.parse().unwrap());
        if let Some(days) = days {
            request = request.expires_at(self.now().after(DAY * days));
        }
        self.issuer().issue(request).await.unwrap()
    }

    async fn use_it(&self, key: &IssuedKey) -> tower_api_key::AuthContext {
        let presented = PresentedKey::new(key.key.expose_secret().as_bytes());
        self.keys.authenticator().check(presented).await.unwrap()
    }

    fn now(&self) -> Timestamp {
        self.hand.clock().wall()
    }

    async fn findings(&self, request: Hygiene) -> Vec<(KeyId, Vec<Finding>)> {
        let (mut found, mut request) = (Vec::new(), request);
        loop {
            let report = self.keys.hygiene(request.clone()).await.unwrap();
            found.extend(report.items.into_iter().map(|item| (item.key.record.id, item.findings)));
            match report.next {
                Some(next) => request = request.after(next),
                None => return found,
            }
        }
    }
}

#[tokio::test]
async fn statistics_count_uses_that_are_not_stored_yet() {
    let acme = Acme::new().await;
    let key = acme.issue(Some(10), "").await;
    let _ = acme.issue(None, "").await;
    acme.use_it(&key).await;
    acme.use_it(&key).await;
    let statistics = acme.keys.statistics(acme.organization).await.unwrap();
    assert_eq!((statistics.total, statistics.active, statistics.expiring), (2, 2, 1));
    assert_eq!(
        (statistics.used_in_a_day, statistics.never_used, statistics.requests),
        (1, 1, 2)
    );
    acme.hand.advance(11 * DAY);
    let later = acme.keys.statistics(None).await.unwrap();
    assert_eq!(
        (later.active, later.expired, later.used_in_a_day, later.used_in_a_month),
        (1, 1, 0, 1)
    );
}

#[tokio::test]
async fn report_finds_endless_idle_and_unused_keys() {
    let acme = Acme::new().await;
    let endless = acme.issue(None, "").await.record.id;
    let ends = acme.issue(Some(400), "").await;
    let idle = acme.issue(Some(400), "").await;
    let revoked = acme.issue(None, "").await.record.id;
    acme.issuer().revoke(revoked, "lost").await.unwrap();
    let disabled = acme.issue(None, "").await.record.id;
    acme.issuer().disable(disabled).await.unwrap();
    let expired = acme.issue(Some(1), "").await.record.id;
    let canary = acme.issue(None, "").await.record.id;
    let mut record = acme.keys.read(canary).await.unwrap().unwrap().record;
    record.is_canary = true;
    acme.issuer()
        .commit(Commit::new().write(Write::UpdateKey(record)))
        .await
        .unwrap();

    acme.use_it(&idle).await;
    // A counter that is not stored for weeks has lost its time.
    acme.keys.flush().await.unwrap();
    let at_first = acme.findings(Hygiene::of(acme.organization)).await;
    assert_eq!(at_first, [(endless, vec![Finding::NoEnd])]);
    acme.hand.advance(89 * DAY);
    acme.use_it(&ends).await;
    acme.hand.advance(2 * DAY);
    for size in [1, 2, 200] {
        let found = acme.findings(Hygiene::of(acme.organization).page(size)).await;
        let should = [
            (endless, vec![Finding::NoEnd, Finding::NeverUsed]),
            (idle.record.id, vec![Finding::Unused]),
        ];
        assert_eq!(found, should, "{size}");
    }
    let month = Hygiene::of_all().unused_for(Duration::from_secs(3600));
    let found = acme.findings(month).await;
    assert!(
        found
            .iter()
            .any(|(id, findings)| *id == ends.record.id && findings == &[Finding::Unused])
    );
    assert!(
        !found
            .iter()
            .any(|(id, _)| [revoked, disabled, expired, canary].contains(id))
    );
}

#[tokio::test]
async fn report_names_granted_scopes_that_decided_nothing() {
    let acme = Acme::new().await;
    let key = acme.issue(Some(400), "orders:* reports:read payroll:read").await;
    acme.use_it(&key).await.require("orders:write").unwrap();
    acme.hand.advance(91 * DAY);
    acme.use_it(&key).await.require("payroll:read").unwrap();
    // One that is in use and too young to say that it needs less.
    let young = acme.issue(Some(400), "reports:read").await;
    acme.use_it(&young).await;
    let found = acme.findings(Hygiene::of(acme.organization)).await;
    let unused = Finding::UnusedScopes(vec!["reports:read".parse().unwrap()]);
    assert_eq!(found, [(key.record.id, vec![unused])]);
}

#[tokio::test]
async fn report_names_keys_whose_crc_is_still_accepted() {
    let hand = ManualClock::new();
    let format = KeyFormat::builder("key").checksum(Checksum::Crc32).build().unwrap();
    let builder = ApiKeys::builder(MemoryStore::new())
        .hash_policy(cheap_hashes())
        .clock(hand.clock());
    let keys = builder.formats(format).open().await.unwrap();
    let acme = Acme::of(keys, hand).await;
    let key = acme.issue(Some(400), "").await.record.id;
    assert!(acme.findings(Hygiene::of_all()).await.is_empty());
    let was = acme.keys.read(TheRealm).await.unwrap();
    let mut row = was;
    row.crc_accepted_until = acme.now().after(30 * DAY);
    let until = row.crc_accepted_until;
    acme.issuer()
        .commit(Commit::new().write(Write::UpdateRealm { was, row }))
        .await
        .unwrap();
    assert_eq!(
        acme.findings(Hygiene::of_all()).await,
        [(key, vec![Finding::Crc { until }])]
    );
    acme.hand.advance(31 * DAY);
    assert!(acme.findings(Hygiene::of_all()).await.is_empty());
}

#[tokio::test]
async fn cursor_of_another_report_is_refused() {
    let acme = Acme::new().await;
    for _ in 0..2 {
        let _ = acme.issue(None, "").await;
    }
    let page = acme.keys.hygiene(Hygiene::of(acme.organization).page(1)).await.unwrap();
    let other = Hygiene::of_all().after(page.next.clone().unwrap());
    assert!(acme.keys.hygiene(other).await.is_err());
    let list = Keys::of(acme.organization).after(page.next.unwrap());
    assert!(acme.keys.read(list).await.is_err());
}
