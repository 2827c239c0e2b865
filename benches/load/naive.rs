//! Naive middleware, written well: a digest as bytes, a concurrent map of shared values, a constant-time comparison. It has no
//! immediate revocation, expiry, scopes, networks or limits.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use dashmap::DashMap;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

pub type Clients = Arc<DashMap<[u8; 12], Arc<Client>>>;

pub struct Client {
    pub digest: [u8; 32],
    pub organization: u64,
}

pub fn clients(keys: &[String]) -> Clients {
    let clients = keys.iter().map(|key| {
        let client = Client {
            digest: Sha256::digest(key).into(),
            organization: 7,
        };
        (lookup(key.as_bytes()).expect("a key with a prefix"), Arc::new(client))
    });
    Arc::new(clients.collect())
}

pub async fn require_key(
    State(clients): State<Clients>,
    mut request: Request,
    next: Next,
) -> Result<Response, StatusCode> {
    let client = find(&clients, &request).ok_or(StatusCode::UNAUTHORIZED)?;
    tracing::debug!(organization = client.organization, "admitted");
    request.extensions_mut().insert(client);
    Ok(next.run(request).await)
}

fn find(clients: &Clients, request: &Request) -> Option<Arc<Client>> {
    let key = request
        .headers()
        .get("authorization")?
        .as_bytes()
        .strip_prefix(b"Bearer ")?;
    let client = clients.get(&lookup(key)?)?;
    let digest: [u8; 32] = Sha256::digest(key).into();
    let is_right = bool::from(digest.ct_eq(&client.digest));
    is_right.then(|| client.clone())
}

/// The characters after the prefix, which are the key in the map.
fn lookup(key: &[u8]) -> Option<[u8; 12]> {
    key.strip_prefix(b"key_live_")?.first_chunk().copied()
}
