//! Refusals by handlers and inner layers: the answer is the layer's own.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Path;
use axum::routing::get;
use http::request::Parts;
use http::{HeaderMap, Request, Response, StatusCode, header};
use tower::ServiceExt;
use tower_api_key::key::{KeyRecord, Organization, Timestamp};
use tower_api_key::store::KeyStore;
use tower_api_key::testing::auth_context;
use tower_api_key::{
    ApiKeyLayer, AuthContext, Authenticator, KeySource, PresentedKey, ProblemJson, Rejection, RejectionKind,
    RequireScope, Respond,
};
use tracing::Level;

use crate::support::audit::Audit;
use crate::support::{House, text, unknown};

/// `/layer` requires the scope by a layer, `/handler` by its handler.
fn app<S, R>(layer: ApiKeyLayer<S, R>) -> Router
where
    S: KeyStore,
    R: Respond<Body> + Send + Sync + 'static,
{
    async fn write(auth: AuthContext) -> Result<String, Rejection> {
        auth.require("orders:write")?;
        Ok(auth.name().to_owned())
    }
    let scope = RequireScope::new("orders:write".parse().unwrap());
    Router::new()
        .route("/layer", get(|| async { "written" }).layer(scope))
        .route("/handler", get(write))
        .route_layer(layer)
}

#[derive(Debug, PartialEq)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

async fn ask(app: &Router, path: &str, key: Option<&str>) -> (Answer, Option<Rejection>) {
    let mut request = Request::get(path);
    if let Some(key) = key {
        request = request.header("x-api-key", key);
    }
    let response = app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, 4096).await.unwrap();
    let answer = Answer {
        status: parts.status,
        headers: parts.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    };
    (answer, parts.extensions.get::<Rejection>().cloned())
}

async fn reader(house: &House) -> String {
    let request = house.request().scopes("orders:read".parse().unwrap());
    text(&house.issue(request.user("alice".parse().unwrap())).await)
}

#[tokio::test]
async fn refusals_inside_are_answered_by_the_layer() {
    let house = House::new().await;
    let key = reader(&house).await;
    let layer = house
        .layer()
        .challenge_realm("acme api")
        .unwrap()
        .source(KeySource::authorization("ApiKey").unwrap())
        .unwrap()
        .legacy_rate_limit_headers(true);
    let own = |rejection: &Rejection, _: &Parts| {
        let response = Response::builder().header("x-refused-by", "us");
        response
            .body(Body::from(format!("sorry: {}", rejection.code())))
            .unwrap()
    };
    let based = ProblemJson::new().type_base("https://errors.example.com/").unwrap();
    for (app, body) in [
        (app(layer.clone()), "urn:problem-type:tower-api-key:forbidden"),
        (app(layer.clone().responder(own)), "sorry: forbidden"),
        (
            app(layer.clone().responder(based)),
            "https://errors.example.com/forbidden",
        ),
    ] {
        let (by_layer, rejection) = ask(&app, "/layer", Some(&key)).await;
        assert_eq!(by_layer.status, StatusCode::FORBIDDEN);
        assert!(by_layer.body.contains(body), "{}", by_layer.body);
        let challenges: Vec<_> = by_layer.headers.get_all(header::WWW_AUTHENTICATE).iter().collect();
        let of = |scheme| format!("{scheme} realm=\"acme api\", error=\"insufficient_scope\", scope=\"orders:write\"");
        assert_eq!(challenges, [&*of("Bearer"), &*of("ApiKey")]);
        assert_eq!(by_layer.headers[header::VARY], "authorization, x-api-key");
        assert_eq!(by_layer.headers[header::CACHE_CONTROL], "no-store");
        assert_eq!(rejection.unwrap().kind(), RejectionKind::InsufficientScope);

        let (by_handler, rejection) = ask(&app, "/handler", Some(&key)).await;
        assert_eq!(by_handler, by_layer);
        let rejection = rejection.unwrap();
        assert_eq!(rejection.kind(), RejectionKind::InsufficientScope);
        assert_eq!(rejection.organization_id(), Some(house.organization.id));
        assert_eq!(rejection.user(), Some("alice"));
    }
}

