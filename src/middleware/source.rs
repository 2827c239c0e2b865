//! Where clients put their key.

use std::fmt;

use http::header::HeaderName;

use super::syntax::is_token;
use crate::error::{ConfigError, quoted};

/// A place in the request where clients put their key.
///
/// The layer reads every configured source of every request. A request with keys in two of them is refused, because
/// software on the way could disagree about which one counts.
///
/// ```
/// use tower_api_key::KeySource;
///
/// let sources = [KeySource::bearer(), KeySource::header("x-my-key")?];
/// assert_eq!(sources[0].to_string(), "Authorization: Bearer");
/// assert!(KeySource::header("authorization").is_err());
/// # Ok::<_, tower_api_key::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySource {
    place: Place,
    others: OthersRule,
    has_challenge: bool,
}

/// What happens to a value that is no key of this service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OthersRule {
    /// It is refused as a wrong key.
    Refused,
    /// It stays in the request, which must have no key besides.
    Left,
    /// It stays in the request.
    Together,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Scheme {
        name: Box<str>,
        form: Form,
    },
    Header(HeaderName),
    Parameter(Box<str>),
    /// The marker in front of the key.
    Protocol(Box<str>),
}

/// How credentials of a scheme hold the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Plain,
    BasicUser,
    BasicPassword,
}

impl KeySource {
    /// `Authorization: Bearer <key>` (RFC 6750, section 2.1). One of the two defaults.
    pub fn bearer() -> Self {
        Self::at(Place::Scheme {
            name: "Bearer".into(),
            form: Form::Plain,
        })
    }

    /// `Authorization: <scheme> <key>`, for example with scheme `ApiKey`. Schemes are case-insensitive.
    ///
    /// # Errors
    /// If the scheme is not a token (RFC 9110, section 11.1), or is `Basic`, whose credentials are encoded: use
    /// [`basic`](Self::basic).
    pub fn authorization(scheme: &str) -> Result<Self, ConfigError> {
        if scheme.is_empty() || !scheme.bytes().all(is_token) {
            let problem = format!(
                "authorization scheme must be a token such as `ApiKey`, got {}",
                quoted(scheme)
            );
            return Err(ConfigError::new("key source", problem));
        }
        if scheme.eq_ignore_ascii_case("basic") {
            return Err(ConfigError::new(
                "key source",
                "scheme Basic is encoded; use `KeySource::basic()`",
            ));
        }
        Ok(Self::at(Place::Scheme {
            name: scheme.into(),
            form: Form::Plain,
        }))
    }

    /// `Authorization: Basic base64(<key>:)` (RFC 7617): the key as the user name, without a password. This is what
    /// `curl --user <key>:` sends. The usual placeholders `x` and `x-oauth-basic` are accepted as passwords.
    ///
    /// Credentials that are not base64, or have another password, are refused as a malformed key. Two keys, one as the user
    /// name and one as the password, are refused with 400.
    ///
    /// # Security
    /// Servers and proxies write user names into their access logs. Prefer [`basic_password`](Self::basic_password).
    pub fn basic() -> Self {
        Self::at(Place::Scheme {
            name: "Basic".into(),
            form: Form::BasicUser,
        })
    }

    /// `Authorization: Basic base64(<user>:<key>)` (RFC 7617): the key as the password, for package managers and git, which
    /// ask for a user name: `__token__`, `x`, or any other that is no key. It is not looked at. git sends them only when it is
    /// asked to, see [`challenge`](Self::challenge).
    ///
    /// Credentials that are not base64 are refused as a malformed key. Two keys, one as the user name and one as the
    /// password, are refused with 400.
    ///
    /// ```
    /// use tower_api_key::store::MemoryStore;
    /// use tower_api_key::{ApiKeyLayer, KeySource};
    ///
    /// let layer = ApiKeyLayer::new(MemoryStore::new()).source(KeySource::basic_password())?;
    /// # let _ = layer;
    /// # Ok::<_, tower_api_key::ConfigError>(())
    /// ```
    pub fn basic_password() -> Self {
        Self::at(Place::Scheme {
            name: "Basic".into(),
            form: Form::BasicPassword,
        })
    }

