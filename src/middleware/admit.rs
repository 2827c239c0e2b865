//! Whether a request is admitted at once, and what that leaves in it.

use http::Request;

use super::credential::Found;
use super::layer::Shared;
use super::success::SuccessFields;
use crate::check::{Attempt, OwnedAttempt, Rejection, RejectionKind};
use crate::store::KeyStore;

/// Why a request is not admitted at once. If it has a credential, that is hidden all the same.
pub(super) enum Unadmitted {
    /// It has none, and needs none.
    Anonymous,
    Refused(Rejection),
    /// Somebody has to be asked. The same attempt goes on: it knows whether its limits were charged already.
    Undecided(Box<OwnedAttempt>),
}

impl<S: KeyStore> Shared<S> {
    /// Checks the key of a request if it can be done without waiting. An admitted request has its context then, and what its
    /// answer is to be told is given back.
    ///
    /// The context goes straight from the check into the request's extensions: it is large enough that every further move
    /// shows in what a request costs. Not inlined, so that its stack is not the inner service's as well.
    #[inline(never)]
    pub(super) fn admit<Q>(&self, request: &mut Request<Q>) -> Result<Option<SuccessFields>, Unadmitted> {
        let settings = &*self.settings;
        let (key, spot) = match settings.sources.find(request.headers(), request.uri()) {
            Found::One(key, spot) => (key, spot),
            Found::Nothing if settings.optional => return Err(Unadmitted::Anonymous),
            Found::Nothing => return self.refuse_unchecked(request, RejectionKind::MissingCredential),
            Found::Several => return self.refuse_unchecked(request, RejectionKind::MultipleCredentials),
            Found::Malformed => return self.refuse_unchecked(request, RejectionKind::MalformedKey),
        };
        let client = settings.address.client(request.headers(), request.extensions());
        let attempt = Attempt::from_client(key.as_bytes(), client);
        let decided = self.authenticator.try_check(&attempt);
        let context = match decided {
            Some(Ok(context)) => context,
            other => {
                let unadmitted = unadmitted(other, attempt);
                drop(key);
                settings.hide_credentials(request, Some(spot));
                return Err(unadmitted);
            }
        };
        drop(attempt);
        drop(key);
        settings.hide_credentials(request, Some(spot));
        let fields = SuccessFields::admitted(settings.success, settings.vary.as_ref(), &context);
        request.extensions_mut().insert(context);
        Ok(fields)
    }

    /// A refusal that no check decided; those record their own.
    #[cold]
    fn refuse_unchecked<Q>(
        &self,
        request: &mut Request<Q>,
        kind: RejectionKind,
    ) -> Result<Option<SuccessFields>, Unadmitted> {
        let rejection = Rejection::new(kind);
        let client = self.settings.address.client(request.headers(), request.extensions());
        self.authenticator.record_refusal(&rejection, client);
        self.settings.hide_credentials(request, None);
        Err(Unadmitted::Refused(rejection))
    }
}

#[cold]
fn unadmitted<T>(decided: Option<Result<T, Rejection>>, attempt: Attempt<'_>) -> Unadmitted {
    match decided {
        Some(Err(rejection)) => Unadmitted::Refused(rejection),
        _ => Unadmitted::Undecided(Box::new(attempt.into_owned())),
    }
}
