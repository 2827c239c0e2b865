//! Why a request is rejected.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use crate::key::{KeyId, Lookup, OrganizationId, Scope};
use crate::limit::Limited;
use crate::store::Barrier;

/// When to retry after an answer that could not be had. The response adds jitter.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Why a request is rejected.
///
/// # Security
/// The kind is for logs, metrics and outer layers. Tell a client the [class](RejectionKind::class) at most: everything that
/// would reveal whether a key exists has one class.
#[derive(Clone, Debug, thiserror::Error)]
#[error("request rejected: {}", .kind.as_str())]
#[must_use]
pub struct Rejection {
    kind: RejectionKind,
    retry_after: Option<Duration>,
    detail: Option<Box<Detail>>,
}

#[derive(Clone, Debug, Default)]
struct Detail {
    limited: Option<Limited>,
    scopes: Box<[Scope]>,
    any_scope_suffices: bool,
    in_clear: bool,
    lookup: Option<Lookup>,
    key_places: Option<Arc<str>>,
    // Set once the secret was verified.
    key: Option<(KeyId, OrganizationId)>,
    user: Option<Box<str>>,
    /// What the layer that is to answer needs. Its type belongs to a higher floor.
    attachment: Option<Arc<dyn Any + Send + Sync>>,
}

/// The reason of a [`Rejection`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RejectionKind {
    /// The request carries no key.
    MissingCredential,
    /// The request carries more than one key.
    MultipleCredentials,
    /// The key has none of the configured formats.
    MalformedKey,
    /// No record has this lookup.
    UnknownKey,
    /// The lookup exists, but its secret is another one.
    WrongSecret,
    /// The key is disabled.
    KeyDisabled,
    /// The key is revoked.
    KeyRevoked,
    /// The key, or this secret of it, has expired.
    KeyExpired,
    /// The organization that owns the key is inactive.
    OrganizationInactive,
    /// The user that the key acts for is disabled.
    UserDisabled,
    /// The key is a canary, which opens nothing: its user has found it where it was planted.
    CanaryUsed,
    /// The key is of another environment than the one that is [taken](crate::ApiKeyLayer::only_environment), such as `test`
    /// instead of `live`.
    EnvironmentNotAllowed,
    /// The key may not be used from this address, or the address is unknown.
    NetworkNotAllowed,
    /// The key lacks a scope.
    InsufficientScope,
    /// The request did not come over HTTPS, as far as trusted proxies tell.
    InsecureTransport,
    /// A limit of the key or of its organization is exhausted.
    RateLimited,
    /// Too many wrong keys came from this address while the service was under pressure.
    TooManyFailures,
    /// Too many keys are being verified.
    Busy,
    /// The store failed or took too long.
    StoreUnavailable,
    /// The record kept changing while it was read, or what was read is older than a known change.
    NotConfirmed,
    /// The record is invalid: its hash has an unknown scheme or parameters beyond the caps.
    InvalidRecord,
    /// The record requires a feature that this version does not know: a newer one has stored it.
    UnknownFeature,
    /// The limiter could not decide.
    LimiterUnavailable,
    /// A layer that needs a checked request is not inside an [`ApiKeyLayer`](crate::ApiKeyLayer): a mistake in the service.
    MissingLayer,
    /// A handler [requires](crate::AuthContext::require) a scope that is not valid: a mistake in the service.
    InvalidScope,
}

/// What a client may be told of a [`Rejection`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RejectionClass {
    /// 401 without an error code: the client sent no key.
    MissingCredential,
    /// 401: the key is not valid, for whatever reason.
    InvalidCredential,
    /// 400: the client sent more than one key.
    MultipleCredentials,
    /// 403: the key is valid, but not for this request.
    Forbidden,
    /// 429: the client must slow down.
    TooManyRequests,
    /// 503: the client should retry later.
    Unavailable,
    /// 500: the service is misconfigured.
    Misconfigured,
}

