//! Random histories of a few keys, and a model of them: whatever happened in whatever order, and whatever is cached, a check
//! decides as the model does.
//!
//! The model has no cache, no fence and no shared loads, so that it cannot repeat their mistakes. Where more than one answer
//! is right, it lists them: wall time that was set forward counts when a record is read, and a store that is down is a 503
//! unless the key is cached.

use std::net::IpAddr;
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::Index;
use tower_api_key::hash::HashPolicy;
use tower_api_key::key::{KeyId, KeyRecord, KeyStatus, Organization, OrganizationStatus, RateLimit, Scope, Timestamp};
use tower_api_key::store::{KeyStore, ManagedStore, MemoryStore, Sharing, StoreErrorKind};
use tower_api_key::testing::{Fault, FaultStore, ManualClock};
use tower_api_key::{
    ApiKeys, AuthContext, Authenticator, IssueErrorKind, IssueRequest, Issuer, PresentedKey, Rejection, RejectionKind,
};

use crate::house::{in_test_environment, unknown_key, with_other_secret};

use RejectionKind::*;

const KEYS: usize = 4;
/// One authenticator with the usual settings, and one with a short time to live.
const AUTHENTICATORS: usize = 2;
const TIMES_TO_LIVE: [i64; AUTHENTICATORS] = [300_000, 1_000];
/// How long both use what a follower has not confirmed.
const LEASE: i64 = 60_000;
/// Two per second, with a burst of three.
const INTERVAL: i64 = 500;
const BURST: i64 = 3;

#[derive(Clone, Debug)]
enum Step {
    Issue(Issue),
    Revoke(Index),
    Disable(Index),
    Enable(Index),
    /// With this grace, in milliseconds.
    Rotate(Index, i64),
    /// In this many milliseconds, or never.
    Expire(Index, Option<i64>),
    Terms(Index, Terms),
    Organization(usize, OrganizationStatus),
    EverythingChanged,
    Advance(i64),
    SetWall(i64),
    Store(Health),
    /// A new process replaces this authenticator's: its cache is gone.
    Restart(usize),
    Check(Presented, Asked),
}

#[derive(Clone, Debug)]
struct Issue {
    organization: usize,
    expires_in: Option<i64>,
    terms: Terms,
    is_limited: bool,
}

