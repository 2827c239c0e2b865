//! Where traces are sent.

use std::fmt;
use std::str::FromStr;

use http::Uri;

use crate::error::ParseError;

/// The URL of a collector that takes traces by OTLP over HTTP, such as `http://127.0.0.1:4318`.
///
/// It has neither credentials nor a query: it is in logs and, as an argument, visible to everyone on the machine.
///
/// ```
/// use tower_api_key::config::OtlpEndpoint;
///
/// let endpoint: OtlpEndpoint = "https://otlp.example.com:4318".parse()?;
/// assert_eq!(endpoint.traces(), "https://otlp.example.com:4318/v1/traces");
/// assert!("https://alice:secret@otlp.example.com".parse::<OtlpEndpoint>().is_err());
/// # Ok::<_, tower_api_key::ParseError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtlpEndpoint(String);

impl OtlpEndpoint {
    /// The URL that traces go to: this one with `/v1/traces` at its end, as the protocol has it.
    pub fn traces(&self) -> String {
        match self.0.ends_with(TRACES) {
            true => self.0.clone(),
            false => format!("{}{TRACES}", self.0),
        }
    }
}

impl FromStr for OtlpEndpoint {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let refuse = |problem: &'static str| Err(ParseError::new("OTLP endpoint", problem));
        let Ok(uri) = text.parse::<Uri>() else {
            return refuse(FORM);
        };
        let (Some("http" | "https"), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return refuse(FORM);
        };
        if authority.as_str().contains('@') {
            return refuse(
                "must have no user name and no password, which others see: put credentials into the variable OTEL_EXPORTER_OTLP_HEADERS",
            );
        }
        if authority.host().is_empty() {
            return refuse(FORM);
        }
        if uri.query().is_some() {
            return refuse("must have no query: put credentials into the variable OTEL_EXPORTER_OTLP_HEADERS");
        }
        Ok(Self(uri.to_string().trim_end_matches('/').to_owned()))
    }
}

impl fmt::Display for OtlpEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text itself is not shown: it may have a password.
const FORM: &str = "must be a URL of a collector that takes OTLP over HTTP, such as http://127.0.0.1:4318";
const TRACES: &str = "/v1/traces";
