//! Bodies of refusals: the error formats of well-known APIs, and the members that a service adds.

use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower::{Layer, ServiceExt};
use tower_api_key::errors::{self, ErrorFormat};
use tower_api_key::key::{OrganizationStatus, RateLimit, Timestamp};
use tower_api_key::{
    ApiKeyLayer, Authenticator, GrpcStatus, HeadersOnly, IssueRequest, KeySource, PresentedKey, ProblemJson,
    RejectionClass, RequireScope, Respond,
};

use crate::support::down::Down;
use crate::support::{Echo, House, ask, bearer, field, json, request, text, unknown, wrong_secret};

const MISSING: &str =
    "An API key is required, and the request has none. Send it as `Authorization: Bearer` or in `x-api-key`.";
const INVALID: &str = "The API key is not valid.";
const TWO: &str = "Send one API key, in one place.";
const SCOPE: &str = "The API key lacks the scope that this needs.";
const LIMIT: &str = "A rate limit of the API key or of its organization is exhausted.";
const DOWN: &str = "The API key cannot be checked at the moment.";

/// The refusals of every class, with their status and sentence. The second 429 waits for an hour.
async fn refusals(format: ErrorFormat) -> Vec<(u16, &'static str, Response<Bytes>)> {
    let house = House::new().await;
    let layer = house.layer().responder(format);
    let key = house.key().await;
    let exhausted = async |limit: RateLimit| {
        let key = text(&house.issue(house.request().limit(limit)).await);
        assert_eq!(ask(&layer, bearer(&key)).await.status(), 200);
        ask(&layer, bearer(&key)).await
    };
    let scoped = RequireScope::new("orders:write".parse().unwrap()).responder(format);
    let scoped = layer.layer(scoped.layer(Echo::default()));
    let alone = RequireScope::new("orders:write".parse().unwrap()).responder(format);
    vec![
        (401, MISSING, ask(&layer, request(&[])).await),
        (401, INVALID, ask(&layer, bearer("rubbish")).await),
        (
            400,
            TWO,
            ask(&layer, request(&[("x-api-key", &key), ("x-api-key", &key)])).await,
        ),
        (403, SCOPE, scoped.oneshot(bearer(&key)).await.unwrap()),
        (
            429,
            LIMIT,
            exhausted(RateLimit::per_minute("requests", 1).unwrap()).await,
        ),
        (429, LIMIT, exhausted(RateLimit::per_hour("requests", 1).unwrap()).await),
        (
            503,
            DOWN,
            ask(&ApiKeyLayer::new(Down).responder(format), bearer(&key)).await,
        ),
        (
            500,
            "The request has no `AuthContext`: put an `ApiKeyLayer` around this route.",
            alone.layer(Echo::default()).oneshot(bearer(&key)).await.unwrap(),
        ),
    ]
}

/// Asserts status, sentence and retry header of each refusal, and returns the bodies without the sentence.
async fn bodies(format: ErrorFormat, retry_header: &str) -> Vec<Value> {
    let mut bodies = Vec::new();
    for (index, (status, sentence, response)) in refusals(format).await.into_iter().enumerate() {
        assert_eq!(response.status(), status);
        assert_eq!(field(&response, "content-type"), Some("application/json"));
        assert_eq!(field(&response, "cache-control"), Some("no-store"));
        assert_eq!(
            response.headers().contains_key("retry-after"),
            matches!(status, 429 | 503)
        );
        let is_worth_retrying = index == 4 || status == 503;
        let expected = (!is_worth_retrying).then_some("false");
        assert_eq!(field(&response, retry_header), expected, "{status} {sentence}");
        let mut body = json(&response);
        assert_eq!(body["error"]["message"].take(), sentence);
        bodies.push(body);
    }
    bodies
}

#[tokio::test]
async fn openai_format_has_type_and_code_of_each_class() {
    let body =
        |kind: &str, code: Option<&str>| json!({"error": {"message": null, "type": kind, "param": null, "code": code}});
    let expected = [
        body("invalid_request_error", None),
        body("invalid_request_error", Some("invalid_api_key")),
        body("invalid_request_error", None),
        body("invalid_request_error", Some("insufficient_permissions")),
        body("requests", Some("rate_limit_exceeded")),
        body("insufficient_quota", Some("insufficient_quota")),
        body("server_error", None),
        body("server_error", None),
    ];
    assert_eq!(bodies(errors::openai(), "x-should-retry").await, expected);
}

#[tokio::test]
async fn anthropic_format_has_type_of_each_class() {
    let expected = [
        "authentication_error",
        "authentication_error",
        "invalid_request_error",
        "permission_error",
        "rate_limit_error",
        "rate_limit_error",
        "overloaded_error",
        "api_error",
    ]
    .map(|kind| json!({"type": "error", "error": {"type": kind, "message": null}}));
    assert_eq!(bodies(errors::anthropic(), "x-should-retry").await, expected);
}