#[derive(Clone, Copy, Debug)]
struct Terms {
    may_read_orders: bool,
    is_bound_to_network: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Health {
    Well,
    Unavailable,
    Garbled,
    Hanging,
}

#[derive(Clone, Debug)]
enum Presented {
    Good(Index, Index),
    Wrong(Index, Index, usize),
    Forged(Index, Index),
    Unknown(usize),
    Malformed,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    authenticator: usize,
    reads_orders: bool,
    is_in_network: bool,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let soon = || prop_oneof![Just(1i64), Just(1_000), 1..5_000i64, Just(600_000)];
    let ends = move || prop_oneof![2 => Just(None), 3 => soon().prop_map(Some), 1 => Just(Some(-1))];
    let key = any::<Index>;
    let time = || {
        prop_oneof![
            Just(0i64),
            Just(1),
            Just(499),
            Just(500),
            1..3_000i64,
            Just(300_000),
            Just(300_001)
        ]
    };
    let health = prop_oneof![
        3 => Just(Health::Well),
        1 => Just(Health::Unavailable),
        1 => Just(Health::Garbled),
        1 => Just(Health::Hanging),
    ];
    let status = prop_oneof![2 => Just(OrganizationStatus::Active), 1 => Just(OrganizationStatus::Inactive)];
    let issue =
        (0..2usize, ends(), terms(), any::<bool>()).prop_map(|(organization, expires_in, terms, is_limited)| {
            Step::Issue(Issue {
                organization,
                expires_in,
                terms,
                is_limited,
            })
        });
    let step = prop_oneof![
        4 => issue,
        1 => key().prop_map(Step::Revoke),
        2 => key().prop_map(Step::Disable),
        3 => key().prop_map(Step::Enable),
        3 => (key(), prop_oneof![Just(0i64), soon()]).prop_map(|(key, grace)| Step::Rotate(key, grace)),
        2 => (key(), ends()).prop_map(|(key, ends)| Step::Expire(key, ends)),
        2 => (key(), terms()).prop_map(|(key, terms)| Step::Terms(key, terms)),
        3 => (0..2usize, status).prop_map(|(organization, status)| Step::Organization(organization, status)),
        1 => Just(Step::EverythingChanged),
        4 => time().prop_map(Step::Advance),
        2 => (-5_000..5_000i64).prop_map(Step::SetWall),
        3 => health.prop_map(Step::Store),
        1 => (0..AUTHENTICATORS).prop_map(Step::Restart),
        40 => (presented(), asked()).prop_map(|(presented, asked)| Step::Check(presented, asked)),
    ];
    prop::collection::vec(step, 1..120)
}

fn terms() -> impl Strategy<Value = Terms> {
    (prop::bool::weighted(0.8), prop::bool::weighted(0.2)).prop_map(|(may_read_orders, is_bound_to_network)| Terms {
        may_read_orders,
        is_bound_to_network,
    })
}

fn presented() -> impl Strategy<Value = Presented> {
    let secret = || (any::<Index>(), any::<Index>());
    prop_oneof![
        10 => secret().prop_map(|(key, secret)| Presented::Good(key, secret)),
        3 => (secret(), 0..2usize).prop_map(|((key, secret), n)| Presented::Wrong(key, secret, n)),
        1 => secret().prop_map(|(key, secret)| Presented::Forged(key, secret)),
        1 => (0..2usize).prop_map(Presented::Unknown),
        1 => Just(Presented::Malformed),
    ]
}

fn asked() -> impl Strategy<Value = Asked> {
    let authenticator = prop_oneof![2 => Just(0), 1 => Just(1)];
    (authenticator, any::<bool>(), prop::bool::weighted(0.8)).prop_map(
        |(authenticator, reads_orders, is_in_network)| Asked {
            authenticator,
            reads_orders,
            is_in_network,
        },
    )
}

/// The state of the model. Times are in milliseconds.
struct Model {
    monotonic: i64,
    /// The time that counts, as the clock shows it: which steps of the system's clock count is tested elsewhere.
    wall: i64,
    /// When the clock came to show what it shows now plus the time since: at its start, or by a step.
    since: i64,
    /// What it has run through before that, each without the start.
    passed: Vec<(i64, i64)>,
    /// For how long an entry certainly counts that a follower may not have confirmed since: it polls by real time, the lease ends by
    /// that of the clock.
    lease: i64,
    health: Health,
    organizations: [Organization; 2],
    keys: Vec<Key>,
}

struct Key {
    id: KeyId,
    organization: usize,
    name: String,
    status: KeyStatus,
    expires_at: Option<i64>,
    terms: Terms,
    is_limited: bool,
    secrets: Vec<Secret>,
    /// When the limit's next unit is due, for each authenticator.
    due: [i64; AUTHENTICATORS],
}

struct Secret {
    text: String,
    ends: Option<i64>,
    is_stored: bool,
    seen: [Seen; AUTHENTICATORS],
}

/// What an authenticator may have cached of a secret.
#[derive(Clone, Copy)]
struct Seen {
    /// The least lead of wall time over monotonic time when the record was read.
    ahead: i64,
    /// The earliest time at which the record was read, if that entry may still count.
    read_at: Option<i64>,
    /// Whether it was read exactly then: nothing that may share a stripe has changed since.
    is_exact: bool,
    /// Whether the entry certainly counts.
    is_known: bool,
    /// Whether it was found expired. Then it stays so for as long as its end is over.
    is_expired: bool,
}

impl Seen {
    fn never(ahead: i64) -> Self {
        Self {
            ahead,
            read_at: None,
            is_exact: true,
            is_known: false,
            is_expired: false,
        }
    }