#[tokio::test]
async fn anonymous_request_is_refused_by_the_layer_too() {
    let house = House::new().await;
    let own = |rejection: &Rejection, request: &Parts| {
        Response::new(Body::from(format!("{}: {}", request.uri.path(), rejection.code())))
    };
    let required = app(house.layer().responder(own));
    let optional = app(house.layer().optional().responder(own));
    for path in ["/layer", "/handler"] {
        let (answer, _) = ask(&optional, path, None).await;
        assert_eq!(answer.body, format!("{path}: unauthenticated"));
        assert_eq!(answer, ask(&required, path, None).await.0);
    }
}

#[tokio::test]
async fn granted_scope_lets_the_handler_go_on() {
    let house = House::new().await;
    let app = app(house.layer());
    for scopes in ["orders:write", "orders:*", "*"] {
        let key = text(&house.issue(house.request().scopes(scopes.parse().unwrap())).await);
        for path in ["/layer", "/handler"] {
            assert_eq!(ask(&app, path, Some(&key)).await.0.status, StatusCode::OK);
        }
    }
}

#[tokio::test]
async fn refusal_of_handler_is_recorded_once() {
    let house = House::new().await;
    let (key, app) = (reader(&house).await, app(house.layer()));
    let (audit, _guard) = Audit::start();
    for path in ["/layer", "/handler"] {
        let before = audit.of_level(Level::INFO).len();
        ask(&app, path, Some(&key)).await;
        let recorded = audit.of_level(Level::INFO).split_off(before);
        assert_eq!(recorded.len(), 1, "{path}");
        for field in ["insufficient_scope", "key=", "lookup=", "user=\"alice\""] {
            assert!(recorded[0].fields.contains(field), "{}", recorded[0].fields);
        }
    }
}

#[tokio::test]
async fn text_that_is_no_scope_is_a_500_for_every_key() {
    async fn any(Path(scope): Path<String>, auth: AuthContext) -> Result<&'static str, Rejection> {
        auth.require(scope)?;
        Ok("admitted")
    }
    let house = House::new().await;
    let app = Router::new().route("/{scope}", get(any)).route_layer(house.layer());
    let all = text(&house.issue(house.request().scopes("*".parse().unwrap())).await);
    assert_eq!(ask(&app, "/orders:read", Some(&all)).await.0.status, StatusCode::OK);
    for bad in ["Orders", "a:b:c", "a%20b", "%c3%a9"] {
        let (answer, rejection) = ask(&app, &format!("/{bad}"), Some(&all)).await;
        assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{bad}");
        assert_eq!(rejection.unwrap().kind(), RejectionKind::InvalidScope);
        assert!(answer.body.contains("scope"), "{}", answer.body);
        assert!(!answer.headers.contains_key(header::WWW_AUTHENTICATE));
    }
}

#[tokio::test]
async fn headers_of_layers_in_between_stay_but_not_of_the_body() {
    let house = House::new().await;
    let key = reader(&house).await;
    let scope = RequireScope::new("orders:write".parse().unwrap());
    let between = axum::middleware::map_response(|mut response: Response<Body>| async {
        for (name, value) in [
            ("x-request-id", "7"),
            ("content-encoding", "gzip"),
            ("etag", "\"1\""),
            ("vary", "origin"),
        ] {
            response.headers_mut().append(name, value.parse().unwrap());
        }
        response
    });
    let own = |_: &Rejection, _: &Parts| {
        let response = Response::builder().header("vary", "accept");
        response.body(Body::from("no")).unwrap()
    };
    let app = Router::new()
        .route("/", get(|| async { "written" }).layer(scope))
        .layer(between)
        .layer(house.layer().responder(own));
    let (answer, _) = ask(&app, "/", Some(&key)).await;
    assert_eq!((answer.status, &*answer.body), (StatusCode::FORBIDDEN, "no"));
    assert_eq!(answer.headers["x-request-id"], "7");
    let vary: Vec<_> = answer.headers.get_all(header::VARY).iter().collect();
    assert_eq!(vary, ["authorization, x-api-key, origin, accept"]);
    for name in ["content-encoding", "content-type", "etag"] {
        assert!(!answer.headers.contains_key(name), "{name}");
    }
    assert_eq!(answer.headers.get_all(header::WWW_AUTHENTICATE).iter().count(), 1);
}

