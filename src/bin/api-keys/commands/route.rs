//! What a route of the management API asks of a key, from its OpenAPI document.

use axum::body::Body;
use http::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_api_key::key::{Actor, Scope};
use tower_api_key::{ApiKeys, AuthContext};

use crate::failure::Failure;

/// Where `serve` has the API.
const MOUNT: &str = "/api/v1/auth";

/// A route of the management API.
pub(super) struct Route {
    method: String,
    path: String,
    /// What a key needs; nothing if any key may call it.
    scopes: Vec<Scope>,
    /// Whether it needs all of them, and not one of them.
    needs_all: bool,
    is_for_operators: bool,
    /// Whether it is for users who are logged in to the service, and for no key.
    is_for_logins: bool,
}

impl Route {
    /// The route that this method and path lead to.
    ///
    /// # Errors
    /// When it is none of the management API.
    pub(super) async fn find(keys: &ApiKeys, method: &str, path: &str) -> Result<Self, Failure> {
        let document = document(keys).await?;
        let method = method.to_ascii_lowercase();
        let path = path.split(['?', '#']).next().unwrap_or_default();
        let path = path.strip_prefix(MOUNT).unwrap_or(path);
        let paths = document["paths"].as_object().into_iter().flatten();
        let matching = paths.filter(|(template, _)| matches(template, path));
        // `/keys/bulk` before `/keys/{id}`.
        let found = matching.min_by_key(|(template, _)| template.matches('{').count());
        let unknown = || {
            Failure::Usage(format!(
                "{} {path} is no route of the management API. What a route of your own service asks for stands in its code alone: name its \
                 scope with --scope",
                method.to_ascii_uppercase()
            ))
        };
        let (template, item) = found.ok_or_else(unknown)?;
        let operation = item.get(&method).ok_or_else(unknown)?;
        let text = operation["description"].as_str().unwrap_or_default();
        Ok(Self {
            method: method.to_ascii_uppercase(),
            path: template.clone(),
            scopes: scopes(text),
            needs_all: text.contains("` and `api-keys."),
            is_for_operators: text.contains("For operators."),
            is_for_logins: text.starts_with("For users who are logged in"),
        })
    }

    /// The step of a check of this route, and whether the key passes it.
    pub(super) fn step(&self, context: &AuthContext) -> (String, bool) {
        let needed: Vec<String> = self.scopes.iter().map(ToString::to_string).collect();
        if self.is_for_logins {
            let step = format!(
                "{} {} of the management API is for users who are logged in, and for no key",
                self.method, self.path
            );
            return (step, false);
        }
        let mut scopes = self.scopes.iter();
        let has_scope = match self.needs_all || self.scopes.is_empty() {
            true => scopes.all(|scope| context.allows(scope)),
            false => scopes.any(|scope| context.allows(scope)),
        };
        let is_operator = !self.is_for_operators || context.organization().is_operator;
        let needed = needed.join(if self.needs_all { " and " } else { " or " });
        let asked = match (needed.as_str(), self.is_for_operators) {
            ("", _) => "no scope".to_owned(),
            (scopes, false) => scopes.to_owned(),
            (scopes, true) => format!("{scopes}, and a key of the operator's organization"),
        };
        let step = format!("{} {} of the management API asks for {asked}", self.method, self.path);
        (step, has_scope && is_operator)
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "method": self.method,
            "path": self.path,
            "scopes": self.scopes.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "needs_all_scopes": self.needs_all,
            "for_operators": self.is_for_operators,
        })
    }
}

async fn document(keys: &ApiKeys) -> Result<Value, Failure> {
    let router = keys.manage().dangerous_plain_http();
    let router = router.dangerous_without_keys(Actor::service()).router();
    let request = Request::get("/openapi.json").body(Body::empty());
    let request = request.map_err(|error| Failure::Usage(error.to_string()))?;
    let Ok(response) = router.oneshot(request).await;
    let body = response.into_body().collect().await;
    let bytes = body
        .map_err(|error| Failure::Unavailable(error.to_string()))?
        .to_bytes();
    serde_json::from_slice(&bytes).map_err(|error| Failure::Unavailable(error.to_string()))
}

/// Whether a path is one of a template such as `/keys/{id}/rotate`.
fn matches(template: &str, path: &str) -> bool {
    let (mut wanted, mut given) = (template.split('/'), path.trim_end_matches('/').split('/'));
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return true,
            (Some(wanted), Some(given)) if wanted.starts_with('{') && !given.is_empty() => {}
            (Some(wanted), Some(given)) if wanted == given => {}
            _ => return false,
        }
    }
}

/// Those that a description names.
fn scopes(description: &str) -> Vec<Scope> {
    let quoted = description.split('`').skip(1).step_by(2);
    quoted
        .filter(|name| name.starts_with("api-keys."))
        .filter_map(|name| name.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_match_their_templates() {
        for (template, path) in [
            ("/keys", "/keys"),
            ("/keys", "/keys/"),
            ("/keys/{id}", "/keys/0190"),
            ("/keys/{id}/rotate/finish", "/keys/0190/rotate/finish"),
        ] {
            assert!(matches(template, path), "{template} {path}");
        }
        for (template, path) in [
            ("/keys/{id}", "/keys/"),
            ("/keys/{id}", "/keys"),
            ("/keys", "/orders"),
            ("/keys", "keys"),
        ] {
            assert!(!matches(template, path), "{template} {path}");
        }
    }

    /// Each operation names what it asks for, as the descriptions are read here.
    #[tokio::test]
    async fn each_operation_says_its_scope() {
        let keys = ApiKeys::open("memory:").await.unwrap();
        let document = document(&keys).await.unwrap();
        let mut operations = 0;
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item
                .as_object()
                .unwrap()
                .iter()
                .filter(|(_, value)| value["operationId"].is_string())
            {
                let route = Route::find(&keys, method, path).await.unwrap();
                assert_eq!(&route.path, path);
                let text = operation["description"].as_str().unwrap();
                let needs_none = text.contains("needs no scope") || route.is_for_logins;
                assert_eq!(route.scopes.is_empty(), needs_none, "{method} {path}: {text}");
                operations += 1;
            }
        }
        assert!(operations > 40, "{operations}");
    }
}
