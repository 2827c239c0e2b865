//! Where in a request a key may be.

use std::fmt;

use http::header::{AUTHORIZATION, COOKIE, HOST, HeaderName, PROXY_AUTHORIZATION};

use crate::error::ConfigError;

/// A place in the request where clients put their key.
///
/// The layer looks into every configured place of every request: a key in two of them is refused, because which one
/// counts would depend on who looks.
///
/// ```
/// use tower_api_key::KeySource;
///
/// let sources = [KeySource::bearer(), KeySource::header("x-gomaluum-key")?];
/// assert_eq!(sources[0].to_string(), "Authorization: Bearer");
/// assert!(KeySource::header("authorization").is_err());
/// # Ok::<_, tower_api_key::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySource(Place);

/// The scheme of nearly every client (RFC 6750, section 2.1).
pub(super) const BEARER: &str = "Bearer";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Scheme { name: Box<str>, basic: bool },
    Header(HeaderName),
    Parameter(Box<str>),
}

impl KeySource {
    /// `Authorization: Bearer <key>` (RFC 6750, section 2.1). One of the two defaults.
    pub fn bearer() -> Self {
        Self(Place::Scheme {
            name: BEARER.into(),
            basic: false,
        })
    }

    /// `Authorization: <scheme> <key>`, such as `ApiKey`. Schemes are compared without regard to case.
    ///
    /// # Errors
    /// When the scheme is no token (RFC 9110, section 11.1), so that no request could ever name it, or is `Basic`,
    /// whose value is encoded: take [`basic`](Self::basic).
    pub fn authorization(scheme: &str) -> Result<Self, ConfigError> {
        if scheme.is_empty() || !scheme.bytes().all(is_token) {
            let problem = format!("authorization scheme {scheme:?} is not a token such as `ApiKey`");
            return Err(ConfigError::new("key source", problem));
        }
        if scheme.eq_ignore_ascii_case("basic") {
            return Err(ConfigError::new("key source", "use `KeySource::basic()`"));
        }
        Ok(Self(Place::Scheme {
            name: scheme.into(),
            basic: false,
        }))
    }

    /// `Authorization: Basic base64(<key>:)` (RFC 7617): the key as user name, without a password, as
    /// `curl --user <key>:` sends it.
    ///
    /// A value that is not base64, or has a password, is refused like any malformed key.
    pub fn basic() -> Self {
        Self(Place::Scheme {
            name: "Basic".into(),
            basic: true,
        })
    }

    /// A header whose whole value is the key, such as `x-api-key`. The other of the two defaults.
    ///
    /// # Errors
    /// When this is no header name, or one whose value is more than a key (`authorization`, `cookie`, `host`): taking
    /// the key out of the request would take the rest with it.
    pub fn header(name: &str) -> Result<Self, ConfigError> {
        let name = HeaderName::try_from(name)
            .map_err(|_| ConfigError::new("key source", format!("{name:?} is not a header name")))?;
        if [AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE, HOST].contains(&name) {
            let problem = format!("the value of `{name}` is more than a key; for schemes use `authorization()`");
            return Err(ConfigError::new("key source", problem));
        }
        Ok(Self(Place::Header(name)))
    }

    /// A parameter in the query of the URI, such as `api_key`.
    ///
    /// Only for clients that cannot send a header. The parameter is taken out of the request's URI before inner
    /// services see it; other parameters and their order stay.
    ///
    /// # Security
    /// URIs end up in logs of proxies, in browser histories and in `Referer` headers, where this crate cannot reach
    /// them. Inside the process, put the layer outside an axum `Router`: the router keeps the URI it was called with
    /// in an `OriginalUri` extension, and layers that log requests must stand inside this one.
    ///
    /// # Errors
    /// When the name is empty or holds anything but letters, digits, `-`, `_`, `.` and `~`.
    pub fn dangerous_query_parameter(name: &str) -> Result<Self, ConfigError> {
        let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_.~".contains(&b);
        if name.is_empty() || !name.bytes().all(fits) {
            let problem = format!("query parameter {name:?} must be letters, digits, `-`, `_`, `.` or `~`");
            return Err(ConfigError::new("key source", problem));
        }
        Ok(Self(Place::Parameter(name.into())))
    }

    pub(super) fn place(&self) -> &Place {
        &self.0
    }

    /// Whether a key could be found at both by looking at one spot.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Place::Scheme { name, .. }, Place::Scheme { name: other, .. }) => name.eq_ignore_ascii_case(other),
            (one, other) => one == other,
        }
    }
}

impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Scheme { name, .. } => write!(f, "Authorization: {name}"),
            Place::Header(name) => write!(f, "header {name}"),
            Place::Parameter(name) => write!(f, "query parameter {name}"),
        }
    }
}

/// RFC 9110, section 5.6.2.
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_that_could_never_match_are_refused_where_they_are_set() {
        for bad in ["", "Api Key", "Api:Key", "ApiKé", "basic"] {
            assert!(KeySource::authorization(bad).is_err(), "{bad:?}");
        }
        for bad in ["", "x api key", "Authorization", "cookie", "host", "x-é"] {
            assert!(KeySource::header(bad).is_err(), "{bad:?}");
        }
        for bad in ["", "a=b", "a&b", "a%20", "schlüssel"] {
            assert!(KeySource::dangerous_query_parameter(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn schemes_overlap_without_regard_to_case() {
        let one = KeySource::authorization("ApiKey").unwrap();
        assert!(one.overlaps(&KeySource::authorization("APIKEY").unwrap()));
        assert!(!one.overlaps(&KeySource::bearer()));
    }
}