    fn others_changed(&mut self) {
        (self.is_exact, self.is_known) = (false, false);
    }

    fn answered(&mut self, now: i64, time_to_live: i64) {
        match self.read_at {
            Some(at) if !self.is_exact || now - at <= time_to_live => {}
            _ => (self.read_at, self.is_exact) = (Some(now), true),
        }
        self.is_known = true;
    }

    fn needs_a_read(&self, now: i64, time_to_live: i64) -> bool {
        self.read_at.is_none_or(|at| self.is_exact && now - at > time_to_live)
    }

    fn needs_no_read(&self, now: i64, longest: i64) -> bool {
        self.is_known && self.read_at.is_some_and(|at| now - at <= longest)
    }
}

/// The answers that a check may give.
type Verdicts = Vec<Result<(), RejectionKind>>;

impl Model {
    fn ahead(&self) -> i64 {
        self.wall - self.monotonic
    }

    fn pick(&self, key: Index) -> Option<usize> {
        (!self.keys.is_empty()).then(|| key.index(self.keys.len()))
    }

    fn pick_secret(&self, key: Index, secret: Index) -> Option<(usize, usize)> {
        let key = self.pick(key)?;
        Some((key, secret.index(self.keys[key].secrets.len())))
    }

    fn advance(&mut self, by: i64, shown: i64) {
        self.monotonic += by;
        self.wall += by;
        self.shows(shown);
        // What is older than the time to live is read again.
        let ahead = self.ahead();
        for secret in self.keys.iter_mut().flat_map(|key| &mut key.secrets) {
            for (seen, time_to_live) in secret.seen.iter_mut().zip(TIMES_TO_LIVE) {
                if by > time_to_live {
                    *seen = Seen::never(ahead);
                }
            }
        }
    }

    /// The clock was read.
    fn shows(&mut self, wall: i64) {
        // A second or less is no step.
        if (wall - self.wall).abs() > 1_000 {
            self.passed.push((self.since, self.wall));
            self.since = wall;
        }
        self.wall = wall;
        let ahead = self.ahead();
        for seen in self
            .keys
            .iter_mut()
            .flat_map(|key| &mut key.secrets)
            .flat_map(|secret| &mut secret.seen)
        {
            seen.ahead = seen.ahead.min(ahead);
        }
    }

    fn is_over(&self, end: i64) -> bool {
        end <= self.wall || self.passed.iter().any(|(from, to)| *from < end && end <= *to)
    }

    /// What was read of these keys no longer counts. Other keys are read again if they share a stripe.
    fn changed(&mut self, concerns: impl Fn(&Key) -> bool) {
        let ahead = self.ahead();
        for key in &mut self.keys {
            let is_concerned = concerns(key);
            for seen in key.secrets.iter_mut().flat_map(|secret| &mut secret.seen) {
                match is_concerned {
                    true => *seen = Seen::never(ahead),
                    false => seen.others_changed(),
                }
            }
        }
    }

    fn restarted(&mut self, authenticator: usize) {
        let ahead = self.ahead();
        for key in &mut self.keys {
            key.due[authenticator] = 0;
            for secret in &mut key.secrets {
                secret.seen[authenticator] = Seen::never(ahead);
            }
        }
    }

    fn new_secret(&self, text: &str) -> Secret {
        Secret {
            text: text.to_owned(),
            ends: None,
            is_stored: true,
            seen: [Seen::never(self.ahead()); AUTHENTICATORS],
        }
    }

    /// The error of a change to this key.
    fn unchangeable(&self, key: usize) -> Option<IssueErrorKind> {
        (self.keys[key].status == KeyStatus::Revoked).then_some(IssueErrorKind::Revoked)
    }

