//! What handlers share.

use std::fmt;
use std::sync::Arc;

use http::request::Parts;

use super::hosts::Hosts;
use crate::audit::Caller;
use crate::issue::Principal;
use crate::key::Timestamp;
use crate::keys::ApiKeys;

/// What handlers share.
#[derive(Clone, Debug)]
pub(super) struct ManageState {
    pub(super) keys: ApiKeys,
    pub(super) door: Door,
    /// Of a request, in bytes.
    pub(super) largest_body: usize,
}

impl ManageState {
    /// The time, by the clock of the handle.
    pub(super) fn now(&self) -> Timestamp {
        self.keys.clock().wall()
    }
}

/// How requests say for whom they act.
#[derive(Clone)]
pub(super) enum Door {
    /// By a key, which the layer around the router has verified.
    Keys,
    /// By the host's login.
    Principal(Login),
    /// They do not: all of them are the host's.
    Host(Caller),
}

/// The host's login, and what its pages are reached by.
#[derive(Clone)]
pub(super) struct Login {
    pub(super) find: FindPrincipal,
    pub(super) hosts: Arc<Hosts>,
}

/// Finds who is logged in.
pub(super) type FindPrincipal = Arc<dyn Fn(&Parts) -> Option<Principal> + Send + Sync>;

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keys => "Keys",
            Self::Principal(_) => "Principal",
            Self::Host(_) => "Host",
        })
    }
}