impl RejectionKind {
    /// The name of the security event that such a rejection is, in the field `security` of its log line; `None` for one that is
    /// part of ordinary business.
    pub const fn security_event(self) -> Option<&'static str> {
        match self {
            Self::WrongSecret => Some("wrong_secret"),
            Self::KeyRevoked => Some("revoked_key_used"),
            Self::KeyDisabled => Some("disabled_key_used"),
            Self::KeyExpired => Some("expired_key_used"),
            Self::CanaryUsed => Some("canary_used"),
            Self::NetworkNotAllowed => Some("network_refused"),
            Self::TooManyFailures => Some("failure_budget_reached"),
            Self::Busy => Some("queue_shed"),
            _ => None,
        }
    }

    /// Why a key is rejected that this keeps from opening.
    pub(crate) const fn of_barrier(barrier: Barrier) -> Self {
        match barrier {
            Barrier::UnknownFeature => Self::UnknownFeature,
            Barrier::Canary => Self::CanaryUsed,
            Barrier::Revoked => Self::KeyRevoked,
            Barrier::Disabled => Self::KeyDisabled,
            Barrier::OrganizationInactive => Self::OrganizationInactive,
            Barrier::UserDisabled => Self::UserDisabled,
        }
    }

    /// What a client may be told.
    pub const fn class(self) -> RejectionClass {
        match self {
            Self::MissingCredential => RejectionClass::MissingCredential,
            Self::MultipleCredentials => RejectionClass::MultipleCredentials,
            Self::MalformedKey
            | Self::UnknownKey
            | Self::WrongSecret
            | Self::KeyDisabled
            | Self::KeyRevoked
            | Self::KeyExpired
            | Self::OrganizationInactive
            | Self::UserDisabled
            | Self::CanaryUsed
            | Self::EnvironmentNotAllowed => RejectionClass::InvalidCredential,
            Self::NetworkNotAllowed | Self::InsufficientScope | Self::InsecureTransport => RejectionClass::Forbidden,
            Self::RateLimited | Self::TooManyFailures => RejectionClass::TooManyRequests,
            Self::Busy
            | Self::StoreUnavailable
            | Self::NotConfirmed
            | Self::InvalidRecord
            | Self::UnknownFeature
            | Self::LimiterUnavailable => RejectionClass::Unavailable,
            Self::MissingLayer | Self::InvalidScope => RejectionClass::Misconfigured,
        }
    }

    /// A stable name for logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MissingCredential => "missing_credential",
            Self::MultipleCredentials => "multiple_credentials",
            Self::MalformedKey => "malformed_key",
            Self::UnknownKey => "unknown_key",
            Self::WrongSecret => "wrong_secret",
            Self::KeyDisabled => "key_disabled",
            Self::KeyRevoked => "key_revoked",
            Self::KeyExpired => "key_expired",
            Self::OrganizationInactive => "organization_inactive",
            Self::UserDisabled => "user_disabled",
            Self::CanaryUsed => "canary_used",
            Self::UnknownFeature => "unknown_feature",
            Self::EnvironmentNotAllowed => "environment_not_allowed",
            Self::NetworkNotAllowed => "network_not_allowed",
            Self::InsufficientScope => "insufficient_scope",
            Self::InsecureTransport => "insecure_transport",
            Self::RateLimited => "rate_limited",
            Self::TooManyFailures => "too_many_failures",
            Self::Busy => "busy",
            Self::StoreUnavailable => "store_unavailable",
            Self::NotConfirmed => "not_confirmed",
            Self::InvalidRecord => "invalid_record",
            Self::LimiterUnavailable => "limiter_unavailable",
            Self::MissingLayer => "missing_layer",
            Self::InvalidScope => "invalid_scope",
        }
    }
}

impl Rejection {
    pub(crate) fn new(kind: RejectionKind) -> Self {
        Self {
            kind,
            retry_after: None,
            detail: None,
        }
    }