#[tokio::test]
async fn status_that_a_layer_in_between_chose_stays() {
    let house = House::new().await;
    let key = reader(&house).await;
    let scope = RequireScope::new("orders:write".parse().unwrap());
    let hide = axum::middleware::map_response(|response: Response<Body>| async move {
        match response.status() {
            StatusCode::FORBIDDEN => {
                let (mut parts, _) = response.into_parts();
                parts.status = StatusCode::NOT_FOUND;
                Response::from_parts(parts, Body::from("nothing here"))
            }
            _ => response,
        }
    });
    let app = Router::new()
        .route("/", get(|| async { "written" }).layer(scope))
        .layer(hide)
        .layer(house.layer());
    let (answer, _) = ask(&app, "/", Some(&key)).await;
    assert_eq!((answer.status, &*answer.body), (StatusCode::NOT_FOUND, "nothing here"));
}

#[tokio::test]
async fn responder_of_a_scope_goes_before_the_layers() {
    let house = House::new().await;
    let key = reader(&house).await;
    let own = |_: &Rejection, _: &Parts| Response::new(Body::from("of the route"));
    let layers = |_: &Rejection, _: &Parts| Response::new(Body::from("of the layer"));
    let scope = RequireScope::new("orders:write".parse().unwrap()).responder(own);
    let app = Router::new()
        .route("/", get(|| async { "written" }).layer(scope))
        .layer(house.layer().responder(layers));
    assert_eq!(ask(&app, "/", Some(&key)).await.0.body, "of the route");
}

#[tokio::test]
async fn context_without_layer_refuses_with_defaults() {
    let acme = Organization::new("acme");
    let record = KeyRecord::new(acme.id, "a key", Timestamp::from_millis(0));
    let auth = auth_context(record, acme);
    let rejection = auth.require("orders:write").unwrap_err();
    assert_eq!(rejection.status(), StatusCode::FORBIDDEN);
    assert_eq!(rejection.code(), "forbidden");
    assert_eq!(rejection.detail(), "The API key lacks the scope that this needs.");
    let response = axum::response::IntoResponse::into_response(rejection);
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    let challenge = "Bearer realm=\"api\", error=\"insufficient_scope\", scope=\"orders:write\"";
    assert_eq!(response.headers()["www-authenticate"], challenge);
}

#[tokio::test]
async fn rejection_of_authenticator_is_an_answer() {
    let house = House::new().await;
    let authenticator = Authenticator::new(house.store.clone());
    let wrong = unknown(&house.key().await);
    let mut answers = Vec::new();
    for key in ["rubbish", &wrong] {
        let rejected = authenticator
            .check(PresentedKey::new(key.as_bytes()))
            .await
            .unwrap_err();
        assert_eq!((rejected.status().as_u16(), rejected.code()), (401, "unauthenticated"));
        assert_eq!(rejected.detail(), "The API key is not valid.");
        let response = axum::response::IntoResponse::into_response(rejected);
        assert_eq!(response.headers()["cache-control"], "no-store");
        let (parts, body) = response.into_parts();
        answers.push((parts.status, parts.headers, to_bytes(body, 4096).await.unwrap()));
    }
    assert_eq!(answers[0], answers[1]);
}
