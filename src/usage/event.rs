//! One request, as it is metered.

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use ipnet::IpNet;

use super::error::{UsageError, UsageErrorKind};
use super::status::{ErrorClass, UsageStatus};
use super::tags::{Tags, cut};
use crate::key::{KeyId, OrganizationId, Scope, Timestamp, UserId};

/// What one admitted request did, or one job. The meter layer makes one for each request;
/// [`Meter::record`](crate::usage::Meter::record) takes those of jobs.
///
/// ```
/// use std::time::Duration;
/// use tower_api_key::key::{KeyId, OrganizationId, Timestamp};
/// use tower_api_key::usage::{UsageEvent, UsageStatus};
///
/// let mut event = UsageEvent::new(OrganizationId::new(), KeyId::new(), Timestamp::now())
///     .route("nightly-report")
///     .latency(Duration::from_secs(90));
/// event.tokens = 1_200;
/// assert_eq!(event.status, UsageStatus::NONE);
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct UsageEvent {
    /// When the request was admitted. It belongs to the hour and the day of this time.
    pub at: Timestamp,
    /// The organization that the key belongs to.
    pub organization: OrganizationId,
    /// The key.
    pub key: KeyId,
    /// The user that the key acts for.
    pub user: Option<UserId>,
    /// The template of the route, such as `/orders/{id}`; `(none)` for a request without one. Never a path as clients send it: its
    /// parts may be secret, and there would be as many routes as paths.
    pub route: Arc<str>,
    /// The method, such as `GET`; `(other)` if it is none of the nine of RFC 9110 and RFC 5789. Empty for a job.
    pub method: &'static str,
    /// How it ended.
    pub status: UsageStatus,
    /// The scope that the route asked for; the first one of several.
    pub scope: Option<Scope>,
    /// From the request to the end of the response's body.
    pub latency: Duration,
    /// Bytes of the request's body that were read.
    pub bytes_in: u64,
    /// Bytes of the response's body that were sent.
    pub bytes_out: u64,
    /// What the handler counted.
    pub tokens: u64,
    /// What the handler said that it costs, in millionths of a dollar.
    pub micro_usd: u64,
    /// Where the client was, or the network that it was in.
    pub address: Option<IpNet>,
    /// The client's user agent: at most 256 bytes, with what may be a key masked.
    pub agent: Option<Box<str>>,
    /// Why it counts as an error.
    pub error: Option<ErrorClass>,
    /// What the handler said to tell requests apart.
    pub tags: Tags,
}

/// Routes are cut at this many bytes.
const LONGEST_ROUTE: usize = 256;
/// How far from now an event may be in the future.
const FUTURE: Duration = Duration::from_secs(3600);
pub(super) const MOST_TOKENS: u64 = 1_000_000_000_000;
pub(super) const MOST_MICRO_USD: u64 = 1_000_000_000_000_000;

/// The route of a request without one.
pub const NO_ROUTE: &str = "(none)";
/// All routes for which there is no room of their own.
pub const OTHER_ROUTE: &str = "(other)";

impl UsageEvent {
    /// An event without anything but whose it is, and when.
    pub fn new(organization: OrganizationId, key: KeyId, at: Timestamp) -> Self {
        Self {
            at,
            organization,
            key,
            user: None,
            route: Self::no_route(),
            method: "",
            status: UsageStatus::NONE,
            scope: None,
            latency: Duration::ZERO,
            bytes_in: 0,
            bytes_out: 0,
            tokens: 0,
            micro_usd: 0,
            address: None,
            agent: None,
            error: None,
            tags: Tags::default(),
        }
    }

    /// The route, or the name of a job. It is cut at 256 bytes; an empty one is `(none)`.
    #[must_use]
    pub fn route(mut self, route: &str) -> Self {
        self.route = match route {
            "" => Self::no_route(),
            route => route_of(route),
        };
        self
    }

    /// How long it took.
    #[must_use]
    pub fn latency(mut self, latency: Duration) -> Self {
        self.latency = latency;
        self
    }

    /// The user that the key acts for.
    #[must_use]
    pub fn user(mut self, user: Option<UserId>) -> Self {
        self.user = user;
        self
    }

    pub(crate) fn no_route() -> Arc<str> {
        NONE.clone()
    }

    pub(crate) fn other_route() -> Arc<str> {
        OTHER.clone()
    }

    /// Whether its numbers and its time are possible.
    pub(super) fn check(&self, now: Timestamp) -> Result<(), UsageError> {
        if self.at > now.after(FUTURE) {
            return Err(UsageErrorKind::FromTheFuture.into());
        }
        match self.tokens > MOST_TOKENS || self.micro_usd > MOST_MICRO_USD {
            true => Err(UsageErrorKind::TooMuch.into()),
            false => Ok(()),
        }
    }
}

/// A route as it is kept.
pub(crate) fn route_of(route: &str) -> Arc<str> {
    cut(route, LONGEST_ROUTE).into()
}

static NONE: LazyLock<Arc<str>> = LazyLock::new(|| NO_ROUTE.into());
static OTHER: LazyLock<Arc<str>> = LazyLock::new(|| OTHER_ROUTE.into());

/// How much of a client's address is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeptAddress {
    /// All of it.
    Whole,
    /// Its network: a /24, or a /48 of IPv6.
    #[default]
    Network,
    /// Nothing.
    Nothing,
}

impl KeptAddress {
    /// What is kept of this address.
    pub fn of(self, address: IpAddr) -> Option<IpNet> {
        let address = address.to_canonical();
        let length = match (self, address) {
            (Self::Nothing, _) => return None,
            (Self::Whole, _) => return Some(address.into()),
            (Self::Network, IpAddr::V4(_)) => 24,
            (Self::Network, IpAddr::V6(_)) => 48,
        };
        IpNet::new(address, length).ok().map(|network| network.trunc())
    }
}