    pub(crate) fn with_retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    pub(crate) fn limited(limited: Limited) -> Self {
        let mut rejection = Self::new(RejectionKind::RateLimited).with_retry_after(limited.retry_after);
        rejection.detail_mut().limited = Some(limited);
        rejection
    }

    /// The key lacks all of these scopes, where any of them suffices, or else at least one.
    pub(crate) fn insufficient_scope(scopes: Box<[Scope]>, any_suffices: bool) -> Self {
        let mut rejection = Self::new(RejectionKind::InsufficientScope);
        let detail = rejection.detail_mut();
        detail.scopes = scopes;
        detail.any_scope_suffices = any_suffices;
        rejection
    }

    /// The request certainly came in clear, so that its key may have been read on the way.
    pub(crate) fn in_clear(mut self) -> Self {
        self.detail_mut().in_clear = true;
        self
    }

    pub(crate) fn is_in_clear(&self) -> bool {
        self.detail.as_deref().is_some_and(|detail| detail.in_clear)
    }

    pub(crate) fn of_key(mut self, key: KeyId, organization: OrganizationId, user: Option<&str>) -> Self {
        let detail = self.detail_mut();
        (detail.key, detail.user) = (Some((key, organization)), user.map(Into::into));
        self
    }

    pub(crate) fn with_lookup(mut self, lookup: Lookup) -> Self {
        self.detail_mut().lookup = Some(lookup);
        self
    }

    /// A sentence that says where the client can put its key.
    pub(crate) fn with_key_places(mut self, sentence: Arc<str>) -> Self {
        self.detail_mut().key_places = Some(sentence);
        self
    }

    pub(crate) fn key_places(&self) -> Option<&str> {
        self.detail.as_deref()?.key_places.as_deref()
    }

    /// Attaches what the layer that is to answer needs.
    pub(crate) fn attach(&mut self, attachment: Arc<dyn Any + Send + Sync>) {
        self.detail_mut().attachment = Some(attachment);
    }

    /// Takes what was attached, if it is a `T`.
    #[cfg(feature = "axum")]
    pub(crate) fn detach<T: Send + Sync + 'static>(&mut self) -> Option<Arc<T>> {
        let attachment = self.detail.as_deref_mut()?.attachment.take();
        attachment?.downcast().ok()
    }

    fn detail_mut(&mut self) -> &mut Detail {
        self.detail.get_or_insert_default()
    }

    /// The reason.
    pub fn kind(&self) -> RejectionKind {
        self.kind
    }

    /// How long the client should wait, for the classes 429 and 503.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The limits and their states, if one of them is exhausted.
    pub fn limits(&self) -> Option<&Limited> {
        self.detail.as_deref()?.limited.as_ref()
    }

    /// The scopes that were required, when the key lacks them.
    pub fn required_scopes(&self) -> &[Scope] {
        self.detail.as_deref().map_or(&[], |detail| &detail.scopes)
    }

    /// Whether any one of the [required scopes](Self::required_scopes) would have sufficed, instead of all of them.
    pub fn any_scope_suffices(&self) -> bool {
        self.detail.as_deref().is_some_and(|detail| detail.any_scope_suffices)
    }

    /// The key, once its secret was verified; never set before.
    pub fn key_id(&self) -> Option<KeyId> {
        Some(self.detail.as_deref()?.key?.0)
    }

    /// The organization, once the secret was verified; never set before.
    pub fn organization_id(&self) -> Option<OrganizationId> {
        Some(self.detail.as_deref()?.key?.1)
    }

    /// The user that the key acts for, once the secret was verified; never set before.
    pub fn user(&self) -> Option<&str> {
        self.detail.as_deref()?.user.as_deref()
    }

    /// The lookup of the presented key, once its format was valid.
    pub fn lookup(&self) -> Option<&Lookup> {
        self.detail.as_deref()?.lookup.as_ref()
    }
}
