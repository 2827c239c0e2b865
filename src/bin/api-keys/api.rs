//! The management API: of a database, served inside this process, or of a server. Commands do not know which.

use std::env;
use std::io::{IsTerminal, Write};

use axum::Router;
use axum::body::Body;
use http::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderValue, Method, Request, Response};
use http_body_util::BodyExt;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tower::ServiceExt;
use tower_api_key::ApiKeys;
use tower_api_key::key::Actor;

use crate::args::Global;
use crate::database::Database;
use crate::failure::{Failure, chain};

/// Answers requests of the management API.
pub(crate) enum Api {
    /// Of a database. No socket is open.
    Here(Box<Here>),
    There(Box<Server>),
}

pub(crate) struct Here {
    keys: ApiKeys,
    router: Router,
}

pub(crate) struct Server {
    client: Client<HttpsConnector<HttpConnector>, Body>,
    base: String,
    authorization: HeaderValue,
}

impl Api {
    /// # Errors
    /// When the database cannot be opened, or the server's URL or key cannot be used.
    pub(crate) async fn open(global: &Global) -> Result<Self, Failure> {
        if let Some(url) = &global.server {
            return Ok(Self::There(Box::new(Server::new(url)?)));
        }
        let keys = Database::of(global)?.keys(global).await?;
        let actor = Actor::operator(operator());
        let router = keys
            .manage()
            .dangerous_plain_http()
            .dangerous_without_keys(actor)
            .router();
        Ok(Self::Here(Box::new(Here { keys, router })))
    }

    /// The answer of a request, which is null without a body.
    ///
    /// # Errors
    /// When it is no success.
    pub(crate) async fn call(&self, method: Method, path: &str, body: Value) -> Result<Value, Failure> {
        let mut request = Request::builder().method(method);
        let body = match body {
            Value::Null => Body::empty(),
            body => {
                request = request.header(CONTENT_TYPE, "application/json");
                Body::from(body.to_string())
            }
        };
        let wrong = |error: http::Error| Failure::Usage(format!("{path} is no path: {error}"));
        match self {
            Self::Here(here) => {
                let request = request.uri(path).body(body).map_err(wrong)?;
                match here.router.clone().oneshot(request).await {
                    Ok(response) => read(response).await,
                    Err(never) => match never {},
                }
            }
            Self::There(server) => {
                let request = request
                    .uri(format!("{}{path}", server.base))
                    .header(AUTHORIZATION, &server.authorization)
                    .header(USER_AGENT, concat!("api-keys/", env!("CARGO_PKG_VERSION")));
                let response = server.client.request(request.body(body).map_err(wrong)?).await;
                let response = response.map_err(|error| {
                    Failure::Unavailable(format!("{} cannot be reached: {}", server.base, chain(&error)))
                })?;
                read(response.map(Body::new)).await
            }
        }
    }

    /// The id of the organization with this slug.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) async fn organization_by_slug(&self, slug: &str) -> Result<String, Failure> {
        let path = format!("/organizations?slug={}", crate::text::encoded(slug));
        let page = self.call(Method::GET, &path, Value::Null).await?;
        let found = page["items"][0]["id"].as_str().map(str::to_owned);
        found.ok_or_else(|| Failure::Refused(format!("no organization has the id or slug `{slug}`")))
    }

    /// Whether the server decides for whom a key is, by the caller's key.
    pub(crate) fn has_a_caller(&self) -> bool {
        matches!(self, Self::There(_))
    }

    /// The database, if it is one of this machine.
    pub(crate) fn here(&self) -> Option<&ApiKeys> {
        match self {
            Self::Here(here) => Some(&here.keys),
            Self::There(_) => None,
        }
    }

    /// Stores what waits in memory.
    pub(crate) async fn close(self) {
        if let Self::Here(here) = self {
            // What it fails with was a use or an event of this program, and is logged.
            let _ = here.keys.flush().await;
        }
    }
}

impl Server {
    fn new(url: &str) -> Result<Self, Failure> {
        let base = url.trim_end_matches('/').to_owned();
        let uri: http::Uri = base.parse().map_err(|_| {
            Failure::Usage("the server must be a URL such as https://keys.example.com/api/v1/auth".to_owned())
        })?;
        let is_loopback = uri.host().is_some_and(|host| {
            let host = host.trim_start_matches('[').trim_end_matches(']');
            host == "localhost"
                || host
                    .parse()
                    .is_ok_and(|address: std::net::IpAddr| address.is_loopback())
        });
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") if is_loopback => {}
            Some("http") => {
                return Err(Failure::Usage(format!(
                    "a key is not sent over http to {}: use https",
                    uri.host().unwrap_or_default()
                )));
            }
            _ => {
                return Err(Failure::Usage(
                    "the server must be a URL such as https://keys.example.com/api/v1/auth".to_owned(),
                ));
            }
        }
        let connector = HttpsConnectorBuilder::new()
            .with_native_roots()
            .map_err(|error| Failure::Usage(format!("this machine's certificates cannot be read: {error}")))?
            .https_or_http()
            .enable_http1()
            .build();
        let mut authorization = HeaderValue::try_from(format!("Bearer {}", token()?))
            .map_err(|_| Failure::Usage("the key for the server has characters that no key has".to_owned()))?;
        authorization.set_sensitive(true);
        Ok(Self {
            client: Client::builder(TokioExecutor::new()).build(connector),
            base,
            authorization,
        })
    }
}

/// The key for the server: from the file that the environment names, or from a prompt.
fn token() -> Result<String, Failure> {
    if let Some(path) = env::var_os("API_KEYS_TOKEN_FILE") {
        let path = std::path::PathBuf::from(path);
        let text = std::fs::read_to_string(&path).map_err(|error| Failure::file(&path, &error))?;
        return Ok(text.trim().to_owned());
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::Usage(
            "there is no key for the server: name a file with it in API_KEYS_TOKEN_FILE".to_owned(),
        ));
    }
    write!(std::io::stderr(), "Key for the server: ")?;
    let key = rpassword::read_password()?;
    Ok(key.trim().to_owned())
}

async fn read<B>(response: Response<B>) -> Result<Value, Failure>
where
    B: http_body::Body<Data = bytes::Bytes>,
    B::Error: std::error::Error + 'static,
{
    let (parts, body) = response.into_parts();
    let body = body
        .collect()
        .await
        .map_err(|error| Failure::Unavailable(chain(&error)))?
        .to_bytes();
    let value = match body.is_empty() {
        true => Value::Null,
        false => serde_json::from_slice(&body).unwrap_or(Value::Null),
    };
    if parts.status.is_success() {
        return Ok(value);
    }
    let status = parts.status;
    let detail = value["detail"].as_str().or(value["title"].as_str()).unwrap_or_default();
    let sentence = match (value["field"].as_str(), detail) {
        (_, "") => format!("the answer was {status}"),
        (Some(field), detail) if !detail.contains(field) => format!("{field}: {detail}"),
        (_, detail) => detail.to_owned(),
    };
    Err(match status.as_u16() {
        500.. => Failure::Unavailable(sentence),
        400 | 422 => Failure::Usage(sentence),
        _ => Failure::Refused(sentence),
    })
}

/// Who acts on this machine, for the audit trail.
pub(crate) fn operator() -> String {
    let name = env::var("USER").or_else(|_| env::var("LOGNAME")).unwrap_or_default();
    match name.is_empty() {
        true => "command-line".to_owned(),
        false => name,
    }
}
