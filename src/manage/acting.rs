//! For whom a request acts, and what it may do.

use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{Method, StatusCode};

use super::body::is_json;
use super::csrf;
use super::problem::Problem;
use super::state::{Door, Login, ManageState};
use crate::check::AuthContext;
use crate::issue::{Issuer, Principal};
use crate::key::OrganizationId;
use crate::middleware::extract::MissingAuthContext;
use crate::store::DynStore;

/// For whom a request acts. Its issuer judges every change and every read by the rows that it touches, so a route cannot forget it:
/// the scope that a route asks for comes on top.
pub(super) struct Acting {
    /// Reads and changes what the caller may.
    pub(super) issuer: Issuer<DynStore>,
    who: Who,
}

enum Who {
    /// The program itself. It may do everything.
    Host,
    Key(AuthContext),
    /// A user of the host, whose issuer knows what it may do.
    Principal(Principal),
}

impl Acting {
    /// Asks for the scope of a route.
    ///
    /// # Errors
    /// The layer's own refusal, 403, when the key lacks it.
    pub(super) fn require(&self, scope: &str) -> Result<(), Problem> {
        match &self.who {
            Who::Host | Who::Principal(_) => Ok(()),
            Who::Key(context) => Ok(context.require(scope)?),
        }
    }

    /// Whether it has this scope, for routes that show less without it.
    pub(super) fn may(&self, scope: &str) -> bool {
        match &self.who {
            Who::Host | Who::Principal(_) => true,
            // Unlike `require`, this is no refusal that is recorded.
            Who::Key(context) => scope.parse().is_ok_and(|scope| context.allows(&scope)),
        }
    }

    /// Asks for the scope of a route that is the operator's alone.
    ///
    /// # Errors
    /// As [`require`](Self::require) and [`require_operator`](Self::require_operator).
    pub(super) fn require_as_operator(&self, scope: &str) -> Result<(), Problem> {
        self.require(scope)?;
        self.require_operator()
    }

    /// For what is the operator's alone. The issuer judges it again; this is said before anything is read.
    ///
    /// # Errors
    /// 403 for other keys.
    pub(super) fn require_operator(&self) -> Result<(), Problem> {
        match &self.who {
            Who::Host => Ok(()),
            Who::Key(context) if context.organization().is_operator => Ok(()),
            Who::Key(_) | Who::Principal(_) => Err(Problem::forbidden("this is for keys of the operator")),
        }
    }

    /// The key that acts, unless it is the host.
    pub(super) fn key(&self) -> Option<&AuthContext> {
        match &self.who {
            Who::Host | Who::Principal(_) => None,
            Who::Key(context) => Some(context),
        }
    }

    /// The user of the host that acts, if it is one.
    pub(super) fn principal(&self) -> Option<&Principal> {
        match &self.who {
            Who::Host | Who::Key(_) => None,
            Who::Principal(principal) => Some(principal),
        }
    }

    /// The organization of the caller; the host has none.
    pub(super) fn organization(&self) -> Option<OrganizationId> {
        match &self.who {
            Who::Host => None,
            Who::Key(context) => Some(context.organization().id),
            Who::Principal(principal) => Some(principal.organization()),
        }
    }
}

/// Whether a page of the service itself makes this change: another site sends the host's cookie too.
async fn check_own(state: &ManageState, login: &Login, principal: &Principal, parts: &Parts) -> Result<(), Problem> {
    if !login.hosts.admits_origin(&parts.headers) {
        let sentence = "the request comes from a page of another site";
        return Err(Problem::new(StatusCode::FORBIDDEN, "csrf", sentence));
    }
    csrf::check(state, principal, &parts.headers).await?;
    // A form cannot say that it sends JSON.
    match parts.method == Method::POST && !is_json(&parts.headers) {
        true => Err(Problem::not_json()),
        false => Ok(()),
    }
}

impl FromRequestParts<ManageState> for Acting {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ManageState) -> Result<Self, Problem> {
        if let Door::Host(caller) = &state.door {
            return Ok(Self {
                issuer: state.keys.issuer().acting_as(caller.clone()),
                who: Who::Host,
            });
        }
        if let Door::Principal(login) = &state.door {
            let principal = (login.find)(parts).ok_or_else(Problem::not_logged_in)?;
            if !parts.method.is_safe() {
                check_own(state, login, &principal, parts).await?;
            }
            return Ok(Self {
                issuer: state.keys.issuer_for_principal(&principal),
                who: Who::Principal(principal),
            });
        }
        let context: Result<AuthContext, MissingAuthContext> = AuthContext::from_request_parts(parts, state).await;
        let context = context.map_err(Problem::without_key)?;
        Ok(Self {
            issuer: state.keys.issuer_for(&context),
            who: Who::Key(context),
        })
    }
}