    fn unrotatable(&self, key: usize, grace: i64) -> Option<IssueErrorKind> {
        let is_over = |end: Option<i64>| end.is_some_and(|end| self.is_over(end));
        let live = |secret: &&Secret| secret.is_stored && !is_over(secret.ends);
        let one = &self.keys[key];
        if one.status == KeyStatus::Revoked {
            return Some(IssueErrorKind::Revoked);
        }
        if is_over(one.expires_at) {
            return Some(IssueErrorKind::Expired);
        }
        (grace > 0 && one.secrets.iter().filter(live).count() > 1).then_some(IssueErrorKind::RotationInProgress)
    }

    fn rotated(&mut self, key: usize, grace: i64, text: &str) {
        let (now, new) = (self.wall, self.new_secret(text));
        let over: Vec<bool> = self.keys[key]
            .secrets
            .iter()
            .map(|old| old.ends.is_some_and(|end| self.is_over(end)))
            .collect();
        let secrets = &mut self.keys[key].secrets;
        for (old, is_over) in secrets.iter_mut().zip(over).filter(|(old, _)| old.is_stored) {
            old.is_stored = grace > 0 && !is_over;
            old.ends = Some(old.ends.map_or(now + grace, |own| own.min(now + grace)));
        }
        secrets.push(new);
    }

    /// Whether the record may be read although it is cached: it was read while the clock was ahead, and seems to have expired.
    fn may_be_read_again(&self, key: usize, secret: usize) -> bool {
        let key = &self.keys[key];
        earlier(key.expires_at, key.secrets[secret].ends).is_some() && !self.passed.is_empty()
    }

    fn verdicts(&self, presented: &Presented, asked: Asked) -> Verdicts {
        let mut verdicts = match presented {
            Presented::Malformed => return vec![Err(MalformedKey)],
            Presented::Unknown(_) => vec![Err(UnknownKey)],
            Presented::Wrong(key, secret, _) | Presented::Forged(key, secret) => {
                match self.pick_secret(*key, *secret) {
                    Some((key, secret)) if self.keys[key].secrets[secret].is_stored => vec![Err(WrongSecret)],
                    _ => vec![Err(UnknownKey)],
                }
            }
            Presented::Good(key, secret) => match self.pick_secret(*key, *secret) {
                None => vec![Err(UnknownKey)],
                Some((key, secret)) => {
                    let verdicts = self.verdicts_of_good(key, secret, asked);
                    let seen = &self.keys[key].secrets[secret].seen[asked.authenticator];
                    let time_to_live = TIMES_TO_LIVE[asked.authenticator];
                    let is_cached = seen.needs_no_read(self.monotonic, time_to_live.min(self.lease));
                    if is_cached && !self.may_be_read_again(key, secret) {
                        return verdicts;
                    }
                    let is_down = self.health != Health::Well;
                    let is_stored = self.keys[key].secrets[secret].is_stored;
                    match is_down && is_stored && seen.needs_a_read(self.monotonic, time_to_live) {
                        true => vec![],
                        false => verdicts,
                    }
                }
            },
        };
        match self.health {
            Health::Well => {}
            Health::Unavailable | Health::Hanging => verdicts.push(Err(StoreUnavailable)),
            Health::Garbled => verdicts.push(Err(InvalidRecord)),
        }
        verdicts
    }

    fn verdicts_of_good(&self, key: usize, secret: usize, asked: Asked) -> Verdicts {
        let (key, secret) = (&self.keys[key], &self.keys[key].secrets[secret]);
        if !secret.is_stored {
            return vec![Err(UnknownKey)];
        }
        match key.status {
            KeyStatus::Active => {}
            KeyStatus::Disabled => return vec![Err(KeyDisabled)],
            _ => return vec![Err(KeyRevoked)],
        }
        if self.organizations[key.organization].status != OrganizationStatus::Active {
            return vec![Err(OrganizationInactive)];
        }
        let mut verdicts = Vec::new();
        if let Some(end) = earlier(key.expires_at, secret.ends) {
            let by_wall_time_of_the_read = self.monotonic + secret.seen[asked.authenticator].ahead;
            if self.is_over(end) {
                if end <= by_wall_time_of_the_read || secret.seen[asked.authenticator].is_expired {
                    return vec![Err(KeyExpired)];
                }
                verdicts.push(Err(KeyExpired));
            }
        }
        verdicts.push(if key.terms.is_bound_to_network && !asked.is_in_network {
            Err(NetworkNotAllowed)
        } else if asked.reads_orders && !key.terms.may_read_orders {
            Err(InsufficientScope)
        } else if key.is_limited && key.due[asked.authenticator] > self.monotonic + (BURST - 1) * INTERVAL {
            Err(RateLimited)
        } else {
            Ok(())
        });
        verdicts
    }