    /// Asks for Basic credentials in the challenge of a refusal, `WWW-Authenticate: Basic`. By default only the other schemes
    /// are asked for.
    ///
    /// # Security
    /// A browser that is asked shows a login form, keeps what was entered, and sends it with every request from then on, those
    /// that other sites cause included. Protect state-changing routes against cross-site requests then.
    #[must_use]
    pub fn challenge(mut self) -> Self {
        self.has_challenge = true;
        self
    }

    /// A key among the subprotocols of a WebSocket, behind this marker: `Sec-WebSocket-Protocol: chat, api-key, <key>`. For
    /// browsers, which let a page set nothing else: `new WebSocket(url, ["chat", "api-key", key])`.
    ///
    /// The key may also be joined to the marker by a dot, as pages do that use OpenAI's realtime API:
    /// `["realtime", "openai-insecure-api-key." + key]`.
    ///
    /// Marker and key are taken out of the list, and the rest stays. A response that opens the WebSocket names the protocol
    /// that the handler chose among the rest, or else the marker, because a browser expects one of those that it sent. A
    /// marker with the key joined to it is never named: the first of the rest is. Offer another protocol beside it.
    ///
    /// Only requests that open a WebSocket are read. In any other request, a key in this header counts as one in a second
    /// place.
    ///
    /// # Errors
    /// If the marker is not a token (RFC 9110, section 5.6.2) of at most 64 characters.
    pub fn websocket_protocol(marker: &str) -> Result<Self, ConfigError> {
        if marker.is_empty() || marker.len() > LONGEST_MARKER || !marker.bytes().all(is_token) {
            let problem = format!(
                "protocol must be a token of at most {LONGEST_MARKER} characters such as `api-key`, got {}",
                quoted(marker)
            );
            return Err(ConfigError::new("key source", problem));
        }
        Ok(Self::at(Place::Protocol(marker.into())))
    }

    /// A header whose whole value is the key, such as `x-api-key`. One of the two defaults.
    ///
    /// # Errors
    /// If it is not a header name, or if HTTP, browsers or proxies give the header another meaning (such as `authorization`,
    /// `cookie`, `content-length` and `sec-websocket-protocol`): removing the key from the request would remove that too.
    pub fn header(name: &str) -> Result<Self, ConfigError> {
        let name = HeaderName::try_from(name)
            .map_err(|_| ConfigError::new("key source", format!("must be a header name, got {}", quoted(name))))?;
        let advice = match name.as_str() {
            "authorization" => "; for a scheme use `KeySource::authorization`",
            "sec-websocket-protocol" => "; for a key among protocols use `KeySource::websocket_protocol`",
            other if OTHER_MEANING.contains(&other) || other.starts_with("sec-websocket-") => "",
            _ => return Ok(Self::at(Place::Header(name))),
        };
        let problem = format!("header `{name}` holds something else than a key{advice}");
        Err(ConfigError::new("key source", problem))
    }

    /// A parameter in the query of the URI, such as `api_key`.
    ///
    /// Only for clients that cannot send a header. The layer removes the parameter from the URI before inner services
    /// see it; other parameters stay, in their order.
    ///
    /// # Security
    /// URIs end up in proxy logs, browser histories and `Referer` headers, out of this crate's reach. Inside the process,
    /// put the layer around the whole axum `Router`, because a router keeps the original URI in an `OriginalUri`
    /// extension. Put layers that log requests inside this one.
    ///
    /// # Errors
    /// If the name is empty or has characters other than letters, digits, `-`, `_`, `.` and `~`.
    pub fn dangerous_query_parameter(name: &str) -> Result<Self, ConfigError> {
        let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_.~".contains(&b);
        if name.is_empty() || !name.bytes().all(fits) {
            let problem = format!(
                "query parameter must be letters, digits, `-`, `_`, `.` or `~`, got {}",
                quoted(name)
            );
            return Err(ConfigError::new("key source", problem));
        }
        Ok(Self::at(Place::Parameter(name.into())))
    }

