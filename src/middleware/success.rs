//! What an answer is told besides its own words when the request was admitted.

use std::time::Duration;

use http::header::{CACHE_CONTROL, HeaderMap, HeaderName, HeaderValue};

use super::rate_limit;
use super::vary::{self, Vary};
use crate::check::AuthContext;
use crate::key::Timestamp;

static EXPIRES: HeaderName = HeaderName::from_static("api-key-expires");

/// How long before its end a key is told so.
const NOTICE: Duration = Duration::from_secs(7 * 86_400);

/// When admitted responses carry the rate-limit fields.
///
/// ```
/// use tower_api_key::middleware::RateLimitFields;
///
/// assert_eq!(RateLimitFields::default(), RateLimitFields::Always);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RateLimitFields {
    /// Whenever the key or its organization has a limit.
    #[default]
    Always,
    /// When one of the limits has at most a tenth of its burst left.
    NearExhaustion,
    /// Never; refusals for a limit carry them all the same.
    Never,
}

/// Which fields are wanted. Small and `Copy`, since every response in flight carries one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SuccessOptions {
    pub(super) rate_limit: RateLimitFields,
    pub(super) legacy_rate_limit: bool,
    pub(super) expires: bool,
    pub(super) vary: bool,
    pub(super) private: bool,
}

impl Default for SuccessOptions {
    fn default() -> Self {
        Self {
            rate_limit: RateLimitFields::Always,
            legacy_rate_limit: false,
            expires: true,
            vary: true,
            private: true,
        }
    }
}

impl SuccessOptions {
    pub(super) const NONE: Self = Self {
        rate_limit: RateLimitFields::Never,
        legacy_rate_limit: false,
        expires: false,
        vary: false,
        private: false,
    };
}

/// What is to be written when the inner service has answered. Small, for the future of every response holds one and is
/// moved about before it is polled.
pub(super) struct SuccessFields {
    vary: Option<Vary>,
    private: bool,
    rate_limit: Option<Box<rate_limit::Fields>>,
    expires: Option<Timestamp>,
}

const _: () = assert!(size_of::<Option<SuccessFields>>() <= 48);

impl SuccessFields {
    /// For a request without a key, whose answer all the same depends on there being none.
    pub(super) fn anonymous(options: SuccessOptions, vary: Option<&Vary>) -> Option<Self> {
        Some(Self {
            vary: Some(vary.filter(|_| options.vary)?.clone()),
            private: false,
            rate_limit: None,
            expires: None,
        })
    }

    /// For an admitted request. The rate-limit fields are made here already, because the context goes on to the handler:
    /// a copy for later would cost a counter that all requests of the key share.
    #[inline]
    pub(super) fn admitted(options: SuccessOptions, vary: Option<&Vary>, context: &AuthContext) -> Option<Self> {
        if options == SuccessOptions::NONE {
            return None;
        }
        Some(Self::wanted(options, vary, context))
    }

    #[inline(never)]
    fn wanted(options: SuccessOptions, vary: Option<&Vary>, context: &AuthContext) -> Self {
        let tells_limits = match options.rate_limit {
            RateLimitFields::Never => false,
            RateLimitFields::Always => true,
            RateLimitFields::NearExhaustion => rate_limit::is_near_exhaustion(context.allowance()),
        };
        let mut fields = Self {
            vary: vary.filter(|_| options.vary).cloned(),
            private: options.private,
            rate_limit: None,
            expires: match context.expires_at() {
                Some(end) if options.expires && is_near(context) => Some(end),
                _ => None,
            },
        };
        if tells_limits && context.allowance().len() > 0 {
            fields.rate_limit = rate_limit::Fields::new(context.allowance()).map(Box::new);
        }
        if options.legacy_rate_limit
            && let Some(rate_limit) = &mut fields.rate_limit
        {
            rate_limit.add_legacy(context.allowance());
        }
        fields
    }

    /// Writes the fields into an answer.
    #[inline(never)]
    pub(super) fn write(&mut self, headers: &mut HeaderMap) {
        if let Some(vary) = self.vary.take() {
            vary::merge(headers, &vary);
        }
        if self.private {
            // `Authorization` keeps shared caches away by itself (RFC 9111, section 3.5); a header of one's own does not.
            // Not through `entry`, which takes longer: nearly every answer lacks the field, and many have none at all.
            if !headers.contains_key(CACHE_CONTROL) {
                headers.insert(CACHE_CONTROL, HeaderValue::from_static("private"));
            }
        }
        if let Some(rate_limit) = self.rate_limit.take() {
            rate_limit.write(headers);
        }
        if let Some(end) = self.expires
            && let Ok(value) = HeaderValue::try_from(end.to_string())
        {
            headers.insert(&EXPIRES, value);
        }
    }
}

/// A superseded secret is near its end however long its grace is: somebody has to change a configuration.
/// By the clock that ends the key: the system's may be set back, or be another one than the authenticator's.
fn is_near(context: &AuthContext) -> bool {
    context.is_superseded() || context.ends_within(NOTICE)
}
