//! The management API: of a database, served inside this process, or of a server. Commands do not know which.

use std::env;

use axum::Router;
use axum::body::Body;
use http::header::{CONTENT_TYPE, IF_MATCH};
use http::{Method, Request};
use serde_json::Value;
use tower::ServiceExt;
use tower_api_key::ApiKeys;
use tower_api_key::key::Actor;

use crate::database::Database;
use crate::failure::Failure;
use crate::global::Global;
use crate::remote::{Server, not_of_the_api, read};

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

impl Api {
    /// # Errors
    /// When the database cannot be opened, or the server's URL or key cannot be used.
    pub(crate) async fn open(global: &Global) -> Result<Self, Failure> {
        if let Some(url) = &global.server {
            return Ok(Self::There(Box::new(Server::new(url, global.timeout)?)));
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
        self.request(Request::builder().method(method), path, body).await
    }

    /// The same of a change that is made over what was read before: only if the row still has this revision.
    ///
    /// # Errors
    /// As for [`call`](Self::call); when somebody else has changed the row.
    pub(crate) async fn change(
        &self,
        method: Method,
        path: &str,
        body: Value,
        revision: &Value,
    ) -> Result<Value, Failure> {
        let request = Request::builder().method(method);
        let request = request.header(IF_MATCH, format!("\"{revision}\""));
        self.request(request, path, body).await
    }

    async fn request(&self, mut request: http::request::Builder, path: &str, body: Value) -> Result<Value, Failure> {
        let body = match body {
            Value::Null => Body::empty(),
            body => {
                request = request.header(CONTENT_TYPE, "application/json");
                Body::from(body.to_string())
            }
        };
        match self {
            Self::Here(here) => {
                let request = request
                    .uri(path)
                    .body(body)
                    .map_err(|error| Failure::Usage(format!("{path} is no path: {error}")))?;
                match here.router.clone().oneshot(request).await {
                    Ok(response) => read(response, "the database").await,
                    Err(never) => match never {},
                }
            }
            Self::There(server) => server.call(request, path, body).await,
        }
    }

    /// The id of the organization with this slug.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) async fn organization_by_slug(&self, slug: &str) -> Result<String, Failure> {
        let path = format!("/organizations?slug={}", crate::text::encoded(slug));
        let page = self.call(Method::GET, &path, Value::Null).await?;
        let found = items(&page)?.iter().find(|row| row["slug"] == slug);
        let found = found.and_then(|row| row["id"].as_str()).map(str::to_owned);
        found.ok_or_else(|| Failure::Refused(format!("no organization has the id or slug `{slug}`")))
    }

    /// Whether the caller sees the rows of all organizations, as this machine and an operator's key do. Others have one organization.
    pub(crate) async fn sees_all(&self) -> Result<bool, Failure> {
        if let Self::Here(_) = self {
            return Ok(true);
        }
        match self
            .call(Method::GET, "/keys?limit=1&organization=all", Value::Null)
            .await
        {
            Ok(page) => items(&page).map(|_| true),
            Err(Failure::Refused(_)) => Ok(false),
            Err(failure) => Err(failure),
        }
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

/// The rows of a page.
///
/// # Errors
/// When the answer is no page.
pub(crate) fn items(page: &Value) -> Result<&[Value], Failure> {
    let items = page["items"].as_array().map(Vec::as_slice);
    items.ok_or_else(|| not_of_the_api("the server"))
}

/// Who acts on this machine, for the audit trail.
pub(crate) fn operator() -> String {
    let name = env::var("USER").or_else(|_| env::var("LOGNAME")).unwrap_or_default();
    match name.is_empty() {
        true => "command-line".to_owned(),
        false => name,
    }
}