    /// Leaves values that are no keys of this service in the request. For keys beside other tokens in one scheme of
    /// `Authorization`: users' JWTs, say, which the service verifies itself.
    ///
    /// A value is left if it does not start as keys do, with the constant text of a format (`acme_`). It counts as absent, so
    /// an [optional](crate::ApiKeyLayer::optional) layer passes the request on, with the value marked sensitive and
    /// [`Others`](crate::Others) among the extensions. It is never counted as a wrong key.
    ///
    /// What was meant to be a key is not left: a key in another case, in quotes or brackets, escaped, or with its scheme
    /// twice. It would end up in the logs of code that expects a JWT.
    ///
    /// A key and a left value in one request are refused with 400, unless they may come [together](Self::together).
    ///
    /// [`ApiKeyLayer::sources`](crate::ApiKeyLayer::sources) returns an error if the source is Basic or no scheme of
    /// `Authorization`, or if keys of an accepted format start with fewer than three constant characters.
    ///
    /// ```
    /// use tower_api_key::key::KeyFormat;
    /// use tower_api_key::store::MemoryStore;
    /// use tower_api_key::{ApiKeyLayer, Authenticator, KeySource};
    ///
    /// let layer = |format| {
    ///     let authenticator = Authenticator::builder(MemoryStore::new()).formats(format).build();
    ///     ApiKeyLayer::from(authenticator).optional().sources([KeySource::bearer().leave_others()])
    /// };
    /// assert!(layer(KeyFormat::new("acme")?).is_ok());
    /// assert!(layer(KeyFormat::bare_hex()).is_err(), "any token could be a key of this format");
    /// # Ok::<_, tower_api_key::ConfigError>(())
    /// ```
    #[must_use]
    pub fn leave_others(mut self) -> Self {
        self.others = OthersRule::Left;
        self
    }

    /// Leaves other values as [`leave_others`](Self::leave_others) does, and admits a request that has a key as well, in a
    /// line of its own. [`AuthContext::is_beside_others`](crate::AuthContext::is_beside_others) tells handlers.
    ///
    /// # Security
    /// Such a request has two principals. If one part of a handler asks the key and another part the other token, a client
    /// can do with one what only the other allows.
    #[must_use]
    pub fn together(mut self) -> Self {
        self.others = OthersRule::Together;
        self
    }

    fn at(place: Place) -> Self {
        Self {
            place,
            others: OthersRule::Refused,
            has_challenge: false,
        }
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    pub(super) fn others(&self) -> OthersRule {
        self.others
    }

    /// Whether values that are no keys can be told apart and left alone here.
    pub(super) fn can_leave_others(&self) -> bool {
        matches!(self.place, Place::Scheme { form: Form::Plain, .. })
    }

    /// The scheme that challenges ask for.
    pub(super) fn challenged_scheme(&self) -> Option<&str> {
        match &self.place {
            Place::Scheme { name, form } if *form == Form::Plain || self.has_challenge => Some(name),
            _ => None,
        }
    }

    /// Whether one value could be found by both.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        match (&self.place, &other.place) {
            (Place::Scheme { name, .. }, Place::Scheme { name: other, .. }) => name.eq_ignore_ascii_case(other),
            (Place::Protocol(_), Place::Protocol(_)) => true,
            (one, other) => one == other,
        }
    }
}

impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Scheme { name, .. } => write!(f, "Authorization: {name}"),
            Place::Header(name) => write!(f, "header {name}"),
            Place::Parameter(name) => write!(f, "query parameter {name}"),
            Place::Protocol(marker) => write!(f, "WebSocket protocol {marker}"),
        }
    }
}

const LONGEST_MARKER: usize = 64;

/// Headers that other software needs, and would miss if they were removed with the key.
const OTHER_MEANING: [&str; 19] = [
    "accept",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "origin",
    "proxy-authorization",
    "referer",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_that_can_never_match_are_config_errors() {
        for bad in ["", "Api Key", "Api:Key", "ApiKé", "basic"] {
            assert!(KeySource::authorization(bad).is_err(), "{bad:?}");
        }
        for bad in ["", "x api key", "Authorization", "cookie", "host", "x-é"] {
            assert!(KeySource::header(bad).is_err(), "{bad:?}");
        }
        for bad in ["", "api key", "a,b", "schlüssel", &"x".repeat(65)] {
            assert!(KeySource::websocket_protocol(bad).is_err(), "{bad:?}");
        }
        for bad in ["", "a=b", "a&b", "a%20", "schlüssel"] {
            assert!(KeySource::dangerous_query_parameter(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn schemes_overlap_whatever_their_case() {
        let one = KeySource::authorization("ApiKey").unwrap();
        assert!(one.overlaps(&KeySource::authorization("APIKEY").unwrap()));
        assert!(!one.overlaps(&KeySource::bearer()));
    }
}
