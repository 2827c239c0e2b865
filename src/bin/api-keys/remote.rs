//! A server that serves the management API. It may be another one than was meant, or none at all.

use std::time::Duration;

use axum::body::Body;
use http::header::{AUTHORIZATION, LOCATION, RETRY_AFTER, USER_AGENT};
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use crate::failure::{Failure, chain};
use crate::small_file;

/// A server, and the key for it.
pub(crate) struct Server {
    client: Client<HttpsConnector<HttpConnector>, Body>,
    base: String,
    authorization: HeaderValue,
    timeout: Duration,
}

impl Server {
    /// # Errors
    /// When the URL is not one to send a key to, or there is no key.
    pub(crate) fn new(url: &str, timeout: Duration) -> Result<Self, Failure> {
        let base = base(url)?;
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        let connector = HttpsConnectorBuilder::new()
            .with_native_roots()
            .map_err(|error| Failure::Usage(format!("this machine's certificates cannot be read: {error}")))?
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        let mut authorization = HeaderValue::try_from(format!("Bearer {}", small_file::token()?))
            .map_err(|_| Failure::Usage("the key for the server has characters that no key has".to_owned()))?;
        authorization.set_sensitive(true);
        Ok(Self {
            client: Client::builder(TokioExecutor::new()).build(connector),
            base,
            authorization,
            timeout,
        })
    }

    /// The answer of a request to this path. Redirects are not followed: the key would go along.
    ///
    /// # Errors
    /// When there is none, or it is no success.
    pub(crate) async fn call(&self, request: http::request::Builder, path: &str, body: Body) -> Result<Value, Failure> {
        let request = request
            .uri(format!("{}{path}", self.base))
            .header(AUTHORIZATION, &self.authorization)
            .header(USER_AGENT, concat!("api-keys/", env!("CARGO_PKG_VERSION")))
            .body(body)
            .map_err(|error| Failure::Usage(format!("{path} is no path: {error}")))?;
        let answered = tokio::time::timeout(self.timeout, self.answer(request)).await;
        answered.unwrap_or_else(|_| {
            Err(Failure::Unavailable(format!(
                "{} did not answer within {:?}: whether it was done is not known; --timeout waits longer",
                self.base, self.timeout
            )))
        })
    }

    async fn answer(&self, request: Request<Body>) -> Result<Value, Failure> {
        let response = self.client.request(request).await;
        let response = response
            .map_err(|error| Failure::Unavailable(format!("{} cannot be reached: {}", self.base, chain(&error))))?;
        if response.status().is_redirection() {
            return Err(self.elsewhere(&response));
        }
        read(response.map(Body::new), &self.base).await
    }

    fn elsewhere<B>(&self, response: &Response<B>) -> Failure {
        let location = response.headers().get(LOCATION).and_then(|to| to.to_str().ok());
        let to: String = location.unwrap_or("another URL").chars().take(200).collect();
        Failure::Usage(format!(
            "{} redirects to {to}, and the key is not sent there: name the URL of the management API",
            self.base
        ))
    }
}

/// What paths are put behind.
fn base(url: &str) -> Result<String, Failure> {
    let wrong = |sentence: &str| Err(Failure::Usage(sentence.to_owned()));
    let base = url.trim().trim_end_matches('/');
    let Ok(uri) = base.parse::<Uri>() else {
        return wrong(NO_URL);
    };
    if base.contains(['?', '#']) {
        return wrong("the server's URL must end with a path: leave out what follows `?` or `#`");
    }
    if uri
        .authority()
        .is_some_and(|authority| authority.as_str().contains('@'))
    {
        return wrong(
            "the server's URL must have no user and password: the key is read from the file that API_KEYS_TOKEN_FILE names",
        );
    }
    let host = uri.host().unwrap_or_default();
    match uri.scheme_str() {
        Some("https") => Ok(base.to_owned()),
        Some("http") if is_loopback(host) => Ok(base.to_owned()),
        Some("http") => wrong(&format!("a key is not sent over http to {host}: use https")),
        _ => wrong(NO_URL),
    }
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let address = host
        .parse()
        .is_ok_and(|address: std::net::IpAddr| address.is_loopback());
    address || host == "localhost"
}

/// The value of an answer: an object, or null if there is no content.
///
/// # Errors
/// When it is no success, or not of the management API, as a proxy's page for logging in.
pub(crate) async fn read<B>(response: Response<B>, place: &str) -> Result<Value, Failure>
where
    B: http_body::Body<Data = bytes::Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (parts, body) = response.into_parts();
    let body = Limited::new(body, LARGEST_ANSWER).collect().await;
    let body = body
        .map_err(|error| Failure::Unavailable(format!("the answer of {place} cannot be read: {}", chain(&*error))))?
        .to_bytes();
    let value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let status = parts.status;
    if status.is_success() {
        return match value {
            Value::Object(_) => Ok(value),
            _ if status == StatusCode::NO_CONTENT && body.is_empty() => Ok(Value::Null),
            _ => Err(not_of_the_api(place)),
        };
    }
    // A path without the API, as when it was left out of the URL.
    if status == StatusCode::NOT_FOUND && !value.is_object() {
        return Err(not_of_the_api(place));
    }
    let detail = value["detail"].as_str().or(value["title"].as_str()).unwrap_or_default();
    let sentence = match (value["field"].as_str(), detail) {
        (_, "") => format!("the answer of {place} was {status}"),
        (Some(field), detail) if !detail.contains(field) => format!("{field}: {detail}"),
        (_, detail) => detail.to_owned(),
    };
    let sentence = match value["scope"].as_str() {
        Some(scope) if !sentence.contains(scope) => format!("{sentence} It is {scope}"),
        _ => sentence,
    };
    let wait = parts.headers.get(RETRY_AFTER).and_then(|wait| wait.to_str().ok());
    let sentence = match wait.and_then(|wait| wait.parse::<u32>().ok()) {
        Some(seconds) => format!("{sentence} (to be tried again after {seconds} s)"),
        None => sentence,
    };
    Err(match status.as_u16() {
        500.. => Failure::Unavailable(sentence),
        400 | 422 => Failure::Usage(sentence),
        409 if value["type"].as_str().is_some_and(|kind| kind.ends_with(":in-use")) => Failure::InUse(sentence),
        _ => Failure::Refused(sentence),
    })
}

/// An answer that says success, and is of something else.
pub(crate) fn not_of_the_api(place: &str) -> Failure {
    Failure::Unavailable(format!(
        "the answer of {place} is none of the management API: name its URL with the path, such as https://keys.example.com/api/v1/auth"
    ))
}

/// In bytes. A page of 200 keys with the most metadata has a quarter of it.
const LARGEST_ANSWER: usize = 64 * 1024 * 1024;
const NO_URL: &str = "the server must be a URL such as https://keys.example.com/api/v1/auth";
