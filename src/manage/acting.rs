//! For whom a request acts, and what it may do.

use axum::extract::FromRequestParts;
use http::request::Parts;

use super::manage::ManageState;
use super::problem::Problem;
use crate::audit::Caller;
use crate::check::AuthContext;
use crate::issue::Issuer;
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
}

/// How requests say for whom they act.
#[derive(Clone, Debug)]
pub(super) enum Door {
    /// By a key, which the layer around the router has verified.
    Keys,
    /// They do not: all of them are the host's.
    Host(Caller),
}

impl Acting {
    /// Asks for the scope of a route.
    ///
    /// # Errors
    /// The layer's own refusal, 403, when the key lacks it.
    pub(super) fn require(&self, scope: &str) -> Result<(), Problem> {
        match &self.who {
            Who::Host => Ok(()),
            Who::Key(context) => Ok(context.require(scope)?),
        }
    }

    /// Whether it has this scope, for routes that show less without it.
    pub(super) fn may(&self, scope: &str) -> bool {
        match &self.who {
            Who::Host => true,
            // Unlike `require`, this is no refusal that is recorded.
            Who::Key(context) => scope.parse().is_ok_and(|scope| context.allows(&scope)),
        }
    }

    /// For what is the operator's alone. The issuer judges it again; this is said before anything is read.
    ///
    /// # Errors
    /// 403 for other keys.
    pub(super) fn require_operator(&self) -> Result<(), Problem> {
        match &self.who {
            Who::Key(context) if !context.organization().is_operator => {
                Err(Problem::forbidden("this is for keys of the operator"))
            }
            _ => Ok(()),
        }
    }

    /// The key that acts, unless it is the host.
    pub(super) fn key(&self) -> Option<&AuthContext> {
        match &self.who {
            Who::Host => None,
            Who::Key(context) => Some(context),
        }
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
        let context: Result<AuthContext, MissingAuthContext> = AuthContext::from_request_parts(parts, state).await;
        let context = context.map_err(Problem::without_key)?;
        Ok(Self {
            issuer: state.keys.issuer_for(&context),
            who: Who::Key(context),
        })
    }
}
