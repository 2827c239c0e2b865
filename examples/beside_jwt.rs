//! API keys beside users' JWTs: both come as `Authorization: Bearer`, on the same routes, and handlers do not care.
//!
//! `cargo run --example beside_jwt --features sqlite`, then paste the curl lines it prints.

mod support;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts, Path, State};
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{Extensions, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use axum::{Router, serve};
use jsonwebtoken::{DecodingKey, EncodingKey, Header, Validation, decode, encode, get_current_timestamp};
use serde::{Deserialize, Serialize};
use support::{Demo, Failure};
use tower_api_key::key::Actor;
use tower_api_key::{AuthContext, KeySource, Others};

struct App {
    demo: Demo,
    /// Signs and verifies the users' tokens. A service has it from its login.
    secret: [u8; 32],
}

#[derive(Serialize, Deserialize)]
struct Claims {
    sub: String,
    exp: u64,
}

/// Who makes a request, whichever way this was proven. Handlers take it as an argument.
enum Caller {
    Key(AuthContext),
    User(String),
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let listener = support::listen("127.0.0.1:3000").await?;
    let address = listener.local_addr()?;
    let demo = Demo::open("sqlite:beside-jwt-example.sqlite").await?;
    let secret = rand::random();
    let app = Arc::new(App { demo, secret });

    // Values of `Bearer` that do not start like keys stay in the request, for `Caller` to verify. Being optional, the layer
    // lets these requests pass.
    let sources = [KeySource::bearer().leave_others(), KeySource::header("x-api-key")?];
    let layer = app
        .demo
        .keys
        .layer()
        .client_address(client_address)
        .optional()
        .sources(sources)?;
    let router = Router::new()
        .route("/whoami", get(who_am_i))
        .route("/keys/{name}/revoke", post(revoke))
        .route_layer(layer)
        .with_state(app.clone());

    let now = get_current_timestamp();
    let (valid, expired) = (app.token("alice", now + 3_600)?, app.token("alice", now - 3_600)?);
    app.demo.announce(address, |key| {
        let curl = |token: &str| format!("curl -i http://{address}/whoami -H 'Authorization: Bearer {token}'");
        format!(
            "token valid {valid}\ntoken expired {expired}\n{}\n{}",
            curl(key),
            curl(&valid)
        )
    })?;
    // Small responses are sent at once.
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    Ok(serve(listener, service).await?)
}

/// The client's address, which axum gets from the listener.
fn client_address(extensions: &Extensions) -> Option<IpAddr> {
    let peer = extensions.get::<ConnectInfo<SocketAddr>>()?;
    Some(peer.0.ip())
}

impl App {
    fn token(&self, user: &str, exp: u64) -> jsonwebtoken::errors::Result<String> {
        let sub = user.to_owned();
        encode(
            &Header::default(),
            &Claims { sub, exp },
            &EncodingKey::from_secret(&self.secret),
        )
    }

    /// The user that the token in the request names.
    fn user(&self, parts: &Parts) -> jsonwebtoken::errors::Result<String> {
        let value = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let (_bearer, token) = value.and_then(|value| value.split_once(' ')).unwrap_or_default();
        let key = DecodingKey::from_secret(&self.secret);
        Ok(decode::<Claims>(token.trim(), &key, &Validation::default())?.claims.sub)
    }
}

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Response> {
        // The layer has refused invalid keys already, and says if it left a value. If not, there is a key, or no credential.
        if parts.extensions.get::<Others>().is_none() {
            let auth = AuthContext::from_request_parts(parts, app).await;
            return auth.map(Self::Key).map_err(IntoResponse::into_response);
        }
        app.user(parts).map(Self::User).map_err(|error| {
            let challenge = [(WWW_AUTHENTICATE, "Bearer realm=\"users\", error=\"invalid_token\"")];
            (StatusCode::UNAUTHORIZED, challenge, format!("log in again: {error}\n")).into_response()
        })
    }
}

async fn who_am_i(caller: Caller) -> String {
    match caller {
        Caller::Key(auth) => format!("key {} of {}\n", auth.name(), auth.organization().name),
        Caller::User(user) => format!("user {user}\n"),
    }
}

/// Revokes a key. Only users may: who finds a key that leaked must not revoke others with it. There is one organization here; a
/// service with more asks first whether the key is of the user's own.
async fn revoke(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    caller: Caller,
) -> Result<StatusCode, StatusCode> {
    let Caller::User(user) = caller else {
        return Err(StatusCode::FORBIDDEN);
    };
    let id = app.demo.ids.get(name.as_str()).ok_or(StatusCode::NOT_FOUND)?;
    let issuer = app.demo.issuer.acting_as(Actor::user(&user));
    let revoked = issuer.revoke(*id, "asked for over HTTP").await;
    revoked.map(|_| StatusCode::NO_CONTENT).map_err(|error| {
        tracing::error!(%error, "could not revoke");
        StatusCode::SERVICE_UNAVAILABLE
    })
}
