//! A service whose file has the keys of an older system.

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::{Request, StatusCode};
use tower::ServiceExt;
use tower_api_key::key::Actor;
use tower_api_key::{ApiKeys, AuthContext, ClientAddress, IssueRequest};

use super::Place;

const FILE: &str = r#"
[database]
url = "sqlite:keys.db"

[[formats]]
preset = "hk"

[hash]
scheme = "bcrypt-sha256"
cost = 4

[[sources]]
header = "x-api-key"

[proxies]
header = "x-forwarded-for"
networks = ["10.0.0.0/8"]
"#;

#[tokio::test]
async fn keys_of_the_file_pass_routes_from_their_networks() {
    let place = Place::new(FILE);
    let keys = ApiKeys::open_config(place.path()).await.unwrap();
    let issuer = keys.issuer().acting_as(Actor::service());
    let acme = issuer.create_organization("acme").await.unwrap();
    let free = issuer.issue(IssueRequest::new(acme.id, "free")).await.unwrap();
    let request = IssueRequest::new(acme.id, "bound").networks("192.0.2.0/24".parse().unwrap());
    let bound = issuer.issue(request).await.unwrap();
    assert!(free.key.expose_secret().starts_with("hk_live_"));
    let stored = keys.read(free.record.id).await.unwrap().unwrap();
    assert!(stored.secrets[0].hash.as_str().starts_with("bcrypt-sha256:$2b$04$"));

    // Another process, with the same file.
    let keys = ApiKeys::open_config(place.path()).await.unwrap();
    let app: Router = Router::new()
        .route(
            "/",
            get(|auth: AuthContext| async move { auth.organization().name.clone() }),
        )
        .layer(keys.layer());
    let ask = async |key: &tower_api_key::IssuedKey, header: &str, peer: &str, client: Option<&str>| {
        let mut request = Request::get("/").header(header, key.key.expose_secret());
        if let Some(client) = client {
            request = request.header("x-forwarded-for", client);
        }
        let mut request = request.body(Body::empty()).unwrap();
        request.extensions_mut().insert(ClientAddress(peer.parse().unwrap()));
        app.clone().oneshot(request).await.unwrap().status()
    };
    for (key, header, peer, client, status) in [
        (&free, "x-api-key", "198.51.100.1", None, StatusCode::OK),
        (&free, "x-other", "198.51.100.1", None, StatusCode::UNAUTHORIZED),
        (&bound, "x-api-key", "192.0.2.7", None, StatusCode::OK),
        (&bound, "x-api-key", "10.0.0.1", Some("192.0.2.7"), StatusCode::OK),
        (
            &bound,
            "x-api-key",
            "10.0.0.1",
            Some("198.51.100.1"),
            StatusCode::FORBIDDEN,
        ),
        (&bound, "x-api-key", "10.0.0.1", None, StatusCode::FORBIDDEN),
        // Not a proxy.
        (
            &bound,
            "x-api-key",
            "198.51.100.1",
            Some("192.0.2.7"),
            StatusCode::FORBIDDEN,
        ),
    ] {
        assert_eq!(
            ask(key, header, peer, client).await,
            status,
            "{header} {peer} {client:?}"
        );
    }
}