    /// Updates the model by an answer: what the authenticator must have read and charged.
    fn answered(&mut self, key: usize, secret: usize, asked: Asked, answer: Result<(), RejectionKind>) {
        let (monotonic, ahead) = (self.monotonic, self.ahead());
        let may_be_read_again = self.may_be_read_again(key, secret);
        let key = &mut self.keys[key];
        let seen = &mut key.secrets[secret].seen[asked.authenticator];
        match answer {
            Err(StoreUnavailable | InvalidRecord | UnknownKey) => return,
            // Expired for good, whatever the clock shows later, unless it was not over.
            Err(KeyExpired) => (seen.ahead, seen.is_expired) = (ahead, true),
            Err(_) => {}
            Ok(()) => {
                let due = &mut key.due[asked.authenticator];
                *due = monotonic.max(*due) + INTERVAL;
            }
        }
        seen.answered(monotonic, TIMES_TO_LIVE[asked.authenticator]);
        seen.is_exact &= !may_be_read_again;
    }
}

fn earlier(one: Option<i64>, other: Option<i64>) -> Option<i64> {
    [one, other].into_iter().flatten().min()
}

/// The system under test.
struct Life<S> {
    model: Model,
    hand: ManualClock,
    store: FaultStore<S>,
    issuer: Issuer<FaultStore<S>>,
    authenticators: [Authenticator<FaultStore<S>>; AUTHENTICATORS],
    /// Makes all names different.
    names: usize,
}

impl<S: ManagedStore> Life<S> {
    async fn new(store: S) -> Self {
        let hand = ManualClock::new();
        let wall = hand.clock().wall().as_millis();
        let store = FaultStore::new(store);
        let settings = ApiKeys::builder(store.clone()).hash_policy(HashPolicy::sha256());
        let issuer = crate::house::acting(settings.clock(hand.clock()));
        let authenticators = TIMES_TO_LIVE.map(|time_to_live| started(&store, &hand, time_to_live));
        let is_followed = matches!(store.sharing(), Sharing::ChangeLog { .. });
        let lease = if is_followed { LEASE } else { i64::MAX };
        let organizations = [
            issuer.create_organization("acme").await.unwrap(),
            issuer.create_organization("other").await.unwrap(),
        ];
        let life = Self {
            model: Model {
                monotonic: 0,
                wall,
                since: wall,
                passed: Vec::new(),
                lease,
                health: Health::Well,
                organizations,
                keys: Vec::new(),
            },
            hand,
            store,
            issuer,
            authenticators,
            names: 0,
        };
        if is_followed {
            life.is_confirmed().await;
        }
        life
    }