#[tokio::test]
async fn stripe_format_has_type_and_code_of_each_class() {
    let body = |kind: &str| json!({"error": {"message": null, "type": kind}});
    let invalid = || body("invalid_request_error");
    let limited = || json!({"error": {"message": null, "type": "invalid_request_error", "code": "rate_limit"}});
    let expected = [
        invalid(),
        invalid(),
        invalid(),
        invalid(),
        limited(),
        limited(),
        body("api_error"),
        body("api_error"),
    ];
    assert_eq!(bodies(errors::stripe(), "stripe-should-retry").await, expected);
}

/// Credentials that are refused, each for another reason.
async fn bad_credentials(house: &House) -> Vec<HeaderValue> {
    let issuer = &house.issuer;
    let good = house.key().await;
    let [disabled, revoked, expired] = [house.request(), house.request(), house.request()];
    let (disabled, revoked) = (house.issue(disabled).await, house.issue(revoked).await);
    let expired = house.issue(expired).await;
    issuer.disable(disabled.record.id).await.unwrap();
    issuer.revoke(revoked.record.id, "lost").await.unwrap();
    let end = |record: &mut tower_api_key::key::KeyRecord| record.expires_at = Some(Timestamp::from_millis(1));
    issuer.update(expired.record.id, end).await.unwrap();
    let other = issuer.create_organization("inactive").await.unwrap();
    let inactive = issuer.issue(IssueRequest::new(other.id, "a key")).await.unwrap();
    let stop = |organization: &mut tower_api_key::key::Organization| organization.status = OrganizationStatus::Inactive;
    issuer.update_organization(other.id, stop).await.unwrap();
    let rotated = house.issue(house.request()).await;
    let _ = issuer.rotate(rotated.record.id, Duration::ZERO).await.unwrap();

    let body = good.rsplit('_').next().unwrap();
    let texts = [
        "rubbish".to_owned(),
        "key_live_".to_owned(),
        "null".to_owned(),
        "eyJhbGciOiJIUzI1NiJ9.e30.x".to_owned(),
        "k".repeat(257),
        "k".repeat(20_000),
        good[..good.len() - 1].to_owned(),
        format!("{good}0"),
        format!("\"{good}\""),
        format!("{good}%20"),
        good.to_uppercase(),
        body.to_owned(),
        format!("key_test_{body}"),
        format!("other_live_{body}"),
        unknown(&good),
        wrong_secret(&good),
        text(&disabled),
        text(&revoked),
        text(&expired),
        text(&inactive),
        text(&rotated),
    ];
    let mut credentials: Vec<HeaderValue> = texts.iter().map(|text| text.parse().unwrap()).collect();
    credentials.push(HeaderValue::from_bytes(b"\xff\xfe").unwrap());
    assert_eq!(credentials.len(), 22);
    credentials
}

async fn answers_are_the_same<R: Respond<Bytes> + Clone>(house: &House, responder: R, content_type: &'static str) {
    let layer = house.layer().only_environment("live").unwrap().responder(responder);
    let mut answers = Vec::new();
    let mut credentials = bad_credentials(house).await;
    let elsewhere = house.issue(house.request().environment("test")).await;
    credentials.push(text(&elsewhere).parse().unwrap());
    for credential in credentials {
        // The second time some are cached. With `keep_credential` a responder can see them.
        for layer in [&layer, &layer.clone().keep_credential()] {
            let request = Request::builder().method(Method::POST).version(http::Version::HTTP_2);
            let request = request
                .header("content-type", content_type)
                .header("x-request-id", "r1");
            let request = request.header("x-api-key", &credential).body(()).unwrap();
            let response = ask(layer, request).await;
            let body = String::from_utf8(response.body().to_vec()).unwrap();
            answers.push((response.status(), format!("{:?} {body}", response.headers())));
        }
    }
    for answer in &answers {
        assert_eq!(*answer, answers[0]);
    }
}

#[tokio::test]
async fn bad_credentials_get_same_bytes_from_each_responder() {
    let house = House::new().await;
    let members = ProblemJson::new().with_members(|rejection, members| {
        members.text("seen", &format!("{rejection:?}"));
    });
    let based = ProblemJson::new().type_base("https://e.example/").unwrap();
    for content_type in ["application/json", "application/grpc", "application/grpc-web+proto"] {
        for format in [errors::openai(), errors::anthropic(), errors::stripe()] {
            answers_are_the_same(&house, format, content_type).await;
            answers_are_the_same(&house, format.with_body(|bytes: Bytes| bytes), content_type).await;
        }
        answers_are_the_same(&house, members.clone(), content_type).await;
        answers_are_the_same(&house, based.clone(), content_type).await;
        answers_are_the_same(&house, ProblemJson::new(), content_type).await;
        answers_are_the_same(&house, GrpcStatus, content_type).await;
        answers_are_the_same(&house, HeadersOnly, content_type).await;
    }
}

