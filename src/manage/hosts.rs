//! By which names a router with logins is reached. A request for another name is not answered: a page whose name was pointed at this
//! server would be of the same origin as the API, and have the host's cookie.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, StatusCode, Uri};

use super::problem::Problem;
use crate::error::{ConfigError, quoted};

/// The names, and the origin of the service's own pages.
#[derive(Clone, Debug)]
pub(super) struct Hosts {
    scheme: String,
    public: Host,
    pub(super) others: Vec<Host>,
}

/// A name with a port, unless that is the one of HTTP or HTTPS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Host {
    name: String,
    port: Option<u16>,
}

impl Hosts {
    /// # Errors
    /// When it is no absolute URL of HTTP or HTTPS.
    pub(super) fn new(public_url: &str) -> Result<Self, ConfigError> {
        let invalid = || {
            let problem = format!(
                "must be an absolute URL such as https://app.example.com, got {}",
                quoted(public_url)
            );
            ConfigError::new("public_url", problem)
        };
        let url: Uri = public_url.parse().map_err(|_| invalid())?;
        let scheme = url.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https"));
        let host = url.authority().and_then(|authority| Host::read(authority.as_str()));
        match (scheme, host) {
            (Some(scheme), Some(public)) if url.query().is_none() => Ok(Self {
                scheme: scheme.to_owned(),
                public,
                others: Vec::new(),
            }),
            _ => Err(invalid()),
        }
    }

    fn has(&self, host: &Host) -> bool {
        *host == self.public || self.others.contains(host)
    }

    /// Whether this request is one of the service's own pages, as far as its browser says. Other clients say nothing.
    pub(super) fn admits_origin(&self, headers: &HeaderMap) -> bool {
        let mut sites = headers.get_all("sec-fetch-site").iter();
        let mut origins = headers.get_all(ORIGIN).iter();
        sites.all(|site| site == "same-origin")
            && origins.all(|origin| origin.to_str().is_ok_and(|origin| self.is_own(origin)))
    }

    fn is_own(&self, origin: &str) -> bool {
        let Some((scheme, host)) = origin.split_once("://") else {
            return false;
        };
        let Some(host) = Host::read(host) else { return false };
        (scheme == self.scheme && host == self.public) || self.others.contains(&host)
    }
}

impl Host {
    /// # Errors
    /// When it is no name of a host, with or without a port.
    pub(super) fn new(text: &str) -> Result<Self, ConfigError> {
        Self::read(text).ok_or_else(|| {
            let problem = format!("must be a name with or without a port, got {}", quoted(text));
            ConfigError::new("allowed_hosts", problem)
        })
    }

    fn read(text: &str) -> Option<Self> {
        let authority: Authority = text.parse().ok()?;
        let name = authority.host();
        // What comes in front of the name is a user's.
        let port = match authority.as_str().strip_prefix(name)? {
            "" => None,
            rest => Some(rest.strip_prefix(':')?),
        };
        let is_number = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
        let port = match port {
            Some(port) if is_number(port) => Some(port.parse().ok()?),
            Some(_) => return None,
            None => None,
        };
        (!name.is_empty()).then(|| Self {
            name: name.to_ascii_lowercase(),
            port: port.filter(|port| !matches!(port, 80 | 443)),
        })
    }

    /// What a request asks for; `None` if it says nothing, or two things. `X-Forwarded-Host` is what the client likes, and not read.
    fn of(request: &Request) -> Option<Self> {
        let mut lines = request.headers().get_all(HOST).iter();
        let line = lines.next().map(|line| line.to_str().ok().and_then(Self::read));
        let authority = request.uri().authority().map(|host| Self::read(host.as_str()));
        match (line, authority, lines.next()) {
            (Some(host), None, None) | (None, Some(host), None) => host,
            (Some(line), Some(authority), None) if line == authority => line,
            _ => None,
        }
    }
}

/// Refuses requests for other names, with 421.
pub(super) async fn known(State(hosts): State<Arc<Hosts>>, request: Request, next: Next) -> Response {
    match Host::of(&request).is_some_and(|host| hosts.has(&host)) {
        true => next.run(request).await,
        false => {
            let sentence = "the request is for another host than the public URL of this service";
            Problem::new(StatusCode::MISDIRECTED_REQUEST, "misdirected-request", sentence).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_known(hosts: &Hosts, uri: &str, lines: &[&str]) -> bool {
        let mut request = axum::http::Request::builder().uri(uri);
        for line in lines {
            request = request.header(HOST, *line);
        }
        let request = request.body(axum::body::Body::empty()).unwrap();
        Host::of(&request).is_some_and(|host| hosts.has(&host))
    }

    #[test]
    fn host_is_public_url_or_allowed() {
        let mut hosts = Hosts::new("https://app.example.com/keys").unwrap();
        hosts.others.push(Host::new("10.0.0.7:8080").unwrap());
        hosts.others.push(Host::new("[::1]:8080").unwrap());
        for line in ["app.example.com", "APP.example.com:443", "10.0.0.7:8080", "[::1]:8080"] {
            assert!(is_known(&hosts, "/keys", &[line]), "{line}");
        }
        for line in [
            "",
            "app.example.com:8443",
            "app.example.com.evil.example",
            "evil.example",
            "10.0.0.7",
            "user@app.example.com",
            "app.example.com:99999",
        ] {
            assert!(!is_known(&hosts, "/keys", &[line]), "{line}");
        }
        assert!(!is_known(&hosts, "/keys", &[]));
        assert!(!is_known(&hosts, "/keys", &["app.example.com", "app.example.com"]));
        // As HTTP/2 says it, and two that disagree.
        assert!(is_known(&hosts, "https://app.example.com/keys", &[]));
        assert!(!is_known(&hosts, "https://evil.example/keys", &["app.example.com"]));
        assert!(!is_known(&hosts, "https://app.example.com/keys", &["evil.example"]));
    }

    #[test]
    fn public_url_is_an_absolute_one() {
        for wrong in [
            "",
            "/keys",
            "app.example.com",
            "ftp://app.example.com",
            "https://",
            "https://a@b",
            "https://a?b",
        ] {
            assert!(Hosts::new(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn origin_is_one_of_the_own_pages() {
        let mut hosts = Hosts::new("https://app.example.com").unwrap();
        hosts.others.push(Host::new("localhost:3000").unwrap());
        let admits = |lines: &[(&'static str, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(*name, value.parse().unwrap());
            }
            hosts.admits_origin(&headers)
        };
        for lines in [
            &[][..],
            &[("origin", "https://app.example.com")],
            &[("origin", "http://localhost:3000"), ("sec-fetch-site", "same-origin")],
        ] {
            assert!(admits(lines), "{lines:?}");
        }
        for lines in [
            &[("origin", "null")][..],
            &[("origin", "http://app.example.com")],
            &[("origin", "https://other.example.com")],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "none")],
            &[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-origin"), ("origin", "https://evil.example")],
        ] {
            assert!(!admits(lines), "{lines:?}");
        }
    }
}