    /// Waits until the follower has confirmed something: until then, every request reads.
    async fn is_confirmed(&self) {
        let request = IssueRequest::new(self.model.organizations[0].id, "seen first");
        let issued = self.issuer.issue(request).await.unwrap();
        let asked = Asked {
            authenticator: 0,
            reads_orders: false,
            is_in_network: true,
        };
        let text = crate::house::text(&issued);
        self.ask(text, asked).await.unwrap();
        self.store
            .faults()
            .every_find(Fault::Error(StoreErrorKind::InvalidRecord));
        let is_cached = async {
            while self.ask(text, asked).await.is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let is_cached = tokio::time::timeout(Duration::from_secs(60), is_cached).await;
        is_cached.expect("nothing was confirmed");
        self.store.faults().heal();
    }

    async fn live(mut self, steps: Vec<Step>) {
        for (number, step) in steps.into_iter().enumerate() {
            let said = format!("step {number}: {step:?}");
            self.step(step, &said).await;
        }
        // At the end, every key that was ever issued.
        self.set_health(Health::Well);
        for key in 0..self.model.keys.len() {
            for secret in 0..self.model.keys[key].secrets.len() {
                for authenticator in 0..AUTHENTICATORS {
                    let asked = Asked {
                        authenticator,
                        reads_orders: false,
                        is_in_network: true,
                    };
                    let expected = self.model.verdicts_of_good(key, secret, asked);
                    self.check_good(key, secret, asked, expected, "in the end").await;
                }
            }
        }
    }

    async fn step(&mut self, step: Step, said: &str) {
        match step {
            Step::Issue(issue) => self.issue(issue).await,
            Step::Revoke(key) => {
                let Some(key) = self.model.pick(key) else { return };
                let id = self.model.keys[key].id;
                self.issuer.revoke(id, "lost").await.unwrap();
                self.model.keys[key].status = KeyStatus::Revoked;
                self.model.changed(|key| key.id == id);
            }
            Step::Disable(key) => {
                let Some(key) = self.model.pick(key) else { return };
                let done = self.issuer.disable(self.model.keys[key].id).await;
                self.changed(key, done, said, |key| key.status = KeyStatus::Disabled);
            }
            Step::Enable(key) => {
                let Some(key) = self.model.pick(key) else { return };
                let done = self.issuer.enable(self.model.keys[key].id).await;
                self.changed(key, done, said, |key| key.status = KeyStatus::Active);
            }
            Step::Rotate(key, grace) => {
                let Some(key) = self.model.pick(key) else { return };
                let duration = Duration::from_millis(grace as u64);
                let rotated = self.issuer.rotate(self.model.keys[key].id, duration).await;
                let expected = self.model.unrotatable(key, grace);
                assert_eq!(rotated.as_ref().err().map(|error| error.kind()), expected, "{said}");
                if let Ok(issued) = rotated {
                    self.model.rotated(key, grace, crate::house::text(&issued));
                    self.model.changed(|key| key.id == issued.record.id);
                }
            }
            Step::Expire(key, within) => {
                let Some(key) = self.model.pick(key) else { return };
                let end = within.map(|within| self.model.wall + within);
                let expire = move |record: &mut KeyRecord| record.expires_at = end.map(Timestamp::from_millis);
                let done = self.issuer.update(self.model.keys[key].id, expire).await;
                self.changed(key, done, said, |key| key.expires_at = end);
            }
            Step::Terms(key, terms) => {
                let Some(key) = self.model.pick(key) else { return };
                self.names += 1;
                let name = format!("name {}", self.names);
                let change = |record: &mut KeyRecord| {
                    record.name.clone_from(&name);
                    record.scopes = scopes(terms).parse().unwrap();
                    record.networks = networks(terms).parse().unwrap();
                };
                let done = self.issuer.update(self.model.keys[key].id, change).await;
                self.changed(key, done, said, |key| (key.name, key.terms) = (name.clone(), terms));
            }
            Step::Organization(organization, status) => {
                let id = self.model.organizations[organization].id;
                let change = move |organization: &mut Organization| organization.status = status;
                self.issuer.update_organization(id, change).await.unwrap();
                self.model.organizations[organization].status = status;
                self.model.changed(|key| key.organization == organization);
            }
            Step::EverythingChanged => {
                self.store.fence().unwrap().everything_changed();
                self.model.changed(|_| true);
            }
            Step::Advance(by) => {
                self.hand.advance(Duration::from_millis(by as u64));
                self.model.advance(by, self.hand.clock().wall().as_millis());
            }
            Step::SetWall(by) => {
                self.hand.step_wall(by);
                // Read immediately: a clock step that is undone before anything reads it has no effect.
                self.model.shows(self.hand.clock().wall().as_millis());
            }
            Step::Store(health) => self.set_health(health),
            Step::Restart(authenticator) => {
                let time_to_live = TIMES_TO_LIVE[authenticator];
                self.authenticators[authenticator] = started(&self.store, &self.hand, time_to_live);
                self.model.restarted(authenticator);
            }
            Step::Check(presented, asked) => self.check(&presented, asked, said).await,
        }
    }

    fn set_health(&mut self, health: Health) {
        self.model.health = health;
        self.store.faults().heal();
        self.store.faults().every_find(match health {
            Health::Well => Fault::None,
            Health::Unavailable => Fault::Error(StoreErrorKind::Unavailable),
            Health::Garbled => Fault::Error(StoreErrorKind::InvalidRecord),
            Health::Hanging => Fault::Hang,
        });
    }

    async fn issue(&mut self, issue: Issue) {
        if self.model.keys.len() == KEYS {
            return;
        }
        self.names += 1;
        let name = format!("name {}", self.names);
        let mut request = IssueRequest::new(self.model.organizations[issue.organization].id, &*name)
            .scopes(scopes(issue.terms).parse().unwrap())
            .networks(networks(issue.terms).parse().unwrap());
        let expires_at = issue.expires_in.map(|within| self.model.wall + within);
        if let Some(end) = expires_at {
            request = request.expires_at(Timestamp::from_millis(end));
        }
        if issue.is_limited {
            let limit = RateLimit::per_second("few", 2).unwrap();
            request = request.limit(limit.burst(BURST as u32).unwrap());
        }
        let issued = self.issuer.issue(request).await;
        if expires_at.is_some_and(|end| self.model.is_over(end)) {
            let refused = issued.unwrap_err().kind();
            assert_eq!(
                refused,
                IssueErrorKind::InvalidRequest,
                "a secret that is expired from the start"
            );
            return;
        }
        if self.model.organizations[issue.organization].status != OrganizationStatus::Active {
            assert_eq!(issued.unwrap_err().kind(), IssueErrorKind::NotAllowed);
            return;
        }
        let issued = issued.unwrap();
        let secret = self.model.new_secret(crate::house::text(&issued));
        self.model.keys.push(Key {
            id: issued.record.id,
            organization: issue.organization,
            name,
            status: KeyStatus::Active,
            expires_at,
            terms: issue.terms,
            is_limited: issue.is_limited,
            secrets: vec![secret],
            due: [0; AUTHENTICATORS],
        });
        self.model.changed(|key| key.id == issued.record.id);
    }

    fn changed(
        &mut self,
        key: usize,
        done: Result<KeyRecord, tower_api_key::IssueError>,
        said: &str,
        change: impl Fn(&mut Key),
    ) {
        let expected = self.model.unchangeable(key);
        assert_eq!(done.err().map(|error| error.kind()), expected, "{said}");
        if expected.is_none() {
            let id = self.model.keys[key].id;
            change(&mut self.model.keys[key]);
            self.model.changed(|key| key.id == id);
        }
    }

    async fn check(&mut self, presented: &Presented, asked: Asked, said: &str) {
        let expected = self.model.verdicts(presented, asked);
        let secret_of = |key: Index, secret: Index| {
            let (key, secret) = self.model.pick_secret(key, secret)?;
            Some(&*self.model.keys[key].secrets[secret].text)
        };
        let text = match presented {
            Presented::Good(key, secret) => match self.model.pick_secret(*key, *secret) {
                Some((key, secret)) => return self.check_good(key, secret, asked, expected, said).await,
                None => None,
            },
            Presented::Wrong(key, secret, n) => secret_of(*key, *secret).map(|text| with_other_secret(text, *n)),
            Presented::Forged(key, secret) => secret_of(*key, *secret).map(in_test_environment),
            Presented::Unknown(n) => Some(unknown_key(10 + n)),
            Presented::Malformed => Some("key_live_rubbish".to_owned()),
        };
        let answer = self.ask(&text.unwrap_or_else(|| unknown_key(0)), asked).await;
        let answer = answer.map(drop).map_err(|rejection| rejection.kind());
        assert!(expected.contains(&answer), "{said}: {answer:?} instead of {expected:?}");
    }

    async fn check_good(&mut self, key: usize, secret: usize, asked: Asked, expected: Verdicts, said: &str) {
        let text = self.model.keys[key].secrets[secret].text.clone();
        let answer = self.ask(&text, asked).await;
        if let Ok(context) = &answer {
            self.is_told_right(context, key, secret, said);
        }
        let answer = answer.map(drop).map_err(|rejection| rejection.kind());
        assert!(expected.contains(&answer), "{said}: {answer:?} instead of {expected:?}");
        self.model.answered(key, secret, asked, answer);
    }

    fn is_told_right(&self, context: &AuthContext, key: usize, secret: usize, said: &str) {
        let (key, secret) = (&self.model.keys[key], &self.model.keys[key].secrets[secret]);
        assert_eq!(context.key_id(), key.id, "{said}");
        assert_eq!(context.name(), key.name, "{said}");
        assert_eq!(
            context.organization().id,
            self.model.organizations[key.organization].id,
            "{said}"
        );
        assert_eq!(context.scopes().to_string(), scopes(key.terms), "{said}");
        let end = earlier(key.expires_at, secret.ends).map(Timestamp::from_millis);
        assert_eq!(context.expires_at(), end, "{said}");
    }

    /// As the layer does: at once if possible, otherwise by waiting.
    async fn ask(&self, text: &str, asked: Asked) -> Result<AuthContext, Rejection> {
        let authenticator = &self.authenticators[asked.authenticator];
        let address: IpAddr = if asked.is_in_network {
            "192.0.2.7"
        } else {
            "198.51.100.7"
        }
        .parse()
        .unwrap();
        let scope: Scope = "orders:read".parse().unwrap();
        let mut presented = PresentedKey::new(text.as_bytes()).client_address(Some(address));
        if asked.reads_orders {
            presented = presented.require_scope(&scope);
        }
        match authenticator.try_check(presented) {
            Some(decided) => decided,
            None => authenticator.check(presented).await,
        }
    }
}

fn started<S: KeyStore>(store: &FaultStore<S>, hand: &ManualClock, time_to_live: i64) -> Authenticator<FaultStore<S>> {
    let builder = Authenticator::builder(store.clone()).hash_policy(HashPolicy::sha256());
    let builder = builder.max_staleness(Duration::from_millis(LEASE as u64)).unwrap();
    let time_to_live = Duration::from_millis(time_to_live as u64);
    // Reads of a file take real time, on a machine that may be busy. Elsewhere time is paused, and a hanging store costs none.
    let builder = builder.read_timeout(Duration::from_secs(60)).unwrap();
    builder.clock(hand.clock()).time_to_live(time_to_live).unwrap().build()
}

fn scopes(terms: Terms) -> &'static str {
    match terms.may_read_orders {
        true => "orders:read",
        false => "invoices:*",
    }
}

fn networks(terms: Terms) -> &'static str {
    match terms.is_bound_to_network {
        true => "192.0.2.0/24",
        false => "",
    }
}

proptest! {
    #[test]
    fn check_agrees_with_the_model(steps in steps()) {
        // Paused time advances by itself while a store hangs.
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async { Life::new(MemoryStore::new()).await.live(steps).await });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn check_agrees_with_the_model_over_databases(mut steps in steps()) {
        use crate::support::stores::Database;

        // They run in real time, so this does too.
        steps.retain(|step| !matches!(step, Step::Store(Health::Hanging)));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        for database in Database::shared() {
            runtime.block_on(async {
                let store = database.open().await;
                Life::new(store).await.live(steps.clone()).await
            });
        }
    }
}