/// What a service makes its own answers of.
#[tokio::test]
async fn rejections_of_bad_credentials_say_the_same() {
    let house = House::new().await;
    let authenticator = Authenticator::new(house.store.clone());
    let mut kinds = HashSet::new();
    for credential in bad_credentials(&house).await {
        let rejection = authenticator.check(PresentedKey::new(credential.as_bytes())).await;
        let rejection = rejection.unwrap_err();
        assert_eq!(
            (rejection.status().as_u16(), &*rejection.detail(), rejection.code()),
            (401, INVALID, "unauthenticated")
        );
        kinds.insert(rejection.kind());
        #[cfg(feature = "axum")]
        {
            let response = axum::response::IntoResponse::into_response(rejection);
            let (parts, body) = response.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let expected = ask(&house.layer(), bearer("rubbish")).await;
            assert_eq!((parts.status, &parts.headers), (expected.status(), expected.headers()));
            assert_eq!(body, expected.body());
        }
    }
    // The corpus has all of them.
    assert_eq!(kinds.len(), 7, "{kinds:?}");
}

#[tokio::test]
async fn grpc_requests_get_no_json_from_a_format() {
    let house = House::new().await;
    for format in [errors::openai(), errors::anthropic(), errors::stripe()] {
        let request = Request::post("/").version(http::Version::HTTP_2);
        let request = request.header("content-type", "application/grpc").body(()).unwrap();
        let response = ask(&house.layer().responder(format), request).await;
        assert_eq!(field(&response, "grpc-status"), Some("16"));
        assert!(response.body().is_empty());
        assert!(field(&response, "x-should-retry").is_none());
    }
}

#[tokio::test]
async fn missing_key_is_told_the_configured_places() {
    let house = House::new().await;
    let own = || {
        house
            .layer()
            .sources([KeySource::basic(), KeySource::header("api-key").unwrap()])
    };
    let sentence =
        "An API key is required, and the request has none. Send it as `Authorization: Basic` or in `api-key`.";

    let default = ask(&house.layer(), request(&[])).await;
    assert_eq!(json(&default)["detail"], MISSING);
    let problem = ask(&own().unwrap(), request(&[])).await;
    assert_eq!(json(&problem)["detail"], sentence);
    let stripe = ask(&own().unwrap().responder(errors::stripe()), request(&[])).await;
    assert_eq!(json(&stripe)["error"]["message"], sentence);
    let mut grpc = request(&[("content-type", "application/grpc")]);
    (*grpc.method_mut(), *grpc.version_mut()) = (Method::POST, http::Version::HTTP_2);
    let grpc = ask(&own().unwrap(), grpc).await;
    assert_eq!(field(&grpc, "grpc-message"), Some(sentence));

    // A route inside an optional layer names its layer's places.
    let scoped = RequireScope::new("orders:write".parse().unwrap()).layer(Echo::default());
    let inside = own().unwrap().optional().layer(scoped);
    let inside = inside.oneshot(request(&[])).await.unwrap();
    assert_eq!(json(&inside)["detail"], sentence);
    // Who sent a key knows where.
    let invalid = ask(&own().unwrap(), request(&[("api-key", "rubbish")])).await;
    assert_eq!(json(&invalid)["detail"], INVALID);
}

#[tokio::test]
async fn members_are_added_once_each() {
    let house = House::new().await;
    let problem = ProblemJson::new().type_base("https://e.example/").unwrap();
    let problem = problem.with_members(|rejection, members| {
        let code = match rejection.class() {
            RejectionClass::MissingCredential => "no \"key\"",
            _ => "other",
        };
        members.text("code", code).text("code", "again").text("status", "0");
        members.text("request_id", rejection.request_id().unwrap_or("none"));
        members
            .number("retry", u64::MAX)
            .boolean("final", true)
            .number("http", rejection.status().as_u16().into());
    });
    let layer = house.layer().responder(problem);
    let long = "r".repeat(129);
    for (sent, id) in [
        (Some("5f3c-9"), "5f3c-9"),
        (Some("a b"), "none"),
        (Some(""), "none"),
        (Some(&*long), "none"),
        (Some("\"q\\"), "\"q\\"),
        (None, "none"),
    ] {
        let lines: Vec<_> = sent.map(|sent| ("x-request-id", sent)).into_iter().collect();
        let response = ask(&layer, request(&lines)).await;
        let text = std::str::from_utf8(response.body()).unwrap();
        assert_eq!(text.matches("\"status\"").count(), 1, "{text}");
        let expected = json!({
            "type": "https://e.example/unauthenticated",
            "title": "The request is not authenticated",
            "status": 401,
            "detail": MISSING,
            "code": "no \"key\"",
            "request_id": id,
            "retry": u64::MAX,
            "final": true,
            "http": 401,
        });
        assert_eq!(json(&response), expected);
        assert_eq!(text.matches("\"code\"").count(), 1, "{text}");
    }
}

#[tokio::test]
async fn bodies_of_other_types_are_made_with_a_function() {
    let house = House::new().await;
    let layer = house.layer().responder(errors::anthropic().with_body(Full::new));
    let inner =
        tower::service_fn(|_: Request<()>| async { Ok::<_, std::convert::Infallible>(Response::new(Full::default())) });
    let response = layer.layer(inner).oneshot(bearer("rubbish")).await.unwrap();
    let body: Bytes = response.into_body().collect().await.unwrap().to_bytes();
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["error"]["message"], INVALID);
}
