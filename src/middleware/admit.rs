//! Decides about a request without waiting.

use std::sync::Arc;

use http::Request;

use super::credential::{Beside, NoKey, Spot};
use super::future::CheckFuture;
use super::handle::LayerHandle;
use super::others::Others;
use super::success::SuccessHeaders;
use super::websocket;
use crate::check::{AuthContext, Authenticator, PresentedKey, Rejection, RejectionKind};
use crate::store::KeyStore;

/// What all services of a layer share.
pub(super) struct Shared<S> {
    pub(super) authenticator: Authenticator<S>,
    pub(super) handle: Arc<LayerHandle>,
}

/// The decision about a request, as far as it can be made at once. The credentials are gone from the request, or marked
/// sensitive.
pub(super) enum Verdict {
    /// The context is in the request's extensions.
    Admitted(Option<SuccessHeaders>),
    /// There is no credential, and none is needed.
    Anonymous,
    Rejected(Rejection),
    /// The check has to wait, for the store, a hash or a limiter.
    Undecided(CheckFuture),
}

impl<S: KeyStore> Shared<S> {
    /// Checks the key of a request, if that needs no waiting. A context from elsewhere is gone afterwards.
    // Not inlined: its stack frame would stay below the inner service's call.
    #[inline(never)]
    pub(super) fn admit<Q>(&self, request: &mut Request<Q>) -> Verdict {
        let verdict = self.decide(request);
        // An admitted request has its own context in its place.
        if !matches!(verdict, Verdict::Admitted(_)) {
            request.extensions_mut().remove::<AuthContext>();
        }
        verdict
    }

    fn decide<Q>(&self, request: &mut Request<Q>) -> Verdict {
        let settings = &self.handle.settings;
        if let Some(https) = &settings.https
            && let Err(rejection) = https.judge(&settings.address, request)
        {
            return self.reject(request, rejection);
        }
        let (key, spot) = match settings.sources().find(request.headers(), request.uri()) {
            Ok(found) => found,
            Err(none) => return self.decide_without_key(request, none),
        };
        if let Some(beside) = spot.beside()
            && beside.is_protocol
            && !websocket::is_handshake(request)
        {
            return self.reject(request, Rejection::missing_credential());
        }
        let client = settings.address.client(request.headers(), request.extensions());
        let malformed = || match settings.sources().are_several(key.as_bytes()) {
            true => RejectionKind::MultipleCredentials,
            false => RejectionKind::MalformedKey,
        };
        let presented = PresentedKey::from_client(key.as_bytes(), client);
        let presented = presented.needing(settings.scope.as_ref(), settings.environment.as_deref());
        let checked = self.authenticator.start(presented, malformed);
        drop(key);
        if settings.sources().annotate() {
            self.annotate(request, spot.beside());
        }
        settings.hide_credentials(request, &spot);
        match checked {
            Ok(Ok(context)) => Verdict::Admitted(self.handle.admit(context, request)),
            Ok(Err(rejection)) => {
                self.handle.rejected(&rejection);
                Verdict::Rejected(rejection)
            }
            Err(check) => Verdict::Undecided(check),
        }
    }

    #[cold]
    fn decide_without_key<Q>(&self, request: &mut Request<Q>, reason: NoKey) -> Verdict {
        let settings = &self.handle.settings;
        let rejection = match reason {
            NoKey::Absent(rest) if settings.optional => {
                if rest.has_credentials {
                    settings.sources().mark(request.headers_mut());
                }
                Others::set(rest.has_others, request);
                return Verdict::Anonymous;
            }
            NoKey::Several => Rejection::multiple_credentials(),
            NoKey::Malformed => Rejection::malformed_credential(),
            NoKey::Absent(_) | NoKey::Unusable => Rejection::missing_credential(),
        };
        self.reject(request, rejection)
    }

    /// Puts what is known beside the key into the request's extensions, for the time after the check.
    #[cold]
    fn annotate<Q>(&self, request: &mut Request<Q>, beside: Option<&Beside>) {
        let sources = self.handle.settings.sources();
        Others::set(beside.is_some_and(|beside| beside.has_others), request);
        if beside.is_some_and(|beside| beside.is_protocol)
            && let Some(protocols) = sources.protocols(request)
        {
            request.extensions_mut().insert(protocols);
        }
    }

    /// Rejects a request without a check, which would have recorded the rejection.
    #[cold]
    fn reject<Q>(&self, request: &mut Request<Q>, rejection: Rejection) -> Verdict {
        let client = self
            .handle
            .settings
            .address
            .client(request.headers(), request.extensions());
        self.handle.record_refusal(&rejection, client);
        self.handle
            .settings
            .hide_credentials(request, &Spot::Anywhere(Box::default()));
        Verdict::Rejected(rejection)
    }
}

// By hand: a derive would require `S: Clone`.
impl<S> Clone for Shared<S> {
    fn clone(&self) -> Self {
        Self {
            authenticator: self.authenticator.clone(),
            handle: self.handle.clone(),
        }
    }
}
